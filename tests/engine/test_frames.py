"""The whole product with bundles that paint the face, and such bundles that are wrong."""

import copy
import re
import shutil
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml
from bundle_parts import SPEC as MOTION
from daemon_parts import QUICK, Daemon
from frames_bundle import SHAPES, frames_bundle

from sonic_edge.config import Config, LabelSettings, share_dir, with_controls
from sonic_edge.engine.label import Label
from sonic_edge.engine.load import try_bundle
from sonic_edge.engine.motion.idle import LENGTH_S
from sonic_edge.engine.pipeline import Pipeline
from sonic_edge.errors import ConfigError
from sonic_edge.media import Request
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.spec import read_spec

PORTRAIT = share_dir() / "samples" / "portrait.jpg"
BOTH = pytest.mark.parametrize("shape", list(SHAPES))


def config(bundle, **controls):
    settings = Config()
    model = settings.model.model_copy(update={"bundle": str(bundle)})
    return with_controls(settings.model_copy(update={"model": model}), {"min_resolution": 128, **controls}, "test")


def decoded(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="bgr24") for f in container.decode(video=0)])


# ---- the product --------------------------------------------------------------------------------------------------


@BOTH
def test_a_video_with_its_sheet_and_its_report(painted_bundle, tmp_path, short_speech, shape):
    with Pipeline(config(painted_bundle(shape), fps=30)) as pipeline:
        reported = []
        request = Request(PORTRAIT, short_speech, tmp_path / "a.mp4", sheet=tmp_path / "a.png")
        report = pipeline.render(request, reported.append)
        again = pipeline.render(Request(PORTRAIT, short_speech, tmp_path / "b.mp4"))
        wide = Request(PORTRAIT, short_speech, tmp_path / "c.mp4", {"keep_resolution": True}, sheet=tmp_path / "c.png")
        whole = pipeline.render(wide)
    frames = decoded(tmp_path / "a.mp4")
    assert len(frames) == round(report["speech_s"] * 30) == report["video"]["n_frames"]
    assert frames.shape[1:] == (128, 128, 3)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert all(Label(128, 128, LabelSettings()).is_on(frame) for frame in frames)
    assert report["model"]["bundle"] == f"painted-{shape}" and '"Label":"1"' in report["aigc"]
    assert list(dict.fromkeys(p.stage for p in reported)) == ["portrait", "listening", "thinking", "rendering"]
    assert not any("without effect" in w or "inference_steps" in w for w in again["warnings"])
    assert (whole["video"]["width"], whole["video"]["height"]) == (512, 600)
    assert decoded(tmp_path / "c.mp4").shape[1:] == (600, 512, 3)
    for name in ("a.png", "c.png"):
        assert cv2.imread(str(tmp_path / name)).shape[1] == 1800


def test_controls_that_mean_nothing_are_told_once(painted_bundle, tmp_path, short_speech):
    with Pipeline(config(painted_bundle("wav2lip"), inference_steps=4)) as pipeline:
        asked = {"seed": 3, "motion_scale": 0.5, "align_offset": 0.1}
        report = pipeline.render(Request(PORTRAIT, short_speech, tmp_path / "a.mp4", asked))
    reported = [w for w in report["warnings"] if "without effect" in w or "inference_steps" in w]
    assert reported == ["seed, motion_scale: without effect: the model painted-wav2lip paints the face itself"]


@BOTH
def test_the_idle_scene_stands_still_and_is_as_long_as_any(painted_bundle, tmp_path, shape):
    with Pipeline(config(painted_bundle(shape), fps=10)) as pipeline:
        pipeline.scene(PORTRAIT, tmp_path / "scene.mp4")
    frames = decoded(tmp_path / "scene.mp4")
    assert len(frames) == LENGTH_S * 10
    assert np.abs(frames[0].astype(int) - frames[-1]).max() < 30, "what the encoder does, and no more"
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() < 1
    assert Label(128, 128, LabelSettings()).is_on(frames[0])


MEMORY = """
from pathlib import Path
from sonic_edge.config import Config, with_controls
from sonic_edge.media import Request
from sonic_edge.engine.pipeline import Pipeline
config = Config()
config = config.model_copy(update={{"model": config.model.model_copy(update={{"bundle": {bundle!r}}})}})
with Pipeline(with_controls(config, {{"min_resolution": 128, "fps": 10}}, "test")) as pipeline:
    pipeline.render(Request(Path({portrait!r}), Path({speech!r}), Path({output!r})))
"""


