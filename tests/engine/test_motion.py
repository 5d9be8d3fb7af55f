from dataclasses import replace

import numpy as np
import pytest

from sonic_edge.config import Controls
from sonic_edge.engine.motion.shape import MOST_SHUT_S, MotionShaper, closures, shape_motion
from sonic_edge.media import CHANNELS, Motion
from sonic_edge.model.spec import ClosureSpec

CLOSURE = ClosureSpec(enter=0.5, leave=0.3, max_frames=5)
NAMES = ("jaw", "width", "round", "close", "tuck", "closure", "blink", "brow", "yaw", "tx", "quiet")
STILL = Controls(dynamic_scale=1.0, motion_scale=1.0, align_offset=0.0, smooth=False)


def raw(seconds=4.0, **channels):
    n = int(seconds * 25) + 2
    values = np.zeros((n, len(NAMES)), np.float32)
    for name, value in channels.items():
        values[:, NAMES.index(name)] = value
    return Motion(NAMES, values, 25.0, 0.015)


def test_frames_are_those_of_the_video():
    controls = Controls(fps=30)
    motion = shape_motion(raw(jaw=0.5), CLOSURE, controls, 120, 4.0)
    assert len(motion) == 120 and motion.fps == 30
    assert "closure" not in motion.channels


def test_motion_is_read_at_its_own_time():
    ramp = np.arange(102, dtype=np.float32) / 25 / 10
    motion = shape_motion(raw(jaw=ramp), CLOSURE, STILL, 100, 4.0)
    t = np.arange(100) / 25
    np.testing.assert_allclose(motion.channel("jaw")[2:-2], (t - 0.015)[2:-2] / 10, atol=1e-5)


def test_align_offset_makes_the_lips_lead():
    ramp = np.arange(102, dtype=np.float32) / 25 / 10
    early = STILL.model_copy(update={"align_offset": 0.1})
    a = shape_motion(raw(jaw=ramp), CLOSURE, STILL, 100, 4.0).channel("jaw")
    b = shape_motion(raw(jaw=ramp), CLOSURE, early, 100, 4.0).channel("jaw")
    np.testing.assert_allclose((b - a)[5:90], 0.01, atol=1e-5)


@pytest.mark.parametrize("offset", [-0.5, 0.5])
def test_align_offset_moves_the_lips_alone_and_freezes_nothing(offset):
    ramp = np.arange(102, dtype=np.float32) / 25 / 20
    moved = STILL.model_copy(update={"align_offset": offset})
    motion = shape_motion(raw(jaw=0.5, yaw=ramp, brow=ramp), CLOSURE, moved, 100, 4.0)
    still = shape_motion(raw(jaw=0.5, yaw=ramp, brow=ramp), CLOSURE, STILL, 100, 4.0)
    for name in ("yaw", "brow"):
        np.testing.assert_array_equal(motion.channel(name), still.channel(name))
        assert np.diff(motion.channel(name))[2:-2].min() > 0
    outside = motion.channel("jaw")[:12] if offset < 0 else motion.channel("jaw")[-12:]
    assert outside.max() == 0, "nothing is said outside the recording"


def test_scales_bite_where_they_should_and_nowhere_else():
    scaled = STILL.model_copy(update={"dynamic_scale": 2.0, "motion_scale": 0.0})
    source = raw(jaw=0.3, width=-0.2, brow=0.1, blink=0.2, yaw=0.1, tx=0.05, close=0.2)
    one = shape_motion(source, CLOSURE, STILL, 100, 4.0).frame(50)
    two = shape_motion(source, CLOSURE, scaled, 100, 4.0).frame(50)
    assert two["jaw"] == pytest.approx(2 * one["jaw"]) == pytest.approx(0.6)
    assert two["width"] == pytest.approx(-0.4) and two["brow"] == pytest.approx(0.2)
    assert two["blink"] == one["blink"] and two["close"] == one["close"]
    assert two["yaw"] == 0 and two["tx"] == 0 and one["yaw"] == pytest.approx(0.1)


def test_channels_stay_in_range():
    wild = STILL.model_copy(update={"dynamic_scale": 2.0, "motion_scale": 2.0})
    motion = shape_motion(raw(jaw=3, width=-3, blink=2, yaw=9), CLOSURE, wild, 100, 4.0)
    pose = motion.frame(50)
    assert (pose["jaw"], pose["width"], pose["blink"], pose["yaw"]) == pytest.approx((1.2, -1.2, 1, 0.4))


