"""Put a job into the inbox, and see how it ended: for whoever has files and is not the daemon.

The job is written in a hidden folder beside its place and renamed there, so that the daemon sees all of it or nothing.
A hidden folder that a crash left is taken away by whoever gives next.
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
"""A draft that nobody holds and nobody has touched for so long was left by a crash."""

_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\.part")
_PIECE_BYTES = 1 << 20
_SAME_NAME = 100  # so many jobs of one name are looked at to find how one ended

Source = Union[bytes, BinaryIO]
"""What a file of the job is to hold: this, or what an open file holds."""


@dataclass(frozen=True)
class End:
    """How a job ended: with a video or with a reason."""

    video: Optional[Path]
    """``outbox/<name>.mp4``; None if the job failed."""
    told: Mapping[str, object]
    """The report, or ``reason.json``."""


def submit(root: Path, name: str, files: Mapping[str, Source], is_private: bool = False) -> str:
    """Put a job into the inbox, whole or not at all, durably.

    Args:
        root: The spool.
        name: What the job is to be called; made safe, and numbered if there is one of that name.
        files: Name in the job's folder -> what it is to hold.
        is_private: It goes when the job is done, and nobody but the daemon's user may read it meanwhile.

    Returns:
        The name it has in the inbox.

    Raises:
        RequestError: If a source cannot be read, or this user may not put anything into the inbox.
        DeviceError: If there is no inbox, no space, or the disk fails.
    """
    folders = Folders(root)
    inbox = folders.inbox
    with _writing(inbox):
        _sweep(inbox)
        _check_space(inbox, files)
        draft = inbox / f".{safe_id(name)}.{secrets.token_hex(4)}.part"
        draft.mkdir(mode=0o700)
    handle = None
    try:
        with _writing(inbox):
            handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_EX)  # not stale, whatever the clock says
        for file_name, source in files.items():
            _copy(source, draft / file_name, inbox, 0o600 if is_private else 0o660)
        with _writing(inbox):
            if is_private:
                (draft / PRIVATE).touch(mode=0o600)
            else:  # the daemon, of the same group, must be able to move it
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
    """The first name for a job that is free everywhere in the spool.

    Raises:
        DeviceError: If the spool cannot be looked at.
    """
    folders = Folders(root)
    with _writing(folders.inbox):
        return next(tried for tried in disk.numbered(safe_id(name)) if _is_free(folders, tried))


def end_of(root: Path, name: str, speech_sha256: Optional[str] = None) -> Optional[End]:
    """How the job that `submit` put in by this name ended; None if it has not.

    Args:
        root: The spool.
        name: As `submit` returned it: free everywhere at that moment, so that whatever ended by it ended since.
        speech_sha256: Of its recording. Lest a job of the same name that came at the same time is taken for it.

    Raises:
        DeviceError: If outbox or failed cannot be read.
    """
    folders = Folders(root)
    try:
        for tried in islice(disk.numbered(name), _SAME_NAME):
            report = _read(folders.outbox / f"{tried}.json")
            if report is not None and _is_of(report, speech_sha256):
                return End(folders.outbox / f"{tried}.mp4", report)
            reason = _read(folders.failed / tried / REASON)
            if reason is not None:
                return End(None, reason)
            if report is None:
                break
    except OSError as e:
        raise DeviceError(f"{root}: how {name} ended cannot be seen: {e.strerror}") from e
    return None


# ---- giving --------------------------------------------------------------------------------------------------------


@contextmanager
def _writing(inbox: Path) -> Iterator[None]:
    """Turn what goes wrong in the inbox into words."""
    try:
        yield
    except OSError as e:
        what = f"{inbox}: the job cannot be put into the inbox"
        if e.errno in (errno.EACCES, errno.EPERM):
            raise RequestError(f"{what}: this user may not write there; {_who_may(inbox)}") from e
        if e.errno == errno.ENOENT:
            raise DeviceError(f"{what}: there is no such folder; `sonic-edge run` makes it") from e
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DeviceError(f"{what}: the disk is full; make room and try again") from e
        raise DeviceError(f"{what}: {e.strerror}") from e


def _who_may(inbox: Path) -> str:
    group = "sonic-edge"
    with suppress(OSError, KeyError):  # one who may not even look, or a group without a name
        group = grp.getgrgid(inbox.stat().st_gid).gr_name
    return f"members of group {group} may (as root: usermod -aG {group} NAME, then log in again)"


def _sweep(inbox: Path) -> None:
    """Take away drafts that crashes left."""
    for name in disk.entries(inbox):
        if not _DRAFT.fullmatch(name):
            continue
        draft = inbox / name
        with suppress(OSError):  # another's, which goes when they give
            if time.time() - draft.lstat().st_mtime < STALE_S:
                continue
            handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while somebody writes it
                disk.remove(draft)
            finally:
                os.close(handle)


def _check_space(inbox: Path, files: Mapping[str, Source]) -> None:
    needed = sum(len(s) if isinstance(s, bytes) else os.fstat(s.fileno()).st_size for s in files.values())
    free = shutil.disk_usage(inbox).free
    if needed > free:
        raise DeviceError(
            f"{inbox}: the job cannot be put into the inbox: it has {_mb(needed)}, and {_mb(free)} are free there; "
            "make room and try again"
        )


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


def _copy(source: Source, target: Path, inbox: Path, mode: int) -> None:
    with _writing(inbox):
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as out:
        for piece in _pieces(source, target.name):
            with _writing(inbox):
                out.write(piece)
        with _writing(inbox):
            out.flush()
            os.fchmod(handle, mode)  # whatever the umask is
            os.fsync(handle)


def _pieces(source: Source, name: str) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        while piece := source.read(_PIECE_BYTES):
            yield piece
    except OSError as e:
        raise RequestError(f"{name}: cannot be read: {e.strerror}") from e


def _publish(folders: Folders, draft: Path, name: str) -> str:
    """The rename that makes it a job."""
    for tried in disk.numbered(name):
        if not _is_free(folders, tried):
            continue
        try:
            disk.rename(draft, folders.inbox / tried)
        except OSError as e:
            if e.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):  # somebody was quicker
                continue
            raise
        disk.sync(folders.inbox)
        break
    return tried


def _is_free(folders: Folders, name: str) -> bool:
    """Whether no job of this name is waiting, under way or ended."""
    if any(name in (entry, Path(entry).stem) for entry in disk.entries(folders.inbox)):
        return False
    try:
        return folders.free_name(name) == name
    except PermissionError:  # work is the daemon's own
        ended = (folders.outbox / f"{name}.json", folders.outbox / f"{name}.mp4", folders.failed / name)
        return not any(map(disk.exists, ended))


# ---- its end -------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Optional[Mapping[str, object]]:
    """A JSON object; None if there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        try:
            told = json.loads(file.read())
        except ValueError:
            return {}
    return told if isinstance(told, dict) else {}


def _is_of(report: Mapping[str, object], speech_sha256: Optional[str]) -> bool:
    if speech_sha256 is None:
        return True
    inputs = report.get("inputs")
    speech = inputs.get("speech") if isinstance(inputs, dict) else None
    return not isinstance(speech, dict) or speech.get("sha256", speech_sha256) == speech_sha256
