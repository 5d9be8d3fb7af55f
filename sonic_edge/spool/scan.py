"""What lies in the inbox, and whether it is complete and still.

Nothing says that a file is complete: it is when neither its size nor its time has changed for a while.
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
from .job import CONTROLS, MAX_ENTRIES, PHOTOS, RECORDINGS, Seen, suffix_of

log = logging.getLogger(__name__)

UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".crdownload", ".download", "~")
"""How copying programs end the names of files they are still writing."""

HINT = "; the daemon's user must be able to read and move it: chgrp -R sonic-edge NAME && chmod -R g+rwX NAME"
"""What to do about what somebody else owns."""

_OURS = RECORDINGS | PHOTOS | CONTROLS
_TIME_SLACK_NS = 2_000_000_000  # FAT keeps times to two seconds


@dataclass
class Candidate:
    """Something in the inbox that may be a job."""

    name: str
    """The folder's name, or the stem of the files."""
    is_folder: bool
    files: List[Seen] = field(default_factory=list)
    """Everything that counts for stillness, unfinished files too."""

    @property
    def key(self) -> Tuple[bool, str]:
        """What tells it from the others."""
        return self.is_folder, self.name

    @property
    def finished(self) -> Tuple[Seen, ...]:
        """The files that will be the job's."""
        return tuple(sorted(f for f in self.files if _finished_name(f.name) == f.name))

    @property
    def age_key(self) -> Tuple[int, str]:
        """Sorts the oldest first."""
        return max((f.changed for f in self.files), default=0), self.name


@dataclass
class _Stillness:
    """Since when a candidate has looked the same."""

    files: Tuple[Seen, ...]
    since: float
    told: bool = False
    not_before: float = 0.0


class InboxScanner:
    """Looks through the inbox again and again, and remembers what it saw.

    Args:
        inbox: The folder.
        settings: How patient to be.
    """

    def __init__(self, inbox: Path, settings: SpoolSettings) -> None:
        self._inbox = inbox
        self._settle_s = settings.settle_s
        self._patience_s = max(settings.settle_s, settings.pair_s)
        self._seen: Dict[Tuple[bool, str], _Stillness] = {}
        self._left: Dict[str, Set[str]] = {}  # why -> names
        self.looked = float("-inf")
        """When it was looked through last, on the monotonic clock."""
        self.waiting: List[Candidate] = []
        """What lay there at the last look and has a recording, the oldest first."""
        self._alone: List[str] = []

    def due(self) -> Optional[Candidate]:
        """Look once; the oldest candidate that is complete and has lain still for long enough."""
        self.looked = time.monotonic()
        candidates = sorted(self._look(), key=lambda c: c.age_key)
        self.waiting = [c for c in candidates if _any_of(RECORDINGS, c.finished)]
        keys = {c.key for c in candidates}
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}
        due = [c for c in candidates if self._is_due(c)]  # all of them: each is to be seen lying still
        if self._alone:
            log.warning("inbox: left lying, there is no recording with it: %s", _some(self._alone))
            self._alone = []
        return due[0] if due else None

    def leave(self, candidate: Candidate, for_s: float) -> None:
        """Let a candidate that `due` gave lie for a while."""
        self._seen[candidate.key].not_before = time.monotonic() + for_s

    def _look(self) -> List[Candidate]:
        """Everything that may be a job; what else there is goes to the log, once."""
        groups: Dict[str, Candidate] = {}
        folders: List[Candidate] = []
        left: Dict[str, Set[str]] = {
            "not a recording, photo or job folder": set(),
            f"cannot be looked into{HINT}": set(),
        }
        strangers, closed = left.values()
        with os.scandir(self._inbox) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                base = _finished_name(entry.name)
                suffix = suffix_of(base)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(_look_into(entry))
                    elif suffix in _OURS:
                        # a Mac decomposes accents in names, others do not
                        stem = unicodedata.normalize("NFC", base[: -len(suffix)])
                        groups.setdefault(stem, Candidate(stem, is_folder=False)).files.append(_see(entry))
                    elif base == entry.name:
                        strangers.add(entry.name)
                except FileNotFoundError:  # it went while we looked
                    continue
                except PermissionError:
                    closed.add(entry.name)
                except _TooMuch:
                    strangers.add(entry.name)
        for why, names in left.items():
            new = sorted(names - self._left.get(why, set()))
            if new:
                log.warning("inbox: left lying, %s: %s", why, _some(new))
        self._left = left
        return folders + list(groups.values())

    def _is_due(self, candidate: Candidate) -> bool:
        now = time.monotonic()
        files = tuple(sorted(candidate.files))
        seen = self._seen.get(candidate.key)
        if seen is None or seen.files != files:
            self._seen[candidate.key] = _Stillness(files, now)
            return False
        still_s = now - seen.since
        finished = candidate.finished
        if not _any_of(RECORDINGS, finished):
            if still_s >= self._patience_s and not seen.told:
                seen.told = True
                self._alone.append(candidate.name)
            return False
        whole = _any_of(PHOTOS, finished) and finished == files
        return still_s >= (self._settle_s if whole else self._patience_s) and now >= seen.not_before


class _TooMuch(Exception):
    """A folder in the inbox holds too much to be a job."""


def _look_into(entry: "os.DirEntry[str]") -> Candidate:
    """A folder in the inbox as a candidate."""
    found = Candidate(entry.name, is_folder=True)
    with os.scandir(entry.path) as entries:
        for n_seen, inner in enumerate(entries):
            if n_seen >= MAX_ENTRIES:
                raise _TooMuch
            if not inner.name.startswith("."):
                found.files.append(_see(inner))
    return found


def _see(entry: "os.DirEntry[str]") -> Seen:
    info = entry.stat(follow_symlinks=False)
    return Seen(entry.name, info.st_size, info.st_mtime_ns)


def _some(names: List[str]) -> str:
    """A line for the log, however many there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more


def _any_of(suffixes: AbstractSet[str], files: Tuple[Seen, ...]) -> bool:
    return any(suffix_of(f.name) in suffixes for f in files)


def _finished_name(name: str) -> str:
    """The name a file will have once it is written: ``a.wav.part`` -> ``a.wav``."""
    lower = name.lower()
    if not lower.endswith(UNFINISHED):
        return name
    return next(name[: -len(suffix)] for suffix in UNFINISHED if lower.endswith(suffix))


def is_same_file(path: Path, seen: Seen) -> bool:
    """Whether a file is still what was seen."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return False
    return info.st_size == seen.size and abs(info.st_mtime_ns - seen.changed) <= _TIME_SLACK_NS


def is_same_folder(path: Path, seen: Tuple[Seen, ...]) -> bool:
    """Whether a folder still holds what was seen in it."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = {n for n in disk.entries(path) if not n.startswith(".") and _finished_name(n) == n}
    return names == {s.name for s in seen} and all(is_same_file(path / s.name, s) for s in seen)
