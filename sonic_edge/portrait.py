"""A photo becomes a portrait: read within bounds, the face found, cropped and measured.

The two networks are MediaPipe's BlazeFace (short range) and face mesh, run by OpenCV. Both are eager: they see faces on
dogs and in gravel. So a face counts only when the detector, the mesh's own certainty, the agreement of the two and the
proportions all say so; the limits lie between what 30 photos of people and 40 of other things gave.
"""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, Optional, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import UnidentifiedImageError

from .config import Controls, LimitSettings
from .errors import ConfigError, RequestError
from .media import FloatArray, Image, Portrait

Points = NDArray[np.float64]

Pil.MAX_IMAGE_PIXELS = None  # our own limit is looked at before anything is decoded, and says more

# ------------------------------------------------------------------------------------------------- reading photos

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "TIFF", "GIF", "JPEG2000", "PPM", "SUN", "AVIF")
_STRIP = 512
"""Rows turned into BGR at a time, so that a large photo is not in memory three times."""


def read_image(path: Path, limits: LimitSettings) -> Image:
    """A photo as 8-bit BGR, turned as its EXIF says, transparency over white, of several pictures the first.

    Args:
        path: PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or PPM, whatever its name ends in.
        limits: Largest file and largest picture; looked at before decoding.

    Returns:
        [height, width, 3], uint8.

    Raises:
        RequestError: If it is too large, damaged or not a picture.
    """
    n_bytes = _file_size(path)
    if n_bytes > limits.portrait_bytes:
        raise RequestError(f"{path.name}: {n_bytes} bytes; a photo may have at most {limits.portrait_bytes}")
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # Pillow's remarks about odd metadata
            _check_pixels(path, _webp_size(file.read(30)), limits)  # Pillow would make room for it while opening
            file.seek(0)
            return _decode(path, file, limits)
    except RequestError:
        raise
    except OSError as e:
        if e.errno is not None:
            raise RequestError(f"{path.name}: cannot be read: {e.strerror}") from e
        raise RequestError(f"{path.name}: damaged or cut off; a whole picture is needed ({_words(e)})") from e
    except Exception as e:  # a damaged file makes Pillow's readers fail in every way there is
        raise RequestError(f"{path.name}: damaged; a whole picture is needed ({_words(e)})") from e


def _file_size(path: Path) -> int:
    try:
        if not path.is_file():
            raise RequestError(f"{path.name}: {'is a folder' if path.is_dir() else 'is not there'}; a photo is needed")
        n_bytes = path.stat().st_size
    except (OSError, ValueError) as e:
        raise RequestError(f"{path.name}: cannot be read: {_words(e)}") from e
    if n_bytes == 0:
        raise RequestError(f"{path.name}: is empty (0 bytes); a photo is needed")
    return n_bytes


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _webp_size(head: bytes) -> Optional[Tuple[int, int]]:
    """Width and height out of the first 30 bytes of a WebP file (RFC 9649); None if it is none."""
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _check_pixels(path: Path, size: Optional[Tuple[int, int]], limits: LimitSettings) -> None:
    if size is not None and size[0] * size[1] > limits.portrait_pixels:
        raise RequestError(
            f"{path.name}: {size[0]}x{size[1]} is {size[0] * size[1]} pixels; "
            f"a photo may have at most {limits.portrait_pixels}"
        )


def _decode(path: Path, file: BinaryIO, limits: LimitSettings) -> Image:
    try:
        picture = Pil.open(file, formats=_known_formats())
    except UnidentifiedImageError as e:
        floats = _float_tiff(path, limits)
        if floats is not None:
            return floats
        raise RequestError(
            f"{path.name}: is not a picture that can be read; PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or PPM "
            "is needed"
        ) from e
    with picture:
        _check_pixels(path, picture.size, limits)
        exif = picture.getexif()
        picture.load()
        # only now: Pillow turns some formats itself while loading, and takes this away (from TIFF only lately)
        turn = exif.get(0x0112, 1) if picture.format != "TIFF" else 1
        bgr = np.empty((picture.height, picture.width, 3), np.uint8)
        levels = _levels(picture)
        for top in range(0, picture.height, _STRIP):
            strip = picture.crop((0, top, picture.width, min(top + _STRIP, picture.height)))
            bgr[top : top + _STRIP] = _strip_to_bgr(strip, levels)
    return _turned(bgr, turn)


