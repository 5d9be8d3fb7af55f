"""Finds the jobs on a USB stick. It never walks the whole stick, follows no link, and goes by file names alone.

People keep all sorts of things in a stick's root. There, only what is clearly meant as a job counts: a recording and a
photo of one name, or a folder that holds one recording, one photo and nothing else but controls. In the folders made
for jobs, `FOLDERS`, everything that the inbox accepts is a job, including a lone recording if there is a configured
portrait to speak it.
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
"""Folders for jobs, below the stick's root."""
RESULTS = "结果 Results"
"""The folder for results; it is not searched for jobs."""
MAX_ENTRIES = 2000
"""Most entries of a folder that are looked at."""

_CHUNK_BYTES = 1 << 20
_MAX_IN_FOLDER = 20  # a folder in the root with more files is not a job


@dataclass(frozen=True)
class Found:
    """Files on the stick that are a job."""

    name: str
    recording: Path
    photo: Optional[Path]
    controls: Optional[Path]


@dataclass(frozen=True)
class Refused:
    """Something that was meant as a job but cannot be one."""

    name: str
    why: str
    error: str = "RequestError"
    """The error's class name, which decides the advice in the note on the stick."""


@dataclass(frozen=True)
class Digest:
    """Hashes that identify a job."""

    job: str
    """sha256 of its name and all its files: if one of them changes, it is another job."""
    recording: str
    """sha256 of the recording alone."""


def find_jobs(mount: Path, has_portrait: bool) -> Tuple[List[Found], List[Refused]]:
    """The jobs on a stick, sorted by name, and what cannot be one.

    Args:
        mount: Where the stick is mounted.
        has_portrait: Whether a recording may come without a photo.

    Raises:
        OSError: If the stick cannot be read.
    """
    found: List[Found] = []
    refused: List[Refused] = []
    files, folders = _entries(mount)
    for name, kinds in _grouped(files).items():
        if kinds["recording"] and kinds["photo"]:
            _add(name, kinds, found, refused)
    for folder in folders:
        if folder.name != RESULTS and folder.name not in FOLDERS:
            kinds_inside = _job_folder(folder)
            if kinds_inside is not None:
                _add(folder.name, kinds_inside, found, refused)
    for place in FOLDERS:
        if _is_folder(mount, place):
            _search_jobs_folder(mount / place, has_portrait, found, refused)
    return sorted(found, key=lambda f: f.name), refused


def open_regular(path: Path, what: str, max_bytes: int) -> BinaryIO:
    """Open a file on the stick for reading; never through a link.

    Args:
        path: The file.
        what: What it should be, for messages: ``a recording``.
        max_bytes: Its largest size.

    Raises:
        RequestError: If it is not a regular file, is empty or too large, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise RequestError(f"{path.name}: cannot be read from the stick: {e.strerror}") from e
    file = os.fdopen(handle, "rb")
    info = os.fstat(handle)
    why = ""
    if not stat.S_ISREG(info.st_mode):
        why = f"is not a regular file; {what} is needed"
    elif info.st_size == 0:
        why = f"is empty (0 bytes); {what} is needed"
    elif info.st_size > max_bytes:
        why = f"has {info.st_size} bytes; {what} may have at most {max_bytes}"
    if why:
        file.close()
        raise RequestError(f"{path.name}: {why}")
    return file


def digest(found: Found, files: Dict[str, BinaryIO], tick: Callable[[], None]) -> Digest:
    """Hash a job's files, and rewind them.

    Args:
        found: The job.
        files: Its open files, by kind: "recording", "photo", "controls".
        tick: Called after each chunk.

    Raises:
        RequestError: If the stick cannot be read.
    """
    whole = hashlib.sha256(found.name.encode(errors="surrogateescape"))
    recording = ""
    for kind, file in sorted(files.items()):
        one = hashlib.sha256()
        try:
            while chunk := file.read(_CHUNK_BYTES):
                one.update(chunk)
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
    """The regular files and the folders in a folder, without hidden ones and links."""
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


def _is_folder(mount: Path, place: str) -> bool:
    """Whether there is such a folder, reached without a link."""
    path = mount
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
    """Files by name without suffix; upper and lower case are the same, as on FAT."""
    groups: Dict[str, List[Path]] = {}
    for path in files:
        groups.setdefault(unicodedata.normalize("NFC", path.stem).casefold(), []).append(path)
    return {group[0].stem: _kinds(group) for group in groups.values()}


def _job_folder(folder: Path) -> Optional[_Kinds]:
    """The files of a folder in the root that is clearly a job; None if it is not one."""
    try:
        files, folders = _entries(folder)
    except OSError:
        return None
    kinds = _kinds(files)
    n_each = len(kinds["recording"]), len(kinds["photo"]), len(kinds["other"]), len(folders)
    return kinds if len(files) <= _MAX_IN_FOLDER and n_each == (1, 1, 0, 0) else None


def _search_jobs_folder(place: Path, has_portrait: bool, found: List[Found], refused: List[Refused]) -> None:
    """Add all jobs of a folder that is made for them."""
    files, folders = _entries(place)
    groups = list(_grouped(files).items())
    for folder in folders:
        if folder.name != "inbox":  # searched by itself
            try:
                groups.append((folder.name, _kinds(_entries(folder)[0])))
            except OSError as e:
                refused.append(Refused(folder.name, f"{folder.name}: cannot be read from the stick: {e.strerror}"))
    for name, kinds in groups:
        if not kinds["recording"]:
            continue
        if kinds["photo"] or has_portrait:
            _add(name, kinds, found, refused)
        else:
            refused.append(Refused(name, f"{name}: there is no photo with it; put a photo of the same name beside it"))


def _add(name: str, kinds: _Kinds, found: List[Found], refused: List[Refused]) -> None:
    for kind in ("recording", "photo", "controls"):
        if len(kinds[kind]) > 1:
            listed = ", ".join(p.name for p in kinds[kind][:5])
            refused.append(
                Refused(name, f"{name}: holds {len(kinds[kind])} files of kind {kind} ({listed}); it must hold one")
            )
            return
    first = {kind: paths[0] if paths else None for kind, paths in kinds.items()}
    recording = first["recording"]
    assert recording is not None
    found.append(Found(name, recording, first["photo"], first["controls"]))
