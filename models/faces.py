"""Faces with known answers for the face branch: drawn ones, and deformed public-domain photographs.

No corpus of faces with a clean licence exists to train on. So faces are drawn with every answer chosen beforehand, and
the two portraits that well-known packages carry (Grace Hopper, public domain, matplotlib's wheel; the astronaut Eileen
Collins, NASA, scikit-image's wheel) are warped: mouth opened, widened, lids lowered, head turned. It is modest: expect
the branch to read an opening or a turned head, not a smile's nuance.

Every picture is aligned as the runtime aligns: eye centres at (0.34, 0.40) and (0.66, 0.40) of a 224 square.
"""

import io
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import List, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models import BUILD

Picture = NDArray[np.float32]

SIZE = 224
EYES = np.array([[0.34, 0.40], [0.66, 0.40]], np.float32) * SIZE
EYE_DISTANCE = float(EYES[1, 0] - EYES[0, 0])


@dataclass(frozen=True)
class Answers:
    """Rest state of a face. Lengths in interocular distances."""

    mouth_opening: float
    """Gap between the inner lips, 0 (shut) .. 0.5."""
    mouth_width: float
    """Corner to corner, about 0.6 .. 1.1."""
    teeth: float
    """Share of the opening that shows teeth, 0..1."""
    eye_opening: float
    """Gap between the lids, 0 (closed) .. 0.25."""
    yaw: float
    """Turn of the head, radians, positive towards the image's right."""
    pitch: float
    """Nod, radians, positive down."""

    def vector(self) -> NDArray[np.float32]:
        """[6], in the order of the fields: the model's `face` output."""
        return np.array(astuple(self), np.float32)


@dataclass(frozen=True)
class Photo:
    """A public-domain portrait inside a package's wheel, and where its features are (pixels of the file)."""

    package: str
    member: str
    eyes: Tuple[Tuple[float, float], Tuple[float, float]]
    mouth: Tuple[float, float]
    """Middle of the lip line."""
    answers: Answers


