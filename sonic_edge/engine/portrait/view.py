"""Rotated squares of a photo, which are the networks' inputs, and the loading of networks."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...media import Image

Points = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A rotated square of a photo."""

    centre: Points
    """[2], photo pixels; pixel centres have integer coordinates."""
    side: float
    """Photo pixels."""
    angle: float
    """Direction of its x axis, radians, clockwise from the photo's."""

    def to_photo(self, points: Points) -> Points:
        """Convert points [..., 2] in the square, 0..1, to photo pixels."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        out: Points = (points - 0.5) @ np.array([[c, s], [-s, c]]) * self.side + self.centre
        return out

    @classmethod
    def of_face(cls, centre: Points, eye_to_eye: Points, side: float) -> "View":
        """A square aligned with a face; `eye_to_eye` points from the person's right eye to the left one."""
        return cls(centre, side, float(np.arctan2(eye_to_eye[1], eye_to_eye[0])))

    def cut(self, photo: Image, n: int, border: int) -> Image:
        """Its pixels, resampled to [n, n, 3], with averaging if that is coarser than the photo."""
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
    """Load a TensorFlow Lite network; raises ConfigError if it is missing or damaged."""
    if not path.is_file():
        raise ConfigError(f"{path}: is missing; `make setup` puts it there")
    try:
        return cv2.dnn.readNetFromTFLite(str(path))
    except cv2.error as e:
        raise ConfigError(f"{path}: cannot be loaded ({' '.join(str(e).split())}); `make setup` fetches it anew") from e
