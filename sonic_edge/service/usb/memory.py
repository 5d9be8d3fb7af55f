"""What was taken from sticks before: ``<spool>/sticks.json``, by content, bounded."""

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

MOST = 5000
"""Jobs that are remembered; the oldest are forgotten first."""


@dataclass(frozen=True)
class Taken:
    """A job that was taken from a stick."""

    name: str
    """As it was put into the inbox."""
    recording: str
    """sha256 of its recording."""
    ended: bool = False
    """Whether it was seen to have ended."""


class Memory:
    """Jobs by their digest. Made by `opened`."""

    def __init__(self, path: Path, jobs: Dict[str, Taken]) -> None:
        self._path = path
        self._jobs = jobs

    def get(self, key: str) -> Optional[Taken]:
        """A job; None if it is not known."""
        return self._jobs.get(key)

    def put(self, key: str, taken: Taken) -> None:
        """Remember, durably."""
        self._jobs.pop(key, None)
        self._jobs[key] = taken
        while len(self._jobs) > MOST:
            del self._jobs[next(iter(self._jobs))]
        disk.write(self._path, json.dumps({k: asdict(t) for k, t in self._jobs.items()}).encode())


@contextmanager
def opened(root: Path) -> Iterator[Memory]:
    """The memory, for us alone: a second stick waits its turn.

    Args:
        root: The spool.

    Raises:
        DeviceError: If the disk fails.
        RequestError: If this user may not write there.
    """
    path = root / "sticks.json"
    try:
        lock = os.open(root / "sticks.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Memory(path, _read(path))
        finally:
            os.close(lock)
    except PermissionError as e:
        raise RequestError(f"{e.filename}: this user may not write it; the daemon's user (sonic-edge) may") from e
    except OSError as e:
        raise DeviceError(f"{path}: cannot be kept: {e.strerror}") from e


def _read(path: Path) -> Dict[str, Taken]:
    try:
        return {str(key): Taken(**told) for key, told in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as e:
        log.warning("%s: cannot be understood (%s); what was taken before is forgotten", path, e)
        return {}
