"""The spool's folders, and the durable steps everything in them is made of."""

import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Iterator, List, Mapping

from ..errors import ConfigError, DeviceError

# ---- looking -----------------------------------------------------------------------------------------------------


def exists(path: Path) -> bool:
    """Whether there is anything by that name, be it a dangling link."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def is_plain(path: Path) -> bool:
    """Whether it is a file and not a link to one, a folder, a pipe..."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def what_is(path: Path) -> str:
    """What something is that is not a plain file, in words."""
    mode = path.lstat().st_mode
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def entries(folder: Path) -> List[str]:
    """The names in a folder; none if there is no such folder."""
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in found]
    except FileNotFoundError:
        return []


def numbered(name: str) -> Iterator[str]:
    """`name`, `name`-2, `name`-3... to take the first that is free."""
    yield name
    for n in count(2):
        yield f"{name}-{n}"


# ---- changing ----------------------------------------------------------------------------------------------------


def rename(source: Path, target: Path) -> None:
    """Every rename in the spool, so that tests can cut the power at each."""
    source.rename(target)


def sync(path: Path) -> None:
    """What is written in a file, or which names a folder holds, will survive a power cut from now on."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def write(path: Path, data: bytes) -> None:
    """Replace a file durably: it holds all of `data`, or what it held before."""
    draft = path.with_name(f".{path.name}.tmp")
    with suppress(FileNotFoundError):
        draft.unlink()
    with draft.open("xb") as file:
        file.write(data)
    sync(draft)
    rename(draft, path)
    sync(path.parent)


def write_for_people(path: Path, data: Mapping[str, object]) -> None:
    """JSON in which Chinese stays readable, and a name that is not UTF-8 shows its bytes as question marks."""
    text = json.dumps(data, ensure_ascii=False, indent=2, default=str) + "\n"
    write(path, text.encode(errors="replace"))


def remove(path: Path) -> None:
    """Take away a folder that no longer means anything; what cannot go now goes at the next start."""
    if exists(path):
        try:
            shutil.rmtree(path, ignore_errors=True)
        except RecursionError:  # folders in folders, a thousand deep
            subprocess.run(["rm", "-rf", "--", str(path)], check=False)


# ---- failing, locking --------------------------------------------------------------------------------------------


@contextmanager
def failing_as_device(job_id: str) -> Iterator[None]:
    """Tell what goes wrong with a job's folder.

    Raises:
        DeviceError: If the disk fails, or a record does not read as one.
    """
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
        raise DeviceError(f"{job_id}: the spool failed: {e}") from e


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends.

    Raises:
        DeviceError: Naming who holds it. Not a ConfigError: one that is just stopping will be gone at the next try.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise DeviceError(f"{path}: the lock cannot be opened: {e.strerror}") from e
    with os.fdopen(handle, "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            holder = file.read(32).decode(errors="replace").strip() or "unknown"
            raise DeviceError(f"spool {path.parent}: another daemon works here (process {holder})") from e
        with suppress(OSError):  # the name of the holder is only for people; on a full disk it is not known
            file.truncate(0)
            file.write(b"%d\n" % os.getpid())
        yield


# ---- the four folders --------------------------------------------------------------------------------------------


class Folders:
    """Where jobs come in, are worked on, and end.

    Args:
        root: The folder that holds the four.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.inbox = self.root / "inbox"
        self.work = self.root / "work"
        self.outbox = self.root / "outbox"
        self.failed = self.root / "failed"
        self.run = self.root / "run"
        """For what lives as long as a daemon: sockets, the idle scene."""

    def make(self) -> None:
        """Make what is missing.

        Raises:
            ConfigError: If the folders cannot be made or written, or lie on different file systems.
            DeviceError: If the disk fails.
        """
        four = (self.inbox, self.work, self.outbox, self.failed)
        try:
            for folder in (self.root, *four):
                folder.mkdir(parents=True, exist_ok=True)
            self.work.chmod(0o700)  # nobody changes a job that is being worked on
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.ESTALE, errno.EROFS):
                raise DeviceError(f"spool {self.root}: cannot be made: {e.strerror}") from e
            words = f"spool.root = {self.root}: must be a folder this user may write: {e.filename}: {e.strerror}"
            raise ConfigError(words) from e
        for folder in four:
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise ConfigError(f"spool.root = {self.root}: {folder} must be a folder this user may write")
            if folder.stat().st_dev != self.inbox.stat().st_dev:
                raise ConfigError(f"spool.root = {self.root}: {folder.name} and inbox must be on one file system")

    def free_name(self, name: str, is_own: bool = False) -> str:
        """The first of `numbered` that is used nowhere in the spool.

        Args:
            name: An id.
            is_own: It is the id of the job that asks, whose own folder in work is then no obstacle.
        """
        for tried in numbered(name):
            places = [self.outbox / f"{tried}{suffix}" for suffix in (".mp4", ".json", ".inputs")]
            places.append(self.failed / tried)
            if not (is_own and tried == name):
                places.append(self.work / tried)
            if not any(map(exists, places)):
                break
        return tried

    def trash(self, folder: Path) -> None:
        """Take away a job's folder in work; see the package on why in two steps."""
        grave = self.work / f".trash-{folder.name}"
        remove(grave)
        rename(folder, grave)
        sync(self.work)
        remove(grave)
