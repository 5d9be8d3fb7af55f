"""The data that flows from stage to stage."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A picture, [height, width, 3], BGR."""

FloatArray = NDArray[np.float32]

N_LANDMARKS = 468
"""Points of the MediaPipe face mesh (without irises)."""


@dataclass(frozen=True)
class Speech:
    """A recording that has been read once: its properties and its mel frames."""

    path: Path
    """The file; its sound is read again when the video is written."""
    duration_s: float
    """Exact length, samples / sample rate, seconds."""
    sample_rate: int
    """Sample rate of the file, Hz."""
    n_channels: int
    """Number of channels in the file."""
    mel: NDArray[np.float16]
    """Log-mel, [n_mels, n_frames], log10 power, not normalised."""
    warnings: Tuple[str, ...] = ()
    """Problems with the recording, as sentences for the report."""


@dataclass(frozen=True)
class SoundBlock:
    """A block of sound from a microphone."""

    samples: FloatArray
    """[n], mono, -1..1, at 16 kHz."""
    start: int
    """Index of the first sample since the device was opened, counting lost samples."""
    at_s: float
    """`time.monotonic()` when the last sample reached the microphone, seconds."""


@dataclass(frozen=True)
class Portrait:
    """A face, ready to be animated."""

    image: Image
    """The canvas that every frame is made from, at the size of the video: [height, width, 3], both even."""
    landmarks: FloatArray
    """Face mesh on the canvas, [468, 3]: x right, y down, z away from the viewer, all in canvas pixels."""
    irises: Optional[FloatArray] = None
    """x, y and radius of each iris, [2, 3], canvas pixels, the eye on the left of the picture first; None: unknown."""
    matte: Optional[NDArray[np.uint8]] = None
    """How much of each pixel is the person rather than the background, 0..255, [height, width]; None: unknown."""
    warnings: Tuple[str, ...] = ()
    """Problems with the photo, as sentences for the report."""

    @property
    def eyes(self) -> FloatArray:
        """Centres of the two eyes, the one on the left of the picture first, [2, 2], canvas pixels."""
        points = self.landmarks[:, :2]
        both: FloatArray = np.stack([points[[33, 133]].mean(0), points[[362, 263]].mean(0)])
        return both

    @property
    def interocular(self) -> float:
        """Distance between the two eye centres in the picture, pixels."""
        left, right = self.eyes
        return float(np.linalg.norm(left - right))


CHANNELS: Mapping[str, Tuple[float, float]] = {
    "jaw": (0.0, 1.2),
    "width": (-1.2, 1.2),
    "round": (0.0, 1.2),
    "close": (0.0, 1.0),
    "tuck": (0.0, 1.0),
    "tongue": (0.0, 1.0),
    "blink": (0.0, 1.0),
    "brow": (-1.5, 1.5),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-1.0, 1.0),
    "yaw": (-0.4, 0.4),
    "pitch": (-0.3, 0.3),
    "roll": (-0.35, 0.35),
    "tx": (-0.35, 0.35),
    "ty": (-0.35, 0.35),
}
"""Channels of `Motion` and their limits; beyond these the warped photo falls apart."""

TONGUE = "tongue"
"""Channel computed from the model's visemes, if it has that output."""
CLOSURE = "closure"
"""Extra channel of the model's own motion: probability that the lips are shut, 0..1."""
QUIET = "quiet"
"""Extra channel of the model's own motion: 1 where nobody speaks, 0 where somebody does, soft between."""


@dataclass(frozen=True)
class Motion:
    """Facial motion over time, as channels that the renderer understands.

    The channels, their usual range and their meaning (a channel that a model does not provide is 0):

    ==================  =============  =====================================================================
    jaw                 0..1.2         how far the lips are apart; 0 shut, 1 a wide "a"
    width               -1..1          lip corners pulled apart (+) or together (-)
    round               0..1           lips rounded and pushed forward, as in "u"
    close               0..1           lips pressed together, as in "m"
    tuck                0..1           lower lip under the upper teeth, as in "f"
    tongue              0..1           tip of the tongue at the upper teeth, as in "l"
    blink               0..1           1 is lids shut
    brow                -1..1          raised (+) or drawn down (-)
    gaze_x, gaze_y      -1..1          right and down in the picture, in eye radii
    yaw, pitch, roll    radians        turned to the right of the picture; nodding down; clockwise
    tx, ty              interoculars   head moved right and down in the picture
    ==================  =============  =====================================================================
    """

    channels: Tuple[str, ...]
    values: FloatArray
    """[n_frames, n_channels]"""
    fps: float
    """Frames a second."""
    start_s: float = 0.0
    """Time of frame 0, seconds; frame i is at start_s + i / fps."""
    lead_s: float = 0.0
    """How far the lips lead the sound, seconds."""

    def __len__(self) -> int:
        return len(self.values)

    def frame(self, index: int) -> Mapping[str, float]:
        """One frame's pose: channel -> value."""
        return dict(zip(self.channels, self.values[index].tolist()))

    def channel(self, name: str) -> FloatArray:
        """One channel over time, [n_frames]; zeros if the model does not provide it."""
        if name not in self.channels:
            return np.zeros(len(self.values), np.float32)
        column: FloatArray = self.values[:, self.channels.index(name)]
        return column


@dataclass(frozen=True)
class Request:
    """One photo and one recording to turn into one video."""

    portrait: Path
    speech: Path
    output: Path
    controls: Mapping[str, object] = field(default_factory=dict)
    """Controls that override the configured ones, by name, as the user wrote them."""
    controls_name: str = "controls"
    """Where `controls` come from, for messages: a file name."""
    sheet: Optional[Path] = None
    """Where to write a contact sheet of the video, PNG; None for no sheet."""
