"""The renderer in its plainest form: every pixel in float, in full, with none of the real one's optimisations.

The real one must agree with it. They share what is computed once per portrait (the bases of the movements, the
painted inside of the mouth, the matte) and nothing of the work per frame.
"""

from typing import Any, Dict, List, Mapping, Tuple, Union

import cv2
import numpy as np

from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.renderer.compose import FULL_GAP, LEAST_GAP, LEAST_VISIBLE, ROLL_WIDTH, lids_down
from sonic_edge.engine.renderer.eyes import CREASE_FOLLOWS, LASH, Eye, brow_basis
from sonic_edge.engine.renderer.geometry import Box, Grid, look_up, smoothstep
from sonic_edge.engine.renderer.interior import TIP
from sonic_edge.engine.renderer.mouth import (
    TEARING,
    WEIGHTS,
    Lips,
    below_line,
    lip_line_outline,
    lip_weights,
    lower_lip_drop,
)
from sonic_edge.engine.renderer.pose import clamped
from sonic_edge.engine.renderer.shading import Shading
from sonic_edge.media import Image, Portrait

Array = np.ndarray
REPLICATE, NOTHING = cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT


def placed_on(grid: Grid, positions: Array) -> Array:
    """Canvas positions [..., 2] as (column, row) in a grid."""
    return ((positions - grid.nodes[0, 0]) / np.float32(grid.cell)).astype(np.float32)


def enlarged(grid: Grid, field: Array, box: Box) -> Array:
    """Values on the nodes of a grid, interpolated at every pixel of a box inside it."""
    full = cv2.resize(field, None, fx=grid.cell, fy=grid.cell, interpolation=cv2.INTER_LINEAR)
    return full[box.top - grid.top : box.bottom - grid.top, box.left - grid.left : box.right - grid.left]


def over(person: Array, behind: Array) -> Image:
    """A premultiplied person [h, w, 4] laid over a background [h, w, 3]."""
    through = 1 - person[..., 3:] / 255.0
    return np.clip(person[..., :3] + np.rint(behind * through), 0, 255).astype(np.uint8)


