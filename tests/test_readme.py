"""What the README says to type works as it says."""

import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from bundle_parts import own_bundle
from stub_studio import __file__ as STUDIO
from waiting import until

from sonic_edge.config import Config, Controls, DisplaySettings, load_config, share_dir
from sonic_edge.service.control import ask
from sonic_edge.service.daemon.kiosk import Kiosk

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


@pytest.fixture
def folder(tmp_path, monkeypatch, short_speech):
    """Where a reader would be: a photo, a recording, and the example settings."""
    shutil.copy(share_dir() / "samples" / "portrait.jpg", tmp_path / "me.jpg")
    shutil.copy(short_speech, tmp_path / "hello.wav")
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
    return ask(run, {"order": "status"}).get("state") == "waiting for jobs"


def wait_for_studio(run):
    until(lambda: "mode" in ask(run, {"order": "status"})["live"], "the studio")


def sonic_edge(*words):
    """A command that succeeds, in a process of its own: one forked off this one would have its memory too."""
    done = subprocess.run([sys.executable, "-m", "sonic_edge", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", sorted({c for name in READMES for c in commands(name)}))
def test_each_command(line, folder, stack, packed):
    words = shlex.split(line)
    assert words[0] == ".venv/bin/sonic-edge"
    if words[1] == "run":  # the daemon does not end by itself: test_daemon drives it; here its settings are read
        words[1] = "check-config"
    if words[1] in OF_JOBS or (words[1] == "status" and "box.yaml" in line):
        stack.enter_context(daemon(folder))
        for name in ("failed", "inbox"):
            job = folder / "spool" / name / "lesson"
            job.mkdir()
            shutil.copy(folder / "hello.wav", job)
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
