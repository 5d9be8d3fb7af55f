"""Photo and pose to frame: the displacements of head, mouth and eyes put together and looked up in the photo once."""

from typing import List, Mapping, Tuple

import cv2
import numpy as np

from ..media import FloatArray, Image, Portrait
from .eyes import EYES, Eye, brow_basis
from .geometry import CHIN, Array, Box, FaceFrame, Grid, look_up, points_of, soft_polygon
from .head import Head, moving_box
from .interior import MouthInterior
from .layers import Layers
from .mouth import (
    TEARING,
    WEIGHTS,
    Lips,
    MouthShape,
    below_line,
    lip_line_outline,
    lip_outline,
    lip_weights,
    lower_lip_drop,
)
from .palette import Palette
from .photo import softness
from .pose import held
from .shading import LEAST, Shading

CELLS_PER_UNIT = 20
"""Grid cells to the distance between the eyes."""
SOURCE_MARGIN = 0.4
"""What is looked up for the moving box lies at most this far outside it, interoculars."""
EDGE_SOFTNESS = 0.004
"""Drawn edges are at least this soft, interoculars; softer where the photo is."""
ROLL = 0.016
"""Lips grow darker this far from the opening, interoculars."""
LEAST_GAP, FULL_GAP = 0.0005, 0.012
"""What is between lips shows a little from this gap on, and in full from that, interoculars: so it does not jump in."""
LEAST_VISIBLE = 1e-4
"""Weights below this change no pixel."""


