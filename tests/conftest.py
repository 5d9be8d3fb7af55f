"""What several test modules need."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator, Tuple

import pytest
import yaml
from daemon_parts import QUICK, RUN_WITH_STUB, Daemon
from drawn_face import drawn
from frames_bundle import frames_bundle
from media_files import write_wav
from stub_worker import __file__ as STUB

from sonic_edge.config import LimitSettings, share_dir
from sonic_edge.engine.motion.network import SonicNet
from sonic_edge.engine.motion.performer import MotionPerformer
from sonic_edge.engine.portrait import FaceFinder
from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.speech import read_speech
from sonic_edge.media import Portrait, Speech
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.store import find_bundle

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def make_speech() -> Callable[[Path, float], Path]:
    return write_wav


@pytest.fixture(scope="session")
def short_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("speech") / "short.wav", 1.2)


@pytest.fixture(scope="session")
def finder() -> FaceFinder:
    return FaceFinder(share_dir() / "face")


@pytest.fixture(scope="session")
def portrait() -> Portrait:
    """A drawn face."""
    return drawn()


@pytest.fixture(scope="session")
def renderer(portrait: Portrait) -> Renderer:
    return Renderer(portrait)


@pytest.fixture
def limits() -> LimitSettings:
    return LimitSettings()


@pytest.fixture(scope="session")
def performer() -> Iterator[MotionPerformer]:
    """The shipped model on the CPU, and the renderer for its motion."""
    bundle, backend = find_bundle("sonic-net"), CpuBackend(1)
    encoder, denoiser = (backend.open(bundle.stage(name, "cpu")) for name in ("encoder", "denoiser"))
    yield MotionPerformer(bundle, encoder, denoiser)
    encoder.close()
    denoiser.close()


@pytest.fixture(scope="session")
def sonic_net(performer: MotionPerformer) -> SonicNet:
    """The shipped model on the CPU."""
    return performer.net


@pytest.fixture(scope="session")
def painted_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a bundle that paints the face, of a shape and with a network, once; its folder."""
    root = tmp_path_factory.mktemp("bundles")

    def make(shape: str, network: str = "random") -> Path:
        folder = root / f"{shape}-{network}"
        return folder if folder.exists() else frames_bundle(folder, shape, network)

    return make


@pytest.fixture(scope="session")
def sample(sonic_net: SonicNet) -> Speech:
    """The sample recording, 13 s of a voice."""
    return read_speech(share_dir() / "samples" / "speech.flac", sonic_net.bundle.mel, LimitSettings())


# not ru_maxrss: a child starts with its parent's
_MEASURE = """
import re, time
start = time.monotonic()
{code}
print("PEAK", re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1], time.monotonic() - start)
"""


@pytest.fixture
def alone() -> Callable[[str], Tuple[str, float, float]]:
    """Run code in a process of its own; returns its output, its peak memory in MB, and its seconds."""

    def run(code: str) -> Tuple[str, float, float]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _MEASURE.format(code=code)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "engine")])},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed, _, figures = done.stdout.rpartition("PEAK ")
        peak_kb, seconds = figures.split()
        return printed.strip(), int(peak_kb) / 1024, float(seconds)

    return run


@pytest.fixture
def daemons():
    started = []
    yield started
    for daemon in started:
        daemon.process.kill()
        daemon.process.wait()


@pytest.fixture
def start(tmp_path, daemons):
    """Start a daemon whose worker runs the stub pipeline."""

    def start(*stub_words, notify_socket=None, stub=STUB, run=RUN_WITH_STUB, poll_s=QUICK["poll_s"], **worker):
        config = tmp_path / "sonic-edge.yaml"
        spool = {"root": str(tmp_path / "spool"), **QUICK, "poll_s": poll_s}
        config.write_text(yaml.safe_dump({"spool": spool, "worker": worker}))
        made = Daemon(tmp_path, [sys.executable, "-c", run, str(config), stub, *stub_words], notify_socket)
        daemons.append(made)
        return made

    return start


@pytest.fixture
def ready(start):
    def ready(*stub_words, **settings):
        made = start(*stub_words, **settings)
        made.until_logged("ready; watching")
        return made

    return ready