def _known_formats() -> List[str]:
    Pil.init()
    return [name for name in _FORMATS if name in Pil.OPEN]


def _levels(picture: Pil.Image) -> float:
    """The value that is white in a picture of more than 8 bits a pixel."""
    if picture.mode.startswith("I;16"):
        return 65535.0
    if picture.mode not in ("I", "F"):
        return 255.0
    top = 0.0
    for y in range(0, picture.height, _STRIP):
        strip = np.asarray(picture.crop((0, y, picture.width, min(y + _STRIP, picture.height))), np.float32)
        top = max(top, float(np.max(strip, initial=0.0, where=np.isfinite(strip))))
    return _white(top, picture.mode == "F")


def _white(top: float, is_float: bool) -> float:
    if is_float and top <= 1.0:
        return 1.0
    return next((white for white in (255.0, 65535.0) if top <= white), top)


def _strip_to_bgr(strip: Pil.Image, white: float) -> Image:
    if strip.mode in ("I", "F") or strip.mode.startswith("I;16"):
        grey = _to_8_bit(np.asarray(strip, np.float32), white)
        return np.repeat(grey[..., None], 3, axis=2)
    if strip.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in strip.info:
        strip = strip.convert("RGBA")
        paper = Pil.new("RGBA", strip.size, "white")
        strip = Pil.alpha_composite(paper, strip)
    return np.asarray(strip.convert("RGB"))[..., ::-1]


def _to_8_bit(values: FloatArray, white: float) -> Image:
    """Numbers of any range, also NaN and infinite ones, as 0..255."""
    clean = np.nan_to_num(values, nan=0.0, posinf=white, neginf=0.0)
    out: Image = np.clip(clean * np.float32(255.0 / white) + 0.5, 0, 255).astype(np.uint8)
    return out


def _float_tiff(path: Path, limits: LimitSettings) -> Optional[Image]:
    """A TIFF whose kind of pixels Pillow does not know (colours as floats, say), read by OpenCV; None if it is none."""
    data = path.read_bytes()
    size = _tiff_size(data)
    if size is None:
        return None
    _check_pixels(path, size, limits)
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        values = None
    if values is None or values.ndim not in (2, 3):
        return None
    floats: FloatArray = np.asarray(values, np.float32)
    bgr = _to_8_bit(floats, _white(float(np.max(floats, initial=0.0, where=np.isfinite(floats))), True))
    return bgr if bgr.ndim == 3 else np.repeat(bgr[..., None], 3, axis=2)


def _tiff_size(data: bytes) -> Optional[Tuple[int, int]]:
    """Width and height out of the first directory of a (classic) TIFF file; None if there is none."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order = "<" if data[:2] == b"II" else ">"
    found: Dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(order + "I", data, 4)
        (n_entries,) = struct.unpack_from(order + "H", data, at)
        for i in range(n_entries):
            tag, kind = struct.unpack_from(order + "HH", data, at + 2 + 12 * i)
            (found[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 10 + 12 * i)
    except struct.error:
        return None
    return (found[256], found[257]) if 256 in found and 257 in found else None


def _turned(image: Image, orientation: object) -> Image:
    """The picture upright; `orientation` is EXIF tag 0x0112, 1..8, anything else is taken as upright."""
    if orientation in (5, 6, 7, 8):
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation if isinstance(orientation, int) else 1)
    if flip is not None:
        image = np.asarray(cv2.flip(image, flip), np.uint8)
    return np.ascontiguousarray(image)


# --------------------------------------------------------------------------------------------------- finding faces

_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Mesh points around the face, from the forehead clockwise."""
_RIGHT_EYE, _LEFT_EYE = (33, 133), (362, 263)
_NOSE_TIP, _CHIN, _FOREHEAD, _UPPER_LIP, _LOWER_LIP = 1, 152, 10, 13, 14

