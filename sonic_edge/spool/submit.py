"""Put a job into the inbox, and see how it ended: for every process but the daemon.

The job is written to a hidden folder in the inbox, which is then renamed, so that the daemon sees all of it or nothing.
A hidden folder that a crash left behind is deleted by the next submission.
"""

import errno
import fcntl
import grp
import json
import os
import re
import secrets
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Iterator, Mapping, Optional, Union

from .. import disk
from ..errors import DeviceError, RequestError
from .folders import Folders
from .job import PRIVATE, REASON, safe_id

STALE_S = 86400.0
"""A draft that is not locked and has not changed for this long was left by a crash."""

_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\.part")
_CHUNK_BYTES = 1 << 20
_MAX_SAME_NAME = 100  # jobs of one name that are checked for how one ended

Source = Union[bytes, BinaryIO]
"""Content of a file of the job: the bytes themselves, or an open file to copy."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a video or with a reason."""

    video: Optional[Path]
    """``outbox/<name>.mp4``; None if the job failed."""
    report: Mapping[str, object]
    """The report; of a failed job, ``reason.json``."""


def submit(root: Path, name: str, files: Mapping[str, Source], is_private: bool = False) -> str:
    """Put a job into the inbox durably, all of it or nothing.

    Args:
        root: The spool.
        name: The job's name; made safe, and numbered if the name is taken.
        files: File name in the job's folder -> content.
        is_private: Delete the inputs when the job ends; until then only the daemon's user can read them.

    Returns:
        The job's name in the inbox.

    Raises:
        RequestError: If a source cannot be read, or this user may not write to the inbox.
        DeviceError: If there is no inbox, no space, or the disk fails.
    """
    folders = Folders(root)
    inbox = folders.inbox
    with _writing(inbox):
        _delete_stale_drafts(inbox)
        _check_space(inbox, files)
        draft = inbox / f".{safe_id(name)}.{secrets.token_hex(4)}.part"
        draft.mkdir(mode=0o700)
    handle = None
    try:
        with _writing(inbox):
            handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_EX)  # locked: not stale, even if the clock jumps
        for file_name, source in files.items():
            _copy(source, draft / file_name, inbox, 0o600 if is_private else 0o660)
        with _writing(inbox):
            if is_private:
                (draft / PRIVATE).touch(mode=0o600)
            else:  # the daemon, in the same group, must be able to move it
                os.fchmod(handle, 0o770)
            os.fsync(handle)
            return _publish(folders, draft, safe_id(name))
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finally:
        if handle is not None:
            os.close(handle)


def name_for(root: Path, name: str) -> str:
    """The first variant of a job's name that is free everywhere in the spool.

    Raises:
        DeviceError: If the spool cannot be read.
    """
    folders = Folders(root)
    with _writing(folders.inbox):
        return next(tried for tried in disk.numbered(safe_id(name)) if _is_free(folders, tried))


def outcome_of(root: Path, name: str, speech_sha256: Optional[str] = None) -> Optional[Outcome]:
    """How the job that `submit` put into the inbox ended; None if it has not ended.

    Args:
        root: The spool.
        name: As `submit` returned it: it was free everywhere then, so a job that ended under it ended since.
        speech_sha256: Hash of its recording, to tell it from a job that was submitted under this name at the same time.

    Raises:
        DeviceError: If outbox or failed cannot be read.
    """
    folders = Folders(root)
    try:
        for tried in islice(disk.numbered(name), _MAX_SAME_NAME):
            report = _read(folders.outbox / f"{tried}.json")
            if report is not None and _is_of(report, speech_sha256):
                return Outcome(folders.outbox / f"{tried}.mp4", report)
            reason = _read(folders.failed / tried / REASON)
            if reason is not None:
                return Outcome(None, reason)
            if report is None:
                break
    except OSError as e:
        raise DeviceError(f"{root}: the result of {name} cannot be read: {e.strerror}") from e
    return None


# ---- submitting ----------------------------------------------------------------------------------------------------


