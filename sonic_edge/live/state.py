"""The state of live mode and of the screen, as `sonic-edge status` shows it."""

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
    """How often the device was lost."""


@dataclass(frozen=True)
class SpeakerState:
    """The loudspeaker; the fields from `device` on are known only while it is open."""

    open: bool = False
    error: Text = ""
    device: Optional[Text] = field(default=None, metadata=LEFT_OUT)
    skew_ms: Optional[float] = field(default=None, metadata=LEFT_OUT)
    """How far the sound is from its due time."""
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
    """Dropped because they were late."""
    refused: int = 0
    """Dropped because the player was still reading the one before."""
    unseen: int = 0
    """Drawn, but not shown: there was no player, or it was stuck."""
    latency_ms: Dict[str, float] = field(default_factory=dict)
    """From the sound at the microphone to the picture at the player: the median of each part."""


@dataclass(frozen=True)
class MirrorState(FrameCounts):
    """The portrait that speaks live."""

    seconds: float = 0.0
    """Since somebody stepped in front of it."""
    cpu_share: float = 0.0
    """Processor time used, as a share of one core."""
    skipped_s: float = 0.0
    """Sound that was skipped because it arrived too late for the model."""
    level: float = 0.0
    speaker: Annotated[Optional[SpeakerState], IfRight] = field(default=None, metadata=EMPTY)


@dataclass(frozen=True)
class StudioState:
    """The studio's regular report, which also shows the daemon that it is alive."""

    mode: Text
    talking: bool
    muted: bool
    microphone: MicrophoneState
    recording: bool
    mirror: Annotated[Optional[MirrorState], IfRight] = field(default=None, metadata=EMPTY)
    errors: Dict[str, Text] = field(default_factory=dict)
    """By the failing part: camera, microphone, portrait, record."""


@dataclass(frozen=True)
class LiveStatus:
    """Live mode; the studio's fields are None while there is no studio."""

    mode: Optional[Text] = field(default=None, metadata=LEFT_OUT)
    talking: Optional[bool] = field(default=None, metadata=LEFT_OUT)
    microphone: Annotated[Optional[MicrophoneState], IfRight] = field(default=None, metadata=LEFT_OUT)
    recording: Optional[bool] = field(default=None, metadata=LEFT_OUT)
    mirror: Annotated[Optional[MirrorState], IfRight] = field(default=None, metadata=EMPTY)
    errors: Optional[Dict[str, Text]] = field(default=None, metadata=LEFT_OUT)
    muted: bool = False
    error: Text = ""
    """Why there is no studio; empty if nothing went wrong."""

    @classmethod
    def of(cls, studio: Optional[StudioState], muted: bool, error: str) -> "LiveStatus":
        """Built from the studio's last report; None: there is no studio."""
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
    """The video that is being played."""
    waiting: int = 0
    """Number of videos waiting to be played."""
    restarts: int = 0
    skipped: int = 0
    """Number of videos that could not be played."""
    error: Optional[Text] = None
