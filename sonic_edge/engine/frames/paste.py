"""Pastes a painted face into the photo that it was cropped from.

Only changes are pasted: where the model leaves the face as it was, the photo keeps its fine detail; where the model
changes something (lips, teeth, chin), its picture is shown.
"""

from typing import Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image, Portrait
from ...model.spec import CropSpec, PasteSpec

KEPT, GONE = 4.0, 24.0
"""A pixel that changes by at most the first keeps all of the photo's detail; from the second on it keeps none (of
255)."""
SHRINK = 0.7
"""A face scaled by less than this is shrunk by averaging first, to avoid aliasing."""


class Paste:
    """Pastes painted faces into one portrait. Everything that is the same for all frames is computed once.

    Args:
        portrait: The portrait.
        crop: Where the square is on the face.
        paste: Which part of the square is pasted.
    """

    def __init__(self, portrait: Portrait, crop: CropSpec, paste: PasteSpec) -> None:
        size = crop.size
        to_crop = crop_transform(portrait, crop)
        self.crop = cut(portrait.image, to_crop, size)
        """The model's input picture, [size, size, 3]."""
        self._image = portrait.image
        rows, columns = (_inside(paste.box[i], paste.box[i + 2], size) for i in (1, 0))
        self._part = rows, columns
        self._mask = _mask(paste, size)[self._part][..., None]
        self._own = self.crop[self._part].astype(np.float32)
        # a plane over the part, and its least-squares fit to the pixels along the edge of the mask
        y, x = np.mgrid[rows, columns].astype(np.float32) / np.float32(size)
        self._plane: FloatArray = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
        edge = (self._mask * (1 - self._mask)).reshape(-1, 1)
        self._fit: FloatArray = np.linalg.solve(self._plane.T @ (edge * self._plane), (edge * self._plane).T)
        self._place, corner = self._where(to_crop, portrait.image)
        # maps pixel (x, y) of the place in the photo to the part
        shift = to_crop[:, :2] @ corner + to_crop[:, 2] - [columns.start, rows.start]
        self._matrix = np.concatenate([to_crop[:, :2], shift[:, None]], axis=1)
        self._photo = portrait.image[self._place].astype(np.float32)
        self._detail = self._photo - self._placed(self._own, cv2.BORDER_REPLICATE)
        self._change: FloatArray = np.empty((*self._own.shape[:2], 4), np.float32)

    def apply(self, painted: FloatArray) -> Image:
        """The photo with a painted face pasted in.

        Args:
            painted: [size, size, 3], BGR, 0..255.

        Returns:
            A new picture; outside the box it is identical to the photo.
        """
        change = painted[self._part] - self._own
        flat = change.reshape(-1, 3)
        flat -= self._plane @ (self._fit @ flat)  # match the photo's light and colour along the edge
        size = cv2.blur(np.abs(change).max(axis=2), (3, 3))
        self._change[..., :3] = change
        self._change[..., 3] = np.clip((size - KEPT) * np.float32(1 / (GONE - KEPT)), 0, 1)
        self._change *= self._mask
        moved = self._placed(self._change, cv2.BORDER_CONSTANT)
        out = self._image.copy()
        pixels = self._photo + moved[..., :3] - moved[..., 3:] * self._detail
        out[self._place] = np.clip(np.rint(pixels), 0, 255)
        return out

    def _where(self, to_crop: NDArray[np.float64], image: Image) -> Tuple[Tuple[slice, slice], NDArray[np.float64]]:
        """Rows and columns of the photo that the part covers, and the first pixel of these, x and y."""
        rows, columns = self._part
        corners = [(x, y) for x in (columns.start - 1, columns.stop) for y in (rows.start - 1, rows.stop)]
        there = (np.array(corners) - to_crop[:, 2]) @ np.linalg.inv(to_crop[:, :2]).T
        limit = np.array(image.shape[1::-1])
        low = np.clip(np.floor(there.min(axis=0)), 0, limit - 1).astype(int)
        high = np.clip(np.ceil(there.max(axis=0)) + 1, low + 1, limit).astype(int)
        return (slice(low[1], high[1]), slice(low[0], high[0])), low.astype(np.float64)

    def _placed(self, part: FloatArray, border: int) -> FloatArray:
        """Warp an array of the part's size to its place in the photo."""
        height, width = self._photo.shape[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(part, self._matrix, (width, height), flags=flags, borderMode=border), np.float32
        )


def crop_transform(portrait: Portrait, crop: CropSpec) -> NDArray[np.float64]:
    """The affine transform from photo to square, [2, 3]; pixel centres have integer coordinates in both."""
    left, right = portrait.eyes.astype(np.float64)
    if crop.eye_left:
        # similarity from two points, as complex numbers: z -> a z + b
        here, there = (complex(*p) for p in (left, right))
        to_left, to_right = (complex(*p) * crop.size - (0.5 + 0.5j) for p in (crop.eye_left, crop.eye_right))
        a = (to_right - to_left) / (there - here)
        b = to_left - a * here
        return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    across = (right - left) / np.linalg.norm(right - left)
    axes = np.stack([across, [-across[1], across[0]]])  # the face's own right and down
    points = portrait.landmarks[:, :2].astype(np.float64) @ axes.T
    low, high = points.min(axis=0), points.max(axis=0)
    margins, box = np.array(crop.margins), high - low
    low, high = low - margins[:2] * box, high + margins[2:] * box
    scale = crop.size / (high - low)
    return np.concatenate([axes * scale[:, None], (-low * scale - 0.5)[:, None]], axis=1)


def cut(image: Image, to_crop: NDArray[np.float64], size: int) -> Image:
    """The square cut from a photo, [size, size, 3]; beyond the photo its edge pixels are repeated."""
    matrix, scale = to_crop, float(np.linalg.norm(to_crop[:, :2], axis=1).min())
    if scale < SHRINK:
        smaller = max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale))
        grow = np.array([image.shape[1] / smaller[0], image.shape[0] / smaller[1]])
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
        # pixel i of the small picture is at (i + 0.5) * grow - 0.5
        matrix = np.concatenate(
            [to_crop[:, :2] * grow, (to_crop[:, :2] @ (0.5 * grow - 0.5) + to_crop[:, 2])[:, None]], axis=1
        )
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _inside(low: float, high: float, size: int) -> slice:
    """The pixels of the square that a span, given as shares of its side, touches."""
    return slice(int(np.floor(low * size)), int(np.ceil(high * size)))


def _mask(paste: PasteSpec, size: int) -> FloatArray:
    """Opacity of each painted pixel, [size, size], 0..1."""
    middle = (np.arange(size) + 0.5) / size
    left, top, right, bottom = paste.box
    across, down = (
        np.clip(np.minimum(middle - low, high - middle) / paste.feather, 0, 1)
        for low, high in ((left, right), (top, bottom))
    )
    soft = [t * t * (3 - 2 * t) for t in (down, across)]
    mask: FloatArray = np.outer(*soft).astype(np.float32)
    return mask
