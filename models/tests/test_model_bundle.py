"""The committed bundle is what its bundle.yaml says, and it hears."""

import hashlib
from typing import Any, Dict

import numpy as np
import pytest
import yaml

from models import BUNDLE
from sonic_edge.mel import MelSettings, log_mel, normalise, speech_mean

DESCRIBED: Dict[str, Any] = yaml.safe_load((BUNDLE / "bundle.yaml").read_text("utf8"))


@pytest.mark.parametrize("stage", list(DESCRIBED["stages"]))
def test_hashes_match(stage: str) -> None:
    for entry in DESCRIBED["stages"][stage]["files"].values():
        assert hashlib.sha256((BUNDLE / entry["path"]).read_bytes()).hexdigest() == entry["sha256"], entry["path"]


def test_the_bundle_is_small() -> None:
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < 6e6


def test_mel_settings_are_the_front_ends() -> None:
    mel = dict(DESCRIBED["mel"], clip=tuple(DESCRIBED["mel"]["clip"]))
    assert MelSettings(**mel) == MelSettings()


def test_life_channels_have_statistics() -> None:
    life = DESCRIBED["life"]
    assert len(life["mean"]) == len(life["std"]) == len(life["channels"])
    assert min(life["std"]) > 0


def run(stage: str, feeds: "Dict[str, np.ndarray]") -> "Dict[str, np.ndarray]":
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(
        str(BUNDLE / DESCRIBED["stages"][stage]["files"]["cpu"]["path"]), providers=["CPUExecutionProvider"]
    )
    names = list(DESCRIBED["stages"][stage]["outputs"])
    return dict(zip(names, session.run(names, feeds)))


def zeros(stage: str) -> "Dict[str, np.ndarray]":
    inputs = DESCRIBED["stages"][stage]["inputs"]
    return {name: np.zeros(spec["shape"], spec["dtype"]) for name, spec in inputs.items()}


@pytest.mark.parametrize("stage", list(DESCRIBED["stages"]))
def test_graphs_take_and_give_the_declared_shapes(stage: str) -> None:
    outputs = run(stage, zeros(stage))
    for name, spec in DESCRIBED["stages"][stage]["outputs"].items():
        assert list(outputs[name].shape) == spec["shape"], name
        assert outputs[name].dtype == spec["dtype"], name
        assert np.isfinite(outputs[name]).all(), name


def formants(hz: "tuple[float, ...]", seconds: float, gain: float = 1.0) -> np.ndarray:
    """A voiced sound: a 120 Hz pulse train through resonances."""
    rate = 16000
    t = np.arange(round(seconds * rate)) / rate
    spectrum = np.fft.rfft((np.arange(len(t)) % (rate // 120) == 0).astype(float))
    f = np.fft.rfftfreq(len(t), 1 / rate)
    shape = sum(1 / (1 + ((f - centre) / (40 + 0.05 * centre)) ** 2) for centre in hz) / (1 + f / 800)
    sound = np.fft.irfft(spectrum * shape, len(t))
    return (gain * 0.1 * sound / sound.std()).astype(np.float32)


def test_silence_rests_and_an_open_vowel_opens() -> None:
    settings = MelSettings()
    hush = 1e-4 * np.random.default_rng(0).standard_normal(6400).astype(np.float32)
    mel = log_mel(np.concatenate([hush, formants((750, 1200, 2500), 0.8), hush]), settings)
    feeds = zeros("encoder")
    feeds["audio_input"] = normalise(mel, speech_mean(mel, settings), settings)[None, None, :, :160].astype(np.float32)
    jaw = run("encoder", feeds)["lips"][0, 0]
    assert jaw[14:26].mean() > jaw[:6].mean() + 0.2
    assert jaw[:6].mean() < 0.15


def test_a_bright_picture_and_a_dark_one_read_the_same_face() -> None:
    feeds = zeros("encoder")
    picture = np.random.default_rng(0).uniform(0.2, 0.6, feeds["image_input"].shape).astype(np.float32)
    faces = [run("encoder", {**feeds, "image_input": picture + lift})["face"] for lift in (0.0, 0.3)]
    assert np.abs(faces[0] - faces[1]).max() < 0.05
    assert np.abs(faces[0] - run("encoder", feeds)["face"]).max() > 1e-3  # and it is looked at
