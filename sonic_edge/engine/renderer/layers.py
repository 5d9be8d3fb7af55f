"""Separates the person from the background, so that a moving head uncovers background instead of dragging it along.

A plain background stands still, and is inpainted where the head hides it. Inpainting a textured background would be
visible: so close to the head it moves along, ever less with the distance, as if drawn on rubber; further out it stands
still.
"""

from typing import Any, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from . import _pixels
from .geometry import Array, Box, FaceFrame, Grid, Mask, Patch, look_up, smoothstep
from .photo import FinePhoto

RING = 0.3
"""Hair, or the frame of glasses, extends at most this far beyond the matte, interoculars. Everything there that differs
from a plain background counts as part of the person."""
PATTERN = 0.3
"""Texture means variation within this distance, interoculars."""
PLAIN, TEXTURED = 1.8, 3.5
"""Mean deviation from the local mean, grey levels, up to which a background is plain, and from which it is textured."""
MIRROR_DEPTH = 0.8
"""Behind the head the background is continued by mirroring, which fades to a smooth fill over this distance,
interoculars."""
NECK = (-0.25, 0.3)
"""Below the chin the background begins to move with the neck at the first distance, fully from the second,
interoculars."""
FILL_UNIT = 160.0
"""Highest resolution of inpainting, in pixels between the eyes."""
EXTENSION = 0.4
"""The person is extended this far beyond the borders of the photo, interoculars."""
STRIP = 256
"""Rows of a photo that are processed at once."""
SMOOTH_EDGE = 0.12
"""The edge at which the background is mirrored is smoothed over this distance, interoculars."""
FILL_ERROR = 6
"""Where nobody is, inpainting may be corrected by up to this many grey levels to match the photo."""
LEAST_HEADROOM = 48
"""Grey levels from a light background to white, at least, in estimating the opacity of something lighter."""
UNSEEN = 5
"""A matte of at most this means that nobody is there."""
HALF = 128
"""From this matte on, a pixel counts as the person."""


class Layers:
    """A photo as a person in front of a background.

    The person is stored premultiplied: photo = person + (1 - matte) background holds exactly. So a person who does not
    move gives the photo bit for bit, however good the matte. Without a matte everything is person.

    Args:
        image: The photo, [height, width, 3].
        matte: How much of each pixel is the person, 0..255, [height, width]; None: unknown.
        box: The part of the photo that will be sampled.
        frame: The face's coordinates.
        chin: v of the tip of the chin. Beside the neck, which hardly moves, the background moves with it, or it would
            be torn there.
    """

    def __init__(
        self, image: Image, matte: Optional[NDArray[np.uint8]], box: Box, frame: FaceFrame, chin: float
    ) -> None:
        self._behind: Optional[Image] = None
        self._texture: Optional[NDArray[np.uint8]] = None
        self._left, self._top = box.left, box.top
        part = image[box.rows, box.columns]
        if matte is not None and not box.empty and int(matte[box.rows, box.columns].min()) < HALF:
            corner = frame.of(np.array([box.left, box.top]))[1] - chin
            down = frame.down / frame.unit
            below = corner + down[0] * np.arange(box.width)[None, :], down[1] * np.arange(box.height)[:, None]
            self._behind, person, self._texture = separate(part, matte[box.rows, box.columns], frame.unit, below)
        else:
            person = np.dstack([part, np.full(part.shape[:2], 255, np.uint8)])
        height, width = image.shape[:2]
        reach = min(round(EXTENSION * frame.unit) + 4, box.width - 1, box.height - 1)
        ends = box.left == 0, box.top == 0, box.right == width, box.bottom == height
        left, top, right, bottom = (reach if end else 0 for end in ends)
        if not box.empty:
            person = extended(person, left, top, right, bottom)
        self._person = FinePhoto(person, (box.left - left, box.top - top))

    def texture(self, positions: FloatArray) -> FloatArray:
        """Whether the background at canvas positions [..., 2] has texture, 0..1, [...]; 1 if unknown."""
        if self._texture is None:
            return np.ones(positions.shape[:-1], np.float32)
        at = positions - np.array([self._left, self._top], np.float32)
        read: FloatArray = look_up(self._texture, at, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE).astype(np.float32)
        return read / np.float32(255)

    def draw(
        self,
        out: Image,
        box: Box,
        grid: Grid,
        nodes: FloatArray,
        gain: Optional[FloatArray],
        still: Optional[Image] = None,
        patches: Sequence[Patch] = (),
        share: Optional[Mask] = None,
    ) -> None:
        """Render part of a frame; see `_pixels.warp`.

        Args:
            out: The frame, BGR, changed in place.
            box: The part, inside the grid.
            grid: The grid of the nodes.
            nodes: Source position in the photo of each node, canvas pixels, [rows, columns, 2].
            gain: Relative change of the light at each node, [rows, columns]; None: no change.
            still: The photo, as large as `out`: where nodes are at rest it is copied, which is faster than sampling.
            patches: Further displacements.
            share: Opacity with which the box is replaced; None: full.
        """
        if box.empty:
            return
        person = self._person
        _pixels.warp(
            out,
            box.ends,
            still,
            nodes,
            gain,
            (grid.left, grid.top, grid.cell),
            person.pixels,
            (*person.start, person.scale),
            self._behind,
            (self._left, self._top),
            tuple((patch.field, patch.placing, patch.box.ends) for patch in patches),
            share,
        )


