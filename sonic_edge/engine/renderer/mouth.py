"""The mouth: how lips, jaw and cheeks move.

There are two sheets of displacement, one for everything above the line between the lips and one for everything below.
They are equal outside the corners of the mouth, so that the picture is torn only along the line between the lips.
"""

from typing import Dict, List, Mapping, Tuple

import numpy as np

from ...media import FloatArray, Image
from .geometry import (
    CHIN,
    INNER_LOWER,
    INNER_UPPER,
    LEFT_JAW,
    NOSE_BASE,
    OUTER_LOWER,
    OUTER_UPPER,
    RIGHT_JAW,
    Array,
    FaceFrame,
    Grid,
    along,
    eased,
    height_at,
    points_of,
    smooth_curve,
    smoothstep,
    weighted,
)
from .lips import lip_line, open_edge, teeth_between

WIDE_OPEN = 0.40
"""Gap between the lips at jaw = 1, interoculars (the largest in ordinary speech is about .25)."""
UPPER_SHARE = 0.13
"""Share of the gap that comes from the upper lip rising."""
UPPER_FALLS = 0.3
"""Share of the gap in a photo's open mouth that the upper lip closes."""
CORNER_SHARE = 0.32
"""How far the corners follow the lower lip down."""
CHIN_SHARE = 0.85
"""How far the chin follows the lower lip down."""
MEET_AT = 0.6
"""Lips touch when the channel close reaches this."""
SHUT_BELOW, OPEN_ABOVE = 0.065, 0.095
"""The lips in a photo count as shut if the mesh's gap is below the first, as open above the second, interoculars."""
WIDE_GAP = 0.2
"""In a mouth opened wider than this the mesh's lip edges are too inaccurate, interoculars."""
LIP_MARGIN = 0.014
"""The edges of open lips are moved this far into the lips, interoculars, so that no pixels of teeth move with them."""
LIP_MARGIN_SHARE = 0.05
"""Added to that, as a share of the gap."""
LIP_LINE = 0.022
"""Thickness of the line painted between lips that are shut in the frame but not in the photo, interoculars."""
CORNER_OUT = 0.5
"""Where the lips begin to part: this share of the way from the mesh's inner corner to its outer one."""

ROUND_PART = 0.72
"""Share of the lips' width that parts in a rounded mouth; outside it they stay together."""

WEIGHTS = ("drop", "part", "part_little", "part_round", "shut", "width", "round", "press", "tuck")
"""The displacement bases; `lip_weights` gives the weight of each for a pose."""
TEARING = ("part", "part_little", "part_round", "shut", "round", "press", "tuck")
"""Those in which the two sheets differ."""


