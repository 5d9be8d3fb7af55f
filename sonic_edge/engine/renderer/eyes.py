"""The eyes: blinking lids, raised brows, a gaze that turns under the lids."""

from typing import Any, Optional, Sequence, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from . import _pixels
from .geometry import (
    BLEED,
    LEFT_BROW,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    RIGHT_BROW,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    Array,
    Box,
    FaceFrame,
    Grid,
    Mask,
    Patch,
    height_at,
    look_up,
    points_of,
    smooth_curve,
    smoothstep,
    soft_polygon,
)

EYES = ((LEFT_EYE_UPPER, LEFT_EYE_LOWER, LEFT_BROW), (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER, RIGHT_BROW))
"""Mesh points of each eye: upper lid, lower lid, brow."""
BROW_TRAVEL = 0.055
"""How far a brow rises at brow = 1, interoculars."""
GAZE_TRAVEL = 0.10
"""How far the iris moves at gaze = 1, interoculars: well below the eyeball's radius, .19."""
IRIS = 0.095
"""Radius of an iris if it was not measured, interoculars: 11.8 mm diameter for 62 mm between the eyes."""
LID_START = 0.032
"""A lid that comes down begins this far above the mesh's lid edge, interoculars: above the lashes and the mesh's
error."""
PATCH_UNIT = 110
"""Resolution of the maps of the lids: they are computed as for this many pixels between the eyes."""
LEAST_EYE = 4
"""Smallest size of an eye in the photo, in steps of its map: the photo's border may cut through it."""
GAZE_STEP = 2
"""Subsampling of these maps for the gaze."""
CREASE = 0.085
"""The lid crease (or its usual place) is this far above the mesh's lid edge, interoculars."""
CREASE_FOLLOWS = 0.2
"""How far the crease goes down with the lid."""
UNDER_EYE = (0.045, 0.11)
"""The colour of the lid is taken from the skin this far below the lower lid, interoculars: below its lashes, above the
bag."""
GRAIN = (0.09, 0.16)
"""The grain of the lid is taken from the skin this far below the lower lid, interoculars: clear of its lashes."""
MOST_GRAIN = 4.0
"""Grain is clipped to this many times its median around the eye."""
LASH = 0.017
"""Thickness of the line of lashes on a shut lid, interoculars."""
LASHES, LASH_LENGTH = 13, 0.04
"""Number of lashes drawn on a shut lid, and length of the longest, interoculars."""
LAG_POWER = 1.15
"""The lid on the right of the picture lags: its position is the other's to this power. At most .05 less, a third of a
frame in a blink."""
CORNER = 0.38
"""Lids fade out towards the corners of the eye over this share of its half width."""


def brow_basis(frame: FaceFrame, landmarks: FloatArray, grid: Grid) -> FloatArray:
    """Displacement of each grid node at brow = 1, canvas pixels, [rows, columns, 2]."""
    uv = frame.of(grid.nodes)
    lift = np.zeros(uv.shape[:2])
    for upper, _, brow in EYES:
        at = frame.of(points_of(landmarks, brow)).mean(0)
        lid = float(frame.of(points_of(landmarks, upper))[:, 1].min())
        height = max(lid - at[1], 0.12)
        du, dv = uv[..., 0] - at[0], uv[..., 1] - at[1]
        # The skin below the brow moves with it down to the lid's crease, the forehead much further up.
        reach = np.where(dv > 0, 1.05 * height, 0.45)
        lift += np.exp(-((du / 0.36) ** 4)) * smoothstep(1 - np.abs(dv) / reach)
    moved = frame.vector(np.stack([np.zeros_like(lift), -BROW_TRAVEL * np.minimum(lift, 1)], -1))
    basis: FloatArray = moved.astype(np.float32)
    return basis


def closing(u: Array, upper: Array, lower: Array) -> Array:
    """How far a lid must go to shut the eye: to the other lid and a little beyond, so that no white shows."""
    gap = np.maximum(height_at(u, lower) - height_at(u, upper), 0)
    return 1.02 * gap + np.minimum(gap, 0.012)