_SEARCH_SIDE = 1920
"""Photos are searched no larger than this, pixels; the portrait is measured again on its canvas."""
_WINDOWS = (1.0, 0.6, 0.35, 0.2, 0.1)
"""Sides of the square windows searched, of the photo's longer side."""
_TURNS = (np.pi / 4, -np.pi / 4, np.pi / 2, -np.pi / 2, np.pi)
"""How the windows are turned when upright ones show no face, radians."""
_ANCHORS: Points = np.array(
    [[(x + 0.5) / n, (y + 0.5) / n] for n, k in ((16, 2), (8, 6)) for y in range(n) for x in range(n) for _ in range(k)]
)
"""Centres of BlazeFace's 896 boxes, of the window's side (mediapipe's ssd_anchors_calculator)."""


@dataclass(frozen=True)
class _Patch:
    """A turned square of a photo."""

    centre: Points
    """[2], photo pixels; whole numbers are the centres of pixels."""
    side: float
    """Photo pixels."""
    angle: float
    """Which way its right side points, radians, clockwise from the photo's."""

    def to_photo(self, points: Points) -> Points:
        """Points [..., 2] in the square, 0..1, to photo pixels."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        out: Points = (points - 0.5) @ np.array([[c, s], [-s, c]]) * self.side + self.centre
        return out

    def cut(self, photo: Image, n: int, border: int) -> Image:
        """Its pixels, [n, n, 3], averaged where the photo is finer."""
        corners = self.to_photo(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
        x0, y0 = np.clip(corners.min(axis=0) - 2, 0, [photo.shape[1] - 1, photo.shape[0] - 1]).astype(int)
        x1, y1 = np.clip(corners.max(axis=0) + 3, [x0 + 1, y0 + 1], [photo.shape[1], photo.shape[0]]).astype(int)
        part = photo[y0:y1, x0:x1]
        shrink = self.side / n
        if shrink > 1.4:
            size = (max(1, round((x1 - x0) / shrink)), max(1, round((y1 - y0) / shrink)))
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        first = self.to_photo((np.array([[0, 0], [1, 0], [0, 1]]) + 0.5) / n)  # pixels (0, 0), (1, 0), (0, 1)
        scale = np.array([part.shape[1] / (x1 - x0), part.shape[0] / (y1 - y0)])
        origin, right, down = (first - [x0, y0] + 0.5) * scale - 0.5
        matrix = np.stack([right - origin, down - origin, origin], axis=1)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(part, matrix, (n, n), flags=flags, borderMode=border), np.uint8)


@dataclass(frozen=True)
class _Candidate:
    """What the detector took for a face."""

    score: float
    centre: Points
    """[2], photo pixels."""
    side: float
    """Of its box, photo pixels."""
    keypoints: Points
    """[4, 2]: right eye, left eye, nose tip, mouth; photo pixels."""


@dataclass(frozen=True)
class Face:
    """A face in a photo."""

    score: float
    """How sure the detector is, 0..1."""
    landmarks: FloatArray
    """[468, 3]: x right, y down, z away from the viewer, photo pixels; whole numbers are the centres of pixels."""

    @property
    def interocular(self) -> float:
        """Distance between the eye centres in the picture, pixels."""
        right, left = _eyes(self.landmarks)
        return float(np.linalg.norm((left - right)[:2]))


class FaceFinder:
    """Finds faces and their 468 landmarks.

    Not for several threads at once: OpenCV's networks hold the picture they work on.
    """

    def __init__(self, models: Path) -> None:
        """Load the networks.

        Args:
            models: Folder with face_detection_short_range.tflite and face_landmark.tflite.

        Raises:
            ConfigError: If one is missing or cannot be loaded.
        """
        self._detector = _load(models / "face_detection_short_range.tflite")
        self._mesh = _load(models / "face_landmark.tflite")
        self._mesh_outputs = self._mesh.getUnconnectedOutLayersNames()

    def faces(self, photo: Image) -> List[Face]:
        """The faces of people in a photo, BGR, the largest first; none is an empty list."""
        shrink = max(1.0, max(photo.shape[:2]) / _SEARCH_SIDE)
        small = photo
        if shrink > 1:
            size = (max(1, round(photo.shape[1] / shrink)), max(1, round(photo.shape[0] / shrink)))
            small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
        scale = np.array([photo.shape[1] / small.shape[1], photo.shape[0] / small.shape[0]])
        found = self._search(small, _WINDOWS, (0.0,)) or self._search(small, _WINDOWS[:3], _TURNS)
        return sorted((Face(f.score, _scaled(f.landmarks, scale)) for f in found), key=lambda f: -f.interocular)

    def _search(self, photo: Image, sizes: Tuple[float, ...], turns: Tuple[float, ...]) -> List[Face]:
        """Large windows first; where faces are found, one size more is looked at for others."""
        found: List[Face] = []
        last = False
        for patches in _windows(photo, sizes, turns):
            candidates = [c for patch in patches for c in self._detect(photo, patch, 0.5)]
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

    def _detect(self, photo: Image, patch: _Patch, threshold: float) -> List[_Candidate]:
        pixels = patch.cut(photo, 128, cv2.BORDER_CONSTANT)
        self._detector.setInput(cv2.dnn.blobFromImage(pixels, 1 / 127.5, (128, 128), (127.5,) * 3, swapRB=True))
        logits, boxes = self._detector.forward(["classificators", "regressors"])
        scores = _sigmoid(np.asarray(logits, np.float32).reshape(896))
        best = np.flatnonzero(scores > threshold)
        places = np.asarray(boxes, np.float64).reshape(896, 8, 2)[best] / 128  # centre, size, six key points
        points = patch.to_photo(places[:, [0, 2, 3, 4, 5]] + _ANCHORS[best, None])
        sides = places[:, 1].max(axis=1) * patch.side
        return [_Candidate(float(scores[j]), p[0], float(s), p[1:]) for j, p, s in zip(best, points, sides)]

    def _examine(self, photo: Image, candidate: _Candidate) -> Optional[Face]:
        """The candidate's landmarks if it is the face of a person."""
        right, left = candidate.keypoints[:2]
        landmarks, sure = self._measure(photo, _face_patch(candidate.centre, left - right, candidate.side * 1.5))
        for _ in range(2):
            if sure < 0.01:
                return None
            landmarks, sure = self._measure(photo, _mesh_patch(landmarks))
            if sure < 0.8:
                return None
        if not _is_face(landmarks, candidate.keypoints):
            return None
        again = _mesh_patch(landmarks)
        seen = self._detect(photo, _Patch(again.centre, again.side * 1.4, again.angle), 0.0)
        score = max((c.score for c in seen if _within(c, landmarks)), default=0.0)
        return Face(score, landmarks) if score >= 0.75 else None

    def _measure(self, photo: Image, patch: _Patch) -> Tuple[FloatArray, float]:
        """Landmarks [468, 3] of the face that fills two thirds of the patch, and how sure the mesh is, 0..1."""
        pixels = patch.cut(photo, 192, cv2.BORDER_REPLICATE)
        self._mesh.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255, (192, 192), swapRB=True))
        points, flag = sorted(self._mesh.forward(self._mesh_outputs), key=lambda output: -output.size)
        mesh = np.asarray(points, np.float64).reshape(468, 3) / 192
        out = np.concatenate([patch.to_photo(mesh[:, :2]), mesh[:, 2:] * patch.side], axis=1)
        return out.astype(np.float32), float(_sigmoid(np.asarray(flag, np.float32).reshape(1))[0])

    def refine(self, photo: Image, landmarks: FloatArray) -> FloatArray:
        """The same face measured again in (another size of) the photo, [468, 3]: the mean over slightly moved views."""
        patch = _mesh_patch(landmarks)
        views: List[FloatArray] = []
        for dx, dy, grow, turn in _VIEWS:
            moved = _Patch(patch.centre + np.array([dx, dy]) * patch.side, patch.side * grow, patch.angle + turn)
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
"""Shifts (of the view's side), growth and turn (radians) of the views that landmarks are averaged over."""


