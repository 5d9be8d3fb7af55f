"""Geometry of a face: its own coordinates, groups of mesh points, and the coarse grid of displacements."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional, Sequence, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray
from . import _pixels

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.uint8]
"""Coverage of each pixel, 0..255, [height, width]."""

# Groups of MediaPipe face mesh points. "Left" and "right" refer to the picture; contours run from left to right.
INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LEFT_EYE_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_EYE_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_BROW = (70, 63, 105, 66, 107)
RIGHT_EYE_UPPER = (362, 398, 384, 385, 386, 387, 388, 466, 263)
RIGHT_EYE_LOWER = (362, 382, 381, 380, 374, 373, 390, 249, 263)
RIGHT_BROW = (336, 296, 334, 293, 300)
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
CHEEKS = (50, 280, 205, 425, 101, 330)
EYE_CORNERS = (33, 133, 362, 263)
LIP_CENTRES = (13, 14)
CHIN, NOSE_BASE, LEFT_JAW, RIGHT_JAW, FOREHEAD = 152, 2, 58, 288, 10


UNSEEN = 1 / 64
"""A displacement of at most this is not visible, pixels."""
TOLERANCE = 1 / 32
"""Inverting a displacement stops when an iteration changes less than this, pixels; the error is then much smaller."""
BLEED = 0.5
"""Drawn shapes extend this far beyond their edges, pixels, so that nothing shows through where they meet."""


def smoothstep(x: Array) -> Array:
    """0 below 0, 1 above 1, and the smooth cubic in between."""
    x = np.minimum(np.maximum(x, 0.0), 1.0)  # faster than np.clip
    return x * x * (3.0 - 2.0 * x)


def eased(x: float) -> float:
    """`smoothstep` of one number."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


@dataclass(frozen=True)
class Box:
    """A rectangle of canvas pixels, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns; never negative."""
        return max(0, self.right - self.left)

    @property
    def height(self) -> int:
        """Rows; never negative."""
        return max(0, self.bottom - self.top)

    @property
    def ends(self) -> Tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    @property
    def corners(self) -> Array:
        """[4, 2]"""
        return np.array([(x, y) for x in (self.left, self.right) for y in (self.top, self.bottom)], np.float64)

    @property
    def empty(self) -> bool:
        """Whether it contains no pixel."""
        return self.width == 0 or self.height == 0

    @property
    def rows(self) -> slice:
        """Index for the first axis of a picture."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """Index for the second axis of a picture."""
        return slice(self.left, self.right)

    def within(self, other: "Box") -> "Box":
        """The part of it inside another box (may be empty)."""
        return Box(
            min(max(self.left, other.left), other.right),
            min(max(self.top, other.top), other.bottom),
            max(min(self.right, other.right), other.left),
            max(min(self.bottom, other.bottom), other.top),
        )

    @classmethod
    def around(cls, points: Array, margin: float) -> "Box":
        """The smallest box that contains all points [n, 2] and a margin, pixels."""
        left, top, right, bottom = _pixels.bounds(np.ascontiguousarray(points, np.float64))
        low, high = (
            (math.floor(left - margin), math.floor(top - margin)),
            (math.ceil(right + margin), math.ceil(bottom + margin)),
        )
        return cls(*low, high[0] + 1, high[1] + 1)


@dataclass(frozen=True)
class Patch:
    """A displacement field on part of the photo, finer than the grid's; zero outside."""

    field: FloatArray
    """Displacements, canvas pixels, [rows, columns, 2]."""
    placing: Tuple[float, float, float]
    """Canvas column and row of the first value, and the distance between values, pixels."""
    box: Box
    """The part of the frame that it can affect."""


