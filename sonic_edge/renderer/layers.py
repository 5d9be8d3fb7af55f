"""The person and what is behind, apart: a head that moves uncovers background and takes no background along."""

from typing import Optional, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..media import FloatArray, Image
from .geometry import Array, Box, smoothstep
from .photo import FinePhoto

RING = (0.02, 0.14)
"""Hair finer than the matte reaches this far beyond it, interoculars, and what is behind is not read there: in front of
a background with texture, which hides it and would be taken for it, and in front of a plain one."""
PLAIN, TEXTURED = 4.0, 9.0
"""Mean deviation from the surroundings, grey levels, of a plain background and of one with texture."""
MIRRORED = 0.5
"""What is behind the head continues the background like a mirror, and over this distance grows calm, interoculars."""
HALF = 128


class Layers:
    """A photo as a person in front of a background.

    The person is kept premultiplied: photo = person + (1 - matte) background holds exactly, so that a person who does
    not move gives the photo bit for bit, however good the matte. Without a matte everything is person.

    Args:
        image: The photo, [height, width, 3].
        matte: How much of each pixel is the person, 0..255, [height, width]; None: not known.
        box: The part of the photo that will be looked up.
        unit: Pixels between the eyes.
    """

    def __init__(self, image: Image, matte: Optional[NDArray[np.uint8]], box: Box, unit: float) -> None:
        self._behind: Optional[Image] = None
        self._left, self._top = box.left, box.top
        person: NDArray[np.uint8] = image
        if matte is not None and not box.empty and int(matte[box.rows, box.columns].min()) < HALF:
            part = image[box.rows, box.columns]
            behind, person = separated(part, matte[box.rows, box.columns], unit)
            self._behind = behind
            self._photo = FinePhoto(person, (box.left, box.top))
        else:
            self._photo = FinePhoto(person[box.rows, box.columns], (box.left, box.top))
        self.scale = self._photo.scale
        """Fine pixels to a canvas pixel."""

    def place(self, positions: FloatArray) -> FloatArray:
        """Canvas positions [..., 2] as the fine positions `look_up` takes."""
        return self._photo.place(positions)

    def canvas(self, fine: FloatArray) -> FloatArray:
        """The canvas positions of fine ones [..., 2]."""
        return self._photo.canvas(fine)

    def look_up(self, fine: Array, box: Box) -> Image:
        """The picture in a box whose pixels show the person at fine positions [height, width, 2]."""
        found = self._photo.look_up(fine)
        if self._behind is None:
            return found
        behind = self._behind[
            box.top - self._top : box.bottom - self._top, box.left - self._left : box.right - self._left
        ]
        return over(found, behind)


def over(person: NDArray[np.uint8], behind: Image) -> Image:
    """A premultiplied person [h, w, 4] laid over a background [h, w, 3]."""
    through = cv2.bitwise_not(cv2.extractChannel(person, 3))
    shown: Image = cv2.add(  # type: ignore[assignment]
        cv2.cvtColor(person, cv2.COLOR_BGRA2BGR),
        cv2.multiply(behind, cv2.cvtColor(through, cv2.COLOR_GRAY2BGR), scale=1 / 255),
    )
    return shown


def separated(image: Image, matte: NDArray[np.uint8], unit: float) -> Tuple[Image, NDArray[np.uint8]]:
    """Background [h, w, 3] and premultiplied person [h, w, 4] that together are the photo.

    Args:
        image: The photo, [h, w, 3].
        matte: How much of each pixel is the person, 0..255, [h, w].
        unit: Pixels between the eyes.
    """
    behind = filled(image, matte, unit)
    # A pixel that the background cannot explain is person by as much as it takes, also where the matte saw none: hair.
    photo, back = image.astype(np.float32), behind.astype(np.float32)
    darker = 1 - photo / np.maximum(back, 1)
    lighter = (photo - back) / np.maximum(255 - back, 1)
    needed = np.clip(np.maximum(darker, lighter).max(-1), 0, 1)
    alpha = np.maximum(matte, np.ceil(255 * needed).astype(np.uint8))
    through = cv2.multiply(behind, cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2BGR), scale=1 / 255)
    # rounding may leave one grey level too much behind: there the person is solid
    alpha[(through > image).any(-1)] = 255
    through = cv2.multiply(behind, cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2BGR), scale=1 / 255)
    return behind, np.dstack([cv2.subtract(image, through), alpha])


def filled(image: Image, matte: NDArray[np.uint8], unit: float) -> Image:
    """The background with what the person hides made up from what is around.

    Behind the edge of the person it is the background mirrored in that edge; further in, where motion hardly ever
    shows it, it grows smooth.
    """
    inside = (matte >= HALF).astype(np.uint8)
    ring = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_5) / unit
    unknown = ((ring < ring_around(image, ring)) | (matte > 5)).astype(np.uint8)
    if unknown.all():
        return image
    distance, labels = cv2.distanceTransformWithLabels(
        unknown, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    h, w = unknown.shape
    known = np.flatnonzero(unknown == 0)
    nearest = np.zeros(int(labels.max()) + 1, np.int64)
    nearest[labels.ravel()[known]] = known
    from_row, from_column = np.divmod(nearest[labels], w)
    rows, columns = np.mgrid[:h, :w]
    row, column = (2 * from_row - rows).clip(0, h - 1), (2 * from_column - columns).clip(0, w - 1)
    lost = unknown[row, column] > 0  # the mirror shows the person
    row, column = np.where(lost, from_row, row), np.where(lost, from_column, column)
    mirrored = cv2.GaussianBlur(image[row, column], (0, 0), 1.0)
    far = smoothstep(distance / (MIRRORED * unit))[..., None]
    made_up = mirrored + (smooth_fill(image, unknown) - mirrored) * far
    out: Image = np.where(unknown[..., None] > 0, np.rint(made_up), image).astype(np.uint8)
    return out


def ring_around(image: Image, distance: FloatArray) -> FloatArray:
    """How far from the person the background is not to be read, interoculars, [h, w].

    Args:
        image: The photo, [h, w, 3].
        distance: From the person, interoculars, [h, w].
    """
    far = distance > RING[1]
    if not far.any():
        return np.full(distance.shape, RING[0], np.float32)
    deviation = cv2.absdiff(image, cv2.blur(image, (9, 9)))
    texture = cv2.blur(smooth_fill(deviation, (~far).astype(np.uint8)).mean(-1), (9, 9))
    narrow = smoothstep((texture - PLAIN) / (TEXTURED - PLAIN))
    ring: FloatArray = (RING[1] + (RING[0] - RING[1]) * narrow).astype(np.float32)
    return ring


def smooth_fill(image: Image, unknown: NDArray[np.uint8]) -> FloatArray:
    """The known pixels spread over the unknown ones, ever more smoothly with the distance, [h, w, 3]: push-pull.

    Gortler et al., "The Lumigraph" (1996), section 3.4.
    """
    weight = (1 - unknown).astype(np.float32)
    levels = [np.dstack([image * weight[..., None], weight])]
    while min(levels[-1].shape[:2]) > 2:
        levels.append(cv2.pyrDown(levels[-1]))
    spread = levels[-1]
    for level in reversed(levels[:-1]):
        up = cv2.resize(spread, (level.shape[1], level.shape[0]), interpolation=cv2.INTER_LINEAR)
        up = up / np.maximum(up[..., 3:], 1e-6)
        spread = level + up * (1 - np.minimum(level[..., 3:], 1))
    found: FloatArray = (spread[..., :3] / np.maximum(spread[..., 3:], 1e-6)).astype(np.float32)
    return found
