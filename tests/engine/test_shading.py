"""Light that changes as a face moves."""

from dataclasses import replace
from typing import Dict, Optional, Tuple

import cv2
import numpy as np
import pytest
from drawn_face import EVERYTHING, SKIN, WALL_MEAN, drawn, grey_of, near, region

from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.renderer import geometry as g
from sonic_edge.engine.renderer.mouth import CHIN_SHARE, UPPER_SHARE, WIDE_OPEN, MouthShape, lip_weights
from sonic_edge.engine.renderer.pose import clamped
from sonic_edge.engine.renderer.shading import LEAST, Shading, spot
from sonic_edge.media import CHANNELS, Portrait

Pose = Dict[str, float]

SHADED = [{"jaw": 1.0}, {"width": 1.0}, {"round": 1.0}, {"close": 1.0}, {"brow": 1.0}, {"brow": -1.0}]
"""One pose for each way in which the light changes."""


@pytest.fixture(scope="module")
def large() -> Portrait:
    return drawn(size=(600, 720), unit=120, at=(300, 480))


class Gains:
    """What a pose multiplies the photo with, less 1, at places in face coordinates."""

    def __init__(self, portrait: Portrait, cell: int = 6) -> None:
        frame = g.FaceFrame(portrait.landmarks)
        self._shape = MouthShape(portrait.image, frame, portrait.landmarks)
        grid = g.Grid(g.Box(0, 0, *portrait.image.shape[1::-1]), cell)
        self.uv = frame.of(grid.nodes)
        self._shading = Shading(frame, portrait.landmarks, self._shape, grid)

    def of(self, pose: Pose) -> Optional[np.ndarray]:
        values = clamped(pose)
        return self._shading.gain(values, lip_weights(self._shape, values))

    def mean(self, pose: Pose, u: Tuple[float, float], v: Tuple[float, float]) -> float:
        """Over a rectangle and its mirror image on the other side of the face."""
        across, down = np.abs(self.uv[..., 0]), self.uv[..., 1]
        inside = (across > u[0]) & (across < u[1]) & (down > v[0]) & (down < v[1])
        assert inside.any()
        return float(self.of(pose)[inside].mean())


@pytest.fixture(scope="module")
def gains(large: Portrait) -> Gains:
    return Gains(large)


