"""The three steps of a stick's visit. What one tells the next lies in ``<spool>/run/stick-<name>.json``."""

import json
import logging
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Dict, List, Optional, Tuple

from ... import disk
from ...config import Config
from ...errors import DeviceError, RequestError, SonicEdgeError
from ...spool.job import safe_id
from ...spool.submit import Source, end_of, name_for, submit
from ..control import ask
from ..orders import Request
from .find import Found, Refused, digest, look, open_plain
from .memory import Memory, Taken, opened
from .results import ReadOnlyStick, Results

log = logging.getLogger(__name__)

MOST_JOBS = 100
"""New ones that are taken at a visit."""
MOST_BYTES = 8 << 30
"""Of new jobs at a visit."""
PATIENCE_S = 4 * 3600.0
"""How long the next job's end is waited for. Then results stay in outbox until the stick comes again."""
SILENT_S = 600.0
"""A daemon that has not answered for so long is not waited for: it takes up to five minutes to load its model."""

_LOOK_S = 1.0
_ANSWER_S = 3.0  # so long a stick waits for a daemon to hear what is to be said
_SAY_S = 5.0  # the screen shows words for six seconds
_SAY_WORKING_S = 15.0  # in between it shows how far the job is
_MOST_CONTROLS_BYTES = 1 << 20


@dataclass
class _Visit:
    """What the steps tell each other."""

    stage: str = "reading"
    """reading, working, writing, or over."""
    jobs: Dict[str, str] = field(default_factory=dict)
    """Digest -> what the job is called on the stick."""
    refused: List[Tuple[str, str, str]] = field(default_factory=list)
    """What it is called on the stick, kind of the error, why it cannot be a job."""


