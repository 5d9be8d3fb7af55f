"""Plots how far the mouth opens and how loud the sound is over the whole clip."""

import math
from dataclasses import dataclass
from typing import List, Sequence, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from .paper import INK, LINE, PALE, Colour, length, spot, write

OPENING: Colour = (50, 50, 205)
LOUDNESS: Colour = (185, 130, 70)
_FILL: Colour = (240, 224, 205)
"""Colour of the area below the loudness."""

HEIGHT = 300
"""Total height, pixels: numbers of the stills, plot, time axis."""
_MARKS, _PLOT = 34, 220
_SIDE = 56
"""Space left and right of the plot for its scales, pixels."""
_TOP = 1.25
"""Opening at the upper edge of the plot."""
_RANGE_DB = 40.0
"""Sound this far below the loud parts is drawn at an opening of 0; the loud parts are drawn at an opening of 1."""
_SOFTEST_LOUD = -4.5
"""Lower limit for the level of the loud parts, log10 power: silence should look like silence."""
_TICK_ROOM = 90
"""Least distance between two labels of the axis, pixels."""


@dataclass(frozen=True)
class Track:
    """A quantity measured over the clip."""

    values: FloatArray
    """[n], the first at 0 s."""
    rate: float
    """Values per second."""

    def columns(self, duration_s: float, n: int) -> NDArray[np.float64]:
        """The largest value in each of n equal parts of the clip, [n]; interpolated if there are too few values."""
        values = self.values.astype(np.float64)
        edges = np.arange(n) / n * duration_s * self.rate  # in values
        if duration_s * self.rate <= n:
            return np.interp(edges, np.arange(len(values)), values)
        return np.maximum.reduceat(values, np.minimum(edges.astype(int), len(values) - 1))


def relative(level: FloatArray, loud: float) -> FloatArray:
    """Loudness on the scale of the opening.

    Args:
        level: Log10 power, [n].
        loud: Level of the loud parts, log10 power.

    Returns:
        [n], 1 at the loud parts and 0 at `_RANGE_DB` below them or softer.
    """
    over: FloatArray = 1 + (level - np.float32(max(loud, _SOFTEST_LOUD))) * np.float32(10 / _RANGE_DB)
    return np.clip(over, 0, _TOP)


def draw_strip(
    page: Image,
    box: Tuple[int, int, int],
    opening: Track,
    loudness: Track,
    duration_s: float,
    stills_s: Sequence[float],
    close_ups_s: Sequence[float],
) -> None:
    """Draw the plot.

    Args:
        page: Changed in place.
        box: Left, top and width; the height is `HEIGHT`.
        opening: Opening of the mouth, 0..1.2.
        loudness: From `relative`.
        duration_s: Length of the clip, seconds.
        stills_s: Times of the numbered stills, number 1 first, seconds.
        close_ups_s: Times of the close-ups, seconds.
    """
    left, top, right = box[0] + _SIDE, box[1] + _MARKS, box[0] + box[2] - _SIDE
    bottom, n = top + _PLOT, right - left

    def x(moment: float) -> int:
        return left + min(n - 1, round(moment / duration_s * n))

    def curve(values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Points [n, 2] in 16ths of a pixel."""
        rows = bottom - np.clip(values, 0, _TOP) / _TOP * _PLOT
        points: NDArray[np.int32] = np.rint(np.stack([left + np.arange(n), rows], 1) * 16).astype(np.int32)
        return points

    def area(values: NDArray[np.float64], colour: Colour) -> None:
        ends = np.array([[right - 1, bottom], [left, bottom]], np.int32) * 16
        cv2.fillPoly(page, [np.concatenate([curve(values), ends])], colour, cv2.LINE_AA, 4)

    area(loudness.columns(duration_s, n), _FILL)
    for share, decibels in ((0.0, -_RANGE_DB), (0.5, -_RANGE_DB / 2), (1.0, 0.0)):
        row = bottom - round(share / _TOP * _PLOT)
        cv2.line(page, (left, row), (right - 1, row), LINE)
        write(page, (left - 10, row + 5), f"{share:.1f}", 14, OPENING, "rs")
        write(page, (right + 10, row + 5), f"{decibels:.0f} dB", 14, LOUDNESS)
    step = tick_step(duration_s, n // _TICK_ROOM)
    digits = max(0, -math.floor(math.log10(step)))
    for i in range(int(duration_s / step + 1e-6) + 1):
        column = x(i * step)
        cv2.line(page, (column, top), (column, bottom + 6), LINE)
        write(page, (column, bottom + 24), f"{i * step:.{digits}f} s", 14, PALE, "ms")
    thickness = 2 if duration_s * opening.rate < n / 2 else 1  # thick lines close together would merge into a blot
    cv2.polylines(page, [curve(opening.columns(duration_s, n))], False, OPENING, thickness, cv2.LINE_AA, 4)
    for moment in close_ups_s:
        cv2.line(page, (x(moment), bottom - 5), (x(moment), bottom + 5), INK)
    cv2.line(page, (left, bottom), (right - 1, bottom), PALE)
    places = spread([x(moment) for moment in stills_s], 24, left, right)
    for number, (moment, place) in enumerate(zip(stills_s, places), 1):
        column = x(moment)
        cv2.line(page, (place, box[1] + 10), (column, top), PALE, 1, cv2.LINE_AA)
        cv2.line(page, (column, top), (column, bottom), PALE)
        spot(page, (place, box[1] + 10), number)


def draw_key(page: Image, at: Tuple[int, int], opening: str) -> None:
    """Draw the legend of the strip on one line that ends at a point; `opening` is the caption of the curve."""
    column = at[0]
    for words, colour in (
        ("close-ups: short ticks", INK),
        ("loudness, dB to the loud parts", LOUDNESS),
        (opening, OPENING),
    ):
        write(page, (column, at[1]), words, 14, colour, "rs")
        column -= length(words, 14) + 28


def tick_step(duration_s: float, most: int) -> float:
    """The smallest step of 1, 2, 5, 10... (or .1, .2, .5...) seconds that divides a clip into at most `most` parts."""
    least = duration_s / most
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= least * (1 - 1e-9))


def spread(columns: Sequence[int], apart: int, first: int, last: int) -> List[int]:
    """Positions near given columns, in the same order, at least `apart` from one another, within first..last."""
    order = sorted(range(len(columns)), key=lambda i: columns[i])
    places = list(columns)
    for rank, i in enumerate(order):
        places[i] = max(places[i], first if rank == 0 else places[order[rank - 1]] + apart)
    for rank in reversed(range(len(order))):
        i, later = order[rank], len(order) - rank - 1
        places[i] = min(places[i], last - later * apart)
    return places
