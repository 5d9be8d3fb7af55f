"""The head as a whole, and the person and the background apart."""

import math
from dataclasses import replace
from typing import Callable, Dict, Tuple

import cv2
import numpy as np
import pytest
from drawn_face import (
    EVERYTHING,
    HAIR,
    HAIR_CENTRE,
    HAIR_HALF,
    IRIS,
    LIP,
    OVAL_CENTRE,
    OVAL_HALF,
    WALL,
    WALL_MEAN,
    drawn,
    ellipse_of,
    near,
)
from slow_renderer import over

from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.renderer import geometry as g
from sonic_edge.engine.renderer.head import MOST_HAIR, PIVOT_BELOW_CHIN, SKIRT, hair_reach, head_outline, moving_box
from sonic_edge.engine.renderer.layers import LEAST_HEADROOM, NECK, RING, inpaint, separate, smooth_fill
from sonic_edge.media import CHANNELS, Portrait

Pose = Dict[str, float]


class TestHead:
    """Where the irises and the lips' line go."""

    @staticmethod
    def eyes(frame: np.ndarray) -> np.ndarray:
        points = np.argwhere(near(frame, IRIS, 50))[:, ::-1]
        left = points[:, 0] < points[:, 0].mean()
        return np.array([points[left].mean(0), points[~left].mean(0)])

    def test_roll_turns_clockwise_by_the_angle(self, renderer: Renderer) -> None:
        for roll in (-0.08, 0.05, 0.1):
            left, right = self.eyes(renderer.frame({"roll": roll}))
            assert math.atan2(*(right - left)[::-1]) == pytest.approx(roll, abs=0.008)

    def test_shift_in_interoculars(self, renderer: Renderer, portrait: Portrait) -> None:
        before, after = self.eyes(renderer.frame({})), self.eyes(renderer.frame({"tx": 0.1, "ty": -0.05}))
        expected = np.array([0.1, -0.05]) * portrait.interocular
        assert (after - before).mean(0) == pytest.approx(expected, abs=0.6)

    def test_turning_moves_the_middle_of_the_face_most(self, renderer: Renderer, portrait: Portrait) -> None:
        def lip_columns(frame: np.ndarray) -> np.ndarray:
            return np.argwhere(near(frame, LIP, 30))[:, 1]

        before, after = renderer.frame({}), renderer.frame({"yaw": 0.15})
        lips = lip_columns(after).mean() - lip_columns(before).mean()
        eyes = self.eyes(after)[:, 0] - self.eyes(before)[:, 0]
        row = round(float(portrait.landmarks[33, 1]))
        hair = [np.flatnonzero(near(frame[row], HAIR, 50)).max() for frame in (before, after)]
        assert lips > 0.1 * portrait.interocular
        assert (eyes > 0).all()
        assert hair[1] - hair[0] < 0.5 * min(lips, eyes.min())
        left = renderer.frame({"yaw": -0.15})
        assert lip_columns(left).mean() < lip_columns(before).mean()

    def test_nodding_moves_the_face_down(self, renderer: Renderer) -> None:
        moved = self.eyes(renderer.frame({"pitch": 0.1})) - self.eyes(renderer.frame({}))
        assert (moved[:, 1] > 2).all()

    def test_shoulders_stay(self) -> None:
        portrait = drawn(size=(500, 640), unit=70, at=(250, 300))
        frame = Renderer(portrait).frame({"yaw": 0.15, "roll": 0.08, "tx": 0.1, "ty": 0.1})
        assert np.array_equal(frame[500:], portrait.image[500:])


@pytest.fixture(scope="module")
def person() -> Portrait:
    """With shoulders, in front of a wall that is nearly plain, and a matte that is right."""
    return drawn(size=(500, 600), unit=70, at=(250, 330), matte=True, pattern=4)


@pytest.fixture(scope="module")
def apart(person: Portrait) -> Renderer:
    return Renderer(person)


