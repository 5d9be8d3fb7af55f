"""SonicNet over a recording, with graphs whose right answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from bundle_parts import write_bundle

from sonic_edge.engine.motion.network import SonicNet, face_image
from sonic_edge.media import CLOSURE, QUIET, TONGUE, Portrait, Speech
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.mel import speech_mean


class Encoder:
    """Says back, as jaw, the mean of the four mel frames it hears at each motion frame."""

    def __init__(self):
        self.faces = []

    def run(self, inputs):
        self.faces.append(inputs["image_input"])
        heard = inputs["audio_input"][0, 0].mean(0).reshape(40, 4).mean(1)
        lips = np.stack([heard, 2 * heard])[None].astype(np.float32)
        condition = np.zeros((1, 8, 40), np.float32)
        condition[0, 0] = heard
        visemes = np.repeat(np.array([0.1, 0.2, 0.3, 0.4], np.float32)[None, :, None], 40, 2)
        closure = np.full((1, 1, 40), 0.25, np.float32)
        return {"lips": lips, "closure": closure, "condition": condition, "visemes": visemes}

    def close(self):
        pass


class Denoiser:
    """Flows straight to a target: the condition's first row in both channels (in normalised units)."""

    def __init__(self):
        self.calls = []

    def run(self, inputs):
        self.calls.append({k: v.copy() for k, v in inputs.items()})
        target = np.repeat(inputs["condition"][:, :1], 2, 1)
        t = inputs["step"][0, 0]
        return {"velocity": (target - inputs["noisy_motion"]) / max(1 - t, 1e-6)}

    def close(self):
        pass


@pytest.fixture
def bundle(tmp_path):
    return Bundle(write_bundle(tmp_path))


@pytest.fixture
def portrait():
    image = np.zeros((256, 200, 3), np.uint8)
    marks = np.full((468, 3), 100, np.float32)
    for ids, (x, y) in (((33, 133), (70, 110)), ((362, 263), (130, 110))):
        marks[list(ids), :2] = (x, y)
    image[105:116, 65:76] = (0, 0, 255)  # red: the eye on the left of the picture
    image[105:116, 125:136] = (255, 0, 0)
    return Portrait(image, marks)


def wave(seconds):
    """A mel that rises and falls with time, the same in all bands; and its normalised value at a moment."""
    t = np.arange(int(seconds * 100) + 1) / 100
    mel = np.tile(-1 + 0.8 * np.sin(2 * np.pi * 0.7 * t), (80, 1)).astype(np.float16)
    return Speech("x.wav", seconds, 16000, 1, mel)


FACE = np.full((1, 3, 224, 224), 0.5, np.float32)


def run(bundle, seconds, steps=4, seed=0):
    encoder, denoiser, reported = Encoder(), Denoiser(), []
    net = SonicNet(bundle, encoder, denoiser)
    motion = net.motion(wave(seconds), FACE, steps, seed, lambda done, total: reported.append((done, total)))
    return motion, encoder, denoiser, reported


@pytest.mark.parametrize("seconds", [0.3, 0.96, 1.0, 1.6, 4.0, 7.77])
def test_lips_fit_the_sound_at_every_length(bundle, seconds):
    motion, *_ = run(bundle, seconds)
    t = motion.start_s + np.arange(len(motion)) / motion.fps
    inside = t < seconds - 0.03
    mel = wave(seconds).mel.astype(np.float32)
    expected = np.interp(t, np.arange(mel.shape[1]) / 100, mel[0])
    jaw = motion.channel("jaw")
    # normalisation takes away a constant and divides by 0.8
    difference = jaw[inside] * 0.8 - expected[inside]
    assert np.ptp(difference) < 0.02
    assert t[-1] > seconds, "motion must reach the end of the recording"


