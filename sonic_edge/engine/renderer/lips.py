"""Locates where the lips in a photo meet or part: from the mesh as a first guess, and the photo."""

from typing import Optional, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image
from .geometry import Array, FaceFrame, height_at, look_up

COLOUR_TOLERANCE = 14.0
"""Distance in L*a*b* at which two colours hardly belong to the same lip."""


def lip_line(image: Image, frame: FaceFrame, guess: Array) -> Array:
    """Find the dark line between shut lips near the mesh's line.

    The mesh is often a few pixels off, most of all under a moustache. The line is the path along the mouth that
    minimises a cost of brightness relative to its surroundings, distance from the guess, and steps; found exactly by
    dynamic programming.

    Args:
        image: The photo.
        frame: The face's coordinates.
        guess: The line according to the mesh, face coordinates, [n, 2], left to right.

    Returns:
        The line, face coordinates, [n, 2].
    """
    reach, n_steps = 0.08, 33
    offsets = np.linspace(-reach, reach, n_steps)
    beyond = np.linspace(-2 * reach, 2 * reach, 2 * n_steps - 1)
    uv = np.stack(np.broadcast_arrays(guess[:, None, 0], guess[:, None, 1] + beyond), -1)
    grey = look_up(image, frame.canvas(uv).astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE).mean(-1)
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), sigmaX=1.5, sigmaY=1.0)
    # Darker than both above and below: the edge of a dark lip is not a line.
    beside, away = cv2.blur(grey, (9, 1)), 7
    first, last = n_steps // 2, n_steps // 2 + n_steps
    here = grey[:, first:last]
    line = np.maximum(here - beside[:, first - away : last - away], here - beside[:, first + away : last + away])
    contrast = 2 * line / max(float(grey.std()), 12.0)
    trust = 0.4 + 0.6 * np.sin(np.linspace(0, np.pi, len(guess)))[:, None]
    cost = contrast * trust + 0.8 * (offsets / reach) ** 2
    step = 25 * ((offsets[:, None] - offsets[None]) / reach) ** 2
    found = offsets[least_cost_path(cost, step)]
    smooth = np.convolve(np.pad(found, 2, mode="edge"), [0.1, 0.2, 0.4, 0.2, 0.1], mode="valid")
    return np.stack([guess[:, 0], guess[:, 1] + smooth], -1)


