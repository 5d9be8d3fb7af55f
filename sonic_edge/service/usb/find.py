"""What on a stick is a job. Never the whole stick is walked, no link is followed, and names alone decide.

In the stick's root people keep all sorts of things. There only what is plainly meant is a job: a recording and a photo
of one name, and a folder that holds one recording, one photo and nothing else but its controls. In the folders made for
it, `FOLDERS`, all that the inbox takes is a job: a recording alone too, if the configured portrait speaks it.
"""

import hashlib
import os
import stat
import unicodedata
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Callable, Dict, List, Optional, Tuple

from ...errors import RequestError
from ...spool.job import CONTROLS, PHOTOS, RECORDINGS, suffix_of

FOLDERS = ("任务", "sonic-edge", "sonic-edge/inbox")
"""On a stick, beside its root."""
RESULTS = "结果 Results"
"""Where results are put, and no jobs are looked for."""
MAX_ENTRIES = 2000
"""Of a folder that are looked at."""

_PIECE_BYTES = 1 << 20
_MAX_IN_FOLDER = 20  # a folder in the root that holds more is not a job


@dataclass(frozen=True)
class Found:
    """Files on the stick that are a job."""

    name: str
    recording: Path
    photo: Optional[Path]
    controls: Optional[Path]


@dataclass(frozen=True)
class Refused:
    """What was meant as a job and cannot be one."""

    name: str
    why: str
    error: str = "RequestError"
    """Kind of the error."""


@dataclass(frozen=True)
class Digest:
    """What tells a job from all others."""

    job: str
    """Of its name and all it holds: renamed or changed it is another."""
    recording: str
    """sha256 of the recording alone."""


def look(stick: Path, has_portrait: bool) -> Tuple[List[Found], List[Refused]]:
    """The jobs on a stick, by name.

    Args:
        stick: Where it is mounted.
        has_portrait: Whether a recording may come alone.

    Raises:
        OSError: If the stick cannot be read.
    """
    found: List[Found] = []
    refused: List[Refused] = []
    files, folders = _entries(stick)
    for name, kinds in _grouped(files).items():
        if kinds["recording"] and kinds["photo"]:
            _sort_in(name, kinds, found, refused)
    for folder in folders:
        if folder.name != RESULTS and folder.name not in FOLDERS:
            plain = _plainly_a_job(folder)
            if plain is not None:
                _sort_in(folder.name, plain, found, refused)
    for place in FOLDERS:
        if _is_folder(stick, place):
            _look_where_jobs_are_put(stick / place, has_portrait, found, refused)
    return sorted(found, key=lambda f: f.name), refused


def open_plain(path: Path, what: str, most_bytes: int) -> BinaryIO:
    """A file on the stick, opened to be read; never through a link.

    Raises:
        RequestError: If it is not a plain file, is empty or too large, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise RequestError(f"{path.name}: cannot be read from the stick: {e.strerror}") from e
    file = os.fdopen(handle, "rb")
    info = os.fstat(handle)
    why = ""
    if not stat.S_ISREG(info.st_mode):
        why = f"is not a plain file; {what} is needed"
    elif info.st_size == 0:
        why = f"is empty (0 bytes); {what} is needed"
    elif info.st_size > most_bytes:
        why = f"{info.st_size} bytes; {what} may have at most {most_bytes}"
    if why:
        file.close()
        raise RequestError(f"{path.name}: {why}")
    return file


def digest(found: Found, files: Dict[str, BinaryIO], tick: Callable[[], None]) -> Digest:
    """Read a job through; its files stand at their beginning again.

    Args:
        found: The job.
        files: What it holds, opened: "recording", "photo", "controls".
        tick: Called now and then.

    Raises:
        RequestError: If the stick cannot be read.
    """
    whole = hashlib.sha256(found.name.encode(errors="surrogateescape"))
    recording = ""
    for kind, file in sorted(files.items()):
        one = hashlib.sha256()
        try:
            while piece := file.read(_PIECE_BYTES):
                one.update(piece)
                tick()
            file.seek(0)
        except OSError as e:
            raise RequestError(f"{found.name}: cannot be read from the stick: {e.strerror}") from e
        whole.update(f"\0{kind} {one.hexdigest()}".encode())
        if kind == "recording":
            recording = one.hexdigest()
    return Digest(whole.hexdigest(), recording)


_Kinds = Dict[str, List[Path]]


def _entries(folder: Path) -> Tuple[List[Path], List[Path]]:
    """Plain files and folders in it, hidden ones and links left out."""
    files: List[Path] = []
    folders: List[Path] = []
    with os.scandir(folder) as entries:
        for entry in islice(entries, MAX_ENTRIES):
            if entry.name.startswith((".", "~")):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                files.append(Path(entry.path))
    return sorted(files), sorted(folders)


def _is_folder(stick: Path, place: str) -> bool:
    """Whether there is such a folder, with no link on the way."""
    path = stick
    for part in place.split("/"):
        path = path / part
        try:
            if not stat.S_ISDIR(path.lstat().st_mode):
                return False
        except FileNotFoundError:
            return False
    return True


def _kinds(files: List[Path]) -> _Kinds:
    kinds: _Kinds = {"recording": [], "photo": [], "controls": [], "other": []}
    for path in files:
        suffix = suffix_of(path.name)
        known = (("recording", RECORDINGS), ("photo", PHOTOS), ("controls", CONTROLS))
        kinds[next((kind for kind, suffixes in known if suffix in suffixes), "other")].append(path)
    return kinds


def _grouped(files: List[Path]) -> Dict[str, _Kinds]:
    """Files by what they are called without the suffix; sticks do not tell A from a."""
    groups: Dict[str, List[Path]] = {}
    for path in files:
        groups.setdefault(unicodedata.normalize("NFC", path.stem).casefold(), []).append(path)
    return {group[0].stem: _kinds(group) for group in groups.values()}


def _plainly_a_job(folder: Path) -> Optional[_Kinds]:
    try:
        files, folders = _entries(folder)
    except OSError:
        return None
    kinds = _kinds(files)
    n_each = len(kinds["recording"]), len(kinds["photo"]), len(kinds["other"]), len(folders)
    return kinds if len(files) <= _MAX_IN_FOLDER and n_each == (1, 1, 0, 0) else None


def _look_where_jobs_are_put(place: Path, has_portrait: bool, found: List[Found], refused: List[Refused]) -> None:
    files, folders = _entries(place)
    groups = list(_grouped(files).items())
    for folder in folders:
        if folder.name != "inbox":  # a place of its own
            try:
                groups.append((folder.name, _kinds(_entries(folder)[0])))
            except OSError as e:
                refused.append(Refused(folder.name, f"{folder.name}: cannot be read from the stick: {e.strerror}"))
    for name, kinds in groups:
        if not kinds["recording"]:
            continue
        if kinds["photo"] or has_portrait:
            _sort_in(name, kinds, found, refused)
        else:
            refused.append(Refused(name, f"{name}: comes without a photo; put a photo of the same name beside it"))


def _sort_in(name: str, kinds: _Kinds, found: List[Found], refused: List[Refused]) -> None:
    for kind in ("recording", "photo", "controls"):
        if len(kinds[kind]) > 1:
            listed = ", ".join(p.name for p in kinds[kind][:5])
            refused.append(Refused(name, f"{name}: holds {len(kinds[kind])} of kind {kind} ({listed}); one is needed"))
            return
    first = {kind: paths[0] if paths else None for kind, paths in kinds.items()}
    recording = first["recording"]
    assert recording is not None
    found.append(Found(name, recording, first["photo"], first["controls"]))
