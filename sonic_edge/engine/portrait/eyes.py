"""Refines the eyes of a face with MediaPipe's iris network: precise lids, and the irises."""

from pathlib import Path
from typing import List, Tuple

import cv2
import numpy as np

from ...media import FloatArray, Image
from .view import Points, View, load_network

_N = 64
"""Side of the network's input, pixels."""
_REACH = 2.3
"""Side of its view, relative to the distance between the eye's corners (mediapipe's iris_landmark_landmarks_to_roi)."""
_CORNERS = ((33, 133), (263, 362))
"""Outer and inner corner of each eye, the one on the left of an upright picture first."""
_VIEWS = ((0.0, 0.0, 1.0), (0.03, 0.02, 1.06), (-0.03, -0.02, 0.95))
"""Shift (relative to the width of the eye) and scale of the views that are averaged."""
_LEFT = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112, 243,
    247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
_RIGHT = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252, 256,
    341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442,
    441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336,
    285, 417,
)  # fmt: skip
_MESH = (_LEFT, _RIGHT)
"""The mesh points of the network's 71 points, for each eye (mediapipe's face_landmark_with_attention refinement)."""
_LIDS = 16
"""The first points, which are on the lids."""
_TRUSTED = 0.35
"""Lids further than this from the mesh's, relative to the width of the eye, are rejected."""


class EyeReader:
    """Measures lids and irises of a face whose mesh is known.

    Args:
        model: iris_landmark.tflite.

    Raises:
        ConfigError: If it is missing or cannot be loaded.
    """

    def __init__(self, model: Path) -> None:
        self._net = load_network(model)
        self._outputs = ["output_eyes_contours_and_brows", "output_iris"]

    def read(self, photo: Image, landmarks: FloatArray) -> Tuple[FloatArray, FloatArray]:
        """The mesh with refined lids, and the irises.

        Args:
            photo: [height, width, 3], BGR.
            landmarks: Face mesh, [468, 3], photo pixels.

        Returns:
            The mesh, [468, 3], with lids, creases and brows replaced where the network's are near the mesh's; and x, y
            and radius of each iris, [2, 3], photo pixels, the one on the left of an upright picture first.
        """
        out = landmarks.copy()
        irises: List[Points] = []
        for mirrored, (corners, points) in enumerate(zip(_CORNERS, _MESH)):
            ends = landmarks[list(corners), :2].astype(np.float64)
            width = max(float(np.linalg.norm(ends[0] - ends[1])), 1.0)
            along = (ends[0] - ends[1]) if mirrored else (ends[1] - ends[0])
            read = []
            for dx, dy, grow in _VIEWS:
                centre = ends.mean(0) + np.array([dx, dy]) * width
                read.append(self._look(photo, View.of_face(centre, along, _REACH * grow * width), bool(mirrored)))
            contour, iris = (np.mean([r[i] for r in read], axis=0) for i in (0, 1))
            known = landmarks[list(points), :2]
            if float(np.abs(contour[:_LIDS] - known[:_LIDS]).max()) < _TRUSTED * width:
                out[list(points), :2] = contour
            radius = float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean())
            irises.append(np.array([*iris[0], radius]))
        return out, np.asarray(irises, np.float32)

    def _look(self, photo: Image, view: View, mirrored: bool) -> Tuple[Points, Points]:
        """Contour [71, 2] and iris (centre and four points on its outline) [5, 2] from one view, photo pixels."""
        pixels = view.cut(photo, _N, cv2.BORDER_REPLICATE)
        if mirrored:  # the network was trained on the eye on the left
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        self._net.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255, (_N, _N), swapRB=True))
        found = []
        for output in self._net.forward(self._outputs):
            places = (np.asarray(output, np.float64).reshape(-1, 3)[:, :2] + 0.5) / _N
            if mirrored:
                places[:, 0] = 1 - places[:, 0]
            found.append(view.to_photo(places))
        return found[0], found[1]
