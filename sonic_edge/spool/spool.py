"""The spool as the daemon sees it; and how a job comes in and is carried on."""

import difflib
import logging
import os
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Callable, Collection, Dict, Iterator, List, Mapping, Optional, Protocol, Tuple, Type

from .. import disk
from ..config import DiskSettings, SpoolSettings
from ..errors import ConfigError, RequestError, SonicEdgeError
from . import finish
from .folders import Folders, failing_as_device, locked
from .job import MAX_ENTRIES, Job, Record, job_in, now, safe_id
from .quota import DiskQuota
from .scan import HINT, Candidate, InboxScanner, is_same_file, is_same_folder

log = logging.getLogger(__name__)

MAX_INTERRUPTIONS = 20
"""A job during which the whole daemon went down this often is given up: it may be what takes the box down."""

_NONE: Mapping[str, object] = {}
_ROOM = DiskSettings()
_TICK_S = 1.0
_LOOK_S = 2.0
_REST = 20.0  # after a look that took long, among thousands of files, so many times as long
_LEAVE_S = 30.0  # what may not be moved


class Stop(Protocol):
    """What ends `Spool.watch`: a `threading.Event` will do."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds or until it is set; whether it is set."""


class Spool(Folders):
    """The four folders. As a context manager it makes them and holds their lock.

    Args:
        settings: Where they are, and how patient to be.
        room: How much of the disk to leave free, and what is kept in outbox.

    Raises:
        ConfigError: On entering, if the folders cannot be made or written, lie on different file systems, or the
            configured portrait is missing.
        DeviceError: On entering, if another daemon works here, or the disk fails.
    """

    def __init__(self, settings: SpoolSettings, room: DiskSettings = _ROOM) -> None:
        super().__init__(Path(settings.root))
        self._use(settings)
        self.room = DiskQuota(self, room)
        self.n_failed = 0
        """Jobs that came to failed in this daemon's life."""
        self.held = ""
        """Why no job is begun, in words; empty if nothing is in the way."""
        self._left: List[Job] = []
        self._troubles: Dict[str, str] = {}
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
        """Go on with other settings.

        Raises:
            ConfigError: If they need a fresh start, or the configured portrait is missing. Nothing is changed then.
        """
        if Path(settings.root).absolute() != self.root:
            raise ConfigError(f"spool.root = {settings.root}: cannot change while the daemon runs; start it again")
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
        """Jobs as they come, one at a time: first those left in work, then the inbox, oldest first.

        A job comes again until it is ended with `publish` or `fail`. Jobs that are wrong on their face (two photos, a
        link, a recording alone with no configured portrait) are moved to failed here. A disk in trouble is logged once
        and tried again. While there is too little room on the disk no job comes, and `held` says why.

        Args:
            stop: Ends the generator, within a second.
            tick: Called on every pass and at least once a second while waiting.
            playing: Gives the videos in outbox that must stay there for now.
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
        """Carry on what a crash left half done: finish claims, publications and failures.

        Returns:
            The jobs that still have to be worked on, in the order they were claimed.
        """
        found: List[Tuple[str, Job]] = []
        for entry in sorted(disk.entries(self.work)):
            folder = self.work / entry
            if entry.startswith(".trash-"):
                disk.remove(folder)
                continue
            with self._trouble(f"work/{entry}"):
                record = self._advance(folder)
                if record is not None:
                    try:
                        found.append((record.claimed, job_in(folder, record, self._default_portrait)))
                    except RequestError as e:
                        self._fail(record, e)
        return [job for _, job in sorted(found, key=lambda pair: (pair[0], pair[1].id))]

    def start(self, job: Job) -> None:
        """Note durably that a worker now gets the job, with an empty folder for its result.

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
        """The job is to be done again, whole.

        Args:
            job: The job.
            died: Whether a worker died or hung on it, which counts, or it was only interrupted.

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
        """Move the worker's video and its report to outbox; the report's appearance is what ends the job.

        Args:
            job: A job whose `Job.output` is complete.
            report: What the pipeline tells about it; ``job`` and ``result`` are set to the final names.

        Returns:
            The name: ``outbox/<name>.mp4`` and ``outbox/<name>.json``.

        Raises:
            DeviceError: If the disk fails; `recover` carries on.
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
            controls: What the job asked for, as far as it could be read.

        Returns:
            The name: ``failed/<name>/``.

        Raises:
            DeviceError: If the disk fails; `recover` carries on.
        """
        with failing_as_device(job.id):
            return self._fail(Record.load(job.folder), error, controls or {})

    # ---- what people ask for --------------------------------------------------------------------------------------

    def waiting(self) -> List[str]:
        """The jobs that are still to be begun, in their order: those in work by their ids, then the inbox's."""
        if time.monotonic() - self._scanner.looked >= _LOOK_S:  # nobody does, while a job is being worked on
            with self._trouble("inbox"):
                self._scanner.due()
        return [job.id for job in self._left] + [safe_id(c.name) for c in self._scanner.waiting]

    def cancel(self, name: str, why: SonicEdgeError) -> bool:
        """Move a job that has not been begun to failed.

        Args:
            name: As `waiting` gives it.
            why: The reason it gets.

        Returns:
            Whether there is such a job.

        Raises:
            DeviceError: If the disk fails.
        """
        with failing_as_device(name):
            job_id: Optional[str] = name if any(job.id == name for job in self._left) else None
            if job_id is None:
                self._scanner.due()  # the last look may be long ago
                named = [c for c in self._scanner.waiting if safe_id(c.name) == name]
                job_id = self._claim(named[0]) if named else None
            if job_id is None:
                return False
            self._fail(Record.load(self.work / job_id), why)
            self._left = [job for job in self._left if job.id != job_id]
            return True

    def retry(self, name: str) -> str:
        """Put a failed job into the inbox again.

        Args:
            name: Of its folder in failed.

        Returns:
            Its name in the inbox.

        Raises:
            RequestError: If there is no such job.
            DeviceError: If the disk fails.
        """
        source = self.failed / name
        with failing_as_device(name):
            known = disk.entries(self.failed)
            if name not in known or source.is_symlink() or not source.is_dir():  # a name may be anything at all
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
        """One look around: (whether something was moved, a job to work on)."""
        self._left = []
        with self._trouble("folders"):
            self._make_missing()
        with self._trouble("work"):
            self._left = self.recover()
        with self._trouble("outbox"):
            self.room.tidy(playing)
        was_held, self.held = self.held, self.room.lacking()
        if bool(was_held) != bool(self.held):
            log.log(
                logging.WARNING if self.held else logging.INFO, "%s", self.held or "there is room on the disk again"
            )
        if self._left and not self.held:
            return True, self._left.pop(0)
        with self._trouble("inbox"):
            candidate = self._scanner.due()
            if candidate is not None and not self.held:
                self._claim(candidate)
                return True, None
        return False, None

    def _make_missing(self) -> None:
        """Somebody has tidied too well. Not below a mount point whose disk is gone."""
        for folder in (self.inbox, self.outbox, self.failed):
            if not disk.exists(folder) and self.root.stat().st_dev == self._device:
                folder.mkdir()
                log.warning("%s: was gone; made again", folder)

    @contextmanager
    def _trouble(self, where: str) -> Iterator[None]:
        """Log a disk error once, not on every pass, and go on; also log when it is over."""
        try:
            yield
        except (OSError, ValueError) as e:
            text = str(e)
            if self._troubles.get(where) != text:
                log.warning("%s: %s; trying again", where, text)
            self._troubles[where] = text
        else:
            if self._troubles.pop(where, None):
                log.info("%s: works again", where)

    def _fail(self, record: Record, error: SonicEdgeError, controls: Mapping[str, object] = _NONE) -> str:
        name = finish.fail(self, record, error, controls)
        self.n_failed += 1
        return name

    # ---- coming in, being carried on ---------------------------------------------------------------------------

    def _claim(self, candidate: Candidate) -> Optional[str]:
        """Write the intent, then move the files; the job's id, None if there was none to take after all."""
        job_id = self.free_name(safe_id(candidate.name))
        record = Record(
            id=job_id,
            state="claiming",
            given=candidate.name,
            is_folder=candidate.is_folder,
            sources=candidate.finished,
            claimed=now(),
        )
        folder = self.work / job_id
        folder.mkdir()
        record.store(folder)
        disk.sync(self.work)
        try:
            moved = self._move_in(record)
        except OSError as e:
            if disk.entries(folder / "inputs"):
                raise  # half of it is here: it will be carried on
            self.trash(folder)
            told = f"{e.strerror}{HINT if isinstance(e, PermissionError) else ''}"
            if self._troubles.get(candidate.name) != told:  # once, not every half minute for ever
                log.warning("inbox: %r: cannot be taken: %s; trying again", candidate.name, told)
            self._troubles[candidate.name] = told
            self._scanner.leave(candidate, _LEAVE_S)
            return None
        if moved is None:
            return None
        self._troubles.pop(candidate.name, None)
        log.info("%s: claimed", job_id, extra={"JOB": job_id})
        return job_id

    def _advance(self, folder: Path) -> Optional[Record]:
        """Carry a job on to where somebody has to work on it; None if it is over."""
        try:
            record = Record.load(folder)
        except (ValueError, TypeError, KeyError, FileNotFoundError) as e:
            if not disk.entries(folder / "inputs"):  # the power went before the intent was written: nothing was moved
                disk.remove(folder)
                return None
            record = Record(folder.name, "claimed", folder.name, True, (), now())
            words = f"{folder.name}: its record job.json is lost ({type(e).__name__})"
            self._fail(record, RequestError(words))
            return None
        if record.state == "claiming":
            return self._move_in(record)
        if record.state == "publishing":
            finish.finish_publishing(self, record, self._settings.keep_inputs)
            return None
        if record.state == "failing":
            finish.finish_failing(self, record)
            return None
        if record.state == "running":  # nobody said how that ended: power, or the daemon itself, went
            record = replace(record, state="claimed", interruptions=record.interruptions + 1)
            record.store(folder)
            if record.interruptions >= MAX_INTERRUPTIONS:
                words = f"{record.id}: the daemon went down {record.interruptions} times while working on it"
                self._fail(record, RequestError(words))
                return None
            log.info("%s: was interrupted; done again from the start", record.id, extra={"JOB": record.id})
        return record

    def _move_in(self, record: Record) -> Optional[Record]:
        """Move a job's files from the inbox into its folder, as far as that has not happened yet.

        Returns:
            The record of the claimed job; None if it was not what had been seen, and was given up or moved to failed.
        """
        folder = self.work / record.id
        inputs = folder / "inputs"
        if record.is_folder:
            source = self.inbox / record.given
            if not disk.exists(inputs):
                if not is_same_folder(source, record.sources):
                    self.trash(folder)  # nothing was moved: the inbox is looked at afresh
                    return None
                disk.rename(source, inputs)
        else:
            inputs.mkdir(exist_ok=True)
            here = set(disk.entries(inputs))
            wanted = [s for s in record.sources if s.name not in here]
            gone = [s.name for s in wanted if not is_same_file(self.inbox / s.name, s)]
            if gone and not here:
                self.trash(folder)
                return None
            for s in wanted:
                if s.name not in gone:
                    disk.rename(self.inbox / s.name, inputs / s.name)
            if gone:
                words = f"{record.id}: {', '.join(map(repr, gone))} went or changed while it was being taken"
                self._fail(record, RequestError(words))
                return None
        for name in islice(disk.entries(inputs), MAX_ENTRIES):
            if disk.is_plain(inputs / name):
                with suppress(PermissionError):  # the worker will say so, in the job's words
                    disk.sync(inputs / name)
        for changed in (inputs, folder, self.inbox):
            disk.sync(changed)
        record = replace(record, state="claimed")
        record.store(folder)
        return record


def _portrait(settings: SpoolSettings) -> Optional[Path]:
    return Path(settings.portrait).absolute() if settings.portrait else None


def _check_portrait(portrait: Optional[Path]) -> None:
    if portrait is not None and not (os.access(portrait, os.R_OK) and portrait.is_file()):
        raise ConfigError(f"spool.portrait = {portrait}: must be a photo this user may read")