class SlowRenderer(Renderer):
    """As `Renderer`; also its movements are on the whole grid, not only where they are seen."""

    def __init__(self, portrait: Portrait) -> None:
        super().__init__(portrait)
        self._whole_brow = brow_basis(self._frame, portrait.landmarks, self._grid)
        self._whole_lips = Lips(self._frame, self._shape, self._grid, self._whole_brow)
        self._whole_shading = Shading(self._frame, portrait.landmarks, self._shape, self._grid)

    def frame(self, pose: Mapping[str, float]) -> Image:
        values = clamped(pose)
        by_name = lip_weights(self._shape, values)
        weights = np.array([by_name[name] for name in WEIGHTS], np.float32)
        grid = self._grid
        head = self._head.displacement(values)
        brow = np.float32(values["brow"]) * self._whole_brow
        still = grid.nodes + self._inverse(head, 3)
        upper, lower = (
            still + grid.sample(self._inverse(sheet, 5), still)
            for sheet in self._whole_lips.displacement(np.append(weights, np.float32(values["brow"])))
        )
        edges = [points + grid.sample(head, points) for points in self._whole_lips.edges(weights)]
        reach = 8 * self._frame.unit + max(self._canvas.right, self._canvas.bottom)
        under = below_line((edges[0] + edges[1]) / 2, self._frame, reach)
        mask = np.zeros(upper.shape[:2], np.uint8)
        placed = np.round(placed_on(grid, under) * 16).clip(-(1 << 20), 1 << 20).astype(np.int32)
        cv2.fillPoly(mask, [placed], 255, cv2.LINE_8, 4)
        source = np.where(mask[..., None] > 0, lower, upper)

        out = self._image.copy()
        box = self._box
        out[box.rows, box.columns] = self._looked_up(self._positions(source, box), box)
        self._eyes_of(out, values, head + brow, source)
        self._mouth_of(out, values, by_name, edges, under, (still, upper, lower))
        gain = self._whole_shading.gain(values, by_name)
        if gain is not None:
            here = look_up(gain, placed_on(grid, source), cv2.INTER_LINEAR, REPLICATE)
            part = out[box.rows, box.columns] * (1 + self._positions(here, box))[..., None]
            out[box.rows, box.columns] = np.clip(np.rint(part), 0, 255)
        return out

    def _inverse(self, displacement: Array, rounds: int) -> Array:
        found = displacement
        for _ in range(rounds):
            found = self._grid.sample(displacement, self._grid.nodes - found)
        return -found

    def _positions(self, field: Array, box: Box) -> Array:
        return enlarged(self._grid, field, box)

    def _looked_up(self, canvas: Array, box: Box) -> Image:
        person, layers = self._photo._person, self._photo
        fine = ((canvas - np.array(person.start, np.float32)) * np.float32(person.scale)).astype(np.float32)
        found = look_up(person.pixels, fine, cv2.INTER_LINEAR, REPLICATE)
        if layers._behind is None:
            return found[..., :3]
        left, top = layers._left, layers._top
        return over(found, layers._behind[box.top - top : box.bottom - top, box.left - left : box.right - left])

    def _eyes_of(self, out: Image, values: Dict[str, float], face: Array, source: Array) -> None:
        def follow(points: Array) -> Array:
            return points + self._grid.sample(face, points)

        for eye in self._eyes:
            patch = eye.box
            corners = [(x, y) for x in (patch.left, patch.right) for y in (patch.top, patch.bottom)]
            box = Box.around(follow(np.array(corners, float)), 0.05 * self._frame.unit + 2).within(self._box)
            if box.empty:
                continue
            at = self._positions(source, box)
            on_patch = (at - np.array([patch.left, patch.top], np.float32)) / np.float32(eye.step)
            if values["gaze_x"] or values["gaze_y"]:
                turned = look_up(glance(eye, values["gaze_x"], values["gaze_y"]), on_patch, cv2.INTER_LINEAR, NOTHING)
                out[box.rows, box.columns] = self._looked_up(at + turned, box)
            blink = eye.lid_position(lids_down(values))
            if blink > 0:
                moved, unrolled = (look_up(m, on_patch, cv2.INTER_LINEAR, NOTHING) for m in lowered(eye, blink))
                lid = self._looked_up(at + moved, box).astype(float)
                down = (eye._frame.down / eye.step).astype(np.float32)
                skin = look_up(eye.shut, on_patch + unrolled[..., 1:] * down, cv2.INTER_LINEAR, REPLICATE)[..., :3]
                lid += (skin - lid) * unrolled[..., :1]
                covered = polygon(follow(eye.covered(eye.edge(blink))), box, 0.0)[..., None]
                part = out[box.rows, box.columns]
                out[box.rows, box.columns] = np.rint(part + (lid - part) * covered)
                draw_lashes(eye, out, follow(eye.edge(blink)), blink, self._edge_blur)

    def _mouth_of(
        self,
        out: Image,
        values: Dict[str, float],
        weights: Dict[str, float],
        edges: Any,
        under: Array,
        sources: Tuple[Array, Array, Array],
    ) -> None:
        if max(abs(weights[name]) for name in TEARING) < LEAST_VISIBLE:
            return
        unit = self._frame.unit
        opening = self._opening(edges, weights)
        box = Box.around(opening, 3 * self._grid.cell + 0.06 * unit).within(self._box)
        if box.empty:
            return
        still, upper, lower = (self._positions(source, box) for source in sources)
        low = polygon(under, box, 0.0)[..., None]
        above, below = (self._looked_up(at, box).astype(float) for at in (upper, lower))
        lips = above + (below - above) * low
        gap = float(((edges[1] - edges[0]) @ self._frame.down).max()) / unit
        if gap > LEAST_GAP:
            opened = polygon(opening, box, self._edge_blur)
            shown = min(1.0, gap / FULL_GAP)
            light = self._daylight(opening, box, values["tuck"])
            inside = self._inside(still, lower_lip_drop(self._shape, weights), values, light)
            rolled = cv2.GaussianBlur(opened, (0, 0), ROLL_WIDTH * unit) * shown
            lips = lips * (1 - 0.38 * rolled)[..., None]
            lips = lips + (inside - lips) * (opened * shown)[..., None]
        pressed = weights["shut"] * max(0.0, 1 - gap / 0.03)
        if pressed > 0:
            shadow = polygon(lip_line_outline((edges[0] + edges[1]) / 2, self._frame), box, 1.5 * self._edge_blur)
            lips = lips + (self._lip_line - lips) * (shadow * 0.7 * pressed)[..., None]
        out[box.rows, box.columns] = np.clip(np.rint(lips), 0, 255)

    def _daylight(self, opening: Array, box: Box, tuck: float) -> Array:
        unit = self._frame.unit
        light = polygon(opening + self._frame.down * (0.02 * unit), box, 0.0)
        light = np.clip(cv2.GaussianBlur(light, (0, 0), max(2.0, 0.045 * unit)), 0, 1) ** 1.15
        return light + (0.85 - light) * 0.8 * tuck

    def _inside(self, still: Array, jaw_drop: float, values: Dict[str, float], light: Array) -> Array:
        """The inside of the mouth, BGR, [h, w, 3]."""
        mouth = self._interior
        skull = cv2.transform(still, mouth.to_painting).astype(np.float32)
        drop = np.array([0.0, mouth._scale], np.float32)
        tongue, rounded = values["tongue"], min(1.0, values["round"])
        jaw, tip = skull - drop * jaw_drop, skull - drop * (jaw_drop - tongue * max(jaw_drop - TIP, 0.0))
        deep = light[..., None] ** mouth._shadow
        near = light[..., None] ** (mouth._shadow * (0.7 + 0.6 * rounded))
        colour = mouth.dark * (0.25 + 0.75 * deep)
        on_tip = deep + (near - deep) * 0.7 * tongue
        layers = [(mouth.tongue, tip, on_tip), (mouth.jaw, jaw, near), (mouth.skull, skull, near)]
        if mouth.own is not None:
            layers.append((mouth.own, skull, near + (1 - near) * 0.8))
        for painting, where, lit in layers:
            kind = cv2.INTER_CUBIC if painting is mouth.own else cv2.INTER_LINEAR
            layer = look_up(painting, where, kind, NOTHING).astype(float)
            colour = colour * (1 - layer[..., 3:] / 255) + layer[..., :3] * lit
        return colour


