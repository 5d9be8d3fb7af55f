"""The renderer's inner loops, compiled: whole numbers where pixels are made, so that every processor gives the same."""

from typing import Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from ..media import FloatArray, Image

def weighted(weights: FloatArray, bases: FloatArray, out: FloatArray) -> None:
    """Sum of bases, each by its weight, in their order: the same bits on every processor and for any memory.

    Args:
        weights: float32 [n].
        bases: float32 [n, m].
        out: Filled, float32 [m].

    Raises:
        ValueError: Shapes do not fit.
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

def warp(
    out: Image,
    origin: Tuple[int, int],
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
) -> None:
    """Part of a frame: the person looked up where the nodes say, laid over what is behind, in changed light.

    Between the nodes of a grid positions and gains are interpolated linearly, between the pixels of the photo colours.
    At a whole pixel the photo is itself, bit for bit; on its last row and column, and beyond its borders, it is as a
    hair's breadth inside.

    Args:
        out: Part of the frame, BGR, [h, w, 3].
        origin: Canvas column and row of its first pixel.
        box: What to make: left, top, right, bottom on the canvas. It lies in `out`, in `behind` and inside the nodes.
        still: The photo where `out` is, [h, w, 3], copied where nodes are at rest; None: there they are looked up, too.
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

    Raises:
        ValueError: Shapes do not fit, or a box lies outside.
    """
