"""The photo, ready to be looked up between its pixels without losing sharpness."""

import math
from typing import Any, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import Image
from .geometry import Box

MOST_PIXELS = 16_000_000
"""Of a finer copy, at 4 bytes each. A larger part of a photo is made less fine, or kept as it is."""
FINEST = 2.0
"""Times the photo's size. Four would win another 4 % of gradient energy, for two thirds more time a frame and
four times the memory."""
HALF_WAY = np.array([-1, 4, -11, 40, 40, -11, 4, -1], np.float32) / 64
"""Value half-way between two pixels from the eight around (the luma filter of H.265, ITU-T H.265 8.5.3.3.3.1)."""

ROUNDING = 1.5
"""Root mean square of the Laplacian of what rounding adds to a picture, and a little more."""
SHARP = 0.5
"""Softness of the edges in a sharp photo, pixels."""


class FinePhoto:
    """Part of a photo with the pixels in between worked out once, at double size.

    Looking that up linearly is as sharp as cubic interpolation of the photo and several times faster, and at whole
    pixels it gives the photo's own values, bit for bit.

    Args:
        part: What will be looked up, [h, w, 4].
        start: Column and row of its first pixel on the canvas.
    """

    def __init__(self, part: NDArray[np.uint8], start: Tuple[int, int]) -> None:
        self.pixels: NDArray[np.uint8] = part
        """[height, width, 4]"""
        self.scale = 1.0
        """Its pixels to one of the canvas."""
        while self.scale < FINEST and 0 < 4 * self.pixels.size <= 4 * MOST_PIXELS:
            self.pixels = doubled(self.pixels)
            self.scale *= 2
        self.start = start
        """Column and row of its first pixel on the canvas."""


def softness(image: Image, box: Box) -> float:
    """How soft the edges in a part of a photo are: standard deviation of a blur that sharp edges would need, pixels.

    Seen at one half of the size after another, a picture has about the same fine detail each time; one that is blurred
    or was enlarged has much less in its finest levels.
    """
    part = image[box.rows, box.columns]
    octaves, still_soft = 0.0, 1.0
    if not part.size:
        return SHARP
    level: NDArray[Any] = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).astype(np.float32)
    # Whole numbers alone have a Laplacian of 1.3, which is not detail.
    detail = math.sqrt(max(fine_detail(level) ** 2 - ROUNDING**2, 0.0))
    while still_soft > 0 and octaves < 3 and min(level.shape) >= 32:
        level = cv2.pyrDown(level)
        coarser = fine_detail(level)
        still_soft *= float(np.clip((0.72 - detail / max(coarser, 1e-3)) / 0.2, 0, 1))
        octaves += still_soft
        detail = coarser
    return float(SHARP * 2**octaves)


def fine_detail(grey: NDArray[Any]) -> float:
    """Root mean square of the Laplacian."""
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)
    return float(np.sqrt(np.mean(laplacian**2)))


def doubled(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture [h, w, ...] with the pixels in between: [2 h - 1, 2 w - 1, ...]; every other one is its own."""
    h, w = image.shape[:2]
    out = np.empty((2 * h - 1, 2 * w - 1, *image.shape[2:]), np.uint8)
    out[::2, ::2] = image
    kernel, border = HALF_WAY[None], cv2.BORDER_REFLECT_101

    def between(picture: NDArray[Any], depth: int, taps: NDArray[Any]) -> NDArray[Any]:
        # The eight taps stand at -3..4 around the pixel before the gap. What OpenCV makes bytes it rounds and holds.
        anchor = (3, 0) if len(taps) == 1 else (0, 3)
        return cv2.filter2D(picture, depth, taps, anchor=anchor, borderType=border)

    out[::2, 1::2] = between(image, cv2.CV_8U, kernel)[:, :-1]
    out[1::2, ::2] = between(image, cv2.CV_8U, kernel.T)[:-1]
    both = between(between(image, cv2.CV_32F, kernel), cv2.CV_32F, kernel.T)
    out[1::2, 1::2] = np.clip(np.rint(both, out=both), 0, 255, out=both)[:-1, :-1]
    return out
