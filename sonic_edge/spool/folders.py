"""The spool's four folders, their lock, and how their failures are told."""

import errno
import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from .. import disk
from ..errors import ConfigError, DeviceError

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
        for tried in disk.numbered(name):
            places = [self.outbox / f"{tried}{suffix}" for suffix in (".mp4", ".json", ".inputs")]
            places.append(self.failed / tried)
            if not (is_own and tried == name):
                places.append(self.work / tried)
            if not any(map(disk.exists, places)):
                break
        return tried

    def trash(self, folder: Path) -> None:
        """Take away a job's folder in work; see the package on why in two steps."""
        grave = self.work / f".trash-{folder.name}"
        disk.remove(grave)
        disk.rename(folder, grave)
        disk.sync(self.work)
        disk.remove(grave)
