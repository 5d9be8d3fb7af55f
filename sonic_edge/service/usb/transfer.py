"""The three steps after a USB stick is plugged in. They share their state in ``<spool>/run/stick-<name>.json``."""

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
from ...spool.submit import Source, name_for, outcome_of, submit
from ..control import ask
from ..messages import Request
from .find import Found, Refused, digest, find_jobs, open_regular
from .history import History, Imported, open_history
from .results import ReadOnlyUsb, Results

log = logging.getLogger(__name__)

MAX_JOBS = 100
"""New jobs that are imported each time a stick is plugged in."""
MAX_BYTES = 8 << 30
"""Size of all new jobs that are imported each time a stick is plugged in."""
PATIENCE_S = 4 * 3600.0
"""How long to wait for the next job to end. After that, results stay in outbox until the stick is plugged in again."""
SILENT_S = 600.0
"""How long to wait for a daemon that does not answer; loading its model can take it five minutes."""

_POLL_S = 1.0
_ANSWER_S = 3.0  # longest wait for the daemon to accept a notice
_NOTICE_S = 5.0  # the screen shows a notice for six seconds
_NOTICE_WORKING_S = 15.0  # less often, so that the screen can show the job's progress in between
_MAX_CONTROLS_BYTES = 1 << 20


@dataclass
class _State:
    """The state that the steps share."""

    stage: str = "reading"
    """reading, working, writing, or over."""
    jobs: Dict[str, str] = field(default_factory=dict)
    """Digest -> the job's name on the stick."""
    refused: List[Tuple[str, str, str]] = field(default_factory=list)
    """Name on the stick, the error's class name, why it cannot be a job."""


