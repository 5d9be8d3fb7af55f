"""What the daemon and its studio say to each other.

To the studio go `Start`, then a `Command` for each order; each is answered once with `Answer`. The others come unasked.
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
    """The daemon's process; the studio ends when it does."""
    config: Mapping[str, Any]
    """The settings, as `Config.model_dump` gives them."""
    muted: bool
    """Whether the microphone stays closed."""


@dataclass(frozen=True)
class Command:
    """An order of a person's."""

    order: Text
    """talk, mute or snapshot: the orders in `service.orders` that the studio carries out."""
    id: int
    """The `Answer` has it too."""
    on: bool = True
    """For talk and mute: begin, or end."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded and has run once."""

    tell: Literal["ready"] = "ready"


@dataclass(frozen=True)
class State:
    """A sign of life, and what `status` shows."""

    state: StudioState
    tell: Literal["state"] = "state"


@dataclass(frozen=True)
class Scene:
    """The idle scene is there."""

    path: FilePath
    tell: Literal["scene"] = "scene"


@dataclass(frozen=True)
class Stream:
    """Raw pictures, bgr24, come through a FIFO."""

    path: Optional[FilePath]
    """None: no more."""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    tell: Literal["stream"] = "stream"


@dataclass(frozen=True)
class Words:
    """What the screen is to say."""

    key: Text
    """Of `display.WORDS`; empty for nothing."""
    tell: Literal["words"] = "words"


@dataclass(frozen=True)
class Recorded:
    """A passage went into the inbox."""

    name: Text
    tell: Literal["recorded"] = "recorded"


@dataclass(frozen=True)
class Answer:
    """A command was carried out, or could not be."""

    id: int
    error: Text = ""
    """Empty if it was."""
    tell: Literal["answer"] = "answer"


@dataclass(frozen=True)
class Failed:
    """The studio ends."""

    kind: ErrorKind
    message: Text
    tell: Literal["failed"] = "failed"

    @property
    def error(self) -> SonicEdgeError:
        """Why."""
        return as_error(self.kind, self.message)


FromStudio = Union[Ready, State, Scene, Stream, Words, Recorded, Answer, Failed]
from_studio: Reader[FromStudio] = Reader(FromStudio, "tell")
starts: Reader[Start] = Reader(Start)
commands: Reader[Command] = Reader(Command)