class Eye:
    """One eye: a map that lowers its lid without folding, the texture of the shut lid, and the lashes.

    The map is computed on a patch of the photo, for each column along the eye, from a height in the frame to one in the
    photo; it is strictly increasing. Between brow and crease the skin is stretched a little. Below the crease the lid
    unrolls from under its fold: the photo shows only a strip of it, so the rest is synthesised from the skin around.

    Args:
        image: The photo.
        frame: The face's coordinates.
        landmarks: Face mesh on the canvas, [468, 3].
        groups: Mesh points of upper lid, lower lid and brow.
        iris: x, y and radius of the iris, canvas pixels; None: unknown.
    """

    def __init__(
        self,
        image: Image,
        frame: FaceFrame,
        landmarks: FloatArray,
        groups: Tuple[Sequence[int], Sequence[int], Sequence[int]],
        iris: Optional[FloatArray] = None,
    ) -> None:
        upper, lower = (smooth_curve(frame.of(points_of(landmarks, g))) for g in groups[:2])
        brow = float(frame.of(points_of(landmarks, groups[2]))[:, 1].mean())
        self._frame = frame
        self._lid = frame.canvas(upper)
        self._low = frame.canvas(upper + np.stack([np.zeros(len(upper)), closing(upper[:, 0], upper, lower)], -1))
        left, right = float(upper[:, 0].min()), float(upper[:, 0].max())
        lid_top = float(upper[:, 1].min())
        top = lid_top - max(0.6 * (lid_top - brow), CREASE + 0.03)
        canvas = Box(0, 0, image.shape[1], image.shape[0])
        corners = np.array([[left, top], [right, top], [left, lower[:, 1].max()], [right, lower[:, 1].max()]])
        self.box = Box.around(frame.canvas(corners), 0.16 * frame.unit + 2).within(canvas)
        """The patch of the photo that a blink can change; empty if too little of the eye is in the photo."""
        self.step = max(1, round(frame.unit / PATCH_UNIT))
        """The maps are computed for every `step`-th pixel of the patch, and interpolated in between."""
        if min(self.box.width, self.box.height) <= LEAST_EYE * self.step:
            self.box = Box(0, 0, 0, 0)
            return
        xy = np.stack(
            np.meshgrid(
                np.arange(self.box.left, self.box.right, self.step), np.arange(self.box.top, self.box.bottom, self.step)
            ),
            -1,
        )
        uv = frame.of(xy.astype(np.float64))
        u, self._v = uv[..., 0].astype(np.float32), uv[..., 1].astype(np.float32)
        lid = height_at(u, upper)
        gap = closing(u, upper, lower) * ((u > left) & (u < right))
        fade = smoothstep((np.minimum(u - left, right - u)) / 0.05)
        # The white may extend a little beyond the mesh's corners.
        least = 0.5 * LID_START * ((u > left - 0.02) & (u < right + 0.02))
        self._lid_start: FloatArray = np.maximum(np.minimum(LID_START, 0.5 * gap) * fade, least).astype(np.float32)
        self._lid_v: FloatArray = lid.astype(np.float32)
        self._gap: FloatArray = (gap * fade).astype(np.float32)
        self._top = np.float32(top)
        self._crease: FloatArray = np.maximum(self._lid_v - np.float32(CREASE), self._top + np.float32(0.02))
        # Away from the lid's edge the skin is pulled along over a wider area than the eye's opening.
        self._pull: FloatArray = cv2.GaussianBlur(self._gap, (0, 0), 0.09 * frame.unit / self.step).astype(np.float32)
        self._u: FloatArray = u
        self._low_v: FloatArray = height_at(u, lower).astype(np.float32)
        self._centre = (left + right) / 2
        self._half = max((right - left) / 2, 0.05)
        # Near its corners the eye keeps the photo's pixels.
        self._middle: FloatArray = smoothstep((1 - np.abs(u - self._centre) / self._half) / CORNER).astype(np.float32)
        middle, low_middle = (float(height_at(np.array([self._centre]), c)[0]) for c in (upper, lower))
        at = frame.of(iris[:2]) if iris is not None else np.array([self._centre, (middle + low_middle) / 2])
        radius = float(iris[2]) / frame.unit if iris is not None else IRIS
        self._iris = float(at[0]), float(at[1]), float(np.clip(radius, 0.06, 0.14))
        maps = self._v, self._lid_v, self._gap, self._crease, self._pull, self._lid_start, self._middle
        self._lowering: FloatArray = np.stack(maps).astype(np.float32)
        self._taper: Array = np.sin(np.linspace(0.0, np.pi, len(self._lid)))[:, None]
        self.white, self._gaze_field = self._gaze_maps()
        """The box of the photo in which the gaze moves pixels, and its maps."""
        self._lash_colour, self._lash_strength = self._measure_lashes(image, upper)
        self.shut = self._shut_lid(image)
        """Texture of the shut lid, on the patch, [height, width, 4]; the last channel is unused."""

    def lid_position(self, blink: float) -> float:
        """How far this lid is lowered in a blink, 0..1: one eye is slightly ahead of the other, except at the ends."""
        return blink if self._centre < 0 else blink**LAG_POWER

    def _measure_lashes(self, image: Image, upper: Array) -> Tuple[Tuple[float, float, float], float]:
        """Colour of the lashes and their contrast, 0..1, measured along the edge of the upper lid."""
        u = np.linspace(upper[:, 0].min(), upper[:, 0].max(), 24)[3:-3]
        v = height_at(u, upper)
        columns = np.stack(np.broadcast_arrays(u[:, None], v[:, None] + np.linspace(-0.035, 0.01, 8)), -1)
        rim = look_up(image, self._frame.canvas(columns).astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        darkest = rim[np.arange(len(u)), rim.mean(-1).argmin(1)].astype(np.float64)
        colour: Array = np.median(darkest, axis=0)
        under = np.stack([u, v + 0.3], -1)[:, None]
        skin = look_up(image, self._frame.canvas(under).astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        contrast = 1 - colour.mean() / max(float(np.median(skin.mean(-1))), 1.0)
        return tuple(np.round(0.7 * colour).tolist()), float(np.clip(0.25 + contrast, 0.5, 1.0))

    def _shut_lid(self, image: Image) -> NDArray[np.uint8]:
        """Texture of the shut lid, blended from the skin above the crease to that below the eye, with grain added.

        At its edges it has the photo's colours, so that no border shows. It is lighter where the lid bulges and darker
        towards the lashes.
        """
        patch, step = image[self.box.rows, self.box.columns], self.step
        unit = self._frame.unit
        soft: NDArray[Any] = cv2.GaussianBlur(patch, (0, 0), max(0.8, 0.02 * unit))
        grain = patch.astype(np.float32) - soft
        # Keep pores and wrinkles, not edges of something dark.
        usual = MOST_GRAIN * float(np.median(np.abs(grain))) + 1
        grain = np.clip(grain, -usual, usual)

        columns, rows = np.arange(0, patch.shape[1], step), np.arange(0, patch.shape[0], step)
        here = np.stack(np.meshgrid(columns, rows), -1)

        def at(picture: NDArray[Any], v: Array) -> FloatArray:
            """Sample a picture of the patch at height v in each column."""
            there = here + self._frame.vector(np.stack([np.zeros_like(v), v - self._v], -1))
            found = look_up(picture, there.astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
            return found.astype(np.float32)

        # The median of a few heights, to avoid lashes and the line of the crease.
        above, under = (
            cv2.GaussianBlur(np.median(heights, axis=0), (0, 0), max(1.0, 0.06 * unit / step))
            for heights in (
                [at(soft, self._crease - d) for d in (0.0, 0.02, 0.04)],
                [at(soft, self._low_v + d) for d in np.linspace(*UNDER_EYE, 3)],
            )
        )
        # A shadow above the eye darkens the socket more than the lid.
        lightness = np.clip(above.mean(-1) / np.maximum(under.mean(-1), 1), 0, 1)[..., None]
        above = above * (0.8 + 0.2 / np.maximum(lightness, 0.5))
        under = 0.65 * under + 0.35 * above
        down = np.clip((self._v - self._crease) / np.maximum(self._low_v - self._crease, 1e-3), 0, 1)[..., None]
        skin = above + (under - above) * smoothstep(down)
        round_light = 1 + 0.02 * np.sin(np.pi * np.clip(down / 0.85, 0, 1)) - 0.09 * smoothstep((down - 0.7) / 0.3)
        sides = np.minimum(((self._u - self._centre) / self._half) ** 2, 1)[..., None]
        fold = 0.05 * np.exp(-((down / 0.07) ** 2)) * (1 - sides)
        skin = skin * (round_light - 0.05 * sides - fold)
        # The grain of the skin below the eye, mirrored back and forth.
        depth = GRAIN[1] - GRAIN[0]
        away = np.abs(self._low_v - self._v) % (2 * depth)
        mirrored = self._low_v + GRAIN[0] + np.minimum(away, 2 * depth - away)
        lid = np.clip(np.round(skin + at(grain, mirrored)), 0, 255).astype(np.uint8)
        return np.dstack([lid, np.full(lid.shape[:2], 255, np.uint8)])

    def glance(self, gaze_x: float, gaze_y: float, box: Box) -> Patch:
        """The displacement patch for an eye that turns.

        The iris moves rigidly, and the white around it is compressed or stretched. The lids stay, and follow a little
        where the iris pushes them up or down.

        Args:
            gaze_x: To the right, -1..1.
            gaze_y: Down, -1..1.
            box: The part of the frame in which the eye is.
        """
        x, y, radius = self._iris
        go_x, go_y = GAZE_TRAVEL * gaze_x, 0.5 * GAZE_TRAVEL * gaze_y
        # Beside the iris the white is compressed as far as the corner of the eye.
        to_corner = max(self._half - abs(x - self._centre), 1.3 * radius)
        field = np.empty((*self._gaze_field.shape[1:], 2), np.float32)
        far, fades = to_corner + 0.05 * radius, to_corner - radius
        _pixels.turned(self._gaze_field, (x + go_x, y + go_y), (go_x, go_y), far, fades, field)
        return Patch(field, (self.white.left, self.white.top, self.step * GAZE_STEP), box)

    def _gaze_maps(self) -> Tuple[Box, FloatArray]:
        """The box of the photo that the gaze can move, and six maps on it.

        The maps are u and v; x and y of the source shift per unit of gaze to the right; the same per unit down.
        """
        between = np.minimum(self._v - self._lid_v, self._low_v - self._v)
        corner = np.clip(1 - ((self._u - self._centre) / self._half) ** 2, 0, 1) ** 0.5
        along_x, along_y = smoothstep(1 + between / 0.02) * corner, smoothstep(1 + between / 0.06) * corner
        rows, columns = (np.flatnonzero((along_y > 0).any(axis)) for axis in (1, 0))
        if not len(rows):
            rows, columns = np.arange(2), np.arange(2)
        # a border of zeros, to avoid a step at the edge
        margin, (height, width) = GAZE_STEP, along_y.shape
        top, bottom = max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + 2 * margin)
        left, right = max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + 2 * margin)
        part = slice(top, bottom, GAZE_STEP), slice(left, right, GAZE_STEP)
        at, step = self.box, self.step
        box = Box(at.left + left * step, at.top + top * step, at.left + right * step, at.top + bottom * step)
        axes = self._frame.right * -self._frame.unit, self._frame.down * -self._frame.unit
        moves = [along[part] * one for along, axis in zip((along_x, along_y), axes) for one in axis]
        return box, np.stack([self._u[part], self._v[part], *moves]).astype(np.float32)

    def lowered(self, blink: float) -> Tuple[FloatArray, FloatArray]:
        """The displacement that lowers the lid and what is above it. It continues below the lid's edge; see `covered`.

        Returns:
            Displacement to the source of each pixel of the patch, x and y, canvas pixels, [height, width, 2]; how much
            of the pixel is lid that the photo does not show, 0..1, and how far down in `shut` it is sampled, canvas
            pixels, [height, width, 2].
        """
        moved, unrolled = (np.empty((*self._v.shape, 2), np.float32) for _ in range(2))
        down = self._frame.down.tolist()
        _pixels.lowered(
            self._lowering, float(self._top), blink, CREASE_FOLLOWS * blink, down, self._frame.unit, moved, unrolled
        )
        return moved, unrolled

    def edge(self, blink: float) -> Array:
        """The edge of the upper lid on a still head, canvas pixels, [n, 2]."""
        return self._lid + (self._low - self._lid) * blink

    def covered(self, rim: Array) -> Array:
        """Outline of all that comes down with the lid with this `edge`, on a still head, canvas pixels, [n, 2]."""
        out, up = self._frame.right * (0.16 * self._frame.unit), self._frame.down * (0.5 * self._frame.unit)
        left, right = rim[:1] - out, rim[-1:] + out
        return np.concatenate([left, rim, right, right - up, left - up])

    def lay_skin(
        self, out: Image, box: Box, covered: Mask, nodes: FloatArray, grid: Grid, unrolled: FloatArray
    ) -> None:
        """Blend the texture of the shut lid over the lid that was stretched down.

        Args:
            out: The frame, in which the lowered lid has been drawn; changed in place.
            box: The part of it to draw on.
            covered: How much of each pixel of the box comes down with the lid.
            nodes: Source position in the photo of each node of a grid, canvas pixels, [rows, columns, 2].
            grid: That grid.
            unrolled: The second result of `lowered`.
        """
        at = (grid.left, grid.top, grid.cell)
        placing = (self.box.left, self.box.top, self.step)
        down = self._frame.down.tolist()
        _pixels.lay_skin(out, (box.left, box.top), covered, nodes, at, unrolled, self.shut, placing, down)

    def draw_lashes(self, out: Image, edge: Array, blink: float, softness: float) -> None:
        """Darken the line where the lids meet, and the lashes that hang from it.

        Args:
            out: The frame, changed in place.
            edge: Edge of the upper lid on the frame, canvas pixels, [n, 2].
            blink: 0..1.
            softness: Softness of edges in the photo, pixels.
        """
        unit, down = self._frame.unit, self._frame.down
        box = Box.around(edge, 0.1 * unit + 3).within(Box(0, 0, out.shape[1], out.shape[0]))
        if box.empty:
            return
        thick = LASH * unit * self._taper
        line = np.concatenate([edge - (0.8 * thick + BLEED) * down, (edge + (0.4 * thick + BLEED) * down)[::-1]])
        clear = self._lash_strength
        dark = soft_polygon(line, box, max(softness, 0.006 * unit), most=0.85)
        soft_polygon(self.lashes(edge, blink, BLEED), box, max(softness, 0.003 * unit), most=0.55 * clear, over=dark)
        _pixels.tint(out, (box.left, box.top), dark, self._lash_colour, clear * min(1.0, 1.6 * blink), True)

    def lashes(self, edge: Array, blink: float, bleed: float = 0.0) -> Array:
        """The lashes of a lowered lid as triangles, canvas pixels, [n, 3, 2], longest near the outer corner.

        Args:
            edge: Edge of the upper lid, [n, 2].
            blink: 0..1.
            bleed: How far each lash is widened, pixels.
        """
        unit, down, right = self._frame.unit, self._frame.down, self._frame.right
        outwards = -1.0 if self._centre < 0 else 1.0
        number = np.arange(LASHES)
        t = (number + 0.7) / (LASHES + 0.4)
        along = (2 * t - 1) * outwards  # -1 at the nose, 1 at the temple
        root = edge[np.rint(t * (len(edge) - 1)).astype(int)]
        length = LASH_LENGTH * unit * blink * (0.45 + 0.55 * smoothstep(0.5 + 0.6 * along))
        lean = right * (outwards * (0.10 + 0.55 * np.maximum(along, 0.0)))[:, None] + down
        tip = root + bleed * down + lean * (length * (0.85 + 0.3 * ((number * 7) % 5) / 5))[:, None]
        half = right * (0.0055 * unit + bleed)
        return np.stack([root - half, tip, root + half], 1)
