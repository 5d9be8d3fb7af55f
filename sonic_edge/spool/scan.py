"""Which jobs are in the inbox, and whether their files are complete.

Nothing marks a file as complete: it counts as complete when neither its size nor its time has changed for a while.
"""

import logging
import os
import time
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import AbstractSet, Dict, List, Optional, Set, Tuple

from .. import disk
from ..config import SpoolSettings
from .job import CONTROLS, MAX_ENTRIES, PHOTOS, RECORDINGS, FileStamp, suffix_of

log = logging.getLogger(__name__)

UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".crdownload", ".download", "~")
"""Suffixes that copying programs give to files they are still writing."""

HINT = "; the daemon's user must be able to read and move it: chgrp -R sonic-edge NAME && chmod -R g+rwX NAME"
"""What to do about files that another user owns."""

_JOB_SUFFIXES = RECORDINGS | PHOTOS | CONTROLS
_TIME_SLACK_NS = 2_000_000_000  # FAT stores times to two seconds


@dataclass
class Candidate:
    """Something in the inbox that may be a job."""

    name: str
    """The folder's name, or the stem of the files."""
    is_folder: bool
    files: List[FileStamp] = field(default_factory=list)
    """All files that must stop changing first, unfinished ones too."""

    @property
    def key(self) -> Tuple[bool, str]:
        """What identifies it among the candidates."""
        return self.is_folder, self.name

    @property
    def finished(self) -> Tuple[FileStamp, ...]:
        """The files whose names say that they are complete: these become the job's."""
        return tuple(sorted(f for f in self.files if _finished_name(f.name) == f.name))

    @property
    def age_key(self) -> Tuple[int, str]:
        """Sort key: the oldest first."""
        return max((f.changed for f in self.files), default=0), self.name


@dataclass
class _Unchanged:
    """A candidate's files, and since when they have not changed, seconds on the monotonic clock."""

    files: Tuple[FileStamp, ...]
    since: float
    is_reported: bool = False
    not_before: float = 0.0


class InboxScanner:
    """Scans the inbox repeatedly, and remembers what it found.

    Args:
        inbox: The folder.
        settings: How long files must stay unchanged.
    """

    def __init__(self, inbox: Path, settings: SpoolSettings) -> None:
        self._inbox = inbox
        self._settle_s = settings.settle_s
        self._patience_s = max(settings.settle_s, settings.pair_s)
        self._seen: Dict[Tuple[bool, str], _Unchanged] = {}
        self._ignored: Dict[str, Set[str]] = {}  # reason -> names
        self.looked = float("-inf")
        """When it was last scanned, on the monotonic clock."""
        self.waiting: List[Candidate] = []
        """Candidates with a recording at the last scan, the oldest first."""
        self._without_recording: List[str] = []

    def due(self) -> Optional[Candidate]:
        """Scan once; the oldest candidate that is complete and has not changed for long enough."""
        self.looked = time.monotonic()
        candidates = sorted(self._scan(), key=lambda c: c.age_key)
        self.waiting = [c for c in candidates if _any_of(RECORDINGS, c.finished)]
        keys = {c.key for c in candidates}
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}
        due = [c for c in candidates if self._is_due(c)]  # of all of them, to note since when each has not changed
        if self._without_recording:
            log.warning("inbox: left in place, there is no recording with it: %s", _first_few(self._without_recording))
            self._without_recording = []
        return due[0] if due else None

    def leave(self, candidate: Candidate, for_s: float) -> None:
        """Skip a candidate that `due` returned for this long, seconds."""
        self._seen[candidate.key].not_before = time.monotonic() + for_s

    def _scan(self) -> List[Candidate]:
        """Everything that may be a job; anything else is logged, once."""
        groups: Dict[str, Candidate] = {}
        folders: List[Candidate] = []
        ignored: Dict[str, Set[str]] = {
            "not a recording, photo or job folder": set(),
            f"cannot be read{HINT}": set(),
        }
        unknown, unreadable = ignored.values()
        with os.scandir(self._inbox) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                base = _finished_name(entry.name)
                suffix = suffix_of(base)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(_scan_folder(entry))
                    elif suffix in _JOB_SUFFIXES:
                        # macOS decomposes accents in file names, others do not
                        stem = unicodedata.normalize("NFC", base[: -len(suffix)])
                        groups.setdefault(stem, Candidate(stem, is_folder=False)).files.append(_stamp(entry))
                    elif base == entry.name:
                        unknown.add(entry.name)
                except FileNotFoundError:  # removed during the scan
                    continue
                except PermissionError:
                    unreadable.add(entry.name)
                except _TooManyEntries:
                    unknown.add(entry.name)
        for reason, names in ignored.items():
            new = sorted(names - self._ignored.get(reason, set()))
            if new:
                log.warning("inbox: ignored, %s: %s", reason, _first_few(new))
        self._ignored = ignored
        return folders + list(groups.values())

    def _is_due(self, candidate: Candidate) -> bool:
        now = time.monotonic()
        files = tuple(sorted(candidate.files))
        seen = self._seen.get(candidate.key)
        if seen is None or seen.files != files:
            self._seen[candidate.key] = _Unchanged(files, now)
            return False
        unchanged_s = now - seen.since
        finished = candidate.finished
        if not _any_of(RECORDINGS, finished):
            if unchanged_s >= self._patience_s and not seen.is_reported:
                seen.is_reported = True
                self._without_recording.append(candidate.name)
            return False
        whole = _any_of(PHOTOS, finished) and finished == files
        return unchanged_s >= (self._settle_s if whole else self._patience_s) and now >= seen.not_before


class _TooManyEntries(Exception):
    """A folder in the inbox holds too many entries to be a job."""


def _scan_folder(entry: "os.DirEntry[str]") -> Candidate:
    """A folder in the inbox as a candidate."""
    found = Candidate(entry.name, is_folder=True)
    with os.scandir(entry.path) as entries:
        for n_seen, inner in enumerate(entries):
            if n_seen >= MAX_ENTRIES:
                raise _TooManyEntries
            if not inner.name.startswith("."):
                found.files.append(_stamp(inner))
    return found


def _stamp(entry: "os.DirEntry[str]") -> FileStamp:
    info = entry.stat(follow_symlinks=False)
    return FileStamp(entry.name, info.st_size, info.st_mtime_ns)


def _first_few(names: List[str]) -> str:
    """The first five names, and how many more there are, for the log."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more


def _any_of(suffixes: AbstractSet[str], files: Tuple[FileStamp, ...]) -> bool:
    return any(suffix_of(f.name) in suffixes for f in files)


def _finished_name(name: str) -> str:
    """The name a file will have once it is complete: ``a.wav.part`` -> ``a.wav``."""
    lower = name.lower()
    if not lower.endswith(UNFINISHED):
        return name
    return next(name[: -len(suffix)] for suffix in UNFINISHED if lower.endswith(suffix))


def is_same_file(path: Path, seen: FileStamp) -> bool:
    """Whether a file is unchanged since it was seen: same size, same time within two seconds."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return False
    return info.st_size == seen.size and abs(info.st_mtime_ns - seen.changed) <= _TIME_SLACK_NS


def is_same_folder(path: Path, seen: Tuple[FileStamp, ...]) -> bool:
    """Whether a folder still holds the same files, unchanged since they were seen."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = {n for n in disk.entries(path) if not n.startswith(".") and _finished_name(n) == n}
    return names == {s.name for s in seen} and all(is_same_file(path / s.name, s) for s in seen)
