"""The whole way, with the real model and the real encoder."""

import json
import subprocess
import sys
import threading
import time

import av
import cv2
import numpy as np
import pytest

from sonic_edge.config import Config, LabelSettings, share_dir, with_controls
from sonic_edge.engine.label import Label
from sonic_edge.engine.load import FiniteSession, try_bundle
from sonic_edge.engine.pipeline import Pipeline, Progress, scene_key
from sonic_edge.engine.prefetch import prefetch
from sonic_edge.errors import ConfigError, DeviceError, RequestError
from sonic_edge.media import Request
from sonic_edge.model.bundle import Stage
from sonic_edge.model.store import find_bundle

LABEL = Label(128, 128, LabelSettings())
PORTRAIT = share_dir() / "samples" / "portrait.jpg"


@pytest.fixture(scope="module")
def pipeline():
    with Pipeline(with_controls(Config(), {"min_resolution": 128, "inference_steps": 4}, "test")) as made:
        yield made


def decoded(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="bgr24") for f in container.decode(video=0)])


def render(pipeline, tmp_path, speech, name="out.mp4", **controls):
    out = tmp_path / name
    report = pipeline.render(Request(PORTRAIT, speech, out, controls))
    return out, report


def test_a_video_as_long_as_the_recording(pipeline, tmp_path, short_speech):
    out, report = render(pipeline, tmp_path, short_speech)
    frames = decoded(out)
    assert len(frames) == round(report["speech_s"] * 25) == report["video"]["n_frames"]
    assert frames.shape[1:] == (128, 128, 3)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 20, "something must move"


def test_the_report_names_inputs_and_outputs(pipeline, tmp_path, short_speech):
    _, report = render(pipeline, tmp_path, short_speech, seed=3)
    assert json.loads(json.dumps(report)) == report
    assert report["inputs"]["portrait"]["name"] == "portrait.jpg"
    assert len(report["inputs"]["speech"]["sha256"]) == 64
    assert report["controls"]["seed"] == 3
    assert report["model"]["bundle"] == "sonic-net" and report["model"]["version"]
    assert set(report["timings_s"]) == {"portrait", "listening", "thinking", "rendering"}
    assert json.loads(report["aigc"])["Label"] == "1"
    assert any("inference_steps = 4" in w for w in report["warnings"])
    assert any("label.producer is empty" in w for w in report["warnings"])


def test_the_seed_decides_the_take(pipeline, tmp_path, short_speech):
    one, _ = render(pipeline, tmp_path, short_speech, "1.mp4", seed=1)
    again, _ = render(pipeline, tmp_path, short_speech, "2.mp4", seed=1)
    other, _ = render(pipeline, tmp_path, short_speech, "3.mp4", seed=2)
    assert one.read_bytes() == again.read_bytes()
    assert np.abs(decoded(one).astype(int) - decoded(other).astype(int)).max() > 20


def test_progress_runs_through_all_stages(pipeline, tmp_path, short_speech):
    reported = []
    pipeline.render(Request(PORTRAIT, short_speech, tmp_path / "out.mp4"), reported.append)
    stages = list(dict.fromkeys(p.stage for p in reported))
    assert stages == ["portrait", "listening", "thinking", "rendering"]
    last = reported[-1]
    assert last == Progress("rendering", last.total, last.total)


def test_duration_may_only_be_the_recordings_own(pipeline, tmp_path, short_speech):
    _, report = render(pipeline, tmp_path, short_speech)
    render(pipeline, tmp_path, short_speech, duration=report["speech_s"])
    with pytest.raises(RequestError, match=r"duration = 9 s, but the recording is 1\.\d+ s long"):
        render(pipeline, tmp_path, short_speech, duration=9.0)


def test_a_jobs_own_bad_controls_cost_the_job_only(pipeline, tmp_path, short_speech):
    with pytest.raises(RequestError, match="did you mean seed?"):
        render(pipeline, tmp_path, short_speech, sead=3)


