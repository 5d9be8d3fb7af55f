"""The compiled drawing functions: against plain references, at the limits of their arguments, and beyond."""

from typing import Any, Callable, Iterator, List, Sequence, Tuple

import cv2
import numpy as np
import pytest
from slow_renderer import enlarged

from sonic_edge.engine.renderer import _pixels
from sonic_edge.engine.renderer.geometry import Box, Grid, smoothstep
from sonic_edge.engine.renderer.geometry import look_up as looked_up

Array = np.ndarray
RNG = np.random.default_rng(0)
WIDTH, HEIGHT = 50, 40
BOXES = [Box(0, 0, WIDTH, HEIGHT), Box(3, 5, 44, 38), Box(49, 39, 50, 40), Box(0, 0, 1, 1), Box(0, 11, 50, 12)]
WILD = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e6, 0.0, -1.0]
FAR = [-(2**63), 20 - 2**63, -(2**40), -1, 0, 2**40, 2**63 - 1]


def frame() -> Array:
    return RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def mask_of(box: Box) -> Array:
    """0, 255 and all that is between."""
    return np.clip(RNG.integers(-200, 455, (box.height, box.width)), 0, 255).astype(np.uint8)


def smooth(height: int, width: int, channels: int) -> Array:
    y, x = np.mgrid[:height, :width]
    return np.stack([128 + 90 * np.sin((x + 2 * y) / 15 + c) for c in range(channels)], -1).round().astype(np.uint8)


def only_in(box: Box, out: Array, before: Array) -> Array:
    """The box; nothing around it has changed."""
    around = np.ones(out.shape[:2], bool)
    around[box.rows, box.columns] = False
    assert out[around].tobytes() == before[around].tobytes()
    return out[box.rows, box.columns]


def waves(grid: Grid) -> Array:
    """Nodes that come from elsewhere."""
    return grid.nodes + (3 * np.sin(grid.nodes[..., ::-1] / 9)).astype(np.float32)


# ---- outlines -------------------------------------------------------------------------------------------------------


def cut(corners: List[Array], axis: int, at: float, way: int) -> List[Array]:
    """What of a polygon lies beyond a line."""
    kept = []
    for one, other in zip(corners, corners[1:] + corners[:1]):
        a, b = way * (one[axis] - at), way * (other[axis] - at)
        kept += [one] if a >= 0 else []
        kept += [one + (other - one) * (a / (a - b))] if (a >= 0) != (b >= 0) else []
    return kept


def areas(polygons: Sequence[Any], shape: Tuple[int, int], start: Any = (0, 0), scale: float = 1) -> Array:
    """How much of each pixel polygons that do not overlap cover, 0..1."""
    found = np.zeros(shape)
    for polygon in polygons:
        corners = list((np.array(polygon, float) - start + 0.5) * scale)
        for row in range(shape[0]):
            strip = cut(cut(corners, 1, row, 1), 1, row + 1, -1)
            for column in range(shape[1] if strip else 0):
                x, y = np.array(cut(cut(strip, 0, column, 1), 0, column + 1, -1)).reshape(-1, 2).T
                found[row, column] += abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
    return found


def outlined(polygons: Any, shape: Tuple[int, int], *given: Any, start: Any = (0, 0), scale: float = 1) -> Array:
    out = np.zeros(shape, np.uint8)
    _pixels.outline(np.array(polygons, float), start, scale, *(given or (0.0, 1.0)), out)
    return out


