"""Jobs that were imported from USB sticks before: ``<spool>/sticks.json``, by content, limited in number."""

import fcntl
import json
import logging
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterator, Optional

from ... import disk
from ...errors import DeviceError, RequestError

log = logging.getLogger(__name__)

MAX_JOBS = 5000
"""Jobs that are remembered; the oldest are forgotten first."""


@dataclass(frozen=True)
class Imported:
    """A job that was imported from a stick."""

    name: str
    """Its name in the inbox."""
    recording: str
    """sha256 of its recording."""
    ended: bool = False
    """Whether it is known to have ended."""


class History:
    """Imported jobs by digest. `open_history` makes it."""

    def __init__(self, path: Path, jobs: Dict[str, Imported]) -> None:
        self._path = path
        self._jobs = jobs

    def get(self, key: str) -> Optional[Imported]:
        """The job with this digest; None if it is not known."""
        return self._jobs.get(key)

    def put(self, key: str, imported: Imported) -> None:
        """Add or replace a job, durably."""
        self._jobs.pop(key, None)
        self._jobs[key] = imported
        while len(self._jobs) > MAX_JOBS:
            del self._jobs[next(iter(self._jobs))]
        disk.write(self._path, json.dumps({k: asdict(job) for k, job in self._jobs.items()}).encode())


@contextmanager
def open_history(root: Path) -> Iterator[History]:
    """The history, locked: a second stick waits until it is released.

    Args:
        root: The spool.

    Raises:
        DeviceError: If the disk fails.
        RequestError: If this user may not write to it.
    """
    path = root / "sticks.json"
    try:
        lock = os.open(root / "sticks.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield History(path, _read(path))
        finally:
            os.close(lock)
    except PermissionError as e:
        raise RequestError(
            f"{e.filename}: this user may not write to it; run this as the daemon's user (sonic-edge)"
        ) from e
    except OSError as e:
        raise DeviceError(f"{path}: cannot be written: {e.strerror}") from e


def _read(path: Path) -> Dict[str, Imported]:
    try:
        return {str(key): Imported(**job) for key, job in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as e:
        log.warning("%s: is damaged (%s); starting with an empty history", path, e)
        return {}