def test_nothing_is_left_of_a_failed_request(pipeline, tmp_path, short_speech):
    (tmp_path / "no.wav").write_bytes(b"nothing to hear")
    with pytest.raises(RequestError, match="no.wav"):
        render(pipeline, tmp_path, tmp_path / "no.wav")
    assert [p.name for p in tmp_path.iterdir()] == ["no.wav"]
    render(pipeline, tmp_path, short_speech)  # and the next one is done


def test_a_label_that_no_font_can_write_is_reported_at_start():
    config = Config(label=Config().label.model_copy(update={"text": "AI生成\U00012000"}))
    with pytest.raises(ConfigError, match="no font here has"):
        Pipeline(config)


def test_a_bundle_that_is_not_there():
    config = Config(model=Config().model.model_copy(update={"bundle": "nowhere"}))
    with pytest.raises(ConfigError, match="no such bundle"):
        Pipeline(config)


def test_keep_resolution_keeps_the_photo(pipeline, tmp_path, short_speech):
    _, report = render(pipeline, tmp_path, short_speech, keep_resolution=True)
    assert (report["video"]["width"], report["video"]["height"]) == (512, 600)


def test_the_contact_sheet_shows_the_frames_of_the_video_and_changes_none(pipeline, tmp_path, short_speech):
    plain, _ = render(pipeline, tmp_path, short_speech, "plain.mp4")
    for name in ("a", "b"):
        request = Request(PORTRAIT, short_speech, tmp_path / f"{name}.mp4", sheet=tmp_path / f"{name}.png")
        assert "sheet" in pipeline.render(request)["timings_s"]
    assert (tmp_path / "a.mp4").read_bytes() == plain.read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    page = cv2.imread(str(tmp_path / "a.png"))
    assert page.shape[1] == 1800
    side = np.flatnonzero(np.all(page[104 + 50, 36:] == 255, axis=1))[0] - 1  # the first still, up to its edge
    shown = cv2.resize(page[104 : 104 + side, 36 : 36 + side], (128, 128), interpolation=cv2.INTER_AREA)
    apart = [np.abs(frame.astype(int) - shown).mean() for frame in decoded(plain)]
    corner = np.s_[100:, 64:]  # where the label is
    best = decoded(plain)[int(np.argmin(apart))]
    assert min(apart) < 6 < np.max(apart), "what the encoder loses, and no more"
    assert np.corrcoef(best[corner].ravel(), shown[corner].ravel())[0, 1] > 0.95


def test_a_sheet_that_cannot_be_written_leaves_the_video(pipeline, tmp_path, short_speech):
    request = Request(PORTRAIT, short_speech, tmp_path / "out.mp4", sheet=tmp_path / "nowhere" / "out.png")
    with pytest.raises(DeviceError, match=r"out\.png: cannot be written: .*; the video .*out\.mp4 is done"):
        pipeline.render(request)
    assert len(decoded(tmp_path / "out.mp4")) > 20
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