def test_memory_does_not_grow_with_the_recording(painted_bundle, tmp_path, alone, make_speech):
    peak = {}
    for seconds in (10, 300):
        speech = make_speech(tmp_path / f"{seconds}.wav", seconds)
        names = {"portrait": str(PORTRAIT), "speech": str(speech), "output": str(tmp_path / "out.mp4")}
        peak[seconds] = alone(MEMORY.format(bundle=str(painted_bundle("wav2lip", "meter")), **names))[1]
    assert peak[300] < 1.05 * peak[10], peak  # ten minutes may take a tenth more


def test_a_job_through_the_daemon_and_its_worker(painted_bundle, tmp_path, daemons, short_speech):
    path = tmp_path / "box.yaml"
    spool = {"root": str(tmp_path / "spool"), **QUICK}
    settings = {"spool": spool, "model": {"bundle": str(painted_bundle("sonic"))}, "controls": {"min_resolution": 128}}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    box = Daemon(tmp_path, [sys.executable, "-m", "sonic_edge", "run", "--config", str(path)])
    daemons.append(box)
    box.until_logged("ready; watching")
    inbox = tmp_path / "spool" / "inbox"
    (inbox / "job.yaml").write_text("smooth: false\n", encoding="utf-8")
    shutil.copy(PORTRAIT, inbox / "job.jpg")
    shutil.copy(short_speech, inbox / "job.wav")
    box.until_there("outbox/job.json")
    report = box.json("outbox/job.json")
    assert report["status"] == "done" and report["model"]["bundle"] == "painted-sonic"
    assert "smooth: without effect: the model painted-sonic paints the face itself" in report["warnings"]
    assert len(decoded(tmp_path / "spool" / "outbox" / "job.mp4")) == report["video"]["n_frames"]
    assert box.end()[0] == 0


# ---- bundles that are wrong ---------------------------------------------------------------------------------------

NO_STAGE = {"inputs": {}, "outputs": {}, "files": {}}


@pytest.mark.parametrize(
    "shape, path, to, words",
    [
        ("sonic", "kind", "frame", "kind = 'frame': must be motion or frames"),
        ("sonic", "kind", None, "kind: is missing; it must be motion or frames"),
        ("sonic", "paste", None, "paste: is missing"),
        ("sonic", "lips", {}, "lips: there is no such setting"),
        ("sonic", "stages.encoder", NO_STAGE, "stages.encoder: unknown"),
        ("sonic", "stages", {}, "stages: has no painter"),
        ("sonic", "crop.size", 96, "stages.painter.inputs.face: is [1, 3, 224, 224]; must be [1, 3, 96, 96]"),
        ("sonic", "picture.given", ["blanked", "face"], "must be [1, 6, 224, 224]"),
        ("sonic", "picture.given", ["mouth"], "picture.given = 'mouth': must be a list of face or blanked"),
        ("sonic", "picture.range", [1.0, -1.0], "picture.range = [1.0, -1.0]: must increase"),
        ("sonic", "window.mel_frames", 16, "inputs.speech: is [1, 1, 80, 160]; must be [1, 1, 80, 16]"),
        ("sonic", "tensors.picture", "face_out", "stages.painter.outputs.face_out: is missing"),
        ("sonic", "tensors.speech", "mel", "stages.painter.inputs.speech: is not named under tensors"),
        ("sonic", "stream.prior", [], "stream.prior: 0 values; mel.normalise = speech needs 80"),
        ("wav2lip", "stream.prior", [-5.0] * 80, "stream.prior: is not used if mel.normalise is range"),
        ("wav2lip", "stream.look_ahead_s", -0.1, "stream.look_ahead_s = -0.1: must be a number from 0 to 2"),
        ("wav2lip", "window.start_s", 0.5, "must be more than window.start_s = 0.5"),
        ("wav2lip", "mel.normalise", "speech", "mel.normalise = speech: needs mel.summed = power"),
        ("wav2lip", "mel.fmax", 9000.0, "mel.fmin, fmax = 55, 9000: must increase and be at most 8000 Hz"),
        ("wav2lip", "mel.sample_rate", 22050, "mel.sample_rate = 22050: must be 16000"),
        ("wav2lip", "mel.hop", 1000, "mel.hop = 1000: must be at most mel.n_fft = 800"),
        ("wav2lip", "mel.clip", [2.0, 2.0], "mel.clip = [2.0, 2.0]: must increase"),
        ("wav2lip", "crop.margins", [0.0, 0.1], "crop.margins = [0.0, 0.1]: must be left, top, right"),
        ("wav2lip", "crop.eye_left", [0.3, 0.4], "crop: must have either eye_left and eye_right, or margins"),
        ("sonic", "crop.eye_left", [0.7, 0.4], "the right eye's x larger by at least 0.05"),
        ("sonic", "crop.eye_right", [0.7], "must be x and y, 0 to 1"),
        ("sonic", "paste.box", [0.5, 0.5, 0.4, 1.0], "paste.box = [0.5, 0.5, 0.4, 1.0]: must be left, top"),
        ("sonic", "paste.feather", 0.005, "paste.feather = 0.005: must be at least 0.00893, two pixels of crop.size"),
        ("sonic", "paste.feather", 0.4, "paste.feather = 0.4: must be at most 0.23, half of the height"),
    ],
)
def test_what_does_not_fit_together_is_told(tmp_path, shape, path, to, words):
    def change(spec):
        *above, key = path.split(".")
        for name in above:
            spec = spec[name]
        if to is None:
            del spec[key]
        else:
            spec[key] = to

    with pytest.raises(ConfigError) as e:
        Bundle(frames_bundle(tmp_path, shape, "identity", change))
    assert words in str(e.value)
    assert all(line.startswith(str(tmp_path / "bundle.yaml")) for line in str(e.value).splitlines())