def glance(eye: Eye, gaze_x: float, gaze_y: float) -> Array:
    """How far the source of each pixel of an eye's patch is away when it turns, canvas pixels, [h, w, 2]."""
    x, y, radius = eye._iris
    go_x, go_y = 0.10 * gaze_x, 0.05 * gaze_y
    u, v = eye._u.astype(float), eye._v.astype(float)
    distance = np.hypot(u - x - go_x, v - y - go_y)
    to_corner = max(eye._half - abs(x - eye._centre), 1.3 * radius)
    whole = smoothstep(1 - (distance - 1.05 * radius) / (to_corner - radius))
    between = np.minimum(v - eye._lid_v, eye._low_v - v)
    corner = np.clip(1 - ((u - eye._centre) / eye._half) ** 2, 0, 1) ** 0.5
    along = smoothstep(1 + between / 0.02) * corner * go_x, smoothstep(1 + between / 0.06) * corner * go_y
    return -eye._frame.vector(np.stack([whole * along[0], whole * along[1]], -1)).astype(np.float32)


def lowered(eye: Eye, blink: float) -> Tuple[Array, Array]:
    """As `Eye.lowered`."""
    v, top = eye._v.astype(float), float(eye._top)
    edge = eye._lid_v + eye._gap * blink
    crease = eye._crease + eye._pull * CREASE_FOLLOWS * blink
    rim = eye._lid_v - eye._lid_start * min(4 * blink, 1)
    above = np.minimum(v, top) + np.maximum(v - top, 0) * (eye._crease - top) / (crease - top)
    on_lid = (v - crease) * (rim - eye._crease) / np.maximum(edge - crease, 1e-3) + eye._crease
    source = np.where(v < crease, above, np.minimum(on_lid, rim))
    moved = eye._frame.vector(np.stack([np.zeros_like(v), source - v], -1))
    lid = smoothstep((v - crease + 0.04) / 0.06) * eye._middle * smoothstep(np.array(2.5 * blink))
    to_shut = eye._gap * (1 - blink) * eye._frame.unit
    return moved.astype(np.float32), np.dstack([lid, to_shut]).astype(np.float32)


def draw_lashes(eye: Eye, out: Image, edge: Array, blink: float, softness: float) -> None:
    """As `Eye.draw_lashes`."""
    unit, down = eye._frame.unit, eye._frame.down
    box = Box.around(edge, 0.1 * unit + 3).within(Box(0, 0, out.shape[1], out.shape[0]))
    if box.empty:
        return
    thick = down * LASH * unit * np.sin(np.linspace(0.0, np.pi, len(edge)))[:, None]
    line = np.concatenate([edge - 0.8 * thick, (edge + 0.4 * thick)[::-1]])
    strength = 0.85 * polygon(line, box, max(softness, 0.006 * unit))
    hanging = 0.55 * polygon(list(eye.lashes(edge, blink)), box, max(softness, 0.003 * unit))
    clear = eye._lash_strength
    dark = np.maximum(strength, hanging * clear) * clear * min(1.0, 1.6 * blink)
    patch = out[box.rows, box.columns]
    lash = patch + (np.array(eye._lash_colour) - patch) * dark[..., None]
    patch[...] = np.minimum(patch, np.rint(lash))


def polygon(points: Union[Array, List[Array]], box: Box, blur: float) -> Array:
    """How much of each pixel of a box lies in a polygon, or in any of several, 0..1: by OpenCV, half a pixel larger."""
    mask = np.zeros((box.height, box.width), np.uint8)
    for corners in points if isinstance(points, list) else [points]:
        fixed = np.round((corners - (box.left, box.top)) * 16).clip(-(1 << 20), 1 << 20).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
    soft = mask.astype(np.float32) / 255
    return cv2.GaussianBlur(soft, (0, 0), blur) if blur > 0 else soft
