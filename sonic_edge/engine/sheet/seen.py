"""Chooses frames by their pixels: for models that paint pictures, without a motion."""

from typing import Dict, List, Tuple

import cv2
import numpy as np

from ...media import FloatArray, Image, Portrait
from .chooser import Moment
from .moments import mouth_place
from .strip import Track

_SIDE = 48
"""The mouth is compared at this size, pixels: its shape matters, not its grain."""
_CHANGED = 0.01
"""A mouth whose pixels change less than this on average, relative to black to white, counts as unchanged."""


class PictureChooser:
    """See `Chooser`. The mouth's opening is measured as the difference of its pixels from the photo's.

    Args:
        portrait: The portrait.
        n_frames: Number of frames in the clip.
        fps: Frames a second.
        level: Loudness of the sound, log10 power, [n], the first at 0 s.
        rate: Values of `level` per second.
    """

    n_stills = 5
    opening_words = "change of the mouth, to the largest"

    def __init__(self, portrait: Portrait, n_frames: int, fps: float, level: FloatArray, rate: float) -> None:
        self.n_frames = n_frames
        self.fps = fps
        self._level = np.interp(np.arange(n_frames) / fps * rate, np.arange(len(level)), level)
        self._place = mouth_place(portrait)
        self._photo = self._before = self._mouth(portrait.image)
        self._change: FloatArray = np.zeros(n_frames, np.float32)
        self._best: Dict[int, Tuple[float, int]] = {}
        """Still -> (score, frame) of the best so far."""

    def look(self, index: int, image: Image) -> List[int]:
        """See `Chooser`."""
        mouth = self._mouth(image)
        change, step = (float(np.abs(mouth - other).mean()) for other in (self._photo, self._before))
        self._before = mouth
        self._change[index] = change
        loud = float(self._level[index])
        best = []
        for still, value in enumerate((change, -change, step if index else -1.0, loud, -loud)):
            if still not in self._best or value > self._best[still][0]:
                self._best[still] = value, index
                best.append(still)
        return best

    def part(self, index: int) -> Tuple[slice, slice]:
        """See `Chooser`: the head does not move."""
        return self._place

    def moments(self) -> List[Moment]:
        """See `Chooser`.

        Changes are relative to black to white, loudness to the loudest frame; a step is a change from the last frame.
        """
        changed = "mouth changed most" if self._change.max() >= _CHANGED else "mouth never changed"
        words = (changed, "mouth changed least", "largest step", "loudest", "softest")
        moments = []
        for still, what in enumerate(words):
            value, index = self._best[still]
            loud = 10 * float(self._level[index] - self._level.max())
            moments.append(Moment(index, what, f"{loud:.0f} dB" if still > 2 else f"{100 * abs(value):.1f} %"))
        return moments

    def opening(self) -> Track:
        """See `Chooser`."""
        return Track(self._change / max(float(self._change.max()), _CHANGED), self.fps)

    def _mouth(self, image: Image) -> FloatArray:
        """The mouth in grey, reduced, 0..1."""
        small = cv2.resize(image[self._place], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32) / np.float32(255)