def draw(rng: np.random.Generator) -> Tuple[Picture, Answers]:
    """A drawn face, [224, 224, 3] RGB 0..1, and its answers."""
    shut = rng.random() < 0.45
    a = Answers(
        mouth_opening=float(rng.uniform(0, 0.02) if shut else rng.uniform(0.02, 0.45)),
        mouth_width=float(rng.uniform(0.6, 1.1)),
        teeth=float(0.0 if shut else rng.choice([0.0, rng.uniform(0.2, 1.0)])),
        eye_opening=float(rng.uniform(0, 0.02) if rng.random() < 0.12 else rng.uniform(0.06, 0.24)),
        yaw=float(np.clip(rng.normal(0, 0.25), -0.6, 0.6)),
        pitch=float(np.clip(rng.normal(0, 0.15), -0.4, 0.4)),
    )
    unit, scale = EYE_DISTANCE, 2  # drawn twice as large and shrunk: soft edges
    skin = np.array(rng.choice([[235, 200, 175], [205, 160, 130], [150, 105, 80], [95, 65, 50]]), float)
    skin = skin * rng.uniform(0.75, 1.1) + rng.normal(0, 8, 3)
    picture = np.full((SIZE * scale, SIZE * scale, 3), rng.uniform(20, 230, 3), np.float32)

    def ellipse(x: float, y: float, w: float, h: float, colour: NDArray[np.float64], angle: float = 0.0) -> None:
        """Centre in 224 pixels, half axes in interocular distances."""
        centre = (int(x * scale * 8), int(y * scale * 8))
        axes = (max(1, int(w * unit * scale * 8)), max(1, int(h * unit * scale * 8)))
        cv2.ellipse(picture, centre, axes, angle, 0, 360, colour.tolist(), -1, cv2.LINE_AA, 3)  # 3 bits of fraction

    turn, nod = np.sin(a.yaw), np.sin(a.pitch)
    middle_x, eye_y = EYES[:, 0].mean() + 0.10 * turn * unit, EYES[0, 1]
    hair = rng.uniform(10, 200) * np.array([1.0, rng.uniform(0.7, 1), rng.uniform(0.5, 1)])
    face_x, face_y = middle_x - 0.30 * turn * unit, eye_y + (0.55 - 0.1 * nod) * unit
    if rng.random() < 0.85:
        ellipse(face_x, face_y - 0.5 * unit, rng.uniform(1.15, 1.5), rng.uniform(1.2, 1.6), hair)
    face_w, face_h = rng.uniform(0.95, 1.15), rng.uniform(1.35, 1.6)
    ellipse(face_x, face_y, face_w, face_h, skin)
    if rng.random() < 0.8:
        ellipse(face_x, face_y - face_h * unit * 0.95, face_w, rng.uniform(0.25, 0.55), hair)
    shade = skin * rng.uniform(0.7, 0.9)
    for side in (0, 1):
        x = EYES[side, 0] + 0.05 * turn * unit
        eye_w = rng.uniform(0.2, 0.26) * (1 - 0.3 * abs(turn) * (side == (turn > 0)))
        ellipse(x, eye_y, eye_w * 1.25, max(0.14, a.eye_opening), shade)
        ellipse(x, eye_y, eye_w, a.eye_opening / 2 + 0.03, skin * 0.45)
        if a.eye_opening > 0.03:
            ellipse(x, eye_y + 0.01 * unit, eye_w * 0.95, a.eye_opening / 2, np.full(3, rng.uniform(190, 245)))
            ellipse(
                x + turn * 0.06 * unit,
                eye_y,
                min(0.10, eye_w),
                min(0.10, a.eye_opening / 2),
                np.full(3, rng.uniform(10, 70)),
            )
        brow_y = eye_y - (0.28 + a.eye_opening * 0.4 - 0.12 * nod) * unit
        ellipse(x, brow_y, 0.28, rng.uniform(0.03, 0.07), hair * 0.7, float(rng.normal(0, 6)))
    nose_x, nose_y = middle_x + 0.35 * turn * unit, eye_y + (0.62 + 0.45 * nod) * unit
    ellipse(nose_x - 0.03 * unit, nose_y - 0.25 * unit, 0.07, 0.3, skin * rng.uniform(0.95, 1.12))
    ellipse(nose_x, nose_y, 0.19, 0.09, shade)
    for side in (-1, 1):
        ellipse(nose_x + side * 0.09 * unit, nose_y + 0.04 * unit, 0.04, 0.025, skin * 0.4)
    mouth_x, mouth_y = middle_x + 0.18 * turn * unit, eye_y + (rng.uniform(1.0, 1.15) + 0.25 * nod) * unit
    lips = skin * np.array([rng.uniform(0.75, 1.0), rng.uniform(0.5, 0.8), rng.uniform(0.5, 0.8)])
    half_w, half_h = a.mouth_width * np.cos(a.yaw) / 2, a.mouth_opening / 2
    thick = rng.uniform(0.06, 0.14)
    ellipse(mouth_x, mouth_y, half_w, half_h + thick, lips)
    ellipse(mouth_x, mouth_y, half_w * 0.93, max(half_h, 0.008), np.array([60.0, 25.0, 25.0]) * rng.uniform(0.3, 1.2))
    if a.teeth > 0 and half_h > 0.015:
        bottom = mouth_y + (2 * a.teeth - 1) * half_h * unit
        ellipse(
            mouth_x,
            (mouth_y - half_h * unit + bottom) / 2,
            half_w * 0.75,
            half_h * a.teeth * 0.95,
            np.full(3, rng.uniform(170, 240)),
        )
    small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return small / 255, a


