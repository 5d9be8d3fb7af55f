"""Places on a face, grids, and the photo between its pixels."""

import cv2
import numpy as np
import pytest
from drawn_face import drawn, mesh
from slow_renderer import enlarged

from sonic_edge.engine.renderer import geometry as g
from sonic_edge.engine.renderer.photo import FINEST, FinePhoto, softness, upsampled


class TestGeometry:
    def test_a_curve_goes_through_its_points(self) -> None:
        points = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, -1.0], [4.0, 0.5]])
        assert g.smooth_curve(points, 4)[::4] == pytest.approx(points)

    def test_face_coordinates_are_upright_in_a_tilted_head(self) -> None:
        upright, tilted = (g.FaceFrame(drawn(tilt=tilt).landmarks) for tilt in (0.0, 0.5))
        for tilt, frame in ((0.0, upright), (0.5, tilted)):
            points = drawn(tilt=tilt).landmarks[:, :2].astype(float)
            assert frame.of(points) == pytest.approx(mesh()[:, :2], abs=1e-3)
            assert frame.canvas(frame.of(points)) == pytest.approx(points, abs=1e-3)

    @pytest.mark.parametrize("cell", [2, 5, 16])
    def test_a_grid_is_exact_on_straight_fields(self, cell: int) -> None:
        box = g.Box(13, 7, 150, 101)
        grid = g.Grid(box, cell)
        y, x = np.mgrid[box.top : box.bottom, box.left : box.right]
        assert enlarged(grid, grid.nodes, box) == pytest.approx(np.stack([x, y], -1), abs=1e-3)
        part = g.Box(40, 30, 60, 41)
        assert enlarged(grid, grid.nodes, part) == pytest.approx(
            np.stack(np.meshgrid(range(40, 60), range(30, 41)), -1)
        )

    def test_an_inverse_undoes(self) -> None:
        grid = g.Grid(g.Box(0, 0, 200, 200), 5)
        there = 12 * np.sin(grid.nodes[..., ::-1] / 40).astype(np.float32)
        source = grid.invert(there, grid.nodes, 6)
        inner = (slice(4, -4), slice(4, -4))
        assert (source + grid.sample(there, source))[inner] == pytest.approx(grid.nodes[inner], abs=0.1)

    def test_a_box_stays_within_another(self) -> None:
        assert g.Box(-5, 3, 10, 40).within(g.Box(0, 0, 8, 20)) == g.Box(0, 3, 8, 20)
        assert g.Box(30, 3, 40, 40).within(g.Box(0, 0, 8, 20)).empty

    def test_a_polygon_covers_its_area(self) -> None:
        box = g.Box(10, 20, 70, 60)
        square = np.array([[20.0, 25.0], [40.0, 25.0], [40.0, 45.0], [20.0, 45.0]])
        assert g.soft_polygon(square, box, 0.0).sum() / 255 == pytest.approx(20**2, rel=0.01)
        assert g.soft_polygon(square, box, 2.0).sum() / 255 == pytest.approx(20**2, rel=0.01)
        assert g.soft_polygon(square, box, 0.5, step=4).sum() / 255 == pytest.approx(5**2, rel=0.02)
        assert g.soft_polygon(square, box, 0.0)[10, 15] == 255
        both = g.soft_polygon(np.stack([square + np.array([right, 0]) for right in (0, 5, 30)]), box, 0.0)
        assert both.sum() / 255 == pytest.approx(20 * (25 + 20), rel=0.01)
        assert both.max() == 255
        for step in (3, 49, 75, 103):  # 7 * 75 * (1 / 75) is a little more than 7
            assert g.soft_polygon(square, g.Box(0, 0, 7 * step, 15 * step + 1), 0.0, step=step).shape == (16, 7)
        assert not g.soft_polygon(square - 500, box, 1.0).any()
        assert g.soft_polygon(square * 1e300, box, 0.0).shape == (40, 60)

    def test_a_curve_that_turns_back_has_a_height_everywhere(self) -> None:
        curve = np.array([[0.0, 0.0], [1.0, 1.0], [0.9, 2.0], [3.0, 3.0]])
        heights = g.height_at(np.linspace(-1, 4, 11), curve)
        assert np.isfinite(heights).all()
        assert heights[0] == 0
        assert heights[-1] == 3


class TestFinePhoto:
    def test_softness_is_that_of_the_photo(self) -> None:
        noise = np.random.default_rng(0).normal(128, 40, (200, 200))
        # Detail at every size, like a photo's.
        sharp = sum(cv2.resize(cv2.resize(noise, (n, n)), (200, 200)) for n in (200, 100, 50, 25)) / 4
        sharp = np.repeat(np.clip(sharp, 0, 255).astype(np.uint8)[..., None], 3, -1)
        box = g.Box(0, 0, 200, 200)
        soft = [softness(cv2.GaussianBlur(sharp, (0, 0), s) if s else sharp, box) for s in (0, 1, 2, 4)]
        assert soft[0] == pytest.approx(0.5, abs=0.1)
        assert all(b > 1.2 * a for a, b in zip(soft, soft[1:]))
        assert softness(sharp, g.Box(5, 5, 5, 5)) == 0.5

    def test_keeps_its_pixels(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)
        fine = upsampled(image)
        assert fine.shape == (39, 61, 3)
        assert np.array_equal(fine[::2, ::2], image)

    def test_finds_smooth_pictures_between_pixels(self) -> None:
        x = np.arange(40)
        image = np.broadcast_to((127 + 100 * np.sin(x / 4))[None, :, None], (30, 40, 3)).round().astype(np.uint8)
        photo = FinePhoto(np.dstack([image, image])[4:26, 4:36, :4].copy(), (4, 4))
        at = np.stack(np.meshgrid(np.arange(8, 30) + 0.3, np.arange(8, 20) + 0.6), -1).astype(np.float32)
        fine = (at - np.array(photo.start, np.float32)) * np.float32(photo.scale)
        found = g.look_up(photo.pixels, fine, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        assert found[..., 0] == pytest.approx(127 + 100 * np.sin(at[..., 0] / 4), abs=2)

    def test_has_bounds(self) -> None:
        """A small part is made finer; one that would take too much memory stays as it is."""
        assert FinePhoto(np.zeros((30, 40, 4), np.uint8), (0, 0)).scale == FINEST
        assert FinePhoto(np.zeros((3000, 3000, 4), np.uint8), (0, 0)).scale == 1
        assert FinePhoto(np.zeros((0, 40, 4), np.uint8), (0, 0)).scale == 1
