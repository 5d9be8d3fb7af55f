"""What a job is: the kinds of file it may hold, its id, its record on disk."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Literal, Mapping, NamedTuple, Optional, Tuple, get_args

from .. import disk
from ..errors import RequestError

# fmt: off
RECORDINGS = frozenset((
    ".wav", ".wave", ".mp3", ".m4a", ".m4b", ".aac", ".ogg", ".oga", ".opus", ".flac", ".wma", ".amr", ".aif",
    ".aiff", ".aifc", ".caf", ".au", ".snd", ".w64", ".mka", ".ac3", ".eac3", ".mp2", ".ape", ".wv", ".tta",
    ".3ga", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".3g2", ".ts", ".mts", ".m2ts", ".mpg",
    ".mpeg", ".flv", ".wmv", ".ogv",
))
# fmt: on
"""Suffixes of sound and of video with sound, lower case."""

# fmt: off
PHOTOS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pnm",
    ".gif", ".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".sun", ".ras", ".avif", ".heic", ".heif",
))
# fmt: on
"""Suffixes of pictures, lower case."""

CONTROLS = frozenset((".yaml", ".yml"))
"""Suffixes of a job's controls, lower case."""

REASON = "reason.json"
"""In a failed job's folder: why it failed. Ignored when the folder is put into the inbox again."""

PRIVATE = ".private"
"""Marks the folder of a job whose recording and photo the box took itself: they are deleted when the job ends."""

MAX_ENTRIES = 1000
"""Most entries in a job's folder; it should hold two or three."""

_MAX_NAME_BYTES = 200  # of an id; leaves room for ".trash-", "-123", ".inputs" and encoders' temp suffixes within 255

State = Literal["claiming", "claimed", "running", "publishing", "failing"]
"""The states of a job; the package's docstring has the diagram."""


class FileStamp(NamedTuple):
    """A file as it was in the inbox when it was looked at."""

    name: str
    size: int
    """bytes"""
    changed: int
    """Time of the last change, ns."""


@dataclass(frozen=True)
class Record:
    """What ``job.json`` holds."""

    id: str
    state: State
    given: str
    """The folder's name, or the stem of the files, as the person wrote it."""
    is_folder: bool
    sources: Tuple[FileStamp, ...]
    """The files as they were in the inbox."""
    claimed: str
    """When it was claimed, ISO 8601."""
    deaths: int = 0
    interruptions: int = 0
    name: str = ""
    """Its name in outbox or failed; set in the states publishing and failing."""
    reason: Mapping[str, Any] = field(default_factory=dict)
    """What ``reason.json`` will hold; set in the state failing."""

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """The record of the job in ``work/<id>``.

        Raises:
            OSError, ValueError, TypeError, KeyError: If it cannot be read, is not a record, or is another job's.
        """
        data = json.loads((folder / "job.json").read_bytes())
        data["sources"] = tuple(
            FileStamp(str(name), int(size), int(changed)) for name, size, changed in data["sources"]
        )
        record = cls(**data)
        if record.id != folder.name or record.state not in get_args(State):
            raise ValueError(f"{folder.name}: job.json is for {record.id!r} in state {record.state!r}")
        return record

    def store(self, folder: Path) -> None:
        """Replace the record in ``work/<id>``, durably."""
        # ASCII, so that names that are not UTF-8 survive
        disk.write(folder / "job.json", json.dumps(asdict(self), indent=1).encode())


@dataclass(frozen=True)
class Job:
    """A claimed job, ready for the worker."""

    folder: Path
    """``work/<id>``"""
    speech: Path
    """The recording, a plain file in the job's folder."""
    portrait: Path
    """The photo: a plain file in the job's folder, or the configured one."""
    controls: Optional[Path]
    """The job's own controls: a YAML file, not read yet."""
    deaths: int
    """How often a worker has died or hung on it."""

    @property
    def id(self) -> str:
        """Its name: unique in work, outbox and failed at the time of the claim; safe as a file name and in a log."""
        return self.folder.name

    @property
    def output(self) -> Path:
        """The path to which the worker writes the video."""
        return output_in(self.folder)


def output_in(folder: Path) -> Path:
    """Where the worker writes the video of the job in ``work/<id>``."""
    return folder / "result" / f"{folder.name}.mp4"


def job_in(folder: Path, record: Record, default_portrait: Optional[Path]) -> Job:
    """The job in a claimed job's folder ``work/<id>``.

    Raises:
        RequestError: If the folder does not hold one recording, one photo (unless there is a default) and at most one
            file of controls, all regular files.
    """
    inputs = folder / "inputs"
    kinds: Dict[str, List[Path]] = {"recording": [], "photo": [], "controls file": []}
    others: List[Path] = []
    unknown: List[str] = []
    names = [name for name in sorted(disk.entries(inputs)) if not name.startswith(".")]
    if len(names) > MAX_ENTRIES:
        raise RequestError(f"{record.id}: holds {len(names)} files; a job is one recording and one photo")
    for name in names:
        path = inputs / name
        if not disk.is_plain(path):
            raise RequestError(f"{record.id}: {name!r} is {disk.what_is(path)}; only regular files are accepted")
        suffix = suffix_of(name)
        if suffix in RECORDINGS:
            kinds["recording"].append(path)
        elif suffix in PHOTOS:
            kinds["photo"].append(path)
        elif suffix in CONTROLS:
            others.append(path)
        elif name != REASON:
            unknown.append(name)
    # job.yaml, or one named like the recording: a failed pair that is retried comes back as a folder
    ours = {"job", *(path.stem.lower() for path in kinds["recording"])}
    kinds["controls file"] = [p for p in others if not record.is_folder or p.stem.lower() in ours]
    for kind, paths in kinds.items():
        if len(paths) > 1:
            listed = ", ".join(repr(p.name) for p in paths[:5])
            raise RequestError(f"{record.id}: holds {len(paths)} {kind}s ({listed}); it must hold one")
    if not kinds["recording"]:
        raise RequestError(f"{record.id}: holds no recording")
    if not kinds["photo"] and unknown:
        # that file may be meant as the photo: do not let the default portrait speak instead
        listed = ", ".join(repr(n) for n in unknown[:5])
        raise RequestError(
            f"{record.id}: holds no photo, but {listed}, which is not a known photo type; use JPEG or PNG"
        )
    portrait = kinds["photo"][0] if kinds["photo"] else default_portrait
    if portrait is None:
        raise RequestError(
            f"{record.id}: holds no photo and spool.portrait is not set; put a photo of the same name beside the "
            "recording, or set spool.portrait"
        )
    controls = kinds["controls file"][0] if kinds["controls file"] else None
    return Job(folder, kinds["recording"][0], portrait, controls, record.deaths)


def suffix_of(name: str) -> str:
    """The last suffix, lower case: ``.wav`` of ``a.b.WAV``; empty if there is none, or nothing before it."""
    stem, dot, last = name.rpartition(".")
    return f".{last.lower()}" if dot and stem else ""


def safe_id(name: str) -> str:
    """A name that people still recognise and that is safe in paths, logs and command lines.

    Control characters, bytes that are not UTF-8 and a leading dash or dot become ``_``; a long name is cut between
    characters and ends in a hash of the whole name.
    """
    text = "".join(c if c.isprintable() and c != "/" else "_" for c in name)
    if text[0] in "-.":
        text = "_" + text[1:]
    if len(text.encode()) > _MAX_NAME_BYTES:
        mark = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        text = text.encode()[: _MAX_NAME_BYTES - len(mark)].decode(errors="ignore") + mark
    return text


def now() -> str:
    """The time, ISO 8601 with the offset from UTC, to the millisecond."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
