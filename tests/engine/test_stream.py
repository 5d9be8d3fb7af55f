"""SonicNet on sound that is still arriving: with graphs whose right answers are known, and with the shipped model."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from bundle_parts import write_bundle
from test_sonic import FACE, Denoiser, Encoder, wave

from sonic_edge.engine.motion.network import SonicNet
from sonic_edge.engine.motion.streaming import SonicStream, streamed_motion
from sonic_edge.media import CLOSURE, QUIET
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.mel import SpeechTracker, log_mel, normalise

LIPS = ("jaw", "width", "round", "close", "tuck", CLOSURE)
SILENCE = -10.0


@pytest.fixture
def stub(tmp_path):
    """The doubles behind a bundle of theirs."""
    encoder, denoiser = Encoder(), Denoiser()
    net = SonicNet(Bundle(write_bundle(tmp_path)), encoder, denoiser)
    return net, encoder, denoiser


@pytest.fixture(scope="module")
def mel(sample):
    return sample.mel.astype(np.float32)


def whole(net, mel, steps=1, seed=0):
    stream = SonicStream(net, FACE, steps, seed)
    return joined([stream.push(mel), stream.finish()])


def joined(pieces):
    """[n_frames, n_channels] of all pieces, each of which must go on where the one before ended."""
    n_frames = 0
    for piece in pieces:
        assert piece.start_s == pytest.approx(n_frames / piece.fps + 0.015)
        n_frames += len(piece)
    return np.concatenate([piece.values for piece in pieces])


def column(net, values, name):
    return values[:, net.channels.index(name)]


def r(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def test_a_frame_comes_when_its_look_ahead_is_there(stub):
    net, _, _ = stub
    stream = SonicStream(net, FACE, 1, 0)
    heard = wave(3).mel.astype(np.float32)
    n_frames = 0
    for n in range(1, heard.shape[1] + 1):
        n_frames += len(stream.push(heard[:, n - 1 : n]))
        assert n_frames == max(0, n // 4 - 2), "80 ms after its own mel is complete"
    assert n_frames + len(stream.finish()) == -(-heard.shape[1] // 4) + 2


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_each_frame_is_of_its_own_moment(tmp_path, ahead):
    bundle = Bundle(write_bundle(tmp_path, lambda spec: spec["stream"].update(look_ahead_frames=ahead)))
    encoder = Encoder()
    net = SonicNet(bundle, encoder, Denoiser())
    heard = wave(6).mel.astype(np.float32)[:, :600]
    moving = streamed_motion(net, replace(wave(6), mel=heard), FACE, 1, 0)
    assert moving.start_s == 0.015 and moving.fps == 25 and moving.channels == net.channels
    assert len(moving) == 152
    assert len(encoder.faces) == 153, "a window for each frame, and the one before the first for its life"

    tracker, means = SpeechTracker(bundle.mel, np.full(80, -5, np.float32)), []
    for i in range(150):
        tracker.push(heard[:, 4 * i : 4 * i + 4])
        means.append(tracker.mean)

    def said(frame, known):  # the double's answer for a frame when this many are heard
        return normalise(heard[:, 4 * frame : 4 * frame + 4], means[known - 1], bundle.mel).mean()

    frames = range(150 - 2 * ahead)
    lips = [said(j, j + 1 + ahead) for j in frames]
    lag, at_rest = 10 - ahead, bundle.mel.clip[0] / bundle.mel.scale
    # life is of a lag ago, as it was known when its ten frames were made; before the sound there was silence
    life = [said(j - lag, j // 10 * 10 + ahead) if j >= lag else at_rest for j in frames]
    np.testing.assert_allclose(moving.channel("jaw")[: len(frames)], lips, atol=1e-4)
    np.testing.assert_allclose(moving.channel("yaw")[: len(frames)] / 0.05, life, atol=1e-4)


def test_life_is_sampled_ten_frames_at_a_time_going_on_from_the_rest(stub):
    net, _, denoiser = stub
    moving = streamed_motion(net, wave(4), FACE, 3, 0)
    assert len(denoiser.calls) == 3 * -(-(len(moving) + 1) // 10)
    made = []
    for call, after in zip(denoiser.calls[::3], denoiser.calls[3::3]):
        known = call["past_motion"][0, -1]
        assert known.tolist() == [1.0] * 30 + [0.0] * 10
        last = after["past_motion"][0, :2]
        np.testing.assert_allclose(last[:, :20], call["past_motion"][0, :2, 10:30], atol=1e-5)
        made.append(last[:, 20:30])
    rest = (0 - np.array([0.1, 0.0])) / np.array([0.3, 0.05])
    np.testing.assert_allclose(denoiser.calls[0]["past_motion"][0, :2, :30], np.repeat(rest[:, None], 30, 1), atol=1e-5)
    made = np.concatenate(made, axis=1)
    given = np.stack([column(net, moving.values, name) for name in ("blink", "yaw")])
    units = made * np.array([[0.3], [0.05]]) + np.array([[0.1], [0.0]])
    n = min(units.shape[1], given.shape[1])
    np.testing.assert_allclose(given[:, :n], units[:, :n], atol=1e-5)


@pytest.mark.parametrize("ahead, lag_s", [(1, 0.36), (2, 0.32), (10, 0), (13, 0)])
def test_the_lag_of_life_is_reported(tmp_path, ahead, lag_s):
    bundle = Bundle(write_bundle(tmp_path, lambda spec: spec["stream"].update(look_ahead_frames=ahead)))
    assert SonicStream(SonicNet(bundle, Encoder(), Denoiser()), FACE, 1, 0).life_lag_s == pytest.approx(lag_s)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 50, 401])
def test_pieces_of_any_size_give_the_same(sonic_net, mel, size):
    heard = mel[:, 100:503]
    expected = whole(sonic_net, heard, steps=2)
    stream = SonicStream(sonic_net, FACE, 2, 0)
    pieces = [stream.push(heard[:, i : i + size]) for i in range(0, heard.shape[1], size)]
    np.testing.assert_array_equal(joined([*pieces, stream.finish()]), expected)


def test_the_seed_decides(sonic_net, mel):
    one, again, other = (whole(sonic_net, mel[:, :300], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    life = [sonic_net.channels.index(name) for name in sonic_net.bundle.spec.life.channels]
    np.testing.assert_array_equal(np.delete(one, life, 1), np.delete(other, life, 1))
    assert np.abs(one[:, life] - other[:, life]).max() > 0.05


def test_lips_are_close_to_those_of_the_whole_recording(sonic_net, sample):
    offline = sonic_net.motion(sample, FACE, 1, 0, lambda done, total: None)
    stream = streamed_motion(sonic_net, sample, FACE, 1, 0)
    assert len(stream) == len(offline) and stream.start_s == offline.start_s
    for name in LIPS:
        assert r(offline.channel(name), stream.channel(name)) > 0.85, name
    assert r(offline.channel("jaw"), stream.channel("jaw")) > 0.92
    assert np.abs(offline.channel(QUIET) - stream.channel(QUIET)).mean() < 0.1


def test_sound_beyond_the_look_ahead_changes_nothing(sonic_net, mel):
    heard, other = mel[:, :600].copy(), mel[:, :600].copy()
    n_frames = 80
    other[:, 4 * (n_frames + 2) :] = SILENCE
    a, b = whole(sonic_net, heard), whole(sonic_net, other)
    np.testing.assert_array_equal(a[:n_frames], b[:n_frames])
    assert (a[n_frames, :6] != b[n_frames, :6]).any(), "and what comes within it is heard"


def test_before_anybody_speaks_the_mouth_rests(sonic_net):
    values = whole(sonic_net, np.full((80, 1000), SILENCE, np.float32))
    assert column(sonic_net, values, QUIET).min() == 1
    assert column(sonic_net, values, "jaw").max() < 0.15 and column(sonic_net, values, CLOSURE).max() < 0.1


def test_rest_comes_softly_and_only_when_a_pause_has_lasted(stub):
    net, _, _ = stub
    heard = np.full((80, 900), -8, np.float32)
    for a, b in ((200, 400), (410, 600)):
        heard[:, a:b] = -1
    rests = column(net, whole(net, heard), QUIET)
    t = 0.015 + np.arange(len(rests)) / 25
    assert rests[t < 1.9].min() == 1 and rests[t > 6.3].min() == 1
    assert rests[(t > 2.05) & (t < 6)].max() == 0, "0.1 s of silence at 4 s is none"
    assert np.abs(np.diff(rests)).max() <= 0.5 + 1e-6


def test_a_long_silence_leaves_no_trace(sonic_net, mel):
    words = mel[:, :800]
    values = whole(sonic_net, np.concatenate([words, np.full((80, 3000), SILENCE, np.float32), words], axis=1), steps=4)
    assert np.isfinite(values).all()
    still = values[250:930]
    assert column(sonic_net, still, QUIET).min() == 1
    assert np.ptp(still[40:, : len(LIPS)], axis=0).max() < 1e-6
    before, after = values[:200], values[950:1150]
    for name in LIPS:
        assert np.abs(column(sonic_net, before, name) - column(sonic_net, after, name)).mean() < 0.05, name
    assert r(column(sonic_net, before, "jaw"), column(sonic_net, after, "jaw")) > 0.97
    life = sonic_net.bundle.spec.life
    for name, mean, std in zip(life.channels, life.mean, life.std):
        assert np.abs(column(sonic_net, values, name) - mean).max() < 12 * std, name


@pytest.mark.parametrize("jump", [-2.0, 2.0])  # 20 dB
def test_a_jump_of_level_is_heard_through(sonic_net, mel, jump):
    other = mel.copy()
    other[:, 600:] += jump
    same, jumped = (column(sonic_net, whole(sonic_net, np.maximum(m, SILENCE)), "jaw") for m in (mel, other))
    assert np.isfinite(jumped).all()
    assert np.abs(same - jumped)[150:].mean() < 0.1
    assert r(same[175:], jumped[175:]) > 0.85, "a second after it the lips are those of before"
    assert r(same[225:], jumped[225:]) > 0.9


def test_a_noisy_room_is_not_speech(sonic_net):
    noise = np.random.default_rng(0).standard_normal(16000 * 20).astype(np.float32) * np.float32(0.01)
    values = whole(sonic_net, log_mel(noise, sonic_net.bundle.mel))
    assert column(sonic_net, values, QUIET).min() == 1


def test_life_has_no_steps_where_its_pieces_meet(sonic_net, mel):
    values = whole(sonic_net, mel, steps=10)
    spec = sonic_net.bundle.spec.life
    for name, std in zip(spec.channels, spec.std):
        if name in ("blink", "gaze_x", "gaze_y"):
            continue  # quick by nature
        steps = np.abs(np.diff(column(sonic_net, values, name)))
        assert steps[9::10].mean() < 2 * steps.mean() + 1e-3, name  # frames 10 i to 10 i + 9 are made at once
        assert steps.max() < 2 * std, name


def test_memory_does_not_grow(stub):
    net, encoder, denoiser = stub
    stream = SonicStream(net, FACE, 1, 0)
    heard = wave(10).mel.astype(np.float32)[:, :1000]

    def grown_by(seconds):
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(seconds // 10):
            stream.push(heard)
            encoder.faces.clear(), denoiser.calls.clear()
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        grown_by(20)
        assert grown_by(40) < 20_000, "bytes"
    finally:
        tracemalloc.stop()