class _Note:
    """Where a visit's state is kept."""

    def __init__(self, root: Path, stick: Path) -> None:
        self._path = root / "run" / f"stick-{safe_id(stick.absolute().name)}.json"

    def load(self) -> Optional[_Visit]:
        try:
            return _Visit(**json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as e:
            raise DeviceError(f"{self._path}: cannot be read: {e}") from e

    def store(self, visit: _Visit) -> None:
        try:
            self._path.parent.mkdir(mode=0o750, exist_ok=True)
            disk.write(self._path, json.dumps(asdict(visit)).encode())
        except PermissionError as e:
            raise RequestError(f"{self._path}: this user may not write it; the daemon's user (sonic-edge) may") from e
        except OSError as e:
            raise DeviceError(f"{self._path}: cannot be written: {e.strerror}") from e

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()


class _Voice:
    """Has the daemon say something on the screen, again and again while it is so. Without a daemon nothing is said."""

    def __init__(self, root: Path) -> None:
        self._run = root / "run"
        self._said_at: Dict[str, float] = {}
        self.heard_at = time.monotonic()
        """When a daemon last answered."""

    def say(self, key: str, every_s: float = _SAY_S) -> None:
        now = time.monotonic()
        if now - self._said_at.get(key, now - every_s) < every_s:
            return
        self._said_at[key] = now
        try:
            ask(self._run, Request("say", name=key), timeout_s=_ANSWER_S)
        except DeviceError as e:
            log.debug("%s: not said: %s", key, e)
            return
        except RequestError as e:
            log.warning("%s: not said: %s", key, e)
        self.heard_at = time.monotonic()


def take(config: Config, stick: Path) -> None:
    """Put the jobs on a stick into the inbox, those not taken before, and wait until all of them have ended.

    Args:
        config: The settings.
        stick: Where it is mounted.

    Raises:
        RequestError, DeviceError: If the stick or the spool cannot be used.
    """
    root = Path(config.spool.root)
    note, visit, voice = _Note(root, stick), _Visit(), _Voice(root)
    note.store(visit)
    voice.say("usb_reading")
    try:
        found, refused = look(stick, config.spool.portrait is not None)
    except OSError as e:
        raise DeviceError(f"{stick}: the stick cannot be read: {e.strerror}") from e
    taker = _Taker(config, voice)
    for job in found:
        try:
            visit.jobs[taker.take(job)] = job.name
        except SonicEdgeError as e:
            refused.append(Refused(job.name, str(e), type(e).__name__))
    for one in refused:
        log.warning("%s", one.why)
    visit.refused = [(one.name, one.error, one.why) for one in refused]
    visit.stage = "working"
    note.store(visit)
    log.info("%d jobs, %d of them new; %d refused", len(visit.jobs), taker.n_new, len(visit.refused))
    _wait(root, visit, voice)


def bring(config: Config, stick: Path) -> None:
    """Write the results of its jobs onto a stick, if it can be written.

    Args:
        config: The settings.
        stick: Where it is mounted, writable if it can be.

    Raises:
        DeviceError: If it is full, broken or pulled; what could not be written stays in outbox.
    """
    root = Path(config.spool.root)
    note, voice = _Note(root, stick), _Voice(root)
    visit = note.load()
    if visit is None or visit.stage != "working":
        return
    visit.stage = "writing"
    note.store(visit)
    results = Results(stick, lambda: voice.say("usb_writing"))
    try:
        for key, name in visit.jobs.items():
            with opened(root) as memory:
                taken = memory.get(key)
            end = end_of(root, taken.name, taken.recording) if taken is not None else None
            if end is not None and end.video is not None and disk.exists(end.video):
                results.video(name, end.video)
            elif end is not None and end.video is None:
                results.failure(name, str(end.told.get("error")), str(end.told.get("what")))
        for name, error, why in visit.refused:
            results.failure(name, error, why)
    except ReadOnlyStick as e:
        log.warning("%s; results stay in %s", e, root / "outbox")
    visit.stage = "over"
    note.store(visit)


def done(config: Config, stick: Path, failed: bool = False) -> None:
    """Say how the visit ended. The stick is no longer mounted.

    Args:
        config: The settings.
        stick: Where it was mounted.
        failed: Whether a step before went wrong.
    """
    root = Path(config.spool.root)
    note = _Note(root, stick)
    visit = note.load()
    note.remove()
    if visit is not None and visit.stage == "over":
        _Voice(root).say("usb_done" if visit.jobs or visit.refused else "usb_none")
    elif failed or (visit is not None and visit.stage != "working"):  # pulled while working: all goes on
        _Voice(root).say("usb_failed")


class _Taker:
    """Takes jobs from a stick, within bounds."""

    def __init__(self, config: Config, voice: _Voice) -> None:
        self._config = config
        self._root = Path(config.spool.root)
        self._voice = voice
        self._n_bytes = 0
        self.n_new = 0
        """How many it put into the inbox."""

    def take(self, job: Found) -> str:
        """Put a job into the inbox unless that was done before; its digest.

        Raises:
            RequestError: If it cannot be used.
            DeviceError: If the spool cannot take it.
        """
        limits = self._config.limits
        paths = {"recording": job.recording, "photo": job.photo, "controls": job.controls}
        most = {
            "recording": limits.speech_bytes,
            "photo": limits.portrait_bytes,
            "controls": _MOST_CONTROLS_BYTES,
        }
        with ExitStack() as held:
            files: Dict[str, BinaryIO] = {}
            for kind, path in paths.items():
                if path is not None:
                    files[kind] = held.enter_context(open_plain(path, f"a file of kind {kind}", most[kind]))
            told = digest(job, files, lambda: self._voice.say("usb_reading"))
            memory = held.enter_context(opened(self._root))
            if not _is_to_be_given(self._root, memory, told.job):
                return told.job
            self._count(job, files)
            names: Dict[str, Source] = {}
            for kind, file in files.items():
                path = paths[kind]
                assert path is not None
                names["job.yaml" if kind == "controls" else safe_id(path.stem) + path.suffix] = file
            # noted before it is given, lest a power cut in between has it given twice
            name = name_for(self._root, job.name)
            memory.put(told.job, Taken(name, told.recording))
            given = submit(self._root, name, names)
            if given != name:
                memory.put(told.job, Taken(given, told.recording))
            log.info("%s: put into the inbox as %s", job.name, given)
            return told.job

    def _count(self, job: Found, files: Dict[str, BinaryIO]) -> None:
        n_bytes = sum(os.fstat(f.fileno()).st_size for f in files.values())
        if self.n_new >= MOST_JOBS or self._n_bytes + n_bytes > MOST_BYTES:
            raise RequestError(
                f"{job.name}: too much at once; {MOST_JOBS} jobs and {MOST_BYTES >> 30} GB are taken each time the "
                "stick is plugged in; plug it in again"
            )
        self._n_bytes += n_bytes
        self.n_new += 1


def _is_to_be_given(root: Path, memory: Memory, key: str) -> bool:
    """Whether a job is new; or was lost: noted and never put in, or taken out of the inbox by somebody."""
    taken = memory.get(key)
    if taken is None:
        return True
    return not (_is_under_way(root, taken.name) or _has_ended(root, memory, key))


def _is_under_way(root: Path, name: str) -> bool:
    """Whether it lies in the inbox or in work, in the order in which jobs go."""
    if disk.exists(root / "inbox" / name):
        return True
    return any(entry == name or entry.startswith(f"{name}-") for entry in disk.entries(root / "work"))


def _has_ended(root: Path, memory: Memory, key: str) -> bool:
    """Whether a job that was taken has ended; from then on it is remembered, whatever becomes of its result."""
    taken = memory.get(key)
    if taken is None or taken.ended:
        return taken is not None
    if end_of(root, taken.name, taken.recording) is None:
        return False
    memory.put(key, replace(taken, ended=True))
    return True


def _wait(root: Path, visit: _Visit, voice: _Voice) -> None:
    """Until all jobs have ended, or waiting makes no sense any more."""
    left = list(visit.jobs)
    since = voice.heard_at = time.monotonic()
    while left:
        with opened(root) as memory:
            still = [key for key in left if not _has_ended(root, memory, key)]
            # somebody took its result away before it was seen
            still = [key for key in still if not _is_to_be_given(root, memory, key)]
        now = time.monotonic()
        if len(still) < len(left):
            since, left = now, still
            continue
        if now - since > PATIENCE_S or now - voice.heard_at > SILENT_S:
            log.warning("%d jobs have not ended; their results stay in %s", len(left), root / "outbox")
            return
        voice.say("usb_working", _SAY_WORKING_S)
        time.sleep(_LOOK_S)
