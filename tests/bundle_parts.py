"""Bundles to try things on: one whose files are no graphs, and the shipped one by another name."""

import copy
import hashlib
import shutil

import yaml

from sonic_edge.config import share_dir

T = 40


def tensor(*shape):
    return {"shape": list(shape), "dtype": "float32"}


SPEC = {
    "format": 1,
    "name": "test-net",
    "version": "0",
    "licence": "Apache-2.0",
    "kind": "motion",
    "mel": {
        "sample_rate": 16000,
        "n_fft": 400,
        "hop": 160,
        "n_mels": 80,
        "fmin": 0.0,
        "fmax": 8000.0,
        "floor": 1e-10,
        "speech_db": 30.0,
        "clip": [-3.5, 2.5],
        "scale": 0.8,
    },
    "face": {"size": 224, "eye_left": [0.34, 0.4], "eye_right": [0.66, 0.4]},
    "window": {"mel_frames": 160, "frames": T, "stride": 24, "fps": 25.0, "offset_s": 0.015},
    "stream": {"look_ahead_frames": 2, "prior": [-5.0] * 80},
    "lips": {"channels": ["jaw", "width"]},
    "closure": {"enter": 0.5, "leave": 0.3, "max_frames": 5},
    "life": {"channels": ["blink", "yaw"], "mean": [0.1, 0.0], "std": [0.3, 0.05]},
    "tensors": {
        "speech": "audio_input",
        "face": "image_input",
        "lips": "lips",
        "closure": "closure",
        "condition": "condition",
        "noisy": "noisy_motion",
        "past": "past_motion",
        "step": "step",
        "velocity": "velocity",
    },
    "stages": {
        "encoder": {
            "inputs": {"audio_input": tensor(1, 1, 80, 160), "image_input": tensor(1, 3, 224, 224)},
            "outputs": {"lips": tensor(1, 2, T), "closure": tensor(1, 1, T), "condition": tensor(1, 8, T)},
            "files": {"cpu": {"path": "encoder.onnx", "sha256": hashlib.sha256(b"encoder").hexdigest()}},
        },
        "denoiser": {
            "inputs": {
                "condition": tensor(1, 8, T),
                "noisy_motion": tensor(1, 2, T),
                "past_motion": tensor(1, 3, T),
                "step": tensor(1, 1),
            },
            "outputs": {"velocity": tensor(1, 2, T)},
            "files": {"cpu": {"path": "denoiser.onnx", "sha256": hashlib.sha256(b"denoiser").hexdigest()}},
        },
    },
}


def write_bundle(folder, change=None):
    """A bundle whose files are not graphs; `change` edits its bundle.yaml first."""
    spec = copy.deepcopy(SPEC)
    if change:
        change(spec)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    (folder / "encoder.onnx").write_bytes(b"encoder")
    (folder / "denoiser.onnx").write_bytes(b"denoiser")
    return folder


def own_bundle(folder, name="my-net", version="1.0"):
    """A copy of the shipped one that runs, by another name."""
    shutil.copytree(share_dir() / "bundles" / "sonic-net", folder)
    spec = yaml.safe_load((folder / "bundle.yaml").read_text(encoding="utf-8"))
    spec.update(name=name, version=version, licence="for us alone")
    (folder / "bundle.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return folder
