"""The daemon's end: starts the process, gives it jobs, understands what it says, and notices when it says nothing."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence, Type, Union

from ..config import Config
from ..errors import ConfigError, DeviceError, RequestError, SonicEdgeError

COMMAND = (sys.executable, "-m", "sonic_edge.worker")
"""How the daemon starts the process."""

_MAX_LINE_BYTES = 4 << 20
_ERRORS: Dict[str, Type[SonicEdgeError]] = {e.__name__: e for e in (ConfigError, RequestError, DeviceError)}


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
