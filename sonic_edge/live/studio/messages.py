"""The messages between the daemon and its studio.

The daemon sends `Start`, then a `Command` for each order, which the studio answers once with `Answer`. The studio sends
all other messages on its own.
"""

from dataclasses import dataclass
from typing import Any, Literal, Mapping, Optional, Union

from ...errors import SonicEdgeError
from ...process.messages import ErrorKind, FilePath, Reader, Text, as_error
from ..state import StudioState


@dataclass(frozen=True)
class Start:
    """The first line to the studio."""

    parent: int
    """The daemon's process id; the studio is killed when the daemon dies."""
    config: Mapping[str, Any]
    """The settings, as `Config.model_dump` gives them."""
    muted: bool
    """Whether the microphone stays closed."""


@dataclass(frozen=True)
class Command:
    """An order from a person."""

    order: Text
    """talk, mute or snapshot: the orders in `service.orders` that the studio carries out."""
    id: int
    """Repeated in the `Answer`."""
    on: bool = True
    """For talk and mute: whether to begin or to end."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded and has completed a trial run."""

    tell: Literal["ready"] = "ready"


@dataclass(frozen=True)
class State:
    """The regular report: it shows that the studio is alive, and is what `status` shows."""

    state: StudioState
    tell: Literal["state"] = "state"


@dataclass(frozen=True)
class Scene:
    """The idle scene is ready."""

    path: FilePath
    tell: Literal["scene"] = "scene"


@dataclass(frozen=True)
class Stream:
    """Raw pictures, bgr24, are being written to a FIFO."""

    path: Optional[FilePath]
    """The FIFO; None: the stream has ended."""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    tell: Literal["stream"] = "stream"


@dataclass(frozen=True)
class Words:
    """The text to show on the screen."""

    key: Text
    """A key of `display.WORDS`; empty for no text."""
    tell: Literal["words"] = "words"


@dataclass(frozen=True)
class Recorded:
    """A recorded passage was put into the inbox."""

    name: Text
    tell: Literal["recorded"] = "recorded"


@dataclass(frozen=True)
class Answer:
    """The result of a command."""

    id: int
    error: Text = ""
    """Why it failed; empty on success."""
    tell: Literal["answer"] = "answer"


@dataclass(frozen=True)
class Failed:
    """The studio exits because of an error."""

    kind: ErrorKind
    message: Text
    tell: Literal["failed"] = "failed"

    @property
    def error(self) -> SonicEdgeError:
        """The error."""
        return as_error(self.kind, self.message)


FromStudio = Union[Ready, State, Scene, Stream, Words, Recorded, Answer, Failed]
from_studio: Reader[FromStudio] = Reader(FromStudio, "tell")
starts: Reader[Start] = Reader(Start)
commands: Reader[Command] = Reader(Command)
