import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from daemon_parts import DEADLINE_S, QUICK, RUN_WITH_STUB, Daemon, drop, worker_of
from stub_worker import __file__ as STUB
from waiting import state_of

from sonic_edge.config import share_dir
from sonic_edge.service.daemon import notify


def test_it_stays_light():
    code = "import sys, sonic_edge.service.daemon; print({'numpy', 'cv2', 'av', 'PIL'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_jobs_become_results_one_after_another(ready):
    daemon = ready()
    for name in ("一", "二"):
        drop(daemon, name, "ok")
    for name in ("一", "二"):
        daemon.until_there(f"outbox/{name}.json")
        assert (daemon.spool / "outbox" / f"{name}.mp4").read_bytes() == b"a video"
        assert sorted(p.name for p in (daemon.spool / "outbox" / f"{name}.inputs").iterdir()) == [
            f"{name}.jpg",
            f"{name}.wav",
        ]
    assert daemon.text().count("loading\n") == 1, "the model must stay loaded between jobs"
    status, seconds = daemon.end()
    assert status == 0 and seconds < 10


def test_jobs_there_at_start_are_taken(start):
    daemon = start()
    drop(daemon, "a", "ok")
    daemon.until_there("outbox/a.json")


def test_a_bad_job_goes_to_failed_and_the_daemon_goes_on(ready):
    daemon = ready()
    (daemon.spool / "inbox" / "bad.yaml").write_text("seed: 4")  # first: alone it waits for ever
    drop(daemon, "bad", "refuse")
    daemon.until_there("failed/bad/reason.json")
    reason = daemon.json("failed/bad/reason.json")
    assert reason["what"] == "bad.wav: nobody speaks" and reason["error"] == "RequestError"
    assert reason["attempts"] == 1 and reason["controls"] == {"seed": 4}
    drop(daemon, "control", "control")
    daemon.until_there("failed/control/reason.json")
    assert daemon.json("failed/control/reason.json")["error"] == "ConfigError"
    drop(daemon, "good", "ok")
    daemon.until_there("outbox/good.json")
    assert daemon.text().count("loading\n") == 1


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [
        ("crash", "RequestError", "killed by SIGSEGV"),
        ("bug", "RequestError", "ValueError: a mistake of ours"),
        ("device", "DeviceError", "the NPU is on fire"),
    ],
)
def test_a_job_that_keeps_failing_has_an_attempt_limit(ready, action, kind, words):
    daemon = ready(attempts=2)
    drop(daemon, "a", action)
    daemon.until_there("failed/a/reason.json")
    reason = daemon.json("failed/a/reason.json")
    assert words in reason["what"] and "tried 2 times" in reason["what"]
    assert reason["error"] == kind and reason["attempts"] == 2
    drop(daemon, "good", "ok")
    daemon.until_there("outbox/good.json")
    assert daemon.text().count("loading\n") == 3


def test_a_job_that_crashes_once_is_done_at_the_second_attempt(ready):
    daemon = ready()
    drop(daemon, "a", "crash 1")
    daemon.until_there("outbox/a.json")
    assert "a: started, attempt 2" in daemon.text()


def test_a_job_that_hangs_is_ended_and_counted(ready):
    daemon = ready(stall_s=5, attempts=1)
    drop(daemon, "a", "stall")
    daemon.until_there("failed/a/reason.json")
    reported = re.search(r"no progress for (\d+) s while rendering", daemon.json("failed/a/reason.json")["what"])
    assert int(reported[1]) >= 5
    drop(daemon, "good", "ok")
    daemon.until_there("outbox/good.json")


def test_a_job_that_wants_too_much_memory_fails_at_once_and_costs_no_other(ready):
    daemon = ready(memory_mb=500)
    drop(daemon, "a", "hoard")
    daemon.until_there("failed/a/reason.json")
    assert "worker.memory_mb = 500" in daemon.json("failed/a/reason.json")["what"]
    assert daemon.json("failed/a/reason.json")["attempts"] == 1
    drop(daemon, "good", "ok")
    daemon.until_there("outbox/good.json")


def test_a_worker_that_dies_with_nothing_to_do_is_replaced(ready):
    daemon = ready()
    os.kill(worker_of(daemon), signal.SIGKILL)
    daemon.until_logged("the worker is ready", times=2)
    drop(daemon, "a", "ok")
    daemon.until_there("outbox/a.json")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_job_is_parked_and_redone(ready, tmp_path, number):
    daemon = ready()
    drop(daemon, "a", "slow 600")
    daemon.until_logged("a: started")
    worker = worker_of(daemon)
    status, seconds = daemon.end(number)
    assert status == 0 and seconds < 10
    assert not Path(f"/proc/{worker}").exists()
    assert [p.name for p in (daemon.spool / "work").iterdir()] == ["a"]
    assert json.loads((daemon.spool / "work/a/job.json").read_text())["state"] == "claimed"
    (daemon.spool / "work/a/inputs/a.wav").write_text("ok")
    again = ready()
    again.until_there("outbox/a.json")
    assert "unfinished from last time: a" in again.text()
    again.until_empty("work")