def head_of(portrait: Portrait, pose: Pose) -> np.ndarray:
    """Where face and hair are when the head rolls and shifts as if it were stiff, [height, width] bool."""
    still = ellipse_of(portrait, HAIR_CENTRE, HAIR_HALF) | ellipse_of(portrait, OVAL_CENTRE, OVAL_HALF)
    chin = float(OVAL_CENTRE[1] + OVAL_HALF[1])
    x, y = g.FaceFrame(portrait.landmarks).canvas(np.array([0.0, chin + PIVOT_BELOW_CHIN]))
    way = cv2.getRotationMatrix2D((float(x), float(y)), -math.degrees(pose.get("roll", 0.0)), 1)
    way[:, 2] += portrait.interocular * np.array([pose.get("tx", 0.0), pose.get("ty", 0.0)])
    return cv2.warpAffine(still.astype(np.uint8), way, still.shape[::-1], flags=cv2.INTER_NEAREST) > 0


def body_of(portrait: Portrait) -> np.ndarray:
    """Neck and shoulders, [height, width] bool."""
    return (portrait.matte > 0) & ~head_of(portrait, {})


def wider(mask: np.ndarray, pixels: float) -> np.ndarray:
    return cv2.distanceTransform(1 - mask.astype(np.uint8), cv2.DIST_L2, 5) < pixels


def narrower(mask: np.ndarray, pixels: float) -> np.ndarray:
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) > pixels


ENDS = [{name: end} for name in ("yaw", "pitch", "roll", "tx", "ty") for end in CHANNELS[name]]
TOGETHER = [
    {"roll": CHANNELS["roll"][0], "tx": CHANNELS["tx"][0], "ty": CHANNELS["ty"][0]},
    {"roll": CHANNELS["roll"][1], "tx": CHANNELS["tx"][1], "ty": CHANNELS["ty"][0]},
    {"roll": CHANNELS["roll"][1], "tx": CHANNELS["tx"][0], "ty": CHANNELS["ty"][1], "yaw": CHANNELS["yaw"][1]},
]


