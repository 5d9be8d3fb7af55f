from types import SimpleNamespace

import numpy as np
import pytest

from sonic_edge.config import Controls, LabelSettings
from sonic_edge.engine.label import Label
from sonic_edge.engine.mirror import MAX_DELAY_S, Mirror
from sonic_edge.engine.motion.idle import LENGTH_S, idle_motion
from sonic_edge.engine.motion.network import face_image
from sonic_edge.engine.motion.shape import MotionShaper, shape_motion
from sonic_edge.engine.motion.streaming import streamed_motion
from sonic_edge.engine.speech import sound
from sonic_edge.media import CHANNELS, SoundBlock

RATE = 16000


@pytest.fixture(scope="module")
def voice(sample):
    at_48k = np.concatenate(list(sound(sample.path)), axis=1)[0]
    return at_48k[: len(at_48k) // 3 * 3].reshape(-1, 3).mean(axis=1).astype(np.float32)


@pytest.fixture
def mirror(performer, portrait):
    height, width = portrait.image.shape[:2]
    return Mirror(performer, portrait, Label(width, height, LabelSettings()), Controls(inference_steps=4))


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The mirror's clock: it advances a little at each reading, however slow the machine is."""
    made = SimpleNamespace(now=1000.0)

    def monotonic():
        made.now += 1e-4
        return made.now

    made.monotonic = monotonic
    monkeypatch.setattr("sonic_edge.engine.mirror.time", made)
    return made


def speak(mirror, clock, samples, piece=160):
    """All cues; the sound comes as if in real time."""
    cues, begin = [], clock.now
    for i in range(0, len(samples) - piece + 1, piece):
        at_s = begin + (i + piece) / RATE
        clock.now = at_s + 0.005
        cues += mirror.hear(SoundBlock(samples[i : i + piece], i, at_s))
    return cues


def test_cues_come_at_the_models_rate_and_know_their_moment(mirror, clock, voice):
    cues = speak(mirror, clock, voice[: 4 * RATE])
    assert len(cues) == pytest.approx(4 * 25, abs=4)
    # each cue's moment, on the clock of the sound: 40 ms apart, whatever time it took to make them
    assert np.allclose(np.diff([cue.at_s for cue in cues]), 0.04, atol=1e-6)
    for cue in cues:
        assert 0.09 < mirror.look_ahead_s < 0.12
        assert cue.needed_s - cue.at_s == pytest.approx(mirror.look_ahead_s, abs=1e-6)
        assert cue.heard_s <= cue.made_s
        assert set(cue.pose) == set(CHANNELS)


@pytest.mark.parametrize("piece", [80, 160, 1600, 333])
def test_the_size_of_the_pieces_changes_nothing(performer, portrait, clock, voice, piece):
    height, width = portrait.image.shape[:2]
    label = Label(width, height, LabelSettings())

    def poses(piece):
        mirror = Mirror(performer, portrait, label, Controls(inference_steps=2))
        return np.array([list(cue.pose.values()) for cue in speak(mirror, clock, voice[: 2 * RATE], piece)])

    a, b = poses(480), poses(piece)
    n = min(len(a), len(b))
    assert n > 40 and np.allclose(a[:n], b[:n], atol=1e-4)


def test_a_voice_opens_the_mouth_and_silence_and_noise_shut_it(mirror, clock, voice):
    rng = np.random.default_rng(0)
    quiet = (rng.standard_normal(3 * RATE) * 1e-4).astype(np.float32)
    noise = (rng.standard_normal(4 * RATE) * 5e-3).astype(np.float32)
    cues = speak(mirror, clock, np.concatenate([quiet, voice[: 4 * RATE], quiet, noise]))
    jaw = np.array([cue.pose["jaw"] for cue in cues])
    assert jaw[10:70].max() < 0.01, "in silence"
    assert np.quantile(jaw[80:170], 0.95) > 0.2, "in speech"
    assert jaw[200:245].max() < 0.01, "in silence after speech"
    assert np.mean(jaw[270:] < 0.02) > 0.97, "in noise, after a moment"


def test_shaping_in_pieces_equals_shaping_the_whole(sonic_net, portrait, sample):
    controls = Controls(inference_steps=4)
    face = face_image(portrait, sonic_net.bundle)
    raw = streamed_motion(sonic_net, sample, face, controls.inference_steps, controls.seed)
    shaper = MotionShaper(sonic_net.bundle.spec.closure, controls)
    live = shaper.push(raw)
    whole = shape_motion(raw, sonic_net.bundle.spec.closure, controls, len(raw) - 2, sample.duration_s)
    moments = raw.start_s + np.arange(len(raw)) / raw.fps
    least = {"jaw": 0.94, "width": 0.95, "round": 0.95, "close": 0.75, "blink": 0.9, "yaw": 0.95}
    for name, agreement in least.items():
        other = np.interp(moments, np.arange(len(whole)) / whole.fps, whole.channel(name))
        assert np.corrcoef(other, live.channel(name))[0, 1] > agreement, name
    low, high = np.array(list(CHANNELS.values()), np.float32).T
    assert np.all(live.values >= low) and np.all(live.values <= high)


def test_sound_that_comes_too_late_is_left_out_and_counted(mirror, clock, voice):
    now = clock.now
    assert mirror.hear(SoundBlock(voice[:RATE], 0, now - MAX_DELAY_S - 0.1)) == []
    assert mirror.n_skipped_s == 1.0
    cues = mirror.hear(SoundBlock(voice[:RATE], RATE, now))
    assert len(cues) > 15
    assert max(abs(cue.at_s - now) for cue in cues) < 1.2, "what comes after is in its own time"


def test_every_picture_is_labelled(mirror, portrait):
    height, width = portrait.image.shape[:2]
    label = Label(width, height, LabelSettings())
    image = mirror.draw({"jaw": 0.5, "yaw": 0.1})
    assert label.is_on(image)
    assert not label.is_on(portrait.image)


def test_the_idle_scene_is_alive_shut_and_ends_where_it_begins(sonic_net, portrait):
    controls = Controls(inference_steps=4)
    motion = idle_motion(sonic_net, face_image(portrait, sonic_net.bundle), controls, lambda done, total: None)
    assert len(motion) == LENGTH_S * controls.fps
    assert np.all(motion.channel("jaw") < 0.01) and np.all(np.abs(motion.channel("width")) < 0.02)
    assert motion.channel("blink").max() > 0.9, "it blinks"
    assert np.ptp(motion.channel("yaw")) > 0.01, "it looks about"
    step = np.abs(np.diff(motion.values, axis=0))
    seam = np.abs(motion.values[0] - motion.values[-1])
    slow = [motion.channels.index(name) for name in ("yaw", "pitch", "roll", "tx", "ty", "brow")]
    assert np.all(seam[slow] <= step[:, slow].max(axis=0) + 1e-4)
