import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sonic_edge import disk
from sonic_edge.cli import main
from sonic_edge.config import SpoolSettings
from sonic_edge.errors import DeviceError, RequestError
from sonic_edge.spool import Spool
from sonic_edge.spool.submit import STALE_S, name_for, outcome_of, submit

FILES = {"a.wav": b"sound", "a.jpg": b"picture"}


@pytest.fixture
def root(tmp_path):
    with Spool(SpoolSettings(root=str(tmp_path / "spool"))) as spool:
        yield spool.root


@pytest.fixture
def unmasked():
    before = os.umask(0o077)
    yield
    os.umask(before)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# ---- whole or not at all -----------------------------------------------------------------------------------------


def test_everything_is_present(root, tmp_path):
    (tmp_path / "long.wav").write_bytes(os.urandom(3 << 20))
    with (tmp_path / "long.wav").open("rb") as file:
        assert submit(root, "课文 1", {"long.wav": file, "job.yaml": b"seed: 3\n"}) == "课文 1"
    job = root / "inbox" / "课文 1"
    assert names(job) == ["job.yaml", "long.wav"] and names(root / "inbox") == ["课文 1"]
    assert (job / "long.wav").read_bytes() == (tmp_path / "long.wav").read_bytes()


def test_the_daemon_may_move_and_read_it_whatever_the_umask(root, unmasked):
    job = root / "inbox" / submit(root, "a", FILES)
    assert job.stat().st_mode & 0o777 == 0o770
    assert {p.stat().st_mode & 0o777 for p in job.iterdir()} == {0o660}


def test_what_is_private_nobody_else_reads(root):
    job = root / "inbox" / submit(root, "a", FILES, is_private=True)
    assert job.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in job.iterdir()} == {0o600}
    assert ".private" in names(job)


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_disk_that_fails_leaves_nothing(root, monkeypatch, step):
    def fail(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (disk, "rename")), fail)
    with pytest.raises(DeviceError, match="cannot be put into the inbox: Input/output error"):
        submit(root, "a", FILES)
    assert names(root / "inbox") == []


def test_a_source_that_cannot_be_read_leaves_nothing(root):
    with Path("/proc/self/mem").open("rb") as broken, pytest.raises(RequestError, match=r"b\.wav: cannot be read"):
        submit(root, "a", {"a.jpg": b"picture", "b.wav": broken})
    assert names(root / "inbox") == []


def test_no_space_says_what_is_needed_and_what_is_there(root, tmp_path):
    with (tmp_path / "vast.wav").open("wb+") as vast:
        free = shutil.disk_usage(root).free
        vast.truncate(free + (10 << 30))  # takes no space itself
        with pytest.raises(DeviceError, match=r"it needs \d+\.\d MB, but only \d+\.\d MB are free; free some space"):
            submit(root, "a", {"vast.wav": vast})
    assert names(root / "inbox") == []


def test_a_disk_that_fills_meanwhile(root, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeviceError, match="the disk is full; free some space"):
        submit(root, "a", FILES)
    assert names(root / "inbox") == []


KILLED_MIDWAY = """
import os, signal, sys
from pathlib import Path
from sonic_edge.spool.submit import submit

class Dies:
    def __init__(self): self.n = 0
    def fileno(self): return os.open(os.devnull, os.O_RDONLY)
    def read(self, n):
        self.n += 1
        if self.n > 2: os.kill(os.getpid(), signal.SIGKILL)
        return b"x" * n
submit(Path(sys.argv[1]), "a", {"a.jpg": b"picture", "a.wav": Dies()})
"""


