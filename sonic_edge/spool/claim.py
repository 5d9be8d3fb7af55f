"""Claims jobs from the inbox, and continues those that a crash interrupted."""

import logging
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Callable, Optional

from .. import disk
from ..errors import RequestError
from . import finish
from .folders import Folders
from .job import MAX_ENTRIES, Record, now, safe_id
from .scan import HINT, Candidate, is_same_file, is_same_folder

log = logging.getLogger(__name__)

MAX_INTERRUPTIONS = 20
"""A job fails after the whole daemon has gone down this often while running it: it may be the cause."""


class CannotBeTaken(Exception):
    """A job's files in the inbox may not be moved; none has been."""


class Claims:
    """Moves jobs from the inbox to work.

    Args:
        folders: The spool.
        fail: Moves a job to failed.
    """

    def __init__(self, folders: Folders, fail: Callable[[Record, RequestError], object]) -> None:
        self._folders = folders
        self._fail = fail

    def claim(self, candidate: Candidate) -> Optional[str]:
        """Write the job's record, then move its files.

        Returns:
            The job's id; None if the files are no longer as they were when scanned.

        Raises:
            CannotBeTaken: If the files may not be moved; the message says why.
            OSError: If the disk fails; `carry_on` continues.
        """
        job_id = self._folders.free_name(safe_id(candidate.name))
        record = Record(
            id=job_id,
            state="claiming",
            given=candidate.name,
            is_folder=candidate.is_folder,
            sources=candidate.finished,
            claimed=now(),
        )
        folder = self._folders.work / job_id
        folder.mkdir()
        record.store(folder)
        disk.sync(self._folders.work)
        try:
            moved = self._move_in(record)
        except OSError as e:
            if disk.entries(folder / "inputs"):
                raise  # some files were moved: `carry_on` completes the claim
            self._folders.trash(folder)
            raise CannotBeTaken(f"{e.strerror}{HINT if isinstance(e, PermissionError) else ''}") from e
        return None if moved is None else job_id

    def carry_on(self, folder: Path, keep_inputs: bool) -> Optional[Record]:
        """Continue a job from its recorded state.

        Args:
            folder: The job's folder in work.
            keep_inputs: Whether a finished job's inputs are moved to outbox too.

        Returns:
            Its record if a worker has to run it; None if it has ended.

        Raises:
            OSError: If the disk fails.
        """
        try:
            record = Record.load(folder)
        except (ValueError, TypeError, KeyError, FileNotFoundError) as e:
            if not disk.entries(folder / "inputs"):  # power failed before the record was written: nothing was moved
                disk.remove(folder)
                return None
            record = Record(folder.name, "claimed", folder.name, True, (), now())
            problem = f"{folder.name}: its record job.json is lost ({type(e).__name__})"
            self._fail(record, RequestError(problem))
            return None
        if record.state == "claiming":
            return self._move_in(record)
        if record.state == "publishing":
            finish.finish_publishing(self._folders, record, keep_inputs)
            return None
        if record.state == "failing":
            finish.finish_failing(self._folders, record)
            return None
        if record.state == "running":  # it did not end: the power failed, or the daemon died
            record = replace(record, state="claimed", interruptions=record.interruptions + 1)
            record.store(folder)
            if record.interruptions >= MAX_INTERRUPTIONS:
                problem = f"{record.id}: the daemon went down {record.interruptions} times while running it"
                self._fail(record, RequestError(problem))
                return None
            log.info("%s: was interrupted; it will be run again from the start", record.id, extra={"JOB": record.id})
        return record

    def _move_in(self, record: Record) -> Optional[Record]:
        """Move those of a job's files that are still in the inbox into its folder.

        Returns:
            The record of the claimed job; None if the files had changed since they were scanned: then the claim is
            abandoned or, if some files were already moved, the job is moved to failed.
        """
        folder = self._folders.work / record.id
        inputs = folder / "inputs"
        if record.is_folder:
            source = self._folders.inbox / record.given
            if not disk.exists(inputs):
                if not is_same_folder(source, record.sources):
                    self._folders.trash(folder)  # nothing was moved: the next scan decides
                    return None
                disk.rename(source, inputs)
        else:
            inputs.mkdir(exist_ok=True)
            here = set(disk.entries(inputs))
            wanted = [s for s in record.sources if s.name not in here]
            gone = [s.name for s in wanted if not is_same_file(self._folders.inbox / s.name, s)]
            if gone and not here:
                self._folders.trash(folder)
                return None
            for s in wanted:
                if s.name not in gone:
                    disk.rename(self._folders.inbox / s.name, inputs / s.name)
            if gone:
                problem = f"{record.id}: {', '.join(map(repr, gone))} disappeared or changed while being claimed"
                self._fail(record, RequestError(problem))
                return None
        for name in islice(disk.entries(inputs), MAX_ENTRIES):
            if disk.is_plain(inputs / name):
                with suppress(PermissionError):  # the worker will report it as the job's error
                    disk.sync(inputs / name)
        for changed in (inputs, folder, self._folders.inbox):
            disk.sync(changed)
        record = replace(record, state="claimed")
        record.store(folder)
        return record