class TestGain:
    def test_there_is_none_at_rest(self, gains: Gains) -> None:
        assert gains.of({}) is None
        for channel in ("blink", "gaze_x", "gaze_y", "tongue", "yaw", "pitch", "roll", "tx", "ty"):
            assert gains.of({channel: CHANNELS[channel][1]}) is None

    @pytest.mark.parametrize("pose", SHADED, ids=str)
    def test_changes_the_face_and_nothing_far_from_it(self, gains: Gains, pose: Pose) -> None:
        gain = gains.of(pose)
        assert gain.shape == gains.uv.shape[:2]
        assert 0.02 < np.abs(gain).max() < 0.35
        far = (np.abs(gains.uv[..., 0]) > 1.1) | (gains.uv[..., 1] > 1.1) | (gains.uv[..., 1] < -2.2)
        assert far.any()
        assert not gain[far].any()
        eyes = (np.abs(np.abs(gains.uv[..., 0]) - 0.5) < 0.2) & (np.abs(gains.uv[..., 1] + 1.1) < 0.1)
        assert np.abs(gain[eyes]).max() < 0.03

    @pytest.mark.parametrize("pose", [p for p in SHADED if "brow" not in p], ids=str)
    def test_is_the_same_on_both_sides(self, gains: Gains, pose: Pose) -> None:
        gain = gains.of(pose)
        assert gains.uv[..., 0][:, ::-1] == pytest.approx(-gains.uv[..., 0], abs=0.06)
        assert np.abs(gain[:, ::-1] - gain).max() < 0.04  # the grid is not quite even
        assert np.abs(gain[:, ::-1] - gain).mean() < 0.001

    def test_an_open_mouth_darkens_chin_and_cheeks(self, gains: Gains) -> None:
        wide = {"jaw": 1.0}
        assert gains.mean(wide, (0.0, 0.2), (0.55, 0.7)) < -0.02
        assert gains.mean(wide, (0.5, 0.75), (0.0, 0.3)) < -0.02  # hollow
        assert abs(gains.mean(wide, (0.0, 0.3), (-1.9, -1.2))) < 0.003
        assert gains.mean({"jaw": 0.5}, (0.0, 0.2), (0.55, 0.7)) > gains.mean(wide, (0.0, 0.2), (0.55, 0.7))

    def test_a_smile_deepens_the_folds_and_lights_the_cheeks(self, gains: Gains) -> None:
        smile = {"width": 1.0}
        fold = gains.mean(smile, (0.4, 0.5), (-0.25, -0.05))
        assert fold < -0.03
        assert gains.mean(smile, (0.6, 0.75), (-0.5, -0.35)) > 0.01
        assert abs(gains.mean(smile, (0.0, 0.15), (0.5, 0.7))) < 0.01
        assert gains.of({"width": -1.0}) is None

    def test_rounding_and_pressing_darken_under_the_lip(self, gains: Gains) -> None:
        for pose in ({"round": 1.0}, {"close": 1.0}):
            assert gains.mean(pose, (0.0, 0.15), (0.25, 0.37)) < -0.03

    def test_raised_brows_draw_lines_over_the_forehead(self, gains: Gains) -> None:
        gain = gains.of({"brow": 1.0})
        middle = np.abs(gains.uv[..., 0]) < 0.05
        forehead = middle & (gains.uv[..., 1] < -1.5) & (gains.uv[..., 1] > -1.95)
        column = gain[forehead]
        assert column.min() < -0.015
        assert column.max() > 0.015
        assert not gain[gains.uv[..., 1] > -1.2].any()

    def test_a_frown_darkens_between_the_brows(self, gains: Gains) -> None:
        assert gains.mean({"brow": -1.0}, (0.0, 0.08), (-1.5, -1.3)) < -0.04
        assert abs(gains.mean({"brow": -1.0}, (0.4, 0.6), (-1.5, -1.3))) < 0.005

    def test_grows_with_the_pose(self, gains: Gains) -> None:
        for name in ("jaw", "width", "round", "close", "brow"):
            sizes = [np.abs(gains.of({name: x})).max() for x in (0.25, 0.5, 1.0)]
            assert sizes[0] < sizes[1] < sizes[2]


