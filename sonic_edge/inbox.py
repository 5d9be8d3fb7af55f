"""The spool: jobs come in by the inbox, are worked on in work, and end in outbox or in failed, exactly once.

A job is a folder in the inbox holding one recording, one photo and an optional ``job.yaml``; or files of one stem lying
in the inbox itself (``a.wav`` + ``a.jpg`` [+ ``a.yaml``]); or a recording alone, which the configured portrait speaks.

Each claimed job is a folder ``work/<id>/``::

    job.json      its record, replaced durably at each step: the only truth about where the job stands
    inputs/       the person's files
    result/       what the worker writes; worth nothing until the record says publishing
    report.json   the finished report, until its rename into outbox, which is what ends the job

and its record goes through these states::

    claiming ---> claimed <---> running ---> publishing ---> (gone: outbox/<name>.json exists)
        |            |             |
        |            +-------------+-------> failing ------> (gone: failed/<name>/ exists)
        +--> (gone: nothing was moved yet)

The intent is written before the first move, and every step after it can be done again, so that whatever moment the
power goes, `Spool.recover` carries the job on from where it stood. A folder that has reached its end is renamed to
``work/.trash-<id>`` before it is taken apart: half a deletion never looks like a job.

Everything here trusts names and sizes only. What is in the files is for the worker to find out.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import time
import unicodedata
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Protocol, Set, Tuple, Type

from .config import SpoolSettings
from .errors import ConfigError, DeviceError, RequestError, SonicEdgeError

log = logging.getLogger(__name__)

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
    ".jp2", ".avif", ".heic", ".heif",
))
# fmt: on
"""Suffixes of pictures, lower case."""

CONTROLS = frozenset((".yaml", ".yml"))
"""Suffixes of a job's controls, lower case."""

_SUFFIXES = RECORDINGS | PHOTOS | CONTROLS

UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".crdownload", ".download", "~")
"""How copying programs end the names of files they are still writing."""

MAX_INTERRUPTIONS = 20
"""A job during which the whole daemon went down this often is given up: it may be what takes the box down."""

_MAX_ENTRIES = 1000  # in a job's folder; it should hold two or three
_MAX_NAME_BYTES = 200  # of an id: leaves room for ".trash-", "-123", ".inputs" and encoders' temp suffixes within 255
_TIME_SLACK_NS = 2_000_000_000  # FAT keeps times to two seconds
_TICK_S = 1.0


class Stop(Protocol):
    """What ends `Spool.watch`: a `threading.Event` will do."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds or until it is set; whether it is set."""


@dataclass(frozen=True)
class Job:
    """A claimed job with all it needs, ready to be worked on."""

    id: str
    """Its name: unique in work, outbox and failed when it was claimed; safe as a file name and in a log."""
    folder: Path
    """``work/<id>``"""
    speech: Path
    """The recording, a plain file in the job's folder."""
    portrait: Path
    """The photo: a plain file in the job's folder, or the configured one."""
    controls: Optional[Path]
    """The job's own controls, a YAML file nobody has read yet."""
    deaths: int
    """How often a worker died or hung on it so far."""

    @property
    def output(self) -> Path:
        """Where the worker is to write the video."""
        return self.folder / "result" / f"{self.id}.mp4"


@dataclass(frozen=True)
class _Record:
    """What ``job.json`` holds."""

    id: str
    state: str
    given: str
    """The folder's name, or the stem of the files, as the person wrote it."""
    is_folder: bool
    sources: Tuple[Tuple[str, int, int], ...]
    """What was seen in the inbox: (file name, bytes, time of last change in ns)."""
    claimed: str
    """When, ISO 8601."""
    deaths: int = 0
    interruptions: int = 0
    name: str = ""
    """The name in outbox or failed, from publishing or failing on."""
    reason: Mapping[str, Any] = field(default_factory=dict)
    """What ``reason.json`` will hold, from failing on."""