def test_all_channels_are_there(bundle):
    motion, *_ = run(bundle, 2)
    assert motion.channels == ("jaw", "width", CLOSURE, "blink", "yaw", QUIET)
    np.testing.assert_allclose(motion.channel(CLOSURE), 0.25, atol=1e-5)
    np.testing.assert_allclose(motion.channel("width"), 2 * motion.channel("jaw"), atol=1e-5)


def test_the_tongue_is_the_visemes_that_show_it(tmp_path):
    def tells(spec):
        spec["lips"]["tongue"] = [1, 3]
        spec["tensors"]["visemes"] = "visemes"
        spec["stages"]["encoder"]["outputs"]["visemes"] = {"shape": [1, 4, 40], "dtype": "float32"}

    motion, *_ = run(Bundle(write_bundle(tmp_path, tells)), 2)
    assert motion.channels == ("jaw", "width", TONGUE, CLOSURE, "blink", "yaw", QUIET)
    np.testing.assert_allclose(motion.channel(TONGUE), 0.6, atol=1e-5)
    np.testing.assert_allclose(motion.channel(CLOSURE), 0.25, atol=1e-5)


def test_sampled_channels_arrive_in_their_own_units(bundle):
    motion, encoder, denoiser, _ = run(bundle, 3)
    # the flow ends at the condition: value x std + mean, and the condition is the heard sound
    heard = (motion.channel("yaw")[20:60] - 0.0) / 0.05
    np.testing.assert_allclose(heard, motion.channel("jaw")[20:60], atol=0.05)
    np.testing.assert_allclose((motion.channel("blink")[20:60] - 0.1) / 0.3, heard, atol=1e-4)


def test_each_window_goes_on_from_the_one_before(bundle):
    _, _, denoiser, _ = run(bundle, 4, steps=2)
    first, second = denoiser.calls[0], denoiser.calls[2]
    rest = (0 - np.array([0.1, 0.0])) / np.array([0.3, 0.05])
    np.testing.assert_allclose(first["past_motion"][0, :2, :16], np.repeat(rest[:, None], 16, 1), atol=1e-5)
    assert first["past_motion"][0, 2].tolist() == [1.0] * 16 + [0.0] * 24
    made = denoiser.calls[1]["noisy_motion"] + denoiser.run(denoiser.calls[1])["velocity"] / 2
    np.testing.assert_allclose(second["past_motion"][0, :2, :16], made[0, :, 24:], atol=1e-4)
    assert not second["past_motion"][0, :2, 16:].any()


def test_as_many_steps_as_asked_from_noise_to_motion(bundle):
    _, encoder, denoiser, reported = run(bundle, 1, steps=7)
    assert len(denoiser.calls) == 7 * len(encoder.faces)
    steps = [float(c["step"][0, 0]) for c in denoiser.calls[:7]]
    np.testing.assert_allclose(steps, np.arange(7) / 7, atol=1e-6)
    assert reported == [(i + 1, len(encoder.faces)) for i in range(len(encoder.faces))]


def test_the_seed_decides(bundle):
    def noise(seed):
        return run(bundle, 1, steps=1, seed=seed)[2].calls[0]["noisy_motion"][0, :, 16:]

    np.testing.assert_array_equal(noise(1), noise(1))
    assert np.abs(noise(1) - noise(2)).max() > 0.1


def test_the_face_is_aligned_by_its_eyes(bundle, portrait):
    face = face_image(portrait, bundle)
    assert face.shape == (1, 3, 224, 224) and face.dtype == np.float32 and face.max() <= 1
    y, left, right = round(0.4 * 224), round(0.34 * 224), round(0.66 * 224)
    assert face[0, :, y, left].tolist() == [1, 0, 0], "RGB: the red eye"
    assert face[0, :, y, right].tolist() == [0, 0, 1]