class MouthShape:
    """The mouth in the photo, in face coordinates.

    Args:
        image: The photo.
        frame: The face's coordinates.
        landmarks: Face mesh on the canvas, [468, 3].
    """

    def __init__(self, image: Image, frame: FaceFrame, landmarks: FloatArray) -> None:
        def curve(group: Tuple[int, ...]) -> Array:
            return smooth_curve(frame.of(points_of(landmarks, group)))

        self.outer_upper: Array = curve(OUTER_UPPER)
        self.outer_lower: Array = curve(OUTER_LOWER)
        upper, lower = curve(INNER_UPPER), curve(INNER_LOWER)
        # The mesh's inner corners are inside the real ones, its outer corners outside: lips part in between.
        ends = CORNER_OUT * (self.outer_upper[[0, -1]] - upper[[0, -1]])
        lean = np.linspace(-1, 1, len(upper))[:, None]
        spread = np.where(lean < 0, ends[0], ends[1]) * np.abs(lean) ** 3
        upper, lower = upper + spread, lower + spread
        gap = height_at(upper[:, 0], lower) - upper[:, 1]
        widest = float(gap.max())
        openness = eased((widest - SHUT_BELOW) / (OPEN_ABOVE - SHUT_BELOW))
        if widest > WIDE_GAP:
            lower, upper = (
                open_edge(image, frame, edge, outer)
                for edge, outer in ((lower, self.outer_lower), (upper, self.outer_upper))
            )
            gap = lower[:, 1] - upper[:, 1]
        middle = (upper + lower) / 2
        if openness < 1:
            line = lip_line(image, frame, middle)
            parted = teeth_between(image, frame, line, self.outer_upper, self.outer_lower)
            if parted is None:
                middle = middle + (1 - openness) * (line - middle)
            else:
                upper, lower = parted
                middle, openness = (upper + lower) / 2, 1.0
                gap = lower[:, 1] - upper[:, 1]
        width = LIP_MARGIN * np.sqrt(np.sin(np.linspace(0, np.pi, len(upper)))) + LIP_MARGIN_SHARE * np.maximum(gap, 0)
        self.margin: Array = np.stack([np.zeros_like(width), width], -1) * openness
        """How far `upper` and `lower` were moved into the lips, [n, 2]."""
        self.upper: Array = middle + openness * (upper - middle) - self.margin
        """Lower edge of the upper lip, [n, 2], left to right."""
        self.lower: Array = middle + openness * (lower - middle) + self.margin
        """Upper edge of the lower lip, [n, 2], left to right."""
        self.gap = float((self.lower - self.upper - 2 * self.margin)[:, 1].max())
        """Gap between the lips in the photo, interoculars; 0 for a mouth that counts as shut."""
        self.left = min(float(upper[0, 0]), -0.1)
        """u of the left corner."""
        self.right = max(float(upper[-1, 0]), 0.1)
        """u of the right corner."""
        sides = frame.of(points_of(landmarks, [LEFT_JAW, RIGHT_JAW]))[:, 0]
        self.jaw_left = min(float(sides[0]), 1.5 * self.left)
        self.jaw_right = max(float(sides[1]), 1.5 * self.right)
        heights = frame.of(points_of(landmarks, [CHIN, NOSE_BASE]))[:, 1]
        self.chin = max(float(heights[0]), 0.25)
        """v of the tip of the chin."""
        self.nose = min(float(heights[1]), -0.15)
        """v of the base of the nose."""

    def along(self, u: Array) -> Array:
        """u relative to the corners of the mouth: -1 at the left corner, 1 at the right one."""
        return np.where(u < 0, -u / self.left, u / self.right)

    def bow(self, t: Array, power: float, sharpness: float) -> Array:
        """Shape of the opening: 1 in the middle, 0 at the corners and beyond."""
        return np.clip(1 - np.abs(t) ** power, 0, 1) ** sharpness