def test_the_mouth_rests_where_it_is_quiet_and_only_there():
    t = 0.015 + np.arange(102) / 25
    rests = np.clip(np.abs(t - 2) * 25 - 25, 0, 1)  # quiet but for 1..3 s, soft over a frame
    source = raw(jaw=0.5, closure=0.9, brow=0.2, quiet=rests)
    motion = shape_motion(source, CLOSURE, STILL, 100, 4.0)
    moments = np.arange(100) / 25
    inside, outside = np.abs(moments - 2) < 0.98, np.abs(moments - 2) > 1.06
    for name in ("jaw", "close"):
        assert motion.channel(name)[outside].max() == 0
    open_jaw = shape_motion(raw(jaw=0.5, quiet=rests), CLOSURE, STILL, 100, 4.0).channel("jaw")
    assert open_jaw[outside].max() == 0 and open_jaw[inside].min() == pytest.approx(0.5)
    between = open_jaw[~inside & ~outside]
    assert between.min() > 0 or between.max() < 0.5, "softly"
    assert motion.channel("brow").min() == pytest.approx(0.2), "the rest of the face does not"


def test_align_offset_moves_the_rests_with_the_lips():
    rests = np.zeros(102, np.float32)
    rests[50:] = 1
    early = STILL.model_copy(update={"align_offset": 0.2})
    still = shape_motion(raw(jaw=0.5, quiet=rests), CLOSURE, STILL, 100, 4.0).channel("jaw")
    moved = shape_motion(raw(jaw=0.5, quiet=rests), CLOSURE, early, 100, 4.0).channel("jaw")
    np.testing.assert_allclose(moved[:90], still[5:95], atol=1e-4)


def test_nothing_is_said_after_the_recording():
    jaw = shape_motion(raw(jaw=0.5), CLOSURE, STILL, 100, 3.0).channel("jaw")
    assert jaw[:75].min() > 0 and jaw[76:].max() == 0


def test_a_closure_shuts_the_lips_for_two_frames():
    p = np.zeros(102, np.float32)
    p[50] = 0.9  # one frame of the network
    motion = shape_motion(raw(jaw=0.6, closure=p), CLOSURE, STILL, 100, 4.0)
    jaw, close = motion.channel("jaw"), motion.channel("close")
    assert (jaw < 1e-6).sum() >= 2
    assert close[jaw.argmin()] == 1
    assert jaw[45] == pytest.approx(0.6) and jaw[56] == pytest.approx(0.6)


@pytest.mark.parametrize("fps", [10, 25, 30, 50, 60])
def test_a_closure_is_seen_at_every_frame_rate(fps):
    for peak in range(40, 60):
        p = np.zeros(102, np.float32)
        p[peak] = 0.9
        controls = STILL.model_copy(update={"fps": fps})
        jaw = shape_motion(raw(jaw=0.6, closure=p), CLOSURE, controls, 4 * fps, 4.0).channel("jaw")
        assert jaw.min() < 0.31 if fps == 10 else jaw.min() < 1e-6


def test_hysteresis():
    t = np.arange(100) / 25

    def shut(values):
        p = np.zeros(102, np.float32)
        p[40 : 40 + len(values)] = values
        return closures(p, raw(), CLOSURE, t)

    assert shut([0.45, 0.45]).max() == 0, "under enter: nothing"
    assert shut([0.35, 0.9, 0.35])[41] == 1
    long = shut([0.9] * 30)
    assert (long > 0).sum() <= CLOSURE.max_frames + 2, "no closure lasts longer than lips stay shut"


def test_smooth_takes_jitter_but_not_level():
    jitter = np.tile([0.4, 0.6], 51)[:102].astype(np.float32)
    rough = shape_motion(raw(width=jitter), CLOSURE, STILL, 100, 4.0).channel("width")
    soft = shape_motion(raw(width=jitter), CLOSURE, STILL.model_copy(update={"smooth": True}), 100, 4.0)
    assert np.ptp(soft.channel("width")[5:95]) < 0.1 * np.ptp(rough[5:95])
    assert soft.channel("width")[5:95].mean() == pytest.approx(0.5, abs=0.01)


def test_blinks_are_whole_or_not_at_all():
    blink = np.zeros(102, np.float32)
    blink[20:25] = (0.1, 0.3, 0.5, 0.3, 0.1)
    blink[60:63] = (0.08, 0.15, 0.08)
    lids = shape_motion(raw(blink=blink), CLOSURE, STILL, 100, 4.0).channel("blink")
    assert 0.75 < lids[15:30].max() <= 0.95, "the deepest moment may lie between two frames"
    assert lids[55:70].max() <= 0.15
    assert (lids[15:30] > 0.05).sum() <= 7, "no longer than it was"


