"""The inside of the mouth: dark cavity, tongue and teeth, in the colours and the light of the photo."""

from typing import List, Mapping, Optional, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from . import _pixels
from .geometry import Array, Box, FaceFrame, Grid, Mask, height_at, smoothstep, soft_polygon
from .mouth import UPPER_FALLS, WIDE_GAP, MouthShape
from .palette import Palette

UPPER_TEETH = (0.0, 0.137, 0.242, 0.330, 0.400, 0.450)
"""Side edges of the upper teeth from the middle outwards, seen from the front, for a mouth .37 interoculars wide on
each side (widths of incisors, canine and premolars from Wheeler's Dental Anatomy, for 62 mm between the eyes,
foreshortened)."""
UPPER_SHORTER = (0.0, 0.013, 0.002, 0.020, 0.026, 0.032)
"""How much shorter each tooth is than the first."""
SHOWN_UNDER_LIP = 0.042
"""The upper teeth extend this far below the edge of a resting upper lip: 2.6 mm, the mean of adults."""
MOST_RAISED = 0.08
"""An open mouth raises the upper lip at most this far above its rest position."""
LOWER_TEETH = (0.0, 0.083, 0.170, 0.255, 0.325)
"""Side edges of the lower teeth from the middle outwards."""
SHOWN_OVER_LIP = 0.012
"""The lower teeth extend this far above the edge of the lower lip."""
TONGUE = (0.30, 0.19)
"""Half axes of the tongue as seen through an open mouth."""
TIP = -0.05
"""How far the tongue's tip is moved down to touch the upper teeth, from its rest in a shut mouth, interoculars."""
SMILE, WIDE = (0.4, 0.8), (0.8, 0.5)
"""Thresholds for the photo's own teeth: least lightness, relative to the lightest pixels, and largest redness, from 0
(teeth) to 1 (flesh). For a smile, which shows hardly anything else, and for a wide open mouth, with a lit tongue."""
HANG_REACH = 0.06
"""The photo's own teeth begin at most this far below the upper lip, interoculars."""
OWN_GAP, OWN_TEETH = 0.1, 0.3
"""The photo's own teeth are used if its lips are this far apart, interoculars, and teeth fill this share of the
opening: with less, the rest of them could not be guessed."""
CURVE_SHARE = 0.6
"""How far the teeth follow the curve of the lips, as in a smile."""


LIGHTS: FloatArray = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
"""The levels of light for a pixel."""
LIPS_SHADE = 0.045
"""The shadow of the lips inside the mouth is blurred over this distance, interoculars."""
SHADOW_BELOW = 0.02
"""Light comes from above: the shadow is moved down by this, interoculars."""
DIMMING = 1.15
"""The light inside is the visible share of the light outside to this power."""
FORWARD = np.linspace(0, 1, 17, dtype=np.float32)
"""Degrees to which lips are pushed forward, for which the light on the teeth is precomputed."""
OWN_LIGHT = 0.8
"""How much of the photo's lighting of its own teeth is kept."""


