"""Lips, the inside of the mouth, and its colours."""

import math
from dataclasses import replace
from typing import Dict, Optional, Tuple

import cv2
import numpy as np
import pytest
from drawn_face import (
    DARK_LIP,
    DARK_SKIN,
    LIP,
    SKIN,
    TEETH,
    Colour,
    drawn,
    grey_of,
    mouth_part,
    near,
    opening,
    region,
)

from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.renderer import geometry as g
from sonic_edge.engine.renderer.interior import MouthInterior
from sonic_edge.engine.renderer.mouth import WEIGHTS, WIDE_OPEN, Lips, MouthShape, lip_weights, lower_lip_drop
from sonic_edge.engine.renderer.palette import Palette
from sonic_edge.engine.renderer.pose import clamped
from sonic_edge.media import CHANNELS, Portrait

Pose = Dict[str, float]


def large(**kind: object) -> Portrait:
    return drawn(size=(600, 720), unit=120, at=(300, 480), **kind)


@pytest.fixture(scope="module")
def close_up() -> Tuple[Portrait, Renderer]:
    portrait = large()
    return portrait, Renderer(portrait)


def lip_edges(portrait: Portrait, pose: Pose) -> Tuple[np.ndarray, np.ndarray]:
    """Lower edge of the upper lip and upper edge of the lower lip in a pose, face coordinates."""
    frame = g.FaceFrame(portrait.landmarks)
    shape = MouthShape(portrait.image, frame, portrait.landmarks)
    grid = g.Grid(g.Box(0, 0, *portrait.image.shape[1::-1]), 6)
    lips = Lips(frame, shape, grid, np.zeros_like(grid.nodes))
    weights = lip_weights(shape, clamped(pose))
    upper, lower = lips.edges(np.array([weights[name] for name in WEIGHTS], np.float32))
    return frame.of(upper), frame.of(lower)


def widths(portrait: Portrait, pose: Pose) -> Tuple[float, float, float, float]:
    """Of the opening in a pose, interoculars: a quarter of the way down, half-way, three quarters down; its height."""
    upper, lower = lip_edges(portrait, pose)
    u = np.linspace(-0.6, 0.6, 2401)
    top, bottom = (np.interp(u, edge[:, 0], edge[:, 1]) for edge in (upper, lower))
    apart = bottom - top > 0.01
    first, height = top[apart].min(), bottom[apart].max() - top[apart].min()
    a, b, c = (
        float((apart & (top < v) & (bottom > v)).sum()) * 0.0005 for v in first + height * np.array([0.25, 0.5, 0.75])
    )
    return a, b, c, float(height)