@dataclass
class _Candidate:
    """Something in the inbox that may be a job."""

    name: str
    is_folder: bool
    files: List[Tuple[str, int, int]] = field(default_factory=list)
    """(name, bytes, time of last change in ns) of everything that counts for stillness, unfinished files too."""
    unfinished: Set[str] = field(default_factory=set)

    @property
    def key(self) -> Tuple[bool, str]:
        return self.is_folder, self.name

    @property
    def finished(self) -> Tuple[Tuple[str, int, int], ...]:
        return tuple(sorted(f for f in self.files if f[0] not in self.unfinished))

    def has(self, suffixes: "frozenset[str]") -> bool:
        return any(_suffix(name) in suffixes for name, _, _ in self.finished)

    @property
    def age_key(self) -> Tuple[int, str]:
        return max((changed for _, _, changed in self.files), default=0), self.name


@dataclass
class _Stillness:
    """Since when a candidate has looked the same."""

    files: Tuple[Tuple[str, int, int], ...]
    since: float
    told: bool = False
    not_before: float = 0.0


class Spool:
    """The four folders. As a context manager it makes them and holds their lock.

    Args:
        settings: Where they are, and how patient to be.

    Raises (on entering):
        ConfigError: If the folders cannot be made or written, lie on different file systems, or the configured portrait
            is missing.
        DeviceError: If another daemon works here, or the disk fails.
    """

    def __init__(self, settings: SpoolSettings) -> None:
        self._settings = settings
        self.root = Path(settings.root).absolute()
        self.inbox = self.root / "inbox"
        self.work = self.root / "work"
        self.outbox = self.root / "outbox"
        self.failed = self.root / "failed"
        self._default_portrait = Path(settings.portrait).absolute() if settings.portrait else None
        self._seen: Dict[Tuple[bool, str], _Stillness] = {}
        self._strangers: Set[str] = set()
        self._troubles: Dict[str, str] = {}
        self._held = ExitStack()

    def __enter__(self) -> "Spool":
        try:
            for folder in (self.root, self.inbox, self.work, self.outbox, self.failed):
                folder.mkdir(parents=True, exist_ok=True)
            self.work.chmod(0o700)  # nobody changes a job that is being worked on
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.ESTALE, errno.EROFS):
                raise DeviceError(f"spool {self.root}: cannot be made: {e.strerror}") from e
            words = f"spool.root = {self.root}: must be a folder this user may write: {e.filename}: {e.strerror}"
            raise ConfigError(words) from e
        for folder in (self.inbox, self.work, self.outbox, self.failed):
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise ConfigError(f"spool.root = {self.root}: {folder} must be a folder this user may write")
        for folder in (self.work, self.outbox, self.failed):
            if folder.stat().st_dev != self.inbox.stat().st_dev:
                raise ConfigError(f"spool.root = {self.root}: {folder.name} and inbox must be on one file system")
        portrait = self._default_portrait
        if portrait is not None and not (os.access(portrait, os.R_OK) and portrait.is_file()):
            raise ConfigError(f"spool.portrait = {portrait}: must be a photo this user may read")
        self._held.enter_context(_locked(self.root / "lock"))
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._held.close()

    def watch(self, stop: Stop, tick: Callable[[], None] = lambda: None) -> Iterator[Job]:
        """Jobs as they come, one at a time: first those left in work, then the inbox, oldest first.

        A job comes again until it is ended with `publish` or `fail`. Jobs that are wrong on their face (two photos, a
        link, a recording alone with no configured portrait) are moved to failed here. A disk in trouble is logged once
        and tried again.

        Args:
            stop: Ends the generator, within a second.
            tick: Called on every pass and at least once a second while waiting.
        """
        while not stop.is_set():
            tick()
            moved, job = self._step()
            if job is not None:
                yield job
            elif not moved:
                deadline = time.monotonic() + self._settings.poll_s
                while time.monotonic() < deadline and not stop.is_set():
                    stop.wait(min(_TICK_S, max(0.0, deadline - time.monotonic())))
                    tick()

    def recover(self) -> List[Job]:
        """Carry on what a crash left half done: finish claims, publications and failures.

        Returns:
            The jobs that still have to be worked on, in the order they were claimed.
        """
        found: List[Tuple[str, Job]] = []
        for entry in sorted(_entries(self.work)):
            if entry.startswith(".trash-"):
                _remove(self.work / entry)
                continue
            with self._trouble(f"work/{entry}"):
                record = self._advance(self.work / entry)
                if record is not None:
                    try:
                        found.append((record.claimed, self._job(record)))
                    except RequestError as e:
                        self._fail(record, e, {})
        return [job for _, job in sorted(found, key=lambda pair: (pair[0], pair[1].id))]

    def start(self, job: Job) -> None:
        """Note durably that a worker now gets the job, with an empty folder for its result.

        Raises:
            DeviceError: If the disk fails.
        """
        with _disk(job.id):
            self._empty_result(job.folder)
            self._store(replace(self._load(job.folder), state="running"))

    def put_back(self, job: Job, died: bool) -> int:
        """The job is to be done again, whole.

        Args:
            job: The job.
            died: Whether a worker died or hung on it, which counts, or it was only interrupted.

        Returns:
            How often a worker has died on it.

        Raises:
            DeviceError: If the disk fails.
        """
        with _disk(job.id):
            record = self._load(job.folder)
            record = replace(record, state="claimed", deaths=record.deaths + int(died))
            self._store(record)
            return record.deaths

    def publish(self, job: Job, report: Mapping[str, object]) -> str:
        """Move the worker's video and its report to outbox; the report's appearance is what ends the job.

        Args:
            job: A job whose `Job.output` is complete.
            report: What the pipeline tells about it; ``job`` and ``result`` are set to the final names.

        Returns:
            The name: ``outbox/<name>.mp4`` and ``outbox/<name>.json``.

        Raises:
            DeviceError: If the disk fails; `recover` carries on.
            RequestError: If there is no video to publish.
        """
        with _disk(job.id):
            if not _is_plain(job.output):
                raise RequestError(f"{job.id}: the worker left no video")
            _sync(job.output)
            name = self._free_name(job.id, apart_from=job.id)
            _write(job.folder / "report.json", _json({**report, "job": name, "result": f"{name}.mp4"}))
            record = replace(self._load(job.folder), state="publishing", name=name)
            self._store(record)
            return self._finish_publishing(record)

    def fail(self, job: Job, error: SonicEdgeError, controls: Optional[Mapping[str, object]] = None) -> str:
        """Move the job's inputs to failed, with ``reason.json``.

        Args:
            job: The job.
            error: Why.
            controls: What the job asked for, as far as it could be read.

        Returns:
            The name: ``failed/<name>/``.

        Raises:
            DeviceError: If the disk fails; `recover` carries on.
        """
        with _disk(job.id):
            return self._fail(self._load(job.folder), error, controls or {})

    # ---- one pass ----------------------------------------------------------------------------------------------

    def _step(self) -> Tuple[bool, Optional[Job]]:
        """One look around: (whether something was moved, a job to work on)."""
        with self._trouble("work"):
            left = self.recover()
            if left:
                return True, left[0]
        with self._trouble("inbox"):
            due = [c for c in self._look() if self._is_due(c)]
            if due:
                self._claim(min(due, key=lambda c: c.age_key))
                return True, None
        return False, None

    @contextmanager
    def _trouble(self, where: str) -> Iterator[None]:
        """Log a disk error once, not on every pass, and go on; also log when it is over."""
        try:
            yield
        except (OSError, ValueError) as e:
            text = str(e)
            if self._troubles.get(where) != text:
                log.warning("%s: %s; trying again", where, text)
            self._troubles[where] = text
        else:
            if self._troubles.pop(where, None):
                log.info("%s: works again", where)

    def _look(self) -> List[_Candidate]:
        """Everything in the inbox that may be a job."""
        groups: Dict[str, _Candidate] = {}
        folders: List[_Candidate] = []
        strangers: Set[str] = set()
        with os.scandir(self.inbox) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                base = _finished_name(entry.name)
                suffix = _suffix(base)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(_look_into(entry))
                    elif suffix in _SUFFIXES:
                        # a Mac decomposes accents in names, others do not
                        stem = unicodedata.normalize("NFC", base[: -len(suffix)])
                        _note(groups.setdefault(stem, _Candidate(stem, is_folder=False)), entry)
                    elif base == entry.name:
                        strangers.add(entry.name)
                except FileNotFoundError:  # it went while we looked
                    continue
                except (PermissionError, _TooMuch):
                    strangers.add(entry.name)
        new = sorted(strangers - self._strangers)
        if new:
            more = f" and {len(new) - 5} more" if len(new) > 5 else ""
            names = ", ".join(map(repr, new[:5]))
            log.warning("inbox: left lying, not a recording, photo or job folder: %s%s", names, more)
        self._strangers = strangers
        found = folders + list(groups.values())
        keys = {c.key for c in found}
        self._seen = {key: seen for key, seen in self._seen.items() if key in keys}
        return found

    def _is_due(self, candidate: _Candidate) -> bool:
        """Whether a candidate is complete and has lain still for long enough."""
        now = time.monotonic()
        files = tuple(sorted(candidate.files))
        seen = self._seen.get(candidate.key)
        if seen is None or seen.files != files:
            self._seen[candidate.key] = _Stillness(files, now)
            return False
        still_s = now - seen.since
        patience_s = max(self._settings.settle_s, self._settings.pair_s)
        if not candidate.has(RECORDINGS):
            if still_s >= patience_s and not seen.told:
                seen.told = True
                log.warning("inbox: %r: left lying, there is no recording with it", candidate.name)
            return False
        whole = candidate.has(PHOTOS) and not candidate.unfinished
        return still_s >= (self._settings.settle_s if whole else patience_s) and now >= seen.not_before

    # ---- steps of a job ----------------------------------------------------------------------------------------

    def _claim(self, candidate: _Candidate) -> None:
        """Write the intent, then move the files."""
        job_id = self._free_name(_safe(candidate.name))
        record = _Record(
            id=job_id,
            state="claiming",
            given=candidate.name,
            is_folder=candidate.is_folder,
            sources=candidate.finished,
            claimed=_now(),
        )
        folder = self.work / job_id
        folder.mkdir()
        self._store(record)
        _sync(self.work)
        try:
            moved = self._move_in(record)
        except OSError as e:
            if _entries(folder / "inputs"):
                raise  # half of it is here: it will be carried on
            self._trash(folder)
            log.warning("inbox: %r: cannot be taken: %s; trying again", candidate.name, e.strerror)
            self._seen[candidate.key].not_before = time.monotonic() + 30
            return
        if moved:
            log.info("%s: claimed", job_id)

    def _advance(self, folder: Path) -> Optional[_Record]:
        """Carry a job on to where somebody has to work on it; None if it is over."""
        try:
            record = self._load(folder)
        except (ValueError, TypeError, KeyError, FileNotFoundError) as e:
            if not _entries(folder / "inputs"):  # the power went before the intent was written: nothing was moved
                _remove(folder)
                return None
            record = _Record(folder.name, "claimed", folder.name, True, (), _now())
            self._fail(record, RequestError(f"{folder.name}: its record job.json is lost ({type(e).__name__})"), {})
            return None
        if record.state == "claiming":
            return self._load(folder) if self._move_in(record) else None
        if record.state == "publishing":
            self._finish_publishing(record)
            return None
        if record.state == "failing":
            self._finish_failing(record)
            return None
        if record.state == "running":  # nobody said how that ended: power, or the daemon itself, went
            record = replace(record, state="claimed", interruptions=record.interruptions + 1)
            self._store(record)
            if record.interruptions >= MAX_INTERRUPTIONS:
                words = f"{record.id}: the daemon went down {record.interruptions} times while working on it"
                self._fail(record, RequestError(words), {})
                return None
            log.info("%s: was interrupted; done again from the start", record.id)
        return record

    def _move_in(self, record: _Record) -> bool:
        """Move a job's files from the inbox into its folder, as far as that has not happened yet.

        Returns:
            Whether it is now claimed; else it was not what had been seen, and was given up or moved to failed.
        """
        folder = self.work / record.id
        inputs = folder / "inputs"
        if record.is_folder:
            source = self.inbox / record.given
            if not _exists(inputs):
                if not _same_folder(source, record.sources):
                    return self._give_up(record)
                _rename(source, inputs)
        else:
            inputs.mkdir(exist_ok=True)
            here = set(_entries(inputs))
            wanted = [s for s in record.sources if s[0] not in here]
            gone = [s[0] for s in wanted if not _same_file(self.inbox / s[0], s)]
            if gone and not here:
                return self._give_up(record)
            for name, _, _ in wanted:
                if name not in gone:
                    _rename(self.inbox / name, inputs / name)
            if gone:
                words = f"{record.id}: {', '.join(map(repr, gone))} went or changed while it was being taken"
                self._fail(record, RequestError(words), {})
                return False
        for name in islice(_entries(inputs), _MAX_ENTRIES):
            if _is_plain(inputs / name):
                with suppress(PermissionError):  # the worker will say so, in the job's words
                    _sync(inputs / name)
        for changed in (inputs, folder, self.inbox):
            _sync(changed)
        self._store(replace(record, state="claimed"))
        return True

    def _give_up(self, record: _Record) -> bool:
        """Nothing was moved, and the inbox no longer holds what was seen: look at it afresh."""
        self._trash(self.work / record.id)
        return False

    def _job(self, record: _Record) -> Job:
        """What is in a claimed job's folder.

        Raises:
            RequestError: If that is not one recording, one photo and at most one file of controls, all plain files.
        """
        inputs = self.work / record.id / "inputs"
        kinds: Dict[str, List[Path]] = {"recording": [], "photo": [], "file of controls": []}
        names = [name for name in sorted(_entries(inputs)) if not name.startswith(".")]
        if len(names) > _MAX_ENTRIES:
            raise RequestError(f"{record.id}: holds {len(names)} files; a job is one recording and one photo")
        for name in names:
            path = inputs / name
            if not _is_plain(path):
                raise RequestError(f"{record.id}: {name!r} is {_what(path)}; only plain files are taken")
            suffix = _suffix(name)
            if suffix in RECORDINGS:
                kinds["recording"].append(path)
            elif suffix in PHOTOS:
                kinds["photo"].append(path)
            elif suffix in CONTROLS and (not record.is_folder or name[: -len(suffix)].lower() == "job"):
                kinds["file of controls"].append(path)
        for kind, paths in kinds.items():
            if len(paths) > 1:
                listed = ", ".join(repr(p.name) for p in paths[:5])
                raise RequestError(f"{record.id}: holds {len(paths)} of kind {kind} ({listed}); one is needed")
        if not kinds["recording"]:
            raise RequestError(f"{record.id}: holds no recording")
        portrait = kinds["photo"][0] if kinds["photo"] else self._default_portrait
        if portrait is None:
            raise RequestError(
                f"{record.id}: holds no photo and spool.portrait is not set; put a photo of the same name beside the "
                "recording, or set spool.portrait"
            )
        controls = kinds["file of controls"][0] if kinds["file of controls"] else None
        return Job(record.id, self.work / record.id, kinds["recording"][0], portrait, controls, record.deaths)

    def _fail(self, record: _Record, error: SonicEdgeError, controls: Mapping[str, object]) -> str:
        reason = {
            "what": str(error),
            "error": type(error).__name__,
            "time": _now(),
            "attempts": record.deaths + int(record.state == "running"),
            "controls": dict(controls),
        }
        record = replace(record, state="failing", name=self._free_name(record.id, apart_from=record.id), reason=reason)
        self._store(record)
        return self._finish_failing(record)

    def _finish_failing(self, record: _Record) -> str:
        folder = self.work / record.id
        inputs = folder / "inputs"
        if _exists(inputs):
            target = self.failed / record.name
            if _exists(target):  # came there since the name was chosen
                record = replace(record, name=self._free_name(record.id, apart_from=record.id))
                self._store(record)
                target = self.failed / record.name
            if (inputs / "reason.json").is_dir():
                _rename(inputs / "reason.json", inputs / self._free_in(inputs, "reason.json"))
            _write(inputs / "reason.json", _json(record.reason))
            _rename(inputs, target)
            _sync(self.failed)
            _sync(folder)
            log.warning("%s: failed: %s", record.name, record.reason.get("what", ""))
        self._trash(folder)
        return record.name

    def _finish_publishing(self, record: _Record) -> str:
        folder = self.work / record.id
        video, report, inputs = folder / "result" / f"{record.id}.mp4", folder / "report.json", folder / "inputs"
        if _exists(video):
            if _exists(self.outbox / f"{record.name}.mp4"):  # came there since the name was chosen
                name = self._free_name(record.id, apart_from=record.id)
                told = json.loads(report.read_bytes())
                _write(report, _json({**told, "job": name, "result": f"{name}.mp4"}))
                record = replace(record, name=name)
                self._store(record)
            _rename(video, self.outbox / f"{record.name}.mp4")
        if self._settings.keep_inputs and _exists(inputs):
            _rename(inputs, self.outbox / f"{record.name}.inputs")
        _sync(self.outbox)
        if _exists(report):
            _rename(report, self.outbox / f"{record.name}.json")
            _sync(self.outbox)
            _sync(folder)
            log.info("%s: done", record.name)
        self._trash(folder)
        return record.name

    # ---- on the disk -------------------------------------------------------------------------------------------

    def _load(self, folder: Path) -> _Record:
        data = json.loads((folder / "job.json").read_bytes())
        data["sources"] = tuple((str(n), int(size), int(changed)) for n, size, changed in data["sources"])
        record = _Record(**data)
        if record.id != folder.name or record.state not in ("claiming", "claimed", "running", "publishing", "failing"):
            raise ValueError(f"{folder.name}: job.json is of {record.id!r} in state {record.state!r}")
        return record

    def _store(self, record: _Record) -> None:
        # ASCII, so that names that are not UTF-8 come back as they were
        _write(self.work / record.id / "job.json", json.dumps(asdict(record), indent=1).encode())

    def _empty_result(self, folder: Path) -> None:
        if _exists(folder / "result"):
            shutil.rmtree(folder / "result")
        (folder / "result").mkdir()

    def _trash(self, folder: Path) -> None:
        grave = self.work / f".trash-{folder.name}"
        _remove(grave)
        _rename(folder, grave)
        _sync(self.work)
        _remove(grave)

    def _free_name(self, name: str, apart_from: str = "") -> str:
        """`name`, or `name`-2, -3...: the first that is used nowhere in the spool, except by the job itself."""
        n_tried = 1
        while True:
            tried = name if n_tried == 1 else f"{name}-{n_tried}"
            places = [self.outbox / f"{tried}{suffix}" for suffix in (".mp4", ".json", ".inputs")]
            places.append(self.failed / tried)
            if tried != apart_from:
                places.append(self.work / tried)
            if not any(map(_exists, places)):
                return tried
            n_tried += 1

    def _free_in(self, folder: Path, name: str) -> str:
        n_tried = 2
        while _exists(folder / f"{name}-{n_tried}"):
            n_tried += 1
        return f"{name}-{n_tried}"