def test_a_bundle_is_tried_before_it_is_used(painted_bundle, tmp_path):
    seconds, heard_s, agreements = try_bundle(Bundle(painted_bundle("sonic")), Config().model)
    assert 0 < seconds < 30 and heard_s == 1 / 25 and agreements == []  # it has no reference
    with pytest.raises(ConfigError, match=r"painter\.onnx: output picture: \d+ of 27648 values are not finite numbers"):
        try_bundle(Bundle(painted_bundle("wav2lip", "broken")), Config().model)


def test_a_bundle_of_one_kind_is_not_taken_for_the_other(painted_bundle, tmp_path):
    with pytest.raises(TypeError, match="is of kind frames"):
        _ = Bundle(painted_bundle("sonic")).motion


def test_what_the_read_me_shows_is_a_bundle():
    """The two files that models/README.md has operators begin with; the figures they must fill in are filled in."""
    text = (Path(__file__).parents[2] / "models" / "README.md").read_text(encoding="utf-8")
    found = {}
    for block in re.findall(r"^```yaml\n(format: 1\n.*?)^```", text, re.MULTILINE | re.DOTALL):
        spec = yaml.safe_load(block)
        for stage in spec["stages"].values():
            assert stage["files"]["cpu"]["sha256"] == "64 hexadecimal digits"
            stage["files"]["cpu"]["sha256"] = "0" * 64
        if spec["kind"] == "motion":
            spec["stream"]["prior"] = [-5.0] * spec["mel"]["n_mels"]
            spec["life"].update(mean=[0.0] * 9, std=[1.0] * 9)
        found[spec["kind"]] = read_spec(spec, "README.md")
    assert set(found) == {"motion", "frames"}
    assert found["frames"].mel.settings().frames_per_s == 80


@pytest.mark.parametrize(
    "path, to, words",
    [
        ("mel.fmin", 9000.0, "mel.fmin, fmax = 9000, 8000: must increase"),
        ("mel.sample_rate", 8000, "mel.sample_rate = 8000: must be 16000, the rate of live sound"),
        ("mel.summed", "magnitude", "mel.normalise = speech: needs mel.summed = power"),
        ("kind", 3, "kind = 3: must be motion or frames"),
        ("crop", {}, "crop: there is no such setting"),
    ],
)
def test_the_other_kind_is_held_to_the_same(path, to, words):
    spec = copy.deepcopy(MOTION)
    *above, key = path.split(".")
    (spec[above[0]] if above else spec)[key] = to
    with pytest.raises(ConfigError) as e:
        read_spec(spec, "bundle.yaml")
    assert words in str(e.value)
