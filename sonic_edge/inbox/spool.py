"""The spool as the daemon sees it; and how a job comes in and is carried on."""

import logging
import os
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Protocol, Tuple, Type

from ..config import SpoolSettings
from ..errors import ConfigError, RequestError, SonicEdgeError
from . import disk, ends
from .disk import Folders
from .job import MAX_ENTRIES, Job, Record, job_in, now, safe_id
from .look import Candidate, Lookout, is_same_file, is_same_folder

log = logging.getLogger(__name__)

MAX_INTERRUPTIONS = 20
"""A job during which the whole daemon went down this often is given up: it may be what takes the box down."""

_TICK_S = 1.0
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

    Raises (on entering):
        ConfigError: If the folders cannot be made or written, lie on different file systems, or the configured portrait
            is missing.
        DeviceError: If another daemon works here, or the disk fails.
    """

    def __init__(self, settings: SpoolSettings) -> None:
        super().__init__(Path(settings.root))
        self._settings = settings
        self._default_portrait = Path(settings.portrait).absolute() if settings.portrait else None
        self._lookout = Lookout(self.inbox, settings)
        self._troubles: Dict[str, str] = {}
        self._held = ExitStack()

    def __enter__(self) -> "Spool":
        self.make()
        portrait = self._default_portrait
        if portrait is not None and not (os.access(portrait, os.R_OK) and portrait.is_file()):
            raise ConfigError(f"spool.portrait = {portrait}: must be a photo this user may read")
        self._held.enter_context(disk.locked(self.root / "lock"))
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._held.close()

    def watch(self, stop: Stop, tick: Callable[[], None] = lambda: None) -> Iterator[Job]:
        """Jobs as they come, one at a time: first those left in work, then the inbox, oldest first.

        A job comes again until it is ended with `publish` or `fail`. Jobs that are wrong on their face (two photos, a
        link, a recording alone with no configured portrait) are moved to failed here. A disk in trouble is logged once
        and tried again.

        Args:
            stop: Ends the generator, within a second.
            tick: Called on every pass and at least once a second while waiting.
        """
        while not stop.is_set():
            tick()
            moved, job = self._step()
            if job is not None:
                yield job
            elif not moved:
                deadline = time.monotonic() + self._settings.poll_s
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
                        ends.fail(self, record, e, {})
        return [job for _, job in sorted(found, key=lambda pair: (pair[0], pair[1].id))]

    def start(self, job: Job) -> None:
        """Note durably that a worker now gets the job, with an empty folder for its result.

        Raises:
            DeviceError: If the disk fails.
        """
        with disk.failing_as_device(job.id):
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
        with disk.failing_as_device(job.id):
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
        with disk.failing_as_device(job.id):
            if not disk.is_plain(job.output):
                raise RequestError(f"{job.id}: the worker left no video")
            return ends.publish(self, Record.load(job.folder), report, self._settings.keep_inputs)

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
        with disk.failing_as_device(job.id):
            return ends.fail(self, Record.load(job.folder), error, controls or {})

    # ---- one pass ----------------------------------------------------------------------------------------------

    def _step(self) -> Tuple[bool, Optional[Job]]:
        """One look around: (whether something was moved, a job to work on)."""
        with self._trouble("work"):
            left = self.recover()
            if left:
                return True, left[0]
        with self._trouble("inbox"):
            candidate = self._lookout.due()
            if candidate is not None:
                self._claim(candidate)
                return True, None
        return False, None

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

    # ---- coming in, being carried on ---------------------------------------------------------------------------

    def _claim(self, candidate: Candidate) -> None:
        """Write the intent, then move the files."""
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
            log.warning("inbox: %r: cannot be taken: %s; trying again", candidate.name, e.strerror)
            self._lookout.leave(candidate, _LEAVE_S)
            return
        if moved is not None:
            log.info("%s: claimed", job_id)

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
            ends.fail(self, record, RequestError(words), {})
            return None
        if record.state == "claiming":
            return self._move_in(record)
        if record.state == "publishing":
            ends.finish_publishing(self, record, self._settings.keep_inputs)
            return None
        if record.state == "failing":
            ends.finish_failing(self, record)
            return None
        if record.state == "running":  # nobody said how that ended: power, or the daemon itself, went
            record = replace(record, state="claimed", interruptions=record.interruptions + 1)
            record.store(folder)
            if record.interruptions >= MAX_INTERRUPTIONS:
                words = f"{record.id}: the daemon went down {record.interruptions} times while working on it"
                ends.fail(self, record, RequestError(words), {})
                return None
            log.info("%s: was interrupted; done again from the start", record.id)
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
                ends.fail(self, record, RequestError(words), {})
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
