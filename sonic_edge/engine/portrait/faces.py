"""Finds faces: MediaPipe's BlazeFace (short range) and face mesh, run by OpenCV.

Both networks give false positives: they see faces on dogs and in gravel. So a face counts only if the detector's score,
the mesh's confidence, their agreement and the face's proportions all pass; the thresholds separate 30 photos of people
from 40 photos of other things.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

import cv2
import numpy as np

from ...media import FloatArray, Image
from .eyes import EyeReader
from .matte import Matting
from .view import Points, View, load_network

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Mesh points of the face's outline, clockwise from the forehead."""
_RIGHT_EYE, _LEFT_EYE = (33, 133), (362, 263)
_NOSE_TIP, CHIN, FOREHEAD, _UPPER_LIP, _LOWER_LIP = 1, 152, 10, 13, 14

_SEARCH_SIDE = 1920
"""Photos are reduced to at most this for the search, pixels; the landmarks are measured again on the canvas."""
_WINDOWS = (1.0, 0.6, 0.35, 0.2, 0.1)
"""Sides of the square search windows, relative to the photo's longer side."""
_TURNS = (np.pi / 4, -np.pi / 4, np.pi / 2, -np.pi / 2, np.pi)
"""Rotations of the windows if upright ones show no face, radians."""
_ANCHORS: Points = np.array(
    [[(x + 0.5) / n, (y + 0.5) / n] for n, k in ((16, 2), (8, 6)) for y in range(n) for x in range(n) for _ in range(k)]
)
"""Centres of BlazeFace's 896 anchors, relative to the window's side (mediapipe's ssd_anchors_calculator)."""


@dataclass(frozen=True)
class _Candidate:
    """A detection that may be a face."""

    score: float
    centre: Points
    """[2], photo pixels."""
    side: float
    """Side of its box, photo pixels."""
    keypoints: Points
    """[4, 2]: right eye, left eye, nose tip, mouth; photo pixels."""


@dataclass(frozen=True)
class Face:
    """A face in a photo."""

    score: float
    """The detector's confidence, 0..1."""
    landmarks: FloatArray
    """[468, 3]: x right, y down, z away from the viewer, photo pixels; pixel centres have integer coordinates."""

    @property
    def interocular(self) -> float:
        """Distance between the eye centres in the picture, pixels."""
        right, left = eyes(self.landmarks)
        return float(np.linalg.norm((left - right)[:2]))


_ALONE = 0.5
"""Faces smaller than this, relative to the largest, are people in the background."""
_FRONTAL = 1.8
"""A face is frontal if the nose is at most this many times as far from one eye as from the other."""
_NEAR = 40.0
"""A face close to the camera has at least this distance between the eyes, pixels."""


def is_single_frontal_face(faces: List[Face]) -> bool:
    """Whether there is exactly one close person who looks at the camera; `faces` from `FaceFinder`, largest first."""
    if not faces or faces[0].interocular < _NEAR:
        return False
    if len(faces) > 1 and faces[1].interocular > _ALONE * faces[0].interocular:
        return False
    right, left = eyes(faces[0].landmarks)
    across = (left - right)[:2] / faces[0].interocular
    nose = faces[0].landmarks[_NOSE_TIP]
    from_right, from_left = float((nose - right)[:2] @ across), float((left - nose)[:2] @ across)
    return min(from_right, from_left) > 0 and max(from_right, from_left) < _FRONTAL * min(from_right, from_left)