def test_lips_that_lead_already_are_moved_by_the_rest():
    ramp = np.linspace(0, 1, 102)
    still = shape_motion(raw(jaw=ramp), CLOSURE, STILL, 100, 4.0).channel("jaw")
    ahead = replace(raw(jaw=ramp), lead_s=0.03)
    as_wanted = shape_motion(ahead, CLOSURE, STILL.model_copy(update={"align_offset": 0.03}), 100, 4.0)
    np.testing.assert_allclose(as_wanted.channel("jaw"), still, atol=1e-6)
    later = shape_motion(ahead, CLOSURE, STILL, 100, 4.0).channel("jaw")
    assert (still[10:90] - later[10:90]).min() > 0.5 * (ramp[1] - ramp[0])


# ---- motion that is still arriving ------------------------------------------------------------------------------


def live(motion, controls=STILL, piece=1):
    shaper = MotionShaper(CLOSURE, controls)
    pieces = [
        shaper.push(Motion(motion.channels, motion.values[i : i + piece], motion.fps, i / motion.fps + 0.015))
        for i in range(0, len(motion), piece)
    ]
    return Motion(pieces[0].channels, np.concatenate([p.values for p in pieces]), motion.fps)


def test_live_frames_are_the_models_own():
    ramp = np.arange(102, dtype=np.float32) / 102
    shaped = live(raw(jaw=ramp))
    assert shaped.channels == tuple(CHANNELS)
    np.testing.assert_allclose(shaped.channel("jaw"), ramp, atol=1e-6)
    np.testing.assert_array_equal(live(raw(jaw=ramp), piece=7).values, shaped.values)


def test_live_no_frame_waits_for_the_next():
    a = raw(jaw=0.5, width=0.3, closure=0.2, blink=0.4)
    b = raw(jaw=0.5, width=0.3, closure=0.2, blink=0.4)
    b.values[60:] = 0.9
    controls = Controls(align_offset=0.2)
    np.testing.assert_array_equal(live(a, controls).values[:60], live(b, controls).values[:60])


def test_live_closures_are_held_and_end():
    probability = np.zeros(102, np.float32)
    probability[10] = 0.9  # one frame only: it must be seen
    probability[20:24] = 0.6, 0.4, 0.35, 0.1  # over leave it goes on
    probability[40:60] = 0.9  # a mouth does not hang shut
    probability[80:82] = 0.45  # never over enter
    shut = live(raw(jaw=0.5, closure=probability)).channel("close")
    assert list(np.flatnonzero(shut[:35])) == [10, 11, 20, 21, 22]
    assert shut[40:60].sum() == round(MOST_SHUT_S * 25) and shut[75:].sum() == 0
    np.testing.assert_allclose(live(raw(jaw=0.5, closure=probability)).channel("jaw"), 0.5 * (1 - shut))


def test_live_silence_rests_the_lips_and_controls_scale():
    assert live(raw(jaw=0.5, quiet=1, closure=0.9)).channel("jaw").max() == 0
    assert live(raw(jaw=0.5, quiet=1, closure=0.9)).channel("close").max() == 0
    scaled = live(raw(jaw=0.5, yaw=0.1, brow=0.2), Controls(dynamic_scale=2, motion_scale=0, smooth=False))
    assert scaled.channel("jaw")[0] == np.float32(1.0) and scaled.channel("yaw").max() == 0
    assert scaled.channel("brow")[0] == np.float32(0.4)


def test_live_smoothing_looks_back_only_and_leaves_closures_sharp():
    step = np.repeat([0, 1], [51, 51]).astype(np.float32)
    shaped = live(raw(width=step, closure=step), Controls(dynamic_scale=1.0, smooth=True))
    assert shaped.channel("width")[50] == 0 and 0.6 < shaped.channel("width")[51] < 0.8
    assert shaped.channel("width")[56] > 0.99
    assert shaped.channel("close")[51] == 1


def test_live_a_sampled_blink_goes_all_the_way():
    blink = np.zeros(102, np.float32)
    blink[50:55] = 0.2, 0.5, 0.62, 0.5, 0.2
    assert live(raw(blink=blink)).channel("blink").max() >= 0.95
    assert live(raw(blink=0.05)).channel("blink").max() < 0.06
