"""Renders frames: composes the displacements of head, mouth and eyes, and samples the photo once."""

import math
from typing import List, Mapping, Optional, Tuple

import numpy as np

from ...media import FloatArray, Image, Portrait
from . import _pixels
from .eyes import EYES, Eye, brow_basis
from .geometry import BLEED, CHIN, UNSEEN, Array, Box, FaceFrame, Grid, Patch, along, points_of, soft_polygon
from .head import Head, moving_box
from .interior import MouthInterior
from .layers import Layers
from .mouth import (
    TEARING,
    WEIGHTS,
    Lips,
    MouthShape,
    below_line,
    lip_bases,
    lip_line_outline,
    lip_outline,
    lip_weights,
    lower_lip_drop,
)
from .palette import Palette
from .photo import softness
from .pose import clamped
from .shading import LEAST, Shading

CELLS_PER_UNIT = 20
"""Grid cells per distance between the eyes."""
SOURCE_MARGIN = 0.4
"""Source positions for the moving box are at most this far outside it, interoculars."""
EDGE_SOFTNESS = 0.004
"""Drawn edges are at least this soft, interoculars; softer if the photo is."""
ROLL_WIDTH, ROLL_DARKENING = 0.016, 0.38
"""Lips darken around the opening, as they turn from the light: over this distance, interoculars, by this share."""
LEAST_GAP, FULL_GAP = 0.0005, 0.012
"""The inside of the mouth fades in from the first gap between the lips to the second, interoculars."""
HEAD_ITERATIONS, FACE_ITERATIONS = 4, 6
"""Iterations of the inverse warp. The remaining error, a few pixels where a textured background is compressed beside
the head, looks softer there than the exact position would."""
LEAST_BLINK = 0.04
"""Smaller blinks are not drawn, so that lids do not tremble; larger ones start from 0 here."""
FACE_MARGIN = 0.1
"""Margin around the region that the face moves, beyond its boundary as moved by the head, interoculars."""
LIP_REACH = 0.06
"""Margin around the edges of the lips that covers the seam between the two sheets, interoculars."""
HALF = 127
"""A node belongs to the lower sheet if its coverage, 0..255, is more than this."""
LEAST_VISIBLE = 1e-4
"""Smaller weights change no pixel."""