class _StateFile:
    """Where the state of a transfer is kept."""

    def __init__(self, root: Path, mount: Path) -> None:
        self._path = root / "run" / f"stick-{safe_id(mount.absolute().name)}.json"

    def load(self) -> Optional[_State]:
        try:
            return _State(**json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as e:
            raise DeviceError(f"{self._path}: cannot be read: {e}") from e

    def store(self, state: _State) -> None:
        try:
            self._path.parent.mkdir(mode=0o750, exist_ok=True)
            disk.write(self._path, json.dumps(asdict(state)).encode())
        except PermissionError as e:
            raise RequestError(
                f"{self._path}: this user may not write to it; run this as the daemon's user (sonic-edge)"
            ) from e
        except OSError as e:
            raise DeviceError(f"{self._path}: cannot be written: {e.strerror}") from e

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()


class _Notifier:
    """Makes the daemon show notices on the screen. Without a daemon nothing is shown, which is no error."""

    def __init__(self, root: Path) -> None:
        self._run = root / "run"
        self._shown_at: Dict[str, float] = {}
        self.answered_at = time.monotonic()
        """When the daemon last answered, on the monotonic clock."""

    def show(self, key: str, every_s: float = _NOTICE_S) -> None:
        """Show a notice (a key of `live.display.WORDS`), but not again within `every_s`."""
        now = time.monotonic()
        if now - self._shown_at.get(key, now - every_s) < every_s:
            return
        self._shown_at[key] = now
        try:
            ask(self._run, Request("say", name=key), timeout_s=_ANSWER_S)
        except DeviceError as e:
            log.debug("notice %s not shown: %s", key, e)
            return
        except RequestError as e:
            log.warning("notice %s not shown: %s", key, e)
        self.answered_at = time.monotonic()


def import_jobs(config: Config, mount: Path) -> None:
    """Put the new jobs on a stick into the inbox, and wait until all jobs on the stick have ended.

    Args:
        config: The settings.
        mount: Where the stick is mounted.

    Raises:
        RequestError, DeviceError: If the stick or the spool cannot be used.
    """
    root = Path(config.spool.root)
    state_file, state, notifier = _StateFile(root, mount), _State(), _Notifier(root)
    state_file.store(state)
    notifier.show("usb_reading")
    try:
        found, refused = find_jobs(mount, config.spool.portrait is not None)
    except OSError as e:
        raise DeviceError(f"{mount}: the stick cannot be read: {e.strerror}") from e
    importer = _Importer(config, notifier)
    for job in found:
        try:
            state.jobs[importer.add(job)] = job.name
        except SonicEdgeError as e:
            refused.append(Refused(job.name, str(e), type(e).__name__))
    for one in refused:
        log.warning("%s", one.why)
    state.refused = [(one.name, one.error, one.why) for one in refused]
    state.stage = "working"
    state_file.store(state)
    log.info("jobs on the stick: %d, %d of them new; refused: %d", len(state.jobs), importer.n_new, len(state.refused))
    _wait(root, state, notifier)


def export_results(config: Config, mount: Path) -> None:
    """Write the results of a stick's jobs onto it, unless it is read-only.

    Args:
        config: The settings.
        mount: Where the stick is mounted, writable if possible.

    Raises:
        DeviceError: If the stick is full, broken or pulled out; what could not be written stays in outbox.
    """
    root = Path(config.spool.root)
    state_file, notifier = _StateFile(root, mount), _Notifier(root)
    state = state_file.load()
    if state is None or state.stage != "working":
        return
    state.stage = "writing"
    state_file.store(state)
    results = Results(mount, lambda: notifier.show("usb_writing"))
    try:
        for key, name in state.jobs.items():
            with open_history(root) as history:
                imported = history.get(key)
            outcome = outcome_of(root, imported.name, imported.recording) if imported is not None else None
            if outcome is not None and outcome.video is not None and disk.exists(outcome.video):
                results.video(name, outcome.video)
            elif outcome is not None and outcome.video is None:
                results.failure(name, str(outcome.report.get("error")), str(outcome.report.get("what")))
        for name, error, why in state.refused:
            results.failure(name, error, why)
    except ReadOnlyUsb as e:
        log.warning("%s; results stay in %s", e, root / "outbox")
    state.stage = "over"
    state_file.store(state)


def announce_end(config: Config, mount: Path, failed: bool = False) -> None:
    """Show on the screen how the transfer ended. The stick is unmounted by now.

    Args:
        config: The settings.
        mount: Where the stick was mounted.
        failed: Whether an earlier step failed.
    """
    root = Path(config.spool.root)
    state_file = _StateFile(root, mount)
    state = state_file.load()
    state_file.remove()
    if state is not None and state.stage == "over":
        _Notifier(root).show("usb_done" if state.jobs or state.refused else "usb_none")
    elif failed or (state is not None and state.stage != "working"):  # pulled out while working is no failure
        _Notifier(root).show("usb_failed")


class _Importer:
    """Puts a stick's jobs into the inbox, up to `MAX_JOBS` and `MAX_BYTES`."""

    def __init__(self, config: Config, notifier: _Notifier) -> None:
        self._config = config
        self._root = Path(config.spool.root)
        self._notifier = notifier
        self._n_bytes = 0
        self.n_new = 0
        """How many jobs it put into the inbox."""

    def add(self, job: Found) -> str:
        """Put a job into the inbox unless it was imported before; its digest.

        Raises:
            RequestError: If the job cannot be used.
            DeviceError: If the spool cannot accept it.
        """
        limits = self._config.limits
        paths = {"recording": job.recording, "photo": job.photo, "controls": job.controls}
        max_bytes = {
            "recording": limits.speech_bytes,
            "photo": limits.portrait_bytes,
            "controls": _MAX_CONTROLS_BYTES,
        }
        with ExitStack() as stack:
            files: Dict[str, BinaryIO] = {}
            for kind, path in paths.items():
                if path is not None:
                    files[kind] = stack.enter_context(open_regular(path, f"a file of kind {kind}", max_bytes[kind]))
            hashes = digest(job, files, lambda: self._notifier.show("usb_reading"))
            history = stack.enter_context(open_history(self._root))
            if not _is_new(self._root, history, hashes.job):
                return hashes.job
            self._count(job, files)
            names: Dict[str, Source] = {}
            for kind, file in files.items():
                path = paths[kind]
                assert path is not None
                names["job.yaml" if kind == "controls" else safe_id(path.stem) + path.suffix] = file
            # recorded before it is submitted, so that a power cut in between cannot submit it twice
            name = name_for(self._root, job.name)
            history.put(hashes.job, Imported(name, hashes.recording))
            submitted = submit(self._root, name, names)
            if submitted != name:
                history.put(hashes.job, Imported(submitted, hashes.recording))
            log.info("%s: put into the inbox as %s", job.name, submitted)
            return hashes.job

    def _count(self, job: Found, files: Dict[str, BinaryIO]) -> None:
        n_bytes = sum(os.fstat(f.fileno()).st_size for f in files.values())
        if self.n_new >= MAX_JOBS or self._n_bytes + n_bytes > MAX_BYTES:
            raise RequestError(
                f"{job.name}: too many jobs at once; at most {MAX_JOBS} jobs and {MAX_BYTES >> 30} GB are imported "
                "each time the stick is plugged in; plug it in again"
            )
        self._n_bytes += n_bytes
        self.n_new += 1


def _is_new(root: Path, history: History, key: str) -> bool:
    """Whether a job is new, or was lost: recorded but never submitted, or removed from the inbox by somebody."""
    imported = history.get(key)
    if imported is None:
        return True
    return not (_is_pending(root, imported.name) or _has_ended(root, history, key))


def _is_pending(root: Path, name: str) -> bool:
    """Whether a job is in the inbox or in work, looked at in the order in which jobs move."""
    if disk.exists(root / "inbox" / name):
        return True
    return any(entry == name or entry.startswith(f"{name}-") for entry in disk.entries(root / "work"))


def _has_ended(root: Path, history: History, key: str) -> bool:
    """Whether an imported job has ended; that is recorded, and holds even if its result is deleted later."""
    imported = history.get(key)
    if imported is None or imported.ended:
        return imported is not None
    if outcome_of(root, imported.name, imported.recording) is None:
        return False
    history.put(key, replace(imported, ended=True))
    return True


def _wait(root: Path, state: _State, notifier: _Notifier) -> None:
    """Wait until all jobs have ended, or `PATIENCE_S` or `SILENT_S` is over."""
    left = list(state.jobs)
    since = notifier.answered_at = time.monotonic()
    while left:
        with open_history(root) as history:
            still = [key for key in left if not _has_ended(root, history, key)]
            # not those whose result somebody removed before it was noticed
            still = [key for key in still if not _is_new(root, history, key)]
        now = time.monotonic()
        if len(still) < len(left):
            since, left = now, still
            continue
        if now - since > PATIENCE_S or now - notifier.answered_at > SILENT_S:
            log.warning("%d jobs have not ended; their results will stay in %s", len(left), root / "outbox")
            return
        notifier.show("usb_working", _NOTICE_WORKING_S)
        time.sleep(_POLL_S)