def lip_bases(shape: MouthShape, uv: Array) -> Tuple[Array, Array]:
    """Displacement per unit of each of `WEIGHTS`, in face coordinates.

    Args:
        shape: The mouth.
        uv: Positions, face coordinates, [..., 2].

    Returns:
        Displacements of the upper and of the lower sheet, [len(WEIGHTS), ..., 2].
    """
    u, v = uv[..., 0], uv[..., 1]
    t = shape.along(u)
    out = np.maximum(np.abs(t) - 1, 0)
    above = np.maximum(height_at(u, shape.upper) - v, 0)
    below = np.maximum(v - height_at(u, shape.lower), 0)
    upper_lip = np.maximum(height_at(u, shape.upper) - height_at(u, shape.outer_upper), 0.02)
    lower_lip = np.maximum(height_at(u, shape.outer_lower) - height_at(u, shape.lower), 0.02)
    half = (shape.right - shape.left) / 2

    # How far a lip's movement extends: up to the nose, which does not move; beside it further up the cheeks.
    to_nose_base = np.maximum(height_at(u, shape.upper) - shape.nose, 0.12)
    to_nose = smoothstep(1 - above / to_nose_base)
    up_cheeks = to_nose_base + np.maximum(0.6 - to_nose_base, 0) * smoothstep((np.abs(t) - 0.5) / 0.6)
    # The jaw is hinged at the ears: no movement there, most in the middle. Below the chin the throat follows less.
    side = np.where(u < 0, u / (1.08 * shape.jaw_left), u / (1.08 * shape.jaw_right))
    hinge = smoothstep(1 - np.clip(side, 0, 1) ** 3)
    throat = smoothstep(1 - (v - shape.chin) / (0.9 * shape.chin))
    carried_up = CORNER_SHARE * smoothstep(1 - above / up_cheeks)
    carried_down = CORNER_SHARE + (CHIN_SHARE - CORNER_SHARE) * smoothstep(below / (0.75 * shape.chin))
    carried = np.where(above > 0, carried_up, carried_down) * hinge * throat

    zero = np.zeros_like(u)
    travel = WIDE_OPEN * (1 - UPPER_SHARE)
    corner_pull = (
        np.sign(u) * np.minimum(np.abs(t), 1) * np.exp(-((out / 0.8) ** 2)) * np.exp(-((v / (1.1 * half)) ** 2))
    )

    def both(du: Array, dv: Array) -> Tuple[Array, Array]:
        field = np.stack([du, dv], -1)
        return field, field

    def split(up: Array, down: Array) -> Tuple[Array, Array]:
        return np.stack([zero, up], -1), np.stack([zero, down], -1)

    bases: Dict[str, Tuple[Array, Array]] = {}
    bases["drop"] = both(-0.11 * half * corner_pull, travel * carried)
    for name, bow in (
        ("part", shape.bow(t, 2.2, 0.6)),
        ("part_little", shape.bow(t, 2, 1.4)),
        ("part_round", shape.bow(t / ROUND_PART, 2.4, 0.7)),
    ):
        bases[name] = split(
            -bow * (travel * CORNER_SHARE + WIDE_OPEN * UPPER_SHARE) * to_nose,
            bow * travel * (1 - CORNER_SHARE) * (1 - smoothstep(below / (0.75 * shape.chin))),
        )
    photo_gap = np.maximum(height_at(u, shape.lower) - height_at(u, shape.upper), 0) * (np.abs(t) < 1)
    # A wide open mouth is shut by the jaw: the lower lip moves up rigidly, and the chin with it.
    rise = 1 - UPPER_FALLS
    to_throat = smoothstep(1 - np.maximum(below - lower_lip, 0) / max(0.8 * shape.chin, 2.2 * rise * shape.gap))
    philtrum = np.maximum(height_at(u, shape.outer_upper) - shape.nose, 0.06)
    falls = UPPER_FALLS * photo_gap * smoothstep(1 - np.maximum(above - upper_lip, 0) / philtrum)
    bases["shut"] = split(falls, -rise * photo_gap * to_throat)
    lifted = -0.06 * half * np.minimum(np.abs(t), 1) ** 2 * np.exp(-((out / 0.8) ** 2)) * np.exp(-((v / half) ** 2))
    bases["width"] = both(0.17 * half * corner_pull, lifted)
    # Lips keep their volume: pushed together they become thicker, pressed they become thinner.
    middle = np.exp(-((t / 0.8) ** 2))
    fuller_up = np.minimum(above / upper_lip, 1) * np.exp(-np.maximum(above - upper_lip, 0) / (0.4 * half)) * middle
    fuller_down = np.minimum(below / lower_lip, 1) * np.exp(-np.maximum(below - lower_lip, 0) / (0.5 * half)) * middle
    narrowing = -0.27 * half * corner_pull
    bases["round"] = (
        np.stack([narrowing, -0.05 * half * fuller_up], -1),
        np.stack([narrowing, 0.06 * half * fuller_down], -1),
    )
    bases["press"] = split(0.045 * half * fuller_up, -0.055 * half * fuller_down)
    bases["tuck"] = split(-0.04 * shape.bow(t, 2, 0.8) * to_nose, -0.05 * fuller_down)
    upper, lower = zip(*(bases[name] for name in WEIGHTS))
    return np.stack(upper), np.stack(lower)


def lip_weights(shape: MouthShape, pose: Mapping[str, float]) -> Dict[str, float]:
    """The weight of each basis for a pose, by name.

    A mouth that is open in the photo is first shut and then opened like any other, but part of that opening gradually
    restores its own gap: at jaw = 1 all of it is restored and its own teeth show fully, without a jump in between.
    """
    closed = pose["close"]
    # When lips close they touch well before they are pressed together.
    wanted = pose["jaw"] * (1 - eased(closed / MEET_AT))
    own = min(1.0, shape.gap / WIDE_OPEN)
    back = min(1.0, wanted * min(1.0, WIDE_OPEN / max(shape.gap, 1e-6)))
    further = max(0.0, wanted - shape.gap / WIDE_OPEN * back)
    rounded = min(1.0, pose["round"])
    wide = eased(further / 0.5)
    return {
        # A jaw that is already low in the photo has less far to go; one shut behind a smile has the whole way to go.
        "drop": pose["jaw"] * (1 - 0.6 * closed) * (1 - own**2),
        "part": further * (1 - rounded) * wide,
        "part_little": further * (1 - rounded) * (1 - wide),
        "part_round": further * rounded,
        "shut": 1 - back if own > 0 else 0.0,
        "width": pose["width"],
        "round": pose["round"],
        "press": closed,
        "tuck": pose["tuck"] * (1 - closed),
    }