class TestMouth:
    def test_opens_as_far_as_the_jaw_says(self, renderer: Renderer, portrait: Portrait) -> None:
        jaws = np.linspace(0, 1, 11)
        gaps = np.array([opening(portrait, renderer.frame({"jaw": float(jaw)})) for jaw in jaws])
        assert gaps[0] == 0
        assert (np.diff(gaps) > 0).all()
        soft_edges = 0.04
        assert np.abs(gaps[1:] - WIDE_OPEN * jaws[1:] - soft_edges).max() < 0.02

    def test_lower_lip_and_chin_move_more_than_the_upper_lip(self, renderer: Renderer, portrait: Portrait) -> None:
        x, y = (round(float(v)) for v in portrait.landmarks[13, :2])
        top, unit = y - 25, portrait.interocular
        column = renderer.frame({"jaw": 1.0})[top : y + 60, x]
        lips = np.flatnonzero(near(column, LIP, 30)) + top
        upper, lower = lips[lips < y + 0.1 * unit], lips[lips > y + 0.1 * unit]
        raised = y - 0.10 * unit - upper.min()
        lowered = lower.max() - (y + 0.14 * unit)
        assert 0 < raised < 0.3 * lowered

    @pytest.mark.parametrize("pose", [{"jaw": 0.0}, {"jaw": 0.7, "close": 1.0}, {"close": 1.0}])
    @pytest.mark.parametrize("gap", [0.0, 0.16, 0.3])
    def test_shut_lips_meet(self, pose: "dict[str, float]", gap: float) -> None:
        """No tooth and no gap between them, however open the mouth is in the photo."""
        portrait = drawn(gap=gap)
        frame = Renderer(portrait).frame(pose)
        mouth = mouth_part(portrait, frame)
        assert near(mouth_part(portrait, portrait.image), TEETH, 30).any() == (gap > 0)
        assert not near(mouth, TEETH, 45).any()
        shadow = 0.06 if gap else 0.0  # lips shut by us get the line that lips shut in the photo have
        assert opening(portrait, frame) <= shadow

    def test_an_open_mouth_keeps_its_own_teeth(self) -> None:
        portrait = drawn(gap=0.2)
        frame = Renderer(portrait).frame({"jaw": 1.0})
        mouth, before = mouth_part(portrait, frame), mouth_part(portrait, portrait.image)
        assert near(mouth, TEETH, 60).sum() > 0.6 * near(before, TEETH, 60).sum()

    def test_pressing_makes_lips_thinner_and_rounding_narrower(self, renderer: Renderer, portrait: Portrait) -> None:
        def lips(pose: "dict[str, float]") -> np.ndarray:
            return np.argwhere(near(mouth_part(portrait, renderer.frame(pose)), LIP, 30))

        rest, pressed = lips({}), lips({"close": 1.0})
        rounded, wide = lips({"round": 1.0}), lips({"width": 1.0})
        assert len(pressed) < len(rest)
        assert np.ptp(rounded[:, 1]) < 0.85 * np.ptp(rest[:, 1])
        assert np.ptp(wide[:, 1]) >= np.ptp(rest[:, 1])

    def test_tuck_shows_a_little_and_close_overrules_it(self, renderer: Renderer, portrait: Portrait) -> None:
        assert 0.02 < opening(portrait, renderer.frame({"tuck": 1.0})) < 0.09
        assert opening(portrait, renderer.frame({"tuck": 1.0, "close": 1.0})) == 0

    def test_a_tilted_face_opens_along_itself(self) -> None:
        tilt = math.radians(30)
        upright, tilted = drawn(size=(480, 480), at=(240, 330)), drawn(size=(480, 480), at=(240, 330), tilt=tilt)
        pose = {"jaw": 0.8, "blink": 1.0}
        turn = cv2.getRotationMatrix2D((240, 330), -math.degrees(tilt), 1)
        expected = cv2.warpAffine(Renderer(upright).frame(pose), turn, (480, 480), flags=cv2.INTER_CUBIC)
        box = g.Box(170, 230, 290, 400)
        difference = np.abs(Renderer(tilted).frame(pose).astype(int) - expected)[box.rows, box.columns]
        assert difference.mean() < 4

    def test_the_line_between_the_lips_is_found(self) -> None:
        """A mesh that is off by a few pixels is put right by the photo."""
        portrait = drawn()
        image = portrait.image.copy()
        x, y = portrait.landmarks[13, :2]
        cv2.line(image, (int(x - 28), int(y + 4)), (int(x + 28), int(y + 4)), (30, 30, 60), 2, cv2.LINE_AA)
        shape = MouthShape(image, g.FaceFrame(portrait.landmarks), portrait.landmarks)
        middle = g.height_at(np.linspace(-0.25, 0.25, 9), shape.upper)
        assert middle * portrait.interocular == pytest.approx(4, abs=1)
        assert shape.gap == 0

    def test_teeth_between_lips_that_pass_for_shut_are_found(self) -> None:
        """The mesh does not see a small gap; the photo shows teeth."""
        portrait = drawn(size=(640, 800), unit=160, at=(320, 560))
        frame = g.FaceFrame(portrait.landmarks)
        assert MouthShape(portrait.image, frame, portrait.landmarks).gap == 0
        image = portrait.image.copy()
        t = np.linspace(-1, 1, 40)
        slit = np.concatenate([np.stack([0.3 * t, -0.07 * (1 - t**2)], -1), np.stack([0.3 * t, 0 * t], -1)[::-1]])
        cv2.fillPoly(image, [np.round(frame.canvas(slit) * 16).astype(np.int32)], (150, 150, 160), cv2.LINE_AA, 4)
        cv2.polylines(image, [np.round(frame.canvas(slit[40:])).astype(np.int32)], False, (20, 20, 50), 3, cv2.LINE_AA)
        assert MouthShape(image, frame, portrait.landmarks).gap == pytest.approx(0.07, abs=0.03)
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        assert MouthShape(grey, frame, portrait.landmarks).gap == 0

    @pytest.mark.parametrize("gap", [0.0, 0.16, 0.3])
    def test_nothing_jumps_as_the_mouth_opens(self, gap: float) -> None:
        renderer = Renderer(drawn(gap=gap))
        frames = [renderer.frame({"jaw": float(jaw)}).astype(int) for jaw in np.linspace(0, 1, 41)]
        steps = np.array([np.abs(a - b).sum() for a, b in zip(frames, frames[1:])])
        assert steps.max() < 3 * np.median(steps)


