"""A whole clip through all three backends, of which two are doubles: the same weights, so the same frames."""

import json
import os
import re
import subprocess
import sys

import av
import numpy as np
import pytest
import yaml
from chip_parts import DOUBLES, chip, chip_bundle, mindspore_lite
from daemon_parts import QUICK, Daemon
from frames_bundle import SHAPES, frames_bundle

from sonic_edge.config import Config, check, share_dir
from sonic_edge.engine.pipeline import Pipeline
from sonic_edge.errors import ConfigError, DeviceError
from sonic_edge.media import Request

PORTRAIT = share_dir() / "samples" / "portrait.jpg"
CONTROLS = {"min_resolution": 128, "inference_steps": 4}
BACKENDS = ("cpu", "mindspore_lite", "acl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return chip_bundle(tmp_path_factory.mktemp("bundles") / "sonic-net", "mindspore_lite", "acl")


def settings(folder, backend, **more):
    model = {"bundle": str(folder), "backend": backend, "threads": 1}
    return {"model": {**model, **more}, "controls": CONTROLS}


def frames(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="bgr24") for f in container.decode(video=0)])


@pytest.fixture(scope="module")
def clips(folder, tmp_path_factory, short_speech):
    """Backend -> its video and its report."""
    made = {}
    for backend in BACKENDS:
        out = tmp_path_factory.mktemp("clips") / f"{backend}.mp4"
        with Pipeline(check(Config, settings(folder, backend), "test")) as pipeline:
            made[backend] = out, pipeline.render(Request(PORTRAIT, short_speech, out, {}))
        assert chip.held() == {} and mindspore_lite.alive() == 0
    return made


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_frames_are_those_of_the_cpu_bit_for_bit(clips, backend):
    (out, report), (reference, expected) = clips[backend], clips["cpu"]
    a, b = frames(out), frames(reference)
    assert a.shape == b.shape and len(a) == report["video"]["n_frames"] == expected["video"]["n_frames"]
    np.testing.assert_array_equal(a, b)
    assert np.abs(np.diff(a.astype(int), axis=0)).max() > 20, "something must move"
    assert report["model"]["backend"] == backend


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bundle_that_paints_gives_the_same_frames_too(shape, tmp_path, short_speech):
    folder = chip_bundle(tmp_path / "chip", "mindspore_lite", "acl", of=frames_bundle(tmp_path / "painter", shape))
    made = {}
    for backend in BACKENDS:
        out = tmp_path / f"{backend}.mp4"
        with Pipeline(check(Config, settings(folder, backend), "test")) as pipeline:
            report = pipeline.render(Request(PORTRAIT, short_speech, out, {}))
        assert report["model"]["backend"] == backend and chip.held() == {} and mindspore_lite.alive() == 0
        made[backend] = frames(out)
    for backend in BACKENDS[1:]:
        np.testing.assert_array_equal(made[backend], made["cpu"])


def test_a_bundle_with_only_an_om_says_how_to_wrap_it(tmp_path):
    folder = chip_bundle(tmp_path / "sonic-net", "acl")
    with pytest.raises(ConfigError, match=r"does not load a bare \.om.*\n.*converter_lite --fmk=OM.*encoder\.om\.cfg"):
        Pipeline(check(Config, settings(folder, "mindspore_lite"), "test"))
    assert (folder / "encoder.om.cfg").is_file()


def test_never_another_backend_instead(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "acl", None)
    with pytest.raises(DeviceError, match="pyACL"):
        Pipeline(check(Config, settings(folder, "acl"), "test"))


