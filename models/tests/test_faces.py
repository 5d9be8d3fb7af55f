"""Training faces: what is measured on portraits, what deforms them, and how reading them is judged."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from models import faces, heads, portraits, read_faces
from models.lip_figures import area
from sonic_edge.config import Controls, share_dir
from sonic_edge.engine.portrait import FaceFinder, make_portrait
from sonic_edge.engine.renderer import Renderer
from sonic_edge.media import Portrait

OPENING, WIDTH, TEETH, LIPS, EYE, YAW, PITCH = range(7)


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(share_dir() / "face")


@pytest.fixture(scope="module")
def hopper(finder: FaceFinder) -> Portrait:
    """Grace Hopper: an old woman with glasses, mouth shut, looking into the camera."""
    image = cv2.imread(str(share_dir() / "samples" / "portrait.jpg"))
    return make_portrait(np.asarray(image, np.uint8), finder, Controls(min_resolution=portraits.CANVAS), "hopper")


def measured(portrait: Portrait, finder: FaceFinder, **pose: float) -> np.ndarray:
    image = Renderer(portrait).frame(pose)
    return portraits.measure(image, finder.refine(image, portrait.landmarks))


def test_a_shut_mouth_and_a_level_gaze_measure_as_such(hopper: Portrait) -> None:
    read = portraits.measure(hopper.image, hopper.landmarks)
    assert read[OPENING] < 0.05 and read[TEETH] == 0
    assert 0.7 < read[WIDTH] < 0.95 and 0.1 < read[LIPS] < 0.35 and 0.08 < read[EYE] < 0.16
    assert abs(read[YAW]) < 0.06 and abs(read[PITCH]) < 0.08


def test_what_is_commanded_is_measured(hopper: Portrait, finder: FaceFinder) -> None:
    rest = measured(hopper, finder)
    assert 0.1 < measured(hopper, finder, jaw=0.6)[OPENING] - rest[OPENING] < 0.35
    assert measured(hopper, finder, width=1.0)[WIDTH] > rest[WIDTH] + 0.04
    assert measured(hopper, finder, yaw=0.4)[YAW] > rest[YAW] + 0.08
    assert measured(hopper, finder, pitch=0.3)[PITCH] > rest[PITCH] + 0.02


def test_deformed_faces_answer_for_their_lids_and_repeat(hopper: Portrait, finder: FaceFinder) -> None:
    def made() -> list:
        return list(faces.deformed(hopper, finder, np.random.default_rng(4), 6))

    some = made()
    assert len(some) >= 5
    for grey, answers, command, rest in some:
        assert grey.shape == (224, 224) and grey.dtype == np.uint8 and 20 < grey.mean() < 235
        assert answers.shape == (7,) and np.isfinite(answers).all()
        assert answers[EYE] == pytest.approx((1 - command.get("blink", 0)) * rest[EYE], abs=1e-6)
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(some, made()))


def test_faces_that_landmarks_lost_are_left_out() -> None:
    rest = np.array([0.02, 0.85, 0, 0.22, 0.12, 0.0, 0.0], np.float32)
    assert faces.agrees(rest, {"yaw": 0.3}, rest + np.float32([0, 0, 0, 0, 0, 0.12, 0]))
    assert not faces.agrees(rest, {}, rest + np.float32([0, 0, 0, 0, 0, 0.5, 0]))
    assert not faces.agrees(rest, {}, rest + np.float32([0, 0.9, 0, 0, 0, 0, 0]))


def test_another_shape_is_another_face_of_the_same_size(hopper: Portrait, finder: FaceFinder) -> None:
    widths, lips = [], []
    for seed in range(6):
        other = portraits.reshaped(hopper, finder, np.random.default_rng(seed))
        assert other.image.shape == hopper.image.shape
        assert other.interocular == pytest.approx(hopper.interocular, rel=0.25)
        read = portraits.measure(other.image, other.landmarks)
        widths.append(read[WIDTH])
        lips.append(read[LIPS])
    assert np.std(widths) > 0.02 and np.std(lips) > 0.01


def test_a_disguise_keeps_landmarks_and_changes_the_picture(hopper: Portrait) -> None:
    changed = [portraits.disguised(hopper, np.random.default_rng(seed)) for seed in range(5)]
    assert all((p.landmarks == hopper.landmarks).all() for p in changed)
    assert sum(np.abs(p.image.astype(int) - hopper.image).mean() > 0.5 for p in changed) >= 3


def test_a_thin_plate_goes_through_its_points() -> None:
    rng = np.random.default_rng(0)
    points, values = rng.uniform(0, 300, (20, 2)), rng.uniform(0, 300, (20, 2))
    assert np.abs(portraits.thin_plate(points, points, values) - values).max() < 1e-6  # the plane maps to itself
    smooth = points + 5 * np.sin(points / 80)
    assert np.abs(portraits.thin_plate(points, smooth, points) - smooth).max() < 0.5


def test_another_camera_keeps_the_answers_but_mirrors_the_turn() -> None:
    picture = np.tile(np.linspace(0, 255, 224).astype(np.uint8), (224, 1))
    answers = np.array([0.1, 0.9, 0.2, 0.2, 0.1, 0.3, -0.1], np.float32)
    turned = set()
    for seed in range(20):
        grey, now = faces.photographed(picture, answers, np.random.default_rng(seed))
        assert grey.shape == (224, 224) and grey.dtype == np.float32 and grey.min() >= 0 and grey.max() <= 1
        rising = grey[:, 112:].mean() > grey[:, :112].mean()
        assert (now[YAW] > 0) == rising
        assert (np.delete(now, YAW) == np.delete(answers, YAW)).all()
        turned.add(bool(rising))
    assert turned == {True, False} and answers[YAW] == np.float32(0.3)


def test_a_head_turns_to_the_right_of_the_picture_and_nods_down() -> None:
    nose = np.array([0.0, 0.0, 1.0])  # y is up here
    assert (heads.rotation(0.3, 0, 0) @ nose)[0] > 0.2
    assert (heads.rotation(0, 0.3, 0) @ nose)[1] < -0.2
    assert (heads.rotation(0, 0, 0.3) @ np.array([1.0, 0, 0]))[1] < -0.2


def test_nearer_samples_hide_others_and_holes_are_closed() -> None:
    y, x = (a.ravel() for a in np.mgrid[50:150, 50:150])
    here = np.ones(len(x), bool)
    here[::97] = False  # holes
    far = np.full((len(x), 3), 0.1)
    near = np.full((int(here.sum()), 3), 0.8)
    x, y = np.concatenate([x[here], x]), np.concatenate([y[here], y])
    colour = np.concatenate([near, far])
    nearest, height = heads.front(x, y, np.repeat([0.5, 0.0], [len(near), len(far)]).astype(np.float32))
    known = nearest >= 0
    behind = np.zeros((heads.SIDE, heads.SIDE, 3), np.float32)
    out = heads.compose(known, height, colour[nearest[known]], behind, np.random.default_rng(0))
    middle = out[60:140, 60:140].astype(int)
    assert middle.min() > 190 and np.ptp(middle) < 12


def test_the_area_counts_pairs() -> None:
    score = np.array([0.1, 0.4, 0.35, 0.8], np.float32)
    assert area(score[2:], score[:2]) == 0.75
    assert np.isnan(area(score[:0], score))


def test_folders_are_read_without_what_was_trained_on(tmp_path: Path) -> None:
    picture = np.full((40, 30, 3), 128, np.uint8)
    for name in ("a.png", "astronaut.png", "b.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    assert [name for name, _ in read_faces.images(tmp_path, ["astronaut"])] == ["a.png", "b.jpg"]


def test_teeth_are_what_is_light_and_not_red_in_an_open_mouth(hopper: Portrait, finder: FaceFinder) -> None:
    image = Renderer(hopper).frame({"jaw": 0.6})
    landmarks = finder.refine(image, hopper.landmarks)
    inner = np.rint(landmarks[list(portraits.INNER_LIPS), :2]).astype(np.int32)
    lips = np.median(image[tuple(np.rint(landmarks[[0, 17, 37, 84], 1::-1]).astype(int).T)], axis=0)
    shown = {}
    for name, colour in (("white", (190, 215, 225)), ("dark", (15, 15, 25)), ("lip", lips)):
        painted = np.ascontiguousarray(image.copy())
        cv2.fillPoly(painted, [inner], tuple(int(c) for c in colour))
        shown[name] = portraits.measure(painted, landmarks)[TEETH]
    assert shown["white"] > 0.8 and shown["dark"] == 0 and shown["lip"] < 0.1
    shut = np.ascontiguousarray(hopper.image.copy())
    cv2.fillPoly(shut, [np.rint(hopper.landmarks[list(portraits.INNER_LIPS), :2]).astype(np.int32)], (190, 215, 225))
    assert portraits.measure(shut, hopper.landmarks)[TEETH] < 0.3  # no gap, no teeth
