"""One typed status for all who write or read it."""

import subprocess
import sys
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from sonic_edge.live.state import LiveStatus, MicrophoneState, MirrorState, SpeakerState, StudioState
from sonic_edge.process.messages import plain
from sonic_edge.service.status import JobStatus, QueueStatus, Status, WorkerStatus, statuses

ROOT = Path(__file__).parents[2]

WRONG = """
from sonic_edge.service.status import Status

def figure(status: Status) -> object:
    return status.job and status.job.{field}
"""


@pytest.mark.skipif(find_spec("mypy") is None, reason="NOT RUN: mypy needs Python 3.10 or newer")
def test_mypy_finds_a_misspelt_field(tmp_path):
    for field, status in (("percent", 0), ("percnt", 1)):
        program = tmp_path / f"{field}.py"
        program.write_text(WRONG.format(field=field))
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--config-file", ROOT / "setup.cfg", program],
            capture_output=True, text=True, cwd=ROOT, timeout=600,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
    assert '"JobStatus" has no attribute "percnt"; maybe "percent"?' in done.stdout


def test_nobody_reads_it_by_strings():
    """`ask` gives decoded JSON; in the product only what passes it on whole may use that."""
    for path in (ROOT / "sonic_edge").rglob("*.py"):
        text = path.read_text()
        assert 'Request("status")' not in text or path.name in ("control.py", "status.py"), path


def test_what_is_written_is_what_is_read():
    speaker = SpeakerState(True, "", "a speaker", -1.5, 0, 1, 2, 10.0)
    mirror = MirrorState(5, 1, 2, 3, {"total": 150.0}, 3.0, 0.25, 0.5, 0.1, speaker)
    studio = StudioState(
        "mirror", True, False, MicrophoneState(True, "a microphone", 3, 1), False, mirror, {"camera": "x"}
    )
    status = Status(
        version="1", pid=7, up_s=1.5, state="ready", queue=QueueStatus(2, ["课文", "b"], ""),
        worker=WorkerStatus("none"), temperature_c={"cpu": 51.0}, job=JobStatus("课文", "rendering", 1, 2, 50, 1, 0.5),
        live=LiveStatus.of(studio, True, ""),
    )  # fmt: skip
    assert statuses.check(plain(status)) == status


def test_what_is_not_known_is_empty_or_left_out():
    written = plain(Status())
    assert written["job"] == written["npu"] == written["disk"] == {}
    assert not {"live", "queue", "worker", "counts"} & set(written)
    live = plain(LiveStatus.of(None, True, "no camera"))
    assert live == {"mirror": {}, "muted": True, "error": "no camera"}
    assert statuses.check({}) == Status()


@pytest.mark.parametrize("wrong", [3, "x", [], [1], None, {"left_s": []}, {"waiting": "many"}])
def test_parts_of_another_version_count_as_not_known(wrong):
    parts = [f.name for f in fields(Status) if "Optional" in str(f.type)]
    assert len(parts) > 10
    for name in parts:
        read = getattr(statuses.check({name: wrong}), name)
        assert read is None or is_dataclass(read) or name in ("pid", "up_s") or read == wrong == [], (name, read)