class MouthInterior:
    """The inside of the mouth, painted once in face coordinates and in the colours of the photo.

    Upper teeth (and the photo's own, if they show) are fixed to the skull, lower teeth and tongue to the jaw.

    Args:
        image: The photo.
        frame: The face's coordinates.
        palette: Colours of the photo.
        shape: The mouth in the photo.
        softness: Softness of edges in the photo, pixels.
    """

    U, V = (-0.8, 0.8), (-0.5, 0.75)
    """Extent of the painting, face coordinates."""

    def __init__(self, image: Image, frame: FaceFrame, palette: Palette, shape: MouthShape, softness: float) -> None:
        self._frame = frame
        self._scale = min(frame.unit, 240.0)
        self._blur = max(0.5, softness * self._scale / frame.unit)
        axes = frame.right * self._scale / frame.unit, frame.down * self._scale / frame.unit
        start = np.array([self.U[0], self.V[0]]) * self._scale
        matrix = np.array([[*axis, -(axis @ frame.origin) - s - 0.5] for axis, s in zip(axes, start)])
        self.to_painting: FloatArray = matrix.astype(np.float32)
        """Affine transform from the canvas to the painting, [2, 3]."""
        width, height = (int(np.ceil((b - a) * self._scale)) for a, b in (self.U, self.V))
        u = (self.U[0] + (np.arange(width) + 1.0) / self._scale)[None, :]
        v = (self.V[0] + (np.arange(height) + 1.0) / self._scale)[:, None]
        self._palette = palette
        # Light inside a mouth has been reflected by flesh, so its shadows are tinted by the flesh.
        self._shadow: FloatArray = (1 + 0.6 * (1 - palette.flesh / max(palette.flesh.max(), 1.0))).astype(np.float32)
        # Light from deep inside has been reflected by flesh more than once.
        self.dark: Array = 0.24 * palette.flesh * palette.flesh / max(palette.flesh.max(), 1.0)
        self._entering: FloatArray = LIGHTS[:, 0] ** np.float32(DIMMING)
        self._deep: FloatArray = LIGHTS**self._shadow
        # Teeth are right behind the lips, so the light reaches them first.
        self._near: List[FloatArray] = [LIGHTS ** (self._shadow * (np.float32(0.7) + 0.6 * r)) for r in FORWARD]
        self._unlit: FloatArray = (self.dark * (0.25 + 0.75 * self._deep)).astype(np.float32)
        sides = palette.side_light(u[..., None])
        stretch = max(-shape.left, shape.right) / 0.37
        self.skull = self._upper_teeth(u, v, shape, stretch, sides)
        """Upper teeth: premultiplied BGR and opacity, [height, width, 4] uint8."""
        self.tongue = self._tongue(u, v, shape, stretch, sides)
        """Premultiplied BGR and opacity, [height, width, 4] uint8."""
        self.jaw = self._lower_teeth(u, v, shape, stretch, sides)
        """Lower teeth: premultiplied BGR and opacity, [height, width, 4] uint8."""
        self.own: Optional[NDArray[np.uint8]] = None
        """The photo's own teeth: premultiplied BGR and opacity; None if it shows none."""
        if shape.gap > OWN_GAP:
            hangs = v - height_at(u[0], shape.upper + shape.margin)[None, :] < HANG_REACH
            self.own = self._own_teeth(image, frame, shape, hangs)

    def _painted(self, colour: Array, solid: Array) -> NDArray[np.uint8]:
        layers = np.dstack([colour * solid[..., None], solid * 255])
        soft = cv2.GaussianBlur(layers.astype(np.float32), (0, 0), self._blur)
        painted: NDArray[np.uint8] = np.clip(np.round(soft), 0, 255).astype(np.uint8)
        return painted

    def _upper_teeth(self, u: Array, v: Array, shape: MouthShape, stretch: float, sides: Array) -> NDArray[np.uint8]:
        bounds = np.array(UPPER_TEETH) * stretch
        reach = np.abs(u)
        between, across = _tooth(reach, bounds)
        number = np.clip(np.searchsorted(bounds, reach, side="right") - 1, 0, len(bounds) - 1)
        shorter = np.array(UPPER_SHORTER)[number]
        line = _bent(u, shape.upper + shape.margin)
        # Rounded corners leave a small notch between neighbouring teeth; the arch rises towards the back.
        rest = SHOWN_UNDER_LIP + min(UPPER_FALLS * shape.gap, MOST_RAISED)
        edge = line + rest - shorter - 0.09 * reach**2 - 0.016 * across**6
        crown = smoothstep((edge - v) / 0.010 + 0.5) * smoothstep((bounds[-1] - reach) / 0.03)
        gum = smoothstep((edge - 0.150 + 0.02 * across**2 - v) / 0.02)
        # Horizontally: the arch turns away from the light, and so does each tooth at its sides.
        arch = np.clip(1 - 0.80 * (reach / bounds[-1]) ** 2, 0, 1)
        tooth = (1 - 0.14 * across**4) * (1 - 0.20 * np.exp(-((between / 0.006) ** 2)))
        # Vertically: whitest in the middle, greyer at the translucent edge, warmer at the neck.
        depth = edge - v
        profile = 0.90 + 0.10 * smoothstep(depth / 0.035) - 0.12 * smoothstep((depth - 0.09) / 0.07)
        light = (arch * tooth * profile)[..., None]
        colour = self._palette.tooth * light * (1 - gum[..., None])
        colour = colour + self._palette.flesh * 0.85 * arch[..., None] * gum[..., None]
        return self._painted(colour * sides, crown)

    def _lower_teeth(self, u: Array, v: Array, shape: MouthShape, stretch: float, sides: Array) -> NDArray[np.uint8]:
        bounds = np.array(LOWER_TEETH) * stretch
        reach = np.abs(u)
        between, across = _tooth(reach, bounds)
        edge = _bent(u, shape.lower - shape.margin) - SHOWN_OVER_LIP + 0.20 * reach**2 + 0.008 * across**4
        crown = smoothstep((v - edge) / 0.010 + 0.5) * smoothstep((bounds[-1] - reach) / 0.04)
        arch = np.clip(1 - 0.9 * (reach / bounds[-1]) ** 2, 0, 1)
        tooth = (1 - 0.12 * across**4) * (1 - 0.18 * np.exp(-((between / 0.006) ** 2)))
        light = 0.62 * arch * tooth
        # Below its edge a tooth is lit pink by the lip, and soon covered by the gum.
        gum = smoothstep((v - edge - 0.012) / 0.03)[..., None]
        colour = self._palette.tooth * light[..., None] * (1 - gum) + 0.5 * self._palette.flesh * gum
        return self._painted(colour * sides, crown)

    def _tongue(self, u: Array, v: Array, shape: MouthShape, stretch: float, sides: Array) -> NDArray[np.uint8]:
        reach = np.abs(u) / stretch
        low = float(height_at(np.zeros(1), shape.lower - shape.margin)[0])
        body = np.sqrt((reach / TONGUE[0]) ** 2 + ((v - low - 0.02) / TONGUE[1]) ** 2)
        solid = smoothstep((1.08 - body) / 0.22)
        furrow = 1 - 0.10 * np.exp(-((reach / 0.05) ** 2)) * smoothstep((low + 0.03 - v) / 0.05)
        # The back is in the dark; the tip is in the light.
        light = (0.20 + 0.70 * smoothstep((v - low + 0.17) / 0.20)) * furrow * (1 - 0.35 * (reach / TONGUE[0]) ** 2)
        return self._painted(self._palette.flesh * light[..., None] * sides, solid)

    def _own_teeth(
        self, image: Image, frame: FaceFrame, shape: MouthShape, hangs: NDArray[np.bool_]
    ) -> Optional[NDArray[np.uint8]]:
        size = hangs.shape[1], hangs.shape[0]
        border = cv2.BORDER_REFLECT_101
        photo = np.asarray(cv2.warpAffine(image, self.to_painting, size, None, cv2.INTER_CUBIC, border), np.uint8)
        # The lip edges of the mesh: between these and the edges moved by the margin there is lip.
        outline = frame.canvas(np.concatenate([shape.upper + shape.margin, (shape.lower - shape.margin)[::-1]]))
        placed = outline @ self.to_painting[:, :2].T.astype(np.float64) + self.to_painting[:, 2]
        solid: FloatArray = (soft_polygon(placed, Box(0, 0, *size), 0.0) / 255).astype(np.float32)
        limits = SMILE if shape.gap < WIDE_GAP else WIDE
        teeth: FloatArray = solid * self._like_teeth(photo, solid > 0.5, hangs, *limits)
        if teeth.sum() < OWN_TEETH * solid.sum():
            return None
        solid = teeth
        solid = cv2.GaussianBlur(solid, (0, 0), 1.5 * self._blur)  # type: ignore[assignment]
        layers = np.dstack([photo.astype(np.float32) * solid[..., None], solid * 255])
        painted: NDArray[np.uint8] = np.clip(np.round(layers), 0, 255).astype(np.uint8)
        return painted

    def _like_teeth(
        self,
        photo: Image,
        inside: NDArray[np.bool_],
        hangs: NDArray[np.bool_],
        least_light: float,
        most_flesh: float,
    ) -> FloatArray:
        """Where an open mouth shows teeth (with the gaps between them), not tongue or dark, 0..1, [height, width].

        Args:
            photo: The photo, warped to the painting.
            inside: Where the opening is.
            hangs: Where it is close below the upper lip: teeth begin there, a tongue does not.
            least_light: Least lightness, relative to the lightest pixels.
            most_flesh: Largest redness, from 0 (teeth) to 1 (flesh).
        """
        none = np.zeros(photo.shape[:2], np.float32)
        if not inside.any():
            return none
        colours = photo.astype(np.float32)
        brightness = colours.mean(-1)
        red = (colours[..., 2] - colours[..., 0]) / np.maximum(brightness, 1)
        flesh = self._palette.flesh
        flesh_red = float(flesh[2] - flesh[0]) / max(float(flesh.mean()), 1.0)
        tooth = self._palette.tooth
        tooth_red = float(tooth[2] - tooth[0]) / max(float(tooth.mean()), 1.0)
        lightest = max(float(tooth.mean()), float(np.quantile(brightness[inside], 0.9)))
        light = inside & (brightness > least_light * lightest)
        if flesh_red - tooth_red > 0.15:
            light &= red < (1 - most_flesh) * tooth_red + most_flesh * flesh_red
        reach = max(1, round(0.035 * self._scale))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        whole = cv2.morphologyEx(light.astype(np.uint8), cv2.MORPH_CLOSE, disc)
        _, parts = cv2.connectedComponents(whole)
        hanging = np.isin(parts, np.unique(parts[(whole > 0) & hangs & inside])) & (whole > 0)
        return cv2.GaussianBlur(hanging.astype(np.float32), (0, 0), self._blur)  # type: ignore[return-value]

    def draw(
        self,
        out: Image,
        box: Box,
        opening: Array,
        masks: Tuple[Mask, Mask],
        strengths: Tuple[float, float],
        sources: Tuple[FloatArray, Grid],
        jaw_drop: float,
        pose: Mapping[str, float],
    ) -> None:
        """Draw the inside of the mouth into an opening.

        Args:
            out: The frame, changed in place.
            box: The part of it to draw on.
            opening: Outline of the opening, canvas pixels, [n, 2].
            masks: How much of each pixel of the box is in the opening, and in the darkened part of the lips around it.
            strengths: Strength of each mask, 0..1.
            sources: Source position in the photo of each node of a grid on the skull, [rows, columns, 2], and the grid.
            jaw_drop: How far the lower jaw is lowered, interoculars.
            pose: Channels: a raised `tongue` comes forward; behind `round` lips teeth are in the dark; in f and v
                (`tuck`) they are in the light.
        """
        unit, tongue = self._frame.unit, pose["tongue"]
        # a narrow opening lets little light in, least of all below the upper lip
        below, soft = self._frame.down * (SHADOW_BELOW * unit), max(0.5, LIPS_SHADE * unit / 4)
        light = soft_polygon(opening + below, box, soft, step=4)
        place = min(1.0, pose["round"]) * (len(FORWARD) - 1)
        before = min(int(place), len(FORWARD) - 2)
        near = self._near[before] + (self._near[before + 1] - self._near[before]) * np.float32(place - before)
        drop = jaw_drop * self._scale
        # A raised tip does not follow the jaw.
        tip = (jaw_drop - tongue * max(jaw_drop - TIP, 0.0)) * self._scale
        paintings = [(self.tongue, tip, 0.7 * tongue, 0.0, False), (self.jaw, drop, 1.0, 0.0, False)]
        paintings.append((self.skull, 0.0, 1.0, 0.0, False))
        if self.own is not None:
            paintings.append((self.own, 0.0, 1.0, OWN_LIGHT, True))
        nodes, grid = sources
        _pixels.between_lips(
            out,
            (box.left, box.top),
            *masks,
            *strengths,
            light,
            self._entering,
            pose["tuck"],
            nodes,
            (grid.left, grid.top, grid.cell),
            self.to_painting,
            self._unlit,
            self._deep,
            near,
            tuple(paintings),
        )


def _tooth(reach: Array, bounds: Array) -> Tuple[Array, Array]:
    """Distance to the nearest border between teeth, and the position from a tooth's middle, 0, to its side, 1."""
    between = np.abs(reach[..., None] - bounds).min(-1)
    number = np.clip(np.searchsorted(bounds, reach, side="right"), 1, len(bounds) - 1)
    half = (bounds[number] - bounds[number - 1]) / 2
    return between, np.clip(1 - between / half, 0, 1)


def _bent(u: Array, edge: Array) -> Array:
    """Height of a lip's edge, [n, 2], with its curve flattened, for teeth that follow it only in part."""
    middle = float(height_at(np.zeros(1), edge)[0])
    inner = np.clip(u, 0.85 * edge[0, 0], 0.85 * edge[-1, 0])
    return middle + CURVE_SHARE * (height_at(inner, edge) - middle)