PHOTOS: List[Photo] = [
    Photo(
        "matplotlib==3.10.0", "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        eyes=((219.4, 192.6), (307.3, 189.2)), mouth=(268.4, 277.4), answers=Answers(0.0, 0.83, 0.0, 0.12, 0.0, 0.0),
    ),
    Photo(
        "scikit-image==0.25.2", "skimage/data/astronaut.png",
        eyes=((203.6, 102.4), (247.0, 104.8)), mouth=(222.4, 149.0), answers=Answers(0.17, 1.05, 1.0, 0.16, 0.0, 0.0),
    ),
]  # fmt: skip
"""Positions and answers read once with the face-mesh landmarks and checked by eye."""


def _member(package: str, member: str) -> bytes:
    """One file out of a package's wheel, fetched by pip once and kept in build/."""
    kept = BUILD / Path(member).name
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "-q",
                "-d",
                folder,
                package,
            ]
            subprocess.run(command, check=True)
            wheel = next(Path(folder).glob("*.whl"))
            kept.write_bytes(zipfile.ZipFile(io.BytesIO(wheel.read_bytes())).read(member))
    return kept.read_bytes()


@lru_cache(maxsize=4)
def _aligned(photo: Photo) -> Tuple[Picture, Tuple[float, float]]:
    """The photo aligned with a wide margin [448, 448, 3], and its mouth there; the face is the middle 224 square."""
    image = cv2.imdecode(np.frombuffer(_member(photo.package, photo.member), np.uint8), cv2.IMREAD_COLOR)
    (x0, y0), (x1, y1) = photo.eyes
    along = np.array([x1 - x0, y1 - y0]) / EYE_DISTANCE  # one output pixel to the right, in the file's pixels
    matrix = np.array([[along[0], -along[1], 0], [along[1], along[0], 0]])
    matrix[:, 2] = np.array([x0, y0]) - matrix[:, :2] @ (EYES[0] + SIZE / 2)
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    big = cv2.warpAffine(image, matrix, (2 * SIZE, 2 * SIZE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mouth = np.linalg.inv(matrix[:, :2]) @ (np.array(photo.mouth) - matrix[:, 2])
    return big[:, :, ::-1].astype(np.float32) / 255, (float(mouth[0]) - SIZE / 2, float(mouth[1]) - SIZE / 2)


def deform(photo: Photo, rng: np.random.Generator) -> Tuple[Picture, Answers]:
    """A photo with its mouth, lids and pose changed by known amounts, [224, 224, 3], and its answers."""
    big, (mouth_x, mouth_y) = _aligned(photo)
    was, unit = photo.answers, EYE_DISTANCE
    opened = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.02, 0.35))
    spread = float(rng.uniform(0.85, 1.15))
    lids = float(rng.choice([1.0, rng.uniform(0.0, 1.0)]))
    yaw, pitch = float(np.clip(rng.normal(0, 0.2), -0.5, 0.5)), float(np.clip(rng.normal(0, 0.12), -0.3, 0.3))
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)

    # what is below the lip line moves down, less and less away from the mouth: a dark gap is left to paint
    half_w = was.mouth_width * spread * unit / 2
    across = np.sqrt(np.clip(1 - ((x - mouth_x) / half_w) ** 2, 0, 1))  # shape of the gap
    gap = opened * unit * across
    near = np.exp(-(((x - mouth_x) / (1.3 * half_w)) ** 2))
    below = y - mouth_y
    move = opened * unit * near * np.clip(1 - (below - opened * unit) / (0.9 * unit), 0, 1)
    shift_y = np.where(below > 0, np.maximum(np.minimum(move, below), 0), 0)
    from_x = mouth_x + (x - mouth_x) * (
        1 + (1 / spread - 1) * np.exp(-(((x - mouth_x) / unit) ** 2 + (below / (0.5 * unit)) ** 2))
    )
    from_y = y - shift_y
    # lids: the eye's rows are pressed together, the lid above is stretched over them
    for eye_x, eye_y in EYES:
        local = np.exp(-((((x - eye_x) / (0.33 * unit)) ** 2) ** 2))
        rows = (y - eye_y) / unit
        squeeze = 1 + (1 / max(lids, 0.15) - 1) * local * np.exp(-((rows / 0.09) ** 2))
        from_y = from_y + (eye_y - 0.02 * unit + (y - eye_y) * squeeze - y) * local * np.exp(-((rows / 0.16) ** 2)) * (
            lids < 1
        )
    # turning: what stands out (the nose) moves along, the far side of the face is foreshortened
    depth = np.exp(-(((x - SIZE / 2) / (0.75 * unit)) ** 2 + ((y - EYES[0, 1] - 0.55 * unit) / (0.9 * unit)) ** 2))
    eyes_depth = np.exp(-((0.5 / 0.75) ** 2 + (0.55 / 0.9) ** 2))
    from_x = from_x - np.sin(yaw) * 0.45 * unit * (depth - eyes_depth)
    from_y = from_y - np.sin(pitch) * 0.35 * unit * (depth - eyes_depth)
    picture = cv2.remap(big, from_x + SIZE / 2, from_y + SIZE / 2, cv2.INTER_LINEAR)

    teeth = 0.0
    inside = (below > 0) & (below < gap * 0.98)
    if opened > 0:
        cavity = np.array([0.22, 0.09, 0.09]) * rng.uniform(0.3, 1.3)
        mask = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.8)[:, :, None]
        picture = picture * (1 - mask) + cavity.astype(np.float32) * mask
        if rng.random() < 0.5:
            teeth = float(rng.uniform(0.2, 0.8))
            shown = (inside & (below < teeth * gap) & (across > 0.5)).astype(np.float32)
            mask = cv2.GaussianBlur(shown, (0, 0), 0.8)[:, :, None]
            picture = picture * (1 - mask) + np.float32(rng.uniform(0.65, 0.95)) * mask
    total = was.mouth_opening + opened
    answers = Answers(
        mouth_opening=total,
        mouth_width=was.mouth_width * spread,
        teeth=(was.teeth * was.mouth_opening + teeth * opened) / max(total, 1e-6),
        eye_opening=was.eye_opening * lids,
        yaw=was.yaw + yaw,
        pitch=was.pitch + pitch,
    )
    return np.clip(picture, 0, 1).astype(np.float32), answers


