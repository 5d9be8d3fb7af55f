"""Whole frames of a drawn face, where the right answer is known; its parts are tested in files of their own."""

import math
from typing import Dict, Tuple

import numpy as np
import pytest
from drawn_face import EVERYTHING, LIP, SKIN, drawn, grey_of, near

from sonic_edge.config import Controls
from sonic_edge.engine.motion.shape import EXPRESSION, HEAD, shape_motion
from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.renderer import geometry as g
from sonic_edge.media import CHANNELS, CLOSURE, QUIET, Motion, Portrait
from sonic_edge.model.store import find_bundle


def test_everything_asked_for_is_a_known_channel() -> None:
    assert set(EVERYTHING) == set(CHANNELS)


class TestFrame:
    def test_at_rest_is_the_photo(self, renderer: Renderer, portrait: Portrait) -> None:
        assert np.array_equal(renderer.frame({}), portrait.image)

    def test_same_pose_same_bytes(self, renderer: Renderer, portrait: Portrait) -> None:
        first = renderer.frame(EVERYTHING)
        renderer.frame({"jaw": 1.0})
        assert np.array_equal(renderer.frame(EVERYTHING), first)
        assert np.array_equal(Renderer(portrait).frame(EVERYTHING), first)

    def test_is_fresh_and_leaves_the_photo_alone(self, portrait: Portrait) -> None:
        before = portrait.image.copy()
        renderer = Renderer(portrait)
        renderer.frame(EVERYTHING)[:] = 0
        assert np.array_equal(portrait.image, before)
        assert np.array_equal(renderer.frame({}), before)

    def test_far_from_the_head_nothing_changes(self) -> None:
        portrait = drawn(size=(900, 800), unit=60, at=(450, 380))
        frame = Renderer(portrait).frame(EVERYTHING)
        moved = np.argwhere((frame != portrait.image).any(-1))
        assert len(moved) > 1000
        head = portrait.landmarks[:, :2]
        reach = 2.3 * portrait.interocular
        assert (moved.min(0) > head.min(0)[::-1] - reach).all()
        assert (moved.max(0) < head.max(0)[::-1] + reach).all()

    def test_a_mouth_moves_nothing_but_the_lower_face(self, renderer: Renderer, portrait: Portrait) -> None:
        moved = np.argwhere((renderer.frame({"jaw": 1.0}) != portrait.image).any(-1))
        eyes = portrait.landmarks[list(g.LEFT_EYE_LOWER), 1].max()
        assert moved[:, 0].min() > eyes

    def test_a_grey_photo_stays_grey(self, portrait: Portrait) -> None:
        frame = Renderer(Portrait(grey_of(portrait.image), portrait.landmarks)).frame({**EVERYTHING, "jaw": 1.0})
        assert (frame.max(-1) == frame.min(-1)).all()

    def test_values_are_held_at_what_a_photo_can_bear(self, renderer: Renderer) -> None:
        most = {name: limits[1] for name, limits in CHANNELS.items()}
        assert np.array_equal(renderer.frame(dict.fromkeys(CHANNELS, 1e6)), renderer.frame(most))
        assert np.array_equal(renderer.frame({"jaw": math.inf}), renderer.frame({"jaw": CHANNELS["jaw"][1]}))
        assert np.array_equal(renderer.frame({"jaw": -3.0}), renderer.frame({}))

    def test_what_is_not_a_number_is_refused(self, renderer: Renderer) -> None:
        with pytest.raises(ValueError, match="jaw is nan"):
            renderer.frame({"jaw": math.nan})
        with pytest.raises(ValueError, match="'smile' is unknown"):
            renderer.frame({"smile": 1.0})

    @pytest.mark.parametrize(
        ("size", "unit", "at"),
        [
            ((128, 300), 30.0, (64.0, 180.0)),
            ((300, 128), 30.0, (250.0, 100.0)),
            ((128, 128), 60.0, (64.0, 120.0)),
            ((200, 200), 70.0, (5.0, 195.0)),
            ((200, 200), 70.0, (150.0, 10.0)),
            ((400, 300), 4.0, (100.0, 100.0)),
            ((160, 160), 50.0, (400.0, 400.0)),
        ],
    )
    def test_any_canvas_and_any_place_of_the_face(
        self, size: Tuple[int, int], unit: float, at: Tuple[float, float]
    ) -> None:
        portrait = drawn(size, unit, at)
        renderer = Renderer(portrait)
        for pose in ({}, EVERYTHING, {"jaw": 1.0, "blink": 1.0, "tx": -0.3, "ty": 0.3, "roll": 0.3}):
            frame = renderer.frame(pose)
            assert frame.shape == portrait.image.shape
            assert frame.dtype == np.uint8

    @pytest.mark.parametrize("unit", [30, 60, 170])
    def test_a_photo_that_cuts_a_face_through_its_eye(self, unit: int) -> None:
        for part in (*np.arange(-0.95, -0.85, 1 / 60), *np.arange(0, 0.15, 1 / 60)):  # of the eye, by and by less
            for at in ((part, 3.0), (3.0, part + 1)):
                place = round(at[0] * unit), round(at[1] * unit)
                portrait = drawn(size=(6 * unit, 7 * unit), unit=unit, at=place, irises=True)
                frame = Renderer(portrait).frame({**EVERYTHING, "blink": 0.6})
                assert frame.shape == portrait.image.shape

    def test_landmarks_all_in_one_place(self, portrait: Portrait) -> None:
        flat = np.full_like(portrait.landmarks, 50)
        frame = Renderer(Portrait(portrait.image, flat)).frame(EVERYTHING)
        assert frame.shape == portrait.image.shape

    def test_no_streaks_at_the_borders(self) -> None:
        """A head cut by the border of the photo is carried on, not drawn out into lines."""
        portrait = drawn(size=(300, 300), unit=80, at=(150, 200))
        frame = Renderer(portrait).frame({"ty": 0.1, "tx": 0.1, "roll": 0.08})
        for line, inner in ((frame[0], frame[3]), (frame[:, 0], frame[:, 3])):
            assert np.abs(line.astype(int) - inner).mean() > 0.3


