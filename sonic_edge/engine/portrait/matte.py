"""Separates the person from the background: MediaPipe's selfie segmentation, refined to the edges in the photo."""

from pathlib import Path
from typing import Any, Optional, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from .view import View, load_network

_N = 256
"""Side of the network's input, pixels."""
_REACH = 3.4
"""Largest side of its view, relative to the longer side of the face: all that a moving head can cover, and some of the
shoulders."""
_SURE = 0.75
"""Least mean confidence on the face itself; below this the network does not see the person."""
_FACE_SIDE = 260
"""Edges are found in a picture reduced so that the longer side of the face is about this many pixels."""
_RADIUS, _EPSILON = 9, 40.0
"""Of the guided filter: radius in pixels of that picture; variance of 8-bit colours that counts as an edge."""


class Matting:
    """Separates a person from the background.

    Args:
        model: selfie_segmentation.tflite.

    Raises:
        ConfigError: If it is missing or cannot be loaded.
    """

    def __init__(self, model: Path) -> None:
        self._net = load_network(model)

    def person(self, photo: Image, landmarks: FloatArray) -> Optional[NDArray[np.uint8]]:
        """How much of each pixel belongs to the person with this face.

        Args:
            photo: [height, width, 3], BGR.
            landmarks: Face mesh, [468, 3], photo pixels.

        Returns:
            0..255, [height, width], 0 outside the view; None if the network does not see the person.
        """
        xy = landmarks[:, :2].astype(np.float64)
        low, high = xy.min(0), xy.max(0)
        side = max(float(np.max(high - low)), 1.0)
        height, width = photo.shape[:2]
        size = np.array([width, height], np.float64)
        # No larger than the photo and inside it: padding beyond its borders confuses the network.
        reach = min(_REACH * side, float(size.max()))
        inset = np.minimum(reach, size) / 2
        view = View.of_face(np.clip((low + high) / 2, inset, size - inset), xy[263] - xy[33], reach)
        seen = self._look(photo, view)
        corners = view.to_photo(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
        x0, y0 = np.clip(np.floor(corners.min(0)), 0, size - 1).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(0)) + 1, [x0 + 1, y0 + 1], size).astype(int)
        part, origin = photo[y0:y1, x0:x1], np.array([x0, y0])
        # pixel of the part -> pixel of the network's view
        c, s, k = np.cos(view.angle), np.sin(view.angle), _N / view.side
        turn = k * np.array([[c, s], [-s, c]])
        matrix = np.column_stack([turn, (_N - 1) / 2 - turn @ (view.centre - origin)])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        rough = cv2.warpAffine(seen, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        face = np.zeros(rough.shape, np.uint8)
        cv2.fillConvexPoly(face, cv2.convexHull(np.rint(xy - origin).astype(np.int32)), (255,))
        if not face.any() or float(rough[face > 0].mean()) < _SURE:
            return None
        whole = _with_the_face(np.asarray(np.maximum(rough, face / 255), np.float32), xy.mean(0) - origin)
        fine = guided(part, whole, min(1.0, _FACE_SIDE / side))
        # The filter leaves a haze on both sides of an edge.
        fine = np.clip((fine - 0.08) / 0.84, 0, 1)
        matte = np.zeros((height, width), np.uint8)
        matte[y0:y1, x0:x1] = np.rint(255 * np.maximum(fine, face / 255))
        return matte

    def _look(self, photo: Image, view: View) -> FloatArray:
        """The network's mean output for a view and its mirror image, [256, 256], 0..1."""
        pixels = view.cut(photo, _N, cv2.BORDER_REPLICATE)
        both = []
        for mirrored in (False, True):
            shown = np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels
            self._net.setInput(cv2.dnn.blobFromImage(shown, 1 / 255, (_N, _N), swapRB=True))
            found = np.asarray(self._net.forward(), np.float32).reshape(_N, _N)
            both.append(found[:, ::-1] if mirrored else found)
        mean: FloatArray = np.mean(both, axis=0, dtype=np.float32)
        return mean


def _with_the_face(rough: FloatArray, centre: NDArray[np.float64]) -> FloatArray:
    """Keep only what is connected to the face: other people belong to the background."""
    _, parts = cv2.connectedComponents((rough > 0.4).astype(np.uint8))
    x, y = np.clip(np.rint(centre), 0, [rough.shape[1] - 1, rough.shape[0] - 1]).astype(int)
    own = (parts == parts[y, x]).astype(np.uint8)
    around = cv2.dilate(own, np.ones((15, 15), np.uint8))
    kept: FloatArray = rough * around
    return kept


def guided(image: Image, rough: FloatArray, scale: float) -> FloatArray:
    """Refine a map to the edges of a picture: in every small window it becomes a linear function of the colours.

    The guided filter of He, Sun and Tang (2013) with colours as guide, its coefficients computed at a reduced size (He
    and Sun, "Fast Guided Filter", 2015).

    Args:
        image: The guide, [height, width, 3].
        rough: The map, [height, width], 0..1.
        scale: Size at which the coefficients are computed, relative to the picture.

    Returns:
        [height, width], about 0..1.
    """
    height, width = rough.shape
    size: Tuple[int, int] = (max(8, round(width * scale)), max(8, round(height * scale)))
    colours = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.resize(rough, size, interpolation=cv2.INTER_AREA)

    def mean(x: NDArray[Any]) -> NDArray[Any]:
        return cv2.blur(x, (2 * _RADIUS + 1, 2 * _RADIUS + 1), borderType=cv2.BORDER_REFLECT_101)

    m, p = mean(colours), mean(small)
    with_map = mean(colours * small[..., None]) - m * p[..., None]
    pairs = np.stack([mean(colours * colours[..., [i]]) - m * m[..., [i]] for i in range(3)], -2)
    pairs = pairs + _EPSILON * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(pairs.astype(np.float64), with_map.astype(np.float64)[..., None])[..., 0]
    slope = slope.astype(np.float32)
    level = p - (slope * m).sum(-1)

    def enlarged(x: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(mean(x), (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    found = enlarged(level)
    for i in range(3):  # one colour at a time, for a third of the memory
        found += enlarged(slope[..., i]) * image[..., i]
    return found