def photograph(picture: Picture, answers: Answers, rng: np.random.Generator) -> Tuple[Picture, Answers]:
    """The same face in grey, under another light and camera, slightly misaligned, perhaps mirrored.

    Grey because the branch sees only grey; the mix of the colours varies, as films and white balances do.

    Returns:
        [224, 224] 0..1 and the answers, which mirroring changes.
    """
    mix = rng.dirichlet([8, 8, 8]).astype(np.float32)
    grey = picture @ mix
    if rng.random() < 0.5:
        grey = grey[:, ::-1]
        answers = Answers(*astuple(answers)[:4], yaw=-answers.yaw, pitch=answers.pitch)
    matrix = cv2.getRotationMatrix2D((SIZE / 2, float(EYES[0, 1])), rng.normal(0, 2), rng.normal(1, 0.03))
    matrix[:, 2] += rng.normal(0, 2, 2)
    grey = cv2.warpAffine(np.ascontiguousarray(grey), matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    light = cv2.resize(rng.normal(1, 0.18, (3, 3)).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    grey = np.clip(grey * light * np.float32(rng.uniform(0.5, 1.3)), 0, 1) ** np.float32(rng.uniform(0.6, 1.6))
    if rng.random() < 0.5:
        grey = cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.5, 2.0))
    noise = cv2.resize(rng.standard_normal((112, 112), np.float32), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    return np.clip(grey + np.float32(rng.uniform(0, 0.04)) * noise, 0, 1), answers


def face(rng: np.random.Generator) -> Tuple[Picture, NDArray[np.float32]]:
    """One training example: grey picture [1, 224, 224], answers [6]."""
    drawn = rng.random() < 0.5
    picture, answers = draw(rng) if drawn else deform(PHOTOS[int(rng.integers(len(PHOTOS)))], rng)
    grey, answers = photograph(picture, answers, rng)
    return grey[None], answers.vector()
