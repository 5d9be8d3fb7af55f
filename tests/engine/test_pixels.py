"""The compiled inner loops alone: against plain references, at the limits of their arguments, and beyond."""

from typing import Any, Dict, Tuple

import cv2
import numpy as np
import pytest
from slow_renderer import enlarged

from sonic_edge.engine.renderer import _pixels
from sonic_edge.engine.renderer.geometry import Box, Grid, weighted

RNG = np.random.default_rng(0)


def person(height: int = 41, width: int = 51) -> np.ndarray:
    """Premultiplied: B, G, R, alpha, with parts that are solid and parts that are not there."""
    alpha = np.clip(RNG.integers(-200, 455, (height, width, 1)), 0, 255)
    return np.dstack([RNG.integers(0, 256, (height, width, 3)) * alpha // 255, alpha]).astype(np.uint8)


def warped(grid: Grid, nodes: np.ndarray, box: Box, **more: Any) -> np.ndarray:
    """A frame of 50 x 40 that was all 7, after `warp`."""
    given: Dict[str, Any] = {
        "out": np.full((40, 50, 3), 7, np.uint8),
        "still": None,
        "gain": None,
        "photo": person(),
        "placing": (0.0, 0.0, 1.0),
        "behind": None,
        "patches": (),
        "share": None,
        **more,
    }
    on_canvas = (box.left, box.top, box.right, box.bottom)
    _pixels.warp(
        given["out"],
        on_canvas,
        given["still"],
        nodes,
        given["gain"],
        given.get("at", (grid.left, grid.top, grid.cell)),
        given["photo"],
        given["placing"],
        given["behind"],
        (0, 0),
        given["patches"],
        given["share"],
    )
    return given["out"]


def expected(photo: np.ndarray, at: np.ndarray, behind: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The same in float, pixel by pixel: positions [h, w, 2] in the photo."""
    height, width = photo.shape[:2]
    x, y = np.clip(at[..., 0], 0, width - 1.001), np.clip(at[..., 1], 0, height - 1.001)
    column, row = x.astype(int), y.astype(int)
    a, b = (x - column)[..., None], (y - row)[..., None]
    corners = [photo[row + i, column + j].astype(float) for i in (0, 1) for j in (0, 1)]
    found = (corners[0] * (1 - a) + corners[1] * a) * (1 - b) + (corners[2] * (1 - a) + corners[3] * a) * b
    over = np.minimum(found[..., :3] + behind * (1 - found[..., 3:] / 255), 255)
    return np.clip(over * (1 + gain[..., None]), 0, 255)


BOXES = [Box(0, 0, 50, 40), Box(3, 5, 44, 39), Box(10, 10, 11, 11), Box(0, 0, 50, 1), Box(20, 0, 22, 40)]


@pytest.mark.parametrize("box", BOXES, ids=str)
@pytest.mark.parametrize("cell", [1, 2, 3, 4, 7, 16])
class TestWarp:
    def test_at_rest_a_solid_photo_is_itself(self, box: Box, cell: int) -> None:
        grid, photo = Grid(Box(0, 0, 50, 40), cell), person()
        photo[..., 3] = 255
        out = warped(grid, grid.nodes, box, photo=photo)
        assert np.array_equal(out[box.rows, box.columns], photo[box.rows, box.columns, :3])
        out[box.rows, box.columns] = 7
        assert (out == 7).all()

    def test_what_does_not_move_is_copied(self, box: Box, cell: int) -> None:
        grid, still = Grid(Box(0, 0, 50, 40), cell), person(40, 50)[..., :3].copy()
        nodes = grid.nodes.copy()
        middle = nodes[len(nodes) // 2, nodes.shape[1] // 2]
        y = np.arange(box.top, box.bottom)
        # (in cells around a node that moves whole rows may be looked up)
        for rests in (y >= 0, np.abs(y - middle[1]) > cell):
            out = warped(grid, nodes, box, still=still, photo=person())[box.rows, box.columns]
            assert np.array_equal(out[rests], still[box.rows, box.columns][rests])
            middle += 3

    @pytest.mark.parametrize("scale", [1.0, 2.0])
    def test_is_what_it_stands_for(self, box: Box, cell: int, scale: float) -> None:
        grid = Grid(Box(0, 0, 50, 40), cell)
        nodes = grid.nodes + (4 * np.sin(grid.nodes[..., ::-1] / 9)).astype(np.float32)
        photo = person(int(40 * scale), int(50 * scale))
        behind = RNG.integers(0, 256, (40, 50, 3), np.uint8)
        gain = (0.3 * np.sin(grid.nodes[..., 0] / 8)).astype(np.float32)
        out = warped(grid, nodes, box, photo=photo, placing=(-1.0, 2.0, scale), behind=behind, gain=gain)
        at = (enlarged(grid, nodes, box) - [-1, 2]) * scale
        wanted = expected(photo, at, behind[box.rows, box.columns], enlarged(grid, gain, box))
        # (steps of 1/128 pixel where neighbours differ by up to 255)
        assert np.abs(out[box.rows, box.columns] - wanted).max() < 6
        assert np.abs(out[box.rows, box.columns] - wanted).mean() < 1 or wanted.size < 300

    def test_light_falls_only_where_it_changes(self, box: Box, cell: int) -> None:
        grid, photo = Grid(Box(0, 0, 50, 40), cell), person()
        nodes = grid.nodes + np.float32(1.3)
        for row, column in ((0, 0), (0.5, 0.5), (0.4, 0.9)):
            gain = np.zeros(nodes.shape[:2], np.float32)
            gain[int(row * len(gain)), int(column * gain.shape[1])] = 0.4
            out = warped(grid, nodes, box, photo=photo, gain=gain)[box.rows, box.columns].astype(float)
            dark = warped(grid, nodes, box, photo=photo)[box.rows, box.columns]
            light = enlarged(grid, gain, box)
            assert np.array_equal(out[light == 0], dark[light == 0])
            assert np.abs(out - np.clip(dark * (1 + light[..., None]), 0, 255)).max() < 1.5

    def test_a_patch_moves_what_lies_under_it(self, box: Box, cell: int) -> None:
        grid, photo = Grid(Box(0, 0, 50, 40), cell), person()
        photo[..., 3] = 255
        field = np.zeros((8, 12, 2), np.float32)
        field[2:-2, 2:-2] = (2.0, -1.0)
        patches = ((field, (15.0, 10.0, 1.0), (12, 8, 30, 20)),)
        still = photo[:40, :50, :3].copy()
        out = warped(grid, grid.nodes, box, photo=photo, patches=patches)
        assert np.array_equal(warped(grid, grid.nodes, box, photo=photo, patches=patches, still=still), out)
        moved = photo[:40, :50, :3].copy()
        moved[12:16, 17:25] = photo[11:15, 19:27, :3]
        sure = np.ones((40, 50), bool)  # between the parts that move fully and not at all, it moves partly
        sure[9:19, 14:28] = False
        sure[12:16, 17:25] = True
        within = np.zeros((40, 50), bool)
        within[box.rows, box.columns] = True
        assert np.array_equal(out[sure & within], moved[sure & within])

    @pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf, 1e30, -1e30, 20000.0, -3.0])
    def test_any_numbers_at_all(self, box: Box, cell: int, wild: float) -> None:
        grid = Grid(Box(0, 0, 50, 40), cell)
        nodes, gain = grid.nodes.copy(), np.zeros(grid.nodes.shape[:2], np.float32)
        nodes[::3, ::2], gain[::2, ::3] = wild, wild
        patch = np.full((5, 5, 2), wild, np.float32)
        more = {"gain": gain, "patches": ((patch, (10.0, 10.0, 3.0), (-5, 3, 100, 30)),)}
        for still in (None, person(40, 50)[..., :3].copy()):
            out = warped(grid, nodes, box, behind=person(40, 50)[..., :3].copy(), still=still, **more)
            out[box.rows, box.columns] = 7
            assert (out == 7).all()


@pytest.mark.parametrize("cell", [1, 5, 16])
@pytest.mark.parametrize("off", [0.0, 1 / 65536, 1 / 1024, 1 / 256, 1 / 128, 0.5])
def test_at_the_very_borders_of_the_photo(cell: int, off: float) -> None:
    """All of the frame shows a place a hair's breadth from a corner, where rounding could lead out of the photo."""
    grid, photo = Grid(Box(0, 0, 50, 40), cell), person(40, 50)
    photo[..., 3] = 255
    for corner, at in (((0, 0), (off, off)), ((39, 49), (49 - off, 39 - off))):
        nodes = np.full_like(grid.nodes, at)
        out = warped(grid, nodes, grid.box, photo=photo)
        assert np.ptp(out.astype(int), axis=(0, 1)).max() <= 8
        assert off > 0.1 or np.abs(out.astype(int) - photo[corner][:3]).max() <= 8


def test_rounding_never_turns_light_to_dark() -> None:
    """A premultiplied pixel and its background may add up to one grey level too much."""
    grid = Grid(Box(0, 0, 50, 40), 5)
    photo = np.full((40, 50, 4), 128, np.uint8)
    nodes = (grid.nodes + 0.3).astype(np.float32)
    gain = np.full(nodes.shape[:2], 0.01, np.float32)
    for alpha in (126, 127, 128):
        photo[..., 3] = alpha
        out = warped(grid, nodes, grid.box, photo=photo, behind=np.full((40, 50, 3), 255, np.uint8), gain=gain)
        assert out.min() > 250


def patch_of(rows: int, columns: int, step: float) -> Tuple[Any, ...]:
    """One that moves nothing."""
    return np.zeros((rows, columns, 2), np.float32), (0.0, 0.0, step), (0, 0, 9, 9)


class TestRefuses:
    GRID = Grid(Box(0, 0, 50, 40), 5)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"out": np.zeros((40, 49, 3), np.uint8)}, "box: must lie in out"),
            ({"out": np.zeros((40, 50, 4), np.uint8)}, "out: axis 2 is 4 long; 3 is needed"),
            ({"out": np.zeros((40, 50, 3), np.int8)}, "out: 3 axes of b; 3 axes of B are needed"),
            ({"still": np.zeros((39, 50, 3), np.uint8)}, "still: axis 0 is 39 long; 40 is needed"),
            ({"behind": np.zeros((39, 50, 3), np.uint8)}, "box: must lie in behind"),
            ({"photo": np.zeros((40, 50, 3), np.uint8)}, "photo: axis 2 is 3 long; 4 is needed"),
            ({"photo": np.zeros((1, 50, 4), np.uint8)}, "photo: 2 to 16383 pixels"),
            ({"placing": (0.0, 0.0, 0.0)}, "scale must be over 0"),
            ({"gain": np.zeros((3, 3), np.float32)}, "gain: axis 0 is 3 long; 10 is needed"),
            ({"patches": (patch_of(1, 3, 1.0),)}, "patch: at least 2 x 2"),
            ({"patches": (patch_of(3, 3, 0.0),)}, "a step over 0"),
            ({"patches": (patch_of(3, 3, 1.0),) * 5}, "patches: 5; at most 4"),
            ({"at": (-5, -5, 0)}, "a cell is 1 to 16383"),
            ({"at": (0, -5, 5)}, "box: must lie between the nodes"),
            ({"at": (-5, -25, 5)}, "box: must lie between the nodes"),
        ],
    )
    def test_what_does_not_fit(self, given: Dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            warped(self.GRID, self.GRID.nodes, self.GRID.box, **given)

    def test_a_box_that_is_turned_over(self) -> None:
        with pytest.raises(ValueError, match="box: its right and bottom"):
            warped(self.GRID, self.GRID.nodes, Box(10, 10, 5, 20))

    def test_arrays_with_gaps(self) -> None:
        with pytest.raises(ValueError, match="contiguous"):
            warped(self.GRID, self.GRID.nodes, self.GRID.box, photo=person(40, 100)[:, ::2])

    def test_an_empty_box_changes_nothing(self) -> None:
        assert (warped(self.GRID, self.GRID.nodes, Box(10, 10, 10, 20)) == 7).all()


class TestWeighted:
    def test_is_the_sum_wherever_the_arrays_lie(self) -> None:
        weights = RNG.normal(0, 1, 9).astype(np.float32)
        bases = RNG.normal(0, 5, (9, 1001)).astype(np.float32)
        room = np.zeros(bases.size + 16, np.float32)
        found = []
        for start in range(8):
            there = room[start : start + bases.size].reshape(bases.shape)
            there[...] = bases
            found.append(weighted(weights, there))
        assert found[0] == pytest.approx(weights @ bases, abs=1e-4)
        assert all(np.array_equal(one, found[0]) for one in found)

    def test_refuses_what_does_not_fit(self) -> None:
        with pytest.raises(ValueError, match="weights: axis 0 is 2 long; 3 is needed"):
            weighted(np.zeros(2, np.float32), np.zeros((3, 4), np.float32))
        with pytest.raises(ValueError, match="out: axis 0 is 5 long; 4 is needed"):
            _pixels.weighted(np.zeros(3, np.float32), np.zeros((3, 4), np.float32), np.zeros(5, np.float32))


class TestUndo:
    @staticmethod
    def undone(grid: Grid, field: np.ndarray, at: np.ndarray) -> np.ndarray:
        return grid.invert(field.astype(np.float32), at.astype(np.float32), 12)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 63), (5, 64), (3, 200)])
    def test_finds_where_points_come_from(self, shape: Tuple[int, int]) -> None:
        grid = Grid(Box(0, 0, 120, 90), 6)
        field = 5 * np.sin(grid.nodes[..., ::-1] / 25)
        at = RNG.uniform(20, 70, (*shape, 2))
        before = self.undone(grid, field, at)
        assert before + grid.sample(field.astype(np.float32), before) == pytest.approx(at, abs=0.1)

    def test_of_nodes_as_of_any_points(self) -> None:
        grid = Grid(Box(0, 0, 120, 90), 6)
        field = (5 * np.sin(grid.nodes[..., ::-1] / 25)).astype(np.float32)
        assert grid.invert(field, grid.nodes, 8) == pytest.approx(grid.invert(field, grid.nodes.copy(), 8), abs=0.02)

    def test_outside_nothing_moves(self) -> None:
        grid = Grid(Box(0, 0, 120, 90), 6)
        at = np.array([[[-20.0, 5.0], [500.0, 5.0], [30.0, np.nan], [np.inf, 3.0]]])
        assert np.array_equal(
            self.undone(grid, np.full(grid.nodes.shape, 3.0), at), at.astype(np.float32), equal_nan=True
        )

    @pytest.mark.parametrize("wild", [np.nan, np.inf, -1e30])
    def test_any_numbers_at_all(self, wild: float) -> None:
        grid = Grid(Box(0, 0, 120, 90), 6)
        field = np.zeros(grid.nodes.shape)
        field[::2, ::3] = wild
        assert self.undone(grid, field, grid.nodes).shape == grid.nodes.shape
        assert grid.invert(field.astype(np.float32), grid.nodes, 5).shape == grid.nodes.shape

    def test_refuses_what_does_not_fit(self) -> None:
        field, at = np.zeros((4, 5, 2), np.float32), np.zeros((3, 3, 2), np.float32)
        with pytest.raises(ValueError, match="out: axis 0 is 2 long; 3 is needed"):
            _pixels.invert(field, at, False, at[:2].copy(), (0.0, 0.0), 5.0, 3, 0.01)
        with pytest.raises(ValueError, match="at: axis 0 is 3 long; 4 is needed"):
            _pixels.invert(field, at, True, at.copy(), (0.0, 0.0), 5.0, 3, 0.01)
        with pytest.raises(ValueError, match="at least 2 x 2 nodes"):
            _pixels.invert(field[:1].copy(), at, False, at.copy(), (0.0, 0.0), 5.0, 3, 0.01)


