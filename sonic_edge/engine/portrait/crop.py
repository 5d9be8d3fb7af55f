"""Makes portraits: the largest face in a photo, cropped to the canvas of the video, with remarks."""

from typing import List, Tuple

import cv2
import numpy as np

from ...config import Controls
from ...errors import RequestError
from ...media import FloatArray, Image, Portrait
from .faces import CHIN, FOREHEAD, OVAL, FaceFinder, eyes, scaled
from .remarks import hard_parts

_MIN_INTEROCULAR = 14.0
"""With fewer pixels between the eyes the lips are guesswork."""
_HEAD = 2.1 / 1.3
"""Size of the head with hair, relative to the longer side of the face: an expand_ratio of 0.15 gives 2.1 faces."""
_MAX_SIDE, _MAX_PIXELS = 4096, 9_000_000
"""Largest canvas (keep_resolution)."""
SOFT = 2.5
"""Photos enlarged more than this many times look soft."""
_MAX_ASPECT = 2.0
"""Largest ratio of a crop's long side to its short side."""


def make_portrait(image: Image, finder: FaceFinder, controls: Controls, name: str) -> Portrait:
    """Find the face and crop the canvas of the video from the photo.

    Args:
        image: The photo, [height, width, 3].
        finder: Finds the face.
        controls: expand_ratio, min_resolution and keep_resolution are used.
        name: The photo's name in messages.

    Returns:
        A canvas with even sides. The crop is a square around the head, scaled to min_resolution; if the square does not
        fit in the photo, it is cut to the photo. keep_resolution keeps the whole photo.

    Raises:
        RequestError: If there is no face, or none large enough.
    """
    faces = finder.faces(image)
    if not faces:
        raise RequestError(
            f"{name}: no face found in {image.shape[1]}x{image.shape[0]} pixels; a photo of a person who looks at "
            "the camera, mouth uncovered, is needed"
        )
    face = faces[0]
    if face.interocular < _MIN_INTEROCULAR:
        raise RequestError(
            f"{name}: the face is too small: {face.interocular:.0f} pixels from eye to eye; "
            f"at least {_MIN_INTEROCULAR:.0f} are needed"
        )
    remarks: List[str] = []
    if len(faces) > 1:
        remarks.append(f"{name}: {len(faces)} faces found; the largest is used")
    image, landmarks = _right_side_up(image, face.landmarks, name, remarks)
    _check_place(image, landmarks, name, remarks)
    box = _whole(image) if controls.keep_resolution else _head_box(image, landmarks, controls.expand_ratio)
    canvas, landmarks = _cut(image, landmarks, box, _canvas_size(box, controls))
    enlarged = canvas.shape[1] / (box[2] - box[0])
    if enlarged > SOFT:
        remarks.append(f"{name}: the face is small and was enlarged {enlarged:.1f} times; it will look soft")
    elif controls.keep_resolution and enlarged < 0.99:
        remarks.append(
            f"{name}: {image.shape[1]}x{image.shape[0]} was reduced to {canvas.shape[1]}x{canvas.shape[0]}, "
            "the largest video made"
        )
    landmarks, irises = finder.eyes.read(canvas, finder.refine(canvas, landmarks))
    matte = finder.matting.person(canvas, landmarks)
    remarks += hard_parts(canvas, landmarks, matte is not None, enlarged <= SOFT, name)
    return Portrait(canvas, landmarks, irises, matte, tuple(remarks))


def _right_side_up(image: Image, landmarks: FloatArray, name: str, remarks: List[str]) -> Tuple[Image, FloatArray]:
    """Rotate a sideways or upside-down photo by multiples of 90 degrees until the face is within 60 of upright."""
    right, left = eyes(landmarks)
    roll = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
    if abs(roll) < 60:
        if abs(roll) > 25:
            remarks.append(f"{name}: the head is tilted by {abs(roll):.0f} degrees; an upright one looks better")
        return image, landmarks
    quarters = round(roll / 90)
    height, width = image.shape[:2]
    image = np.ascontiguousarray(np.rot90(image, quarters))  # counterclockwise
    x, y, z = landmarks.T
    turned = {1: (y, width - 1 - x), 2: (width - 1 - x, height - 1 - y), -1: (height - 1 - y, x)}
    turned[-2] = turned[2]
    remarks.append(f"{name}: the photo was sideways or upside down and was rotated by {abs(quarters) * 90} degrees")
    return image, np.stack([*turned[quarters], z], axis=1).astype(np.float32)


