"""Space on the spool's disk: whether there is enough, and which old results to delete."""

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Collection, Dict, List, Optional

from .. import disk
from ..config import DiskSettings
from .folders import Folders

log = logging.getLogger(__name__)

MB = 1_000_000
LOOK_EVERY_S = 60.0
"""How often outbox is checked."""
STEADY_S = 3600.0
"""Results are deleted for their age only after the clock has run this long without a jump: a box without a clock
battery starts in 1970, and one whose clock is set to 2040 must not delete everything."""

_JUMP_S = 60.0
_FEW_INODES = 200
_SUFFIXES = (".json", ".mp4", ".inputs")  # in the order in which they are deleted from outbox


@dataclass(frozen=True)
class DiskStatus:
    """The spool's disk; sizes in millions of bytes."""

    free_mb: float = 0.0
    total_mb: float = 0.0
    floor_mb: int = 0
    """With less free than this no job is begun."""
    outbox_mb: float = 0.0
    """What the results in outbox take."""
    removed: int = 0
    """Results deleted from outbox to keep within ``disk.keep_days`` and ``disk.keep_mb``."""


@dataclass
class _Result:
    """The files of one job in outbox."""

    name: str
    paths: List[Path] = field(default_factory=list)
    n_bytes: int = 0
    changed: float = 0.0


class DiskQuota:
    """Watches free space, and deletes old results.

    Args:
        folders: The spool.
        settings: How much space stays free, and how long results are kept.
    """

    def __init__(self, folders: Folders, settings: DiskSettings) -> None:
        self._folders = folders
        self.settings = settings
        self._look_at = 0.0
        self._outbox_mb = 0.0
        self._n_removed = 0
        self._offset_s = time.time() - time.monotonic()
        self._steady_since = time.monotonic()

    def lacking(self, share: float = 1.0) -> str:
        """Why there is not enough space, in words; empty if there is.

        Args:
            share: The part of ``disk.floor_mb`` that must be free, 0..1.
        """
        try:
            info = os.statvfs(self._folders.root)
        except OSError as e:
            return f"spool {self._folders.root}: {e.strerror}"
        free_mb, floor_mb = info.f_bavail * info.f_frsize / MB, self.settings.floor_mb * share
        if free_mb < floor_mb:
            return (
                f"disk full: {free_mb:.0f} MB free at {self._folders.root}, {floor_mb:.0f} MB needed "
                f"(disk.floor_mb = {self.settings.floor_mb})"
            )
        if info.f_files and info.f_favail < _FEW_INODES * share:
            return f"disk full: only {info.f_favail} more files can be created in {self._folders.root}"
        if info.f_flag & os.ST_RDONLY:
            return f"disk read-only: {self._folders.root}"
        return ""

    def status(self) -> Optional[DiskStatus]:
        """The part `disk` of the status; None if the disk does not answer."""
        try:
            info = os.statvfs(self._folders.root)
        except OSError:
            return None
        return DiskStatus(
            free_mb=round(info.f_bavail * info.f_frsize / MB, 1),
            total_mb=round(info.f_blocks * info.f_frsize / MB, 1),
            floor_mb=self.settings.floor_mb,
            outbox_mb=round(self._outbox_mb, 1),
            removed=self._n_removed,
        )

    def look_soon(self) -> None:
        """Check outbox at the next `tidy`: it has a new result, or the settings have changed."""
        self._look_at = 0.0

    def tidy(self, playing: Callable[[], Collection[Path]]) -> None:
        """Delete the oldest results, as the settings demand. Does nothing within `LOOK_EVERY_S` of the last time.

        Args:
            playing: Returns the videos that are on the screen or queued for it; they are kept, as is the newest result.

        Raises:
            OSError: If the disk fails.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        results = self._results()
        total = sum(r.n_bytes for r in results)
        needed = set(playing())
        cutoff = self._cutoff()
        for result in results[:-1]:
            is_old = result.changed < cutoff
            if not (is_old or self._is_too_much(total)):
                continue
            if needed.isdisjoint(result.paths):
                log.info("%s: deleted from outbox, %s", result.name, "too old" if is_old else "outbox is too large")
                self._remove(result)
                total -= result.n_bytes
        self._outbox_mb = total / MB

    def _results(self) -> List[_Result]:
        """The results in outbox, the oldest first."""
        found: Dict[str, _Result] = {}
        with os.scandir(self._folders.outbox) as entries:
            for entry in entries:
                path = Path(entry.path)
                if path.suffix not in _SUFFIXES or path.name.startswith("."):
                    continue  # not ours
                info = entry.stat(follow_symlinks=False)
                result = found.setdefault(path.stem, _Result(path.stem))
                result.paths.append(path)
                result.changed = max(result.changed, info.st_mtime)
                result.n_bytes += info.st_size
                if path.suffix == ".inputs" and entry.is_dir(follow_symlinks=False):
                    with os.scandir(entry.path) as inner:
                        result.n_bytes += sum(i.stat(follow_symlinks=False).st_size for i in inner)
        return sorted(found.values(), key=lambda r: (r.changed, r.name))

    def _cutoff(self) -> float:
        """Results older than this are too old, seconds since 1970."""
        now, offset_s = time.monotonic(), time.time() - time.monotonic()
        if abs(offset_s - self._offset_s) > _JUMP_S:
            self._steady_since = now
        self._offset_s = offset_s
        if self.settings.keep_days is None or now - self._steady_since < STEADY_S:
            return float("-inf")
        return time.time() - self.settings.keep_days * 86400

    def _is_too_much(self, n_bytes: int) -> bool:
        return self.settings.keep_mb is not None and n_bytes > self.settings.keep_mb * MB

    def _remove(self, result: _Result) -> None:
        """The report goes first: without it, a video no longer counts as a result."""
        trash = self._folders.work / f".trash-{result.name}"
        disk.remove(trash)
        trash.mkdir()
        for path in sorted(result.paths, key=lambda p: _SUFFIXES.index(p.suffix)):
            disk.rename(path, trash / path.name)
        disk.sync(self._folders.outbox)
        disk.remove(trash)
        self._n_removed += 1
