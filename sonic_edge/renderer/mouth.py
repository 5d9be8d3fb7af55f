"""The mouth: how lips, jaw and cheeks move, and what shows between the lips.

Two sheets of displacement are used, one for all that is above the line between the lips and one for all below. They
agree outside the corners of the mouth, so that only the slit between the lips is ever torn open.
"""

from typing import Dict, List, Mapping, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media import FloatArray, Image
from .geometry import (
    CHEEKS,
    CHIN,
    INNER_LOWER,
    INNER_UPPER,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    LEFT_JAW,
    NOSE_BASE,
    OUTER_LOWER,
    OUTER_UPPER,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    RIGHT_JAW,
    Array,
    Box,
    FaceFrame,
    Grid,
    height_at,
    look_up,
    median_colour,
    points_of,
    smooth_curve,
    smoothstep,
    soft_polygon,
)

WIDE_OPEN = 0.33
"""Gap between the lips at jaw = 1, interoculars (the largest in ordinary speech is about .25)."""
UPPER_SHARE = 0.13
"""Part of the gap that the upper lip makes by rising."""
CORNER_SHARE = 0.32
"""How far the corners follow the lower lip down."""
CHIN_SHARE = 0.85
"""How far the chin follows the lower lip down."""
SHUT_BELOW, OPEN_ABOVE = 0.065, 0.095
"""Mesh gap, interoculars, under which the lips of a photo count as shut, and over which they count as open."""
LIP_MARGIN = 0.014
"""The lips of an open mouth are taken to begin this far inside the mesh's, interoculars: no tooth sticks to them."""
LIP_MARGIN_SHARE = 0.05
"""The same, as a share of the gap, on top."""
LIP_LINE = 0.022
"""Thickness of the line painted between lips that are shut in the frame but not in the photo, interoculars."""
CORNER_OUT = 0.5
"""Where the lips begin to part: this far from the mesh's inner to its outer corner."""

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
        openness = float(smoothstep(np.array((widest - SHUT_BELOW) / (OPEN_ABOVE - SHUT_BELOW))))
        middle = (upper + lower) / 2
        middle = middle + (1 - openness) * (lip_line(image, frame, middle) - middle)
        width = LIP_MARGIN * np.sqrt(np.sin(np.linspace(0, np.pi, len(upper)))) + LIP_MARGIN_SHARE * np.maximum(gap, 0)
        self.margin: Array = np.stack([np.zeros_like(width), width], -1) * openness
        """How far the edges below were moved into the lips, [n, 2]."""
        self.upper: Array = middle + openness * (upper - middle) - self.margin
        """Lower edge of the upper lip, [n, 2], left to right."""
        self.lower: Array = middle + openness * (lower - middle) + self.margin
        """Upper edge of the lower lip, [n, 2], left to right."""
        self.gap = float((self.lower[:, 1] - self.upper[:, 1]).max())
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

    def bow(self, t: Array, power: int, sharpness: float) -> Array:
        """Shape of the opening: 1 in the middle, 0 at the corners and beyond."""
        return np.clip(1 - t**power, 0, 1) ** sharpness


