"""Lids and irises, read from close up."""

import cv2
import numpy as np
import pytest
from media_files import photo

from sonic_edge.engine.renderer.geometry import (
    EYE_CORNERS,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
)

LIDS = ((LEFT_EYE_UPPER, LEFT_EYE_LOWER), (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER))
"""Of the eye on the left of the picture and of that on the right."""


def read(finder, image):
    """The mesh of the face in a photo, the same with better lids, and the irises."""
    mesh = finder.refine(image, finder.faces(image)[0].landmarks)
    return (mesh, *finder.eyes.read(image, mesh))


def interocular(mesh):
    corners = mesh[list(EYE_CORNERS), :2]
    return float(np.linalg.norm(corners[:2].mean(0) - corners[2:].mean(0)))


@pytest.fixture(scope="module")
def sample_eyes(finder):
    return read(finder, photo())


def turned(angle):
    """The sample turned counterclockwise by degrees, and the way there, [2, 3]."""
    way = cv2.getRotationMatrix2D((255, 250), angle, 1)
    return cv2.warpAffine(photo(), way, (512, 600), borderMode=cv2.BORDER_REFLECT), way


def test_irises_lie_between_the_lids(sample_eyes):
    _, lids, irises = sample_eyes
    assert irises.shape == (2, 3)
    assert irises.dtype == np.float32
    assert irises[0, 0] < irises[1, 0]  # the left of the picture first
    for (upper, lower), (x, y, radius) in zip(LIDS, irises):
        outline = np.concatenate([lids[list(upper), :2], lids[list(lower), :2][::-1]]).astype(np.float32)
        assert cv2.pointPolygonTest(outline, (float(x), float(y)), False) > 0
        corners = outline[:, 0].min(), outline[:, 0].max()
        assert corners[0] < x - 0.5 * radius < x + 0.5 * radius < corners[1]
        assert 0.07 < radius / interocular(lids) < 0.13


def test_irises_are_darker_than_what_is_beside_them(sample_eyes):
    grey = cv2.cvtColor(photo(), cv2.COLOR_BGR2GRAY)
    for x, y, radius in sample_eyes[2]:
        rows, columns = np.mgrid[:600, :512]
        distance = np.hypot(columns - x, rows - y)
        level = np.abs(rows - y) < 0.4 * radius
        inside, beside = (
            level & (distance < 0.8 * radius),
            level & (distance > 1.15 * radius) & (distance < 1.6 * radius),
        )
        assert grey[inside].mean() < 0.8 * grey[beside].mean()


def test_lids_are_near_those_of_the_mesh(sample_eyes):
    mesh, lids, _ = sample_eyes
    unit = interocular(mesh)
    for groups in LIDS:
        points = [i for group in groups for i in group]
        moved = np.linalg.norm(lids[points, :2] - mesh[points, :2], axis=1) / unit
        assert moved.max() < 0.13
        assert 0.005 < moved.mean() < 0.08
        upper, lower = (lids[list(group), :2] for group in groups)
        assert (upper[1:-1, 1] < lower[1:-1, 1]).all()
        assert (np.diff(upper[:, 0]) > 0).all()
        assert (np.diff(lower[:, 0]) > 0).all()


def test_only_what_is_around_the_eyes_changes(sample_eyes):
    mesh, lids, _ = sample_eyes
    changed = np.flatnonzero((mesh != lids).any(1))
    assert 60 < len(changed) <= 142
    assert lids.dtype == np.float32
    assert np.array_equal(mesh[:, 2], lids[:, 2])
    eyes = mesh[list(EYE_CORNERS), :2]
    for point in mesh[changed, :2]:
        assert np.linalg.norm(eyes - point, axis=1).min() < 0.75 * interocular(mesh)
    for point in (1, 13, 14, 61, 291, 152, 10):  # nose, lips, chin, forehead
        assert np.array_equal(mesh[point], lids[point])


def test_in_a_mirror(finder, sample_eyes):
    _, lids, irises = sample_eyes
    _, flipped_lids, flipped = read(finder, np.ascontiguousarray(photo()[:, ::-1]))
    unit = interocular(lids)
    back = flipped[::-1] * [-1, 1, 1] + [511, 0, 0]
    assert np.abs(back[:, :2] - irises[:, :2]).max() < 0.03 * unit
    assert back[:, 2] == pytest.approx(irises[:, 2], rel=0.12)
    for point, opposite in ((159, 386), (145, 374), (33, 263), (133, 362)):
        assert flipped_lids[opposite, :2] * [-1, 1] + [511, 0] == pytest.approx(lids[point, :2], abs=0.04 * unit)


@pytest.mark.parametrize("angle", [-25, 25])
def test_in_a_tilted_photo(finder, sample_eyes, angle):
    _, lids, irises = sample_eyes
    image, way = turned(angle)
    _, _, found = read(finder, image)
    expected = np.c_[irises[:, :2], np.ones(2)] @ way.T
    assert np.abs(found[:, :2] - expected).max() < 0.03 * interocular(lids)
    assert found[:, 2] == pytest.approx(irises[:, 2], rel=0.12)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_in_a_photo_of_another_size(finder, sample_eyes, scale):
    mesh, lids, irises = sample_eyes
    size = (int(512 * scale), int(600 * scale))
    image = cv2.resize(photo(), size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    _, found = finder.eyes.read(image, ((mesh + 0.5) * scale - 0.5).astype(np.float32))
    assert np.abs((found[:, :2] + 0.5) / scale - 0.5 - irises[:, :2]).max() < 0.03 * interocular(lids)
    assert found[:, 2] / scale == pytest.approx(irises[:, 2], rel=0.15)


def test_implausible_lids_are_rejected(finder, sample_eyes):
    """A mesh beside the face keeps its own lids: what is read there are no eyes."""
    mesh = sample_eyes[0]
    image = photo()
    image[:] = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    widened = mesh.copy()
    widened[:, 0] += 60 * np.sin(np.arange(468))  # no two neighbours where they belong
    widened[list(EYE_CORNERS)] = mesh[list(EYE_CORNERS)]
    lids, irises = finder.eyes.read(image, widened)
    assert np.array_equal(lids, widened)
    assert np.isfinite(irises).all()


def test_the_mesh_given_stays(finder, sample_eyes):
    mesh = sample_eyes[0].copy()
    finder.eyes.read(photo(), mesh)
    assert np.array_equal(mesh, sample_eyes[0])


def test_eyes_at_the_border_of_the_photo(finder, sample_eyes):
    """The view is carried on beyond the border."""
    mesh, _, irises = sample_eyes
    image = np.ascontiguousarray(photo()[:, 215:])
    _, found = finder.eyes.read(image, mesh - np.array([215, 0, 0], np.float32))
    assert np.isfinite(found).all()
    assert found[1, :2] == pytest.approx(irises[1, :2] - [215, 0], abs=1.5)
