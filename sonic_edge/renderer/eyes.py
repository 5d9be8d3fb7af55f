"""The eyes: lids that come down, brows that rise, an iris that turns under the lids."""

from typing import Sequence, Tuple

import cv2
import numpy as np

from ..media import FloatArray, Image
from .geometry import (
    LEFT_BROW,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    RIGHT_BROW,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    Array,
    Box,
    FaceFrame,
    Grid,
    height_at,
    median_colour,
    points_of,
    smooth_curve,
    smoothstep,
    soft_polygon,
)

EYES = ((LEFT_EYE_UPPER, LEFT_EYE_LOWER, LEFT_BROW), (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER, RIGHT_BROW))
"""Mesh points of each eye: upper lid, lower lid, brow."""
BROW_TRAVEL = 0.055
"""How far a brow rises at brow = 1, interoculars."""
GAZE_TRAVEL = 0.10
"""How far the iris goes at gaze = 1, interoculars: well under the eyeball's radius, .19."""
RIM = 0.032
"""A lid that comes down begins this far above the mesh's rim, interoculars: above the lashes, and above any error."""
PATCH_UNIT = 110
"""Pixels between the eyes at which the maps of the lids are fine enough."""
CREASE = 0.085
"""The crease over a lid, or where one would be, lies this far above the mesh's rim, interoculars."""
CREASE_FOLLOWS = 0.4
"""How far the crease goes down with the lid."""
LASH = 0.013
"""Thickness of the line of lashes on a shut lid, interoculars."""


def brow_basis(frame: FaceFrame, landmarks: FloatArray, grid: Grid) -> FloatArray:
    """Where each grid node goes at brow = 1, relative, canvas pixels, [rows, columns, 2]."""
    uv = frame.of(grid.nodes)
    lift = np.zeros(uv.shape[:2])
    for upper, _, brow in EYES:
        at = frame.of(points_of(landmarks, brow)).mean(0)
        lid = float(frame.of(points_of(landmarks, upper))[:, 1].min())
        height = max(lid - at[1], 0.12)
        du, dv = uv[..., 0] - at[0], uv[..., 1] - at[1]
        # The skin under the brow is pulled along as far as the lid's crease, the forehead a good deal further.
        reach = np.where(dv > 0, 1.05 * height, 0.45)
        lift += np.exp(-((du / 0.36) ** 4)) * smoothstep(1 - np.abs(dv) / reach)
    moved = frame.vector(np.stack([np.zeros_like(lift), -BROW_TRAVEL * np.minimum(lift, 1)], -1))
    basis: FloatArray = moved.astype(np.float32)
    return basis


def closing(u: Array, upper: Array, lower: Array) -> Array:
    """How far a lid has to go to shut an eye: to the other lid and a little over it, so that no white is left."""
    gap = np.maximum(height_at(u, lower) - height_at(u, upper), 0)
    return 1.02 * gap + np.minimum(gap, 0.012)