class FaceFrame:
    """A face's own coordinates, in which every head is upright.

    The origin is the middle between the lips; u runs parallel to the line of the eyes, to the right of the picture; v
    runs down the face; the unit is the distance between the eyes.

    Args:
        landmarks: Face mesh on the canvas, [468, 3], pixels.
    """

    def __init__(self, landmarks: FloatArray) -> None:
        points = np.asarray(landmarks, np.float64)[:, :2]
        eyes = points[list(EYE_CORNERS)]
        across = eyes[2:].mean(0) - eyes[:2].mean(0)
        self.unit = max(float(np.linalg.norm(across)), 1.0)
        """Pixels between the eye centres."""
        self.right: Array = across / self.unit if np.any(across) else np.array([1.0, 0.0])
        """The canvas direction of u."""
        self.down: Array = np.array([-self.right[1], self.right[0]])
        """The canvas direction of v."""
        self.origin: Array = points[list(LIP_CENTRES)].mean(0)
        """Canvas pixel where u = v = 0."""

    def of(self, points: Array) -> Array:
        """Convert canvas points [..., 2] to face coordinates."""
        offset = (np.asarray(points, np.float64) - self.origin) / self.unit
        return np.stack([along(offset, self.right), along(offset, self.down)], -1)

    def canvas(self, uv: Array) -> Array:
        """Convert face coordinates [..., 2] to canvas points."""
        return self.origin + self.vector(uv)

    def vector(self, uv: Array) -> Array:
        """Convert displacements in face coordinates [..., 2] to canvas pixels."""
        return (uv[..., :1] * self.right + uv[..., 1:] * self.down) * self.unit


def along(vectors: Array, direction: Array) -> Array:
    """Dot product of vectors [..., 2] with a direction [2]: [...]. Reproducible bit for bit, unlike `@`."""
    product: Array = vectors[..., 0] * direction[0] + vectors[..., 1] * direction[1]
    return product


def weighted(weights: FloatArray, bases: FloatArray) -> FloatArray:
    """Weighted sum of bases [n, m] with weights [n]: [m]. Reproducible bit for bit, unlike `@`."""
    total = np.empty(bases.shape[1], np.float32)
    _pixels.weighted(weights, bases, total)
    return total