class FaceFinder:
    """Finds faces and their 468 landmarks.

    Not thread-safe: OpenCV's networks hold the picture that they work on.
    """

    def __init__(self, models: Path) -> None:
        """Load the networks.

        Args:
            models: Folder with face_detection_short_range.tflite, face_landmark.tflite, iris_landmark.tflite and
                selfie_segmentation.tflite.

        Raises:
            ConfigError: If one is missing or cannot be loaded.
        """
        self._detector = load_network(models / "face_detection_short_range.tflite")
        self._mesh = load_network(models / "face_landmark.tflite")
        self._mesh_outputs = self._mesh.getUnconnectedOutLayersNames()
        self.eyes = EyeReader(models / "iris_landmark.tflite")
        """Measures the eyes of a face."""
        self.matting = Matting(models / "selfie_segmentation.tflite")
        """Separates the person from the background."""

    def faces(self, photo: Image) -> List[Face]:
        """The faces of people in a photo, BGR, the largest first; an empty list if there are none."""
        small = _small(photo)
        found = self._search(small, _WINDOWS, (0.0,)) or self._search(small, _WINDOWS[:3], _TURNS)
        return _in_photo(found, photo, small)

    def near_faces(self, photo: Image) -> List[Face]:
        """Like `faces`, for upright people close to a camera: a fifth of the work if there is nobody."""
        small = _small(photo)
        return _in_photo(self._search(small, _WINDOWS[:4], (0.0,)), photo, small)

    def _search(self, photo: Image, sizes: Tuple[float, ...], turns: Tuple[float, ...]) -> List[Face]:
        """Search large windows first; once faces are found, search only one more size for others."""
        found: List[Face] = []
        last = False
        for views in _windows(photo, sizes, turns):
            candidates = [c for view in views for c in self._detect(photo, view, 0.5)]
            for candidate in _distinct(candidates)[:12]:
                if any(_within(candidate, face.landmarks) for face in found):
                    continue
                face = self._examine(photo, candidate)
                if face is not None and not any(_same(face, other) for other in found):
                    found.append(face)
            if last:
                break
            last = bool(found)
        return found

    def _detect(self, photo: Image, view: View, threshold: float) -> List[_Candidate]:
        pixels = view.cut(photo, 128, cv2.BORDER_CONSTANT)
        self._detector.setInput(cv2.dnn.blobFromImage(pixels, 1 / 127.5, (128, 128), (127.5,) * 3, swapRB=True))
        logits, boxes = self._detector.forward(["classificators", "regressors"])
        scores = _sigmoid(np.asarray(logits, np.float32).reshape(896))
        best = np.flatnonzero(scores > threshold)
        places = np.asarray(boxes, np.float64).reshape(896, 8, 2)[best] / 128  # centre, size, six key points
        points = view.to_photo(places[:, [0, 2, 3, 4, 5]] + _ANCHORS[best, None])
        sides = places[:, 1].max(axis=1) * view.side
        return [_Candidate(float(scores[j]), p[0], float(s), p[1:]) for j, p, s in zip(best, points, sides)]

    def _examine(self, photo: Image, candidate: _Candidate) -> Optional[Face]:
        """The candidate's face if it is that of a person, else None."""
        right, left = candidate.keypoints[:2]
        landmarks, sure = self._measure(photo, View.of_face(candidate.centre, left - right, candidate.side * 1.5))
        for _ in range(2):
            if sure < 0.01:
                return None
            landmarks, sure = self._measure(photo, _mesh_view(landmarks))
            if sure < 0.8:
                return None
        if not _is_face(landmarks, candidate.keypoints):
            return None
        again = _mesh_view(landmarks)
        seen = self._detect(photo, View(again.centre, again.side * 1.4, again.angle), 0.75)
        score = max((c.score for c in seen if _within(c, landmarks)), default=0.0)
        return Face(score, landmarks) if score else None

    def _measure(self, photo: Image, view: View) -> Tuple[FloatArray, float]:
        """Landmarks [468, 3] of the face that fills two thirds of the view, and the mesh's confidence, 0..1."""
        pixels = view.cut(photo, 192, cv2.BORDER_REPLICATE)
        self._mesh.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255, (192, 192), swapRB=True))
        points, flag = sorted(self._mesh.forward(self._mesh_outputs), key=lambda output: -output.size)
        mesh = np.asarray(points, np.float64).reshape(468, 3) / 192
        out = np.concatenate([view.to_photo(mesh[:, :2]), mesh[:, 2:] * view.side], axis=1)
        return out.astype(np.float32), float(_sigmoid(np.asarray(flag, np.float32).reshape(1))[0])

    def refine(self, photo: Image, landmarks: FloatArray) -> FloatArray:
        """Measure a face again in (another size of) the photo, [468, 3]: the mean over slightly shifted views."""
        view = _mesh_view(landmarks)
        views: List[FloatArray] = []
        for dx, dy, grow, turn in _VIEWS:
            moved = View(view.centre + np.array([dx, dy]) * view.side, view.side * grow, view.angle + turn)
            points, sure = self._measure(photo, moved)
            if sure > 0.5:
                views.append(points)
        if not views:
            return landmarks
        return np.asarray(np.mean(views, axis=0, dtype=np.float64), np.float32)


_VIEWS = (
    (0.0, 0.0, 1.0, 0.0),
    (0.015, 0.0, 1.03, 0.04),
    (-0.015, 0.0, 1.03, -0.04),
    (0.0, 0.015, 0.97, 0.04),
    (0.0, -0.015, 0.97, -0.04),
)
"""Shift (relative to the view's side), scale and rotation (radians) of the views that landmarks are averaged over."""


