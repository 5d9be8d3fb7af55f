"""The renderer's inner loops, compiled: every processor gives the same."""

from typing import Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from .geometry import Mask

def weighted(weights: FloatArray, bases: FloatArray, out: FloatArray) -> None:
    """Sum of bases, each by its weight, in their order: the same bits on every processor and for any memory.

    Args:
        weights: float32 [n].
        bases: float32 [n, m].
        out: Filled, float32 [m].

    Raises:
        ValueError: Shapes do not fit.
    """

def bounds(points: NDArray[np.float64]) -> Tuple[float, float, float, float]:
    """Least x, least y, most x, most y of points, float64 [n, 2], n at least 1.

    Raises:
        ValueError: Shapes do not fit, or there is no point.
    """

def undo(
    field: FloatArray,
    at: FloatArray,
    are_nodes: bool,
    out: FloatArray,
    start: Tuple[float, float],
    cell: float,
    rounds: int,
    enough: float,
) -> None:
    """Where points come from: x with x + field(x) = at, by fixed-point iteration.

    Args:
        field: How far each node of a grid goes, canvas pixels, float32 [rows, columns, 2]. Not as steep as 1.
        at: Where the points are, canvas pixels, float32 [n, m, 2].
        are_nodes: The points are the field's nodes.
        out: Where they come from; filled, [n, m, 2]. Points outside the grid come from where they are.
        start: Canvas position of the first node.
        cell: Pixels between nodes.
        rounds: At most so many; each multiplies the error by the steepness of the field.
        enough: A point that moved no more than this in a round is done, pixels.

    Raises:
        ValueError: Shapes do not fit.
    """

