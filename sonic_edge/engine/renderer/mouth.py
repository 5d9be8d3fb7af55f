"""The mouth: how lips, jaw and cheeks move, and what shows between the lips.

Two sheets of displacement are used, one for all that is above the line between the lips and one for all below. They
agree outside the corners of the mouth, so that only the slit between the lips is ever torn open.
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
"""Part of the gap that the upper lip makes by rising."""
UPPER_FALLS = 0.3
"""Part of the gap of a photo's open mouth that the upper lip closes."""
CORNER_SHARE = 0.32
"""How far the corners follow the lower lip down."""
CHIN_SHARE = 0.85
"""How far the chin follows the lower lip down."""
MEET = 0.6
"""Lips touch from close = this on."""
SHUT_BELOW, OPEN_ABOVE = 0.065, 0.095
"""Mesh gap, interoculars, under which the lips of a photo count as shut, and over which they count as open."""
WIDE_GAP = 0.2
"""In a mouth as open as this, interoculars, the mesh knows too little of where the lips begin."""
LIP_MARGIN = 0.014
"""The lips of an open mouth are taken to begin this far inside the mesh's, interoculars: no tooth sticks to them."""
LIP_MARGIN_SHARE = 0.05
"""The same, as a share of the gap, on top."""
LIP_LINE = 0.022
"""Thickness of the line painted between lips that are shut in the frame but not in the photo, interoculars."""
CORNER_OUT = 0.5
"""Where the lips begin to part: this far from the mesh's inner to its outer corner."""

ROUND_PART = 0.72
"""Share of the lips that parts in a rounded mouth; beside it they stay together."""

WEIGHTS = ("drop", "part", "part_little", "part_round", "shut", "width", "round", "press", "tuck")
"""What the displacements are made of; `lip_weights` says how much of each a pose has."""
TEARING = ("part", "part_little", "part_round", "shut", "round", "press", "tuck")
"""Those in which the two sheets differ."""


class MouthShape:
    """The mouth as it is in the photo, in face coordinates.

    Args:
        image: The photo.
        frame: Of the face.
        landmarks: Face mesh on the canvas, [468, 3].
    """

    def __init__(self, image: Image, frame: FaceFrame, landmarks: FloatArray) -> None:
        def curve(group: Tuple[int, ...]) -> Array:
            return smooth_curve(frame.of(points_of(landmarks, group)))

        self.outer_upper: Array = curve(OUTER_UPPER)
        self.outer_lower: Array = curve(OUTER_LOWER)
        upper, lower = curve(INNER_UPPER), curve(INNER_LOWER)
        # The mesh's inner corners lie inside the real ones, its outer corners outside: lips part in between.
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
        """How far the edges below were moved into the lips, [n, 2]."""
        self.upper: Array = middle + openness * (upper - middle) - self.margin
        """Lower edge of the upper lip, [n, 2], left to right."""
        self.lower: Array = middle + openness * (lower - middle) + self.margin
        """Upper edge of the lower lip, [n, 2], left to right."""
        self.gap = float((self.lower - self.upper - 2 * self.margin)[:, 1].max())
        """Between the lips in the photo, interoculars; 0 for a mouth that counts as shut."""
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
        """u as a fraction of the way from the middle of the mouth to its corner: -1..1 inside."""
        return np.where(u < 0, -u / self.left, u / self.right)

    def bow(self, t: Array, power: float, sharpness: float) -> Array:
        """Shape of the opening: 1 in the middle, 0 at the corners and beyond."""
        return np.clip(1 - np.abs(t) ** power, 0, 1) ** sharpness


