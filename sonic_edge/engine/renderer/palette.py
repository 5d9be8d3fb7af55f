"""Colours and light measured in the photo, so that what is painted matches it."""

from typing import Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from .geometry import (
    CHEEKS,
    INNER_LOWER,
    INNER_UPPER,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    OUTER_LOWER,
    OUTER_UPPER,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    Array,
    Box,
    FaceFrame,
    median_colour,
    points_of,
)

Pairs = Tuple[Tuple[Tuple[int, ...], Tuple[int, ...]], ...]
"""Pairs of contours that enclose an area."""
SIDES = ((50, 205), (280, 425))
"""Mesh points of the left and of the right cheek, beside the mouth."""
CHEEK_AT = 0.6
"""Approximate distance of these points from the middle, interoculars."""
MOST_UNEVEN = 2.2
"""Largest ratio of the light on the teeth on one side of the face to that on the other."""

GREY = 3
"""In a picture without colour the channels differ by at most this many grey levels."""
DENTINE = np.array([0.95, 1.005, 1.025])
"""Teeth are this much yellower than the white of the eye, because dentine shows through. BGR."""
MOST_TINTED = 1.16
"""Largest tint of teeth by the photo's light: more means a bloodshot eye, not the light."""


class Palette:
    """Colours of teeth and flesh, taken from skin, lips and eyes: a grey photo gets a grey mouth.

    Args:
        image: The photo.
        frame: The face's coordinates.
        landmarks: Face mesh on the canvas, [468, 3].
    """

    def __init__(self, image: Image, frame: FaceFrame, landmarks: FloatArray) -> None:
        self._image = image
        self._landmarks = landmarks
        canvas = Box(0, 0, image.shape[1], image.shape[0])
        self._box = Box.around(landmarks[:, :2].astype(np.float64), 0.1 * frame.unit + 1).within(canvas)
        self._spot = max(1, int(frame.unit * 0.09))

        skin = self._around(CHEEKS, (150.0, 150.0, 150.0))
        lip = self._between(((OUTER_UPPER, INNER_UPPER), (OUTER_LOWER, INNER_LOWER)), skin)
        self.skin: Array = skin
        """Colour of the cheeks, BGR."""
        self.tooth: Array = self._tooth(skin)
        """Colour of teeth in full light, BGR."""
        # Redder than lips and skin, by as much as these are redder than grey.
        hue = (lip - lip.mean()) / max(lip.mean(), 1.0) + 0.8 * (skin - skin.mean()) / max(skin.mean(), 1.0)
        # With pale lips the tongue is still red, as far as the photo has colour at all.
        colour = min(1.0, float(np.ptp(skin)) / max(skin.mean(), 1.0))
        hue = hue + colour * np.array([-0.15, -0.19, 0.25])
        brightness = min(1.05 * lip.mean(), 0.85 * skin.mean())
        self.flesh: Array = brightness * np.clip(1 + hue, 0.45, 1.6)
        """Colour of the tongue in full light, BGR."""
        self.line: FloatArray = (lip * 0.45).astype(np.float32)
        """Colour of the shadow between shut lips, BGR."""
        left, right = (self._around(side, tuple(skin)).mean() for side in SIDES)
        ratio = float(np.clip(right / max(left, 1.0), 1 / MOST_UNEVEN, MOST_UNEVEN))
        self._slope = float(np.log(ratio)) / (2 * CHEEK_AT)

    def side_light(self, u: Array) -> Array:
        """Light at u relative to the middle, interpolated from the cheeks: one side may be in shadow."""
        more: Array = np.exp(np.clip(self._slope * u, -0.4, 0.4))
        return more

    def _tooth(self, skin: Array) -> Array:
        """Teeth are as white as the eyes, and lighter than the skin; tinted by the light, as seen on skin and eyes."""
        eyes = self._pixels(((LEFT_EYE_UPPER, LEFT_EYE_LOWER), (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER))).astype(np.float64)
        brightness = float(1.1 * skin.mean())
        tint = 1 + 0.25 * (skin / max(skin.mean(), 1.0) - 1)
        if len(eyes):
            light = eyes.mean(1)
            white = eyes[light >= np.quantile(light, 0.8)].mean(0)
            brightness = max(brightness, 0.95 * float(white.mean()))
            tint = 0.5 * tint + 0.5 * white / max(white.mean(), 1.0)
        if np.ptp(skin) > GREY:
            tint = tint * DENTINE
        tint = np.clip(tint / tint.mean(), 1 / MOST_TINTED, MOST_TINTED)
        tooth: Array = float(np.clip(brightness, 80, 222)) * tint / tint.mean()
        return tooth

    def _around(self, points: Tuple[int, ...], fallback: Tuple[float, ...]) -> Array:
        """Median colour of spots around mesh points."""
        mask = np.zeros(self._image.shape[:2], np.uint8)
        for point in points_of(self._landmarks, points):
            cv2.circle(mask, tuple(np.round(point).astype(int).tolist()), self._spot, 255, -1)
        return self._median(mask, fallback)

    def _between(self, pairs: Pairs, fallback: Array) -> Array:
        """Median colour between pairs of contours."""
        return self._median(self._mask(pairs), tuple(float(x) for x in fallback))

    def _pixels(self, pairs: Pairs) -> NDArray[np.uint8]:
        mask = self._mask(pairs)[self._box.rows, self._box.columns]
        pixels: NDArray[np.uint8] = self._image[self._box.rows, self._box.columns][mask > 0]
        return pixels

    def _mask(self, pairs: Pairs) -> NDArray[np.uint8]:
        mask = np.zeros(self._image.shape[:2], np.uint8)
        for one, other in pairs:
            outline = np.concatenate([points_of(self._landmarks, one), points_of(self._landmarks, other)[::-1]])
            cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)
        return mask

    def _median(self, mask: NDArray[np.uint8], fallback: Tuple[float, ...]) -> Array:
        box = self._box
        b, g, r = fallback
        return median_colour(self._image[box.rows, box.columns], mask[box.rows, box.columns], (b, g, r))