def test_a_killed_submitter_leaves_no_job_and_its_remains_are_removed(root):
    killed = subprocess.run([sys.executable, "-c", KILLED_MIDWAY, str(root)], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (root / "inbox").iterdir()
    assert left.name.startswith(".a.") and left.name.endswith(".part") and (left / "a.wav").exists()
    submit(root, "b", FILES)
    assert left.exists(), "it may still be written"
    old = time.time() - STALE_S - 60
    os.utime(left, (old, old))
    held = os.open(left, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    submit(root, "c", FILES)
    assert left.exists(), "somebody writes it, whatever the clock says"
    os.close(held)
    submit(root, "d", FILES)
    assert names(root / "inbox") == ["b", "c", "d"]


def test_hidden_files_are_left_alone(root):
    kept = root / "inbox" / ".Trash.part"
    kept.mkdir()
    old = time.time() - STALE_S - 60
    os.utime(kept, (old, old))
    submit(root, "a", FILES)
    assert kept.exists()


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "taken", ["inbox/a", "inbox/a.wav", "outbox/a.json", "outbox/a.mp4", "failed/a", "work/a"], ids=str
)
def test_a_name_is_given_once(root, taken):
    (root / taken).mkdir()
    assert name_for(root, "a") == "a-2"
    assert submit(root, "a", FILES) == "a-2"
    assert submit(root, "a", FILES) == "a-3"


@pytest.mark.parametrize("name", ["-rf", "../../etc/passwd", ".hidden", "a\nb", "课" * 200, "x/y"])
def test_any_name_stays_in_the_inbox(root, name):
    given = submit(root, name, FILES)
    assert names(root / "inbox") == [given] and "/" not in given and given[0] not in "-."
    assert len(given.encode()) <= 200


def test_somebody_else_is_faster(root, monkeypatch):
    real = disk.rename

    def race(source, target):
        if target.name == "a":
            target.mkdir()
            (target / "theirs").touch()
        real(source, target)

    monkeypatch.setattr(disk, "rename", race)
    assert submit(root, "a", FILES) == "a-2"
    assert names(root / "inbox" / "a") == ["theirs"]


def test_two_at_once_lose_nothing(root):
    threads = [threading.Thread(target=lambda i=i: submit(root, "a", {"a.wav": b"%d" % i})) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = sorted((job / "a.wav").read_bytes() for job in (root / "inbox").iterdir())
    assert held == [b"%d" % i for i in range(8)]


# ---- who may -------------------------------------------------------------------------------------------------------


def test_a_stranger_is_told_which_group_may():
    """As root, become nobody for a while; otherwise use a folder that one may not write."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        (folder / "inbox").mkdir(mode=0o750)
        is_root = os.geteuid() == 0
        if is_root:
            os.setegid(65534)
            os.seteuid(65534)
        else:
            (folder / "inbox").chmod(0o500)
        try:
            with pytest.raises(RequestError, match=r"this user may not write there; members of group \S+ may"):
                submit(folder, "a", FILES)
        finally:
            if is_root:
                os.seteuid(0)
                os.setegid(0)
    finally:
        (folder / "inbox").chmod(0o700)
        shutil.rmtree(folder)


def test_there_is_no_inbox(tmp_path):
    with pytest.raises(DeviceError, match="there is no such folder; `sonic-edge run` creates it"):
        submit(tmp_path, "a", FILES)


# ---- submit --------------------------------------------------------------------------------------------------------


@pytest.fixture
def box(tmp_path):
    """A spool, its configuration, a recording and a photo; `serve` finishes jobs as the daemon does."""

    class Box:
        root = tmp_path / "spool"
        config = tmp_path / "box.yaml"
        speech, photo = tmp_path / "课文 1.wav", tmp_path / "me.jpg"

        def __init__(self):
            self.stops = []

        def submit(self, *words):
            return main(["submit", "--config", str(self.config), *map(str, words)])

        def serve(self, error=None):
            stop = threading.Event()
            settings = SpoolSettings(root=str(self.root), settle_s=0.1, poll_s=0.05)

            def work():
                with Spool(settings) as spool:
                    for job in spool.watch(stop):
                        spool.start(job)
                        if error is not None:
                            spool.fail(job, error)
                        else:
                            job.output.write_bytes(b"video")
                            spool.publish(job, {"warnings": []})

            thread = threading.Thread(target=work)
            thread.start()
            self.stops.append((stop, thread))

    box = Box()
    box.config.write_text(f"spool: {{root: {box.root}}}\n")
    box.speech.write_bytes(b"sound")
    box.photo.write_bytes(b"picture")
    with Spool(SpoolSettings(root=str(box.root))):
        pass
    yield box
    for stop, thread in box.stops:
        stop.set()
        thread.join()


def test_submit_puts_a_job_in_and_prints_its_name(box, capsys):
    assert box.submit(box.speech, box.photo, "--set", "seed=3", "--set", "smooth=false") == 0
    assert capsys.readouterr().out == "课文 1\n"
    job = box.root / "inbox" / "课文 1"
    assert names(job) == ["job.yaml", "me.jpg", "课文 1.wav"]
    assert (job / "job.yaml").read_text() == "seed: 3\nsmooth: false\n"


def test_submit_takes_photo_and_recording_in_either_order(box):
    assert box.submit(box.photo, box.speech, "--name", "x") == 0
    assert names(box.root / "inbox" / "x") == ["me.jpg", "课文 1.wav"]


@pytest.mark.parametrize(
    "words, status, reported",
    [
        (["{speech}"], 2, "there is no photo with it, and spool.portrait is not set"),
        (["{photo}"], 2, "me.jpg: is not a recording"),
        (["{speech}", "{speech}"], 2, "is not a photo"),
        (["{folder}/gone.wav", "{photo}"], 2, "gone.wav: is not there"),
        (["{folder}/empty.wav", "{photo}"], 2, "is empty (0 bytes)"),
        (["{speech}", "{photo}", "--set", "seed=-1"], 78, "seed"),
        (["{speech}", "{photo}", "--set", "sed=1"], 78, "sed"),
        (["{speech}", "{photo}", "--name", ""], 2, "--name: must not be empty"),
    ],
)
def test_submit_finds_mistakes_before_it_puts_anything_in(box, capsys, words, status, reported):
    (box.speech.parent / "empty.wav").touch()
    fill = {"speech": box.speech, "photo": box.photo, "folder": box.speech.parent}
    assert box.submit(*(word.format(**fill) for word in words)) == status
    assert reported in capsys.readouterr().err
    assert names(box.root / "inbox") == []


def test_submit_alone_where_the_configured_portrait_speaks(box):
    box.config.write_text(f"spool: {{root: {box.root}, portrait: {box.photo}}}\n")
    assert box.submit(box.speech) == 0
    assert names(box.root / "inbox" / "课文 1") == ["课文 1.wav"]


def test_submit_waits_for_the_video(box, capsys):
    box.serve()
    assert box.submit(box.speech, box.photo, "--wait") == 0
    assert capsys.readouterr().out == f"课文 1\n{box.root}/outbox/课文 1.mp4\n"
    # another of the same name waits for its own end, not for that one
    assert box.submit(box.speech, box.photo, "--wait") == 0
    assert capsys.readouterr().out == f"课文 1-2\n{box.root}/outbox/课文 1-2.mp4\n"


@pytest.mark.parametrize("error, status", [(RequestError("no face"), 2), (DeviceError("the chip"), 1)])
def test_submit_waits_and_reports_the_failure(box, capsys, error, status):
    box.serve(error)
    assert box.submit(box.speech, box.photo, "--wait") == status
    assert f"sonic-edge: {error}" in capsys.readouterr().err


# ---- ends ----------------------------------------------------------------------------------------------------------


def test_a_job_of_the_same_name_is_not_taken_for_ours(root):
    (root / "outbox" / "a.json").write_text('{"inputs": {"speech": {"sha256": "theirs"}}}')
    assert outcome_of(root, "a", "ours") is None
    (root / "outbox" / "a-2.json").write_text('{"inputs": {"speech": {"sha256": "ours"}}}')
    assert outcome_of(root, "a", "ours").video == root / "outbox" / "a-2.mp4"


@pytest.mark.parametrize("report", ["{", "[]", "null", '{"inputs": 3}'])
def test_an_unreadable_report_still_ends_the_job(root, report):
    (root / "outbox" / "a.json").write_text(report)
    assert outcome_of(root, "a", "ours").video == root / "outbox" / "a.mp4"


def test_submit_waits_for_its_own_video(box, capsys, monkeypatch):
    """For people in the group `work` is shut: a job of the same name may be under way there, and end first."""
    ends = iter([("ours.json", '{"inputs": {"speech": {"sha256": "of another"}}}'), ("ours-2.json", "{}")])

    def wait(seconds):
        name, report = next(ends)
        (box.root / "outbox" / name).write_text(report)

    monkeypatch.setattr("sonic_edge.cli.jobs.time", SimpleNamespace(sleep=wait))
    assert box.submit(box.speech, box.photo, "--name", "ours", "--wait") == 0
    assert next(ends, None) is None
    assert capsys.readouterr().out == f"ours\n{box.root}/outbox/ours-2.mp4\n"
