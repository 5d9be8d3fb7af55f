"""The daemon's end: starts the process, gives it orders, understands what it says, and notices when it says nothing."""

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
"""How the daemon starts the process."""

STALL_S = 30.0
"""It gives a sign of life several times a second, but for a new portrait and for each picture of a snapshot, and for as
long as the camera may take to deliver."""


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
        command: What to start.

    Raises:
        DeviceError: If no process can be started.
    """

    def __init__(self, config: Config, is_muted: bool, command: Sequence[str] = COMMAND) -> None:
        self._child = Child(command, "the studio")
        self._heard = time.monotonic()
        self._patience_s = config.worker.start_s
        self._camera_s = config.camera.timeout_s if config.camera.device is not None else 0.0
        self._child.send(encode(Start(os.getpid(), config.model_dump(mode="json"), is_muted)))

    @property
    def fd(self) -> int:
        """Becomes readable when it says something, or ends."""
        return self._child.fd

    @property
    def is_alive(self) -> bool:
        """Whether it can be given orders."""
        return self._child.is_alive

    def order(self, command: Command) -> None:
        """Have it carry out a command; an `Answer` with its id follows."""
        self._child.send(encode(command))

    def receive(self) -> Optional[Message]:
        """The next message that has come; None if there is none."""
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
            return Lost(DeviceError(f"the studio gave no sign of life for {silent_s:.0f} s; it was ended"))
        return None

    def kill(self) -> None:
        """End it at once."""
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