class _TooMuch(Exception):
    """A folder in the inbox holds too much to be a job."""


def _look_into(entry: "os.DirEntry[str]") -> _Candidate:
    """A folder in the inbox as a candidate."""
    found = _Candidate(entry.name, is_folder=True)
    with os.scandir(entry.path) as entries:
        for n_seen, inner in enumerate(entries):
            if n_seen >= _MAX_ENTRIES:
                raise _TooMuch
            if not inner.name.startswith("."):
                _note(found, inner)
    return found


def _note(candidate: _Candidate, entry: "os.DirEntry[str]") -> None:
    info = entry.stat(follow_symlinks=False)
    candidate.files.append((entry.name, info.st_size, info.st_mtime_ns))
    if _finished_name(entry.name) != entry.name:
        candidate.unfinished.add(entry.name)


def _finished_name(name: str) -> str:
    """The name a file will have once it is written: ``a.wav.part`` -> ``a.wav``."""
    for suffix in UNFINISHED:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _suffix(name: str) -> str:
    """``.wav`` of ``a.b.WAV``; empty if there is none, or nothing before it."""
    stem, dot, last = name.rpartition(".")
    return f".{last.lower()}" if dot and stem else ""


def _safe(name: str) -> str:
    """A name that a person still recognises and that nothing stumbles over.

    Control characters, bytes that are not UTF-8 and a leading dash become ``_``; long names are cut between characters
    and end in a hash of the whole.
    """
    text = "".join(c if c.isprintable() and c != "/" else "_" for c in name)
    if text[0] in "-.":
        text = "_" + text[1:]
    if len(text.encode()) > _MAX_NAME_BYTES:
        mark = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        text = text.encode()[: _MAX_NAME_BYTES - len(mark)].decode(errors="ignore") + mark
    return text