SHAPES = {
    "square": [[(3.3, 2.7), (8.1, 2.7), (8.1, 6.4), (3.3, 6.4)]],
    "on pixels": [[(2.5, 1.5), (7.5, 1.5), (7.5, 4.5), (2.5, 4.5)]],
    "within a pixel": [[(4.1, 4.2), (4.4, 4.2), (4.3, 4.4)]],
    "triangle": [[(1.2, 0.9), (12.7, 5.1), (4.4, 8.8)]],
    "concave": [[(1, 1), (6, 3), (11, 1), (6.2, 8.3)]],
    "upright hair": [[(5.2, -3), (5.21, -3), (6.21, 20), (6.2, 20)]],
    "flat hair": [[(-9, 4.1), (30, 4.9), (30, 4.95), (-9, 4.15)]],
    "over the left": [[(-20, -0.5), (29.5, 1.5), (-20, 1.5)]],
    "over the right": [[(40, 8.2), (40, 8.7), (4.3, 7.1)]],
    "over all corners": [[(-4, 4), (6, -3), (17, 4), (6, 12)]],
    "through the corners": [[(-0.5, -0.5), (13.5, 9.5), (-0.5, 9.5)]],
    "around": [[(-900, -700), (800, -750), (900, 700), (-800, 650)]],
    "far away": [[(-90, 1), (-80, 2), (-85, 7)], [(80, 1), (90, 2), (85, 7)], [(3, 60), (9, 60), (5, 70)]],
    "several": [[(1, 1), (4.5, 1.2), (2, 3)], [(4.5, 1.2), (9, 1.7), (4, 3.3)], [(-3, 8), (4, 5.5), (3, 30)]],
    "a line": [[(1, 1), (9, 7)]],
    "flat": [[(1, 4), (9, 4), (9, 4 + 1e-310), (1, 4)]],
}