def lip_bases(shape: MouthShape, uv: Array) -> Tuple[Array, Array]:
    """Displacement per unit of each of `WEIGHTS`, in face coordinates.

    Args:
        shape: The mouth.
        uv: Where, face coordinates, [..., 2].

    Returns:
        For the upper and for the lower sheet, [len(WEIGHTS), ..., 2].
    """
    u, v = uv[..., 0], uv[..., 1]
    t = shape.along(u)
    out = np.maximum(np.abs(t) - 1, 0)
    above = np.maximum(height_at(u, shape.upper) - v, 0)
    below = np.maximum(v - height_at(u, shape.lower), 0)
    upper_lip = np.maximum(height_at(u, shape.upper) - height_at(u, shape.outer_upper), 0.02)
    lower_lip = np.maximum(height_at(u, shape.outer_lower) - height_at(u, shape.lower), 0.02)
    half = (shape.right - shape.left) / 2

    # How far the pull on a lip reaches: up to the nose, which stays; beside it further up the cheeks.
    to_nose_base = np.maximum(height_at(u, shape.upper) - shape.nose, 0.12)
    to_nose = smoothstep(1 - above / to_nose_base)
    up_cheeks = to_nose_base + np.maximum(0.6 - to_nose_base, 0) * smoothstep((np.abs(t) - 0.5) / 0.6)
    # A jaw swings on its hinges: nothing moves at the ears, most in the middle. Below the chin the throat follows less.
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
    # A wide mouth is shut by the jaw: the lower lip goes up as it is, and the chin with it.
    rise = 1 - UPPER_FALLS
    to_throat = smoothstep(1 - np.maximum(below - lower_lip, 0) / max(0.8 * shape.chin, 2.2 * rise * shape.gap))
    philtrum = np.maximum(height_at(u, shape.outer_upper) - shape.nose, 0.06)
    falls = UPPER_FALLS * photo_gap * smoothstep(1 - np.maximum(above - upper_lip, 0) / philtrum)
    bases["shut"] = split(falls, -rise * photo_gap * to_throat)
    lifted = -0.06 * half * np.minimum(np.abs(t), 1) ** 2 * np.exp(-((out / 0.8) ** 2)) * np.exp(-((v / half) ** 2))
    bases["width"] = both(0.17 * half * corner_pull, lifted)
    # Lips keep their volume: pushed together they grow thicker, pressed thinner.
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
    """How much of each basis a pose has, by name.

    A mouth that is open in the photo is shut first and then opened like any other, but gets its own gap back, bit by
    bit, as part of that: with all of it back at jaw = 1 its own teeth show in full, and nothing jumps on the way.
    """
    closed = pose["close"]
    # Lips that go to meet have met well before they are pressed together.
    wanted = pose["jaw"] * (1 - eased(closed / MEET))
    own = min(1.0, shape.gap / WIDE_OPEN)
    back = min(1.0, wanted * min(1.0, WIDE_OPEN / max(shape.gap, 1e-6)))
    further = max(0.0, wanted - shape.gap / WIDE_OPEN * back)
    rounded = min(1.0, pose["round"])
    wide = eased(further / 0.5)
    return {
        # A jaw that hangs in the photo has less far to go; one that is shut behind a smile has it all before it.
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
    """How far the middle of the lower lip is below where the photo has it, interoculars; lower teeth and tongue too."""
    parted = weights["part"] + weights["part_little"] + weights["part_round"]
    travel = WIDE_OPEN * (1 - UPPER_SHARE)
    opened = travel * (CORNER_SHARE * weights["drop"] + (1 - CORNER_SHARE) * parted)
    return opened - (1 - UPPER_FALLS) * shape.gap * weights["shut"]


class Lips:
    """The two sheets of displacement on a grid, and the edges of the lips under any pose.

    Args:
        frame: Of the face.
        shape: The mouth in the photo.
        grid: Where displacements are wanted.
        brow: Where each node goes with the brows, both sheets alike, canvas pixels, [rows, columns, 2].
    """

    def __init__(self, frame: FaceFrame, shape: MouthShape, grid: Grid, brow: FloatArray) -> None:
        sheets = np.stack([frame.vector(b).astype(np.float32) for b in lip_bases(shape, frame.of(grid.nodes))], 1)
        with_brow = np.concatenate([sheets, np.broadcast_to(brow, (1, *sheets.shape[1:]))])
        self._bases: FloatArray = with_brow.reshape(len(with_brow), -1)
        self._shape = sheets.shape[1:]
        # The edges are moved by what the grid says between its nodes, so that edge and texture stay together.
        self.still: Array = np.stack([frame.canvas(shape.upper), frame.canvas(shape.lower)])
        """Lower edge of the upper lip and upper edge of the lower lip in the photo, canvas pixels, [2, n, 2]."""
        moved = [[grid.sample(sheet, edge) for sheet, edge in zip(basis, self.still)] for basis in sheets]
        self._edge_bases: FloatArray = np.stack(moved).reshape(len(sheets), -1)
        self._down = frame.down

    def displacement(self, weights: FloatArray) -> FloatArray:
        """Upper and lower sheet, where each node goes, relative, [2, rows, columns, 2].

        Args:
            weights: Of each of `WEIGHTS`, and of the brows, [len(WEIGHTS) + 1].
        """
        return weighted(weights, self._bases).reshape(self._shape)

    def edges(self, weights: FloatArray) -> Array:
        """The lips' edges, as `still`, on a still head for weights [len(WEIGHTS)]."""
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
    """The shadow between shut lips as a polygon, thin at its ends, [2 n, 2], around a line [n, 2], canvas pixels."""
    half = 0.5 * LIP_LINE * frame.unit * np.sin(np.linspace(0.15, np.pi - 0.15, len(middle)))[:, None] * frame.down
    return np.concatenate([middle - half, (middle + half)[::-1]])


def below_line(middle: Array, frame: FaceFrame, reach: float) -> Array:
    """A polygon of everything under the line between the lips, carried on level beyond the corners.

    Args:
        middle: The line, canvas pixels, [n, 2], left to right.
        frame: Of the face.
        reach: How far to go on, pixels.
    """
    left, right = middle[0] - frame.right * reach, middle[-1] + frame.right * reach
    deep = frame.down * reach
    corners: List[Array] = [left[None], middle, right[None], (right + deep)[None], (left + deep)[None]]
    return np.concatenate(corners)
