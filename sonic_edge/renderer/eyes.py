"""The eyes: lids that come down, brows that rise, an iris that turns under the lids."""

from typing import Mapping, Sequence, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

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
    points_of,
    smooth_curve,
    smoothstep,
)

EYES = ((LEFT_EYE_UPPER, LEFT_EYE_LOWER, LEFT_BROW), (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER, RIGHT_BROW))
"""Mesh points of each eye: upper lid, lower lid, brow."""
BROW_TRAVEL = 0.055
"""How far a brow rises at brow = 1, interoculars."""
EYE_RADIUS = 0.19
"""Of the eyeball, interoculars (12 mm of 63)."""
LASH = 0.016
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


class Eye:
    """One eye: a map that brings its lid down without ever folding, and the line of lashes.

    Everything is worked out on a patch of the photo, in columns along the eye. For a pixel at height v between the
    crease ``top`` and the lid's new edge ``new``, the source is ``v - gap * blink * w((v - top) / (new - top))`` with w
    rising from 0 to 1 and never so fast that the map would turn back: skin is stretched, nothing is copied.

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
        self._low = frame.canvas(np.stack([upper[:, 0], height_at(upper[:, 0], lower)], -1))
        left, right = float(upper[:, 0].min()), float(upper[:, 0].max())
        lid_top = float(upper[:, 1].min())
        crease = lid_top - max(0.7 * (lid_top - brow), 0.10)
        canvas = Box(0, 0, image.shape[1], image.shape[0])
        corners = np.array([[left, crease], [right, crease], [left, lower[:, 1].max()], [right, lower[:, 1].max()]])
        self.box = Box.around(frame.canvas(corners), 0.06 * frame.unit + 2).within(canvas)
        """The patch of the photo that a blink can change."""
        if self.box.empty:
            return
        xy = np.stack(
            np.meshgrid(np.arange(self.box.left, self.box.right), np.arange(self.box.top, self.box.bottom)), -1
        )
        uv = frame.of(xy.astype(np.float64))
        u, self._v = uv[..., 0].astype(np.float32), uv[..., 1].astype(np.float32)
        lid = height_at(u, upper)
        gap = np.maximum(height_at(u, lower) - lid, 0) * ((u > left) & (u < right))
        fade = smoothstep((np.minimum(u - left, right - u)) / 0.05)
        self._lid_v: FloatArray = lid.astype(np.float32)
        self._gap: FloatArray = (gap * 1.02 * fade).astype(np.float32)
        self._top: FloatArray = np.full_like(self._lid_v, crease)
        # w = k q^2 + (1 - k) q rises at most by 1 + k: as curved as the room above the lid allows.
        room = self._lid_v - self._top + self._gap
        bend = 0.85 * room / np.maximum(self._gap, 1e-3) - 1
        self._bend: FloatArray = np.clip(bend, 0, 1).astype(np.float32)
        self._lash_colour = self._darkest(image, uv, upper, lower)
        self._centre = (left + right) / 2
        self._half = max((right - left) / 2, 0.05)
        self._u: FloatArray = u
        self._low_v: FloatArray = height_at(u, lower).astype(np.float32)

    def _darkest(self, image: Image, uv: Array, upper: Array, lower: Array) -> Array:
        """Colour of lashes: the darkest of the eye and its rim."""
        u, v = uv[..., 0], uv[..., 1]
        near = (v > height_at(u, upper) - 0.03) & (v < height_at(u, lower) + 0.01)
        near &= (u > upper[:, 0].min()) & (u < upper[:, 0].max())
        pixels = image[self.box.rows, self.box.columns][near]
        if len(pixels) == 0:
            return np.zeros(3)
        brightness = pixels.mean(1)
        dark: Array = np.median(pixels[brightness <= np.quantile(brightness, 0.12)], axis=0) * 0.8
        return dark

    def shift(self, pose: Mapping[str, float]) -> FloatArray:
        """How far each pixel of the patch is from its source, canvas pixels, [height, width, 2]."""
        blink = np.float32(pose["blink"])
        du = np.zeros_like(self._v)
        dv = np.zeros_like(self._v)
        if pose["gaze_x"] or pose["gaze_y"]:
            # The ball turns behind the lids: full in the middle of the opening, none at its rim, sources stay inside.
            inside = np.clip(np.minimum(self._v - self._lid_v, self._low_v - self._v) / 0.025, 0, 1)
            across = np.clip(1 - ((self._u - self._centre) / self._half) ** 2, 0, 1)
            amount = (inside * across * np.float32(EYE_RADIUS * 0.6)).astype(np.float32)
            du -= amount * np.float32(pose["gaze_x"])
            dv -= amount * np.float32(pose["gaze_y"] * 0.5)
            source = np.clip(self._v + dv, self._lid_v + 0.012, np.maximum(self._low_v - 0.012, self._lid_v + 0.012))
            dv = np.where(inside > 0, source - self._v, dv).astype(np.float32)
        if blink > 0:
            edge = self._lid_v + self._gap * blink
            reach = edge - self._top
            q = np.clip((self._v - self._top) / np.maximum(reach, 1e-3), 0, 1)
            drop = self._gap * blink * q * (1 - self._bend + self._bend * q)
            covered = (self._v <= edge) & (self._gap > 0)
            dv = np.where(covered, -drop, dv)
            du = np.where(covered, 0, du)
        moved: FloatArray = self._frame.vector(np.stack([du, dv], -1)).astype(np.float32)
        return moved

    def edge(self, blink: float) -> Array:
        """The rim of the upper lid on a still head, canvas pixels, [n, 2]."""
        return self._lid + (self._low - self._lid) * blink

    def draw_lashes(self, out: Image, edge: Array, blink: float) -> None:
        """Darken the line where the lids meet.

        Args:
            out: The frame, changed in place.
            edge: Rim of the upper lid on the frame, canvas pixels, [n, 2].
            blink: 0..1.
        """
        unit = self._frame.unit
        box = Box.around(edge, 0.05 * unit + 3).within(Box(0, 0, out.shape[1], out.shape[0]))
        if box.empty:
            return
        thick = LASH * unit * np.sin(np.linspace(0.12, np.pi - 0.12, len(edge)))[:, None]
        down = self._frame.down
        outline = np.concatenate([edge - down * thick * 0.6, (edge + down * thick * 0.5)[::-1]])
        mask: NDArray[np.uint8] = np.zeros((box.height, box.width), np.uint8)
        fixed = np.round((outline - (box.left, box.top)) * 16).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
        fine = cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.007 * unit)).astype(np.float32)
        strength = fine[..., None] * np.float32(0.75 / 255 * min(1.0, 1.6 * blink))
        patch = out[box.rows, box.columns]
        mixed = patch + (self._lash_colour.astype(np.float32) - patch) * strength
        out[box.rows, box.columns] = np.where(patch > mixed, np.round(mixed), patch).astype(np.uint8)