def environment(**more):
    path = os.pathsep.join(filter(None, [str(DOUBLES), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def run_render(folder, backend, speech, tmp_path, **faults):
    config = tmp_path / "sonic-edge.yaml"
    config.write_text(yaml.safe_dump(settings(folder, backend)), encoding="utf-8")
    out = tmp_path / "out.mp4"
    words = ["render", str(PORTRAIT), str(speech), "-o", str(out), "--config", str(config)]
    done = subprocess.run(
        [sys.executable, "-m", "sonic_edge", *words],
        env=environment(**faults),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return out, done


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_command_line_renders_it(clips, folder, backend, short_speech, tmp_path):
    out, done = run_render(folder, backend, short_speech, tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(frames(out), frames(clips["cpu"][0]))


@pytest.mark.parametrize(
    "backend, fault, words",
    [
        ("acl", "acl.init@1=500004", "500004 (the driver failed)"),
        ("acl", "acl.mdl.load_from_file@2=507008", "507008 (the model is for another chip)"),
        ("acl", "acl.mdl.execute@4=507011", "507011 (the model failed on the chip)"),
        ("mindspore_lite", "mindspore_lite.Model.predict@4=predict failed!", "predict failed!"),
    ],
)
def test_the_command_line_reports_a_failure(folder, backend, fault, words, short_speech, tmp_path):
    out, done = run_render(folder, backend, short_speech, tmp_path, CHIP_DOUBLE_FAULTS=fault)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not out.exists()


@pytest.fixture
def daemon(folder, tmp_path, daemons):
    """A daemon with the real worker on a double of the chip."""

    def start(backend, worker=None, **faults):
        config = tmp_path / "sonic-edge.yaml"
        spool = {"root": str(tmp_path / "spool"), **QUICK}
        data = {**settings(folder, backend), "spool": spool, "worker": worker or {}}
        config.write_text(yaml.safe_dump(data), encoding="utf-8")
        command = [sys.executable, "-m", "sonic_edge", "run", "--config", str(config)]
        made = Daemon(tmp_path, ["env", *(f"{k}={v}" for k, v in environment(**faults).items()), *command])
        daemons.append(made)
        made.until_logged("ready; watching")
        return made

    return start


def give(daemon, name, speech):
    box = daemon.spool / "inbox"
    (box / f"{name}.jpg").write_bytes(PORTRAIT.read_bytes())
    (box / f"{name}.wav").write_bytes(speech.read_bytes())


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_daemon_renders_it(clips, daemon, backend, short_speech):
    made = daemon(backend)
    give(made, "a", short_speech)
    made.until_there("outbox/a.json")
    np.testing.assert_array_equal(frames(made.spool / "outbox" / "a.mp4"), frames(clips["cpu"][0]))
    status, seconds = made.end()
    assert status == 0 and seconds < 20


def test_a_chip_that_fails_once_costs_an_attempt_and_not_the_job(daemon, short_speech, tmp_path):
    token = tmp_path / "once"
    token.touch()
    made = daemon("acl", CHIP_DOUBLE_FAULTS="acl.mdl.execute@6=507011", CHIP_DOUBLE_TOKEN=str(token))
    give(made, "a", short_speech)
    made.until_there("outbox/a.json")
    assert not token.exists(), "the fault happened"
    assert "507011 (the model failed on the chip)" in made.text()
    assert json.loads((made.spool / "outbox" / "a.json").read_text(encoding="utf-8"))["status"] == "done"
    give(made, "b", short_speech)
    made.until_there("outbox/b.json")
    assert made.end()[0] == 0


def test_a_chip_that_hangs_costs_an_attempt_and_not_the_job(daemon, short_speech, tmp_path):
    token = tmp_path / "once"
    token.touch()
    faults = {"CHIP_DOUBLE_FAULTS": "acl.mdl.execute@6=hang", "CHIP_DOUBLE_TOKEN": str(token)}
    made = daemon("acl", {"stall_s": 8.0}, **faults)
    give(made, "a", short_speech)
    made.until_there("outbox/a.json")
    assert not token.exists()
    assert int(re.search(r"no progress for (\d+) s", made.text())[1]) >= 8


def test_a_chip_that_is_not_ready_at_start_is_waited_for(daemon, short_speech, tmp_path):
    token = tmp_path / "once"
    token.touch()
    made = daemon("acl", CHIP_DOUBLE_FAULTS="acl.rt.set_device@1=507033", CHIP_DOUBLE_TOKEN=str(token))
    assert not token.exists() and "507033 (the chip cannot be started)" in made.text()
    give(made, "a", short_speech)
    made.until_there("outbox/a.json")
