"""Calibration data: real inputs of the graphs, in the form that the vendors' tools read."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import BUNDLE
from models.chip.calibration import KeepingSession, collect
from sonic_edge.config import LimitSettings, share_dir
from sonic_edge.engine.speech import read_speech
from sonic_edge.model.bundle import Bundle

SCRIPT = Path(__file__).parents[1] / "chip" / "calibration.py"
SAMPLES = share_dir() / "samples"


def made(out: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, str(SCRIPT), f"--bundle={BUNDLE}", f"--out={out}", "--samples=5", *more]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def files(folder: Path):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_folder_for_each_input_and_the_same_again(tmp_path):
    """With folders of recordings and photos; unusable files are reported and left out."""
    speech, photos = tmp_path / "speech", tmp_path / "photos"
    for folder, sample in ((speech, "speech.flac"), (photos, "portrait.jpg")):
        folder.mkdir()
        shutil.copy(SAMPLES / sample, folder)
        (folder / "notes.txt").write_text("not one of these")
        (folder / ".hidden").touch()
    done = made(tmp_path / "a", f"--speech={speech}", f"--portraits={photos}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("left out: notes.txt") == 2 and "hidden" not in done.stdout
    for name in ("encoder", "denoiser"):
        for tensor, shape in Bundle(BUNDLE).stage(name, "cpu").inputs.items():
            found = sorted((tmp_path / "a" / name / tensor).iterdir())
            assert [p.name for p in found] == [f"{i:04}.bin" for i in range(5)]
            arrays = [np.fromfile(p, np.float32) for p in found]
            assert all(a.size == np.prod(shape) and np.isfinite(a).all() for a in arrays)
            assert tensor == "image_input" or len({a.tobytes() for a in arrays}) > 1
    origin = json.loads((tmp_path / "a" / "calibration.json").read_text("utf8"))
    assert set(origin["sha256"]) == {"speech.flac", "portrait.jpg"}
    assert made(tmp_path / "b").returncode == 0  # the samples are the default
    assert made(tmp_path / "c", "--seed=1").returncode == 0
    assert files(tmp_path / "a") == files(tmp_path / "b") != files(tmp_path / "c")


@pytest.mark.parametrize(("option", "said"), [("--speech", "no recording"), ("--portraits", "no photo with a face")])
def test_nothing_usable_is_an_error(option, said, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    done = made(tmp_path / "out", f"{option}={tmp_path}")
    assert done.returncode == 1 and f"{said} in it can be used" in done.stderr and "Traceback" not in done.stderr


def test_a_short_recording_is_gone_through_until_there_is_enough():
    bundle = Bundle(BUNDLE)
    speech = read_speech(SAMPLES / "speech.flac", bundle.mel, LimitSettings())
    kept = collect(bundle, [speech], [np.zeros((1, 3, 224, 224), np.float32)], 40, 0)
    assert {name: len(calls) for name, calls in kept.items()} == {"encoder": 40, "denoiser": 40}
    windows = {call["audio_input"].tobytes() for call in kept["encoder"]}
    assert len(windows) > 35  # later walks see other windows
    steps = sorted(float(call["step"][0, 0]) for call in kept["denoiser"])
    assert steps[0] < 0.2 and steps[-1] > 0.8  # from all over the way


class Counting:
    def run(self, inputs):
        return {}

    def close(self):
        pass


def test_every_call_is_as_likely_to_be_kept():
    times = np.zeros(20)
    for seed in range(400):
        session = KeepingSession(Counting(), 5, seed)
        for i in range(20):
            session.run({"x": np.array([i], np.float32)})
        assert len(session.kept) == 5
        for call in session.kept:
            times[int(call["x"][0])] += 1
    assert times.min() > 70 and times.max() < 130  # 100 each; 4 standard deviations are 35
