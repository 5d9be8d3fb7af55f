"""The daemon's end: starts the worker process, sends it jobs, reads its messages, and kills it if it stalls."""

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Sequence, Union

from ...config import Config
from ...process import Child
from ...process.messages import encode
from .messages import Crashed, Failed, Finished, Job, Progress, Ready, Start, from_worker

COMMAND = (sys.executable, "-m", "sonic_edge.service.worker")
"""The command that starts the process."""

_LONGEST_MESSAGE = 4000  # characters, in the log and in reason.json
_LONGEST_STAGE = 40  # characters


@dataclass(frozen=True)
class Died:
    """The process is gone: it crashed, or it was killed because it hung or sent an invalid message."""

    reason: str


Message = Union[Ready, Progress, Finished, Failed, Died]


class Worker:
    """A running worker process, seen from the daemon.

    Args:
        config: Its settings; they are sent over the pipe, so that the list of processes shows none of them.
        command: The command that starts it.

    Raises:
        DeviceError: If the process cannot be started.
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
        self._child.send(encode(Start(os.getpid(), config.model_dump(mode="json"))))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether it is running and can be given a job."""
        return self._child.is_alive

    def give(self, portrait: Path, speech: Path, controls: Optional[Path], output: Path) -> None:
        """Start a job. No other may be running.

        Args:
            portrait: The photo.
            speech: The recording.
            controls: A YAML file with the job's own controls.
            output: The video to write; its folder must exist.
        """
        self._heard = self._given = time.monotonic()
        self._patience_s = self._stall_s
        self._at = ("", 0)
        self._doing = "starting on the job"
        self._child.send(encode(Job(portrait, speech, controls, output)))

    def receive(self, timeout_s: float, wake: Optional[int] = None) -> Optional[Message]:
        """The next message; None if none arrives in time.

        Args:
            timeout_s: How long to wait, seconds.
            wake: A file descriptor that ends the wait when it becomes readable.
        """
        message = self._next()
        if message is None and self.is_alive:
            self._child.wait(timeout_s, wake)
            message = self._next()
        if (message is None or isinstance(message, Progress)) and self.is_alive:
            return self._overdue() or message
        return message

    def _overdue(self) -> Optional[Died]:
        """Kill the process if it makes no progress, or if the job takes too long."""
        now = time.monotonic()
        if self._patience_s is not None and now - self._heard >= self._patience_s:
            self.kill()
            return Died(f"no progress for {now - self._heard:.0f} s while {self._doing}; the worker was killed")
        if self._given is not None and now - self._given >= self._job_s:
            self.kill()
            return Died(f"took longer than worker.job_s = {self._job_s:g} s, {self._doing}; the worker was killed")
        return None

    def kill(self) -> None:
        """Kill it at once; whatever it was writing is incomplete."""
        self._child.kill()

    def _next(self) -> Optional[Message]:
        """The next message that has arrived; None if none has arrived completely."""
        try:
            line = self._child.line()
        except EOFError as e:
            return Died(f"{e} while {self._doing}")
        if line is None:
            return None
        return self._understand(line)

    def _rest(self) -> None:
        """No job is running, so no deadline applies."""
        self._patience_s = self._given = None

    def _understand(self, line: bytes) -> Message:
        try:
            said = from_worker.read(line)
        except ValueError:
            return Died(self._child.reject(line))
        if isinstance(said, Progress):
            said = replace(said, stage="".join(c for c in said.stage[:_LONGEST_STAGE] if c.isprintable()))
            self._doing = f"{said.stage} ({said.done} of {said.total})"
            if (said.stage, said.done) != self._at:  # a repeated message is no progress
                self._at, self._heard = (said.stage, said.done), time.monotonic()
            return said
        if isinstance(said, Crashed):
            self.kill()
            return Died(said.message[:_LONGEST_MESSAGE])
        self._rest()
        if isinstance(said, Failed):
            if said.last:
                self.kill()
            return replace(said, message=said.message[:_LONGEST_MESSAGE])
        return said
