"""The daemon's end: starts the studio process, sends it orders, reads its messages, and kills it if it falls silent."""

import os
import sys
import time
from dataclasses import dataclass
from typing import Optional, Sequence, Union

from ...config import Config
from ...errors import DeviceError, SonicEdgeError
from ...process import Child
from ...process.messages import encode
from .messages import Answer, Command, Failed, Ready, Recorded, Scene, Start, State, Stream, Words, from_studio

COMMAND = (sys.executable, "-m", "sonic_edge.live.studio")
"""The command that starts the process."""

STALL_S = 30.0
"""The studio is killed after this long without a message; ``camera.timeout_s`` is added if there is a camera. It sends
its state several times a second, except while it prepares a portrait, waits for the camera or searches a picture."""


@dataclass(frozen=True)
class Lost:
    """The process is gone."""

    error: SonicEdgeError


Message = Union[Ready, State, Scene, Stream, Words, Recorded, Answer, Lost]


class Studio:
    """A running studio, seen from the daemon.

    Args:
        config: Its settings.
        is_muted: Whether it starts with the microphone closed.
        command: The command that starts it.

    Raises:
        DeviceError: If the process cannot be started.
    """

    def __init__(self, config: Config, is_muted: bool, command: Sequence[str] = COMMAND) -> None:
        self._child = Child(command, "the studio")
        self._heard = time.monotonic()
        self._patience_s = config.worker.start_s
        self._camera_s = config.camera.timeout_s if config.camera.device is not None else 0.0
        self._child.send(encode(Start(os.getpid(), config.model_dump(mode="json"), is_muted)))

    @property
    def fd(self) -> int:
        """Becomes readable when the studio sends a message or exits."""
        return self._child.fd

    @property
    def is_alive(self) -> bool:
        """Whether it is running and can be given orders."""
        return self._child.is_alive

    def order(self, command: Command) -> None:
        """Send it a command; an `Answer` with the same id follows."""
        self._child.send(encode(command))

    def receive(self) -> Optional[Message]:
        """The next message that has arrived; None if there is none."""
        try:
            line = self._child.line()
        except EOFError as e:
            return Lost(DeviceError(str(e)))
        if line is not None:
            self._heard = time.monotonic()
            return self._understand(line)
        silent_s = time.monotonic() - self._heard
        if self.is_alive and silent_s > self._patience_s:
            self.kill()
            return Lost(DeviceError(f"the studio has not responded for {silent_s:.0f} s; it was killed"))
        return None

    def kill(self) -> None:
        """Kill it at once."""
        self._child.kill()

    def _understand(self, line: bytes) -> Message:
        try:
            said = from_studio.read(line)
        except ValueError:
            return Lost(DeviceError(self._child.reject(line)))
        if isinstance(said, Ready):
            self._patience_s = STALL_S + self._camera_s
        elif isinstance(said, Failed):
            self.kill()
            return Lost(said.error)
        return said
