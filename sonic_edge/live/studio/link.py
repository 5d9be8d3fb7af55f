"""The daemon's end: starts the process, gives it orders, understands what it says, and notices when it says nothing."""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Optional, Sequence, Union

from ...config import Config
from ...errors import ConfigError, DeviceError, SonicEdgeError
from ...process import Child

COMMAND = (sys.executable, "-m", "sonic_edge.live.studio")
"""How the daemon starts the process."""

STALL_S = 30.0
"""It gives a sign of life several times a second, but for a new portrait and for each picture of a snapshot, and for as
long as the camera may take to deliver."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded and has run once."""


@dataclass(frozen=True)
class State:
    """A sign of life: what `status` shows."""

    state: Mapping[str, object]


@dataclass(frozen=True)
class Scene:
    """The idle scene is there."""

    path: Path


@dataclass(frozen=True)
class Live:
    """Raw pictures, bgr24, come through a FIFO."""

    path: Optional[Path]
    """None: no more."""
    width: int
    height: int
    fps: float


@dataclass(frozen=True)
class Words:
    """What the screen is to say."""

    key: str
    """Of `display.WORDS`; empty for nothing."""


@dataclass(frozen=True)
class Recorded:
    """A passage went into the inbox."""

    name: str


@dataclass(frozen=True)
class Answer:
    """An order was carried out, or could not be."""

    id: int
    error: str
    """Empty if it was."""


@dataclass(frozen=True)
class Lost:
    """The process is gone."""

    error: SonicEdgeError


Message = Union[Ready, State, Scene, Live, Words, Recorded, Answer, Lost]


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
        self._child.send({"parent": os.getpid(), "config": config.model_dump(mode="json"), "muted": is_muted})

    @property
    def fd(self) -> int:
        """Becomes readable when it says something, or ends."""
        return self._child.fd

    @property
    def is_alive(self) -> bool:
        """Whether it can be given orders."""
        return self._child.is_alive

    def order(self, order: str, number: int, on: bool = True) -> None:
        """Let it do something; an `Answer` with the number follows.

        Args:
            order: talk, mute or snapshot.
            number: Tells the answer from others.
            on: For talk and mute.
        """
        self._child.send({"order": order, "on": on, "id": number})

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
            said = json.loads(line)
            tell = said["tell"]
            if tell == "ready":
                self._patience_s = STALL_S + self._camera_s
                return Ready()
            if tell == "state":
                return State(dict(said["state"]))
            if tell == "scene":
                return Scene(Path(said["path"]))
            if tell == "live":
                path = Path(said["path"]) if said["path"] else None
                return Live(path, int(said["width"]), int(said["height"]), float(said["fps"]))
            if tell == "words":
                return Words(str(said["key"]))
            if tell == "recorded":
                return Recorded(str(said["name"]))
            if tell == "answer":
                return Answer(int(said["id"]), str(said["error"]))
            if tell == "failed":
                self.kill()
                kind = ConfigError if said["error"] == "ConfigError" else DeviceError
                return Lost(kind(str(said["message"])))
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        return Lost(DeviceError(self._child.reject(line)))