class TestOpening:
    @pytest.mark.parametrize("jaw", [0.5, 0.7, 1.0])
    def test_rounded_it_is_narrower_and_round(self, jaw: float) -> None:
        portrait = large()
        quarter, half, three_quarters, height = widths(portrait, {"jaw": jaw, "round": 1.0})
        _, plain, _, _ = widths(portrait, {"jaw": jaw})
        assert half < 0.7 * plain
        assert 0.6 < half / height < 2.0
        assert 0.7 < quarter / three_quarters < 1.45  # no triangle
        assert 0.6 < quarter / half <= 1.0
        assert 0.6 < three_quarters / half <= 1.0

    def test_rounded_its_corners_come_closer_and_more_the_rounder(self, close_up: Tuple[Portrait, Renderer]) -> None:
        spans = [np.ptp(lip_edges(close_up[0], {"round": r})[0][:, 0]) for r in (0.0, 0.4, 0.8, 1.2)]
        assert all(a > b for a, b in zip(spans, spans[1:]))
        assert spans[0] - spans[2] > 0.1

    @pytest.mark.parametrize("pose", [{"jaw": 0.4}, {"jaw": 0.6, "round": 0.6}, {"jaw": 1.0}, {"tuck": 1.0}], ids=str)
    def test_gap_is_the_drawn_opening(self, close_up: Tuple[Portrait, Renderer], pose: Pose) -> None:
        portrait, renderer = close_up
        upper, lower = lip_edges(portrait, pose)
        assert renderer.gap(pose) == pytest.approx(float((lower - upper)[:, 1].max()), abs=0.01)
        soft_edges = 0.03
        assert opening(portrait, renderer.frame(pose)) == pytest.approx(renderer.gap(pose) + soft_edges, abs=0.025)

    @pytest.mark.parametrize("gap", [0.0, 0.16, 0.5])
    def test_gap_grows_with_the_jaw_and_ends_as_lips_close(self, gap: float) -> None:
        renderer = Renderer(drawn(gap=gap))
        gaps = [renderer.gap({"jaw": float(jaw)}) for jaw in np.linspace(0, 1.2, 13)]
        assert gaps[0] < 0.015
        assert (np.diff(gaps) > 0).all() if gap < WIDE_OPEN else (np.diff(gaps) > -1e-6).all()
        assert gaps[-1] > 0.9 * WIDE_OPEN
        closing = [renderer.gap({"jaw": 1.0, "close": float(close)}) for close in np.linspace(0, 1, 21)]
        assert (np.diff(closing) <= 1e-6).all()
        assert max(closing[12:]) < 0.015  # from .6 on
        assert renderer.gap({"jaw": 1.2, "close": 1.0, "round": 1.0}) < 0.015

    def test_gap_minds_its_arguments(self, renderer: Renderer) -> None:
        assert renderer.gap({"jaw": 50.0}) == renderer.gap({"jaw": CHANNELS["jaw"][1]})
        with pytest.raises(ValueError, match="'open' is unknown"):
            renderer.gap({"open": 1.0})

    @pytest.mark.parametrize("gap", [0.0, 0.3])
    @pytest.mark.parametrize("pose", [{"jaw": 0.5}, {"jaw": 1.0, "round": 0.5}, {"jaw": 0.8, "close": 0.2}], ids=str)
    def test_the_jaw_drops_as_far_as_its_lip(self, gap: float, pose: Pose) -> None:
        """What is fixed to the jaw stays behind the lower lip."""
        portrait = large(gap=gap)
        shape = MouthShape(portrait.image, g.FaceFrame(portrait.landmarks), portrait.landmarks)
        middle = np.zeros(1)
        went = g.height_at(middle, lip_edges(portrait, pose)[1]) - g.height_at(middle, shape.lower)
        assert float(went[0]) == pytest.approx(lower_lip_drop(shape, lip_weights(shape, clamped(pose))), abs=0.025)

    @pytest.mark.parametrize("pose", [{}, {"close": 1.0}, {"jaw": 0.8, "close": 1.0}], ids=str)
    def test_a_mouth_wide_open_in_the_photo_shuts(self, pose: Pose) -> None:
        """Its lips meet, and the lower one stays about as thick as it is."""
        portrait = large(gap=0.5)
        renderer = Renderer(portrait)
        frame = renderer.frame(pose)
        assert renderer.gap(pose) < 0.01
        assert not near(mouth_part(portrait, frame), TEETH, 45).any()
        assert opening(portrait, frame) <= 0.06

        middle = region(portrait, (-0.02, 0.02), (-0.4, 0.65))
        was = np.flatnonzero(near(portrait.image[middle], LIP, 30).all(1))
        thick = (was > (was.min() + was.max()) / 2).sum()
        red = near(frame[middle], LIP, 60).all(1)
        line = (0.4 + float(g.height_at(np.zeros(1), lip_edges(portrait, pose)[1])[0])) * 120
        lower = np.flatnonzero(red).max() + 1 - line
        pressed = 0.8 if pose.get("close") else 1.0
        assert lower == pytest.approx(pressed * thick, rel=0.35)