def test_a_large_tilted_face_is_aligned_too(bundle, portrait):
    big = np.kron(portrait.image, np.ones((8, 8, 1), np.uint8))
    marks = portrait.landmarks * 8
    turned = np.ascontiguousarray(big.transpose(1, 0, 2)[:, ::-1])  # a quarter turn clockwise
    points = marks.copy()
    points[:, 0], points[:, 1] = big.shape[0] - marks[:, 1], marks[:, 0]
    face = face_image(Portrait(turned, points), bundle)
    y, left = round(0.4 * 224), round(0.34 * 224)
    assert face[0, 0, y, left] > 0.95 and face[0, 2, y, left] < 0.05


def test_warm_up_runs_both_graphs(bundle):
    encoder, denoiser = Encoder(), Denoiser()
    SonicNet(bundle, encoder, denoiser).warm_up()
    assert len(encoder.faces) == 1 and len(denoiser.calls) == 1


class Renamed:
    """A session whose tensors have other names."""

    def __init__(self, session):
        self.session = session

    def run(self, inputs):
        made = self.session.run({name[: -len("_x")]: value for name, value in inputs.items()})
        return {f"{name}_x": value for name, value in made.items()}

    def close(self):
        pass


def test_quiet_is_that_of_the_whole_recording(bundle):
    speech = wave(4)
    mel = speech.mel.copy()
    mel[:, :100] = mel[:, 250:260].min(1)[:, None] - 5
    encoder, denoiser = Encoder(), Denoiser()
    net = SonicNet(bundle, encoder, denoiser)
    motion = net.motion(replace(speech, mel=mel), FACE, 1, 0, lambda done, total: None)
    t, rests = motion.start_s + np.arange(len(motion)) / motion.fps, motion.channel(QUIET)
    assert rests[t < 0.95].min() == 1 and rests[t > 1.05].max() == 0
    assert 0 < rests[(t > 0.95) & (t < 1.05)].mean() < 1


@pytest.mark.parametrize("n_cut", [1, 7, 13, 24, 37, 100])
def test_the_same_clip_cut_anywhere_gives_the_same_lips(sonic_net, sample, n_cut):
    """No seams: where the windows fall does not matter.

    The first 0.32 s (half an overlap) after the cut cannot depend on the sound before it and may differ. After them the
    mean that normalisation takes away is of other sound, up to 0.15 (log10 power) in a band here, and a window
    sees up to 1.6 s of other sound to either side; together, in the channels' own units, under 0.03 on average and 0.3
    at worst (0.1 for the jaw), of lips that move by 1.
    """
    cut = replace(sample, mel=sample.mel[:, 4 * n_cut :], duration_s=sample.duration_s - n_cut / 25)
    shift = speech_mean(cut.mel, sonic_net.bundle.mel) - speech_mean(sample.mel, sonic_net.bundle.mel)
    assert np.abs(shift).max() < 0.15
    whole, part = (sonic_net.motion(s, FACE, 1, 0, lambda done, total: None) for s in (sample, cut))
    n_frames = min(len(whole) - n_cut, len(part))
    for name in (*sonic_net.bundle.spec.lips.channels, CLOSURE):
        different = np.abs(whole.channel(name)[n_cut:][:n_frames] - part.channel(name)[:n_frames])[8:]
        assert different.mean() < 0.03 and different.max() < (0.1 if name == "jaw" else 0.3), name


def test_every_name_comes_from_the_bundle(tmp_path, bundle):
    def rename(spec):
        spec["tensors"] = {role: f"{name}_x" for role, name in spec["tensors"].items()}
        for stage in spec["stages"].values():
            for kind in ("inputs", "outputs"):
                stage[kind] = {f"{name}_x": tensor for name, tensor in stage[kind].items()}

    other = Bundle(write_bundle(tmp_path / "renamed", rename))
    net = SonicNet(other, Renamed(Encoder()), Renamed(Denoiser()))
    net.warm_up()
    motion = net.motion(wave(2), FACE, 2, 0, lambda done, total: None)
    same = SonicNet(bundle, Encoder(), Denoiser()).motion(wave(2), FACE, 2, 0, lambda done, total: None)
    np.testing.assert_array_equal(motion.values, same.values)
