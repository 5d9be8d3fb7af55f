"""Chooses frames by the motion that they are meant to show, and locates the mouth in them."""

import math
from typing import List, Tuple

import numpy as np

from ...media import FloatArray, Image, Motion, Portrait
from .chooser import Moment
from .strip import Track

N_CLOSE_UPS = 20
"""Number of close-ups of the mouth; a shorter clip has one for each frame."""
SPEAKS_S = 0.3
"""Shut lips that are parted within this time before and after are shut by speech, not at rest, seconds."""
LEAST_TURN = 0.02
"""A head that turns, nods and tilts by less than this in total counts as not turned, radians."""

_MOUTH = (13, 14, 61, 291)
"""Mesh points: upper and lower lip, corners."""
_CROP = (1.6, 1.2)
"""Width and height of a close-up, interoculars: about twice a mouth."""
_CHIN = 0.1
"""A close-up is centred this far below the shut lips, because the lower lip is the one that moves, interoculars."""
_IN_FRONT, _ABOVE = 0.8, 0.9
"""The mouth is this far in front of the axis of turning, and above the pivot of tilting, interoculars."""


class MotionChooser:
    """See `Chooser`: the frames are chosen from the motion, before any of them is rendered.

    Args:
        portrait: The portrait that the frames are rendered from.
        motion: The motion of the clip.
    """

    opening_words = "opening asked of the mouth (jaw)"

    def __init__(self, portrait: Portrait, motion: Motion) -> None:
        self._portrait = portrait
        self._motion = motion
        self._moments = moments(motion)
        self.n_frames = len(motion)
        self.fps = motion.fps
        self.n_stills = len(self._moments)

    def look(self, index: int, image: Image) -> List[int]:
        """See `Chooser`."""
        return [i for i, moment in enumerate(self._moments) if moment.index == index]

    def part(self, index: int) -> Tuple[slice, slice]:
        """See `Chooser`."""
        return mouth_part(self._portrait, self._motion, index)

    def moments(self) -> List[Moment]:
        """See `Chooser`."""
        return self._moments

    def opening(self) -> Track:
        """See `Chooser`."""
        return Track(self._motion.channel("jaw"), self._motion.fps)


def moments(motion: Motion) -> List[Moment]:
    """The frames with the extremes of the motion: open, rounded, shut, smiling, blinking, turned, in this order."""
    open_, rounded, smiling, blinking = (
        _most(motion.channel(channel), least, channel, *words)
        for channel, least, words in (
            ("jaw", 0.05, ("widest opening", "never open")),
            ("round", 0.1, ("rounded", "never rounded")),
            ("width", 0.1, ("smiling", "never smiling")),
            ("blink", 0.5, ("blinking", "never blinking")),
        )
    )
    return [open_, rounded, _shut(motion), smiling, blinking, _turned(motion)]


def _most(values: FloatArray, least: float, name: str, what: str, never: str) -> Moment:
    """The frame in which a channel is largest; captioned `never` if even that is below `least`."""
    index = int(values.argmax())
    return Moment(index, what if values[index] >= least else never, f"{name} {values[index]:.2f}")


def _shut(motion: Motion) -> Moment:
    """The closure by speech between the widest openings; if there is none, lips at rest."""
    close, jaw = motion.channel("close"), motion.channel("jaw")
    if close.max() < 0.5:
        index = int(jaw.argmin())
        return Moment(index, "never shut by speech", f"jaw {jaw[index]:.2f}")
    before, after = jaw.copy(), jaw.copy()
    for k in range(1, min(len(jaw), 1 + math.ceil(SPEAKS_S * motion.fps))):
        before[k:] = np.maximum(before[k:], jaw[:-k])
        after[:-k] = np.maximum(after[:-k], jaw[k:])
    speaks = np.where(close >= 0.9 * close.max(), np.minimum(before, after), -1)
    index = int(speaks.argmax())
    return Moment(index, "shut", f"close {close[index]:.2f}")


def _turned(motion: Motion) -> Moment:
    angles = np.stack([motion.channel(name) for name in ("yaw", "pitch", "roll")])
    size = np.linalg.norm(angles, axis=0)
    index = int(size.argmax())
    yaw, pitch, roll = (round(float(a)) for a in np.rad2deg(angles[:, index]))  # as integers, which have no -0
    what = "turned" if size[index] >= LEAST_TURN else "never turned"
    return Moment(index, what, f"yaw {yaw:+d} pitch {pitch:+d} roll {roll:+d} deg")


def close_ups(n_frames: int) -> List[int]:
    """Frames evenly spaced over a clip: the middles of equal parts."""
    n = min(N_CLOSE_UPS, n_frames)
    return [(2 * i + 1) * n_frames // (2 * n) for i in range(n)]


def mouth_part(portrait: Portrait, motion: Motion, index: int) -> Tuple[slice, slice]:
    """Rows and columns of the mouth in a frame, following the head; always the same size, never empty."""
    pose = motion.frame(index)
    right = pose.get("tx", 0) + _IN_FRONT * math.sin(pose.get("yaw", 0)) + _ABOVE * math.sin(pose.get("roll", 0))
    down = pose.get("ty", 0) + _IN_FRONT * math.sin(pose.get("pitch", 0))
    return mouth_place(portrait, right, down)


def mouth_place(portrait: Portrait, right: float = 0.0, down: float = 0.0) -> Tuple[slice, slice]:
    """Rows and columns of the mouth in the portrait, shifted by a number of interoculars."""
    height, width = portrait.image.shape[:2]
    unit, down = portrait.interocular, _CHIN + down
    x, y = portrait.landmarks[list(_MOUTH), :2].mean(0) + np.array([right, down]) * unit
    return _span(float(y), _CROP[1] * unit, height), _span(float(x), _CROP[0] * unit, width)


def _span(middle: float, length: float, whole: int) -> slice:
    """Pixels around a middle, shifted to be inside 0..whole."""
    n = min(max(8, round(length)), whole)
    start = min(max(0, round(middle - n / 2)), whole - n)
    return slice(start, start + n)
