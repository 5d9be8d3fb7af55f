"""What shows between the lips: the dark, teeth and tongue, in the colours of the photo."""

from typing import Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media import FloatArray, Image
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
    height_at,
    look_up,
    median_colour,
    points_of,
    smoothstep,
    soft_polygon,
)
from .mouth import MouthShape


class MouthInterior:
    """What is behind the lips, painted once in face coordinates and in the colours of the photo.

    Upper teeth (and the photo's own, if they show) are fixed to the skull, lower teeth and tongue to the jaw.

    Args:
        image: The photo.
        frame: Of the face.
        landmarks: Face mesh on the canvas, [468, 3].
        shape: The mouth in the photo.
        softness: Of edges in the photo, pixels.
    """

    U, V = (-0.8, 0.8), (-0.5, 0.75)
    """What is painted, face coordinates."""
    TEETH = (0.0, 0.134, 0.236, 0.325, 0.392, 0.44)
    """Edges of the upper teeth from the middle outwards as seen from the front, for a mouth .37 interoculars wide."""

    def __init__(
        self, image: Image, frame: FaceFrame, landmarks: FloatArray, shape: MouthShape, softness: float
    ) -> None:
        self._scale = min(frame.unit, 240.0)
        self._blur = max(0.5, softness * self._scale / frame.unit)
        ways = frame.right * self._scale / frame.unit, frame.down * self._scale / frame.unit
        start = np.array([self.U[0], self.V[0]]) * self._scale
        matrix = np.array([[*way, -(way @ frame.origin) - s - 0.5] for way, s in zip(ways, start)])
        self.to_painting: FloatArray = matrix.astype(np.float32)
        """Canvas position to position in the painting, [2, 3]."""
        width, height = (int(np.ceil((b - a) * self._scale)) for a, b in (self.U, self.V))
        u = (self.U[0] + (np.arange(width) + 1.0) / self._scale)[None, :]
        v = (self.V[0] + (np.arange(height) + 1.0) / self._scale)[:, None]
        self._palette(image, frame, landmarks)
        stretch = max(-shape.left, shape.right) / 0.37
        line = float(height_at(np.zeros(1), shape.upper)[0])
        low = float(height_at(np.zeros(1), shape.lower)[0])
        self.skull = self._upper_teeth(u, v, line, stretch)
        """Upper teeth: BGR and how solid, [height, width, 4] uint8."""
        self.jaw = self._tongue_and_lower_teeth(u, v, low, stretch)
        """Tongue and lower teeth: BGR and how solid, [height, width, 4] uint8."""
        self.own = self._own_teeth(image, frame, shape, (width, height)) if shape.gap > 0 else None
        """What the photo itself shows between open lips: BGR and how solid; None for a shut mouth."""

    def _palette(self, image: Image, frame: FaceFrame, landmarks: FloatArray) -> None:
        """Colours taken from lips, cheeks and eyes, so that a grey photo gets a grey mouth."""
        canvas = Box(0, 0, image.shape[1], image.shape[0])
        mask = np.zeros(image.shape[:2], np.uint8)

        def fill(*groups: Tuple[int, ...]) -> None:
            outline = np.concatenate([points_of(landmarks, g)[:: 1 - 2 * (i % 2)] for i, g in enumerate(groups)])
            cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)

        box = Box.around(landmarks[:, :2].astype(np.float64), 1).within(canvas)
        face = image[box.rows, box.columns]
        for point in points_of(landmarks, CHEEKS):
            cv2.circle(mask, tuple(np.round(point).astype(int).tolist()), max(1, int(frame.unit * 0.09)), 255, -1)
        skin = median_colour(face, mask[box.rows, box.columns], (150.0, 150.0, 150.0))
        mask[:] = 0
        fill(OUTER_UPPER, INNER_UPPER)
        fill(OUTER_LOWER, INNER_LOWER)
        lip = median_colour(face, mask[box.rows, box.columns], (float(skin[0]), float(skin[1]), float(skin[2])))
        mask[:] = 0
        fill(LEFT_EYE_UPPER, LEFT_EYE_LOWER)
        fill(RIGHT_EYE_UPPER, RIGHT_EYE_LOWER)
        eyes = face[mask[box.rows, box.columns] > 0]
        white = float(np.quantile(eyes.mean(1), 0.85)) if len(eyes) else 0.0

        grey = np.full(3, skin.mean())
        brightness = float(np.clip(max(1.02 * skin.mean(), white), 80, 205))
        self.tooth: Array = (grey + 0.38 * (skin - grey)) * (brightness / max(skin.mean(), 1.0))
        # Redder than lips and skin, by as much as these are redder than grey.
        hue = (lip - lip.mean()) / max(lip.mean(), 1.0) + 0.8 * (skin - skin.mean()) / max(skin.mean(), 1.0)
        flesh_brightness = min(lip.mean(), 0.8 * skin.mean())
        self.flesh: Array = flesh_brightness * np.clip(1 + hue, 0.45, 1.6)
        """Of the tongue in full light."""
        # What light there is in a mouth has been thrown back by flesh: shadows are warm where the flesh is.
        self._shadow: FloatArray = (1 + 0.7 * (1 - self.flesh / max(self.flesh.max(), 1.0))).astype(np.float32)
        # Light that comes out of the dark has met flesh more than once.
        self.dark: Array = 0.2 * self.flesh * self.flesh / max(self.flesh.max(), 1.0)
        self.line: FloatArray = (lip * 0.45).astype(np.float32)
        """Of the shadow between shut lips."""

    def _painted(self, colour: Array, solid: Array) -> NDArray[np.uint8]:
        layers = np.dstack([colour * solid[..., None], solid * 255])
        soft = cv2.GaussianBlur(layers.astype(np.float32), (0, 0), self._blur)
        painted: NDArray[np.uint8] = np.clip(np.round(soft), 0, 255).astype(np.uint8)
        return painted

    def _upper_teeth(self, u: Array, v: Array, line: float, stretch: float) -> NDArray[np.uint8]:
        bounds = np.array(self.TEETH) * stretch
        reach = np.abs(u)
        nearest = np.abs(reach[..., None] - bounds).min(-1)
        number = np.clip(np.searchsorted(bounds, reach, side="right") - 1, 0, len(bounds) - 1)
        shorter = np.array([0.0, 0.012, 0.004, 0.018, 0.022, 0.03])[number]
        edge = line + 0.032 - shorter - 0.10 * reach**2 - 0.014 * np.exp(-((nearest / 0.016) ** 2))
        crown = smoothstep((edge - v) / 0.012 + 0.5) * smoothstep((bounds[-1] - reach) / 0.03)
        gum = smoothstep((edge - 0.15 - v) / 0.03)
        # Round in plan and in profile: darker towards the sides of the arch, at the gaps and near the gum.
        round_arch = np.clip(1 - 0.85 * (reach / bounds[-1]) ** 2, 0, 1)
        round_tooth = 1 - 0.28 * np.exp(-((nearest / 0.010) ** 2)) - 0.10 * np.exp(-((nearest / 0.035) ** 2))
        profile = 0.86 + 0.14 * smoothstep((edge - v) / 0.07) - 0.22 * smoothstep((edge - 0.07 - v) / 0.1)
        light = (round_arch * round_tooth * profile)[..., None]
        colour = self.tooth * light * (1 - gum[..., None]) + self.flesh * 0.8 * round_arch[..., None] * gum[..., None]
        return self._painted(colour, crown)

    def _tongue_and_lower_teeth(self, u: Array, v: Array, line: float, stretch: float) -> NDArray[np.uint8]:
        reach = np.abs(u) / stretch
        body = np.sqrt((reach / 0.27) ** 2 + ((v - line - 0.03) / 0.115) ** 2)
        tongue = smoothstep((1.1 - body) / 0.3)
        furrow = 1 - 0.15 * np.exp(-((reach / 0.02) ** 2))
        tongue_light = (0.45 + 0.4 * smoothstep((v - line + 0.10) / 0.12)) * furrow
        bounds = np.array([0.0, 0.085, 0.17, 0.25, 0.32])
        nearest = np.abs(reach[..., None] - bounds).min(-1)
        edge = line - 0.002 + 0.25 * reach**2 + 0.006 * np.exp(-((nearest / 0.012) ** 2))
        crown = smoothstep((v - edge) / 0.012 + 0.5) * smoothstep((0.30 - reach) / 0.06)
        tooth_light = 0.42 * np.clip(1 - (reach / 0.36) ** 2, 0, 1) * (1 - 0.3 * np.exp(-((nearest / 0.009) ** 2)))
        colour = self.flesh * tongue_light[..., None] * (1 - crown[..., None])
        colour = colour + self.tooth * tooth_light[..., None] * crown[..., None]
        return self._painted(colour, np.maximum(tongue, crown))

    def _own_teeth(self, image: Image, frame: FaceFrame, shape: MouthShape, size: Tuple[int, int]) -> NDArray[np.uint8]:
        photo = cv2.warpAffine(image, self.to_painting, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        # The mesh's own edges: what lies between them and where the lips were cut is lip.
        outline = frame.canvas(np.concatenate([shape.upper + shape.margin, (shape.lower - shape.margin)[::-1]]))
        placed = outline @ self.to_painting[:, :2].T.astype(np.float64) + self.to_painting[:, 2]
        solid = soft_polygon(placed, Box(0, 0, *size), 0.0)
        solid = cv2.GaussianBlur(solid, (0, 0), 1.5 * self._blur)  # type: ignore[assignment]
        layers = np.dstack([photo.astype(np.float32) * solid[..., None], solid * 255])
        painted: NDArray[np.uint8] = np.clip(np.round(layers), 0, 255).astype(np.uint8)
        return painted

    def draw(self, positions: FloatArray, jaw_drop: float, light: FloatArray, daylight: float) -> FloatArray:
        """The inside of the mouth.

        Args:
            positions: Where in the photo each pixel comes from on the skull, canvas pixels, [height, width, 2].
            jaw_drop: How far the lower jaw is down, interoculars.
            light: How much light reaches each pixel, 0..1, [height, width].
            daylight: How far the photo's own lighting of its own teeth is kept, 0..1.

        Returns:
            BGR, 0..255, [height, width, 3].
        """
        skull: FloatArray = cv2.transform(positions, self.to_painting).astype(np.float32, copy=False)
        jaw = skull - np.array([0.0, jaw_drop * self._scale], np.float32)
        lit = light[..., None] ** self._shadow
        colour = self.dark.astype(np.float32) * (0.35 + 0.65 * lit)
        for painting, where in ((self.jaw, jaw), (self.skull, skull)):
            layer = look_up(painting, where, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT).astype(np.float32)
            colour = colour * (1 - layer[..., 3:] * np.float32(1 / 255)) + layer[..., :3] * lit
        if self.own is not None:
            layer = look_up(self.own, skull, cv2.INTER_CUBIC, cv2.BORDER_CONSTANT).astype(np.float32)
            kept = lit + (1 - lit) * np.float32(daylight)
            colour = colour * (1 - layer[..., 3:] * np.float32(1 / 255)) + layer[..., :3] * kept
        painted: FloatArray = colour.astype(np.float32, copy=False)
        return painted