MEMORY = """
import resource, sys
from pathlib import Path
from sonic_edge.config import Config, with_controls
from sonic_edge.engine.label import Label
from sonic_edge.media import Request
from sonic_edge.engine.pipeline import Pipeline
controls = {"min_resolution": 128, "fps": 10, "inference_steps": 1}
with Pipeline(with_controls(Config(), controls, "test")) as pipeline:
    pipeline.render(Request(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_memory_does_not_grow_with_the_recording(tmp_path, make_speech):
    peak = {}
    for seconds in (10, 300):
        speech = make_speech(tmp_path / f"{seconds}.wav", seconds)
        command = [sys.executable, "-c", MEMORY, PORTRAIT, speech, tmp_path / "out.mp4"]
        peak[seconds] = int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout)
    assert peak[300] < 1.05 * peak[10], peak  # ten minutes may take a tenth more


def test_a_thread_ahead_gives_the_same_items():
    with prefetch(iter(range(100)), 3) as items:
        assert list(items) == list(range(100))
    assert "renderer" not in [t.name for t in threading.enumerate()]


def test_a_thread_ahead_raises_where_it_happened():
    def source():
        yield 1
        yield 2
        raise DeviceError("broken")

    got = []
    with pytest.raises(DeviceError, match="broken"), prefetch(source(), 3) as items:
        got.extend(items)
    assert "renderer" not in [t.name for t in threading.enumerate()]


def test_a_thread_ahead_is_bounded_and_ends_with_its_context():
    made = []

    def source():
        for i in range(1000):
            made.append(i)
            yield i

    with prefetch(source(), 3) as items:
        next(items)
        time.sleep(0.3)
        assert len(made) <= 6
    assert "renderer" not in [t.name for t in threading.enumerate()]


# ---- for the screen while nobody speaks ---------------------------------------------------------------------------


def test_the_idle_scene_is_a_silent_labelled_video(pipeline, tmp_path):
    reported = []
    pipeline.scene(PORTRAIT, tmp_path / "scene.mp4", reported.append)
    with av.open(str(tmp_path / "scene.mp4")) as file:
        assert not file.streams.audio and "AIGC" in file.metadata
    frames = decoded(tmp_path / "scene.mp4")
    assert len(frames) == 24 * 25 and all(LABEL.is_on(frame) for frame in frames[::50])
    steps = np.abs(np.diff(frames[:, :100].astype(int), axis=0)).mean(axis=(1, 2, 3))
    seam = np.abs(frames[0, :100].astype(int) - frames[-1, :100]).mean()
    assert steps.max() > 0.5 and seam <= steps.max() * 1.2
    assert {p.stage for p in reported} == {"thinking", "rendering"}


def test_the_still_is_the_labelled_photo(pipeline, tmp_path):
    pipeline.still(PORTRAIT, tmp_path / "still.png")
    image = cv2.imread(str(tmp_path / "still.png"))
    assert image.shape == (128, 128, 3) and LABEL.is_on(image)
    assert [p.name for p in tmp_path.iterdir()] == ["still.png"]
    with pytest.raises(DeviceError, match="cannot be written"):
        pipeline.still(PORTRAIT, tmp_path / "nowhere" / "still.png")
    with pytest.raises(RequestError, match="gone.jpg"):
        pipeline.still(tmp_path / "gone.jpg", tmp_path / "b.png")


def test_another_photo_or_setting_is_another_scene(tmp_path):
    (tmp_path / "me.jpg").write_bytes(b"a photo")
    keys = {scene_key(PORTRAIT, Config()), scene_key(tmp_path / "me.jpg", Config())}
    keys.add(scene_key(PORTRAIT, with_controls(Config(), {"seed": 1}, "test")))
    assert len(keys) == 3 and scene_key(PORTRAIT, Config()) in keys


# ---- a bundle that nobody has used yet ----------------------------------------------------------------------------


def test_a_bundle_is_tried_on_the_configured_backend():
    trial = try_bundle(find_bundle("sonic-net"), Config().model)
    assert 0 < trial.took_s < 60 and trial.heard_s == 1.6
    assert {one.output for one in trial.agreements} >= {"lips", "closure", "condition", "velocity"}
    assert min(one.r for one in trial.agreements) > 0.995


def test_an_output_that_is_not_finite_is_reported(tmp_path):
    stage = Stage("painter", tmp_path / "painter.onnx", {}, {"picture": (1, 2)})

    class Broken:
        def run(self, inputs):
            return {"picture": np.array([[0.5, np.nan]], np.float32)}

        def close(self):
            pass

    with pytest.raises(ConfigError, match=r"painter\.onnx: output picture: 1 of 2 values are not finite numbers"):
        FiniteSession(stage, Broken()).run({})
