"""Changes of light on a moving face: folds deepen, cheeks become hollow, the chin turns from the light.

A warp alone moves the photo's shading with the skin, which looks like a printed mask. Gains multiply the photo, so that
light from one side stays on that side.
"""

from typing import Mapping, Optional, Tuple

import numpy as np

from ...media import FloatArray
from .geometry import LEFT_BROW, OVAL, RIGHT_BROW, Array, FaceFrame, Grid, points_of, smoothstep, weighted
from .mouth import MouthShape

SHADES = ("open", "smile", "pout", "press", "raise", "frown")
"""The bases of the change of light; `Shading.gain` gives the weight of each for a pose."""
EDGE = 0.14
"""Changes fade out over this distance from the edge of the face, interoculars."""
LEAST = 1 / 512
"""A smaller gain changes no pixel noticeably."""


class Shading:
    """How the light on the face changes with the pose.

    Args:
        frame: The face's coordinates.
        landmarks: Face mesh on the canvas, [468, 3].
        shape: The mouth in the photo.
        grid: The grid of the gains.
    """

    def __init__(self, frame: FaceFrame, landmarks: FloatArray, shape: MouthShape, grid: Grid) -> None:
        uv = frame.of(grid.nodes)
        half = (shape.right - shape.left) / 2
        lip = float(shape.outer_lower[:, 1].max())
        under_lip = (0.0, lip + 0.3 * (shape.chin - lip))
        wings = float(0.5 * shape.nose), 0.62 * half

        def both(u: float, v: float, size: Tuple[float, float], tilt: float = 0.0) -> Array:
            """Two symmetric spots, left and right."""
            return spot(uv, (-u, v), size, -tilt) + spot(uv, (u, v), size, tilt)

        corner = (shape.right - shape.left) / 2
        # The nasolabial fold, from the wing of the nose past the corner of the mouth.
        fold = both(corner + 0.10, 0.5 * wings[0], (0.075, 0.30), 0.45)
        hollow = both(corner + 0.26, 0.12, (0.22, 0.42), 0.1)
        apple = both(corner + 0.22, wings[0] - 0.22, (0.26, 0.24))
        crease = spot(uv, under_lip, (0.85 * half, 0.11), 0.0)
        chin = spot(uv, (0.0, shape.chin - 0.08), (1.2 * half, 0.26), 0.0)
        dimple = both(corner + 0.03, 0.0, (0.07, 0.10))
        brows = frame.of(points_of(landmarks, LEFT_BROW + RIGHT_BROW))
        over = float(brows[:, 1].mean())
        between = spot(uv, (float(brows[:, 0].mean()), over + 0.05), (0.16, 0.22), 0.0)
        lines = np.cos((uv[..., 1] - over) * (2 * np.pi / 0.13)) * spot(
            uv, (float(brows[:, 0].mean()), over - 0.28), (0.75, 0.24), 0.0
        )
        bases = {
            "open": -0.09 * hollow - 0.085 * chin - 0.05 * fold + 0.05 * crease,
            "smile": -0.13 * fold + 0.06 * apple - 0.10 * dimple,
            "pout": -0.14 * crease - 0.08 * dimple + 0.03 * fold,
            "press": -0.10 * crease - 0.08 * dimple,
            "raise": -0.035 * lines,
            "frown": -0.10 * between,
        }
        # Only on the skin: the wall behind the chin does not darken.
        within = inside(frame.of(points_of(landmarks, OVAL)), uv)
        self._bases: FloatArray = np.stack([(within * bases[name]).ravel() for name in SHADES]).astype(np.float32)
        self.most: FloatArray = np.abs(self._bases).max(0).reshape(within.shape)
        """Largest absolute gain of any basis at each grid node, [rows, columns]."""

    def gain(self, pose: Mapping[str, float], lips: Mapping[str, float]) -> Optional[FloatArray]:
        """Relative change of the light at each grid node (factor - 1), [rows, columns]; None if there is no change.

        Args:
            pose: Channels, clamped to their limits.
            lips: `mouth.lip_weights` of that pose.
        """
        amounts = {
            "open": lips["drop"],
            "smile": max(pose["width"], 0.0),
            "pout": lips["round"],
            "press": lips["press"],
            "raise": max(pose["brow"], 0.0),
            "frown": max(-pose["brow"], 0.0),
        }
        weights = np.array([amounts[name] for name in SHADES], np.float32)
        if weights.max() < LEAST:
            return None
        return weighted(weights, self._bases).reshape(self.most.shape)


def inside(oval: Array, uv: Array) -> Array:
    """1 well inside the outline of the face, [n, 2], 0 at its edge and outside; face coordinates [..., 2]."""
    low, high = oval.min(0), oval.max(0)
    centre = (low + high) / 2
    around = np.arctan2(oval[:, 1] - centre[1], oval[:, 0] - centre[0])
    order = np.argsort(around)
    reach = np.hypot(*(oval - centre).T)
    off = uv - centre
    edge = np.interp(np.arctan2(off[..., 1], off[..., 0]), around[order], reach[order], period=2 * np.pi)
    return smoothstep((edge - np.hypot(off[..., 0], off[..., 1]) - 0.02) / EDGE)


def spot(uv: Array, at: Tuple[float, float], size: Tuple[float, float], tilt: float) -> Array:
    """A soft elliptical spot: 1 at its centre, 0 at its edge and beyond.

    Args:
        uv: Positions, face coordinates, [..., 2].
        at: Its centre.
        size: Its half axes.
        tilt: Rotation, radians, clockwise.
    """
    du, dv = uv[..., 0] - at[0], uv[..., 1] - at[1]
    across = du * np.cos(tilt) + dv * np.sin(tilt)
    along = -du * np.sin(tilt) + dv * np.cos(tilt)
    return smoothstep(1 - np.hypot(across / size[0], along / size[1]))
