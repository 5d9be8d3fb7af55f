"""The spool as the daemon sees it: jobs come in, and end in outbox or in failed."""

import difflib
import logging
import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Callable, Collection, Iterator, List, Mapping, Optional, Protocol, Tuple, Type

from .. import disk
from ..config import DiskSettings, SpoolSettings
from ..errors import ConfigError, RequestError, SonicEdgeError
from . import finish
from .claim import CannotBeTaken, Claims
from .folders import Folders, failing_as_device, locked
from .job import Job, Record, job_in, safe_id
from .quota import DiskQuota
from .scan import Candidate, InboxScanner
from .troubles import Troubles

log = logging.getLogger(__name__)

_NONE: Mapping[str, object] = {}
_ROOM = DiskSettings()
_TICK_S = 1.0
_LOOK_S = 2.0
_REST = 20.0  # a pass is followed by a wait of at least this many times its length, for inboxes of thousands of files
_LEAVE_S = 30.0  # a job whose files may not be moved is left alone for this long


class Stop(Protocol):
    """What ends `Spool.watch`: a `threading.Event` will do."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds or until it is set; returns whether it is set."""


class Spool(Folders):
    """The four folders. Entering it as a context manager creates them and locks the spool.

    Args:
        settings: Where they are, and how long to wait for files.
        room: How much of the disk to leave free, and how long results are kept in outbox.

    Raises:
        ConfigError: On entering, if the folders cannot be created or written, are on different file systems, or the
            configured portrait is missing.
        DeviceError: On entering, if another daemon holds the lock, or the disk fails.
    """

    def __init__(self, settings: SpoolSettings, room: DiskSettings = _ROOM) -> None:
        super().__init__(Path(settings.root))
        self._use(settings)
        self.room = DiskQuota(self, room)
        self.n_failed = 0
        """Number of jobs moved to failed since the daemon started."""
        self.held = ""
        """Why no job is being started, as text; empty if nothing prevents it."""
        self._left: List[Job] = []
        self._troubles = Troubles()
        self._claims = Claims(self, self._fail)
        self._held_open = ExitStack()

    def __enter__(self) -> "Spool":
        self.make()
        _check_portrait(self._default_portrait)
        self._held_open.enter_context(locked(self.root / "lock"))
        self._device = self.root.stat().st_dev
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._held_open.close()

    def configure(self, settings: SpoolSettings, room: DiskSettings) -> None:
        """Apply new settings.

        Raises:
            ConfigError: If they need a restart, or the configured portrait is missing. Then nothing is changed.
        """
        if Path(settings.root).absolute() != self.root:
            raise ConfigError(f"spool.root = {settings.root}: cannot change while the daemon runs; restart it")
        _check_portrait(_portrait(settings))
        self._use(settings)
        self.room.settings = room
        self.room.look_soon()

    def _use(self, settings: SpoolSettings) -> None:
        self._settings = settings
        self._default_portrait = _portrait(settings)
        self._scanner = InboxScanner(self.inbox, settings)

    def watch(
        self, stop: Stop, tick: Callable[[], None] = lambda: None, playing: Callable[[], Collection[Path]] = tuple
    ) -> Iterator[Job]:
        """Yield jobs as they arrive, one at a time: first those left in work, then those in the inbox, oldest first.

        A job is yielded again until it is ended with `publish` or `fail`. Plainly invalid jobs (two photos, a symlink,
        a recording alone with no configured portrait) are moved to failed here. Disk errors are logged once and
        retried. While the disk is too full no job is yielded, and `held` says why.

        Args:
            stop: Ends the generator, within a second.
            tick: Called on every pass and at least once a second while waiting.
            playing: Returns the videos in outbox that must not be deleted yet.
        """
        while not stop.is_set():
            tick()
            since = time.monotonic()
            moved, job = self._step(playing)
            took_s = time.monotonic() - since
            if job is not None:
                yield job
            elif not moved:
                deadline = time.monotonic() + max(self._settings.poll_s, _REST * took_s)
                while time.monotonic() < deadline and not stop.is_set():
                    stop.wait(min(_TICK_S, max(0.0, deadline - time.monotonic())))
                    tick()

    def recover(self) -> List[Job]:
        """Complete what a crash interrupted: claims, publications and failures.

        Returns:
            The jobs that still have to be run, in the order they were claimed.
        """
        found: List[Tuple[str, Job]] = []
        for entry in sorted(disk.entries(self.work)):
            folder = self.work / entry
            if entry.startswith(".trash-"):
                disk.remove(folder)
                continue
            with self._troubles.watch(f"work/{entry}"):
                record = self._claims.carry_on(folder, self._settings.keep_inputs)
                if record is not None:
                    try:
                        found.append((record.claimed, job_in(folder, record, self._default_portrait)))
                    except RequestError as e:
                        self._fail(record, e)
        return [job for _, job in sorted(found, key=lambda pair: (pair[0], pair[1].id))]

    def start(self, job: Job) -> None:
        """Record durably that a worker now gets the job, and create an empty folder for its result.

        Raises:
            DeviceError: If the disk fails.
        """
        with failing_as_device(job.id):
            result = job.output.parent
            if disk.exists(result):
                shutil.rmtree(result)
            result.mkdir()
            replace(Record.load(job.folder), state="running").store(job.folder)

    def put_back(self, job: Job, died: bool) -> int:
        """Record that the job is to be run again from the start.

        Args:
            job: The job.
            died: True if a worker died or hung on it, which is counted; False if it was only interrupted.

        Returns:
            How often a worker has died on it.

        Raises:
            DeviceError: If the disk fails.
        """
        with failing_as_device(job.id):
            record = Record.load(job.folder)
            record = replace(record, state="claimed", deaths=record.deaths + int(died))
            record.store(job.folder)
            return record.deaths

    def publish(self, job: Job, report: Mapping[str, object]) -> str:
        """Move the worker's video and its report to outbox; the report's rename ends the job.

        Args:
            job: A job whose `Job.output` is complete.
            report: The pipeline's report; ``job`` and ``result`` are set to the final names.

        Returns:
            The name: ``outbox/<name>.mp4`` and ``outbox/<name>.json``.

        Raises:
            DeviceError: If the disk fails; `recover` continues.
            RequestError: If there is no video to publish.
        """
        with failing_as_device(job.id):
            if not disk.is_plain(job.output):
                raise RequestError(f"{job.id}: the worker left no video")
            name = finish.publish(self, Record.load(job.folder), report, self._settings.keep_inputs)
        self.room.look_soon()
        return name

    def fail(self, job: Job, error: SonicEdgeError, controls: Optional[Mapping[str, object]] = None) -> str:
        """Move the job's inputs to failed, with ``reason.json``.

        Args:
            job: The job.
            error: Why.
            controls: The job's own controls, as far as they could be read.

        Returns:
            The name: ``failed/<name>/``.

        Raises:
            DeviceError: If the disk fails; `recover` continues.
        """
        with failing_as_device(job.id):
            return self._fail(Record.load(job.folder), error, controls or {})

    # ---- orders from people ---------------------------------------------------------------------------------------

    def waiting(self) -> List[str]:
        """The ids of the waiting jobs in the order they will be started: those in work, then those in the inbox."""
        if time.monotonic() - self._scanner.looked >= _LOOK_S:  # `watch` does not scan while a job is running
            with self._troubles.watch("inbox"):
                self._scanner.due()
        return [job.id for job in self._left] + [safe_id(c.name) for c in self._scanner.waiting]

    def cancel(self, name: str, why: SonicEdgeError) -> bool:
        """Move a waiting job to failed.

        Args:
            name: Its id, as in `waiting`.
            why: The reason to record.

        Returns:
            Whether there is such a job.

        Raises:
            DeviceError: If the disk fails.
        """
        with failing_as_device(name):
            job_id: Optional[str] = name if any(job.id == name for job in self._left) else None
            if job_id is None:
                self._scanner.due()  # the last scan may be long ago
                named = [c for c in self._scanner.waiting if safe_id(c.name) == name]
                job_id = self._claim(named[0]) if named else None
            if job_id is None:
                return False
            self._fail(Record.load(self.work / job_id), why)
            self._left = [job for job in self._left if job.id != job_id]
            return True

    def retry(self, name: str) -> str:
        """Move a failed job back into the inbox.

        Args:
            name: The name of its folder in failed.

        Returns:
            Its name in the inbox.

        Raises:
            RequestError: If there is no such job.
            DeviceError: If the disk fails.
        """
        source = self.failed / name
        with failing_as_device(name):
            known = disk.entries(self.failed)
            if name not in known or source.is_symlink() or not source.is_dir():  # `name` is untrusted
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise RequestError(f"{name}: there is no such job in {self.failed}{hint}")
            target = next(t for t in map(self.inbox.joinpath, disk.numbered(name)) if not disk.exists(t))
            disk.rename(source, target)
            disk.sync(self.inbox)
            disk.sync(self.failed)
            return target.name

    # ---- one pass ----------------------------------------------------------------------------------------------

    def _step(self, playing: Callable[[], Collection[Path]]) -> Tuple[bool, Optional[Job]]:
        """One pass. Returns whether something was moved, and a job to run."""
        self._left = []
        with self._troubles.watch("folders"):
            self._make_missing()
        with self._troubles.watch("work"):
            self._left = self.recover()
        with self._troubles.watch("outbox"):
            self.room.tidy(playing)
        was_held, self.held = self.held, self.room.lacking()
        if bool(was_held) != bool(self.held):
            log.log(
                logging.WARNING if self.held else logging.INFO, "%s", self.held or "there is room on the disk again"
            )
        if self._left and not self.held:
            return True, self._left.pop(0)
        with self._troubles.watch("inbox"):
            candidate = self._scanner.due()
            if candidate is not None and not self.held:
                self._claim(candidate)
                return True, None
        return False, None

    def _make_missing(self) -> None:
        """Recreate folders that somebody has deleted, unless the disk itself is no longer mounted there."""
        for folder in (self.inbox, self.outbox, self.failed):
            if not disk.exists(folder) and self.root.stat().st_dev == self._device:
                folder.mkdir()
                log.warning("%s: was missing; created again", folder)

    def _fail(self, record: Record, error: SonicEdgeError, controls: Mapping[str, object] = _NONE) -> str:
        name = finish.fail(self, record, error, controls)
        self.n_failed += 1
        return name

    def _claim(self, candidate: Candidate) -> Optional[str]:
        """Take a job from the inbox; returns its id, or None if it could not be taken or is no longer there."""
        try:
            job_id = self._claims.claim(candidate)
        except CannotBeTaken as e:
            self._troubles.report(candidate.name, f"inbox: {candidate.name!r}: cannot be taken: {e}")
            self._scanner.leave(candidate, _LEAVE_S)
            return None
        if job_id is not None:
            self._troubles.forget(candidate.name)
            log.info("%s: claimed", job_id, extra={"JOB": job_id})
        return job_id


def _portrait(settings: SpoolSettings) -> Optional[Path]:
    return Path(settings.portrait).absolute() if settings.portrait else None


def _check_portrait(portrait: Optional[Path]) -> None:
    if portrait is not None and not (os.access(portrait, os.R_OK) and portrait.is_file()):
        raise ConfigError(f"spool.portrait = {portrait}: must be a photo this user may read")