class TestShadedFrames:
    @staticmethod
    def ratio(portrait: Portrait, pose: Pose, monkeypatch: pytest.MonkeyPatch) -> Tuple[np.ndarray, np.ndarray]:
        """A frame with and one without the change of light, as numbers."""
        renderer = Renderer(portrait)
        shaded = renderer.frame(pose)
        with monkeypatch.context() as patch:
            patch.setattr(Shading, "gain", lambda *_: None)
            plain = renderer.frame(pose)
        return shaded.astype(float), plain.astype(float)

    @pytest.mark.parametrize("pose", SHADED, ids=str)
    def test_no_pixel_outside_the_face_changes(
        self, large: Portrait, pose: Pose, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shaded, plain = self.ratio(large, pose, monkeypatch)
        changed = np.argwhere((shaded != plain).any(-1))
        assert len(changed) > 200
        face = g.Box.around(large.landmarks[:, :2].astype(float), 0)
        sunk = WIDE_OPEN * (1 - UPPER_SHARE) * CHIN_SHARE * pose.get("jaw", 0.0) * large.interocular + 2
        assert changed[:, 0].min() >= face.top
        assert changed[:, 0].max() <= face.bottom + sunk
        assert changed[:, 1].min() >= face.left
        assert changed[:, 1].max() <= face.right

    @pytest.mark.parametrize("pose", SHADED, ids=str)
    def test_the_wall_behind_does_not_change(self, pose: Pose, monkeypatch: pytest.MonkeyPatch) -> None:
        portrait = drawn(size=(500, 640), unit=100, at=(250, 390), matte=True)
        shaded, plain = self.ratio(portrait, pose, monkeypatch)
        other = (~near(plain, WALL_MEAN, 45)).astype(np.uint8)
        wall = cv2.distanceTransform(1 - other, cv2.DIST_L2, 5) > 4
        assert wall.sum() > 50_000
        assert np.array_equal(shaded[wall], plain[wall])

    @pytest.mark.parametrize("pose", [{"jaw": 1.0}, {"width": 1.0, "jaw": 0.4}, {"round": 1.0}], ids=str)
    def test_light_from_one_side_stays_on_that_side(
        self, large: Portrait, pose: Pose, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The light is multiplied: by the same on the lit and on the dark side."""
        image = large.image.copy()
        image[:, 300:] = image[:, 300:] * 0.5
        shaded, plain = self.ratio(replace(large, image=image), pose, monkeypatch)
        gain = shaded.sum(-1) / np.maximum(plain.sum(-1), 1)
        for u, v in (((0.3, 0.8), (-0.3, 0.4)), ((0.02, 0.3), (0.3, 0.65))):
            rows, columns = region(large, u, v)
            lit, dark = gain[rows, 600 - columns.stop : 600 - columns.start][:, ::-1], gain[rows, columns]
            assert np.abs(1 - lit).max() > 0.015
            assert np.mean(np.abs(lit - dark)) < 0.006
            assert lit.mean() == pytest.approx(dark.mean(), abs=0.004)

    def test_the_chin_of_a_frame_is_darker_and_its_colour_stays(
        self, large: Portrait, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shaded, plain = self.ratio(large, {"jaw": 1.0}, monkeypatch)
        chin = region(large, (-0.1, 0.1), (0.72, 0.82))
        assert shaded[chin].mean() < plain[chin].mean() - 3
        tint = shaded[chin].mean((0, 1)) / plain[chin].mean((0, 1))
        assert np.ptp(tint) < 0.01

    def test_the_light_goes_with_the_head(self, large: Portrait, monkeypatch: pytest.MonkeyPatch) -> None:
        """Folds are where the face is, not where it was."""

        def darkest(pose: Pose) -> np.ndarray:
            shaded, plain = self.ratio(large, pose, monkeypatch)
            loss = np.clip(plain - shaded, 0, None).sum(-1)
            rows, columns = np.indices(loss.shape)
            return np.array([(loss * columns).sum(), (loss * rows).sum()]) / loss.sum()

        moved = darkest({"width": 1.0, "tx": 0.2, "ty": 0.1}) - darkest({"width": 1.0})
        assert moved == pytest.approx(np.array([0.2, 0.1]) * large.interocular, abs=1.5)

    def test_a_grey_face_stays_grey_and_white_stays_in_range(self, large: Portrait) -> None:
        grey = grey_of(large.image)
        frame = Renderer(replace(large, image=grey)).frame({**EVERYTHING, "jaw": 1.0, "width": 1.0})
        assert (frame.max(-1) == frame.min(-1)).all()
        bright = np.full_like(large.image, 255)
        frame = Renderer(replace(large, image=bright)).frame({"width": 1.0})
        apple = region(large, (-0.7, -0.6), (-0.5, -0.4))
        assert (frame[apple] == 255).all()  # not turned over into black


class TestSpot:
    def test_is_one_in_the_middle_and_none_at_its_rim(self) -> None:
        uv = np.stack(np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41)), -1)
        found = spot(uv, (0.2, -0.1), (0.3, 0.6), 0.0)
        assert found.max() == pytest.approx(1)
        assert found[18, 24] == pytest.approx(1)
        outside = np.hypot((uv[..., 0] - 0.2) / 0.3, (uv[..., 1] + 0.1) / 0.6) >= 1
        assert not found[outside].any()
        assert (found[~outside] > 0).all()

    def test_leans(self) -> None:
        """Clockwise, as the picture is seen: its lower end goes to the left."""
        under = np.stack([np.array([-0.17, 0.17]), np.array([0.25, 0.25])], -1)
        left, right = spot(under, (0.0, 0.0), (0.1, 0.6), 0.6)
        assert left > 0.3
        assert right == 0
        assert spot(under, (0.0, 0.0), (0.1, 0.6), -0.6)[::-1] == pytest.approx([left, right])


def test_what_counts_as_light_is_seen() -> None:
    """The least gain that is drawn is about half a grey level of skin."""
    assert 0.3 < LEAST * max(SKIN) < 1