def all_at_an_end(seed: int) -> Dict[str, float]:
    """Every channel at a random one of its two limits."""
    rng = np.random.default_rng(seed)
    return {name: ends[rng.integers(2)] for name, ends in CHANNELS.items()}


@pytest.fixture(scope="module", params=[False, True], ids=["photo", "person"])
def small(request: pytest.FixtureRequest) -> Portrait:
    """Small, for speed; all person, or with what is known of irises and background."""
    return drawn(size=(360, 440), unit=60, at=(180, 280), irises=request.param, matte=request.param)


@pytest.fixture(scope="module")
def of_small(small: Portrait) -> Renderer:
    return Renderer(small)


class TestEnds:
    """Within the limits of a photo, it stays a face."""

    @staticmethod
    def kept(portrait: Portrait, frame: np.ndarray, colour: Tuple[int, int, int]) -> float:
        return float(near(frame, colour, 45).sum() / near(portrait.image, colour, 45).sum())

    @pytest.mark.parametrize("name", CHANNELS)
    def test_of_one_channel(self, small: Portrait, of_small: Renderer, name: str) -> None:
        for end in CHANNELS[name]:
            frame = of_small.frame({name: end})
            assert 0.5 < self.kept(small, frame, LIP) < 2
            assert 0.5 < self.kept(small, frame, SKIN) < 2

    @pytest.mark.parametrize("seed", range(12))
    def test_of_all(self, small: Portrait, of_small: Renderer, seed: int) -> None:
        """NaN would cause a warning when converted to pixels, and a warning fails a test."""
        frame = of_small.frame(all_at_an_end(seed))
        assert frame.dtype == np.uint8
        assert 0.3 < self.kept(small, frame, LIP) < 2
        assert 0.5 < self.kept(small, frame, SKIN) < 2

    @pytest.mark.parametrize("scale", [0.0, 1.0, 2.0])
    def test_of_the_controls(self, small: Portrait, of_small: Renderer, scale: float) -> None:
        """Motion beyond all limits, and the strongest and the weakest that a person can ask for."""
        t = np.arange(50, dtype=np.float32)
        names = (*CHANNELS, CLOSURE, QUIET)
        waves = np.stack([1.5 * np.sin(t / (2 + i)) for i in range(len(CHANNELS))], axis=1)
        raw = Motion(names, np.c_[waves, (t > 40), 0 * t].astype(np.float32), 25.0)
        controls = Controls(dynamic_scale=scale, motion_scale=scale)
        motion = shape_motion(raw, find_bundle("sonic-net").spec.closure, controls, 50, 2.0)
        assert np.isfinite(motion.values).all()
        for name, (low, high) in CHANNELS.items():
            assert motion.channel(name).min() >= low
            assert motion.channel(name).max() <= high
        if scale == 2:
            assert all(np.abs(motion.channel(name)).max() == CHANNELS[name][1] for name in (*EXPRESSION, *HEAD))
        for i in range(3, 50, 9):
            frame = of_small.frame(motion.frame(i))
            assert 0.3 < self.kept(small, frame, LIP) < 2
            assert 0.5 < self.kept(small, frame, SKIN) < 2
            if scale == 0:  # nothing but lids, irises and shut lips moves
                still = np.ones(frame.shape[:2], bool)
                face = g.Box.around(small.landmarks[:, :2].astype(float), 3)
                still[face.rows, face.columns] = False
                assert np.array_equal(frame[still], small.image[still])


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("gap", [0.0, 0.2])
def test_nothing_jumps_as_a_channel_moves(channel: str, gap: float) -> None:
    """From one end of a channel to the other the picture changes by about as much at every step."""
    renderer = Renderer(drawn(gap=gap, matte=True, irises=True))
    rest = {"jaw": 0.3} if channel in ("width", "round", "tongue") else {}
    frames = (renderer.frame({**rest, channel: float(v)}).astype(int) for v in np.linspace(*CHANNELS[channel], 41))
    frame, steps = next(frames), []
    for after in frames:
        steps.append(int(np.abs(after - frame).sum()))
        frame = after
    assert max(steps) < 5 * np.median(steps) + 1000
