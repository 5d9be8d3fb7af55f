"""The person apart from the background, on real and made-up photos."""

import cv2
import numpy as np
import pytest
from media_files import pasted, photo

from sonic_edge.engine.portrait.matte import guided


def hull(landmarks: np.ndarray, shape: "tuple[int, ...]") -> np.ndarray:
    """Where a face is, [height, width] bool."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(landmarks[:, :2]).astype(np.int32)), (255,))
    return mask > 0


@pytest.fixture(scope="module")
def sample_face(finder):
    return finder.refine(photo(), finder.faces(photo())[0].landmarks)


@pytest.fixture(scope="module")
def sample_matte(finder, sample_face):
    return finder.matting.person(photo(), sample_face)


def test_the_person_and_not_the_wall(sample_face, sample_matte):
    """The face, the cap and the coat are of the person, the flag and the wall are not."""
    assert sample_matte.shape == photo().shape[:2]
    assert sample_matte.dtype == np.uint8
    assert sample_matte[hull(sample_face, sample_matte.shape)].mean() > 0.95 * 255
    for corner in (sample_matte[:200, :60], sample_matte[:300, -80:]):
        assert corner.mean() < 0.02 * 255
    assert sample_matte[110:150, 180:350].mean() > 0.9 * 255  # the cap's brim
    assert sample_matte[-60:, 100:420].mean() > 0.95 * 255  # the coat
    assert 0.4 < (sample_matte > 127).mean() < 0.7


def test_its_edge_is_that_of_the_photo(sample_matte):
    """Beside the brim of the cap, black on blue, it changes from person to wall where the photo does."""
    rows = slice(115, 140)
    edge = 320 + np.abs(
        np.diff(cv2.GaussianBlur(photo()[rows, 320:420], (3, 3), 0).astype(int).sum(-1), axis=1)
    ).argmax(1)
    matte = sample_matte[rows, 320:420]
    half = 320 + (matte > 127).sum(1)
    assert np.median(np.abs(half - edge)) <= 3
    soft = ((matte > 25) & (matte < 230)).sum(1)
    assert soft.mean() < 2.3  # the network alone: 2.9


def test_the_same_in_a_mirror(finder, sample_face, sample_matte):
    flipped = np.ascontiguousarray(photo()[:, ::-1])
    found = finder.matting.person(flipped, finder.faces(flipped)[0].landmarks)
    assert np.abs(found[:, ::-1].astype(int) - sample_matte).mean() < 4


def test_the_same_in_a_tilted_photo(finder, sample_face, sample_matte):
    turn = cv2.getRotationMatrix2D((255, 250), 20, 1)
    tilted = cv2.warpAffine(photo(), turn, (512, 600), borderMode=cv2.BORDER_REFLECT)
    found = finder.matting.person(tilted, finder.faces(tilted)[0].landmarks)
    expected = cv2.warpAffine(sample_matte, turn, (512, 600))
    around = hull(finder.faces(tilted)[0].landmarks, tilted.shape).astype(np.uint8)
    near = cv2.distanceTransform(1 - around, cv2.DIST_L2, 5) < 60
    assert np.abs(found.astype(int) - expected)[near].mean() < 12


def test_another_person_is_background(finder):
    head = np.ascontiguousarray(photo()[10:430, 130:400])
    other = cv2.resize(head[:, ::-1], None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    two = pasted((820, 420), (head, 20, 0), (other, 440, 84))
    faces = finder.faces(two)
    assert len(faces) == 2
    for mine, others in ((faces[0], faces[1]), (faces[1], faces[0])):
        matte = finder.matting.person(two, mine.landmarks)
        assert matte[hull(mine.landmarks, two.shape)].mean() > 0.95 * 255
        assert matte[hull(others.landmarks, two.shape)].mean() < 0.05 * 255


@pytest.mark.parametrize("kind", ["noise", "plain"])
def test_without_a_person_there_is_no_matte(finder, sample_face, kind):
    grey = np.full(photo().shape, 128, np.uint8)
    if kind == "noise":
        grey[:] = np.random.default_rng(0).integers(0, 256, grey.shape[:2], np.uint8)[..., None]
    assert finder.matting.person(grey, sample_face) is None


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_any_size_gives_the_same(finder, sample_face, sample_matte, scale):
    size = (int(512 * scale), int(600 * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    found = finder.matting.person(cv2.resize(photo(), size, interpolation=way), sample_face * np.float32(scale))
    assert found.shape == size[::-1]
    small = cv2.resize(found, (512, 600), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - sample_matte).mean() < 5


def test_a_small_face_in_a_huge_photo(finder, sample_face, sample_matte):
    """Nothing is person far from it."""
    image = pasted((4000, 2200), (photo(), 1800, 900))
    shifted = sample_face + np.array([1800, 900, 0], np.float32)
    found = finder.matting.person(image, shifted)
    assert found.shape == (2200, 4000)
    assert found[hull(shifted, found.shape)].mean() > 0.95 * 255
    assert not found[:, :1300].any()
    assert not found[:, 2900:].any()
    assert not found[:500].any()


@pytest.mark.parametrize("cut", [(150, 20, 362, 330), (0, 90, 512, 340), (200, 100, 512, 600)])
def test_a_photo_that_is_hardly_more_than_the_face(finder, cut):
    x0, y0, x1, y1 = cut
    image = np.ascontiguousarray(photo()[y0:y1, x0:x1])
    landmarks = finder.faces(photo())[0].landmarks - np.array([x0, y0, 0], np.float32)
    found = finder.matting.person(image, landmarks)
    assert found.shape == image.shape[:2]
    assert found[hull(landmarks, found.shape)].mean() > 0.95 * 255


def test_a_face_outside_the_photo_has_none(finder, sample_face):
    assert finder.matting.person(photo(), sample_face + np.array([2000, 0, 0], np.float32)) is None


def test_the_largest_canvas_fits_the_memory(alone):
    code = """