def sampled(field: FloatArray, start: Tuple[float, float], cell: float, at: FloatArray, out: FloatArray) -> None:
    """A field between its nodes, linearly; beyond the outermost ones as it is there.

    Args:
        field: float32 [rows, columns, k].
        start: Position of the first node.
        cell: Distance between nodes.
        at: Where it is wanted, float32 [n, 2].
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
    """Part of a frame: the person looked up where the nodes say, laid over what is behind, in changed light.

    Between the nodes of a grid positions and gains are interpolated linearly, between the pixels of the photo colours.
    At a whole pixel the photo is itself, bit for bit; on its last row and column, and beyond its borders, it is as a
    hair's breadth inside.

    Args:
        out: The frame, BGR, [h, w, 3].
        box: What to make: left, top, right, bottom on the canvas. It lies in `out`, in `behind` and inside the nodes.
        still: The photo, [h, w, 3], copied where nodes are at rest; None: there they are looked up, too.
        nodes: Canvas position in the photo that each node shows, float32 [rows, columns, 2].
        gain: What light is added, of 1, -1..1, float32 [rows, columns]; None: none.
        grid: As of `geometry.Grid`: left, top, cell.
        photo: Premultiplied person: B, G, R, alpha, [h, w, 4].
        placing: Canvas column and row of its first pixel, and its pixels to one of the canvas.
        behind: BGR, [h, w, 3]; None: nothing is behind, the photo is solid.
        behind_origin: Canvas column and row of its first pixel.
        patches: At most 4 displacements of the source on top. Each: by where in the photo it lies, canvas pixels,
            float32 [h, w, 2], none around it; canvas column and row of its first value, and pixels between its values;
            the part of the frame in which it is looked for.
        share: How much of each pixel of the box is replaced, 0..255, [box's height, width]; None: all of each.

    Raises:
        ValueError: Shapes do not fit, or a box lies outside.
    """

def outline(
    points: NDArray[np.float64],
    start: Tuple[float, float],
    scale: float,
    sigma: float,
    most: float,
    out: Mask,
) -> None:
    """Draw polygons, softly: each pixel is as full as they cover it, by area.

    Args:
        points: Their corners, canvas pixels, whose middles have whole numbers, float64 [k, n, 2]; all turn the same way
            round. Beyond a million pixels they are taken to be there.
        start: Canvas column and row of the first pixel of `out`.
        scale: Pixels of `out` to one of the canvas, over 0.
        sigma: Standard deviation of the blur, pixels of `out`, 0..500. Beyond the borders it is as there.
        most: What a covered pixel becomes, 0..1, of 255.
        out: [h, w], changed where that is more than what is there.

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
        start: Column and row of it where the mask's first pixel lies.
        mask: How much, 0..255, [h, w]; all of it in the frame.
        colour: BGR, 0..255.
        strength: Of the mask, 0..1.
        only_darker: No value grows.

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
    """Draw the inside of a mouth, layer over layer, each in its light; see `interior`.

    Args:
        out: The frame, BGR, [h, w, 3].
        start: Column and row of it where the masks' first pixel lies.
        opened: How much of each pixel is between the lips, 0..255, [h, w].
        rolled: How much of it is where the lips turn inwards, which makes them darker, [h, w].
        shown: How much of the inside shows, 0..1.
        rolls: How much darker lips become, 0..1.
        light: How much of the light outside reaches each place, 0..255, [h / 4, w / 4], both rounded up.
        entering: What that makes of light inside, 0..1, float32 [256].
        tuck: How far lips are tucked under the teeth, which brings these into the light, 0..1.
        nodes: Canvas position in the photo from where each node of a grid comes, float32 [rows, columns, 2].
        grid: As of `geometry.Grid`: left, top, cell.
        matrix: From canvas to painting, float32 [2, 3].
        dark: What is seen where there is nothing, BGR, in each of 256 lights, float32 [256, 3].
        deep: Share of each colour's light deep inside, in each of 256 lights, float32 [256, 3].
        near: The same right behind the lips.
        paintings: At most 4, from the back to the front. Each: premultiplied B, G, R, alpha, uint8 [h, w, 4]; how far
            down it is drawn, pixels of its own; how far it stands in front, 0 deep to 1 near; how much of the photo's
            light it keeps, 0..1; whether it is looked up by a cubic.

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
    """Bring a lid down; see `eyes.Eye.lowered`.

    Args:
        maps: v, the lid's v, the gap, the crease's v, how far it is pulled, the rim, the middle: float32 [7, h, w].
        top: v from where the skin is pulled along.
        blink: How far the lid is down, 0..1.
        follows: How far the crease follows, of the pull.
        down: Canvas direction of v.
        unit: Canvas pixels to 1 of v.
        moved: How far the source is away, canvas pixels; filled, float32 [h, w, 2].
        unrolled: How much is lid that the photo does not show, and how far down that is found, canvas pixels; filled,
            float32 [h, w, 2].

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
    """Lay the skin of a shut lid over what is drawn; see `eyes.Eye.lay_skin`.

    Args:
        out: The frame, BGR, [h, w, 3].
        start: Column and row of it where the mask's first pixel lies.
        mask: How much of each pixel is of the lid, 0..255, [h, w].
        nodes: Canvas position in the photo that each node of a grid shows, float32 [rows, columns, 2].
        grid: As of `geometry.Grid`: left, top, cell.
        unrolled: As of `lowered`, float32 [m, n, 2].
        shut: The skin, B, G, R and nothing, uint8 [m, n, 4].
        placing: Canvas column and row of the first value of both, and pixels between their values.
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
    """How far the source is away where an eye turns; see `eyes.Eye.glance`.

    Args:
        maps: u, v, x and y of the source as the iris goes across, x and y as it goes down: float32 [6, h, w].
        iris: u and v of its middle, turned.
        go: How far it went across and down, interoculars.
        far: Distance from its middle from where on nothing moves, interoculars.
        fades: Distance over which that comes about.
        out: Canvas pixels; filled, float32 [h, w, 2].

    Raises:
        ValueError: Shapes do not fit.
    """