class TestSampled:
    @pytest.mark.parametrize("depth", [1, 2, 5])
    def test_is_linear_between_nodes_and_level_beyond(self, depth: int) -> None:
        grid = Grid(Box(0, 0, 60, 40), 6)
        field = RNG.normal(0, 9, (*grid.nodes.shape[:2], depth)).astype(np.float32)
        at = RNG.uniform(-30, 90, (50, 3, 2))
        placed = ((at - grid.nodes[0, 0]) / 6).astype(np.float32)
        wanted = [
            cv2.remap(field[..., k], placed, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for k in range(depth)
        ]
        found = grid.sample(field, at)
        # (OpenCV places in steps of 1/32)
        assert found == pytest.approx(np.stack(wanted, -1), abs=1.5)
        assert grid.sample(field, grid.nodes) == pytest.approx(field, abs=1e-4)

    @pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf, 1e30])
    def test_any_numbers_at_all(self, wild: float) -> None:
        grid = Grid(Box(0, 0, 60, 40), 6)
        assert np.isfinite(grid.sample(grid.nodes, np.array([[wild, 3.0], [3.0, wild], [wild, -wild]]))).all()
        assert grid.sample(np.full_like(grid.nodes, wild), grid.nodes).shape == grid.nodes.shape
        assert grid.sample(grid.nodes, np.zeros((0, 2))).shape == (0, 2)

    def test_refuses_what_does_not_fit(self) -> None:
        field, at = np.zeros((4, 5, 2), np.float32), np.zeros((3, 2), np.float32)
        with pytest.raises(ValueError, match="out: axis 1 is 3 long; 2 is needed"):
            _pixels.sampled(field, (0.0, 0.0), 5.0, at, np.zeros((3, 3), np.float32))
        with pytest.raises(ValueError, match="out: axis 0 is 2 long; 3 is needed"):
            _pixels.sampled(field, (0.0, 0.0), 5.0, at, at[:2].copy())
        for wrong, cell in ((field[:1].copy(), 5.0), (field, 0.0), (field, np.nan)):
            with pytest.raises(ValueError, match="at least 2 x 2 nodes and a cell over 0"):
                _pixels.sampled(wrong, (0.0, 0.0), cell, at, at.copy())


class TestBounds:
    def test_are_the_least_and_the_most(self) -> None:
        points = RNG.normal(0, 100, (77, 2))
        assert _pixels.bounds(points) == (*points.min(0), *points.max(0))
        assert _pixels.bounds(points[:1]) == (*points[0], *points[0])

    def test_refuses_what_does_not_fit(self) -> None:
        for wrong, reported in (
            (np.zeros((0, 2)), "points: 0; at least one"),
            (np.zeros((3, 3)), "points: axis 1 is 3 long"),
        ):
            with pytest.raises(ValueError, match=reported):
                _pixels.bounds(wrong)