def extended(person: NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
    """A premultiplied person [h, w, 4] extended beyond the borders of the photo by a number of pixels on each side.

    It is mirrored, but only where the border cuts it: above a head that ends below the border there is nothing.
    """
    whole = np.asarray(cv2.copyMakeBorder(person, top, bottom, left, right, cv2.BORDER_REFLECT_101), np.uint8)
    height, width = whole.shape[:2]

    def fade(part: NDArray[np.uint8], cut: NDArray[np.uint8]) -> None:
        if part.size:
            part[...] = np.rint(part * (cut[..., None] / np.float32(255)))

    fade(whole[:top], whole[top : top + 1, :, 3])
    fade(whole[height - bottom :], whole[height - bottom - 1 : height - bottom, :, 3])
    fade(whole[:, :left], whole[:, left : left + 1, 3])
    fade(whole[:, width - right :], whole[:, width - right - 1 : width - right, 3])
    return whole


def separate(
    image: Image, matte: NDArray[np.uint8], unit: float, below: Tuple[Array, Array]
) -> Tuple[Image, NDArray[np.uint8], NDArray[np.uint8]]:
    """Split a photo into background [h, w, 3] and premultiplied person [h, w, 4]; also the texture, 0..255 [h, w].

    Args:
        image: The photo, [h, w, 3].
        matte: How much of each pixel is the person, 0..255, [h, w].
        unit: Pixels between the eyes.
        below: How far each pixel is below the chin, interoculars, as a sum of [1, w] and [h, 1].
    """
    behind, texture = inpaint(image, matte, unit)
    person = np.empty((*matte.shape, 4), np.uint8)
    for top in range(0, len(matte), STRIP):  # at once, a large photo would take a dozen times its size in memory
        rows = slice(top, top + STRIP)
        photo, back = image[rows].astype(np.float32), behind[rows].astype(np.float32)
        # Inpainting is only approximate: where nobody is, move it to the photo's values, or close to them.
        nobody = (matte[rows] <= UNSEEN)[..., None]
        back += np.clip(photo - back, -FILL_ERROR, FILL_ERROR) * nobody
        behind[rows] = back
        with_neck = smoothstep((below[0] + below[1][rows] - NECK[0]) / (NECK[1] - NECK[0]))
        # The person covers a pixel at least as much as its difference from the background requires, even outside the
        # matte.
        darker = (back - photo) / np.maximum(back, 1)
        # (near white a single grey level would require much coverage; being a little too light does no harm)
        lighter = (photo - back) / np.maximum(255 - back, LEAST_HEADROOM)
        needed = np.clip(channel_max(np.maximum(darker, lighter)), 0, 1)
        alpha = np.ceil(255 * np.maximum(needed, with_neck)).astype(np.uint8)
        alpha = np.maximum(np.maximum(alpha, matte[rows]), texture[rows])
        # after rounding the background may be one grey level too bright: there the person is opaque
        alpha[channel_max(cv2.subtract(attenuated(behind[rows], alpha), image[rows])) > 0] = 255
        person[rows, :, :3] = cv2.subtract(image[rows], attenuated(behind[rows], alpha))
        person[rows, :, 3] = alpha
    return behind, person, texture


def channel_max(colours: NDArray[Any]) -> NDArray[Any]:
    """Maximum of three channels [h, w, 3]: [h, w]. Many times faster than NumPy's `max(-1)`."""
    largest: NDArray[Any] = np.maximum(np.maximum(colours[..., 0], colours[..., 1]), colours[..., 2])
    return largest


def attenuated(behind: Image, alpha: NDArray[np.uint8]) -> Image:
    """A background [h, w, 3] attenuated by a person with opacity alpha [h, w]."""
    left: Image = cv2.multiply(behind, cv2.cvtColor(cv2.bitwise_not(alpha), cv2.COLOR_GRAY2BGR), scale=1 / 255)  # type: ignore[assignment]
    return left


def inpaint(image: Image, matte: NDArray[np.uint8], unit: float) -> Tuple[Image, NDArray[np.uint8]]:
    """The background, inpainted where the person hides it, and where it has texture, 0..255 [h, w].

    Just behind the edge of the person the background is mirrored at that edge; further in, where motion hardly ever
    uncovers it, it becomes smooth. In a large photo inpainting is done at a reduced size.
    """
    scale = min(1.0, FILL_UNIT / unit)
    if scale < 1:
        size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
        small = [np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_AREA), np.uint8) for x in (image, matte)]
        size = (image.shape[1], image.shape[0])
        behind, unknown, texture = (
            np.asarray(cv2.resize(x, size, interpolation=cv2.INTER_LINEAR), np.uint8)
            for x in inpaint_at_scale(small[0], small[1], unit * scale)
        )
        cv2.copyTo(image, cv2.bitwise_not(unknown * np.uint8(255)), behind)
        return behind, texture
    behind, _, texture = inpaint_at_scale(image, matte, unit)
    return behind, texture


