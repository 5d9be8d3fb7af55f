"""Lids, brows, irises and lashes."""

from dataclasses import replace
from typing import Tuple

import cv2
import numpy as np
import pytest
from drawn_face import (
    DARK_LIP,
    DARK_SKIN,
    EYE_AT,
    HAIR,
    IRIS,
    SKIN,
    WHITE,
    Colour,
    drawn,
    grey_of,
    near,
    region,
)

from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.renderer import geometry as g
from sonic_edge.engine.renderer.eyes import EYES, GAZE_TRAVEL, Eye
from sonic_edge.media import Portrait


class TestEyes:
    def test_a_blink_covers_the_iris(self, renderer: Renderer, portrait: Portrait) -> None:
        seen = [int(near(renderer.frame({"blink": b}), IRIS, 50).sum()) for b in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert seen[0] > 100
        assert all(a > b for a, b in zip(seen, seen[1:]))
        assert seen[-1] == 0

    def test_no_white_is_left_and_no_brow_copied(self, renderer: Renderer, portrait: Portrait) -> None:
        shut = renderer.frame({"blink": 1.0})
        eyes = g.Box.around(portrait.landmarks[list(g.LEFT_EYE_UPPER + g.LEFT_EYE_LOWER), :2].astype(float), 2)
        assert not near(shut[eyes.rows, eyes.columns], WHITE, 30).any()
        above = slice(0, eyes.top)
        brow = near(portrait.image[above], HAIR, 30)
        assert np.array_equal(near(shut[above], HAIR, 30), brow)

    def test_the_map_of_a_blink_never_turns_back(self, portrait: Portrait) -> None:
        frame = g.FaceFrame(portrait.landmarks)
        for groups in EYES:
            eye = Eye(portrait.image, frame, portrait.landmarks, groups)
            for blink in np.linspace(0.05, 1, 12):
                shift, _ = eye.lowered(float(blink))
                source = shift[..., 1] + np.arange(shift.shape[0])[:, None] * eye.step
                assert (np.diff(source, axis=0) > -1e-4).all()

    def test_the_iris_follows_the_gaze(self, renderer: Renderer) -> None:
        def centre(pose: "dict[str, float]") -> np.ndarray:
            return np.argwhere(near(renderer.frame(pose), IRIS, 50)).mean(0)

        ahead = centre({})
        assert centre({"gaze_x": 0.5})[1] > ahead[1] + 2
        assert centre({"gaze_x": -0.5})[1] < ahead[1] - 2
        assert centre({"gaze_y": 0.5})[0] > ahead[0] + 0.5

    def test_brows_rise(self, renderer: Renderer, portrait: Portrait) -> None:
        x, y = (round(float(v)) for v in portrait.landmarks[105, :2])

        def brow(pose: "dict[str, float]") -> float:
            part = renderer.frame(pose)[y - 20 : y + 15, x]
            return float(np.flatnonzero(near(part, HAIR, 40)).mean())

        assert brow({"brow": 1.0}) < brow({}) - 2
        assert brow({"brow": -1.0}) > brow({}) + 2


def large(**kind: object) -> Portrait:
    """So large that an eye has a thousand pixels."""
    return drawn(size=(800, 960), unit=160, at=(400, 640), **kind)


@pytest.fixture(scope="module")
def known() -> Portrait:
    return large(irises=True)


@pytest.fixture(scope="module")
def close_up(known: Portrait) -> Renderer:
    return Renderer(known)


AROUND = (EYE_AT[0][0] - 0.25, EYE_AT[0][0] + 0.25), (EYE_AT[0][1] - 0.15, EYE_AT[0][1] + 0.15)
"""The left eye with a little skin around it, face coordinates."""


class TestGaze:
    @staticmethod
    def iris(portrait: Portrait, frame: np.ndarray) -> Tuple[float, np.ndarray, float]:
        """Area, place (interoculars from where the eye is) and roundness of the left iris: 1 is a circle."""
        points = np.argwhere(near(frame[region(portrait, *AROUND)], IRIS, 50))
        small, large = np.linalg.eigvalsh(np.cov(points.T))
        return float(len(points)), points.mean(0)[::-1] / portrait.interocular - 0.25, float(np.sqrt(small / large))

    @pytest.mark.parametrize("looks", [0.0, 0.04, -0.04])
    def test_the_iris_goes_as_a_whole(self, looks: float) -> None:
        """As large and as round wherever it looks, also where it is not in the middle of the eye to begin with."""
        portrait = large(irises=True, looks=looks)
        renderer = Renderer(portrait)
        area, at, _ = self.iris(portrait, renderer.frame({}))
        assert area > 250
        assert at[0] == pytest.approx(looks, abs=0.01)
        for gaze in (-0.7, -0.5, -0.3, 0.3, 0.5, 0.7):
            if abs(GAZE_TRAVEL * gaze + looks) > 0.075:
                continue  # there the lids cover some of it
            larger, there, roundness = self.iris(portrait, renderer.frame({"gaze_x": gaze}))
            assert larger == pytest.approx(area, rel=0.15)
            assert roundness > 0.85
            assert there[0] == pytest.approx(looks + GAZE_TRAVEL * gaze, abs=0.012)

    def test_the_lids_stay_as_it_looks_aside(self, close_up: Renderer, known: Portrait) -> None:
        def opened(frame: np.ndarray) -> np.ndarray:
            return ~near(frame[region(known, *AROUND)], SKIN, 30)

        before = opened(close_up.frame({}))
        for gaze in (-0.7, 0.7):
            after = opened(close_up.frame({"gaze_x": gaze}))
            assert (before & after).sum() > 0.85 * (before | after).sum()
            assert after.sum() == pytest.approx(before.sum(), rel=0.06)

    def test_both_look_the_same_way(self, close_up: Renderer) -> None:
        def centres(frame: np.ndarray) -> np.ndarray:
            points = np.argwhere(near(frame, IRIS, 50))[:, ::-1]
            left = points[:, 0] < 400
            return np.array([points[left].mean(0), points[~left].mean(0)])

        moved = centres(close_up.frame({"gaze_x": 0.5, "gaze_y": 0.3})) - centres(close_up.frame({}))
        assert moved[0] == pytest.approx(moved[1], abs=0.5)

    def test_nothing_but_the_eyes_changes(self, close_up: Renderer, known: Portrait) -> None:
        changed = np.argwhere((close_up.frame({"gaze_x": 1.0, "gaze_y": -1.0}) != known.image).any(-1))
        offset = g.FaceFrame(known.landmarks).of(changed[:, ::-1])
        to_eye = np.minimum(*(np.abs(offset - at) for at in EYE_AT)) - (0.2, 0.08)
        assert len(changed) > 300
        assert to_eye.max() < 0.15


class TestLids:
    def test_a_half_blink_covers_half_the_eye(self, close_up: Renderer, known: Portrait) -> None:
        def opened(blink: float) -> float:
            part = close_up.frame({"blink": blink})[region(known, *AROUND)]
            return float((near(part, WHITE, 40) | near(part, IRIS, 50)).sum())

        assert 0.33 < opened(0.5) / opened(0.0) < 0.62
        assert opened(0.25) / opened(0.0) > 0.6

    @pytest.mark.parametrize(("skin", "lip"), [(SKIN, (90, 90, 190)), (DARK_SKIN, DARK_LIP), ((170, 170, 170),) * 2])
    def test_a_shut_lid_is_skin(self, skin: Colour, lip: Colour) -> None:
        """No grey, white or dark patch: the colour of the skin around, a little lighter or darker where it is round."""
        portrait = large(skin=skin, lip=lip)
        if skin[0] == skin[2]:
            portrait = replace(portrait, image=grey_of(portrait.image))
        frame = Renderer(portrait).frame({"blink": 1.0})
        (u0, u1), (v0, _) = AROUND
        lid = frame[region(portrait, (u0, u1), (v0, EYE_AT[0][1] + 0.01))].reshape(-1, 3).astype(float)
        over_the_ball = frame[region(portrait, (-0.62, -0.38), (-1.17, -1.08))].reshape(-1, 3).astype(float)
        assert np.abs(np.median(over_the_ball, axis=0) - skin).max() < max(4, 0.06 * max(skin))
        assert np.abs(lid.mean(0) - skin).max() < max(4, 0.06 * max(skin))
        lightness = lid.mean(-1) / np.mean(skin)
        assert lightness.min() > 0.78
        assert np.quantile(lightness, 0.998) < 1.12  # all but the very corners
        hue = lid / lid.mean(-1, keepdims=True) - np.array(skin) / np.mean(skin)
        assert np.quantile(np.abs(hue).max(-1), 0.998) < 0.06

    @pytest.mark.parametrize("grain", [4.0, 9.0])
    def test_a_shut_lid_has_the_grain_of_the_skin(self, known: Portrait, grain: float) -> None:
        noise = np.random.default_rng(0).normal(0, grain, known.image.shape)
        image = np.clip(known.image + noise, 0, 255).astype(np.uint8)
        portrait = replace(known, image=image)

        def fine(frame: np.ndarray, u: Tuple[float, float], v: Tuple[float, float]) -> float:
            return float(
                (frame.astype(float) - cv2.GaussianBlur(frame.astype(float), (0, 0), 3))[region(portrait, u, v)].std()
            )

        frame = Renderer(portrait).frame({"blink": 1.0})
        skin = fine(image, (-0.62, -0.38), (-0.9, -0.8))
        assert skin == pytest.approx(grain, rel=0.2)
        for v in ((-1.17, -1.12), (-1.12, -1.06)):
            assert 0.75 < fine(frame, (-0.62, -0.38), v) / skin < 1.35
        half = Renderer(portrait).frame({"blink": 0.5})
        assert 0.6 < fine(half, (-0.58, -0.42), (-1.17, -1.13)) / skin < 1.35

    @pytest.mark.parametrize("under", [0.12, 0.3])
    def test_glasses_stay_where_they_are(self, known: Portrait, under: float) -> None:
        """Their frame, at the brow and under the eye, is not pulled down with the lid, nor is the lid made of it."""
        image = known.image.copy()
        black = (20, 22, 25)
        low = EYE_AT[0][1] + 0.06 + under
        bars = ((-0.85, -0.15), (-1.44, -1.37)), ((-0.85, -0.15), (low, low + 0.06))
        for bar in bars:
            image[region(known, *bar)] = black
        renderer = Renderer(replace(known, image=image))
        for blink in (0.3, 0.6, 1.0):
            frame = renderer.frame({"blink": blink})
            for bar in bars:
                assert (frame[region(known, *bar)] == black).all()
        lid = frame[region(known, (-0.66, -0.34), (-1.22, -1.08))]
        assert np.abs(np.median(lid.reshape(-1, 3), axis=0) - SKIN).max() < 14
        assert lid.mean(-1).min() > 0.75 * np.mean(SKIN)

    def test_lashes_only_darken(self, known: Portrait) -> None:
        image = known.image.copy()
        u, v = EYE_AT[0]
        image[region(known, (u - 0.2, u + 0.2), (v - 0.1, v - 0.06))] = (30, 30, 40)  # lashes to be read off
        frame = g.FaceFrame(known.landmarks)
        for groups in EYES:
            eye = Eye(image, frame, known.landmarks, groups)
            for blink in (0.2, 0.6, 1.0):
                before = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
                after = before.copy()
                eye.draw_lashes(after, eye.edge(blink), blink, 0.7)
                assert (after <= before).all()
                changed = np.argwhere((after < before).any(-1))
                assert len(changed) > 100
                low, high = eye.edge(blink).min(0), eye.edge(blink).max(0)
                assert (changed[:, ::-1].min(0) > low - 0.06 * frame.unit).all()
                assert (changed[:, ::-1].max(0) < high + 0.10 * frame.unit).all()

    def test_lashes_that_hardly_show_are_drawn_faintly(self, known: Portrait) -> None:
        """A drawn face without any gets a faint line, one with black ones a black line."""
        dark = known.image.copy()
        u, v = EYE_AT[0]
        dark[region(known, (u - 0.2, u + 0.2), (v - 0.1, v - 0.06))] = (20, 20, 25)
        low = region(known, (u - 0.1, u + 0.1), (v, v + 0.12))
        faint, strong = (
            Renderer(replace(known, image=image)).frame({"blink": 1.0})[low].mean(-1).min()
            for image in (known.image, dark)
        )
        assert faint > 0.75 * np.mean(SKIN)
        assert strong < 0.6 * np.mean(SKIN)


def test_one_eye_is_a_little_ahead_of_the_other(portrait: Portrait) -> None:
    """By less than a frame: a lid is down within four of them."""
    frame = g.FaceFrame(portrait.landmarks)
    left, right = (Eye(portrait.image, frame, portrait.landmarks, groups) for groups in EYES)
    blinks = np.linspace(0, 1, 51)
    ahead = np.array([left.lid_position(float(b)) - right.lid_position(float(b)) for b in blinks])
    assert ahead[0] == ahead[-1] == 0
    assert 0.02 < ahead.max() < 0.25
    assert (ahead >= 0).all()