def lip_line(image: Image, frame: FaceFrame, guess: Array) -> Array:
    """The dark line between shut lips, looked for near the mesh's.

    The mesh is a few pixels off as often as not, most of all under a moustache. The line is the path along the mouth
    with the least sum of brightness against its surroundings, distance from the guess and steps, found exactly by
    dynamic programming.

    Args:
        image: The photo.
        frame: Of the face.
        guess: The line according to the mesh, face coordinates, [n, 2], left to right.

    Returns:
        The line, face coordinates, [n, 2].
    """
    reach, n_steps = 0.08, 33
    offsets = np.linspace(-reach, reach, n_steps)
    beyond = np.linspace(-2 * reach, 2 * reach, 2 * n_steps - 1)
    uv = np.stack(np.broadcast_arrays(guess[:, None, 0], guess[:, None, 1] + beyond), -1)
    grey = look_up(image, frame.canvas(uv).astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE).mean(-1)
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), sigmaX=1.5, sigmaY=1.0)
    around = cv2.blur(grey, (n_steps, 1))
    here = slice(n_steps // 2, n_steps // 2 + n_steps)
    contrast = (grey - around)[:, here] / max(float(grey.std()), 1.0)
    trust = 0.4 + 0.6 * np.sin(np.linspace(0, np.pi, len(guess)))[:, None]
    cost = contrast * trust + 0.45 * (offsets / reach) ** 2
    step = 25 * ((offsets[:, None] - offsets[None]) / reach) ** 2
    best, came_from = cost[0], []
    for row in cost[1:]:
        total = best[None, :] + step
        came_from.append(total.argmin(1))
        best = total.min(1) + row
    path = [int(best.argmin())]
    for choice in reversed(came_from):
        path.append(int(choice[path[-1]]))
    found = offsets[path[::-1]]
    smooth = np.convolve(np.pad(found, 2, mode="edge"), [0.1, 0.2, 0.4, 0.2, 0.1], mode="valid")
    return np.stack([guess[:, 0], guess[:, 1] + smooth], -1)


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

    # How far the pull on a lip reaches: up to the nose, down to the chin.
    to_nose = smoothstep(1 - above / (0.95 * abs(shape.nose)))
    to_chin = smoothstep(1 - below / (0.8 * shape.chin))
    # A jaw swings on its hinges: nothing moves at the ears, most in the middle. Below the chin the throat follows less.
    side = np.where(u < 0, u / (1.08 * shape.jaw_left), u / (1.08 * shape.jaw_right))
    hinge = smoothstep(1 - np.clip(side, 0, 1) ** 3)
    throat = smoothstep(1 - (v - shape.chin) / (0.9 * shape.chin))
    carried_up = CORNER_SHARE * smoothstep(1 - above / 0.6)
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
    bases["drop"] = both(-0.06 * half * corner_pull, travel * carried)
    for name, bow in (
        ("part", shape.bow(t, 2, 0.8)),
        ("part_little", shape.bow(t, 2, 1.6)),
        ("part_round", shape.bow(t, 4, 0.9)),
    ):
        bases[name] = split(
            -bow * (travel * CORNER_SHARE + WIDE_OPEN * UPPER_SHARE) * to_nose,
            bow * travel * (1 - CORNER_SHARE) * (1 - smoothstep(below / (0.75 * shape.chin))),
        )
    photo_gap = np.maximum(height_at(u, shape.lower) - height_at(u, shape.upper), 0) * (np.abs(t) < 1)
    bases["shut"] = split(0.4 * photo_gap * to_nose, -0.6 * photo_gap * to_chin)
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

    A mouth that is open in the photo first uses the gap it has and is then opened further like any other.
    """
    closed = pose["close"]
    wanted = pose["jaw"] * (1 - closed)
    own = shape.gap / WIDE_OPEN
    further = max(0.0, wanted - own)
    lowered = max(0.0, pose["jaw"] * (1 - 0.6 * closed) - own)
    rounded = min(1.0, pose["round"])
    wide = float(smoothstep(np.array(further / 0.5)))
    return {
        "drop": max(lowered, further),
        "part": further * (1 - rounded) * wide,
        "part_little": further * (1 - rounded) * (1 - wide),
        "part_round": further * rounded,
        "shut": 1 - min(1.0, wanted / own) if own > 0 else 0.0,
        "width": pose["width"],
        "round": pose["round"],
        "press": closed,
        "tuck": pose["tuck"] * (1 - closed),
    }


def lower_lip_drop(weights: Mapping[str, float]) -> float:
    """How far the middle of the lower lip is down, interoculars: lower teeth and tongue go with it."""
    parted = weights["part"] + weights["part_little"] + weights["part_round"]
    travel = WIDE_OPEN * (1 - UPPER_SHARE)
    return travel * (CORNER_SHARE * weights["drop"] + (1 - CORNER_SHARE) * parted)


class Lips:
    """The two sheets of displacement on a grid, and the edges of the lips under any pose.

    Args:
        frame: Of the face.
        shape: The mouth in the photo.
        grid: Where displacements are wanted.
    """

    def __init__(self, frame: FaceFrame, shape: MouthShape, grid: Grid) -> None:
        self._shape = shape
        n = len(WEIGHTS)
        upper, lower = (frame.vector(b).astype(np.float32) for b in lip_bases(shape, frame.of(grid.nodes)))
        self._upper, self._lower = upper.reshape(n, -1), lower.reshape(n, -1)
        self._field_shape = grid.nodes.shape
        # The edges are moved by what the grid says between its nodes, so that edge and texture stay together.
        self.upper_edge, self.lower_edge = frame.canvas(shape.upper), frame.canvas(shape.lower)
        self._upper_edge = self._at(grid, upper, self.upper_edge)
        self._lower_edge = self._at(grid, lower, self.lower_edge)
        self._down = frame.down

    @staticmethod
    def _at(grid: Grid, bases: FloatArray, points: Array) -> FloatArray:
        return np.stack([grid.sample(basis, points[None])[0] for basis in bases])

    def displacement(self, weights: FloatArray) -> Tuple[FloatArray, FloatArray]:
        """Upper and lower sheet for weights [len(WEIGHTS)]: where each node goes, relative, [rows, columns, 2]."""
        return (weights @ self._upper).reshape(self._field_shape), (weights @ self._lower).reshape(self._field_shape)

    def edges(self, weights: FloatArray) -> Tuple[Array, Array]:
        """Lower edge of the upper lip and upper edge of the lower lip on a still head, canvas pixels, [n, 2] each."""
        upper = self.upper_edge + np.tensordot(weights, self._upper_edge, 1)
        lower = self.lower_edge + np.tensordot(weights, self._lower_edge, 1)
        # Lips cannot pass through each other.
        overlap = np.minimum((lower - upper) @ self._down, 0)[:, None] * self._down
        return upper + overlap / 2, lower - overlap / 2


class MouthInterior:
    """What is behind the lips, painted once in face coordinates and in the colours of the photo.

    Upper teeth (and the photo's own, if they show) are fixed to the skull, lower teeth and tongue to the jaw.

    Args:
        image: The photo.
        frame: Of the face.
        landmarks: Face mesh on the canvas, [468, 3].
        shape: The mouth in the photo.
        softness: Of edges in the photo, pixels.
    """

    U, V = (-0.8, 0.8), (-0.5, 0.75)
    """What is painted, face coordinates."""
    TEETH = (0.0, 0.134, 0.236, 0.325, 0.392, 0.44)
    """Edges of the upper teeth from the middle outwards as seen from the front, for a mouth .37 interoculars wide."""

    def __init__(
        self, image: Image, frame: FaceFrame, landmarks: FloatArray, shape: MouthShape, softness: float
    ) -> None:
        self._scale = min(frame.unit, 240.0)
        self._blur = max(0.5, softness * self._scale / frame.unit)
        ways = frame.right * self._scale / frame.unit, frame.down * self._scale / frame.unit
        start = np.array([self.U[0], self.V[0]]) * self._scale
        matrix = np.array([[*way, -(way @ frame.origin) - s - 0.5] for way, s in zip(ways, start)])
        self.to_painting: FloatArray = matrix.astype(np.float32)
        """Canvas position to position in the painting, [2, 3]."""
        self.jaw_direction: FloatArray = (frame.down * self._scale).astype(np.float32)
        width, height = (int(np.ceil((b - a) * self._scale)) for a, b in (self.U, self.V))
        u = (self.U[0] + (np.arange(width) + 1.0) / self._scale)[None, :]
        v = (self.V[0] + (np.arange(height) + 1.0) / self._scale)[:, None]
        self._palette(image, frame, landmarks)
        stretch = max(-shape.left, shape.right) / 0.37
        line = float(height_at(np.zeros(1), shape.upper)[0])
        low = float(height_at(np.zeros(1), shape.lower)[0])
        self.skull = self._upper_teeth(u, v, line, stretch)
        """Upper teeth: BGR and how solid, [height, width, 4] uint8."""
        self.jaw = self._tongue_and_lower_teeth(u, v, low, stretch)
        """Tongue and lower teeth: BGR and how solid, [height, width, 4] uint8."""
        self.own = self._own_teeth(image, frame, shape, (width, height)) if shape.gap > 0 else None
        """What the photo itself shows between open lips: BGR and how solid; None for a shut mouth."""

    def _palette(self, image: Image, frame: FaceFrame, landmarks: FloatArray) -> None:
        """Colours taken from lips, cheeks and eyes, so that a grey photo gets a grey mouth."""
        canvas = Box(0, 0, image.shape[1], image.shape[0])
        mask = np.zeros(image.shape[:2], np.uint8)

        def fill(*groups: Tuple[int, ...]) -> None:
            outline = np.concatenate([points_of(landmarks, g)[:: 1 - 2 * (i % 2)] for i, g in enumerate(groups)])
            cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)

        box = Box.around(landmarks[:, :2].astype(np.float64), 1).within(canvas)
        face = image[box.rows, box.columns]
        for point in points_of(landmarks, CHEEKS):
            cv2.circle(mask, tuple(np.round(point).astype(int).tolist()), max(1, int(frame.unit * 0.09)), 255, -1)
        skin = median_colour(face, mask[box.rows, box.columns], (150.0, 150.0, 150.0))
        mask[:] = 0
        fill(OUTER_UPPER, INNER_UPPER)
        fill(OUTER_LOWER, INNER_LOWER)
        lip = median_colour(face, mask[box.rows, box.columns], (float(skin[0]), float(skin[1]), float(skin[2])))
        mask[:] = 0
        fill(LEFT_EYE_UPPER, LEFT_EYE_LOWER)
        fill(RIGHT_EYE_UPPER, RIGHT_EYE_LOWER)
        eyes = face[mask[box.rows, box.columns] > 0]
        white = float(np.quantile(eyes.mean(1), 0.85)) if len(eyes) else 0.0

        grey = np.full(3, skin.mean())
        brightness = float(np.clip(max(1.02 * skin.mean(), white), 80, 205))
        self.tooth: Array = (grey + 0.38 * (skin - grey)) * (brightness / max(skin.mean(), 1.0))
        flesh = lip + 0.7 * (lip - lip.mean())
        self.flesh: Array = np.clip(flesh, 0.35 * lip.mean(), 255) * min(1.0, 0.8 * skin.mean() / max(lip.mean(), 1.0))
        """Of the tongue in full light."""
        # What light there is in a mouth has been thrown back by flesh: shadows are warm where the flesh is.
        self._shadow: FloatArray = (1 + 0.7 * (1 - self.flesh / max(self.flesh.max(), 1.0))).astype(np.float32)
        self.dark: Array = self.flesh * 0.17
        self.line: FloatArray = (lip * 0.45).astype(np.float32)
        """Of the shadow between shut lips."""

    def _painted(self, colour: Array, solid: Array) -> NDArray[np.uint8]:
        layers = np.dstack([colour * solid[..., None], solid * 255])
        soft = cv2.GaussianBlur(layers.astype(np.float32), (0, 0), self._blur)
        painted: NDArray[np.uint8] = np.clip(np.round(soft), 0, 255).astype(np.uint8)
        return painted

    def _upper_teeth(self, u: Array, v: Array, line: float, stretch: float) -> NDArray[np.uint8]:
        bounds = np.array(self.TEETH) * stretch
        reach = np.abs(u)
        nearest = np.abs(reach[..., None] - bounds).min(-1)
        number = np.clip(np.searchsorted(bounds, reach, side="right") - 1, 0, len(bounds) - 1)
        shorter = np.array([0.0, 0.012, 0.004, 0.018, 0.022, 0.03])[number]
        edge = line + 0.032 - shorter - 0.10 * reach**2 - 0.014 * np.exp(-((nearest / 0.016) ** 2))
        crown = smoothstep((edge - v) / 0.012 + 0.5) * smoothstep((bounds[-1] - reach) / 0.03)
        gum = smoothstep((edge - 0.15 - v) / 0.03)
        # Round in plan and in profile: darker towards the sides of the arch, at the gaps and near the gum.
        round_arch = np.clip(1 - 0.85 * (reach / bounds[-1]) ** 2, 0, 1)
        round_tooth = 1 - 0.28 * np.exp(-((nearest / 0.010) ** 2)) - 0.10 * np.exp(-((nearest / 0.035) ** 2))
        profile = 0.86 + 0.14 * smoothstep((edge - v) / 0.07) - 0.22 * smoothstep((edge - 0.07 - v) / 0.1)
        light = (round_arch * round_tooth * profile)[..., None]
        colour = self.tooth * light * (1 - gum[..., None]) + self.flesh * 0.8 * round_arch[..., None] * gum[..., None]
        return self._painted(colour, crown)

    def _tongue_and_lower_teeth(self, u: Array, v: Array, line: float, stretch: float) -> NDArray[np.uint8]:
        reach = np.abs(u) / stretch
        body = np.sqrt((reach / 0.27) ** 2 + ((v - line - 0.03) / 0.115) ** 2)
        tongue = smoothstep((1.1 - body) / 0.3)
        furrow = 1 - 0.15 * np.exp(-((reach / 0.02) ** 2))
        tongue_light = (0.45 + 0.4 * smoothstep((v - line + 0.10) / 0.12)) * furrow
        bounds = np.array([0.0, 0.085, 0.17, 0.25, 0.32])
        nearest = np.abs(reach[..., None] - bounds).min(-1)
        edge = line - 0.002 + 0.25 * reach**2 + 0.006 * np.exp(-((nearest / 0.012) ** 2))
        crown = smoothstep((v - edge) / 0.012 + 0.5) * smoothstep((0.30 - reach) / 0.06)
        tooth_light = 0.42 * np.clip(1 - (reach / 0.36) ** 2, 0, 1) * (1 - 0.3 * np.exp(-((nearest / 0.009) ** 2)))
        colour = self.flesh * tongue_light[..., None] * (1 - crown[..., None])
        colour = colour + self.tooth * tooth_light[..., None] * crown[..., None]
        return self._painted(colour, np.maximum(tongue, crown))

    def _own_teeth(self, image: Image, frame: FaceFrame, shape: MouthShape, size: Tuple[int, int]) -> NDArray[np.uint8]:
        photo = cv2.warpAffine(image, self.to_painting, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        # The mesh's own edges: what lies between them and where the lips were cut is lip.
        outline = frame.canvas(np.concatenate([shape.upper + shape.margin, (shape.lower - shape.margin)[::-1]]))
        placed = outline @ self.to_painting[:, :2].T.astype(np.float64) + self.to_painting[:, 2]
        solid = soft_polygon(placed, Box(0, 0, *size), 0.0)
        solid = cv2.GaussianBlur(solid, (0, 0), 1.5 * self._blur)  # type: ignore[assignment]
        layers = np.dstack([photo.astype(np.float32) * solid[..., None], solid * 255])
        painted: NDArray[np.uint8] = np.clip(np.round(layers), 0, 255).astype(np.uint8)
        return painted

    def draw(self, positions: FloatArray, jaw_drop: float, light: FloatArray, daylight: float) -> FloatArray:
        """The inside of the mouth.

        Args:
            positions: Where in the photo each pixel comes from on the skull, canvas pixels, [height, width, 2].
            jaw_drop: How far the lower jaw is down, interoculars.
            light: How much light reaches each pixel, 0..1, [height, width].
            daylight: How far the photo's own lighting of its own teeth is kept, 0..1.

        Returns:
            BGR, 0..255, [height, width, 3].
        """
        skull: FloatArray = cv2.transform(positions, self.to_painting).astype(np.float32, copy=False)
        jaw = skull - np.array([0.0, jaw_drop * self._scale], np.float32)
        lit = light[..., None] ** self._shadow
        colour = self.dark.astype(np.float32) * (0.35 + 0.65 * lit)
        for painting, where in ((self.jaw, jaw), (self.skull, skull)):
            layer = look_up(painting, where, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT).astype(np.float32)
            colour = colour * (1 - layer[..., 3:] * np.float32(1 / 255)) + layer[..., :3] * lit
        if self.own is not None:
            layer = look_up(self.own, skull, cv2.INTER_CUBIC, cv2.BORDER_CONSTANT).astype(np.float32)
            kept = lit + (1 - lit) * np.float32(daylight)
            colour = colour * (1 - layer[..., 3:] * np.float32(1 / 255)) + layer[..., :3] * kept
        painted: FloatArray = colour.astype(np.float32, copy=False)
        return painted


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