def open_edge(image: Image, frame: FaceFrame, guess: Array, outer: Array) -> Array:
    """Find the edge of a lip in a wide open mouth: where the lip's colour ends.

    Args:
        image: The photo.
        frame: The face's coordinates.
        guess: The edge according to the mesh, face coordinates, [n, 2], left to right.
        outer: The outline of the lip away from the opening, face coordinates, [m, 2].

    Returns:
        The edge, face coordinates, [n, 2].
    """
    n_steps, band = 33, 6
    lip = height_at(guess[:, 0], outer) - guess[:, 1]
    # Search half a lip's thickness into the opening, and into the lip up to near its outer edge.
    offsets = np.linspace(-0.5, 0.85, n_steps)
    step = offsets[1] - offsets[0]
    wide = offsets[0] + step * np.arange(-band, n_steps + band)
    uv = np.stack([np.broadcast_to(guess[:, :1], (len(guess), len(wide))), guess[:, 1:] + lip[:, None] * wide], -1)
    colours = look_up(image, frame.canvas(uv).astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    lab = cv2.cvtColor(colours.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    # The lip's colour, near its outer edge, averaged over neighbouring columns: one side may be in shadow.
    own = cv2.blur(lab[:, int((0.8 - wide[0]) / step)][:, None], (1, 9))
    like = np.exp(-((np.linalg.norm(lab - own, axis=-1) / COLOUR_TOLERANCE) ** 2))
    like = cv2.GaussianBlur(like.astype(np.float32), (0, 0), sigmaX=0.8, sigmaY=1.0)
    before = np.stack([like[:, i : i + band].mean(1) for i in range(n_steps)], 1)
    after = np.stack([like[:, i + band : i + 2 * band].mean(1) for i in range(n_steps)], 1)
    cost = before - after + 0.25 * offsets**2
    path = least_cost_path(cost, 6 * (offsets[:, None] - offsets[None]) ** 2)
    calm = cv2.GaussianBlur(offsets[path].astype(np.float32)[None], (11, 1), 0)[0]
    found = calm * np.sin(np.linspace(0, np.pi, len(guess))) ** 0.5
    return np.stack([guess[:, 0], guess[:, 1] + lip * found], -1)


def least_cost_path(cost: Array, step: Array) -> NDArray[np.intp]:
    """The path of least cost through columns, one choice in each, by dynamic programming.

    Args:
        cost: Cost of each choice in each column, [n, k].
        step: Cost of going from one choice to another, [k, k].

    Returns:
        The choices, [n].
    """
    best, came_from = cost[0], []
    for row in cost[1:]:
        total = best[None, :] + step
        came_from.append(total.argmin(1))
        best = total.min(1) + row
    path = [int(best.argmin())]
    for choice in reversed(came_from):
        path.append(int(choice[path[-1]]))
    return np.array(path[::-1])


def teeth_between(
    image: Image, frame: FaceFrame, line: Array, outer_upper: Array, outer_lower: Array
) -> Optional[Tuple[Array, Array]]:
    """Find the edges of lips that are slightly parted and show teeth, which the mesh sees as shut.

    Teeth are recognised by being less red than lips; in a grey photo they are not found.

    Args:
        image: The photo.
        frame: The face's coordinates.
        line: The dark line between the lips, face coordinates, [n, 2], left to right.
        outer_upper: Outline of the upper lip, face coordinates, [m, 2].
        outer_lower: Outline of the lower lip, face coordinates, [m, 2].

    Returns:
        Lower edge of the upper lip and upper edge of the lower lip, face coordinates, [n, 2] each; None if no teeth
        are visible.
    """
    u, v = line[:, 0], line[:, 1]
    top, bottom = v + 0.8 * (height_at(u, outer_upper) - v), v + 0.4 * (height_at(u, outer_lower) - v)
    n_steps = 48
    heights = top[:, None] + (bottom - top)[:, None] * np.linspace(0, 1, n_steps)
    uv = np.stack(np.broadcast_arrays(u[:, None], heights), -1)
    colours = look_up(image, frame.canvas(uv).astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    colours = cv2.blur(colours.astype(np.float32), (3, 3))
    red: FloatArray = (colours[..., 2] - colours[..., 1]) / (colours.max(-1) + 25)
    usual = float(np.quantile(red, 0.75))
    if usual < 0.12:
        return None
    pale = red < 0.72 * usual
    upper, lower = v.copy(), v.copy()
    for i, column in enumerate(pale):
        ends = np.flatnonzero(np.diff(np.concatenate([[0], column.astype(np.int8), [0]])))
        runs = [(heights[i, a], heights[i, b - 1]) for a, b in zip(ends[::2], ends[1::2])]
        # Teeth extend from behind the upper lip down to the line, or nearly.
        touching = [(a, b) for a, b in runs if b > v[i] - 0.035 and a < v[i] + 0.005 and a > top[i] and b < bottom[i]]
        if touching:
            upper[i] = min(v[i], min(a for a, _ in touching))
            lower[i] = max(v[i], max(b for _, b in touching))
    middle = np.abs(np.linspace(-1, 1, len(u))) < 0.4
    between = (lower - upper)[middle]
    # A single tooth between lips that meet beside it is enough, if it is more than a highlight.
    tooth = np.convolve(between > 0.025, np.ones(4), mode="valid").max() == 4 and between.max() > 0.045
    if np.median(between) < 0.025 and not tooth:
        return None
    bow = np.minimum(1, 4 * np.sin(np.linspace(0, np.pi, len(u))))
    edges = []
    for edge in (upper, lower):
        calm = cv2.medianBlur((edge - v).astype(np.float32)[None], 5)
        calm = cv2.GaussianBlur(calm, (7, 1), 0)[0] * bow
        edges.append(np.stack([u, v + calm], -1))
    return edges[0], edges[1]
