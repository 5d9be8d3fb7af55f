"""A drawn face, where the right answer is known, and where to look in pictures of it."""

import math
from typing import Tuple

import cv2
import numpy as np

from sonic_edge.engine.renderer import geometry as g
from sonic_edge.engine.renderer.eyes import EYES
from sonic_edge.media import N_LANDMARKS, Portrait

Colour = Tuple[int, int, int]

SKIN, LIP, TEETH, WHITE, IRIS, HAIR, WALL, SHIRT = (
    (140, 170, 220),
    (90, 90, 190),
    (250, 252, 255),
    (235, 235, 235),
    (200, 90, 20),
    (30, 40, 50),
    (180, 190, 120),
    (130, 60, 60),
)
WALL_MEAN = (200, 210, 140)
"""The wall has spots, 20 lighter and darker."""
DARK_SKIN, DARK_LIP = (45, 60, 90), (50, 50, 95)
EYE_AT = ((-0.5, -1.1), (0.5, -1.1))
IRIS_RADIUS = 0.06
OVAL_CENTRE, OVAL_HALF = np.array([0.0, -0.75]), np.array([1.0, 1.45])
HAIR_CENTRE, HAIR_HALF = OVAL_CENTRE - (0, 0.25), OVAL_HALF * (1.15, 1.12)

EVERYTHING = {
    "jaw": 0.6,
    "width": 0.4,
    "round": 0.3,
    "close": 0.1,
    "tuck": 0.2,
    "tongue": 0.4,
    "blink": 0.6,
    "brow": 0.7,
    "gaze_x": 0.4,
    "gaze_y": -0.3,
    "yaw": 0.12,
    "pitch": 0.08,
    "roll": -0.06,
    "tx": 0.08,
    "ty": 0.05,
}
"""A pose with something of every channel."""


def mesh(gap: float = 0.0) -> np.ndarray:
    """Mesh points in face coordinates (eyes one apart, origin between the lips), [468, 3]."""
    k = np.arange(N_LANDMARKS)
    radius, angle = np.sqrt((k + 0.5) / N_LANDMARKS) * 0.97, k * 2.399963
    uv = OVAL_CENTRE + OVAL_HALF * np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)

    def put(group: Tuple[int, ...], u: np.ndarray, v: np.ndarray) -> None:
        uv[list(group)] = np.stack(np.broadcast_arrays(u, v), -1)

    t, bow = np.linspace(-1, 1, 11), 1 - np.linspace(-1, 1, 11) ** 2
    put(g.OUTER_UPPER, 0.38 * t, -0.10 * bow - gap / 2 * bow)
    put(g.OUTER_LOWER, 0.38 * t, 0.14 * bow + gap / 2 * bow)
    put(g.INNER_UPPER, 0.36 * t, -gap / 2 * bow)
    put(g.INNER_LOWER, 0.36 * t, gap / 2 * bow)
    s, lid = np.linspace(-1, 1, 9), 1 - np.linspace(-1, 1, 9) ** 2
    for (u, v), (upper, lower, brow) in zip(EYE_AT, EYES):
        put(upper, u + 0.2 * s, v - 0.08 * lid)
        put(lower, u + 0.2 * s, v + 0.06 * lid)
        put(brow, u + 0.25 * np.linspace(-1, 1, 5), np.array(v - 0.34))
    around = 2 * np.pi * np.arange(len(g.OVAL)) / len(g.OVAL)
    put(g.OVAL, OVAL_HALF[0] * np.sin(around), OVAL_CENTRE[1] - OVAL_HALF[1] * np.cos(around))
    put((g.NOSE_BASE,), np.array(0.0), np.array(-0.33))
    put(g.CHEEKS, np.array([-0.6, 0.6, -0.5, 0.5, -0.45, 0.45]), np.array([-0.5, -0.5, -0.35, -0.35, -0.6, -0.6]))
    distance = np.minimum(((uv - OVAL_CENTRE) ** 2 / OVAL_HALF**2).sum(1), 1)
    return np.c_[uv, 1.0 - 1.5 * np.sqrt(1 - distance)]