def test_a_daemon_that_is_killed_does_its_job_again(ready):
    daemon = ready()
    drop(daemon, "a", "slow 600")
    daemon.until_logged("a: started")
    daemon.end(signal.SIGKILL)
    (daemon.spool / "work/a/inputs/a.wav").write_text("ok")
    ready().until_there("outbox/a.json")


def test_sigterm_while_the_model_loads(start):
    daemon = start("hang")
    daemon.until_logged("loading\n")
    status, seconds = daemon.end()
    assert status == 0 and seconds < 10


def test_a_wrong_setting_that_the_worker_finds_ends_it_with_78(start):
    daemon = start("config")
    assert daemon.process.wait(DEADLINE_S) == 78
    assert "model.bundle = x: there is no such bundle" in daemon.text()
    assert "Traceback" not in daemon.text()


def test_a_machine_that_fails_at_start_is_tried_again(start):
    daemon = start("device")
    daemon.until_logged("the worker cannot be started: no NPU; trying again", times=2)
    status, seconds = daemon.end()
    assert status == 0 and seconds < 10


def test_a_machine_that_fails_for_long_ends_it_with_1(start, tmp_path):
    impatient = RUN_WITH_STUB.replace(
        "path =", "from sonic_edge.service.worker import supervisor\nsupervisor.GIVE_UP_S = 0.5\npath ="
    )
    assert impatient != RUN_WITH_STUB
    config = tmp_path / "sonic-edge.yaml"
    config.write_text(yaml.safe_dump({"spool": {"root": str(tmp_path / "spool")}}))
    done = subprocess.run(
        [sys.executable, "-c", impatient, str(config), STUB, "device"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 1 and "ERROR the worker cannot be started: no NPU\n" in done.stderr


def test_a_second_daemon_says_who_holds_the_spool_and_ends(ready, start):
    first = ready()
    second = start()
    assert second.process.wait(DEADLINE_S) == 1
    assert f"another daemon is using it (process {first.process.pid})" in second.text()
    drop(first, "a", "ok")
    first.until_there("outbox/a.json")


# ---- systemd -----------------------------------------------------------------------------------------------------


class Systemd:
    """What systemd's end of the notify socket hears."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.heard = []

    def listen(self, seconds):
        while select.select([self.socket], [], [], seconds)[0]:
            self.heard.append((time.monotonic(), self.socket.recv(65536).decode()))
            seconds = 0
        return [text for _, text in self.heard]

    def until(self, text):
        end = time.monotonic() + DEADLINE_S
        while not any(text in heard for heard in self.listen(0.2)):
            assert time.monotonic() < end, (text, self.heard)


@pytest.fixture
def systemd():
    address = f"@sonic-edge-test-{os.getpid()}-{time.monotonic_ns()}"
    made = Systemd("\0" + address[1:])
    with contextlib.closing(made.socket):
        yield made, address


def test_notify_speaks_to_paths_and_names(tmp_path, monkeypatch, systemd):
    abstract, address = systemd
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1", "STATUS=你好\nSTOPPING=1")
    assert abstract.listen(DEADLINE_S) == ["READY=1\nSTATUS=你好 STOPPING=1"]
    monkeypatch.chdir(tmp_path)  # the path of a socket is at most 108 bytes
    plain = Systemd("s")
    with contextlib.closing(plain.socket):
        monkeypatch.setenv("NOTIFY_SOCKET", "s")
        notify("WATCHDOG=1")
        assert plain.listen(DEADLINE_S) == ["WATCHDOG=1"]


def test_notify_is_silent_when_nobody_listens(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nowhere"))
    notify("READY=1")


def test_systemd_hears_how_it_goes(start, systemd):
    """At most one message a second while idle: ten messages wait for a listener, further ones are lost."""
    ears, address = systemd
    daemon = start(notify_socket=address, poll_s=1.0)
    ears.until("READY=1")
    heard = ears.listen(0)
    assert heard.index("STATUS=loading the model") < heard.index("READY=1")
    ears.until("STATUS=waiting for jobs")
    drop(daemon, "a", "slow 3")
    ears.until("STATUS=a: rendering 50 %")
    daemon.until(lambda: ears.listen(0) and (daemon.spool / "outbox/a.json").exists(), "outbox/a.json")
    heard = ears.listen(0)
    waiting, working = heard.index("STATUS=waiting for jobs"), heard.index("STATUS=a: rendering 50 %")
    assert "WATCHDOG=1" in heard[waiting:working] and heard[working:].count("WATCHDOG=1") > 1, "it lives all the time"
    daemon.end()
    ears.until("STOPPING=1")


def test_a_systemd_that_does_not_listen_holds_up_nothing(ready, systemd):
    _, address = systemd
    daemon = ready(notify_socket=address)
    drop(daemon, "a", "slow 3")
    daemon.until_there("outbox/a.json")


def test_a_daemon_that_is_stuck_gives_no_sign_of_life(start, systemd):
    ears, address = systemd
    daemon = start(notify_socket=address)
    ears.until("STATUS=waiting for jobs")
    daemon.process.send_signal(signal.SIGSTOP)
    daemon.until(lambda: state_of(daemon.process.pid) == "T", "it stands still")
    n_heard = len(ears.listen(0))
    time.sleep(1.5)
    assert len(ears.listen(0)) == n_heard
    daemon.process.send_signal(signal.SIGCONT)
    daemon.end()


# ---- the real thing ----------------------------------------------------------------------------------------------


@pytest.fixture
def patience(tmp_path):
    """Write the settings of the real daemon: for how long a job must lie still, seconds."""

    def patience(settle_s):
        config = tmp_path / "sonic-edge.yaml"
        spool = {"root": str(tmp_path / "spool"), **QUICK, "settle_s": settle_s, "pair_s": settle_s}
        config.write_text(yaml.safe_dump({"spool": spool, "controls": {"min_resolution": 128, "inference_steps": 10}}))
        return config

    return patience


@pytest.fixture
def real(tmp_path, daemons):
    """Start the daemon as systemd does, with the real pipeline."""

    def real(config):
        made = Daemon(tmp_path, [sys.executable, "-m", "sonic_edge", "run", "--config", str(config)])
        daemons.append(made)
        made.until_logged("ready; watching")
        return made

    return real


def test_a_photo_and_a_recording_dropped_into_the_inbox_become_a_video(real, patience, short_speech, make_speech):
    daemon = real(patience(60.0))
    box = daemon.spool / "inbox"

    # a job whose recording is still being written is left alone ...
    shutil.copy(share_dir() / "samples" / "portrait.jpg", box / "问候.jpg")
    sound = short_speech.read_bytes()
    with (box / "问候.wav").open("wb") as slow:
        for i in range(8):
            slow.write(sound[i * len(sound) // 8 : (i + 1) * len(sound) // 8])
            slow.flush()
            time.sleep(0.1)
            assert (box / "问候.wav").exists()
    patience(0.2)  # it is complete: no waiting for a minute here
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until_there("outbox/问候.json")
    report = daemon.json("outbox/问候.json")
    assert report["status"] == "done" and report["job"] == "问候" and report["result"] == "问候.mp4"
    assert report["inputs"]["portrait"]["name"] == "问候.jpg"
    assert report["video"]["n_frames"] == round(report["speech_s"] * 25)
    assert (daemon.spool / "outbox/问候.mp4").read_bytes()[4:8] == b"ftyp"

    # ... a bad one goes to failed and the daemon goes on ...
    shutil.copy(share_dir() / "samples" / "portrait.jpg", box / "bad.jpg")  # first: alone it waits for ever
    (box / "bad.wav").write_bytes(b"RIFF, it says, but it is not")
    daemon.until_there("failed/bad/reason.json")
    reason = daemon.json("failed/bad/reason.json")
    assert reason["error"] == "RequestError" and "bad.wav" in reason["what"] and reason["attempts"] == 1

    # ... and a long one is parked by SIGTERM and done whole at the next start.
    (box / ".long").mkdir()
    make_speech(box / ".long" / "long.wav", 120.0)
    shutil.copy(share_dir() / "samples" / "portrait.jpg", box / ".long")
    (box / ".long" / "job.yaml").write_text("seed: 3")
    (box / ".long").rename(box / "long")
    daemon.until_logged("long: started")
    daemon.until(lambda: any((daemon.spool / "work/long/result").iterdir()), "a half-written video")
    status, seconds = daemon.end()
    assert status == 0 and seconds < 10
    assert not (daemon.spool / "outbox/long.json").exists()
    assert "long: parked" in daemon.text()
    assert [p.name for p in (daemon.spool / "work").iterdir()] == ["long"]

    make_speech(daemon.spool / "work/long/inputs/long.wav", 20.0)  # it need not be long any more
    again = real(patience(0.2))
    again.until_there("outbox/long.json")
    report = again.json("outbox/long.json")
    assert report["controls"]["seed"] == 3 and report["video"]["n_frames"] == 500
    again.until_empty("work")
    assert list(box.iterdir()) == []
    assert sorted(p.name for p in (again.spool / "outbox").iterdir()) == sorted(
        f"{name}{suffix}" for name in ("问候", "long") for suffix in (".inputs", ".json", ".mp4")
    )
    assert again.end()[0] == 0
