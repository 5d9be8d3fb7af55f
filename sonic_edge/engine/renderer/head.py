"""Motion of the head as a whole: how every point of the photo moves when it turns, nods, tilts and shifts."""

import math
from typing import Mapping, Optional, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray
from .geometry import CHIN, OVAL, Array, Box, FaceFrame, Grid, along, look_up, points_of, smoothstep, weighted

AXIS_DEPTH = 0.75
"""The axis of turning is this far behind the mesh's zero depth (about that of the lips' corners), interoculars."""
PIVOT_BELOW_CHIN = 0.3
"""The pivot of tilting is in the neck, this far below the chin, interoculars."""
HAIR = (1.32, 1.45)
"""Half axes of the ellipse that moves fully with the head, relative to those of the face oval."""
AROUND_HAIR = 1.12
"""Half axes of that ellipse if the extent of the hair is known, relative to that extent."""
MOST_HAIR = 0.75
"""Hair extends at most this far beyond the face, as a share of the face's width and height."""
SKIRT = ((0.3, 0.0), (1.25, 0.75))
"""The background moves with the person fully up to the first distance and not at all from the second on, interoculars.
Each for a plain background, where it is not noticed and allows large motion, and for a textured one."""
FALLOFF = 0.95
"""The motion fades out over this distance around the head, interoculars."""


def head_outline(
    frame: FaceFrame, landmarks: FloatArray, matte: Optional[NDArray[np.uint8]] = None
) -> Tuple[Array, Array]:
    """Centre and half axes, in face coordinates, of an ellipse around face and hair.

    Args:
        frame: The face's coordinates.
        landmarks: Face mesh on the canvas, [468, 3].
        matte: Where the person is, 0..255, on the canvas, which gives the extent of the hair; None: a typical extent.
    """
    oval = frame.of(points_of(landmarks, OVAL))
    low, high = oval.min(0), oval.max(0)
    half = (high - low) / 2 * np.array(HAIR)
    centre = (low + high) / 2
    if matte is not None:
        left, right, top = hair_reach(frame, low, high, matte)
        # Hair is round: an ellipse that includes the upper corners of its box would be much too large.
        half[0] = max(half[0], AROUND_HAIR * max(centre[0] - left, right - centre[0]))
        half[1] = max(half[1], AROUND_HAIR * (high[1] - top) / 2)
    centre[1] = high[1] - half[1]  # all the extra height is hair, above
    return centre, np.maximum(half, 0.1)


