"""Nothing leaves the room: whatever a dependency does, no way that the product runs asks for a network."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from measure_live import RATE, room, sentence
from network_watch import watching
from waiting import DEADLINE_S, until

from sonic_edge.config import share_dir

ROOT = Path(__file__).parents[1]
SONIC_EDGE = Path(sys.executable).parent / "sonic-edge"
PORTRAIT = share_dir() / "samples" / "portrait.jpg"
LINGER_S = 10
"""onnxruntime's telemetry writes files at once and asks for its host some seconds later, from a thread of its own: a
daemon is watched for so long."""


@pytest.fixture
def watch(tmp_path):
    with watching(tmp_path / "watch") as found:
        yield found


def run(watch, *words, **more):
    """A watched command; returns its status and output."""
    done = subprocess.run(
        watch.command(*words), env=watch.environment(**more), cwd=watch.cwd, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


@contextmanager
def run_box(watch, tmp_path, **settings):
    """`sonic-edge run`, watched; the spool's folder."""
    spool = tmp_path / "spool"
    config = tmp_path / "box.yaml"
    config.write_text(yaml.safe_dump({"spool": {"root": str(spool), "settle_s": 0.2, "poll_s": 0.2}, **settings}))
    daemon = subprocess.Popen(
        watch.command(SONIC_EDGE, "run", "--config", config),
        env=watch.environment(),
        cwd=watch.cwd,
        stderr=subprocess.PIPE,
    )
    try:
        until((spool / "inbox").is_dir, "the inbox")
        yield spool
    finally:
        daemon.send_signal(signal.SIGTERM)
        said = daemon.communicate(timeout=DEADLINE_S)[1].decode()
    assert daemon.returncode == 0, said[-2000:]


ASKS = {
    "socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "look-up": "import socket; socket.getaddrinfo('example.invalid', 80)",
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "child": "import subprocess, sys; sys.exit(subprocess.call(['bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/9']))",
    "resolver": "import socket; socket.socket(socket.AF_UNIX).connect('/run/systemd/resolve/nobody')",
    "file": "from pathlib import Path; (Path.home() / '.deviceid').touch()",
}


@pytest.mark.parametrize("way", sorted(ASKS))
def test_the_watch_sees_and_refuses(watch, way):
    status, said = run(watch, sys.executable, "-c", ASKS[way])
    assert watch.n_watched == 1
    assert len(watch.wanted()) == 1 or (way == "look-up" and watch.wanted()), said
    assert (status == 0) == (way == "file"), said


def test_the_watch_lets_programs_of_this_machine_talk(watch):
    code = "import socket, sys; a, b = socket.socketpair(); c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1])"
    with watching(watch.cwd / "other") as other:
        status, said = run(watch, sys.executable, "-c", code, other._path)
    assert status == 0, said
    assert watch.refused == [] and watch.local == {str(other._path)}


def test_render_and_what_looks_at_models(watch, tmp_path, short_speech):
    out = tmp_path / "a.mp4"
    status, said = run(
        watch, SONIC_EDGE, "render", PORTRAIT, short_speech, "-o", out, "--set", "min_resolution=192", "--sheet",
        tmp_path / "a.png", "--report", tmp_path / "a.json",
    )  # fmt: skip
    assert status == 0 and out.stat().st_size > 10_000, said
    status, said = run(watch, SONIC_EDGE, "model", "check", "sonic-net")
    assert status == 0 and "ran once on cpu" in said
    assert watch.wanted() == []


def test_doctor(watch, tmp_path):
    config = tmp_path / "box.yaml"
    config.write_text(yaml.safe_dump({"spool": {"root": str(tmp_path / "spool"), "portrait": str(PORTRAIT)}}))
    _, said = run(watch, SONIC_EDGE, "doctor", "--config", config, "--json")
    found = {f["check"]: f["state"] for f in json.loads(said)["findings"]}
    assert found["model"] == found["portrait"] == "ok"
    assert watch.wanted() == []


def test_run_with_a_job(watch, tmp_path, short_speech):
    with run_box(watch, tmp_path, controls={"min_resolution": 192}) as spool:
        status, said = run(
            watch, SONIC_EDGE, "submit", short_speech, PORTRAIT, "--wait", "--config", tmp_path / "box.yaml"
        )
        assert status == 0, said
        time.sleep(LINGER_S)
    assert len(list((spool / "outbox").glob("*.mp4"))) == 1
    assert watch.wanted() == []


def test_live(watch, tmp_path):
    """Worker, studio and screen, a microphone and a loudspeaker."""

    def start(command, environment, log):
        of_room = {name: value for name, value in environment.items() if os.environ.get(name) != value}
        return subprocess.Popen(watch.command(*command), env=watch.environment(**of_room), cwd=watch.cwd, stderr=log)

    with room(tmp_path, start=start) as (pulse, _, status, _):
        shown = status()["live"]["mirror"]["shown"]
        pulse.play(sentence(3, clicks=False), RATE)
        until(lambda: status()["live"]["mirror"]["shown"] > shown + 25, "pictures")
    assert set(watch.wanted()) <= {"left home/.config/pulse/cookie"}  # by which PulseAudio knows who may speak to it
    assert any("pulse" in path for path in watch.local) and any("X11" in path for path in watch.local)


def imports_onnxruntime(path):
    """Where a file imports onnxruntime first, and where it switches its telemetry off; None if it does not."""
    at, off = None, None
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if any(name.split(".")[0] == "onnxruntime" for name in names):
            at = min(at or node.lineno, node.lineno)
        if any(name.split(".")[0] in ("sonic_edge", "models") for name in names):
            off = min(off or node.lineno, node.lineno)
        if isinstance(node, ast.Constant) and node.value == "ORT_DISABLE_TELEMETRY":
            off = min(off or node.lineno, node.lineno)
    return at, off


def test_whatever_loads_onnxruntime_has_switched_its_telemetry_off():
    """Packages do this in their __init__, tests in conftest.py; a file run by its path must do it before the import."""
    wrong, n_found = [], 0
    folders = ("sonic_edge", "models", "tests", "board")
    for path in sorted(p for f in folders for p in (ROOT / f).rglob("*.py") if not {".venv", "build"} & set(p.parts)):
        at, off = imports_onnxruntime(path)
        if at is None:
            continue
        n_found += 1
        starts = [p / "__init__.py" for p in path.parents if (p / "__init__.py").exists()]
        by_package = "sonic_edge" in path.parts or any(imports_onnxruntime(start)[1] for start in starts)
        by_package = by_package and not {"chip", "stand_ins"} & set(path.parts)  # what is run by its path
        by_conftest = path.name.startswith("test_") or path.is_relative_to(ROOT / "tests" / "doubles")
        if not (by_package or by_conftest or (off is not None and off < at)):
            wrong.append(f"{path.relative_to(ROOT)}:{at}")
    assert n_found > 10 and wrong == []


def test_the_watch_sees_the_telemetry_that_is_switched_off(watch):
    """If this fails the library has changed its ways, and the tests above may look in the wrong place."""
    has_it = tuple(map(int, version("onnxruntime").split(".")[:2])) >= (1, 32)
    code = "import onnxruntime, sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        watch.command(sys.executable, "-c", code),
        env=watch.environment(),
        cwd=watch.cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            process.stdout.readline()
            if has_it:
                until(watch.wanted, "telemetry")
        finally:
            process.stdin.close()
    assert bool(watch.wanted()) is has_it