class TestPersonAndBackground:
    def test_at_rest_is_the_photo(self, apart: Renderer, person: Portrait) -> None:
        assert np.array_equal(apart.frame({}), person.image)

    @pytest.mark.parametrize("wrong", ["inverted", "noise", "shifted", "half"])
    def test_at_rest_is_the_photo_however_wrong_the_matte(self, person: Portrait, wrong: str) -> None:
        matte = {
            "inverted": 255 - person.matte,
            "noise": np.random.default_rng(0).integers(0, 256, person.matte.shape, np.uint8),
            "shifted": np.roll(person.matte, 60, axis=1),
            "half": np.full_like(person.matte, 100),
        }[wrong]
        assert np.array_equal(Renderer(replace(person, matte=matte)).frame({}), person.image)

    @pytest.mark.parametrize("pose", [{"roll": 0.12}, {"tx": 0.15, "ty": 0.1}, {"roll": -0.1, "tx": 0.1}, {"yaw": 0.2}])
    def test_the_background_stays(self, apart: Renderer, person: Portrait, pose: Pose) -> None:
        """Outside where the head was and is; near it, by as much as hair finer than the matte may reach."""
        unit = person.interocular
        shift = abs(pose.get("tx", 0)) + abs(pose.get("ty", 0)) + abs(pose.get("roll", 0))
        moved = wider(head_of(person, {}) | head_of(person, pose), (RING + 0.06) * unit)
        still = ~moved & ~wider(body_of(person), (RING + 0.06 + shift) * unit)
        chin = float(person.landmarks[g.CHIN, 1])
        raised = abs(pose.get("ty", 0)) + 3 * abs(pose.get("roll", 0))  # what lies at the side goes up most
        still[int(chin + (NECK[0] - raised) * unit) :] = False  # beside the neck the background moves with it
        assert np.array_equal(apart.frame(pose)[still], person.image[still])
        dragged = Renderer(replace(person, matte=None)).frame(pose)
        assert (dragged[still] != person.image[still]).any(-1).sum() > 1000

    def test_a_pattern_goes_softly_with_the_head_and_not_far(self) -> None:
        """It cannot be made up where the head uncovers it; nothing is torn, and further out nothing moves."""
        portrait = drawn(size=(700, 700), unit=70, at=(350, 400), matte=True, pattern=40)
        renderer, pose = Renderer(portrait), {"tx": 0.1}
        frame, unit = renderer.frame(pose), portrait.interocular
        both = head_of(portrait, {}) | head_of(portrait, pose)
        chin = int(portrait.landmarks[g.CHIN, 1] + NECK[0] * unit)
        beside = np.zeros_like(both)
        beside[:chin] = True
        near_by = wider(both, 0.2 * unit) & ~wider(both, 4) & beside
        assert (frame[near_by] != portrait.image[near_by]).any(-1).mean() > 0.5
        assert near(frame[near_by], WALL_MEAN, 60).all()
        away = ~wider(both, (SKIRT[1][0] + 0.2) * unit) & beside
        assert away.sum() > 10000
        assert np.array_equal(frame[away], portrait.image[away])

    @pytest.mark.parametrize("pose", [{"roll": 0.12}, {"tx": 0.15, "ty": 0.1}, {"roll": -0.1, "tx": 0.1}])
    def test_what_is_uncovered_is_wall(self, apart: Renderer, person: Portrait, pose: Pose) -> None:
        uncovered = head_of(person, {}) & ~wider(head_of(person, pose), 3)
        uncovered[int(person.landmarks[13, 1]) :] = False  # there is the neck
        assert uncovered.sum() > 400
        assert near(apart.frame(pose)[uncovered], WALL_MEAN, 45).all()

    @pytest.mark.parametrize("pose", [{"roll": 0.12}, {"tx": 0.15, "ty": 0.1}, {"roll": -0.1, "tx": 0.1}])
    def test_the_edge_of_the_head_is_hair(self, apart: Renderer, person: Portrait, pose: Pose) -> None:
        """Exact to the pixel where the head now is: no wall is dragged along and none shows through."""
        head = head_of(person, pose)
        crown = np.zeros_like(head)
        crown[: int(person.landmarks[33, 1])] = True  # above the eyes hair is thick all around
        rim = narrower(head, 2) & ~narrower(head, 6) & crown
        assert rim.sum() > 500
        assert near(apart.frame(pose)[rim], HAIR, 30).mean() > 0.995

    @pytest.mark.parametrize("pose", ENDS + TOGETHER, ids=str)
    def test_no_ghost_as_far_as_a_head_goes(self, apart: Renderer, person: Portrait, pose: Pose) -> None:
        """Everything dark, hair and shirt, hangs together: the head is there once."""
        frame = apart.frame(pose)[: int(person.landmarks[152, 1])]
        dark = (frame.mean(-1) < 90).astype(np.uint8)
        eye = int(np.pi * (0.13 * person.interocular) ** 2)  # brows and irises are smaller
        _, _, parts, _ = cv2.connectedComponentsWithStats(dark)
        sizes = sorted(parts[1:, cv2.CC_STAT_AREA].tolist())
        small = [size for size in sizes[:-1] if size > eye]
        assert not small
        assert sizes[-1] > 2000

    @pytest.mark.parametrize("kind", ["all", "all but one", "none", "one", "all outside"])
    def test_a_matte_that_tells_nothing_does_no_harm(self, person: Portrait, kind: str) -> None:
        matte = np.full_like(person.matte, 255 if kind.startswith("all") else 0)
        if kind == "all but one":
            matte[5, 5] = 0
        elif kind == "one":
            matte[300, 250] = 255
        elif kind == "all outside":
            matte[person.matte > 0] = 0
        renderer = Renderer(replace(person, matte=matte))
        assert np.array_equal(renderer.frame({}), person.image)
        frame = renderer.frame(EVERYTHING)
        assert frame.shape == person.image.shape
        assert frame.dtype == np.uint8
        if kind.startswith("all") and kind != "all outside":
            before, after = (
                np.argwhere(near(f, HAIR, 40)).mean(0) for f in (person.image, renderer.frame({"tx": 0.1}))
            )
            assert after[1] == pytest.approx(before[1] + 7, abs=1)