class Renderer:
    """Makes frames of one portrait. The same pose gives the same bytes; nothing is kept between frames.

    A point of the photo is first moved by the face (lips, jaw, brows, lids), then by the head. A frame is made
    backwards: for each pixel the head's motion is undone, then the face's, and the photo is looked up there, once.
    Displacements live on a coarse grid; only the edges of lips and lids are drawn at full size.

    Args:
        portrait: The photo and its face.
    """

    def __init__(self, portrait: Portrait) -> None:
        image, landmarks = portrait.image, portrait.landmarks
        self._image = np.ascontiguousarray(image)
        self._canvas = Box(0, 0, image.shape[1], image.shape[0])
        self._frame = frame = FaceFrame(landmarks)
        matte = portrait.matte
        self._box = moving_box(frame, landmarks, matte).within(self._canvas)
        cell = max(2, round(frame.unit / CELLS_PER_UNIT))
        self._grid = Grid(self._box, cell)
        reach = round(SOURCE_MARGIN * frame.unit) + 4
        around = Box(self._box.left - reach, self._box.top - reach, self._box.right + reach, self._box.bottom + reach)
        chin = float(frame.of(points_of(landmarks, [CHIN]))[0, 1])
        self._photo = Layers(self._image, matte, around.within(self._canvas), frame, chin)
        self._head = Head(frame, landmarks, self._grid, matte, self._photo.texture(self._grid.nodes))
        self._shape = MouthShape(self._image, frame, landmarks)
        self._lips = Lips(frame, self._shape, self._grid)
        face = Box.around(landmarks[:, :2].astype(np.float64), 0).within(self._canvas)
        self._edge_blur = max(softness(self._image, face), EDGE_SOFTNESS * frame.unit)
        palette = Palette(self._image, frame, landmarks)
        self._interior = MouthInterior(self._image, frame, palette, self._shape, self._edge_blur)
        self._lip_line = palette.line
        self._shading = Shading(frame, landmarks, self._shape, self._grid)
        self._brow = brow_basis(frame, landmarks, self._grid)
        irises = portrait.irises if portrait.irises is not None else (None, None)
        eyes = (Eye(self._image, frame, landmarks, groups, iris) for groups, iris in zip(EYES, irises))
        self._eyes = [eye for eye in eyes if not eye.box.empty]

    def frame(self, pose: Mapping[str, float]) -> Image:
        """One picture.

        Args:
            pose: Channels as in `media.Motion`; missing ones rest at 0. Values beyond what a photo can bear are held
                at that limit.

        Returns:
            BGR, the size of the portrait's canvas, a fresh array.

        Raises:
            ValueError: A channel is unknown or not a number.
        """
        values = held(pose)
        by_name = lip_weights(self._shape, values)
        weights = np.array([by_name[name] for name in WEIGHTS], np.float32)
        grid = self._grid

        head = self._head.displacement(values)
        on_still_head = grid.nodes + grid.inverse(head) if np.any(head) else grid.nodes
        sheets: List[FloatArray] = []
        for sheet in self._lips.displacement(weights):
            sheet = sheet + np.float32(values["brow"]) * self._brow
            undone = grid.inverse(sheet, rounds=5)
            sheets.append(self._photo.place(on_still_head + grid.sample(undone, on_still_head)))
        upper, lower = sheets

        edges = self._lips.edges(weights)
        edges = self._follow(head, edges[0]), self._follow(head, edges[1])
        middle = (edges[0] + edges[1]) / 2
        reach = 8 * self._frame.unit + max(self._canvas.right, self._canvas.bottom)
        under = below_line(middle, self._frame, reach)

        out = self._image.copy()
        source = self._select(upper, lower, under)
        self._warp(out, source)
        self._draw_eyes(out, values, head, upper)
        self._draw_mouth(out, values, by_name, edges, under, (on_still_head, upper, lower))
        self._shade(out, values, by_name, source)
        return out

    def gap(self, pose: Mapping[str, float]) -> float:
        """Height of the opening between the lips that a pose draws, interoculars; the pose as in `frame`."""
        by_name = lip_weights(self._shape, held(pose))
        upper, lower = self._lips.edges(np.array([by_name[name] for name in WEIGHTS], np.float32))
        return float(((lower - upper) @ self._frame.down).max()) / self._frame.unit

    def _follow(self, head: FloatArray, points: Array) -> Array:
        """Points on a still head, [n, 2], where the head takes them."""
        followed: Array = points + self._grid.sample(head, points[None])[0]
        return followed

    def _select(self, upper: FloatArray, lower: FloatArray, under: Array) -> FloatArray:
        """The sheet that counts at each node: they differ only behind the lips, which are drawn again at full size."""
        mask = np.zeros(upper.shape[:2], np.uint8)
        placed = np.round(self._grid.place(under) * 16).clip(-(1 << 20), 1 << 20).astype(np.int32)
        cv2.fillPoly(mask, [placed], 255, cv2.LINE_8, 4)
        return np.where(mask[..., None] > 0, lower, upper)

    def _warp(self, out: Image, source: FloatArray) -> None:
        """Look the moving part of the picture up in the photo."""
        box = self._box
        if box.empty:
            return
        out[box.rows, box.columns] = self._photo.look_up(self._grid.enlarge(source, box), box)

    def _shade(self, out: Image, values: Mapping[str, float], weights: Mapping[str, float], source: FloatArray) -> None:
        """Light that changes as the skin folds and turns."""
        gain = self._shading.gain(values, weights)
        if gain is None:
            return
        here = look_up(gain, self._grid.place(self._photo.canvas(source)), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        rows, columns = (np.flatnonzero((np.abs(here) > LEAST).any(axis)) for axis in (1, 0))
        if not len(rows):
            return
        cell, left, top = self._grid.cell, self._grid.left, self._grid.top
        box = Box(
            left + cell * int(columns[0] - 1),
            top + cell * int(rows[0] - 1),
            left + cell * int(columns[-1] + 2),
            top + cell * int(rows[-1] + 2),
        ).within(self._box)
        if box.empty:
            return
        full = self._grid.enlarge(1 + here, box)
        part = out[box.rows, box.columns]
        out[box.rows, box.columns] = cv2.multiply(part, cv2.merge([full] * 3), dtype=cv2.CV_8U)

    def _draw_eyes(self, out: Image, values: Mapping[str, float], head: FloatArray, source: FloatArray) -> None:
        """Lids and irises."""
        if max(values["blink"], abs(values["gaze_x"]), abs(values["gaze_y"])) < LEAST_VISIBLE:
            return
        face = head + np.float32(values["brow"]) * self._brow
        shown = self._photo.canvas(source)
        for eye in self._eyes:
            patch = eye.box
            corners = np.array(
                [(x, y) for x in (patch.left, patch.right) for y in (patch.top, patch.bottom)], np.float64
            )
            box = Box.around(self._follow(face, corners), 0.05 * self._frame.unit + 2).within(self._box)
            if box.empty:
                continue
            fine = self._grid.enlarge(source, box)
            on_patch = self._grid.enlarge(eye.place(shown), box)
            blink = eye.follows(values["blink"])
            if values["gaze_x"] or values["gaze_y"]:
                turned = look_up(
                    eye.glance(values["gaze_x"], values["gaze_y"]), on_patch, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
                )
                out[box.rows, box.columns] = self._photo.look_up(fine + turned * np.float32(self._photo.scale), box)
            if blink > LEAST_VISIBLE:
                lowered = look_up(eye.lowered(blink), on_patch, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
                lid = self._photo.look_up(fine + lowered[..., :2] * np.float32(self._photo.scale), box)
                lid = eye.paint_lid(lid, on_patch, lowered)
                covered = soft_polygon(self._follow(face, eye.covered(blink)), box, 0.0)
                out[box.rows, box.columns] = cv2.blendLinear(out[box.rows, box.columns], lid, 1 - covered, covered)
                eye.draw_lashes(out, self._follow(face, eye.edge(blink)), blink, self._edge_blur)

    def _draw_mouth(
        self,
        out: Image,
        values: Mapping[str, float],
        weights: Mapping[str, float],
        edges: Tuple[Array, Array],
        under: Array,
        sources: Tuple[FloatArray, FloatArray, FloatArray],
    ) -> None:
        """Lips at full size on both sides of their line, and what shows between them."""
        if max(abs(weights[name]) for name in TEARING) < LEAST_VISIBLE:
            return
        unit = self._frame.unit
        # Lips that were open in the photo carry a margin of themselves, which shows again as they part.
        inwards = self._frame.vector(self._shape.margin) * (1 - weights["shut"])
        opening = lip_outline(edges[0] + inwards, edges[1] - inwards)
        box = Box.around(opening, 3 * self._grid.cell + 0.06 * unit).within(self._box)
        if box.empty:
            return
        still, upper, lower = (self._grid.enlarge(source, box) for source in sources)
        low = soft_polygon(under, box, 0.0)
        lips = cv2.blendLinear(self._photo.look_up(upper, box), self._photo.look_up(lower, box), 1 - low, low)
        gap = float(((edges[1] - edges[0]) @ self._frame.down).max()) / unit
        if gap > LEAST_GAP:
            opened = soft_polygon(opening, box, self._edge_blur)
            shown = np.float32(min(1.0, gap / FULL_GAP))
            light = self._light(opening, box, values["tuck"])
            jaw_drop = lower_lip_drop(self._shape, weights)
            kept = 0.8 if self._interior.own is not None else 0.0
            inside = self._interior.draw(still, jaw_drop, values["tongue"], light, min(1.0, values["round"]), kept)
            # Lips are round: where they turn inwards they turn away from the light.
            rolled = cv2.GaussianBlur(opened, (0, 0), ROLL * unit) * shown
            shaded = lips * (1 - np.float32(0.38) * rolled)[..., None]
            mixed = shaded + (inside - shaded) * (opened * shown)[..., None]
            lips = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
        pressed = weights["shut"] * max(0.0, 1 - gap / 0.03)
        if pressed > 0:
            shadow = soft_polygon(lip_line_outline((edges[0] + edges[1]) / 2, self._frame), box, 1.5 * self._edge_blur)
            mixed = lips + (self._lip_line - lips) * (shadow * np.float32(0.7 * pressed))[..., None]
            lips = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
        out[box.rows, box.columns] = lips

    def _light(self, opening: Array, box: Box, tuck: float) -> FloatArray:
        """How much light falls through the opening: little through a narrow one, least under the upper lip."""
        unit = self._frame.unit
        shadowed = soft_polygon(opening + self._frame.down * (0.02 * unit), box, 0.0)
        small = cv2.resize(shadowed, (-(-box.width // 4), -(-box.height // 4)), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), max(0.5, 0.045 * unit / 4))
        light = cv2.resize(small, (box.width, box.height), interpolation=cv2.INTER_LINEAR)
        # f and v bring the teeth to the front, into the light.
        light = np.clip(light, 0, 1) ** np.float32(1.15)
        raised: FloatArray = light + (np.float32(0.85) - light) * np.float32(0.8 * tuck)
        return raised