def _check_place(image: Image, landmarks: FloatArray, name: str, remarks: List[str]) -> None:
    """Check that the mouth and the face are inside the photo."""
    size = np.array(image.shape[1::-1])
    oval = landmarks[list(OVAL), :2]
    mouth = landmarks[[61, 291, 0, 17], :2]
    if np.any(mouth < 0) or np.any(mouth > size - 1):
        raise RequestError(f"{name}: the mouth is outside the photo; the whole face is needed")
    margin = 0.04 * float(np.max(np.ptp(oval, axis=0)))
    if np.any(oval < -margin) or np.any(oval > size - 1 + margin):
        remarks.append(f"{name}: the face is cut by the edge of the photo; the whole face looks better")


Box = Tuple[int, int, int, int]
"""Left, top, right, bottom; right and bottom are exclusive."""


def _whole(image: Image) -> Box:
    """The photo, without the last row or column where a side is odd."""
    height, width = image.shape[:2]
    return 0, 0, max(width // 2 * 2, 1), max(height // 2 * 2, 1)


def _head_box(image: Image, landmarks: FloatArray, expand_ratio: float) -> Box:
    """The square around the head, shifted into the photo and, if it is larger, cut to the photo."""
    oval = landmarks[list(OVAL), :2].astype(np.float64)
    low, high = oval.min(axis=0), oval.max(axis=0)
    side = float(np.max(high - low)) * _HEAD * (1 + 2 * expand_ratio)
    up = landmarks[FOREHEAD, :2] - landmarks[CHIN, :2]
    centre = (low + high) / 2 + up / max(float(np.linalg.norm(up)), 1e-6) * 0.03 * side  # room for hair
    photo = np.array(image.shape[1::-1], np.float64)
    size = np.minimum(round(side), photo)
    longest = size.min() * _MAX_ASPECT if size.max() > 1.1 * size.min() else size.min()  # nearly square becomes square
    size = np.minimum(size, np.floor(longest))
    start = np.clip(np.round(centre + 0.5 - size / 2), 0, photo - size)
    x0, y0, width, height = (int(v) for v in (*start, *size))
    return x0, y0, x0 + width, y0 + height


def _canvas_size(box: Box, controls: Controls) -> Tuple[int, int]:
    """Width and height of the video."""
    width, height = box[2] - box[0], box[3] - box[1]
    if controls.keep_resolution:
        scale = max(1.0, controls.min_resolution / min(width, height))
        scale = min(scale, _MAX_SIDE / max(width, height), (_MAX_PIXELS / (width * height)) ** 0.5)
    else:
        scale = controls.min_resolution / min(width, height)
    return _even(width * scale), _even(height * scale)


def _even(length: float) -> int:
    return max(2, round(length / 2 - 1e-6) * 2)


def _cut(image: Image, landmarks: FloatArray, box: Box, size: Tuple[int, int]) -> Tuple[Image, FloatArray]:
    """The part of the photo in the box, at `size`, and the landmarks on it."""
    x0, y0, x1, y1 = box
    part = image[y0:y1, x0:x1]
    scale = np.array([size[0] / (x1 - x0), size[1] / (y1 - y0)])
    if np.all(scale == 1):
        canvas = part.copy()
    else:
        method = cv2.INTER_AREA if scale.min() < 1 else cv2.INTER_CUBIC
        canvas = np.asarray(cv2.resize(part, size, interpolation=method), np.uint8)
    return canvas, scaled(landmarks - np.array([x0, y0, 0], np.float32), scale)
