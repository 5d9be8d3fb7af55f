"""The process that reads strangers' files, holds the model and does the jobs; and the daemon's end of it.

The two talk in JSON lines over pipes, never in pickles: a file that takes the worker over must not get the daemon too.
To the worker go its settings, then jobs, one at a time; back come::

    {"tell": "ready"}
    {"tell": "progress", "stage": "rendering", "done": 3, "total": 75}
    {"tell": "finished", "report": {...}}
    {"tell": "failed", "error": "RequestError", "message": "...", "controls": {...}, "last": false}
    {"tell": "crashed", "message": "ValueError: ..."}

``last`` says that the worker ends itself after it, because it can no longer be trusted to have memory.
"""

import contextlib
import ctypes
import json
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Callable,
    ContextManager,
    Dict,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Type,
    Union,
)

import yaml

from .config import Config, check
from .errors import ConfigError, DeviceError, RequestError, SonicEdgeError

if TYPE_CHECKING:  # the daemon must not carry numpy and OpenCV
    from .media import Request
    from .pipeline import Progress

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "sonic_edge.worker")
"""How the daemon starts the process."""

MAX_CONTROLS_BYTES = 16 << 10
"""A larger job.yaml is refused unread."""

_MAX_LINE_BYTES = 4 << 20
_TELL_EVERY_S = 0.1
_PR_SET_PDEATHSIG = 1
_ERRORS: Dict[str, Type[SonicEdgeError]] = {e.__name__: e for e in (ConfigError, RequestError, DeviceError)}


# ---- the daemon's end --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """The model is loaded and has run once."""


@dataclass(frozen=True)
class Working:
    """The job moves on."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """The video is written."""

    report: Mapping[str, object]


@dataclass(frozen=True)
class Failed:
    """The job, or the start, failed in words."""

    error: SonicEdgeError
    controls: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Died:
    """The process is gone: it crashed, hung and was ended, or talked nonsense and was ended."""

    reason: str


Message = Union[Ready, Working, Finished, Failed, Died]


class Worker:
    """A running worker process, seen from the daemon.

    Args:
        config: Its settings; they go over the pipe, so that nothing of them shows in the list of processes.
        command: What to start.

    Raises:
        DeviceError: If no process can be started.
    """

    def __init__(self, config: Config, command: Sequence[str] = COMMAND) -> None:
        # the worker is not a service of its own: it must not answer the daemon's watchdog
        own = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        environment = {k: v for k, v in os.environ.items() if k not in own}
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
            )
        except OSError as e:
            raise DeviceError(f"the worker cannot be started: {e}") from e
        assert self._process.stdin is not None and self._process.stdout is not None
        self._jobs, self._messages = self._process.stdin, self._process.stdout
        os.set_blocking(self._messages.fileno(), False)
        self._pending = b""
        self._heard = time.monotonic()
        self._patience_s: Optional[float] = config.worker.start_s
        self._stall_s = config.worker.stall_s
        self._doing = "loading the model"
        self.is_alive = True
        self._send({"parent": os.getpid(), "config": config.model_dump(mode="json")})

    def give(self, portrait: Path, speech: Path, controls: Optional[Path], output: Path) -> None:
        """Let it do a job. Its folder must be there; nothing else may be under way.

        Args:
            portrait: The photo.
            speech: The recording.
            controls: A YAML file with the job's own controls.
            output: The video to write.
        """
        self._heard = time.monotonic()
        self._patience_s = self._stall_s
        self._doing = "starting on the job"
        self._send(
            {
                "portrait": str(portrait),
                "speech": str(speech),
                "controls": None if controls is None else str(controls),
                "output": str(output),
            }
        )

    def receive(self, timeout_s: float, wake: Optional[int] = None) -> Optional[Message]:
        """The next message; None if there is none in time.

        Args:
            timeout_s: How long to wait.
            wake: A file descriptor that ends the wait when it becomes readable.
        """
        message = self._next()
        if message is None and self.is_alive:
            select.select([fd for fd in (self._messages.fileno(), wake) if fd is not None], [], [], timeout_s)
            message = self._next()
        if message is None and self.is_alive and self._patience_s is not None:
            silent_s = time.monotonic() - self._heard
            if silent_s >= self._patience_s:
                self.kill()
                return Died(f"no progress for {silent_s:.0f} s while {self._doing}; the worker was ended")
        return message

    def kill(self) -> None:
        """End it at once; whatever it was writing is worth nothing."""
        self.is_alive = False
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel; it dies when it comes out
            self._process.wait(5)
        for pipe in (self._jobs, self._messages):
            with contextlib.suppress(OSError):
                pipe.close()

    def _send(self, data: Mapping[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died: `receive` will tell
            self._jobs.write(json.dumps(data).encode() + b"\n")

    def _next(self) -> Optional[Message]:
        """A message that has come; None if none has come whole."""
        while self.is_alive:
            line, newline, rest = self._pending.partition(b"\n")
            if newline:
                self._pending = rest
                self._heard = time.monotonic()
                return self._understand(line)
            if len(self._pending) > _MAX_LINE_BYTES:
                return self._nonsense(self._pending)
            try:
                piece = os.read(self._messages.fileno(), 1 << 16)
            except BlockingIOError:
                return None
            if not piece:
                return self._gone()
            self._pending += piece
        return None

    def _understand(self, line: bytes) -> Message:
        try:
            said = json.loads(line)
            tell = said["tell"]
            if tell == "ready":
                self._patience_s = None
                return Ready()
            if tell == "progress":
                stage = "".join(c for c in str(said["stage"])[:40] if c.isprintable())
                self._doing = f"{stage} ({said['done']:d} of {said['total']:d})"
                return Working(stage, said["done"], said["total"])
            if tell == "finished":
                self._patience_s = None
                return Finished(dict(said["report"]))
            if tell == "failed":
                self._patience_s = None
                if said["last"]:
                    self.kill()
                return Failed(_ERRORS[said["error"]](str(said["message"])), dict(said["controls"]))
            if tell == "crashed":
                self.kill()
                return Died(str(said["message"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        return self._nonsense(line)

    def _nonsense(self, line: bytes) -> Died:
        self.kill()
        return Died(f"the worker said {line[:60]!r}, which means nothing; it was ended")

    def _gone(self) -> Died:
        """It closed its end: wait until it is really over, and say how."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        status = self._process.returncode
        self.kill()
        if status is None:
            return Died(f"the worker closed its pipe while {self._doing}; it was ended")
        if status >= 0:
            return Died(f"the worker ended with status {status} while {self._doing}")
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return Died(f"the worker was killed by {name} while {self._doing}")