def smooth_curve(points: Array, per_span: int = 4) -> Array:
    """A Catmull-Rom curve through points [n, 2]: [(n - 1) * per_span + 1, 2]."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    p0, p1, p2, p3 = (ends[i : i + len(points) - 1, None] for i in range(4))
    s = (np.arange(per_span) / per_span)[None, :, None]
    spans = 0.5 * (2 * p1 + (p2 - p0) * s + (2 * p0 - 5 * p1 + 4 * p2 - p3) * s**2 + (3 * p1 - p0 - 3 * p2 + p3) * s**3)
    return np.concatenate([spans.reshape(-1, 2), points[-1:]])


def height_at(u: Array, curve: Array) -> Array:
    """The v of a curve [n, 2] at each u; constant beyond its ends. Points that are not in order of u are sorted."""
    order = np.argsort(curve[:, 0], kind="stable")
    heights: Array = np.interp(u, curve[order, 0], curve[order, 1])
    return heights


def look_up(picture: NDArray[Any], positions: Array, interpolation: int, border: int) -> NDArray[Any]:
    """Sample a picture at fractional (x, y) positions [height, width, 2]: `cv2.remap` with types."""
    remap: Any = cv2.remap
    found: NDArray[Any] = remap(picture, positions, None, interpolation, borderMode=border)
    return found


class Grid:
    """A coarse grid of square cells over the part of the canvas that can move.

    Displacements are computed at its nodes and interpolated linearly in between. The outermost nodes are outside the
    box, so that nothing inside it is extrapolated.

    Args:
        box: The box to cover, canvas pixels (may extend beyond the canvas).
        cell: Side of a cell, pixels.
    """

    def __init__(self, box: Box, cell: int) -> None:
        self.cell = cell
        self.box = box
        """The box it covers, canvas pixels."""
        self.left, self.top = box.left - cell, box.top - cell
        self.columns = -(-box.width // cell) + 2
        self.rows = -(-box.height // cell) + 2
        self._begins = self.left + cell / 2 - 0.5, self.top + cell / 2 - 0.5

    @cached_property
    def nodes(self) -> FloatArray:
        """Canvas position of each node, [rows, columns, 2]."""
        x = self.left + (np.arange(self.columns) + 0.5) * self.cell - 0.5
        y = self.top + (np.arange(self.rows) + 0.5) * self.cell - 0.5
        return np.stack(np.meshgrid(x, y), -1).astype(np.float32)

    def sample(self, field: FloatArray, positions: Array) -> FloatArray:
        """Interpolate a field [rows, columns, k] at canvas positions [..., 2]: [..., k]; constant beyond its edge."""
        found = np.empty((*positions.shape[:-1], field.shape[2]), np.float32)
        at = np.ascontiguousarray(positions, np.float32).reshape(-1, 2)
        _pixels.sampled(field, self._begins, self.cell, at, found.reshape(-1, field.shape[2]))
        return found

    def part(self, wanted: NDArray[np.bool_]) -> "Grid":
        """The smallest part of it with all wanted nodes, [rows, columns], inside its outermost ones."""
        rows, columns = (np.flatnonzero(wanted.any(axis)) for axis in (1, 0))
        if not len(rows):
            return self
        (top, bottom), (left, right) = ((int(n[0]), int(n[-1]) + 1) for n in (rows, columns))
        x, y = self.left, self.top
        return Grid(Box(*(o + n * self.cell for o, n in ((x, left), (y, top), (x, right), (y, bottom)))), self.cell)

    def around(self, points: Array, margin: float) -> Tuple["Grid", Tuple[slice, slice]]:
        """The part of it around points [n, 2] with a margin in pixels, and the rows and columns of that part."""
        cell = self.cell
        left, top, right, bottom = _pixels.bounds(np.ascontiguousarray(points, np.float64))
        low = [int((at - margin - start) // cell) - 1 for at, start in ((left, self.left), (top, self.top))]
        high = [int((at + margin - start) // cell) + 2 for at, start in ((right, self.left), (bottom, self.top))]
        # at least two nodes in each direction, as interpolation needs
        column, row = (min(max(n, 0), most - 2) for n, most in zip(low, (self.columns, self.rows)))
        end, below = (min(max(n, at + 2), m) for n, at, m in zip(high, (column, row), (self.columns, self.rows)))
        x, y = self.left + cell, self.top + cell
        inner = Box(x + column * cell, y + row * cell, x + (end - 2) * cell, y + (below - 2) * cell)
        return Grid(inner, cell), (slice(row, below), slice(column, end))

    def invert(self, displacement: FloatArray, positions: FloatArray, iterations: int) -> FloatArray:
        """Invert a displacement field by fixed-point iteration: the source of each point.

        Args:
            displacement: Displacement of each node, pixels, [rows, columns, 2].
            positions: Positions after the displacement, canvas pixels, [n, m, 2].
            iterations: Most iterations; each multiplies the error by the field's slope (below .5 here).

        Returns:
            Positions before the displacement, canvas pixels, [n, m, 2]; points outside the grid are not displaced.
        """
        before = np.empty_like(positions)
        are_nodes = positions is self.nodes
        _pixels.invert(displacement, positions, are_nodes, before, self._begins, self.cell, iterations, TOLERANCE)
        return before


def soft_polygon(
    points: Array, box: Box, blur: float, step: int = 1, most: float = 1.0, over: Optional[Mask] = None
) -> Mask:
    """Rasterise one or more polygons with soft edges: coverage of each pixel of a box, 0..255, [height, width].

    Args:
        points: Corners in canvas pixels, [n, 2], or [k, n, 2].
        box: The part of the canvas.
        blur: Softness of the edges: standard deviation in pixels of the result.
        step: Canvas pixels per pixel of the result, whose size is rounded up.
        most: Value inside a polygon, 0..1.
        over: A mask to draw into, in place: each pixel becomes the larger value.
    """
    if over is None:
        over = np.zeros((-(-box.height // step), -(-box.width // step)), np.uint8)
    corners = np.ascontiguousarray(points, np.float64).reshape(-1, *points.shape[-2:])
    _pixels.outline(corners, (box.left, box.top), 1 / step, blur, most, over)
    return over


def points_of(landmarks: FloatArray, group: Sequence[int]) -> Array:
    """The mesh points of a group, canvas pixels, [n, 2]."""
    chosen: Array = np.asarray(landmarks, np.float64)[list(group), :2]
    return chosen


def median_colour(image: NDArray[np.uint8], mask: NDArray[np.uint8], fallback: Tuple[float, float, float]) -> Array:
    """Median BGR where the mask is set; the fallback if it is set nowhere."""
    chosen = image[mask > 0]
    return np.median(chosen, axis=0).astype(np.float64) if len(chosen) else np.array(fallback, np.float64)
