"""The renderer's inner loops, compiled: every processor gives the same bytes."""

from typing import Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from .geometry import Mask

def weighted(weights: FloatArray, bases: FloatArray, out: FloatArray) -> None:
    """Weighted sum of bases, added in order: the same bits on every processor and for any memory alignment.

    Args:
        weights: float32 [n].
        bases: float32 [n, m].
        out: Filled, float32 [m].

    Raises:
        ValueError: Shapes do not fit.
    """

def bounds(points: NDArray[np.float64]) -> Tuple[float, float, float, float]:
    """Smallest x and y, and largest x and y, of points, float64 [n, 2], n at least 1.

    Raises:
        ValueError: Shapes do not fit, or there is no point.
    """

def invert(
    field: FloatArray,
    at: FloatArray,
    are_nodes: bool,
    out: FloatArray,
    start: Tuple[float, float],
    cell: float,
    iterations: int,
    tolerance: float,
) -> None:
    """Invert a displacement field: find x with x + field(x) = at, by fixed-point iteration.

    Args:
        field: Displacement of each node of a grid, canvas pixels, float32 [rows, columns, 2]; slope under 1.
        at: The points, canvas pixels, float32 [n, m, 2].
        are_nodes: Whether the points are the field's nodes.
        out: The solutions; filled, [n, m, 2]. Points outside the grid are their own solutions.
        start: Canvas position of the first node.
        cell: Pixels between nodes.
        iterations: Most iterations; each multiplies the error by the slope of the field.
        tolerance: A point that moves less than this in an iteration is done, pixels.

    Raises:
        ValueError: Shapes do not fit.
    """

def sampled(field: FloatArray, start: Tuple[float, float], cell: float, at: FloatArray, out: FloatArray) -> None:
    """Interpolate a field linearly between its nodes; beyond the outermost ones it is constant.

    Args:
        field: float32 [rows, columns, k].
        start: Position of the first node.
        cell: Distance between nodes.
        at: The positions, float32 [n, 2].
        out: Filled, float32 [n, k].

    Raises:
        ValueError: Shapes do not fit.
    """

def warp(
    out: Image,
    box: Tuple[int, int, int, int],
    still: Optional[Image],
    nodes: FloatArray,
    gain: Optional[FloatArray],
    grid: Tuple[int, int, int],
    photo: NDArray[np.uint8],
    placing: Tuple[float, float, float],
    behind: Optional[Image],
    behind_origin: Tuple[int, int],
    patches: Tuple[Tuple[FloatArray, Tuple[float, float, float], Tuple[int, int, int, int]], ...],
    share: Optional[Mask],
) -> None:
    """Render part of a frame: sample the person at the nodes' source positions, over the background, and apply gains.

    Positions and gains are interpolated linearly between nodes, colours between pixels. At integer positions the
    photo's values are exact, bit for bit; positions on its last row and column, or outside it, are clamped just inside.

    Args:
        out: The frame, BGR, [h, w, 3].
        box: The part: left, top, right, bottom on the canvas. It must be inside `out`, `behind` and the nodes.
        still: The photo, [h, w, 3], copied where nodes are at rest; None: sample there too.
        nodes: Source position in the photo of each node, canvas pixels, float32 [rows, columns, 2].
        gain: Relative change of the light, -1..1, float32 [rows, columns]; None: no change.
        grid: Left, top and cell of the `geometry.Grid`.
        photo: Premultiplied person: B, G, R, alpha, [h, w, 4].
        placing: Canvas column and row of its first pixel, and its pixels per canvas pixel.
        behind: The background, BGR, [h, w, 3]; None: there is none, the photo is opaque.
        behind_origin: Canvas column and row of its first pixel.
        patches: At most 4 further displacements of the source. Each: the field, indexed by source position, canvas
            pixels, float32 [h, w, 2], zero outside; canvas column and row of its first value, and the distance between
            values; the part of the frame that it can affect.
        share: Opacity with which the box is replaced, 0..255, [box's height, width]; None: opaque.

    Raises:
        ValueError: Shapes do not fit, or a box is outside.
    """

def outline(
    points: NDArray[np.float64],
    start: Tuple[float, float],
    scale: float,
    sigma: float,
    most: float,
    out: Mask,
) -> None:
    """Rasterise polygons with exact area coverage, and blur them.

    Args:
        points: Corners, canvas pixels (centres at integers), float64 [k, n, 2]; all polygons must have the same
            orientation. Coordinates are clamped to a million pixels.
        start: Canvas column and row of the first pixel of `out`.
        scale: Pixels of `out` per canvas pixel, more than 0.
        sigma: Standard deviation of the blur, pixels of `out`, 0..500. Border values are repeated.
        most: Value of a fully covered pixel, 0..1, for 0..255.
        out: [h, w]; each pixel becomes the larger of its value and the new one.

    Raises:
        ValueError: Shapes do not fit, or a number is out of its range.
    """

def tint(
    out: Image,
    start: Tuple[int, int],
    mask: Mask,
    colour: Tuple[float, float, float],
    strength: float,
    only_darker: bool,
) -> None:
    """Mix a colour into part of a frame.

    Args:
        out: The frame, BGR, [h, w, 3].
        start: Column and row of the mask's first pixel in the frame.
        mask: Opacity, 0..255, [h, w]; must be inside the frame.
        colour: BGR, 0..255.
        strength: Factor for the mask, 0..1.
        only_darker: Whether channels may only become darker.

    Raises:
        ValueError: Shapes do not fit, or the mask is not within the frame.
    """