def test_the_largest_canvas_fits_the_memory(alone: Callable[[str], Tuple[str, float, float]]) -> None:
    """Together with the model's 350 MB this stays below a worker's limit of 1500."""
    code = """
from drawn_face import drawn
from sonic_edge.engine.renderer import Renderer
portrait = drawn(size=(3000, 3000), unit=500, at=(1500, 1900), matte=True)
print(Renderer(portrait).frame({"yaw": 0.1}).shape)
"""
    printed, peak_mb, seconds = alone(code)
    assert printed == "(3000, 3000, 3)"
    assert peak_mb < 1000
    assert seconds < 20


def above_chin(image: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """For `separated`: all of a picture is far above the chin."""
    return np.full((1, image.shape[1]), -9.0), np.zeros((image.shape[0], 1))


class TestSeparated:
    @pytest.mark.parametrize("seed", range(3))
    def test_together_they_are_the_photo(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        photo = rng.integers(0, 256, (60, 70, 3), np.uint8)
        matte = rng.integers(0, 256, (60, 70), np.uint8)
        if seed == 1:  # as mattes are: whole regions of each
            matte = cv2.resize(rng.integers(0, 2, (6, 7), np.uint8) * 255, (70, 60), interpolation=cv2.INTER_LINEAR)
        behind, person, _ = separate(photo, matte, 20.0, above_chin(photo))
        assert behind.shape == photo.shape
        assert person.shape == (60, 70, 4)
        assert np.array_equal(over(person, behind), photo)
        assert (person[..., 3] >= matte).all()
        assert (person[..., :3] <= person[..., 3:].astype(int) + LEAST_HEADROOM // 4).all()  # premultiplied, or nearly

    def test_together_they_are_the_photo_however_wrong_the_matte(self, person: Portrait) -> None:
        for matte in (255 - person.matte, np.roll(person.matte, 50, axis=0), np.zeros_like(person.matte)):
            behind, front, _ = separate(person.image, matte, 70.0, above_chin(person.image))
            assert np.array_equal(over(front, behind), person.image)

    def test_hair_that_the_matte_missed_is_of_the_person(self, person: Portrait) -> None:
        image = person.image.copy()
        top = int(np.argwhere(person.matte > 0)[:, 0].min())
        strand = (slice(top - 4, top), slice(248, 252))
        image[strand] = HAIR
        _, front, _ = separate(image, person.matte, 70.0, above_chin(image))
        assert front[strand][..., 3].min() > 180
        away = (slice(top - 40, top - 30), slice(230, 270))
        assert (front[away] == 0).all()

    def test_beside_the_neck_the_background_goes_with_it(self, person: Portrait) -> None:
        rows = np.linspace(NECK[0] - 1, NECK[1] + 1, person.image.shape[0])[:, None]
        behind, front, _ = separate(person.image, person.matte, 70.0, (np.zeros((1, person.image.shape[1])), rows))
        assert (front[rows[:, 0] >= NECK[1], :, 3] == 255).all()
        assert np.array_equal(over(front, behind), person.image)

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_noise_is_not_hair(self, person: Portrait, level: int) -> None:
        """Also where a colour is at its end, where one grey level is all the difference there can be."""
        noise = np.random.default_rng(0).integers(-2, 3, person.image.shape)
        wall = np.clip(level + noise, 0, 255).astype(np.uint8)
        seen = wider(person.matte > 0, 2)
        image = np.where(seen[..., None], person.image, wall)
        behind, front, _ = separate(image, person.matte, 70.0, above_chin(image))
        assert (front[~seen] == 0).all()
        assert np.array_equal(over(front, behind), image)

    def test_a_background_without_the_person_has_nothing_of_it(self, person: Portrait) -> None:
        behind, _, _ = separate(person.image, person.matte, 70.0, above_chin(person.image))
        assert near(behind, WALL_MEAN, 45).all()
        outside = ~wider(person.matte > 0, (RING + 0.02) * 70)
        assert np.array_equal(behind[outside], person.image[outside])


def hole(size: int = 200, half: int = 40) -> np.ndarray:
    """A person who is a square in the middle, 0 or 255."""
    matte = np.zeros((size, size), np.uint8)
    matte[size // 2 - half : size // 2 + half, size // 2 - half : size // 2 + half] = 255
    return matte


class TestFilled:
    def test_a_plain_wall_is_a_plain_wall(self) -> None:
        image = np.full((200, 200, 3), WALL, np.uint8)
        image[hole() > 0] = HAIR
        assert np.abs(inpaint(image, hole(), 50.0)[0].astype(int) - WALL).max() <= 1

    def test_a_gradient_goes_on(self) -> None:
        y, x = np.mgrid[:200, :200]
        wall = np.repeat((60 + 0.5 * x + 0.2 * y).round().astype(np.uint8)[..., None], 3, -1)
        image = wall.copy()
        image[hole() > 0] = HAIR
        found = inpaint(image, hole(), 50.0)[0].astype(int)
        assert np.abs(found - wall)[hole() > 0].mean() < 10  # of 40 from one side of the hole to the other
        assert np.abs(np.diff(found, axis=0)).max() < 6  # no seam
        assert np.abs(np.diff(found, axis=1)).max() < 6
        left, right = found[100, 70:90].mean(), found[100, 110:130].mean()
        assert right > left + 8

    def test_stripes_go_on_behind_the_head_and_calm_down(self) -> None:
        x = np.arange(200)
        wall = np.broadcast_to(np.where(x // 10 % 2, 200, 80)[None, :, None], (200, 200, 3)).astype(np.uint8)
        image = wall.copy()
        image[hole() > 0] = HAIR
        found = inpaint(image, hole(), 50.0)[0].astype(int)
        columns = slice(75, 125)
        first = 60 - int(RING * 50)  # of the rows that are made up
        just_inside, middle = found[first + 4, columns, 0], found[100, columns, 0]
        assert np.corrcoef(just_inside, wall[first + 4, columns, 0])[0, 1] > 0.95
        assert just_inside.std() > 0.6 * wall[first + 4, columns, 0].std()
        assert middle.std() < 0.3 * just_inside.std()
        assert found.min() >= 75
        assert found.max() <= 205

    def test_a_gap_between_parts_of_a_person_is_filled_with_wall(self) -> None:
        """Between arm and body, say: mirrored in its edges it would show the person."""
        matte = hole(200, 60)
        matte[:, 98:104] = 0
        image = np.full((200, 200, 3), WALL, np.uint8)
        image += np.random.default_rng(0).integers(0, 60, (200, 200, 1), np.uint8)  # so that it is read close by
        image[matte > 0] = HAIR
        found = inpaint(image, matte, 100.0)[0].astype(int)
        assert (found >= np.array(WALL) - 3).all()
        assert (found <= np.array(WALL) + 63).all()

    def test_a_person_everywhere_leaves_the_photo(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
        assert np.array_equal(inpaint(image, np.full((40, 50), 255, np.uint8), 20.0)[0], image)


class TestSmoothFill:
    def test_what_is_known_stays_and_what_is_not_does_not_matter(self) -> None:
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (61, 83, 3), np.uint8)
        unknown = (rng.random((61, 83)) < 0.4).astype(np.uint8)
        found = smooth_fill(image, unknown)
        assert found[unknown == 0] == pytest.approx(image[unknown == 0], abs=0.01)
        image[unknown > 0] = 255
        assert np.array_equal(smooth_fill(image, unknown), found)

    def test_between_two_colours_it_goes_from_one_to_the_other(self) -> None:
        image = np.zeros((64, 96, 3), np.uint8)
        image[:, :16], image[:, 80:] = 50, 200
        unknown = np.zeros((64, 96), np.uint8)
        unknown[:, 16:80] = 1
        row = smooth_fill(image, unknown)[32, :, 0]
        assert row.min() > 49.9
        assert row.max() < 200.1
        assert np.diff(row).min() > -3  # rises, near enough
        assert np.diff(row).max() < 20
        assert row[48] == pytest.approx(125, abs=25)

    def test_of_one_colour_is_that_colour(self) -> None:
        unknown = np.ones((50, 50), np.uint8)
        unknown[3, 4] = 0
        assert smooth_fill(np.full((50, 50, 3), WALL, np.uint8), unknown) == pytest.approx(
            np.broadcast_to(np.array(WALL, np.float32), (50, 50, 3)), abs=0.5
        )


class TestHairReach:
    LOW, HIGH = OVAL_CENTRE - OVAL_HALF, OVAL_CENTRE + OVAL_HALF

    @pytest.mark.parametrize("tilt", [0.0, 0.4])
    def test_finds_the_hair_and_not_the_shoulders(self, tilt: float) -> None:
        portrait = drawn(size=(600, 700), unit=70, at=(300, 400), tilt=tilt, matte=True)
        left, right, top = hair_reach(g.FaceFrame(portrait.landmarks), self.LOW, self.HIGH, portrait.matte)
        expected = HAIR_CENTRE - HAIR_HALF
        assert left == pytest.approx(expected[0], abs=0.08)
        assert right == pytest.approx(-expected[0], abs=0.08)
        assert top == pytest.approx(expected[1], abs=0.12)

    def test_more_hair_makes_more_of_the_photo_move(self) -> None:
        portrait = drawn(size=(700, 700), unit=70, at=(350, 450), matte=True)
        frame = g.FaceFrame(portrait.landmarks)
        wide = portrait.matte.copy()
        wide[ellipse_of(portrait, HAIR_CENTRE, HAIR_HALF * (1.45, 1.1))] = 255
        left, right, _ = hair_reach(frame, self.LOW, self.HIGH, wide)
        assert -left == pytest.approx(1.45 * HAIR_HALF[0], abs=0.08)
        outlines = [head_outline(frame, portrait.landmarks, m)[1] for m in (None, portrait.matte, wide)]
        assert outlines[2][0] > outlines[1][0] >= outlines[0][0]
        assert outlines[2][0] >= 1.45 * HAIR_HALF[0]
        boxes = [moving_box(frame, portrait.landmarks, m) for m in (portrait.matte, wide)]
        assert boxes[1].width > boxes[0].width

    def test_has_an_end(self) -> None:
        """A matte that is everywhere is not all hair; none at all leaves the face."""
        portrait = drawn(size=(900, 900), unit=70, at=(450, 500))
        frame = g.FaceFrame(portrait.landmarks)
        size = self.HIGH - self.LOW
        left, right, top = hair_reach(frame, self.LOW, self.HIGH, np.full((900, 900), 255, np.uint8))
        assert left == pytest.approx(self.LOW[0] - MOST_HAIR * size[0], abs=0.05)
        assert right == pytest.approx(self.HIGH[0] + MOST_HAIR * size[0], abs=0.05)
        assert top == pytest.approx(self.LOW[1] - MOST_HAIR * size[1], abs=0.05)
        none = hair_reach(frame, self.LOW, self.HIGH, np.zeros((900, 900), np.uint8))
        assert none == pytest.approx((self.LOW[0], self.HIGH[0], self.LOW[1]))