class Renderer:
    """Renders frames of one portrait. The same pose gives the same bytes; no state is kept between frames.

    A point of the photo is moved first by the face (lips, jaw, brows, lids), then by the head. Rendering goes
    backwards: for each pixel the head's motion is inverted, then the face's, and the photo is sampled there, once.
    Displacements are defined on a coarse grid; only the edges of lips and lids are drawn at full resolution.

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
        self._face = self._moved_by_the_face(landmarks)
        self._brow = brow_basis(frame, landmarks, self._face)
        self._lips = Lips(frame, self._shape, self._face, self._brow)
        face = Box.around(landmarks[:, :2].astype(np.float64), 0).within(self._canvas)
        self._edge_blur = max(softness(self._image, face), EDGE_SOFTNESS * frame.unit)
        palette = Palette(self._image, frame, landmarks)
        self._interior = MouthInterior(self._image, frame, palette, self._shape, self._edge_blur)
        self._lip_line: Tuple[float, float, float] = tuple(palette.line.tolist())
        self._shading = Shading(frame, landmarks, self._shape, self._face)
        irises = portrait.irises if portrait.irises is not None else (None, None)
        eyes = (Eye(self._image, frame, landmarks, groups, iris) for groups, iris in zip(EYES, irises))
        self._eyes = [eye for eye in eyes if not eye.box.empty]
        boxes = [box.corners for eye in self._eyes for box in (eye.white, eye.box)]
        self._around_eyes: Array = np.concatenate(boxes) if boxes else np.zeros((0, 2))
        self._lifted: Array = self._face.sample(self._brow, self._around_eyes) if boxes else self._around_eyes
        self._eye_margin = 0.02 * frame.unit + 2
        self._margin: Array = frame.vector(self._shape.margin)
        self._bleed: Array = BLEED * frame.down
        n = self._lips.still.shape[1]
        self._outwards: Array = np.concatenate([np.tile(-self._bleed, (n, 1)), np.tile(self._bleed, (n, 1))])
        nodes = self._face.nodes
        self._boundary: Array = np.concatenate([nodes[0], nodes[-1], nodes[:, 0], nodes[:, -1]])[::8]
        self._far = 8 * frame.unit + max(self._canvas.right, self._canvas.bottom)

    def frame(self, pose: Mapping[str, float]) -> Image:
        """Render one picture.

        Args:
            pose: Channels as in `media.Motion`; missing ones are 0. Values are clamped to their limits.

        Returns:
            BGR, the size of the portrait's canvas, a new array.

        Raises:
            ValueError: A channel is unknown or NaN.
        """
        values = clamped(pose)
        by_name = lip_weights(self._shape, values)
        weights = np.array([*(by_name[name] for name in WEIGHTS), values["brow"]], np.float32)
        grid = self._grid

        head = self._head.displacement(values)
        on_still_head = grid.invert(head, grid.nodes, HEAD_ITERATIONS)
        on_still_face = self._lips.edges(weights[:-1])
        moved = self._follow(head, np.concatenate([*on_still_face, self._boundary, self._around_eyes]))
        n, n_boundary = on_still_face.shape[1], len(self._boundary)
        edges, around_eyes = (moved[:n], moved[n : 2 * n]), moved[2 * n + n_boundary :] + values["brow"] * self._lifted
        under = below_line((edges[0] + edges[1]) / 2, self._frame, self._far)

        # The face moves only a part of what the head moves; near the mouth its displacement has two sheets.
        seen, part = grid.around(moved[2 * n : 2 * n + n_boundary], grid.cell + FACE_MARGIN * self._frame.unit)
        still = np.ascontiguousarray(on_still_head[part])
        margin = 2 * grid.cell + 2 + LIP_REACH * self._frame.unit
        mouth, (rows, columns) = seen.around(moved[: 2 * n], margin)
        sheets = self._lips.displacement(weights)
        over = self._face.invert(sheets[0], still[: rows.stop], FACE_ITERATIONS)
        under_it = self._face.invert(sheets[1], still[rows.start :], FACE_ITERATIONS)
        upper, lower = over[rows], under_it[: rows.stop - rows.start]
        chosen = np.concatenate([over[: rows.start], _chosen(upper, lower, under, seen, rows), under_it[len(lower) :]])
        on_still_head[part] = chosen
        gain = gain_of_face = self._shading.gain(values, by_name)
        if gain_of_face is not None:
            # the change of light moves with the skin
            gain_of_face = self._face.sample(gain_of_face[..., None], chosen)[..., 0]
            gain = np.zeros(on_still_head.shape[:2], np.float32)
            gain[part] = gain_of_face

        out = np.empty_like(self._image)
        box = self._box
        for beside in (np.s_[: box.top], np.s_[box.bottom :], np.s_[:, : box.left], np.s_[:, box.right :]):
            out[beside] = self._image[beside]
        glances = self._glances(values, around_eyes)
        self._photo.draw(out, box, grid, on_still_head, gain, still=self._image, patches=glances)
        self._draw_lids(out, values, head, around_eyes, on_still_head, gain)
        gain = None if gain_of_face is None else np.ascontiguousarray(gain_of_face[rows, columns])
        sources = tuple(np.ascontiguousarray(at[:, columns]) for at in (still[rows], upper, lower))
        self._draw_mouth(out, values, by_name, edges, under, mouth, sources, gain)
        return out

    def gap(self, pose: Mapping[str, float]) -> float:
        """Height of the opening between the lips for a pose (as in `frame`), interoculars."""
        by_name = lip_weights(self._shape, clamped(pose))
        upper, lower = self._lips.edges(np.array([by_name[name] for name in WEIGHTS], np.float32))
        return self._height(upper, lower)

    def _height(self, upper: Array, lower: Array) -> float:
        """Height of the opening between two lip edges, [n, 2], interoculars."""
        return float(along(lower - upper, self._frame.down).max()) / self._frame.unit

    def _moved_by_the_face(self, landmarks: FloatArray) -> Grid:
        """The part of the grid that lips, jaw or brows move or shade, much smaller than what the head moves."""
        nodes, frame = self._grid.nodes, self._frame
        upper, lower = (frame.vector(b) for b in lip_bases(self._shape, frame.of(nodes)))
        # Where only one sheet moves, the other one is shown: that movement is never seen.
        moved = np.minimum(np.abs(upper), np.abs(lower)).max((0, -1))
        moved = np.maximum(moved, np.abs(brow_basis(frame, landmarks, self._grid)).max(-1))
        shaded = Shading(frame, landmarks, self._shape, self._grid).most
        return self._grid.part((moved > UNSEEN) | (shaded > LEAST))

    def _follow(self, head: FloatArray, points: Array) -> Array:
        """Points on a still head, [n, 2], moved with the head."""
        followed: Array = points + self._grid.sample(head, points)
        return followed

    def _glances(self, values: Mapping[str, float], around: Array) -> List[Patch]:
        """The displacement patches of the eyes when they turn."""
        gaze = values["gaze_x"], values["gaze_y"]
        if max(abs(gaze[0]), abs(gaze[1])) < LEAST_VISIBLE:
            return []
        boxes = (Box.around(around[8 * i : 8 * i + 4], self._eye_margin) for i in range(len(self._eyes)))
        return [eye.glance(*gaze, box) for eye, box in zip(self._eyes, boxes)]

    def _draw_lids(
        self,
        out: Image,
        values: Mapping[str, float],
        head: FloatArray,
        around: Array,
        source: FloatArray,
        gain: Optional[FloatArray],
    ) -> None:
        """Draw lowered lids."""
        blink = lids_down(values)
        for i, eye in enumerate(self._eyes if blink > 0 else []):
            box = Box.around(around[8 * i + 4 : 8 * i + 8], self._eye_margin).within(self._box)
            if not box.empty:
                down = eye.lid_position(blink)
                rim = eye.edge(down)
                outlines = np.concatenate([rim, eye.covered(rim)])
                lifted = values["brow"] * self._face.sample(self._brow, outlines)
                moved = self._follow(head, outlines) + lifted
                self._draw_lid(out, box, eye, down, moved[: len(rim)], moved[len(rim) :], source, gain)

    def _draw_lid(
        self,
        out: Image,
        box: Box,
        eye: Eye,
        down: float,
        rim: Array,
        outline: Array,
        source: FloatArray,
        gain: Optional[FloatArray],
    ) -> None:
        """Draw one eye's lowered lid: `rim` is its edge, `outline` that of everything that comes down with it."""
        lowered, unrolled = eye.lowered(down)
        patch = Patch(lowered, (eye.box.left, eye.box.top, eye.step), box)
        covered = soft_polygon(outline + self._bleed, box, 0.0)
        self._photo.draw(out, box, self._grid, source, gain, patches=[patch], share=covered)
        eye.lay_skin(out, box, covered, source, self._grid, unrolled)
        eye.draw_lashes(out, rim, down, self._edge_blur)

    def _draw_mouth(
        self,
        out: Image,
        values: Mapping[str, float],
        weights: Mapping[str, float],
        edges: Tuple[Array, Array],
        under: Array,
        grid: Grid,
        sources: Tuple[FloatArray, ...],
        gain: Optional[FloatArray],
    ) -> None:
        """Draw the lips at full resolution on both sides of their line, and the inside of the mouth."""
        if max(abs(weights[name]) for name in TEARING) < LEAST_VISIBLE:
            return
        unit = self._frame.unit
        opening = self._opening(edges, weights)
        # Here the two sheets are separated per pixel, not per node.
        box = Box.around(opening, 2 * grid.cell + 2).within(grid.box.within(self._box))
        if box.empty:
            return
        still, upper, lower = sources
        self._photo.draw(out, box, grid, upper, gain)
        self._photo.draw(out, box, grid, lower, gain, share=soft_polygon(under - self._bleed, box, 0.0))
        gap = self._height(*edges)
        if gap > LEAST_GAP:
            rolls = math.hypot(self._edge_blur, ROLL_WIDTH * unit)
            hole = Box.around(opening, 3 * rolls).within(box)
            if not hole.empty:
                # Lips are round: where they turn inwards they turn away from the light and darken.
                opening += self._outwards
                masks = soft_polygon(opening, hole, self._edge_blur), soft_polygon(opening, hole, rolls)
                shown = min(1.0, gap / FULL_GAP)
                jaw_drop = lower_lip_drop(self._shape, weights)
                strengths = shown, ROLL_DARKENING * shown
                self._interior.draw(out, hole, opening, masks, strengths, (still, grid), jaw_drop, values)
        pressed = weights["shut"] * max(0.0, 1 - gap / 0.03)
        if pressed > 0:
            line = lip_line_outline((edges[0] + edges[1]) / 2, self._frame) + self._outwards
            shadow = soft_polygon(line, box, 1.5 * self._edge_blur)
            _pixels.tint(out, (box.left, box.top), shadow, self._lip_line, 0.7 * pressed, False)

    def _opening(self, edges: Tuple[Array, Array], weights: Mapping[str, float]) -> Array:
        """The opening between two lip edges, as a polygon on the frame."""
        # The edges of lips that are open in the photo were moved into the lips; that margin shows again as they part.
        inwards = self._margin * (1 - weights["shut"])
        return lip_outline(edges[0] + inwards, edges[1] - inwards)


def lids_down(pose: Mapping[str, float]) -> float:
    """How far the lids of a pose are lowered, 0..1."""
    return max(0.0, pose["blink"] - LEAST_BLINK) / (1 - LEAST_BLINK)


def _chosen(upper: FloatArray, lower: FloatArray, under: Array, grid: Grid, rows: slice) -> FloatArray:
    """Choose the visible sheet at each node of some rows of a grid; the seam is drawn again at full resolution."""
    top, cell = grid.top + rows.start * grid.cell, grid.cell
    cells = Box(grid.left, top, grid.left + grid.columns * cell, top + len(upper) * cell)
    is_lower = soft_polygon(under, cells, 0.0, step=cell) > HALF
    return np.where(is_lower[..., None], lower, upper)