# ---- the process itself ------------------------------------------------------------------------------------------


class Renders(Protocol):
    """What the process needs of a `pipeline.Pipeline`."""

    def render(self, request: "Request", progress: "Callable[[Progress], None]") -> Dict[str, Any]:
        """Make one video; its report."""


MakePipeline = Callable[[Config], ContextManager[Renders]]


def _make_pipeline(config: Config) -> ContextManager[Renders]:
    from .pipeline import Pipeline

    return Pipeline(config)


def main(make_pipeline: MakePipeline = _make_pipeline) -> int:
    """Live as a worker: settings and jobs come on standard input, messages go to standard output.

    Args:
        make_pipeline: Loads what does the work.

    Returns:
        The exit status.
    """
    jobs, messages = _take_pipes()
    teller = _Teller(messages)
    start = json.loads(jobs.readline())
    _die_with(start["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal reaches us too; the daemon decides
    config = check(Config, start["config"], "settings from the daemon")
    _bound(config.worker.memory_mb)
    try:
        with make_pipeline(config) as pipeline:
            teller.tell("ready")
            for line in jobs:
                if not _do(pipeline, json.loads(line), config, teller):
                    return 1
    except MemoryError:
        words = f"worker.memory_mb = {config.worker.memory_mb}: too little to load the model"
        teller.failed(ConfigError(words), {}, last=True)
        return 1
    except SonicEdgeError as e:
        teller.failed(e, {}, last=True)
        return 1
    except Exception as e:
        teller.crashed(e)
        return 1
    return 0


def _do(pipeline: Renders, job: Mapping[str, Any], config: Config, teller: "_Teller") -> bool:
    """One job; whether the process can take another."""
    from .media import Request

    controls: Dict[str, object] = {}
    speech = Path(job["speech"])
    teller.start()
    try:
        if job["controls"] is not None:
            controls = _read_controls(Path(job["controls"]))
        request = Request(Path(job["portrait"]), speech, Path(job["output"]), controls)
        report = pipeline.render(request, teller.progress)
    except SonicEdgeError as e:
        teller.failed(e, controls)
    except MemoryError:
        traceback.print_exc()
        words = f"{speech.name}: needs more memory than worker.memory_mb = {config.worker.memory_mb} allows"
        teller.failed(RequestError(words), controls, last=True)
        return False  # what else could not be had in the meantime, nobody knows
    except Exception as e:
        teller.crashed(e)
        return False
    else:
        teller.tell("finished", report=report)
    return True


def _read_controls(path: Path) -> Dict[str, object]:
    """The job's own controls, as YAML gives them; their values are for the pipeline to check.

    Raises:
        RequestError: If the file is too large or not YAML of the form ``name: value``.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONTROLS_BYTES + 1)
        if len(raw) > MAX_CONTROLS_BYTES:
            raise RequestError(f"{path.name}: larger than {MAX_CONTROLS_BYTES} bytes; controls are a few lines")
        text = raw.decode("utf-8-sig")
        depth = 0
        for event in yaml.parse(text):  # before anything is built: some YAML takes for ever, or all memory
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > 2 or isinstance(event, yaml.AliasEvent):
                raise RequestError(f"{path.name}: must hold `name: value` lines, not nested lists or YAML aliases")
        data = yaml.safe_load(text)
    except OSError as e:
        raise RequestError(f"{path.name}: cannot be read: {e.strerror}") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise RequestError(f"{path.name}: is not YAML: {' '.join(str(e).split())[:300]}") from e
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise RequestError(f"{path.name}: must hold `name: value` lines, for example `seed: 3`")
    return data


class _Teller:
    """Writes messages to the daemon.

    Args:
        pipe: Where to.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._stage = ""
        self._told = 0.0

    def tell(self, tell: str, **more: object) -> None:
        line = json.dumps({"tell": tell, **more}, default=str).encode() + b"\n"
        try:
            self._pipe.write(line)
        except BrokenPipeError:  # the daemon is gone, and so is the point of going on
            os._exit(1)

    def start(self) -> None:
        self._stage = ""

    def progress(self, progress: "Progress") -> None:
        """Pass on what is worth a line: a new stage, its end, and now and then in between."""
        now = time.monotonic()
        if progress.stage == self._stage and progress.done < progress.total and now - self._told < _TELL_EVERY_S:
            return
        self._stage, self._told = progress.stage, now
        self.tell("progress", stage=progress.stage, done=progress.done, total=progress.total)

    def failed(self, error: SonicEdgeError, controls: Mapping[str, object], last: bool = False) -> None:
        kinds = [name for name, kind in _ERRORS.items() if isinstance(error, kind)] or ["DeviceError"]
        self.tell("failed", error=kinds[0], message=str(error), controls=dict(controls), last=last)

    def crashed(self, error: Exception) -> None:
        """A mistake of ours: its trace goes to the log, its words to the daemon."""
        traceback.print_exc()
        self.tell("crashed", message=f"{type(error).__name__}: {error}"[:1000])


def _take_pipes() -> "tuple[BinaryIO, BinaryIO]":
    """Standard input and output for ourselves alone: whatever a library prints goes to standard error."""
    jobs = os.fdopen(os.dup(0), "rb")
    messages = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return jobs, messages


def _die_with(parent: int) -> None:
    """Be killed when the daemon ends, however it ends, so that no worker writes into a job that another one does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _bound(memory_mb: int) -> None:
    """Take no more memory than allowed, leave no core dumps with faces in them, and let the daemon go first.

    RLIMIT_DATA and not RLIMIT_AS: it counts private writable memory, which is what fills the machine. The address
    space also holds mapped files, libraries and what allocators reserve for each thread without using it; a limit on
    that would have to be several times larger to let good work through, and would then bound nothing.
    """
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)


if __name__ == "__main__":
    sys.exit(main())
