"""Turned squares of a photo, which is what networks look at, and the loading of networks."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...media import Image

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Patch:
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

    @classmethod
    def of_face(cls, centre: Points, eye_to_eye: Points, side: float) -> "Patch":
        """A square that stands as upright as a face whose right eye looks along `eye_to_eye` at its left."""
        return cls(centre, side, float(np.arctan2(eye_to_eye[1], eye_to_eye[0])))

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


def load_network(path: Path) -> cv2.dnn.Net:
    """A network of TensorFlow Lite; ConfigError if it is missing or broken."""
    if not path.is_file():
        raise ConfigError(f"{path}: is missing; `make setup` puts it there")
    try:
        return cv2.dnn.readNetFromTFLite(str(path))
    except cv2.error as e:
        raise ConfigError(f"{path}: cannot be loaded ({' '.join(str(e).split())}); `make setup` fetches it anew") from e
