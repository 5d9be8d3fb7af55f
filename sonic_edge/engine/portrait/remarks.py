"""Remarks about what will be hard to animate in a portrait, for the report."""

from typing import List, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from .faces import eyes

LIP_GAPS = ((13, 14), (82, 87), (312, 317))
"""Pairs of points on the inner lips, one above the other."""
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
UPPER_LIP = (*OUTER_LIPS[:11], *INNER_LIPS[10::-1])
LOWER_LIP = (*OUTER_LIPS[10:], OUTER_LIPS[0], INNER_LIPS[0], *INNER_LIPS[:9:-1])
MIRRORED = (
    (50, 280), (205, 425), (187, 411), (207, 427), (216, 436), (212, 432), (192, 416), (214, 434), (210, 430),
    (211, 431), (135, 364), (169, 394), (170, 395), (140, 369), (204, 424), (202, 422), (194, 418), (182, 406),
    (106, 335), (57, 287), (186, 410), (92, 322), (165, 391), (43, 273), (146, 375), (91, 321), (181, 405),
    (40, 270), (39, 269), (37, 267), (84, 314),
)  # fmt: skip
"""Pairs of symmetric points of the lower face."""
LIDS = ((159, 145, 33, 133), (386, 374, 362, 263))
"""Of each eye: middle of the upper and of the lower lid, and its corners."""


def hard_parts(canvas: Image, landmarks: FloatArray, person_known: bool, sharp: bool, name: str) -> List[str]:
    """What makes this portrait hard to animate. The thresholds separate good from bad contact sheets.

    Args:
        canvas: [height, width, 3].
        landmarks: Face mesh on it, [468, 3].
        person_known: Whether the person could be separated from the background.
        sharp: False if the photo was enlarged so much that there is already a remark about it being soft.
        name: The photo's name in messages.
    """
    out: List[str] = []
    right, left = eyes(landmarks)
    unit = float(np.linalg.norm((left - right)[:2]))
    across = landmarks[454] - landmarks[234]
    yaw = abs(float(np.degrees(np.arctan2(across[2], np.linalg.norm(across[:2])))))
    if yaw > 30:
        out.append(f"{name}: the face is turned away by {yaw:.0f} degrees; one that looks at the camera looks better")
    gap = float(np.mean([np.linalg.norm(landmarks[a, :2] - landmarks[b, :2]) for a, b in LIP_GAPS])) / unit
    teeth = _teeth(canvas, landmarks)
    if gap > 0.1 or teeth > 0.2:
        what = "the mouth is open" if gap > 0.1 else "teeth are showing"
        what += " and teeth are showing" if gap > 0.1 and teeth > 0.2 else ""
        out.append(f"{name}: {what}; a closed mouth looks better")
    if _covered(canvas, landmarks, unit):
        out.append(
            f"{name}: something may be in front of the mouth, or the light is hard and from one side; "
            "an uncovered, evenly lit face looks better"
        )
    if max(_aspect(landmarks, lids) for lids in LIDS) < 0.12:
        out.append(f"{name}: the eyes are nearly shut; open eyes look better")
    if not person_known:
        out.append(f"{name}: head and background could not be separated; the background moves a little with the head")
    if sharp and _detail(canvas, landmarks, unit) < 0.05:
        out.append(f"{name}: the face is blurred; a sharp photo looks better")
    return out


def mouth_colours(image: Image, landmarks: FloatArray) -> Tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels between the lips [n, 3] and those of the lips [m, 3], in 8-bit L*a*b*; n or m may be 0."""
    low = np.maximum(np.floor(landmarks[list(OUTER_LIPS), :2].min(axis=0)).astype(int), 0)
    high = np.ceil(landmarks[list(OUTER_LIPS), :2].max(axis=0)).astype(int) + 1
    lab = cv2.cvtColor(image[low[1] : high[1], low[0] : high[0]], cv2.COLOR_BGR2LAB)
    masks = []
    for points in (INNER_LIPS, OUTER_LIPS):
        mask = np.zeros(lab.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(landmarks[list(points), :2] - low).astype(np.int32)], (1,))
        masks.append(mask.astype(bool))
    return lab[masks[0]].astype(int), lab[masks[1] & ~masks[0]].astype(int)


def _teeth(canvas: Image, landmarks: FloatArray) -> float:
    """The share of pixels between the lips that are clearly lighter and less red than the lips, 0..1."""
    between, lips = mouth_colours(canvas, landmarks)
    if not len(between) or not len(lips):
        return 0.0
    lightness, redness, _ = np.median(lips, axis=0)
    return float(np.mean((between[:, 0] > lightness + 15) & (between[:, 1] < redness - 4)))


def _detail(canvas: Image, landmarks: FloatArray, unit: float) -> float:
    """Fine detail of the face (finer than 1/40 of the interocular distance), relative to its contrast."""
    low = np.maximum(landmarks[:, :2].min(axis=0).astype(int), 0)
    high = landmarks[:, :2].max(axis=0).astype(int) + 1
    grey = cv2.cvtColor(canvas[low[1] : high[1], low[0] : high[0]], cv2.COLOR_BGR2GRAY)
    size = (max(8, round(grey.shape[1] * 100 / unit)), max(8, round(grey.shape[0] * 100 / unit)))
    face = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if unit > 100 else cv2.INTER_CUBIC).astype(np.float32)
    return float(np.abs(face - cv2.GaussianBlur(face, (0, 0), 2.5)).mean() / max(float(face.std()), 1.0))


def _covered(canvas: Image, landmarks: FloatArray, unit: float) -> bool:
    """Whether something seems to be in front of the lower face.

    A hand, a cup or a microphone covers one side more than the other, or one lip; a mask has no lips at all. Hard light
    from one side looks the same to this check.
    """
    lab = cv2.cvtColor(cv2.GaussianBlur(canvas, (0, 0), max(0.5, 0.03 * unit)), cv2.COLOR_BGR2LAB).astype(np.float32)
    last = np.array(canvas.shape[1::-1]) - 1
    x, y = np.clip(np.rint(landmarks[:, :2]), 0, last).astype(int).T
    one, other = np.array(MIRRORED).T
    apart = lab[y[one], x[one]] - lab[y[other], x[other]]
    apart -= np.median(apart, axis=0)  # one side may be lighter overall
    unlike = np.linalg.norm(apart * (0.6, 1.3, 1.3), axis=1) > 28
    lips = [_inside(lab, landmarks, points) for points in (UPPER_LIP, LOWER_LIP)]
    if not all(len(lip) for lip in lips):
        return False
    colours = np.median(lips[0], axis=0) - np.median(lips[1], axis=0)
    no_lips = max(float(lip[:, 0].std()) for lip in lips) < 2.5
    return bool(unlike.mean() > 0.18 or np.linalg.norm(colours[1:]) > 16 or no_lips)


def _inside(picture: NDArray[np.float32], landmarks: FloatArray, points: Tuple[int, ...]) -> NDArray[np.float32]:
    """The pixels inside a polygon of mesh points, [n, 3]."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(landmarks[list(points), :2]).astype(np.int32)], (1,))
    pixels: NDArray[np.float32] = picture[mask > 0]
    return pixels


def _aspect(landmarks: FloatArray, lids: Tuple[int, int, int, int]) -> float:
    """How far an eye is open, relative to its width."""
    upper, lower, one, other = (landmarks[i, :2] for i in lids)
    return float(np.linalg.norm(upper - lower) / max(float(np.linalg.norm(one - other)), 1e-6))
