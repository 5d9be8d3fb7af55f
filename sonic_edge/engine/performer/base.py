"""What the product needs of a model, whatever its kind."""

from dataclasses import dataclass
from typing import Any, Callable, FrozenSet, Iterator, List, Protocol

from ...config import Controls
from ...media import FloatArray, Image, Portrait, Speech
from ...model.bundle import Bundle
from ..sheet import Chooser

Pose = Any
"""What a live picture is drawn by; only who made it understands it."""

Tell = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""


class Performance(Protocol):
    """What a portrait does over a clip."""

    def __len__(self) -> int:
        """Frames."""

    def frames(self) -> Iterator[Image]:
        """The pictures, made as they are asked for, each a fresh array; to be called once.

        Raises:
            DeviceError: If the backend fails.
        """

    def chooser(self, level: FloatArray, rate: float) -> Chooser:
        """Says which of them a contact sheet shows.

        Args:
            level: Loudness of the sound, log10 power, [n], the first at 0 s.
            rate: Values of `level` a second.
        """


@dataclass(frozen=True)
class Played:
    """What came of a piece of sound that is still arriving."""

    begins_s: float
    """Moment of the first pose, seconds of the sound given."""
    poses: List[Pose]
    """Those known now, in order, one every 1 / fps seconds."""
    is_spoken: bool
    """Whether somebody said something."""


class Live(Protocol):
    """A portrait that speaks while a person does. Memory does not grow."""

    fps: float
    """Poses a second."""
    lead_s: float
    """How far its lips lead the sound, seconds."""
    look_ahead_s: float
    """How much sound after its moment a pose waits for, seconds."""

    def push(self, samples: FloatArray) -> Played:
        """Take sound, [n] mono -1..1 at the model's rate, going on from the last.

        Raises:
            DeviceError: If the backend fails.
        """

    def draw(self, pose: Pose) -> Image:
        """The picture of a pose, a fresh array. May be called from another thread."""


class Performer(Protocol):
    """A loaded model and how it makes a portrait speak."""

    bundle: Bundle
    ignores: FrozenSet[str]
    """Controls that mean nothing to it."""
    window_s: float
    """Speech that one run of the model gives, seconds."""

    def warm_up(self) -> None:
        """Run the model once, on silence.

        Raises:
            DeviceError: If the backend fails.
        """

    def perform(self, portrait: Portrait, speech: Speech, controls: Controls, n_frames: int, tell: Tell) -> Performance:
        """What a recording makes of a portrait.

        Raises:
            DeviceError: If the backend fails.
        """

    def idle(self, portrait: Portrait, controls: Controls, tell: Tell) -> Performance:
        """The portrait while nobody speaks: `idle.LENGTH_S` seconds whose last frame is followed by the first.

        Raises:
            DeviceError: If the backend fails.
        """

    def live(self, portrait: Portrait, controls: Controls) -> Live:
        """The portrait while a person speaks; one at a time."""
