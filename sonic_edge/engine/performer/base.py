"""The interface to a model, whatever its kind."""

from dataclasses import dataclass
from typing import Any, Callable, FrozenSet, Iterator, List, Protocol

from ...config import Controls
from ...media import FloatArray, Image, Portrait, Speech
from ...model.bundle import Bundle
from ..sheet import Chooser

Pose = Any
"""What a live picture is drawn from; opaque to everybody but the performer that made it."""

OnProgress = Callable[[int, int], None]
"""Called with (parts done, total parts)."""


class Performance(Protocol):
    """A portrait's performance over a clip."""

    def __len__(self) -> int:
        """Number of frames."""

    def frames(self) -> Iterator[Image]:
        """The pictures, made lazily, each a new array. May be called only once.

        Raises:
            DeviceError: If the backend fails.
        """

    def chooser(self, level: FloatArray, rate: float) -> Chooser:
        """The chooser of the frames for a contact sheet.

        Args:
            level: Loudness of the sound, log10 power, [n], the first at 0 s.
            rate: Values of `level` per second.
        """


@dataclass(frozen=True)
class LivePoses:
    """The poses that became known with a piece of live sound."""

    begins_s: float
    """Time of the first pose, seconds since the first sound."""
    poses: List[Pose]
    """In order, one every 1 / fps seconds."""
    is_spoken: bool
    """Whether there was speech in the sound."""


class LivePerformance(Protocol):
    """A portrait that speaks live, as a person speaks. Memory does not grow."""

    fps: float
    """Poses a second."""
    lead_s: float
    """How far the lips lead the sound, seconds."""
    look_ahead_s: float
    """How much later sound a pose waits for, seconds."""

    def push(self, samples: FloatArray) -> LivePoses:
        """Process sound, [n] mono -1..1 at the model's sample rate, continuing from the previous call.

        Raises:
            DeviceError: If the backend fails.
        """

    def draw(self, pose: Pose) -> Image:
        """The picture of a pose, a new array. May be called from another thread."""


class Performer(Protocol):
    """A loaded model that makes portraits speak."""

    bundle: Bundle
    ignores: FrozenSet[str]
    """Controls that have no effect on it."""
    window_s: float
    """How much speech one run of the model covers, seconds."""

    def warm_up(self) -> None:
        """Run the model once on silence.

        Raises:
            DeviceError: If the backend fails.
        """

    def perform(
        self, portrait: Portrait, speech: Speech, controls: Controls, n_frames: int, progress: OnProgress
    ) -> Performance:
        """Make a portrait speak a recording.

        Raises:
            DeviceError: If the backend fails.
        """

    def idle(self, portrait: Portrait, controls: Controls, progress: OnProgress) -> Performance:
        """The portrait while nobody speaks: a seamless loop of `idle.LENGTH_S` seconds.

        Raises:
            DeviceError: If the backend fails.
        """

    def live(self, portrait: Portrait, controls: Controls) -> LivePerformance:
        """A portrait that speaks live; only one at a time."""
