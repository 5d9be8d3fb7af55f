"""The renderer on a drawn face, where the right answer is known."""

import math
from typing import Tuple

import cv2
import numpy as np
import pytest

from sonic_edge.media import CHANNELS, N_LANDMARKS, Portrait
from sonic_edge.renderer import Renderer
from sonic_edge.renderer import geometry as g
from sonic_edge.renderer.eyes import EYES, Eye
from sonic_edge.renderer.mouth import WIDE_OPEN, MouthShape
from sonic_edge.renderer.photo import FinePhoto, doubled, softness

SKIN, LIP, TEETH, WHITE, IRIS, HAIR, WALL = (
    (140, 170, 220),
    (90, 90, 190),
    (250, 252, 255),
    (235, 235, 235),
    (200, 90, 20),
    (30, 40, 50),
    (180, 190, 120),
)
EYE_AT = ((-0.5, -1.1), (0.5, -1.1))
OVAL_CENTRE, OVAL_HALF = np.array([0.0, -0.75]), np.array([1.0, 1.45])


def mesh(gap: float = 0.0) -> np.ndarray:
    """Mesh points in face coordinates (eyes one apart, origin between the lips), [468, 3]."""
    k = np.arange(N_LANDMARKS)
    radius, angle = np.sqrt((k + 0.5) / N_LANDMARKS) * 0.97, k * 2.399963
    uv = OVAL_CENTRE + OVAL_HALF * np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)

    def put(group: Tuple[int, ...], u: np.ndarray, v: np.ndarray) -> None:
        uv[list(group)] = np.stack(np.broadcast_arrays(u, v), -1)

    t, bow = np.linspace(-1, 1, 11), 1 - np.linspace(-1, 1, 11) ** 2
    put(g.OUTER_UPPER, 0.38 * t, -0.10 * bow - gap / 2 * bow)
    put(g.OUTER_LOWER, 0.38 * t, 0.14 * bow + gap / 2 * bow)
    put(g.INNER_UPPER, 0.36 * t, -gap / 2 * bow)
    put(g.INNER_LOWER, 0.36 * t, gap / 2 * bow)
    s, lid = np.linspace(-1, 1, 9), 1 - np.linspace(-1, 1, 9) ** 2
    for (u, v), (upper, lower, brow) in zip(EYE_AT, EYES):
        put(upper, u + 0.2 * s, v - 0.08 * lid)
        put(lower, u + 0.2 * s, v + 0.06 * lid)
        put(brow, u + 0.25 * np.linspace(-1, 1, 5), np.array(v - 0.34))
    around = 2 * np.pi * np.arange(len(g.OVAL)) / len(g.OVAL)
    put(g.OVAL, OVAL_HALF[0] * np.sin(around), OVAL_CENTRE[1] - OVAL_HALF[1] * np.cos(around))
    put((g.NOSE_BASE,), np.array(0.0), np.array(-0.33))
    put(g.CHEEKS, np.array([-0.6, 0.6, -0.5, 0.5, -0.45, 0.45]), np.array([-0.5, -0.5, -0.35, -0.35, -0.6, -0.6]))
    distance = np.minimum(((uv - OVAL_CENTRE) ** 2 / OVAL_HALF**2).sum(1), 1)
    return np.c_[uv, 1.0 - 1.5 * np.sqrt(1 - distance)]