def inpaint_at_scale(
    image: Image, matte: NDArray[np.uint8], unit: float
) -> Tuple[Image, NDArray[np.uint8], NDArray[np.uint8]]:
    """`inpaint` without scaling: the background; where it is inpainted, 1 or 0; its texture, 0..255; [h, w]."""
    texture = texture_around(image, matte, unit)
    outside = (matte < HALF).astype(np.uint8)
    ring = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_5).astype(np.float32) / unit
    unknown = ((ring < RING) | (matte > UNSEEN)).astype(np.uint8)
    if unknown.all():
        return image.copy(), np.zeros_like(unknown), np.full_like(unknown, 255)
    distance = cv2.distanceTransform(unknown, cv2.DIST_L2, cv2.DIST_MASK_5).astype(np.float32)
    # The direction outwards, from a smoothed distance map: at a jagged edge the mirror image would break up.
    hill = cv2.GaussianBlur(distance, (0, 0), max(1.0, SMOOTH_EDGE * unit))
    slope: Any = np.dstack([cv2.Sobel(hill, cv2.CV_32F, 1, 0), cv2.Sobel(hill, cv2.CV_32F, 0, 1)])
    slope /= np.maximum(np.sqrt(slope[..., 0] ** 2 + slope[..., 1] ** 2), 1e-6)[..., None]
    h, w = unknown.shape
    here = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).astype(np.float32)
    source = here - (2 * distance)[..., None] * slope
    mirrored = look_up(image, source, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101).astype(np.float32)
    # Where the mirror image would show the person, and far inside, use the smooth fill.
    shows = look_up(1 - unknown.astype(np.float32), source, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
    share = cv2.blur(shows, (3, 3)) * (1 - smoothstep(distance / (MIRROR_DEPTH * unit)))
    calm = smooth_fill(image, unknown)
    made_up = calm + (mirrored - calm) * share[..., None]
    out: Image = np.where(unknown[..., None] > 0, np.clip(np.rint(made_up), 0, 255), image).astype(np.uint8)
    return out, unknown, np.rint(255 * texture).astype(np.uint8)


def texture_around(image: Image, matte: NDArray[np.uint8], unit: float) -> FloatArray:
    """Whether the background has texture, 0 (plain) to 1, [h, w]; near the person extrapolated from further out."""
    near = cv2.distanceTransform((matte < HALF).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) <= RING * unit
    if near.all():
        return np.ones(matte.shape, np.float32)
    # Exclude the person from the blur, who would count as texture.
    seen = (~near).astype(np.float32)
    n = 2 * max(2, round(PATTERN * unit / 2)) + 1
    weight = cv2.blur(seen, (n, n))
    around = cv2.blur(image * seen[..., None], (n, n)) / np.maximum(weight, 1e-3)[..., None]
    deviation = np.clip(np.abs(image - around) * seen[..., None], 0, 255).astype(np.uint8)
    spread = smooth_fill(deviation, near.astype(np.uint8))
    mean = cv2.blur((spread[..., 0] + spread[..., 1] + spread[..., 2]) / 3, (n, n))
    texture: FloatArray = smoothstep((mean - PLAIN) / (TEXTURED - PLAIN)).astype(np.float32)
    return texture


def smooth_fill(image: Image, unknown: NDArray[np.uint8]) -> FloatArray:
    """Fill unknown pixels from the known ones, more smoothly with the distance, [h, w, 3]: push-pull.

    Gortler et al., "The Lumigraph" (1996), section 3.4.
    """
    known = np.empty((*unknown.shape, 4), np.float32)
    known[..., 3] = 1 - unknown
    np.multiply(image, known[..., 3:], out=known[..., :3])
    levels: List[Any] = [known]
    while min(levels[-1].shape[:2]) > 2:
        levels.append(cv2.pyrDown(levels[-1]))
    spread = levels.pop()
    while levels:  # (in place: allocation would cost more than the arithmetic)
        level = levels.pop()
        up = cv2.pyrUp(spread, dstsize=(level.shape[1], level.shape[0]))
        up *= (1 - np.minimum(level[..., 3], 1))[..., None] / np.maximum(up[..., 3:], 1e-6)
        spread = level
        spread += up
    found: FloatArray = spread[..., :3] / np.maximum(spread[..., 3:], 1e-6)
    return found
