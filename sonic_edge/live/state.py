"""What `sonic-edge status` shows of live mode and of the screen."""

from dataclasses import dataclass, field
from typing import Annotated, Dict, Literal, Optional

from ..process.messages import EMPTY, LEFT_OUT, IfRight, Text


@dataclass(frozen=True)
class MicrophoneState:
    """The microphone."""

    open: bool = False
    device: Text = ""
    overruns: int = 0
    """How often sound was lost because the machine was too slow or too busy."""
    lost: int = 0
    """How often the device went away."""


@dataclass(frozen=True)
class SpeakerState:
    """The loudspeaker; what is said from `device` on is of the open one."""

    open: bool = False
    error: Text = ""
    device: Optional[Text] = field(default=None, metadata=LEFT_OUT)
    skew_ms: Optional[float] = field(default=None, metadata=LEFT_OUT)
    """How far the sound is from where it should be."""
    starved: Optional[int] = field(default=None, metadata=LEFT_OUT)
    jumps: Optional[int] = field(default=None, metadata=LEFT_OUT)
    underruns: Optional[int] = field(default=None, metadata=LEFT_OUT)
    """How often it had nothing to play."""
    latency_ms: Optional[float] = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True)
class FrameCounts:
    """Live pictures."""

    shown: int = 0
    late: int = 0
    """Dropped because their moment was over."""
    refused: int = 0
    """Dropped because the screen was still busy with the one before."""
    unseen: int = 0
    """Drawn while no screen was looking."""
    latency_ms: Dict[str, float] = field(default_factory=dict)
    """From the sound at the microphone to the picture in the player's hands: the median of each part."""


@dataclass(frozen=True)
class MirrorState(FrameCounts):
    """The portrait that speaks live."""

    seconds: float = 0.0
    """Since somebody stepped in front of it."""
    cpu_share: float = 0.0
    """Processor time, of one core."""
    skipped_s: float = 0.0
    """Sound that the model did not get to."""
    level: float = 0.0
    speaker: Annotated[Optional[SpeakerState], IfRight] = field(default=None, metadata=EMPTY)


@dataclass(frozen=True)
class StudioState:
    """What the studio reports now and then; also its sign of life."""

    mode: Text
    talking: bool
    muted: bool
    microphone: MicrophoneState
    recording: bool
    mirror: Annotated[Optional[MirrorState], IfRight] = field(default=None, metadata=EMPTY)
    errors: Dict[str, Text] = field(default_factory=dict)
    """By the part that fails: camera, microphone, portrait, record."""


@dataclass(frozen=True)
class LiveStatus:
    """Live mode; of the studio nothing is known while there is none."""

    mode: Optional[Text] = field(default=None, metadata=LEFT_OUT)
    talking: Optional[bool] = field(default=None, metadata=LEFT_OUT)
    microphone: Annotated[Optional[MicrophoneState], IfRight] = field(default=None, metadata=LEFT_OUT)
    recording: Optional[bool] = field(default=None, metadata=LEFT_OUT)
    mirror: Annotated[Optional[MirrorState], IfRight] = field(default=None, metadata=EMPTY)
    errors: Optional[Dict[str, Text]] = field(default=None, metadata=LEFT_OUT)
    muted: bool = False
    error: Text = ""
    """Why there is no studio."""

    @classmethod
    def of(cls, studio: Optional[StudioState], muted: bool, error: str) -> "LiveStatus":
        """Put together from what the studio said last."""
        if studio is None:
            return cls(muted=muted, error=error)
        return cls(
            studio.mode, studio.talking, studio.microphone, studio.recording, studio.mirror, studio.errors, muted, error
        )


@dataclass(frozen=True)
class ScreenStatus:
    """The screen."""

    state: Text = "none"
    """none, starting, running or failed."""
    showing: Literal["live", "clip", "idle", "black", "nothing"] = "nothing"
    clip: Optional[Text] = None
    """The video that is shown."""
    waiting: int = 0
    """Videos that wait to be shown."""
    restarts: int = 0
    skipped: int = 0
    """Videos that could not be shown."""
    error: Optional[Text] = None