def drawn(
    size: Tuple[int, int] = (400, 480),
    unit: float = 80.0,
    at: Tuple[float, float] = (200.0, 330.0),
    tilt: float = 0.0,
    gap: float = 0.0,
    skin: Colour = SKIN,
    lip: Colour = LIP,
    irises: bool = False,
    looks: float = 0.0,
    matte: bool = False,
    pattern: int = 40,
) -> Portrait:
    """A face drawn with its mouth at a point of a canvas (width, height), turned clockwise by `tilt` radians.

    Args:
        irises: Say where they are.
        looks: How far they are to the right of the middle of the eye, interoculars.
        matte: Draw shoulders, and say where the person is, to the pixel.
        pattern: How much the wall varies, grey levels.
    """
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    points = mesh(gap)

    def place(uv: np.ndarray) -> np.ndarray:
        return np.asarray(uv, float) @ turn * unit + at

    image = np.full((size[1], size[0], 3), WALL, np.uint8)
    rng = np.random.default_rng(1)
    spots = rng.integers(20 - pattern // 2, 20 + pattern // 2, (30, 30, 3), np.uint8)
    image += cv2.resize(spots, size, interpolation=cv2.INTER_CUBIC)
    person = np.zeros((size[1], size[0]), np.uint8)

    def fill(uv: np.ndarray, colour: Colour) -> None:
        corners = [np.round(place(uv) * 16).astype(np.int32)]
        cv2.fillPoly(image, corners, colour, cv2.LINE_AA, 4)
        cv2.fillPoly(person, corners, (255,), cv2.LINE_AA, 4)

    def ellipse(centre: np.ndarray, half: np.ndarray, colour: Colour) -> None:
        a = np.linspace(0, 2 * np.pi, 80)
        fill(centre + half * np.stack([np.cos(a), np.sin(a)], -1), colour)

    if matte:
        ellipse(np.array([0.0, 2.4]), np.array([2.2, 1.4]), SHIRT)
        fill(np.array([[-0.45, 0.2], [0.45, 0.2], [0.5, 1.3], [-0.5, 1.3]]), skin)
    ellipse(HAIR_CENTRE, HAIR_HALF, HAIR)
    ellipse(OVAL_CENTRE, OVAL_HALF, skin)
    ring = np.concatenate([points[list(g.OUTER_UPPER), :2], points[list(g.OUTER_LOWER), :2][::-1]])
    fill(ring, lip)
    if gap:
        fill(np.concatenate([points[list(g.INNER_UPPER), :2], points[list(g.INNER_LOWER), :2][::-1]]), TEETH)
    for centre, (upper, lower, brow) in zip(np.array(EYE_AT), EYES):
        opening = np.concatenate([points[list(upper), :2], points[list(lower), :2][::-1]])
        fill(opening, WHITE)
        ellipse(centre + np.array([looks, 0]), np.array([IRIS_RADIUS, IRIS_RADIUS]), IRIS)
        line = points[list(brow), :2]
        thick = np.array([0.0, 0.03])
        fill(np.concatenate([line - thick, (line + thick)[::-1]]), HAIR)
    landmarks = np.c_[place(points[:, :2]), points[:, 2] * unit].astype(np.float32)
    known = np.c_[place(np.array(EYE_AT) + np.array([looks, 0])), np.full(2, IRIS_RADIUS * unit)].astype(np.float32)
    return Portrait(image, landmarks, known if irises else None, person if matte else None)


def near(image: np.ndarray, colour: Colour, within: int = 40) -> np.ndarray:
    """Where a picture has about a colour."""
    return np.abs(image.astype(int) - colour).max(-1) < within


def region(portrait: Portrait, u: Tuple[float, float], v: Tuple[float, float]) -> Tuple[slice, slice]:
    """Rows and columns of a rectangle in face coordinates; the face upright."""
    corners = g.FaceFrame(portrait.landmarks).canvas(np.array([[u[0], v[0]], [u[1], v[1]]]))
    left, top, right, bottom = (int(x) for x in np.rint(corners).ravel())
    return slice(top, bottom), slice(left, right)


def ellipse_of(portrait: Portrait, centre: np.ndarray, half: np.ndarray, grow: float = 0.0) -> np.ndarray:
    """The inside of an ellipse in face coordinates, [height, width] bool; `grow` in interoculars."""
    height, width = portrait.image.shape[:2]
    xy = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    offset = (g.FaceFrame(portrait.landmarks).of(xy) - centre) / (half + grow)
    return np.hypot(offset[..., 0], offset[..., 1]) < 1


def mouth_part(portrait: Portrait, image: np.ndarray) -> np.ndarray:
    box = g.Box.around(portrait.landmarks[list(g.OUTER_UPPER + g.OUTER_LOWER), :2].astype(float), 2.0)
    return image[box.top : box.bottom + int(0.4 * portrait.interocular), box.left : box.right]


def opening(portrait: Portrait, image: np.ndarray) -> float:
    """Height of what is neither lip nor skin in the middle of the mouth, interoculars."""
    x, y = portrait.landmarks[13, :2]
    unit = portrait.interocular
    column = image[int(y - 0.25 * unit) : int(y + 0.6 * unit), round(float(x))]
    flesh = near(column, LIP, 30) | near(column, SKIN, 45)
    between = np.abs(column.astype(int) - LIP).sum(-1) + np.abs(column.astype(int) - SKIN).sum(-1)
    blend = between < np.abs(np.array(LIP) - SKIN).sum() + 40
    return float((~(flesh | blend)).sum()) / unit


def grey_of(image: np.ndarray) -> np.ndarray:
    """The picture without colour, still of three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