def unsaturated(pixels: np.ndarray) -> np.ndarray:
    """Where a picture has hardly any colour, as teeth have."""
    colours = pixels.astype(float)
    return (colours.max(-1) - colours.min(-1) < 0.33 * colours.max(-1)) & (colours.mean(-1) > 90)


class TestInside:
    """What a wide mouth shows."""

    @staticmethod
    def between(portrait: Portrait, renderer: Renderer, pose: Pose) -> Tuple[np.ndarray, float]:
        """The middle of the opening, [rows, columns, 3], and the v of its first row."""
        upper, lower = lip_edges(portrait, pose)
        top, bottom = (float(g.height_at(np.zeros(1), edge)[0]) for edge in (upper, lower))
        return renderer.frame(pose)[region(portrait, (-0.06, 0.06), (top, bottom))], top

    @pytest.mark.parametrize("jaw", [0.5, 0.8, 1.1])
    def test_teeth_above_and_tongue_below(self, close_up: Tuple[Portrait, Renderer], jaw: float) -> None:
        part, _ = self.between(*close_up, {"jaw": jaw})
        rows = len(part)
        first, last = part[: int(0.45 * rows)], part[int(0.5 * rows) : int(0.95 * rows)].astype(float)
        assert unsaturated(first).mean() > 0.3
        teeth = first[unsaturated(first)].mean()
        b, g_, r = last[~unsaturated(last)].T
        assert np.mean((r > 1.5 * b) & (r > 1.5 * g_)) > 0.9
        assert last[~unsaturated(last)].mean() < 0.8 * teeth

    def test_the_depth_is_dark(self, close_up: Tuple[Portrait, Renderer]) -> None:
        """Behind the teeth it is darkest, towards the tip of the tongue it grows lighter."""
        part, top = self.between(*close_up, {"jaw": 1.1})
        light = part.mean((1, 2))
        teeth = np.flatnonzero(unsaturated(part).mean(1) > 0.5)
        behind = teeth[teeth < len(part) / 2].max() + 8
        cavity = light[behind : behind + 15].mean()
        tip = light[-18:-8].mean()
        assert cavity < 0.25 * np.mean(SKIN)
        assert tip > 1.6 * cavity

    def test_a_narrow_mouth_is_darker_than_a_wide_one(self, close_up: Tuple[Portrait, Renderer]) -> None:
        def lightest(jaw: float) -> float:
            return float(self.between(*close_up, {"jaw": jaw})[0].mean(-1).max())

        assert lightest(0.15) < 0.8 * lightest(0.6)

    def test_upper_teeth_stay_when_the_jaw_goes(self, close_up: Tuple[Portrait, Renderer]) -> None:
        portrait, renderer = close_up
        shape = MouthShape(portrait.image, g.FaceFrame(portrait.landmarks), portrait.landmarks)
        ends, drops = [], []
        for jaw in (0.6, 0.8, 1.0):
            part, top = self.between(portrait, renderer, {"jaw": jaw})
            rows = np.flatnonzero(unsaturated(part).mean(1) > 0.5)
            ends.append(top + rows[rows < 0.5 * len(part)].max() / 120)
            drops.append(lower_lip_drop(shape, lip_weights(shape, clamped({"jaw": jaw}))))
        assert np.ptp(ends) < 0.02
        assert min(np.diff(drops)) > 0.05

    def test_painted_on_the_skull_and_on_the_jaw(self, close_up: Tuple[Portrait, Renderer]) -> None:
        portrait, _ = close_up
        frame = g.FaceFrame(portrait.landmarks)
        shape = MouthShape(portrait.image, frame, portrait.landmarks)
        inside = MouthInterior(portrait.image, frame, Palette(portrait.image, frame, portrait.landmarks), shape, 0.7)
        rows, columns = region(portrait, (-0.2, 0.2), (-0.15, 0.7))
        box = g.Box(columns.start, rows.start, columns.stop, rows.stop)
        everywhere = np.full((box.height, box.width), 255, np.uint8), np.zeros((box.height, box.width), np.uint8)
        around = np.array([(x, y) for x, y in zip((-500, 900, 900, -500), (-500, -500, 900, 900))], float)
        grid = g.Grid(g.Box(0, 0, portrait.image.shape[1], portrait.image.shape[0]), 5)

        def drawn(jaw_drop: float) -> np.ndarray:
            out = portrait.image.copy()
            inside.draw(out, box, around, everywhere, (1.0, 0.0), (grid.nodes, grid), jaw_drop, clamped({}))
            return out[rows, columns].astype(np.float32)

        near_by, far = drawn(0.2), drawn(0.3)
        teeth = slice(0, int((0.15 + 0.02) * 120))
        assert near_by[teeth] == pytest.approx(far[teeth], abs=1.0)
        shift = int(0.1 * 120)
        jaw = slice(int((0.15 + 0.16) * 120), int((0.15 + 0.26) * 120))
        assert near_by[jaw] == pytest.approx(far[jaw.start + shift : jaw.stop + shift], abs=1.0)
        assert np.abs(near_by[jaw] - far[jaw]).mean() > 10

    def test_a_raised_tongue_comes_to_the_upper_teeth(self, close_up: Tuple[Portrait, Renderer]) -> None:
        def behind_the_teeth(tongue: float) -> np.ndarray:
            part, top = self.between(*close_up, {"jaw": 0.6, "tongue": tongue})
            upper_teeth = np.flatnonzero(unsaturated(part).mean(1) > 0.5)
            first = upper_teeth[upper_teeth < 0.5 * len(part)].max() + 4
            return part[first : first + 8].reshape(-1, 3).astype(float).mean(0)

        down, half, up = (behind_the_teeth(tongue) for tongue in (0.0, 0.5, 1.0))
        assert up.mean() > 1.5 * down.mean()
        assert up.mean() >= half.mean() >= down.mean() - 1
        assert up[2] > 1.5 * max(up[:2])

    def test_a_raised_tongue_shows_only_where_the_mouth_is_open(self, renderer: Renderer, portrait: Portrait) -> None:
        assert np.array_equal(renderer.frame({"tongue": 1.0}), portrait.image)
        shut = {"jaw": 0.8, "close": 1.0}
        assert np.array_equal(renderer.frame({**shut, "tongue": 1.0}), renderer.frame(shut))

    @staticmethod
    def front_teeth(portrait: Portrait, u: Tuple[float, float]) -> np.ndarray:
        """Mean colour of the upper teeth between two u, in a wide mouth."""
        part = Renderer(portrait).frame({"jaw": 0.8})[region(portrait, u, (-0.02, 0.03))].astype(float)
        chosen = part.mean(-1) >= np.quantile(part.mean(-1), 0.5)
        return part[chosen].mean(0)

    def test_are_lighter_than_any_skin(self) -> None:
        for skin, lip in ((SKIN, LIP), (DARK_SKIN, DARK_LIP), ((90, 110, 150), (70, 70, 140))):
            portrait = large(skin=skin, lip=lip)
            palette = Palette(portrait.image, g.FaceFrame(portrait.landmarks), portrait.landmarks)
            assert palette.skin == pytest.approx(np.array(skin, float), abs=1)
            assert palette.tooth.mean() > 1.15 * np.mean(skin)
            assert palette.tooth.max() <= 255
            if skin != SKIN:
                assert self.front_teeth(portrait, (-0.1, 0.1)).mean() > 1.3 * np.mean(skin)

    def test_one_side_in_shadow(self) -> None:
        """Teeth are lit from the side from which the face is."""
        lit = large()
        level = [float(self.front_teeth(lit, u).mean()) for u in ((-0.25, -0.12), (0.12, 0.25))]
        assert level[0] == pytest.approx(level[1], rel=0.04)
        image = lit.image.copy()
        image[:, 300:] = image[:, 300:] * 0.55
        left, right = (
            float(self.front_teeth(replace(lit, image=image), u).mean()) for u in ((-0.25, -0.12), (0.12, 0.25))
        )
        assert right < 0.9 * left
        flipped = replace(lit, image=np.ascontiguousarray(image[:, ::-1]))
        left, right = (float(self.front_teeth(flipped, u).mean()) for u in ((-0.25, -0.12), (0.12, 0.25)))
        assert left < 0.9 * right

    def test_have_the_tint_of_the_light(self) -> None:
        plain = large()
        cold, warm = (
            replace(plain, image=np.clip(plain.image * np.array(tint), 0, 255).astype(np.uint8))
            for tint in ((1.25, 1.0, 0.72), (0.75, 1.0, 1.1))
        )
        in_cold, usual, in_warm = (
            Palette(p.image, g.FaceFrame(p.landmarks), p.landmarks).tooth for p in (cold, plain, warm)
        )
        assert in_cold[0] > in_cold[2] + 5
        assert in_cold[0] / in_cold[2] > 1.15 * usual[0] / usual[2]
        assert in_warm[2] / in_warm[0] > 1.05 * usual[2] / usual[0]
        drawn_cold, drawn_usual = (self.front_teeth(p, (-0.1, 0.1)) for p in (cold, plain))
        assert drawn_cold[0] / drawn_cold[2] > 1.15 * drawn_usual[0] / drawn_usual[2]


