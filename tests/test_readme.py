"""The README's commands work as it says."""

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from bundle_parts import own_bundle
from PIL import Image
from stub_studio import __file__ as STUDIO
from waiting import until

from sonic_edge.config import Config, Controls, DisplaySettings, load_config, share_dir
from sonic_edge.engine.speech import sound
from sonic_edge.service.control import ask
from sonic_edge.service.daemon.kiosk import Kiosk
from sonic_edge.service.messages import Request

OF_JOBS = ("submit", "cancel", "retry", "doctor")
ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh.md")


def blocks(name, language):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(name):
    """What is typed, without what is said of it: it is the same in both languages."""
    lines = [line for block in blocks(name, "sh") for line in block.splitlines() if line.startswith(".venv/bin/")]
    return [shlex.join(shlex.split(line, comments=True)) for line in lines]


def copies(name):
    """The README's lines that copy the samples, as (source, destination)."""
    lines = [line for block in blocks(name, "sh") for line in block.splitlines() if line.startswith("cp ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a reader is after the README's own lines: a photo, a recording, and the example settings."""
    for source, destination in copies("README.md"):
        shutil.copy(share_dir() / Path(source).relative_to(".venv/share/sonic-edge"), tmp_path / destination)
    for block in blocks("README.md", "yaml"):
        (tmp_path / re.match(r"# (\S+)", block)[1]).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A folder of packed model bundles, my-net and old-net."""
    made = tmp_path_factory.mktemp("packed")
    for name in ("my-net", "old-net"):
        shutil.make_archive(str(made / name), "gztar", own_bundle(made / name, name))
    return made


@pytest.fixture
def stack():
    with ExitStack() as made:
        yield made


@contextmanager
def daemon(folder):
    """The daemon that the README has running in the other terminal."""
    process = subprocess.Popen([sys.executable, "-m", "sonic_edge", "run", "--config", "box.yaml"])
    try:
        run = folder / "spool/run"
        until(lambda: process.poll() is not None or ((run / "control.sock").exists() and is_waiting(run)), "the daemon")
        assert process.poll() is None
        yield
    finally:
        process.terminate()
        process.wait(60)


def is_waiting(run):
    return ask(run, Request("status")).get("state") == "waiting for jobs"


def wait_for_studio(run):
    until(lambda: "mode" in ask(run, Request("status"))["live"], "the studio")


def sonic_edge(*words):
    """A command that succeeds, in a process of its own: a fork of this one would count its memory too."""
    done = subprocess.run([sys.executable, "-m", "sonic_edge", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", sorted({c for name in READMES for c in commands(name)}))
def test_each_command(line, folder, stack, short_speech, packed):
    words = shlex.split(line)
    assert words[0] == ".venv/bin/sonic-edge"
    assert (folder / "me.jpg").exists() and (folder / "hello.flac").exists()
    if words[1] == "render" or "--wait" in words:  # the whole sample takes seconds: a second of sound will do
        shutil.copy(short_speech, folder / "hello.flac")
    if words[1] == "run":  # the daemon does not end by itself: test_daemon drives it; here its settings are read
        words[1] = "check-config"
    if words[1] in OF_JOBS or (words[1] == "status" and "box.yaml" in line):
        stack.enter_context(daemon(folder))
        before = ["submit", "cancel", "retry"]  # what the README has a reader type before this line, of the job lesson
        for order in before[: before.index(words[1])] if "lesson" in words and words[1] in before else []:
            (earlier,) = (c for c in commands("README.md") if f" {order} " in c and " lesson" in c)
            sonic_edge(*shlex.split(earlier, comments=True)[1:])
    if words[1] == "model":
        for name in ("my-net", "old-net"):
            shutil.copy(packed / f"{name}.tar.gz", folder)
            if words[2] not in ("check", "install"):
                sonic_edge("model", "install", f"{name}.tar.gz", "--config", "box.yaml")
        if words[2] == "rollback":
            sonic_edge("model", "use", "my-net", "--config", "box.yaml")
    if words[1] == "talk" or (words[1] == "status" and "stage.yaml" in line):
        # a daemon answers; test_live has a whole one
        config = load_config(folder / "stage.yaml").model_copy(update={"display": DisplaySettings()})
        (folder / "spool").mkdir()
        stack.enter_context(Kiosk(config, folder / "spool" / "run", [sys.executable, STUDIO]))
        wait_for_studio(folder / "spool" / "run")
    sonic_edge(*words[1:])
    for made in re.findall(r"\S+\.(?:mp4|json|png)", line):
        assert (folder / made).stat().st_size > 0


@pytest.mark.parametrize("name", READMES)
def test_the_table_of_controls_is_true(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", text, re.MULTILINE))
    assert set(rows) == set(Controls.model_fields)
    for key, shown in rows.items():
        assert yaml.safe_load(shown) == Controls.model_fields[key].default, key


@pytest.mark.parametrize("name", READMES)
def test_the_make_targets_and_files_it_names_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("name", READMES)
def test_the_example_settings_are_right(name, tmp_path):
    for block in blocks(name, "yaml"):
        path = tmp_path / "box.yaml"
        path.write_text(block, encoding="utf-8")
        assert load_config(path) != Config()


def test_both_readmes_begin_with_the_same_samples():
    assert copies("README.md") == copies("README.zh.md") != []


def test_the_moving_picture_is_as_long_as_the_recording_and_small():
    picture = ROOT / "docs/pictures/speaking.webp"
    assert picture.stat().st_size < 2.5e6
    recording = np.concatenate(list(sound(share_dir() / "samples/speech.flac")), axis=1)
    with Image.open(picture) as moving:
        assert moving.is_animated
        shown_s = 0.0
        for i in range(moving.n_frames):
            moving.seek(i)
            moving.load()
            shown_s += moving.info["duration"] / 1000
    assert abs(shown_s - recording.shape[1] / 48000) < 0.1


def test_a_caption_begins_in_a_pause():
    heard = np.concatenate(list(sound(share_dir() / "samples/speech.flac")), axis=1)[0].astype(float)
    level = np.sqrt(np.convolve(heard**2, np.ones(2400) / 2400, "same"))  # over 50 ms
    captions = (ROOT / "docs/pictures/captions.vtt").read_text(encoding="utf-8")
    starts = [60 * int(m) + float(s) for m, s in re.findall(r"^(\d+):(\S+) -->", captions, re.MULTILINE)]
    assert len(starts) == 7
    for start in starts:
        near = level[max(0, round((start - 0.15) * 48000)) : round((start + 0.15) * 48000)]
        assert near.min() < 0.12 * np.percentile(level, 90), start


@pytest.mark.parametrize("name", ["architecture", "architecture.zh"])
def test_the_architecture_is_drawn_from_its_source_of_today(name):
    source = (ROOT / f"docs/pictures/{name}.dot").read_bytes()
    drawn = (ROOT / f"docs/pictures/{name}.svg").read_text(encoding="utf-8")
    assert drawn.rstrip().endswith(f"<!-- {hashlib.sha256(source).hexdigest()} -->"), "make architecture"