def _small(photo: Image) -> Image:
    """The photo, reduced to the size in which it is searched."""
    shrink = max(1.0, max(photo.shape[:2]) / _SEARCH_SIDE)
    if shrink == 1:
        return photo
    size = (max(1, round(photo.shape[1] / shrink)), max(1, round(photo.shape[0] / shrink)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def _in_photo(found: List[Face], photo: Image, small: Image) -> List[Face]:
    """Faces found in the small photo, in pixels of the large one, the largest first."""
    scale = np.array([photo.shape[1] / small.shape[1], photo.shape[0] / small.shape[0]])
    return sorted((Face(f.score, scaled(f.landmarks, scale)) for f in found), key=lambda f: -f.interocular)


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def _windows(photo: Image, sizes: Tuple[float, ...], turns: Tuple[float, ...]) -> Iterator[List[View]]:
    """Square windows over the photo, one list for each size."""
    height, width = photo.shape[:2]
    for fraction in sizes:
        side = max(height, width) * fraction
        if side < 100 and fraction < 1:
            return  # the detector's input is 128 pixels: a smaller window shows nothing new
        overlap = 1 / 2 if fraction > 0.3 else 1 / 3
        yield [
            View(np.array([x, y]) - 0.5, side, turn)
            for turn in turns
            for y in _centres(height, side, overlap)
            for x in _centres(width, side, overlap)
        ]


def _centres(length: int, side: float, overlap: float) -> List[float]:
    if side >= length:
        return [length / 2]
    n = 1 + int(np.ceil((length - side) / (side * (1 - overlap))))
    return [float(x) for x in np.linspace(side / 2, length - side / 2, n)]


def _distinct(candidates: List[_Candidate]) -> List[_Candidate]:
    """The best of each group of overlapping candidates, best first."""
    kept: List[_Candidate] = []
    for c in sorted(candidates, key=lambda c: -c.score):
        if all(np.max(np.abs(c.centre - k.centre)) > 0.4 * max(c.side, k.side) for k in kept):
            kept.append(c)
    return kept


def _within(candidate: _Candidate, landmarks: FloatArray) -> bool:
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    return bool(np.all((candidate.centre > low) & (candidate.centre < high)))


def _same(a: Face, b: Face) -> bool:
    distance = np.linalg.norm(a.landmarks[_NOSE_TIP, :2] - b.landmarks[_NOSE_TIP, :2])
    return bool(distance < max(a.interocular, b.interocular))


def _mesh_view(landmarks: FloatArray) -> View:
    """The mesh network's view of a face: upright, 1.5 times the size of the face."""
    xy = landmarks[:, :2].astype(np.float64)
    low, high = xy.min(axis=0), xy.max(axis=0)
    return View.of_face((low + high) / 2, xy[_LEFT_EYE[1]] - xy[_RIGHT_EYE[0]], 1.5 * float(np.max(high - low)))


def eyes(landmarks: FloatArray) -> Tuple[FloatArray, FloatArray]:
    """Centres of the person's right and left eye, [3] each."""
    right: FloatArray = landmarks[list(_RIGHT_EYE)].mean(axis=0)
    left: FloatArray = landmarks[list(_LEFT_EYE)].mean(axis=0)
    return right, left


def scaled(landmarks: FloatArray, scale: Points) -> FloatArray:
    """Landmarks after the picture is resized by `scale`, [2]."""
    xy = (landmarks[:, :2] + 0.5) * scale - 0.5
    return np.asarray(np.concatenate([xy, landmarks[:, 2:] * scale.mean()], axis=1), np.float32)


def _is_face(landmarks: FloatArray, keypoints: Points) -> bool:
    """Whether the mesh agrees with the detector's key points and has the proportions of a face."""
    right, left = eyes(landmarks)
    unit = float(np.linalg.norm(left - right))  # in 3D, so that it is the same for a turned head
    across = (left - right)[:2] / max(float(np.linalg.norm((left - right)[:2])), 1e-6)
    down = np.array([-across[1], across[0]])
    middle = (right + left)[:2] / 2

    def below_eyes(point: int) -> float:
        return float((landmarks[point, :2] - middle) @ down) / unit

    mouth = landmarks[[_UPPER_LIP, _LOWER_LIP], :2].mean(axis=0)
    mesh_points = np.stack([right[:2], left[:2], landmarks[_NOSE_TIP, :2], mouth])
    apart = float(np.linalg.norm(mesh_points - keypoints, axis=1).max()) / unit
    nose, lips, chin, brow = (below_eyes(i) for i in (_NOSE_TIP, _UPPER_LIP, CHIN, FOREHEAD))
    width = float(np.linalg.norm(landmarks[454] - landmarks[234])) / unit
    depth = float(np.ptp(landmarks[:, 2])) / unit
    return bool(
        apart < 0.35
        and 0.2 < nose < lips - 0.1
        and 0.6 < lips < 1.6
        and lips + 0.3 < chin < 2.6
        and -1.3 < brow < -0.4
        and 1.7 < width < 2.6
        and depth < 2.4
    )
