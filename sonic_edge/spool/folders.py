"""The spool's four folders, its lock, and how disk errors are raised."""

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
    """Turn errors with a job's folder into a `DeviceError` that names the job.

    Raises:
        DeviceError: If the disk fails, or a record is not valid.
    """
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
        raise DeviceError(f"{job_id}: the spool failed: {e}") from e


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file (flock), which the kernel releases when the process ends in any way.

    Raises:
        DeviceError: If another process holds it; the message names that process. Not a ConfigError, because a daemon
            that is just stopping will have released it at the next attempt.
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
            raise DeviceError(f"spool {path.parent}: another daemon is using it (process {holder})") from e
        with suppress(OSError):  # the process id is only informative; it cannot be written to a full disk
            file.truncate(0)
            file.write(b"%d\n" % os.getpid())
        yield


# ---- the four folders --------------------------------------------------------------------------------------------


class Folders:
    """The paths of the spool.

    Args:
        root: The folder that contains them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.inbox = self.root / "inbox"
        self.work = self.root / "work"
        self.outbox = self.root / "outbox"
        self.failed = self.root / "failed"
        self.run = self.root / "run"
        """For files that only a running daemon needs: sockets, the idle scene."""

    def make(self) -> None:
        """Create the folders that are missing.

        Raises:
            ConfigError: If the folders cannot be created or written, or are on different file systems.
            DeviceError: If the disk fails.
        """
        four = (self.inbox, self.work, self.outbox, self.failed)
        try:
            for folder in (self.root, *four):
                folder.mkdir(parents=True, exist_ok=True)
            self.work.chmod(0o700)  # so that nobody changes a running job
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.ESTALE, errno.EROFS):
                raise DeviceError(f"spool {self.root}: cannot be created: {e.strerror}") from e
            problem = f"spool.root = {self.root}: must be a folder this user may write: {e.filename}: {e.strerror}"
            raise ConfigError(problem) from e
        for folder in four:
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise ConfigError(f"spool.root = {self.root}: {folder} must be a folder this user may write")
            if folder.stat().st_dev != self.inbox.stat().st_dev:
                raise ConfigError(f"spool.root = {self.root}: {folder.name} and inbox must be on one file system")

    def free_name(self, name: str, is_own: bool = False) -> str:
        """The first of `name`, `name`-2, `name`-3... that is not used anywhere in the spool.

        Args:
            name: The id of a job.
            is_own: The job has this id already, so its own folder in work does not count as use.
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
        """Delete a job's folder in work, in two steps; the package's docstring says why."""
        grave = self.work / f".trash-{folder.name}"
        disk.remove(grave)
        disk.rename(folder, grave)
        disk.sync(self.work)
        disk.remove(grave)