def close_to_person(matte: NDArray[np.uint8], grid: Grid, unit: float, texture: FloatArray) -> Array:
    """1 on the person and close to it, falling to 0 further out.

    Args:
        matte: Where the person is, 0..255, on the canvas.
        grid: The grid of the result.
        unit: Pixels between the eyes.
        texture: Whether the background has texture, 0..1, [rows, columns]: then it is visible if it moves.

    Returns:
        [rows, columns], 0..1.
    """
    person = look_up(matte, grid.nodes, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE) > 127
    if not person.any():
        return np.ones(person.shape)
    cells = cv2.distanceTransform((~person).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's square roots differ in the last bit with memory alignment; their squares are integers
    away = np.sqrt(np.rint(cells.astype(np.float64) ** 2)) * grid.cell / unit
    full, none = (plain + (textured - plain) * texture for plain, textured in SKIRT)
    return smoothstep((none - away) / (none - full))


def hair_reach(frame: FaceFrame, low: Array, high: Array, matte: NDArray[np.uint8]) -> Tuple[float, float, float]:
    """Left, right and top of the person beside and above the face, face coordinates.

    Args:
        frame: The face's coordinates.
        low: Upper left corner of the face, face coordinates.
        high: Lower right corner of the face, face coordinates.
        matte: Where the person is, 0..255, on the canvas.
    """
    size = high - low
    u = np.linspace(low[0] - MOST_HAIR * size[0], high[0] + MOST_HAIR * size[0], 96)
    v = np.linspace(low[1] - MOST_HAIR * size[1], (low[1] + high[1]) / 2, 64)
    at = frame.canvas(np.stack(np.meshgrid(u, v), -1)).astype(np.float32)
    seen = look_up(matte, at, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT) > 127
    if not seen.any():
        return float(low[0]), float(high[0]), float(low[1])
    columns, rows = np.flatnonzero(seen.mean(0) > 0.06), np.flatnonzero(seen.mean(1) > 0.06)
    if not len(columns) or not len(rows):
        return float(low[0]), float(high[0]), float(low[1])
    return float(u[columns[0]]), float(u[columns[-1]]), float(v[rows[0]])


class Head:
    """Displacement of each grid node per unit of yaw, pitch, roll, tx and ty.

    Args:
        frame: The face's coordinates.
        landmarks: Face mesh on the canvas, [468, 3].
        grid: The displacement grid.
        matte: Where the person is, 0..255, on the canvas; None: unknown.
        texture: Whether the background at each node has texture, 0..1, [rows, columns].
    """

    def __init__(
        self,
        frame: FaceFrame,
        landmarks: FloatArray,
        grid: Grid,
        matte: Optional[NDArray[np.uint8]],
        texture: FloatArray,
    ) -> None:
        nodes = grid.nodes.astype(np.float64)
        outline = head_outline(frame, landmarks, matte)
        mask = self._mask(frame, outline, nodes)
        if matte is not None:
            mask = np.minimum(mask, close_to_person(matte, grid, frame.unit, texture))
        depth = self._depth(frame, landmarks, nodes) * mask
        pivot = frame.canvas(frame.of(points_of(landmarks, [CHIN]))[0] + [0.0, PIVOT_BELOW_CHIN])
        arm = (nodes - pivot) * mask[..., None]
        from_axis = nodes - frame.canvas(frame.of(points_of(landmarks, OVAL)).mean(0))
        right = np.broadcast_to(frame.right, arm.shape)
        down = np.broadcast_to(frame.down, arm.shape)
        bases = [
            depth[..., None] * right,
            depth[..., None] * down,
            np.stack([-arm[..., 1], arm[..., 0]], -1),
            arm,
            np.stack([mask * frame.unit, np.zeros_like(mask)], -1),
            np.stack([np.zeros_like(mask), mask * frame.unit], -1),
            # Foreshortening by turning and nodding.
            (along(from_axis, frame.right) * mask)[..., None] * frame.right,
            (along(from_axis, frame.down) * mask)[..., None] * frame.down,
        ]
        self._bases: FloatArray = np.stack(bases).reshape(len(bases), -1).astype(np.float32)
        self._shape = arm.shape

    def displacement(self, pose: Mapping[str, float]) -> FloatArray:
        """Displacement of each grid node for a pose, canvas pixels, [rows, columns, 2]."""
        weights = np.array(
            [
                math.sin(pose["yaw"]),
                math.sin(pose["pitch"]),
                math.sin(pose["roll"]),
                math.cos(pose["roll"]) - 1,
                pose["tx"],
                pose["ty"],
                math.cos(pose["yaw"]) - 1,
                math.cos(pose["pitch"]) - 1,
            ],
            np.float32,
        )
        return weighted(weights, self._bases).reshape(self._shape)

    @staticmethod
    def _mask(frame: FaceFrame, outline: Tuple[Array, Array], nodes: Array) -> Array:
        """1 on the head, 0 on background and shoulders."""
        centre, half = outline
        offset = frame.of(nodes) - centre
        radius = np.hypot(offset[..., 0] / half[0], offset[..., 1] / half[1])
        # Approximate distance to the ellipse, exact along its axes.
        outside = (radius - 1) * np.hypot(offset[..., 0], offset[..., 1]) / np.maximum(radius, 1e-6)
        return smoothstep(1 - outside / FALLOFF)

    @staticmethod
    def _depth(frame: FaceFrame, landmarks: FloatArray, nodes: Array) -> Array:
        """Depth of each node in front of the axis, pixels: a smooth surface through the mesh, 0 far from it."""
        uv = frame.of(nodes).reshape(-1, 2).astype(np.float32)
        mesh_uv = frame.of(landmarks[::2, :2]).astype(np.float32)
        height = (AXIS_DEPTH - landmarks[::2, 2] / frame.unit).astype(np.float32)
        sigma = 0.17
        distance = (mesh_uv[:, None, 0] - uv[:, 0]) ** 2 + (mesh_uv[:, None, 1] - uv[:, 1]) ** 2
        weight = np.exp(distance * np.float32(-0.5 / sigma**2))
        total = weight.sum(0)
        # Far from the mesh the depth falls to that of the axis: hair and ears do not move in a turn.
        surface = weighted(height, weight) / (total + 0.15)
        depth: Array = surface.reshape(nodes.shape[:2]) * frame.unit
        return depth


def moving_box(frame: FaceFrame, landmarks: FloatArray, matte: Optional[NDArray[np.uint8]] = None) -> Box:
    """The box of everything that can move, canvas pixels (may extend beyond the canvas)."""
    centre, half = head_outline(frame, landmarks, matte)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    reach = half + FALLOFF * 1.05
    ring = centre + np.stack([np.cos(angle) * reach[0], np.sin(angle) * reach[1]], -1)
    return Box.around(frame.canvas(ring), 2.0)