import cv2
import numpy as np
from media_files import photo
from sonic_edge.config import share_dir
from sonic_edge.engine.portrait import FaceFinder
finder = FaceFinder(share_dir() / "face")
landmarks = finder.faces(photo())[0].landmarks * np.float32(5)
print(finder.matting.person(cv2.resize(photo(), (2560, 3000)), landmarks).shape)
"""
    printed, peak_mb, _ = alone(code)
    assert printed == "(3000, 2560)"
    assert peak_mb < 700


class TestGuided:
    @staticmethod
    def step(noise: float) -> np.ndarray:
        """Dark on the left, light from column 60 on."""
        image = np.where(np.arange(120) < 60, 70, 190)[None, :, None] + np.zeros((80, 120, 3))
        image += np.random.default_rng(0).normal(0, noise, image.shape)
        return np.clip(image, 0, 255).astype(np.uint8)

    @pytest.mark.parametrize("noise", [0.0, 5.0])
    @pytest.mark.parametrize("off", [-3, 0, 3])
    def test_a_blurred_step_becomes_that_of_the_picture(self, noise, off):
        rough = np.zeros((80, 120), np.float32)
        rough[:, 60 + off :] = 1
        rough = cv2.GaussianBlur(rough, (0, 0), 4)
        inner = slice(10, 70)
        assert ((rough > 0.2) & (rough < 0.8))[inner].sum(1).min() >= 6
        found = guided(self.step(noise), rough, 1.0)[inner]
        assert found.shape == (60, 120)
        steps = np.diff(found.mean(0))
        assert steps[59] > 0.5
        assert np.delete(steps, 59).max() < 0.08
        assert np.abs((found < 0.5).sum(1) - 60).max() <= 1
        assert found[:, :50].mean() < 0.1
        assert found[:, 70:].mean() > 0.9

    def test_coefficients_at_a_smaller_size_do_nearly_as_well(self):
        image = cv2.resize(self.step(0.0), (480, 320), interpolation=cv2.INTER_NEAREST)
        rough = np.zeros((320, 480), np.float32)
        rough[:, 240:] = 1
        rough = cv2.GaussianBlur(rough, (0, 0), 16)
        found = guided(image, rough, 0.25)
        assert np.abs((found < 0.5).sum(1) - 240).max() <= 2
        assert found[:, :200].mean() < 0.1
        assert found[:, 280:].mean() > 0.9

    def test_without_an_edge_the_map_stays(self):
        plain = np.full((80, 120, 3), 128, np.uint8)
        rough = np.repeat(np.linspace(0, 1, 120, dtype=np.float32)[None], 80, 0)
        found = guided(plain, rough, 1.0)
        assert found[:, 20:-20] == pytest.approx(rough[:, 20:-20], abs=0.03)

    def test_a_map_of_one_value_stays(self):
        image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
        for value in (0.0, 1.0):
            assert guided(image, np.full((50, 60), value, np.float32), 1.0) == pytest.approx(value, abs=0.01)
