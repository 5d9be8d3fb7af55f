"""How a job comes in, and how one that a crash left half done is carried on."""

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
"""A job during which the whole daemon went down this often is given up: it may be what takes the box down."""


class CannotBeTaken(Exception):
    """What lies in the inbox may not be moved; nothing was."""


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
        """Write the intent, then move the files.

        Returns:
            The job's id; None if what was seen is not there any more.

        Raises:
            CannotBeTaken: If the files may not be moved, in words.
            OSError: If the disk fails; `carry_on` goes on from there.
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
                raise  # half of it is here: it will be carried on
            self._folders.trash(folder)
            raise CannotBeTaken(f"{e.strerror}{HINT if isinstance(e, PermissionError) else ''}") from e
        return None if moved is None else job_id

    def carry_on(self, folder: Path, keep_inputs: bool) -> Optional[Record]:
        """Carry a job on from where it stands.

        Args:
            folder: The job's, in work.
            keep_inputs: Whether a finished job's inputs go to outbox too.

        Returns:
            Its record once a worker has to work on it; None if it is over.

        Raises:
            OSError: If the disk fails.
        """
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
            finish.finish_publishing(self._folders, record, keep_inputs)
            return None
        if record.state == "failing":
            finish.finish_failing(self._folders, record)
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
        folder = self._folders.work / record.id
        inputs = folder / "inputs"
        if record.is_folder:
            source = self._folders.inbox / record.given
            if not disk.exists(inputs):
                if not is_same_folder(source, record.sources):
                    self._folders.trash(folder)  # nothing was moved: the inbox is looked at afresh
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
                words = f"{record.id}: {', '.join(map(repr, gone))} went or changed while it was being taken"
                self._fail(record, RequestError(words))
                return None
        for name in islice(disk.entries(inputs), MAX_ENTRIES):
            if disk.is_plain(inputs / name):
                with suppress(PermissionError):  # the worker will say so, in the job's words
                    disk.sync(inputs / name)
        for changed in (inputs, folder, self._folders.inbox):
            disk.sync(changed)
        record = replace(record, state="claimed")
        record.store(folder)
        return record