def _same_file(path: Path, source: Tuple[str, int, int]) -> bool:
    """Whether a file is still what was seen."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return False
    return info.st_size == source[1] and abs(info.st_mtime_ns - source[2]) <= _TIME_SLACK_NS


def _same_folder(path: Path, sources: Tuple[Tuple[str, int, int], ...]) -> bool:
    """Whether a folder still holds what was seen in it."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = {n for n in _entries(path) if not n.startswith(".") and _finished_name(n) == n}
    return names == {s[0] for s in sources} and all(_same_file(path / s[0], s) for s in sources)


def _entries(folder: Path) -> List[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


def _exists(path: Path) -> bool:
    """Whether there is anything by that name, be it a dangling link."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _what(path: Path) -> str:
    mode = path.lstat().st_mode
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _json(data: Mapping[str, object]) -> bytes:
    """For people: Chinese stays readable; a name that is not UTF-8 shows its bytes as question marks."""
    return (json.dumps(data, ensure_ascii=False, indent=2, default=str) + "\n").encode(errors="replace")


def _rename(source: Path, target: Path) -> None:
    source.rename(target)


def _sync(path: Path) -> None:
    """What is written in a file, or which names a folder holds, will survive a power cut from now on."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    """Replace a file durably: it holds all of `data`, or what it held before."""
    draft = path.with_name(f".{path.name}.tmp")
    with suppress(FileNotFoundError):
        draft.unlink()
    with draft.open("xb") as file:
        file.write(data)
    _sync(draft)
    _rename(draft, path)
    _sync(path.parent)


def _remove(path: Path) -> None:
    """Take away a folder that no longer means anything; what cannot go now goes at the next start."""
    if _exists(path):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _disk(job: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise DeviceError(f"{job}: the spool failed: {e}") from e


@contextmanager
def _locked(path: Path) -> Iterator[None]:
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
        file.truncate(0)
        file.write(b"%d\n" % os.getpid())
        yield