def lower_lip_drop(shape: MouthShape, weights: Mapping[str, float]) -> float:
    """How far the lower lip's middle, lower teeth and tongue are below their place in the photo, interoculars."""
    parted = weights["part"] + weights["part_little"] + weights["part_round"]
    travel = WIDE_OPEN * (1 - UPPER_SHARE)
    opened = travel * (CORNER_SHARE * weights["drop"] + (1 - CORNER_SHARE) * parted)
    return opened - (1 - UPPER_FALLS) * shape.gap * weights["shut"]


class Lips:
    """The two sheets of displacement on a grid, and the edges of the lips for any pose.

    Args:
        frame: The face's coordinates.
        shape: The mouth in the photo.
        grid: The displacement grid.
        brow: Displacement of each node by the brows, for both sheets, canvas pixels, [rows, columns, 2].
    """

    def __init__(self, frame: FaceFrame, shape: MouthShape, grid: Grid, brow: FloatArray) -> None:
        sheets = np.stack([frame.vector(b).astype(np.float32) for b in lip_bases(shape, frame.of(grid.nodes))], 1)
        with_brow = np.concatenate([sheets, np.broadcast_to(brow, (1, *sheets.shape[1:]))])
        self._bases: FloatArray = with_brow.reshape(len(with_brow), -1)
        self._shape = sheets.shape[1:]
        # The edges are moved by the interpolated grid, so that edge and texture stay together.
        self.still: Array = np.stack([frame.canvas(shape.upper), frame.canvas(shape.lower)])
        """Lower edge of the upper lip and upper edge of the lower lip in the photo, canvas pixels, [2, n, 2]."""
        moved = [[grid.sample(sheet, edge) for sheet, edge in zip(basis, self.still)] for basis in sheets]
        self._edge_bases: FloatArray = np.stack(moved).reshape(len(sheets), -1)
        self._down = frame.down

    def displacement(self, weights: FloatArray) -> FloatArray:
        """Displacement of each node in the upper and the lower sheet, canvas pixels, [2, rows, columns, 2].

        Args:
            weights: Weights of `WEIGHTS` and of the brows, [len(WEIGHTS) + 1].
        """
        return weighted(weights, self._bases).reshape(self._shape)

    def edges(self, weights: FloatArray) -> Array:
        """The edges of the lips, as in `still`, on a still head, for weights [len(WEIGHTS)]."""
        moved = self.still + weighted(weights, self._edge_bases).reshape(self.still.shape)
        # Lips cannot pass through each other.
        overlap = np.minimum(along(moved[1] - moved[0], self._down), 0)[:, None] * (self._down / 2)
        moved[0] += overlap
        moved[1] -= overlap
        return moved


def lip_outline(upper: Array, lower: Array) -> Array:
    """The opening between two lip edges as a polygon, [2 n, 2]."""
    return np.concatenate([upper, lower[::-1]])


def lip_line_outline(middle: Array, frame: FaceFrame) -> Array:
    """A polygon for the shadow between shut lips, tapered, [2 n, 2], around a line [n, 2], canvas pixels."""
    half = 0.5 * LIP_LINE * frame.unit * np.sin(np.linspace(0.15, np.pi - 0.15, len(middle)))[:, None] * frame.down
    return np.concatenate([middle - half, (middle + half)[::-1]])


def below_line(middle: Array, frame: FaceFrame, reach: float) -> Array:
    """A polygon of everything below the line between the lips, with the line extended horizontally.

    Args:
        middle: The line, canvas pixels, [n, 2], left to right.
        frame: The face's coordinates.
        reach: How far to extend it, pixels.
    """
    left, right = middle[0] - frame.right * reach, middle[-1] + frame.right * reach
    deep = frame.down * reach
    corners: List[Array] = [left[None], middle, right[None], (right + deep)[None], (left + deep)[None]]
    return np.concatenate(corners)