class Eye:
    """One eye: a map that brings its lid down without ever folding, and the line of lashes.

    Everything is worked out on a patch of the photo, in columns along the eye, as a map from a height in the frame to
    one in the photo that rises everywhere: between the brow and the crease skin is stretched a little, between the
    crease and the rim of the lid, which is unrolled, a lot. Nothing is ever copied.

    Args:
        image: The photo.
        frame: Of the face.
        landmarks: Face mesh on the canvas, [468, 3].
        groups: Mesh points of upper lid, lower lid and brow.
    """

    def __init__(
        self,
        image: Image,
        frame: FaceFrame,
        landmarks: FloatArray,
        groups: Tuple[Sequence[int], Sequence[int], Sequence[int]],
    ) -> None:
        upper, lower = (smooth_curve(frame.of(points_of(landmarks, g))) for g in groups[:2])
        brow = float(frame.of(points_of(landmarks, groups[2]))[:, 1].mean())
        self._frame = frame
        self._lid = frame.canvas(upper)
        self._low = frame.canvas(upper + np.stack([np.zeros(len(upper)), closing(upper[:, 0], upper, lower)], -1))
        left, right = float(upper[:, 0].min()), float(upper[:, 0].max())
        lid_top = float(upper[:, 1].min())
        top = lid_top - max(0.6 * (lid_top - brow), CREASE + 0.03)
        canvas = Box(0, 0, image.shape[1], image.shape[0])
        corners = np.array([[left, top], [right, top], [left, lower[:, 1].max()], [right, lower[:, 1].max()]])
        self.box = Box.around(frame.canvas(corners), 0.16 * frame.unit + 2).within(canvas)
        """The patch of the photo that a blink can change."""
        self.step = max(1, round(frame.unit / PATCH_UNIT))
        """Only every so many pixels of the patch are worked out; in between a map is read like any other."""
        if self.box.empty:
            return
        xy = np.stack(
            np.meshgrid(
                np.arange(self.box.left, self.box.right, self.step), np.arange(self.box.top, self.box.bottom, self.step)
            ),
            -1,
        )
        uv = frame.of(xy.astype(np.float64))
        u, self._v = uv[..., 0].astype(np.float32), uv[..., 1].astype(np.float32)
        lid = height_at(u, upper)
        gap = closing(u, upper, lower) * ((u > left) & (u < right))
        fade = smoothstep((np.minimum(u - left, right - u)) / 0.05)
        self._rim: FloatArray = (np.minimum(RIM, 0.5 * gap) * fade).astype(np.float32)
        self._widest = max(float(gap.max()), 0.02)
        self._lid_v: FloatArray = lid.astype(np.float32)
        self._gap: FloatArray = (gap * fade).astype(np.float32)
        self._top = np.float32(top)
        self._crease: FloatArray = np.maximum(self._lid_v - np.float32(CREASE), self._top + np.float32(0.02))
        # Away from the rim the skin is pulled along on a broader front than the eye is open.
        self._pull: FloatArray = cv2.GaussianBlur(self._gap, (0, 0), 0.09 * frame.unit / self.step).astype(np.float32)
        self._lash_colour = self._darkest(image, uv, upper, lower)
        self.skin: Image = self._lid_skin(image, self._under_eye(image, left, right, float(lower[:, 1].max())))
        """The colour a shut lid has, on the patch, [height, width, 3]."""
        self._centre = (left + right) / 2
        self._half = max((right - left) / 2, 0.05)
        self._u: FloatArray = u
        self._low_v: FloatArray = height_at(u, lower).astype(np.float32)

    def place(self, positions: FloatArray) -> FloatArray:
        """Canvas positions [..., 2] as (column, row) in `shift` and `skin`."""
        start = np.array([self.box.left, self.box.top], np.float32)
        return (positions - start) * np.float32(1 / self.step)

    def _patch(self, image: Image) -> Image:
        return image[self.box.rows, self.box.columns][:: self.step, :: self.step]

    def _darkest(self, image: Image, uv: Array, upper: Array, lower: Array) -> Array:
        """Colour of lashes: the darkest of the eye and its rim."""
        u, v = uv[..., 0], uv[..., 1]
        near = (v > height_at(u, upper) - 0.03) & (v < height_at(u, lower) + 0.01)
        near &= (u > upper[:, 0].min()) & (u < upper[:, 0].max())
        pixels = self._patch(image)[near]
        if len(pixels) == 0:
            return np.zeros(3)
        brightness = pixels.mean(1)
        dark: Array = np.median(pixels[brightness <= np.quantile(brightness, 0.12)], axis=0) * 0.65
        return dark

    def _under_eye(self, image: Image, left: float, right: float, low: float) -> Array:
        """Colour of the cheek just under the eye, BGR."""
        mask = np.zeros(image.shape[:2], np.uint8)
        corners = np.array([[left, low + 0.1], [right, low + 0.1], [right, low + 0.25], [left, low + 0.25]])
        cv2.fillConvexPoly(mask, np.round(self._frame.canvas(corners)).astype(np.int32), 255)
        near = Box.around(self._frame.canvas(corners), 1).within(Box(0, 0, image.shape[1], image.shape[0]))
        return median_colour(image[near.rows, near.columns], mask[near.rows, near.columns], (128.0, 128.0, 128.0))

    def _lid_skin(self, image: Image, cheek: Array) -> Image:
        """Colour of the skin between brow and crease, carried on smoothly over the patch, and of that under the eye."""
        patch = self._patch(image).astype(np.float32)
        grey = patch.mean(-1)
        weight = ((self._v > self._top) & (self._v < self._crease + 0.02) & (self._pull > 0.005)).astype(np.float32)
        if weight.any():
            # Not the frame of a pair of glasses, a hair or a glint.
            usual = np.quantile(grey[weight > 0], 0.6)
            weight *= np.exp(-(((grey - usual) / 30) ** 2))
        weight = weight[..., None] + np.float32(1e-6)
        summed = cv2.GaussianBlur(
            np.dstack([patch * weight, weight]), (0, 0), max(1.0, 0.08 * self._frame.unit / self.step)
        )
        above = summed[..., :3] / np.maximum(summed[..., 3:], 1e-12)
        # In the shadow of the brow it is darker and greyer than a lid, which catches the light like the cheek.
        skin: Image = np.clip(np.round(0.4 * above + 0.57 * cheek), 0, 255).astype(np.uint8)
        return skin

    def glance(self, gaze_x: float, gaze_y: float) -> FloatArray:
        """How far the source of each pixel of the patch is away when the eye turns, canvas pixels, [height, width, 2].

        The ball turns in full between the lids, less and less on the lids themselves, which follow a little.
        """
        inside = smoothstep(1 + np.minimum(self._v - self._lid_v, self._low_v - self._v) / 0.04)
        across = np.clip(1 - ((self._u - self._centre) / self._half) ** 2, 0, 1)
        amount = inside * across * GAZE_TRAVEL
        moved: FloatArray = self._frame.vector(-np.stack([amount * gaze_x, amount * 0.5 * gaze_y], -1)).astype(
            np.float32
        )
        return moved

    def lowered(self, blink: float) -> FloatArray:
        """The lid and what is above it, brought down. It goes on below the lid's rim, where `covered` cuts it off.

        Returns:
            How far the source of each pixel of the patch is away in x and in y, canvas pixels, how much of it is
            stretched lid, 0..1, and how much darker it is for being round, 0..1: [height, width, 4].
        """
        v, top = self._v, self._top
        edge = self._lid_v + self._gap * np.float32(blink)
        crease = self._crease + self._pull * np.float32(CREASE_FOLLOWS * blink)
        rim = self._lid_v - self._rim * np.float32(min(4 * blink, 1))
        above = np.minimum(v, top) + np.maximum(v - top, 0) * (self._crease - top) / (crease - top)
        on_lid = (v - crease) * (rim - self._crease) / np.maximum(edge - crease, 1e-3) + self._crease
        source = np.where(v < crease, above, on_lid)
        moved = self._frame.vector(np.stack([np.zeros_like(v), source - v], -1))
        unrolled = smoothstep((v - crease) / 0.05) * smoothstep(self._gap / self._widest)
        lid = unrolled * smoothstep(np.array(3 * blink))
        down = np.clip((v - crease) / np.maximum(edge - crease, 1e-3), 0, 1)
        sides = np.minimum(((self._u - self._centre) / self._half) ** 2, 1)
        shade = lid * (0.02 + 0.14 * down * down + 0.08 * sides)
        result: FloatArray = np.dstack([moved, lid, shade]).astype(np.float32)
        return result

    def edge(self, blink: float) -> Array:
        """The rim of the upper lid on a still head, canvas pixels, [n, 2]."""
        return self._lid + (self._low - self._lid) * blink

    def covered(self, blink: float) -> Array:
        """Outline of all that comes down with the lid, on a still head, canvas pixels, [n, 2]."""
        rim = self.edge(blink)
        out, up = self._frame.right * (0.16 * self._frame.unit), self._frame.down * (0.5 * self._frame.unit)
        left, right = rim[:1] - out, rim[-1:] + out
        return np.concatenate([left, rim, right, right - up, left - up])

    def paint_lid(self, patch: Image, skin: Image, lid: FloatArray, shade: FloatArray) -> Image:
        """Give stretched lid the colour of the skin above it: what was a narrow band has become streaks.

        Args:
            patch: Part of a frame.
            skin: `skin` as it lies on the frame, the same size.
            lid: How much of each pixel is stretched lid, 0..1, [height, width].
            shade: How much darker it becomes, 0..1, [height, width].
        """
        under = patch.astype(np.float32)
        mixed = under + (skin.astype(np.float32) - under) * (np.float32(0.88) * lid[..., None])
        mixed *= 1 - shade[..., None]
        painted: Image = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
        return painted

    def draw_lashes(self, out: Image, edge: Array, blink: float, softness: float) -> None:
        """Darken the line where the lids meet.

        Args:
            out: The frame, changed in place.
            edge: Rim of the upper lid on the frame, canvas pixels, [n, 2].
            blink: 0..1.
            softness: Of edges, pixels.
        """
        unit = self._frame.unit
        box = Box.around(edge, 0.05 * unit + 3).within(Box(0, 0, out.shape[1], out.shape[0]))
        if box.empty:
            return
        thick = LASH * unit * np.sin(np.linspace(0.0, np.pi, len(edge)))[:, None]
        down = self._frame.down
        outline = np.concatenate([edge - down * thick * 0.7, (edge + down * thick * 0.6)[::-1]])
        blur = max(softness, 0.008 * unit)
        strength = soft_polygon(outline, box, blur)[..., None] * np.float32(0.8 * min(1.0, 1.6 * blink))
        patch = out[box.rows, box.columns]
        mixed = patch + (self._lash_colour.astype(np.float32) - patch) * strength
        out[box.rows, box.columns] = np.where(patch > mixed, np.round(mixed), patch).astype(np.uint8)