@contextmanager
def _writing(inbox: Path) -> Iterator[None]:
    """Turn errors of the inbox's disk into messages that say what to do."""
    try:
        yield
    except OSError as e:
        what = f"{inbox}: the job cannot be put into the inbox"
        if e.errno in (errno.EACCES, errno.EPERM):
            raise RequestError(f"{what}: this user may not write there; {_who_may(inbox)}") from e
        if e.errno == errno.ENOENT:
            raise DeviceError(f"{what}: there is no such folder; `sonic-edge run` creates it") from e
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DeviceError(f"{what}: the disk is full; free some space and try again") from e
        raise DeviceError(f"{what}: {e.strerror}") from e


def _who_may(inbox: Path) -> str:
    group = "sonic-edge"
    with suppress(OSError, KeyError):  # this user may not look, or the group has no name
        group = grp.getgrgid(inbox.stat().st_gid).gr_name
    return f"members of group {group} may (as root: usermod -aG {group} NAME, then log in again)"


def _delete_stale_drafts(inbox: Path) -> None:
    """Delete drafts that crashes left behind."""
    for name in disk.entries(inbox):
        if not _DRAFT.fullmatch(name):
            continue
        draft = inbox / name
        with suppress(OSError):  # another user's: their next submission deletes it
            if time.time() - draft.lstat().st_mtime < STALE_S:
                continue
            handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while somebody is writing it
                disk.remove(draft)
            finally:
                os.close(handle)


def _check_space(inbox: Path, files: Mapping[str, Source]) -> None:
    needed = sum(len(s) if isinstance(s, bytes) else os.fstat(s.fileno()).st_size for s in files.values())
    free = shutil.disk_usage(inbox).free
    if needed > free:
        raise DeviceError(
            f"{inbox}: the job cannot be put into the inbox: it needs {_mb(needed)}, but only {_mb(free)} are free; "
            "free some space and try again"
        )


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


def _copy(source: Source, target: Path, inbox: Path, mode: int) -> None:
    with _writing(inbox):
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as out:
        for chunk in _chunks(source, target.name):
            with _writing(inbox):
                out.write(chunk)
        with _writing(inbox):
            out.flush()
            os.fchmod(handle, mode)  # regardless of the umask
            os.fsync(handle)


def _chunks(source: Source, name: str) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        while chunk := source.read(_CHUNK_BYTES):
            yield chunk
    except OSError as e:
        raise RequestError(f"{name}: cannot be read: {e.strerror}") from e


def _publish(folders: Folders, draft: Path, name: str) -> str:
    """Rename the draft, which makes it a job; its name."""
    for tried in disk.numbered(name):
        if not _is_free(folders, tried):
            continue
        try:
            disk.rename(draft, folders.inbox / tried)
        except OSError as e:
            if e.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):  # another submission was quicker
                continue
            raise
        disk.sync(folders.inbox)
        break
    return tried


def _is_free(folders: Folders, name: str) -> bool:
    """Whether no job of this name is waiting, running or ended."""
    if any(name in (entry, Path(entry).stem) for entry in disk.entries(folders.inbox)):
        return False
    try:
        return folders.free_name(name) == name
    except PermissionError:  # only the daemon may read work
        ended = (folders.outbox / f"{name}.json", folders.outbox / f"{name}.mp4", folders.failed / name)
        return not any(map(disk.exists, ended))


# ---- the outcome ---------------------------------------------------------------------------------------------------


def _read(path: Path) -> Optional[Mapping[str, object]]:
    """The JSON object in a file; None if there is no such file, empty if it holds none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        try:
            data = json.loads(file.read())
        except ValueError:
            return {}
    return data if isinstance(data, dict) else {}


def _is_of(report: Mapping[str, object], speech_sha256: Optional[str]) -> bool:
    if speech_sha256 is None:
        return True
    inputs = report.get("inputs")
    speech = inputs.get("speech") if isinstance(inputs, dict) else None
    return not isinstance(speech, dict) or speech.get("sha256", speech_sha256) == speech_sha256