class TestPalette:
    @staticmethod
    def of(portrait: Portrait) -> Palette:
        return Palette(portrait.image, g.FaceFrame(portrait.landmarks), portrait.landmarks)

    def test_flesh_is_redder_and_darker_than_skin(self) -> None:
        for skin, lip in ((SKIN, LIP), (DARK_SKIN, DARK_LIP), (SKIN, SKIN)):  # the last: pale lips
            palette = self.of(large(skin=skin, lip=lip))
            b, green, r = palette.flesh
            assert r > 1.8 * max(b, green)
            assert palette.flesh.mean() < np.mean(skin)
            assert (palette.line < np.array(lip)).all()

    def test_of_a_grey_photo_is_grey(self) -> None:
        portrait = large()
        palette = self.of(replace(portrait, image=grey_of(portrait.image)))
        for colour in (palette.skin, palette.tooth, palette.flesh, palette.line):
            assert np.ptp(colour) < 0.01

    def test_a_red_eye_makes_no_red_teeth(self) -> None:
        portrait = large()
        image = portrait.image.copy()
        white = near(image, (235, 235, 235), 20)
        image[white] = (90, 90, 240)
        tooth = self.of(replace(portrait, image=image)).tooth
        assert tooth[2] < 1.5 * tooth[0]

    def test_dark_eyes_make_no_dark_teeth(self) -> None:
        """Behind glasses, say, eyes show no white."""
        portrait = large()
        image = portrait.image.copy()
        image[near(image, (235, 235, 235), 20)] = (40, 40, 45)
        tooth = self.of(replace(portrait, image=image)).tooth
        assert tooth.mean() > 1.05 * np.mean(SKIN)

    def test_light_from_one_side_has_bounds(self) -> None:
        portrait = large()
        u = np.linspace(-0.8, 0.8, 9)
        assert self.of(portrait).side_light(u) == pytest.approx(np.ones(9), abs=0.02)
        image = portrait.image.copy()
        image[:, 300:] = image[:, 300:] * 0.05
        light = self.of(replace(portrait, image=image)).side_light(u)
        assert (np.diff(light) <= 0).all()
        assert light[0] < 1.6
        assert light[-1] > 0.6


