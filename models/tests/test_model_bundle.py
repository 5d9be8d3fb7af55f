"""The committed bundle is what its bundle.yaml says, and it reacts to sound."""

import hashlib
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import yaml

from models import BUNDLE
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.mel import MelSettings, normalise, speech_mean

DESCRIBED: Dict[str, Any] = yaml.safe_load((BUNDLE / "bundle.yaml").read_text("utf8"))


@pytest.mark.parametrize("stage", list(DESCRIBED["stages"]))
def test_hashes_match(stage: str) -> None:
    for entry in DESCRIBED["stages"][stage]["files"].values():
        assert hashlib.sha256((BUNDLE / entry["path"]).read_bytes()).hexdigest() == entry["sha256"], entry["path"]


def test_the_bundle_is_small() -> None:
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < 12e6


def test_mel_settings_are_the_front_ends() -> None:
    mel = dict(DESCRIBED["mel"], clip=tuple(DESCRIBED["mel"]["clip"]))
    assert MelSettings(**mel) == MelSettings()


def test_life_channels_have_statistics() -> None:
    life = DESCRIBED["life"]
    assert len(life["mean"]) == len(life["std"]) == len(life["channels"])
    assert min(life["std"]) > 0


def run(stage: str, feeds: "Dict[str, np.ndarray]") -> "Dict[str, np.ndarray]":
    session = CpuBackend(1).open(Bundle(BUNDLE).stage(stage, "cpu"))
    outputs = session.run(feeds)
    session.close()
    return outputs


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


def test_lips_open_for_a_and_shut_for_p_and_m() -> None:
    """Says "papa and mama" in one of flite's voices: the mel, and when each phoneme is spoken."""
    with np.load(Path(__file__).parent / "data" / "papa_and_mama.npz") as spoken:
        mel = spoken["mel"].astype(np.float32)[:, :160]
        phonemes = list(zip(spoken["symbols"].tolist(), spoken["starts"].tolist(), spoken["ends"].tolist()))
    settings, window = MelSettings(), DESCRIBED["window"]
    feeds = zeros("encoder")
    feeds["audio_input"][0, 0, :, : mel.shape[1]] = normalise(mel, speech_mean(mel, settings), settings)
    outputs = run("encoder", feeds)
    jaw, closure = outputs["lips"][0, 0], outputs["closure"][0, 0]
    time = np.arange(window["frames"]) / window["fps"] + window["offset_s"]
    heard = []
    for symbol, start, end in phonemes:
        during = (time >= start - 0.03) & (time <= end + 0.03)
        if symbol in "ɑ" and during.sum() > 3:
            assert jaw[during].max() > 0.35, (symbol, start)
        elif symbol in "pm":
            heard.append(closure[during].max() > DESCRIBED["closure"]["enter"])
            assert jaw[during].min() < 0.15, (symbol, start)
    assert len(heard) >= 4 and sum(heard) >= len(heard) - 1  # one in ten is missed
    assert jaw[:2].mean() < 0.15  # silence before


def test_a_bright_picture_and_a_dark_one_read_the_same_face() -> None:
    feeds = zeros("encoder")
    picture = np.random.default_rng(0).uniform(0.2, 0.6, feeds["image_input"].shape).astype(np.float32)
    faces = [run("encoder", {**feeds, "image_input": picture + lift})["face"] for lift in (0.0, 0.3)]
    assert np.abs(faces[0] - faces[1]).max() < 0.05
    assert np.abs(faces[0] - run("encoder", feeds)["face"]).max() > 1e-3  # and it is looked at


def test_lips_rest_in_silence_whoever_is_seen() -> None:
    low = MelSettings().clip[0] / MelSettings().scale
    feeds = zeros("encoder")
    feeds["audio_input"][:] = low
    rng = np.random.default_rng(1)
    for picture in (0.5, rng.uniform(0, 1, feeds["image_input"].shape).astype(np.float32)):
        feeds["image_input"][:] = picture
        outputs = run("encoder", feeds)
        assert np.abs(outputs["lips"]).max() < 0.03
        assert outputs["closure"].max() < DESCRIBED["closure"]["enter"]


def test_what_is_read_of_a_face_bounds_what_it_does_to_the_lips() -> None:
    """For any picture, an opening stays within 15 % of that of a typical face."""
    with np.load(Path(__file__).parent / "data" / "papa_and_mama.npz") as spoken:
        mel = spoken["mel"].astype(np.float32)[:, :160]
    settings = MelSettings()
    feeds = zeros("encoder")
    feeds["audio_input"][0, 0, :, : mel.shape[1]] = normalise(mel, speech_mean(mel, settings), settings)
    jaws = []
    for seed in range(6):
        feeds["image_input"][:] = np.random.default_rng(seed).uniform(0, 1, (1, 3, 7, 7)).repeat(32, 2).repeat(32, 3)
        jaws.append(run("encoder", feeds)["lips"][0, 0])
    spread = np.max(jaws, axis=0) / np.maximum(np.min(jaws, axis=0), 0.02)
    assert spread[np.max(jaws, axis=0) > 0.1].max() < 1.15 / 0.85 + 0.05
