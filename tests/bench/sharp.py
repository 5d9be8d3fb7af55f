"""Ways to sample a photo between its pixels: how sharp the skin stays, and the cost of a frame."""

from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import cv2
import numpy as np

from sonic_edge.engine.renderer import _pixels
from sonic_edge.engine.renderer.geometry import OVAL, Box, Grid, look_up, points_of
from sonic_edge.engine.renderer.photo import upsampled
from sonic_edge.media import FloatArray, Image

from ..slow_renderer import enlarged
from .cost import turn_by_turn
from .stages import Material

Route = Callable[[FloatArray], Image]


def routes(size: int, folder: Path, rounds: int) -> Dict[str, Dict[str, float]]:
    """Name -> gradient energy of the skin in moved pictures, of the photo's (as measure.py has it); ms a picture."""
    material = Material.make(size, folder)
    photo = material.portrait.image
    height, width = photo.shape[:2]
    grid = Grid(Box(0, 0, width, height), max(2, round(material.portrait.interocular / 20)))
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, np.round(points_of(material.portrait.landmarks, OVAL)).astype(np.int32), 255)
    mask = np.asarray(cv2.erode(mask, np.ones((5, 5), np.uint8)), np.uint8)
    # a head that drifts by parts of a pixel, as it does between two words
    moved = [
        (grid.nodes + [0.13 * i, 0.09 * i] + 0.5 * np.sin(grid.nodes[..., ::-1] / 60 + i)).astype(np.float32)
        for i in range(12)
    ]
    whole = {
        "once, linear": _linear(photo, 1, grid),
        "twice by the H.265 filter, linear": _linear(upsampled(photo), 2, grid),
        "twice by Lanczos, linear": _linear(_twice(photo, cv2.INTER_LANCZOS4), 2, grid),
        "four times by the H.265 filter, linear": _linear(upsampled(upsampled(photo)), 4, grid),
        "once, cubic (OpenCV)": _by_opencv(photo, cv2.INTER_CUBIC, grid),
        "once, Lanczos (OpenCV)": _by_opencv(photo, cv2.INTER_LANCZOS4, grid),
    }

    def timed(route: Route) -> Callable[[], int]:
        def work() -> int:
            for nodes in moved:
                route(nodes)
            return len(moved)

        return work

    ms = turn_by_turn({name: timed(route) for name, route in whole.items()}, rounds)
    own = _gradients(photo, mask)
    grad = {name: np.median([_gradients(route(n), mask) for n in moved]) / own for name, route in whole.items()}
    return {name: {"grad": float(grad[name]), "ms": ms[name]} for name in whole}


def _linear(fine: Image, scale: int, grid: Grid) -> Route:
    """What the product does, from a copy that is so many times as fine."""
    source = np.ascontiguousarray(np.dstack([fine, np.full(fine.shape[:2], 255, np.uint8)]))
    box = (grid.box.left, grid.box.top, grid.box.right, grid.box.bottom)
    out = np.empty((grid.box.height, grid.box.width, 3), np.uint8)
    placing: Tuple[float, float, float] = (0.0, 0.0, float(scale))

    def route(nodes: FloatArray) -> Image:
        at = (grid.left, grid.top, grid.cell)
        _pixels.warp(out, box, None, nodes, None, at, source, placing, None, (0, 0), (), None)
        return out

    return route


def _by_opencv(photo: Image, interpolation: int, grid: Grid) -> Route:
    def route(nodes: FloatArray) -> Image:
        return look_up(photo, enlarged(grid, nodes, grid.box), interpolation, cv2.BORDER_REPLICATE)

    return route


def _twice(photo: Image, interpolation: int) -> Image:
    """Enlarged so that every other pixel coincides with one of the photo's."""
    height, width = photo.shape[:2]
    x, y = (np.arange(2 * n - 1, dtype=np.float32) / 2 for n in (width, height))
    remap: Any = cv2.remap
    found: Image = remap(photo, *np.meshgrid(x, y), interpolation, borderMode=cv2.BORDER_REFLECT_101)
    return found


def _gradients(picture: Image, mask: np.ndarray) -> float:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float64)
    across, down = (grey[1:-1, 2:] - grey[1:-1, :-2]) / 2, (grey[2:, 1:-1] - grey[:-2, 1:-1]) / 2
    return float((across**2 + down**2)[mask[1:-1, 1:-1] > 0].mean())