class TestOwnTeeth:
    """Those of an open mouth in the photo."""

    @staticmethod
    def own(portrait: Portrait) -> Optional[np.ndarray]:
        frame = g.FaceFrame(portrait.landmarks)
        shape = MouthShape(portrait.image, frame, portrait.landmarks)
        palette = Palette(portrait.image, frame, portrait.landmarks)
        return MouthInterior(portrait.image, frame, palette, shape, 0.7).own

    @staticmethod
    def mouth(*spots: Tuple[Tuple[float, float], Colour]) -> Portrait:
        """An open mouth, dark inside, with bands of colour from one v to another."""
        portrait = large(gap=0.3)
        image = portrait.image.copy()
        inside = near(image, TEETH, 20)
        inside[: region(portrait, (0, 1), (-0.2, 0))[0].start] = False
        image[inside] = (20, 15, 45)
        v = g.FaceFrame(portrait.landmarks).of(np.stack(np.meshgrid(np.arange(600), np.arange(720)), -1))[..., 1]
        for (first, last), colour in spots:
            image[inside & (v >= first) & (v < last)] = colour
        return replace(portrait, image=image)

    def test_are_kept_where_they_hang_from_the_lip(self) -> None:
        hanging = self.own(self.mouth(((-0.2, 0.0), (215, 225, 235))))
        assert hanging is not None
        solid = hanging[..., 3].astype(float)
        v = MouthInterior.V[0] + np.arange(len(solid)) / 120
        assert solid[v < 0].sum() > 0.93 * solid.sum()
        colour = hanging[solid > 250][:, :3].mean(0)
        assert colour == pytest.approx(np.array([215, 225, 235]), abs=6)

    def test_are_not_kept_where_they_lie_below(self) -> None:
        """A light tongue, or lower teeth alone, is not what hangs from the upper lip."""
        assert self.own(self.mouth(((0.02, 0.2), (215, 225, 235)))) is None

    def test_flesh_is_no_tooth(self) -> None:
        assert self.own(self.mouth(((-0.2, 0.2), (110, 110, 200)))) is None
        assert self.own(self.mouth()) is None

    def test_a_hint_of_teeth_is_too_little(self) -> None:
        assert self.own(self.mouth(((-0.15, -0.12), (215, 225, 235)))) is None

    def test_a_shut_mouth_has_none(self) -> None:
        assert self.own(large()) is None