class TestOutline:
    SHAPE = (10, 14)

    @pytest.mark.parametrize("name", SHAPES)
    @pytest.mark.parametrize(("start", "scale"), [((0, 0), 1), ((-7.25, 2.5), 1), ((-12, -9), 0.25), ((2, 1), 2.5)])
    @pytest.mark.parametrize("way", [1, -1])
    def test_is_the_area_on_each_pixel(self, name: str, start: Tuple[float, float], scale: float, way: int) -> None:
        polygons = [polygon[::way] for polygon in SHAPES[name]]
        wanted = 255 * 0.8 * areas(polygons, self.SHAPE, start, scale)
        found = outlined(polygons, self.SHAPE, 0.0, 0.8, start=start, scale=scale)
        assert np.abs(found - wanted).max() < 0.51

    @pytest.mark.parametrize("shape", [(10, 14), (1, 1), (1, 9), (9, 1)])
    def test_any_triangles(self, shape: Tuple[int, int]) -> None:
        for spread in (4, 12, 400):
            for corners in RNG.normal((5, 4), spread, (25, 1, 3, 2)):
                assert np.abs(outlined(corners, shape) - 255 * areas(corners, shape)).max() < 0.51

    @pytest.mark.parametrize("name", ["square", "over all corners", "over the right", "within a pixel", "around"])
    @pytest.mark.parametrize("sigma", [0.2, 0.9, 3.0, 11.0, 500.0])
    def test_blurs(self, name: str, sigma: float) -> None:
        side = 2 * int(np.ceil(3 * sigma)) + 1
        sharp = 255 * areas(SHAPES[name], self.SHAPE)
        wanted = cv2.GaussianBlur(sharp, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
        assert np.abs(outlined(SHAPES[name], self.SHAPE, sigma, 1.0) - wanted).max() < 1

    @pytest.mark.parametrize("sigma", [5e-324, 1e-200, 1e-160, 1e-9, 0.01])
    def test_hardly_a_blur_is_none(self, sigma: float) -> None:
        sharp = outlined(SHAPES["triangle"], self.SHAPE)
        assert sharp.max() == 255 and np.array_equal(outlined(SHAPES["triangle"], self.SHAPE, sigma, 1.0), sharp)

    def test_leaves_what_is_more(self) -> None:
        before = RNG.integers(0, 256, self.SHAPE, np.uint8)
        out = before.copy()
        _pixels.outline(np.array(SHAPES["triangle"]), (0, 0), 1, 1.5, 0.7, out)
        assert np.array_equal(out, np.maximum(before, outlined(SHAPES["triangle"], self.SHAPE, 1.5, 0.7)))

    @pytest.mark.parametrize("points", [(0, 3, 2), (3, 0, 2), (2, 1, 2)])
    def test_of_nothing_is_nothing(self, points: Tuple[int, ...]) -> None:
        assert not outlined(np.full(points, 3.0), self.SHAPE, 2.0, 1.0).any()
        assert not outlined(SHAPES["square"], (0, 5), 2.0, 1.0).size + outlined(SHAPES["square"], (5, 0)).size

    def test_beyond_a_million_pixels_is_there(self) -> None:
        found = outlined([[(-1e300, -np.inf), (7.5, -1e12), (7.5, np.inf), (-np.inf, 1e200)]], self.SHAPE)
        assert (found[:, :8] == 255).all() and not found[:, 8:].any()

    @pytest.mark.parametrize("given", [(-1, 1), (501, 1), (np.nan, 1), (1, -0.1), (1, 1.1), (1, np.nan)])
    def test_refuses_what_is_out_of_range(self, given: Tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="softness of 0 to 500, scale over 0 and strength of 0 to 1"):
            outlined(SHAPES["square"], self.SHAPE, *given)
        with pytest.raises(ValueError, match="scale over 0"):
            outlined(SHAPES["square"], self.SHAPE, scale=0)


# ---- over a frame ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", BOXES, ids=str)
class TestOverAFrame:
    @pytest.mark.parametrize("only_darker", [False, True])
    @pytest.mark.parametrize("strength", [0.0, 0.35, 1.0])
    def test_tint(self, box: Box, strength: float, only_darker: bool) -> None:
        before, mask, colour = frame(), mask_of(box), (30.0, 140.0, 250.0)
        out = before.copy()
        _pixels.tint(out, (box.left, box.top), mask, colour, strength, only_darker)
        part = before[box.rows, box.columns].astype(float)
        wanted = part + (np.array(colour) - part) * (mask[..., None] / 255 * strength)
        wanted = np.minimum(wanted, part) if only_darker else wanted
        assert np.abs(only_in(box, out, before) - wanted).max() < 0.51

    @pytest.mark.parametrize("cell", [1, 4, 7])
    @pytest.mark.parametrize("moved", [False, True])
    def test_between_lips(self, box: Box, cell: int, moved: bool) -> None:
        grid, before = Grid(Box(0, 0, WIDTH, HEIGHT), cell), frame()
        nodes = waves(grid) if moved else grid.nodes
        opened, rolled, shown, rolls, tuck = mask_of(box), mask_of(box), 0.8, 0.4, 0.3
        light = cv2.GaussianBlur(mask_of(Box(0, 0, -(-box.width // 4), -(-box.height // 4))), (0, 0), 1)
        share = np.linspace(0, 1, 256)[:, None]
        powers = ([1, 2, 3], [2, 3, 4], [0.6, 0.8, 1])
        dark, deep, near = (np.float32(share**power) * most for power, most in zip(powers, np.float32([50, 1, 1])))
        entering = np.float32(share[:, 0] ** 1.15)
        # (eighths of a pixel, which OpenCV looks up as exactly as this does)
        matrix = np.array([[0.5, 0.25, -1.875], [-0.25, 0.75, 2.625]], np.float32)
        sizes = [(16, 24, 4), (30, 20, 4)]
        one, other = (smooth(*size) if moved else RNG.integers(0, 256, size, np.uint8) for size in sizes)
        paintings = ((one, 1.5, 0.3, 0.0, False), (other, 0.0, 1.0, 0.6, True))
        out = before.copy()
        given = [out, (box.left, box.top), opened, rolled, shown, rolls, light, entering, tuck]
        _pixels.between_lips(*given, nodes, (grid.left, grid.top, cell), matrix, dark, deep, near, paintings)

        lit = entering.astype(float)[light] * (1 - 0.8 * tuck) + 0.85 * 0.8 * tuck
        lit = cv2.resize(lit, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)[: box.height, : box.width]
        level = np.rint(255 * lit).astype(int)
        inside, places = dark[level], cv2.transform(enlarged(grid, nodes, box), matrix)
        for picture, down, forward, daylight, cubic in paintings:
            here = places - np.float32([0, down])
            kind = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
            layer = np.clip(looked_up(picture.astype(np.float32), here, kind, cv2.BORDER_CONSTANT), 0, 255)
            layer *= ((here >= cubic) & (here < np.array(picture.shape[1::-1]) - 1 - cubic)).all(-1, keepdims=True)
            colours = deep[level] + (near[level] - deep[level]) * forward
            inside = inside * (1 - layer[..., 3:] / 255) + layer[..., :3] * (colours + (1 - colours) * daylight)
        wanted = before[box.rows, box.columns] * (1 - rolled[..., None] / 255 * rolls)
        wanted = np.clip(wanted + (inside - wanted) * (opened[..., None] / 255 * shown), 0, 255)
        off = np.abs(only_in(box, out, before) - wanted)
        # (where a painting ends a place may fall on either side)
        assert np.quantile(off, 0.98) < (8 if moved else 2) and off.mean() < 1 and (moved or off.max() < 2)

    @pytest.mark.parametrize("cell", [1, 4, 7])
    @pytest.mark.parametrize("step", [1, 3])
    def test_lay_skin(self, box: Box, cell: int, step: int) -> None:
        grid, before, mask = Grid(Box(0, 0, WIDTH, HEIGHT), cell), frame(), mask_of(box)
        shut, down, start, nodes = smooth(9, 12, 4), np.array([0.6, 0.8], np.float32), (7, 4), waves(grid)
        unrolled = smooth(9, 12, 2).astype(np.float32) * np.float32([1 / 255, 0.02])
        out, at = before.copy(), (grid.left, grid.top, cell)
        _pixels.lay_skin(out, (box.left, box.top), mask, nodes, at, unrolled, shut, (*start, step), (0.6, 0.8))
        here = ((enlarged(grid, nodes, box) - start) / step).astype(np.float32)
        lid, to_shut = np.moveaxis(looked_up(unrolled, here, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE), -1, 0)
        lid = lid * ((here > -1) & (here < (12, 9))).all(-1)
        there = np.clip(here, -1, (12, 9)) + to_shut[..., None] * down / step
        skin = looked_up(shut, there.astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)[..., :3]
        wanted = before[box.rows, box.columns].astype(float)
        wanted += (skin - wanted) * (lid * mask / 255)[..., None]
        off = np.abs(only_in(box, out, before) - wanted)
        assert np.quantile(off, 0.98) < 3 and off.mean() < 0.8

    @pytest.mark.parametrize("cell", [1, 4, 7])
    @pytest.mark.parametrize("still", [False, True])
    @pytest.mark.parametrize("behind", [False, True])
    def test_a_share_of_a_warp(self, box: Box, cell: int, still: bool, behind: bool) -> None:
        grid, before, share = Grid(Box(0, 0, WIDTH, HEIGHT), cell), frame(), mask_of(box)
        nodes = np.where(abs(grid.nodes[..., :1] - 25) < 9, waves(grid), grid.nodes)
        share[:, : box.width // 3], share[box.height // 2] = 0, share[box.height // 2] // 255 * 255
        patch = (np.full((5, 5, 2), 1.5, np.float32), (5.0, 5.0, 3.0), (4, 3, 30, 20))
        given = [(box.left, box.top, box.right, box.bottom), frame() if still else None, nodes, None]
        given += [(grid.left, grid.top, cell), smooth(HEIGHT, WIDTH, 4), (0.0, 0.0, 1.0), frame() if behind else None]
        out, whole = before.copy(), before.copy()
        for made, of_it in ((whole, None), (out, share)):
            _pixels.warp(made, *given, (0, 0), (patch,), of_it)
        new, old = (picture[box.rows, box.columns].astype(int) for picture in (whole, before))
        part = share[..., None].astype(int)
        assert np.array_equal(only_in(box, out, before), (new * part + old * (255 - part) + 127) // 255)


# ---- eyes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9, 13), (1, 1), (1, 70), (0, 5), (5, 0)])
class TestEyes:
    @pytest.mark.parametrize("blink", [0.0, 0.1, 0.6, 1.0])
    def test_lowered(self, shape: Tuple[int, int], blink: float) -> None:
        low, high = ((-0.6, -0.05, 0, -0.25, 0, 0, 0), (0.5, 0.05, 0.3, -0.15, 0.2, 0.03, 1))
        maps = np.stack([RNG.uniform(*ends, shape) for ends in zip(low, high)]).astype(np.float32)
        top, follows, down, unit = -0.4, 0.7 * blink, (0.28, 0.96), 80.0
        moved, unrolled = (np.full((*shape, 2), np.nan, np.float32) for _ in range(2))
        _pixels.lowered(maps, top, blink, follows, down, unit, moved, unrolled)
        v, lid, gap, at_rest, pull, rim, middle = maps.astype(float)
        edge, crease, rim = lid + gap * blink, at_rest + pull * follows, lid - rim * min(4 * blink, 1)
        above = np.minimum(v, top) + np.maximum(v - top, 0) * (at_rest - top) / (crease - top)
        on_lid = np.minimum((v - crease) * (rim - at_rest) / np.maximum(edge - crease, 1e-3) + at_rest, rim)
        way = (np.where(v < crease, above, on_lid) - v) * unit
        assert moved == pytest.approx(way[..., None] * down, abs=1e-3)
        shows = smoothstep((v - crease + 0.04) / 0.06) * middle * smoothstep(np.array(2.5 * blink))
        assert unrolled == pytest.approx(np.stack([shows, gap * (1 - blink) * unit], -1), abs=1e-3)

    def test_turned(self, shape: Tuple[int, int]) -> None:
        maps, out = RNG.normal(0, 1, (6, *shape)).astype(np.float32), np.full((*shape, 2), np.nan, np.float32)
        _pixels.turned(maps, (0.2, -0.1), (0.5, -2.0), 1.4, 0.9, out)
        u, v = maps[:2].astype(float)
        whole = smoothstep((1.4 - np.hypot(u - 0.2, v + 0.1)) / 0.9)
        wanted = (0.5 * maps[2:4] - 2 * maps[4:]) * whole
        assert out == pytest.approx(np.moveaxis(wanted, 0, -1), abs=1e-5)


# ---- anything at all ------------------------------------------------------------------------------------------------

Given = List[Any]
FUNCTIONS = ["outline", "tint", "between_lips", "lowered", "lay_skin", "turned", "warp"]
BOX = Box(6, 9, 47, 31)


def a_call(name: str) -> Tuple[Given, Sequence[int]]:
    """Arguments that fit, and which of them are changed: a frame, within BOX, or what is whole."""
    grid, start, mask = Grid(Box(0, 0, WIDTH, HEIGHT), 7), (BOX.left, BOX.top), mask_of(BOX)
    at, nodes, field = (grid.left, grid.top, 7), waves(grid), RNG.uniform(0, 2, (8, 9, 2)).astype(np.float32)
    maps, photo = RNG.normal(0, 1, (7, 8, 9)).astype(np.float32), smooth(HEIGHT, WIDTH, 4)
    if name == "outline":
        return [RNG.uniform(-9, 50, (3, 4, 2)), (1.5, 2.5), 0.9, 1.7, 0.9, mask], [5]
    if name == "tint":
        return [frame(), start, mask, (9.0, 20.0, 30.0), 0.8, True], [0]
    if name == "lowered":
        return [maps, -0.4, 0.5, 0.3, (0.0, 1.0), 80.0, field, field.copy()], [6, 7]
    if name == "turned":
        return [maps[:6], (0.2, 0.1), (0.5, 0.2), 1.4, 0.9, field], [5]
    if name == "lay_skin":
        return [frame(), start, mask, nodes, at, field, smooth(8, 9, 4), (7.0, 4.0, 4.0), (0.0, 1.0)], [0]
    if name == "warp":
        patches, gain = ((field, (7.0, 4.0, 3.0), (4, 3, 30, 20)),), np.full(nodes.shape[:2], 0.1, np.float32)
        given = [frame(), BOX.ends, frame(), nodes, gain, at, photo, (0.0, 0.0, 1.0), frame(), (0, 0), patches, mask]
        return given, [0]
    tables = list(RNG.uniform(0, 1, (3, 256, 3)).astype(np.float32))
    light, entering = mask_of(Box(0, 0, 11, 6)), tables[0][:, 0].copy()
    paintings = tuple((smooth(16, 24, 4), 1.0, 0.5, 0.2, cubic) for cubic in (False, True))
    given = [frame(), start, mask, mask_of(BOX), 0.8, 0.4, light, entering, 0.3, nodes, at]
    return [*given, np.array([[0.5, 0.1, -2], [-0.1, 0.5, 3]], np.float32), *tables, paintings], [0]


def with_another(given: Any, kind: Callable[[Any], Iterator[Any]]) -> Iterator[Any]:
    """The same arguments with one of them, or one in a tuple among them, replaced."""
    for k, one in enumerate(given):
        others = with_another(one, kind) if isinstance(one, tuple) else kind(one)
        yield from (type(given)([*given[:k], other, *given[k + 1 :]]) for other in others)


def any_numbers(one: Any) -> Iterator[Any]:
    if isinstance(one, float):
        yield from WILD
    elif isinstance(one, int) and not isinstance(one, bool):
        yield from FAR
    elif isinstance(one, np.ndarray) and one.dtype == np.uint8:
        yield from (np.full_like(one, 0), np.full_like(one, 255), RNG.integers(0, 256, one.shape, np.uint8))
    elif isinstance(one, np.ndarray):
        for wild in WILD:
            some = np.where(RNG.random(one.shape) < 0.2, one.dtype.type(wild), one)
            yield from (some, np.full_like(one, wild))


def misaligned(one: Array) -> memoryview:
    return memoryview(bytearray(one.nbytes + 1))[1:].cast("B").cast(memoryview(one).format, one.shape)


def ill_formed(one: Any) -> Iterator[Any]:
    if isinstance(one, np.ndarray):
        yield from (one.astype(np.int16), one[None], one[0], one.repeat(2, -1)[..., ::2], one.tolist(), None)
        yield from [misaligned(one)] if one.itemsize > 1 else []
    elif isinstance(one, (int, float)) and not isinstance(one, bool):
        yield from ("1", one * 1j, None, (one,))


@pytest.mark.parametrize("name", FUNCTIONS)
class TestTakes:
    def test_any_numbers_at_all(self, name: str) -> None:
        """With or without an error, nothing outside the box or the array has changed."""
        given, changed = a_call(name)
        taken = 0
        for one in with_another(given, any_numbers):
            wholes = [np.concatenate([one[k]] * 3) for k in changed]
            befores = [whole.copy() for whole in wholes]
            for k, whole in zip(changed, wholes):
                one[k] = whole[len(one[k]) : 2 * len(one[k])]
            try:
                getattr(_pixels, name)(*one)
                taken += 1
            except ValueError:
                assert [whole.tobytes() for whole in wholes] == [before.tobytes() for before in befores]
            for k, whole, before in zip(changed, wholes, befores):
                height, width = one[k].shape[:2]
                box = Box(0, 0, width, height)
                if k == 0:
                    start = one[1][:2]
                    end = one[1][2:] or (start[0] + BOX.width, start[1] + BOX.height)
                    box = Box(*start, *end).within(box)
                only_in(Box(box.left, height + box.top, box.right, height + box.bottom), whole, before)
        assert taken > 20

    def test_no_other_kind_of_argument(self, name: str) -> None:
        given, changed = a_call(name)
        may_be_none = (2, 4, 8, 11) if name == "warp" else ()
        for one in with_another(given, ill_formed):
            if not any(one[k] is None for k in may_be_none):
                with pytest.raises((ValueError, TypeError, BufferError)):
                    getattr(_pixels, name)(*one)
        for k in changed:
            fixed = given[k].copy()
            fixed.flags.writeable = False
            for wrong in (fixed, memoryview(fixed)):
                with pytest.raises((ValueError, BufferError)):
                    getattr(_pixels, name)(*given[:k], wrong, *given[k + 1 :])


FIXED = {
    "outline": {0: (2,)},
    "tint": {0: (2,)},
    "lowered": {0: (0, 1, 2), 6: (0, 1, 2), 7: (0, 1, 2)},
    "turned": {0: (0, 1, 2), 5: (0, 1, 2)},
    "lay_skin": {0: (2,), 3: (2,), 5: (0, 1, 2), 6: (0, 1, 2)},
    "between_lips": {0: (2,), 7: (0,), 9: (2,), **dict.fromkeys((2, 3, 6, 11, 12, 13, 14), (0, 1))},
    "warp": {11: (0, 1)},
}
"""Which axes of which arguments the others say the length of."""
STARTS = [(-1, 9), (10, 9), (6, -1), (6, 19), (2**62, 9), (6, -(2**63))]
NO_GRIDS = [np.zeros(shape, np.float32) for shape in ((1, 5, 2), (5, 1, 2), (0, 0, 2))]


class TestRefuses:
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_shapes_that_do_not_fit(self, name: str) -> None:
        for which, axis in ((which, axis) for which, axes in FIXED[name].items() for axis in axes):
            given, _ = a_call(name)
            given[which] = np.concatenate([given[which], given[which].take([0], axis)], axis)
            with pytest.raises(ValueError, match=r"axis \d is \d+ long; \d+ is needed"):
                getattr(_pixels, name)(*given)

    @pytest.mark.parametrize(
        ("names", "which", "wrongs", "says"),
        [
            ("tint between_lips lay_skin", 1, STARTS, "mask: must lie in out"),
            ("between_lips", 9, NO_GRIDS, "nodes: at least 2 x 2 and a cell of at least a pixel"),
            ("between_lips", 10, [(0, 0, 0), (0, 0, -(2**63))], "a cell of at least a pixel"),
            ("lay_skin", 3, NO_GRIDS, "nodes: at least 2 x 2"),
            ("lay_skin", 7, [(7.0, 4.0, step) for step in (0.0, -1.0, np.nan)], "unrolled: .* a step over 0"),
            ("between_lips", 15, [((smooth(2, 2, 4), 1.0, 0.5, 0.2, True),) * 5], "paintings: 5; at most 4"),
            ("between_lips", 15, [[], ([],), (7,)], "tuple"),
            ("warp", 10, [[], ([],), (7,)], "tuple"),
            ("warp", 1, [(6, 9, -(2**63), 31), (6, 9, 47, -(2**63)), (6, 9, 5, 31)], "box: its right and bottom"),
        ],
    )
    def test_what_does_not_fit(self, names: str, which: int, wrongs: Sequence[Any], says: str) -> None:
        for name in names.split():
            for wrong in wrongs:
                given, _ = a_call(name)
                given[which] = wrong
                if name == "warp":
                    given[11] = None
                with pytest.raises((ValueError, TypeError), match=says):
                    getattr(_pixels, name)(*given)

    @pytest.mark.parametrize("shape", [(1, 9), (8, 1), (0, 0)])
    def test_a_lid_of_one_row(self, shape: Tuple[int, int]) -> None:
        given, _ = a_call("lay_skin")
        given[5:7] = np.zeros((*shape, 2), np.float32), np.zeros((*shape, 4), np.uint8)
        with pytest.raises(ValueError, match="unrolled: at least 2 x 2 values"):
            _pixels.lay_skin(*given)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (2, 2), (1, 9), (9, 2)])
def test_shapes_without_pixels(shape: Tuple[int, int]) -> None:
    """Empty paintings and masks, at the far corner of the frame."""
    given, _ = a_call("between_lips")
    empty = tuple((np.full((*shape, 4), 255, np.uint8), 0.0, 0.5, 0.2, cubic) for cubic in (False, True))
    _pixels.between_lips(*given[:15], empty)
    _pixels.between_lips(*given[:15], ())
    mask, start = np.full(shape, 255, np.uint8), (WIDTH - shape[1], HEIGHT - shape[0])
    light = mask[: -(-shape[0] // 4), : -(-shape[1] // 4)].copy()
    for name in ("tint", "between_lips", "lay_skin"):
        given, _ = a_call(name)
        given[1:3] = start, mask
        if name == "between_lips":
            given[3], given[6] = mask, light
        before = given[0].copy()
        getattr(_pixels, name)(*given)
        only_in(Box(*start, WIDTH, HEIGHT), given[0], before)