def _load(path: Path) -> cv2.dnn.Net:
    if not path.is_file():
        raise ConfigError(f"{path}: is missing; `make setup` puts it there")
    try:
        return cv2.dnn.readNetFromTFLite(str(path))
    except cv2.error as e:
        raise ConfigError(f"{path}: cannot be loaded ({_words(e)}); `make setup` fetches it anew") from e


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def _windows(photo: Image, sizes: Tuple[float, ...], turns: Tuple[float, ...]) -> Iterator[List[_Patch]]:
    """Square windows over the photo, one list for each size."""
    height, width = photo.shape[:2]
    for fraction in sizes:
        side = max(height, width) * fraction
        if side < 100 and fraction < 1:
            return  # the detector sees 128 pixels: there is nothing more in so small a window
        overlap = 1 / 2 if fraction > 0.3 else 1 / 3
        yield [
            _Patch(np.array([x, y]) - 0.5, side, turn)
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
    """The best of those that lie over each other, best first."""
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


def _face_patch(centre: Points, eye_to_eye: Points, side: float) -> _Patch:
    return _Patch(centre, side, float(np.arctan2(eye_to_eye[1], eye_to_eye[0])))


def _mesh_patch(landmarks: FloatArray) -> _Patch:
    """The view the mesh wants of a face: upright, half as large again as the face."""
    xy = landmarks[:, :2].astype(np.float64)
    low, high = xy.min(axis=0), xy.max(axis=0)
    return _face_patch((low + high) / 2, xy[_LEFT_EYE[1]] - xy[_RIGHT_EYE[0]], 1.5 * float(np.max(high - low)))


def _eyes(landmarks: FloatArray) -> Tuple[FloatArray, FloatArray]:
    """Centres of the person's right and left eye, [3] each."""
    right: FloatArray = landmarks[list(_RIGHT_EYE)].mean(axis=0)
    left: FloatArray = landmarks[list(_LEFT_EYE)].mean(axis=0)
    return right, left


def _scaled(landmarks: FloatArray, scale: Points) -> FloatArray:
    """Landmarks in a picture resized by `scale`, [2]."""
    xy = (landmarks[:, :2] + 0.5) * scale - 0.5
    return np.asarray(np.concatenate([xy, landmarks[:, 2:] * scale.mean()], axis=1), np.float32)


def _is_face(landmarks: FloatArray, keypoints: Points) -> bool:
    """Whether mesh and detector mean the same points, and these have the proportions of a face."""
    right, left = _eyes(landmarks)
    unit = float(np.linalg.norm(left - right))  # in depth too: a turned head is no narrower
    across = (left - right)[:2] / max(float(np.linalg.norm((left - right)[:2])), 1e-6)
    down = np.array([-across[1], across[0]])
    middle = (right + left)[:2] / 2

    def below_eyes(point: int) -> float:
        return float((landmarks[point, :2] - middle) @ down) / unit

    mouth = landmarks[[_UPPER_LIP, _LOWER_LIP], :2].mean(axis=0)
    mesh_points = np.stack([right[:2], left[:2], landmarks[_NOSE_TIP, :2], mouth])
    apart = float(np.linalg.norm(mesh_points - keypoints, axis=1).max()) / unit
    nose, lips, chin, brow = (below_eyes(i) for i in (_NOSE_TIP, _UPPER_LIP, _CHIN, _FOREHEAD))
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


# -------------------------------------------------------------------------------------------------- making portraits

_MIN_INTEROCULAR = 14.0
"""Pixels between the eyes under which lips are guesswork."""
_HEAD = 2.1 / 1.3
"""The head with its hair, of the longer side of the face: an expand_ratio of 0.15 gives 2.1 faces."""
_MAX_SIDE, _MAX_PIXELS = 4096, 9_000_000
"""Largest canvas (keep_resolution)."""
_MAX_ASPECT = 2.0
"""Longest crop, of its short side."""


def make_portrait(image: Image, finder: FaceFinder, controls: Controls, name: str) -> Portrait:
    """Find the face and cut the canvas of the video out of the photo.

    Args:
        image: The photo, [height, width, 3].
        finder: Finds the face.
        controls: expand_ratio, min_resolution and keep_resolution are used.
        name: What the photo is called, for messages.

    Returns:
        A canvas with even sides. The crop is a square around the head with a short side of min_resolution, or, where
        the photo is too small for the square, what the photo has of it. keep_resolution keeps the whole photo.

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
    if enlarged > 2.5:
        remarks.append(f"{name}: the face is small and was enlarged {enlarged:.1f} times; it will look soft")
    elif controls.keep_resolution and enlarged < 0.99:
        remarks.append(
            f"{name}: {image.shape[1]}x{image.shape[0]} was reduced to {canvas.shape[1]}x{canvas.shape[0]}, "
            "the largest video made"
        )
    landmarks = finder.refine(canvas, landmarks)
    remarks += _remarks(canvas, landmarks, name, enlarged)
    return Portrait(canvas, landmarks, tuple(remarks))


def _right_side_up(image: Image, landmarks: FloatArray, name: str, remarks: List[str]) -> Tuple[Image, FloatArray]:
    """A photo that lies on its side or head is turned by quarters until the face is within 60 degrees of upright."""
    right, left = _eyes(landmarks)
    roll = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
    if abs(roll) < 60:
        if abs(roll) > 25:
            remarks.append(f"{name}: the head is tilted by {abs(roll):.0f} degrees; upright looks better")
        return image, landmarks
    quarters = round(roll / 90)
    height, width = image.shape[:2]
    image = np.ascontiguousarray(np.rot90(image, quarters))  # counterclockwise
    x, y, z = landmarks.T
    turned = {1: (y, width - 1 - x), 2: (width - 1 - x, height - 1 - y), -1: (height - 1 - y, x)}
    turned[-2] = turned[2]
    remarks.append(f"{name}: the photo lay on its side or head and was turned by {abs(quarters) * 90} degrees")
    return image, np.stack([*turned[quarters], z], axis=1).astype(np.float32)


def _check_place(image: Image, landmarks: FloatArray, name: str, remarks: List[str]) -> None:
    """See that the mouth and the face are inside the photo."""
    size = np.array(image.shape[1::-1])
    oval = landmarks[list(_OVAL), :2]
    mouth = landmarks[[61, 291, 0, 17], :2]
    if np.any(mouth < 0) or np.any(mouth > size - 1):
        raise RequestError(f"{name}: the mouth is outside the photo; the whole face is needed")
    margin = 0.04 * float(np.max(np.ptp(oval, axis=0)))
    if np.any(oval < -margin) or np.any(oval > size - 1 + margin):
        remarks.append(f"{name}: the face is cut by the edge of the photo; the whole face looks better")


Box = Tuple[int, int, int, int]
"""Left, top, right, bottom; the last two are just outside."""


def _whole(image: Image) -> Box:
    """The photo, less a last row or column that would make its sides odd."""
    height, width = image.shape[:2]
    return 0, 0, max(width // 2 * 2, 1), max(height // 2 * 2, 1)


def _head_box(image: Image, landmarks: FloatArray, expand_ratio: float) -> Box:
    """The square around the head, moved into the photo and, where that is smaller, cut to it."""
    oval = landmarks[list(_OVAL), :2].astype(np.float64)
    low, high = oval.min(axis=0), oval.max(axis=0)
    side = float(np.max(high - low)) * _HEAD * (1 + 2 * expand_ratio)
    up = landmarks[_FOREHEAD, :2] - landmarks[_CHIN, :2]
    centre = (low + high) / 2 + up / max(float(np.linalg.norm(up)), 1e-6) * 0.03 * side  # room for hair
    photo = np.array(image.shape[1::-1], np.float64)
    size = np.minimum(round(side), photo)
    longest = size.min() * _MAX_ASPECT if size.max() > 1.1 * size.min() else size.min()  # nearly a square: a square
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
        way = cv2.INTER_AREA if scale.min() < 1 else cv2.INTER_CUBIC
        canvas = np.asarray(cv2.resize(part, size, interpolation=way), np.uint8)
    return canvas, _scaled(landmarks - np.array([x0, y0, 0], np.float32), scale)


def _remarks(canvas: Image, landmarks: FloatArray, name: str, enlarged: float) -> List[str]:
    """What makes this portrait hard to animate, in words. The limits are between sheets of good and bad ones."""
    out: List[str] = []
    right, left = _eyes(landmarks)
    unit = float(np.linalg.norm((left - right)[:2]))
    across = landmarks[454] - landmarks[234]
    yaw = abs(float(np.degrees(np.arctan2(across[2], np.linalg.norm(across[:2])))))
    if yaw > 30:
        out.append(f"{name}: the face is turned away by {yaw:.0f} degrees; one that looks at the camera looks better")
    gap = float(np.mean([np.linalg.norm(landmarks[a, :2] - landmarks[b, :2]) for a, b in _LIP_GAPS])) / unit
    teeth = _teeth(canvas, landmarks)
    if gap > 0.1 or teeth > 0.2:
        what = "the mouth is open" if gap > 0.1 else "teeth are showing"
        what += " and teeth are showing" if gap > 0.1 and teeth > 0.2 else ""
        out.append(f"{name}: {what}; a closed mouth looks better")
    if enlarged <= 2.5 and _detail(canvas, landmarks, unit) < 0.05:
        out.append(f"{name}: the face is blurred; a sharp photo looks better")
    return out


_LIP_GAPS = ((13, 14), (82, 87), (312, 317))
"""Points of the inner lips over each other."""
_INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
_OUTER_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)


def _teeth(canvas: Image, landmarks: FloatArray) -> float:
    """How much of what is between the lips is clearly lighter and less red than they are, 0..1."""
    low = np.maximum(np.floor(landmarks[list(_OUTER_LIPS), :2].min(axis=0)).astype(int), 0)
    high = np.ceil(landmarks[list(_OUTER_LIPS), :2].max(axis=0)).astype(int) + 1
    lab = cv2.cvtColor(canvas[low[1] : high[1], low[0] : high[0]], cv2.COLOR_BGR2LAB)
    masks = []
    for points in (_INNER_LIPS, _OUTER_LIPS):
        mask = np.zeros(lab.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(landmarks[list(points), :2] - low).astype(np.int32)], (1,))
        masks.append(mask.astype(bool))
    between, lips = lab[masks[0]].astype(int), lab[masks[1] & ~masks[0]].astype(int)
    if not len(between) or not len(lips):
        return 0.0
    lightness, redness, _ = np.median(lips, axis=0)
    return float(np.mean((between[:, 0] > lightness + 15) & (between[:, 1] < redness - 4)))


def _detail(canvas: Image, landmarks: FloatArray, unit: float) -> float:
    """Fine detail of the face, finer than a fortieth of the interocular distance, of its contrast."""
    low = np.maximum(landmarks[:, :2].min(axis=0).astype(int), 0)
    high = landmarks[:, :2].max(axis=0).astype(int) + 1
    grey = cv2.cvtColor(canvas[low[1] : high[1], low[0] : high[0]], cv2.COLOR_BGR2GRAY)
    size = (max(8, round(grey.shape[1] * 100 / unit)), max(8, round(grey.shape[0] * 100 / unit)))
    face = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if unit > 100 else cv2.INTER_CUBIC).astype(np.float32)
    return float(np.abs(face - cv2.GaussianBlur(face, (0, 0), 2.5)).mean() / max(float(face.std()), 1.0))
