"""The daemon's end: starts the process, gives it jobs, understands what it says, and notices when it says nothing."""

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence, Type, Union

from ...config import Config
from ...errors import ConfigError, DeviceError, RequestError, SonicEdgeError
from ...process import Child

COMMAND = (sys.executable, "-m", "sonic_edge.service.worker")
"""How the daemon starts the process."""

_MOST_STEPS = 10**9
_LONGEST = 4000  # of words that go to the log and to reason.json

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
        self._child = Child(command, "the worker")
        self._heard = time.monotonic()
        self._patience_s: Optional[float] = config.worker.start_s
        self._stall_s = config.worker.stall_s
        self._job_s = config.worker.job_s
        self._given: Optional[float] = None
        self._at = ("", 0)
        self._doing = "loading the model"
        self._child.send({"parent": os.getpid(), "config": config.model_dump(mode="json")})

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can still be given a job."""
        return self._child.is_alive

    def give(self, portrait: Path, speech: Path, controls: Optional[Path], output: Path) -> None:
        """Let it do a job. Its folder must be there; nothing else may be under way.

        Args:
            portrait: The photo.
            speech: The recording.
            controls: A YAML file with the job's own controls.
            output: The video to write.
        """
        self._heard = self._given = time.monotonic()
        self._patience_s = self._stall_s
        self._at = ("", 0)
        self._doing = "starting on the job"
        self._child.send(
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
            self._child.wait(timeout_s, wake)
            message = self._next()
        if (message is None or isinstance(message, Working)) and self.is_alive:
            return self._overdue() or message
        return message

    def _overdue(self) -> Optional[Died]:
        """End a process that makes no progress, or too little."""
        now = time.monotonic()
        if self._patience_s is not None and now - self._heard >= self._patience_s:
            self.kill()
            return Died(f"no progress for {now - self._heard:.0f} s while {self._doing}; the worker was ended")
        if self._given is not None and now - self._given >= self._job_s:
            self.kill()
            return Died(f"took longer than worker.job_s = {self._job_s:g} s, {self._doing}; the worker was ended")
        return None

    def kill(self) -> None:
        """End it at once; whatever it was writing is worth nothing."""
        self._child.kill()

    def _next(self) -> Optional[Message]:
        """A message that has come; None if none has come whole."""
        try:
            line = self._child.line()
        except EOFError as e:
            return Died(f"{e} while {self._doing}")
        if line is None:
            return None
        return self._understand(line)

    def _rest(self) -> None:
        """There is nothing to be done, and nothing to wait for."""
        self._patience_s = self._given = None

    def _understand(self, line: bytes) -> Message:
        try:
            said = json.loads(line)
            tell = said["tell"]
            if tell == "ready":
                self._rest()
                return Ready()
            if tell == "progress":
                stage = "".join(c for c in str(said["stage"])[:40] if c.isprintable())
                done, total = said["done"], said["total"]
                if not (0 <= done <= _MOST_STEPS and 0 <= total <= _MOST_STEPS):  # nothing can be reckoned with them
                    raise ValueError(f"{done} of {total}")
                self._doing = f"{stage} ({done:d} of {total:d})"
                if (stage, done) != self._at:  # saying the same again is no progress
                    self._at, self._heard = (stage, done), time.monotonic()
                return Working(stage, done, total)
            if tell == "finished":
                self._rest()
                return Finished(dict(said["report"]))
            if tell == "failed":
                self._rest()
                if said["last"]:
                    self.kill()
                return Failed(_ERRORS[said["error"]](str(said["message"])[:_LONGEST]), dict(said["controls"]))
            if tell == "crashed":
                self.kill()
                return Died(str(said["message"])[:_LONGEST])
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        return Died(self._child.reject(line))