def between_lips(
    out: Image,
    start: Tuple[int, int],
    opened: Mask,
    rolled: Mask,
    shown: float,
    rolls: float,
    light: Mask,
    entering: FloatArray,
    tuck: float,
    nodes: FloatArray,
    grid: Tuple[int, int, int],
    matrix: FloatArray,
    dark: FloatArray,
    deep: FloatArray,
    near: FloatArray,
    paintings: Tuple[Tuple[NDArray[np.uint8], float, float, float, bool], ...],
) -> None:
    """Draw the inside of a mouth, layer by layer, each with its own light; see `interior`.

    Args:
        out: The frame, BGR, [h, w, 3].
        start: Column and row of the masks' first pixel in the frame.
        opened: How much of each pixel is between the lips, 0..255, [h, w].
        rolled: How much of it is where the lips turn inwards and darken, 0..255, [h, w].
        shown: Opacity of the inside, 0..1.
        rolls: How much darker the lips become, 0..1.
        light: Share of the light outside that reaches each place, 0..255, [h / 4, w / 4], both rounded up.
        entering: The light inside for each value of `light`, 0..1, float32 [256].
        tuck: How far the lower lip is tucked under the teeth, which brings these into the light, 0..1.
        nodes: Source position in the photo of each node of a grid, canvas pixels, float32 [rows, columns, 2].
        grid: Left, top and cell of the `geometry.Grid`.
        matrix: Affine transform from the canvas to the paintings, float32 [2, 3].
        dark: Colour of the empty cavity, BGR, at each of 256 levels of light, float32 [256, 3].
        deep: Factor of each colour deep inside, at each of 256 levels of light, float32 [256, 3].
        near: The same right behind the lips.
        paintings: At most 4, from back to front. Each: premultiplied B, G, R, alpha, uint8 [h, w, 4]; how far down it
            is drawn, in its own pixels; how far in front it is, 0 (deep) to 1 (near); how much of the photo's light it
            keeps, 0..1; whether it is sampled bicubically.

    Raises:
        ValueError: Shapes do not fit, or the masks are not within the frame.
    """

def lowered(
    maps: FloatArray,
    top: float,
    blink: float,
    follows: float,
    down: Tuple[float, float],
    unit: float,
    moved: FloatArray,
    unrolled: FloatArray,
) -> None:
    """Compute the displacement of a lowered lid; see `eyes.Eye.lowered`.

    Args:
        maps: v; v of the lid's edge; the gap to close; v of the crease; how far it is pulled; where the lid begins
            above its edge; weight towards the middle of the eye: float32 [7, h, w].
        top: v from which the skin is stretched.
        blink: How far the lid is lowered, 0..1.
        follows: How far the crease follows, as a share of the pull.
        down: Canvas direction of v.
        unit: Canvas pixels per unit of v.
        moved: Displacement to the source, canvas pixels; filled, float32 [h, w, 2].
        unrolled: How much of the pixel is lid that the photo does not show, 0..1, and how far down it is sampled in the
            shut lid, canvas pixels; filled, float32 [h, w, 2].

    Raises:
        ValueError: Shapes do not fit.
    """

def lay_skin(
    out: Image,
    start: Tuple[int, int],
    mask: Mask,
    nodes: FloatArray,
    grid: Tuple[int, int, int],
    unrolled: FloatArray,
    shut: NDArray[np.uint8],
    placing: Tuple[float, float, float],
    down: Tuple[float, float],
) -> None:
    """Blend the texture of a shut lid over the frame; see `eyes.Eye.lay_skin`.

    Args:
        out: The frame, BGR, [h, w, 3].
        start: Column and row of the mask's first pixel in the frame.
        mask: How much of each pixel is the lid, 0..255, [h, w].
        nodes: Source position in the photo of each node of a grid, canvas pixels, float32 [rows, columns, 2].
        grid: Left, top and cell of the `geometry.Grid`.
        unrolled: From `lowered`, float32 [m, n, 2].
        shut: The texture: B, G, R, unused, uint8 [m, n, 4].
        placing: Canvas column and row of the first value of both, and the distance between values, pixels.
        down: Canvas direction of v.

    Raises:
        ValueError: Shapes do not fit, or the mask is not within the frame.
    """

def turned(
    maps: FloatArray,
    iris: Tuple[float, float],
    go: Tuple[float, float],
    far: float,
    fades: float,
    out: FloatArray,
) -> None:
    """Compute the displacement of an eye that turns; see `eyes.Eye.glance`.

    Args:
        maps: u; v; x and y of the source shift per unit to the right; the same per unit down: float32 [6, h, w].
        iris: u and v of its centre after turning.
        go: Its shift right and down, interoculars.
        far: Distance from its centre beyond which nothing moves, interoculars.
        fades: Distance over which the motion fades out towards that.
        out: Displacement to the source, canvas pixels; filled, float32 [h, w, 2].

    Raises:
        ValueError: Shapes do not fit.
    """