def drawn(
    size: Tuple[int, int] = (400, 480),
    unit: float = 80.0,
    at: Tuple[float, float] = (200.0, 330.0),
    tilt: float = 0.0,
    gap: float = 0.0,
) -> Portrait:
    """A face drawn with its mouth at a point of a canvas (width, height), turned clockwise by `tilt` radians."""
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    points = mesh(gap)

    def place(uv: np.ndarray) -> np.ndarray:
        return np.asarray(uv, float) @ turn * unit + at

    image = np.full((size[1], size[0], 3), WALL, np.uint8)
    rng = np.random.default_rng(1)
    image += cv2.resize(rng.integers(0, 40, (30, 30, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)

    def fill(uv: np.ndarray, colour: Tuple[int, int, int]) -> None:
        cv2.fillPoly(image, [np.round(place(uv) * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)

    def ellipse(centre: np.ndarray, half: np.ndarray, colour: Tuple[int, int, int]) -> None:
        a = np.linspace(0, 2 * np.pi, 80)
        fill(centre + half * np.stack([np.cos(a), np.sin(a)], -1), colour)

    ellipse(OVAL_CENTRE - (0, 0.25), OVAL_HALF * (1.15, 1.12), HAIR)
    ellipse(OVAL_CENTRE, OVAL_HALF, SKIN)
    ring = np.concatenate([points[list(g.OUTER_UPPER), :2], points[list(g.OUTER_LOWER), :2][::-1]])
    fill(ring, LIP)
    if gap:
        fill(np.concatenate([points[list(g.INNER_UPPER), :2], points[list(g.INNER_LOWER), :2][::-1]]), TEETH)
    for centre, (upper, lower, brow) in zip(np.array(EYE_AT), EYES):
        opening = np.concatenate([points[list(upper), :2], points[list(lower), :2][::-1]])
        fill(opening, WHITE)
        ellipse(centre, np.array([0.06, 0.06]), IRIS)
        line = points[list(brow), :2]
        thick = np.array([0.0, 0.03])
        fill(np.concatenate([line - thick, (line + thick)[::-1]]), HAIR)
    landmarks = np.c_[place(points[:, :2]), points[:, 2] * unit].astype(np.float32)
    return Portrait(image, landmarks)


def near(image: np.ndarray, colour: Tuple[int, int, int], within: int = 40) -> np.ndarray:
    """Where a picture has about a colour."""
    return np.abs(image.astype(int) - colour).max(-1) < within


def mouth_part(portrait: Portrait, image: np.ndarray) -> np.ndarray:
    box = g.Box.around(portrait.landmarks[list(g.OUTER_UPPER + g.OUTER_LOWER), :2].astype(float), 2.0)
    return image[box.top : box.bottom + int(0.4 * portrait.interocular), box.left : box.right]


def opening(portrait: Portrait, image: np.ndarray) -> float:
    """Height of what is neither lip nor skin in the middle of the mouth, interoculars."""
    x, y = portrait.landmarks[13, :2]
    unit = portrait.interocular
    column = image[int(y - 0.25 * unit) : int(y + 0.6 * unit), round(float(x))]
    flesh = near(column, LIP, 30) | near(column, SKIN, 45)
    between = np.abs(column.astype(int) - LIP).sum(-1) + np.abs(column.astype(int) - SKIN).sum(-1)
    blend = between < np.abs(np.array(LIP) - SKIN).sum() + 40
    return float((~(flesh | blend)).sum()) / unit


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return drawn()


@pytest.fixture(scope="module")
def renderer(portrait: Portrait) -> Renderer:
    return Renderer(portrait)


EVERYTHING = {
    "jaw": 0.6,
    "width": 0.4,
    "round": 0.3,
    "close": 0.1,
    "tuck": 0.2,
    "blink": 0.6,
    "brow": 0.7,
    "gaze_x": 0.4,
    "gaze_y": -0.3,
    "yaw": 0.12,
    "pitch": 0.08,
    "roll": -0.06,
    "tx": 0.08,
    "ty": 0.05,
}


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
        grey = cv2.cvtColor(cv2.cvtColor(portrait.image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        frame = Renderer(Portrait(grey, portrait.landmarks)).frame({**EVERYTHING, "jaw": 1.0})
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
        """The mesh reads a small gap as none; the photo shows teeth."""
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
                shift = eye.lowered(float(blink))
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
        assert grid.enlarge(grid.nodes, box) == pytest.approx(np.stack([x, y], -1), abs=1e-3)
        part = g.Box(40, 30, 60, 41)
        assert grid.enlarge(grid.nodes, part) == pytest.approx(np.stack(np.meshgrid(range(40, 60), range(30, 41)), -1))

    def test_an_inverse_undoes(self) -> None:
        grid = g.Grid(g.Box(0, 0, 200, 200), 5)
        there = 12 * np.sin(grid.nodes[..., ::-1] / 40).astype(np.float32)
        back = grid.inverse(there, rounds=6)
        source = grid.nodes + back
        inner = (slice(4, -4), slice(4, -4))
        assert (source + grid.sample(there, source))[inner] == pytest.approx(grid.nodes[inner], abs=0.1)

    def test_a_box_stays_within_another(self) -> None:
        assert g.Box(-5, 3, 10, 40).within(g.Box(0, 0, 8, 20)) == g.Box(0, 3, 8, 20)
        assert g.Box(30, 3, 40, 40).within(g.Box(0, 0, 8, 20)).empty


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
        fine = doubled(image)
        assert fine.shape == (39, 61, 3)
        assert np.array_equal(fine[::2, ::2], image)

    def test_finds_smooth_pictures_between_pixels(self) -> None:
        x = np.arange(40)
        image = np.broadcast_to((127 + 100 * np.sin(x / 4))[None, :, None], (30, 40, 3)).round().astype(np.uint8)
        photo = FinePhoto(image[4:26, 4:36], (4, 4))
        at = np.stack(np.meshgrid(np.arange(8, 30) + 0.3, np.arange(8, 20) + 0.6), -1).astype(np.float32)
        assert photo.look_up(photo.place(at))[..., 0] == pytest.approx(127 + 100 * np.sin(at[..., 0] / 4), abs=2)
