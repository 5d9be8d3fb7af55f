import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from waiting import DEADLINE_S, lives, until

from sonic_edge.config import Config
from sonic_edge.errors import ConfigError, DeviceError, RequestError
from sonic_edge.process import MAX_LINE_BYTES
from sonic_edge.service.worker import Died, Failed, Finished, Progress, Ready, Worker, link

STUB = (sys.executable, str(Path(__file__).parents[1].joinpath("stub_worker.py")))


def settings(**changed):
    return Config.model_validate({"worker": changed})


@pytest.fixture
def start():
    started = []

    def start(*words, **changed):
        made = Worker(settings(**changed), (*STUB, *words))
        started.append(made)
        return made

    yield start
    for made in started:
        made.kill()


@pytest.fixture
def ready(start):
    def ready(**changed):
        made = start(**changed)
        assert last(made) == Ready()
        return made

    return ready


def last(made):
    """The next message that is not about progress."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        message = made.receive(1.0)
        if message is not None and not isinstance(message, Progress):
            return message
    raise AssertionError("the worker said nothing")


@pytest.fixture
def give(tmp_path):
    def give(made, action, controls=None):
        folder = tmp_path / "work" / "a" / "inputs"
        folder.mkdir(parents=True, exist_ok=True)
        speech = folder / "a.wav"
        speech.write_text(action)
        path = None
        if controls is not None:
            path = folder / "job.yaml"
            path.write_bytes(controls if isinstance(controls, bytes) else controls.encode())
        made.give(folder / "a.jpg", speech, path, tmp_path / "out.mp4")

    return give


def test_it_does_one_job_after_another_with_the_model_loaded(ready, give, tmp_path):
    made = ready()
    for n in (1, 2, 3):
        give(made, "ok")
        message = last(made)
        assert isinstance(message, Finished) and message.report["n_done"] == n
        assert (tmp_path / "out.mp4").read_bytes() == b"a video"


def test_its_settings_do_not_show_in_the_list_of_processes(ready):
    made = ready()
    line = Path(f"/proc/{made._child._process.pid}/cmdline").read_bytes()
    assert line.split(b"\0")[:-1] == [os.fsencode(word) for word in STUB]


def test_controls_are_read_from_the_jobs_file(ready, give):
    made = ready()
    give(made, "ok", "\ufeffseed: 3\nsmooth: false\n")
    assert last(made).report["controls"] == {"seed": 3, "smooth": False}
    give(made, "ok", "# nothing\n")
    assert last(made).report["controls"] == {}


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ("seed: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        ("[1, 2]", "must hold `name: value` lines"),
        ("1: 2", "must hold `name: value` lines"),
        ("a: &a [x]\nb: *a", "YAML aliases"),
        ("#" * 17000, "larger than 16384 bytes"),
        ("[" * 16000, "not nested lists"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
    ids=["open", "utf8", "list", "keys", "alias", "large", "deep", "object"],
)
def test_bad_controls_are_refused_in_words(ready, give, controls, words):
    made = ready()
    give(made, "ok", controls)
    message = last(made)
    assert isinstance(message.error, RequestError), message
    assert "job.yaml: " in str(message.error) and words in str(message.error)
    give(made, "ok")
    assert isinstance(last(made), Finished)


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [
        ("refuse", RequestError, "a.wav: nobody speaks"),
        ("control", ConfigError, "must be a whole number"),
        ("device", DeviceError, "the NPU is on fire"),
    ],
)
def test_errors_come_back_as_they_are_and_it_goes_on(ready, give, action, kind, words):
    made = ready()
    give(made, action, "seed: 5")
    message = last(made)
    assert type(message.error) is kind and words in str(message.error)
    assert message.controls == {"seed": 5}
    give(made, "ok")
    assert isinstance(last(made), Finished)


def test_dates_in_controls_do_not_break_the_pipe(ready, give):
    made = ready()
    give(made, "refuse", "seed: 2026-01-01")
    assert last(made).controls == {"seed": "2026-01-01"}


def test_progress_comes_but_does_not_flood(ready, give):
    made = ready()
    give(made, "slow 3")
    seen = []
    while not seen or isinstance(seen[-1], Progress):
        message = made.receive(DEADLINE_S)
        assert message is not None
        seen.append(message)
    assert seen[0] == Progress("rendering", 0, 100) and seen[1].total == 1_000_000
    assert 3 <= len(seen) <= 35


def test_what_libraries_print_does_not_get_into_the_pipe(ready, give, capfd):
    made = ready()
    give(made, "noisy")
    assert isinstance(last(made), Finished)
    made.kill()
    err = capfd.readouterr().err
    assert "a child prints" in err


@pytest.fixture
def clock(monkeypatch):
    """The daemon's clock: it advances only by the test, so that a slow machine causes no delays."""
    made = SimpleNamespace(now=1000.0)
    made.monotonic = lambda: made.now
    monkeypatch.setattr(link, "time", made)
    return made


def until_at(made, done):
    """Wait until it says that it is there."""
    until(lambda: (message := made.receive(1.0)) is not None and message.done == done, done)


def test_a_hang_is_killed_and_reported(clock, ready, give):
    made = ready(stall_s=5)
    give(made, "stall")
    until_at(made, 0)
    clock.now += 4.9
    assert made.receive(0.1) is None
    clock.now += 0.1
    message = made.receive(0.1)
    assert isinstance(message, Died) and "no progress for 5 s while rendering (0 of 100)" in message.reason
    assert not Path(f"/proc/{made._child._process.pid}").exists()
    assert made.receive(0.1) is None


def test_waiting_for_a_job_is_no_hang(clock, ready):
    made = ready(stall_s=1, job_s=10)
    clock.now += 10_000
    assert made.receive(0.1) is None and made.is_alive


def test_saying_the_same_again_and_again_is_no_progress(clock, ready, give):
    made = ready(stall_s=5)
    give(made, "circles")
    until_at(made, 100)
    clock.now += 4
    for _ in range(3):
        until_at(made, 100)
    clock.now += 1
    message = made.receive(0.1)
    assert isinstance(message, Died) and "no progress for 5 s while rendering (100 of 100)" in message.reason


def test_a_job_has_a_time_limit(clock, ready, give):
    made = ready(stall_s=60, job_s=100)
    give(made, "slow 600")
    for _ in range(2):
        assert isinstance(made.receive(DEADLINE_S), Progress)
        clock.now += 50
    message = made.receive(0.1)
    assert isinstance(message, Died) and "took longer than worker.job_s = 100 s, rendering (" in message.reason


def test_a_slow_job_is_no_hang(clock, ready, give):
    made = ready(stall_s=5)
    give(made, "slow 3")
    n_moves = 0
    while isinstance(message := made.receive(DEADLINE_S), Progress):
        n_moves += 1
        clock.now += 4
    assert isinstance(message, Finished) and n_moves > 1


def test_a_hang_while_loading_is_killed_and_reported(start):
    message = last(start("hang", start_s=2))
    assert "while loading the model" in message.reason


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("crash", "killed by SIGSEGV while rendering"),
        ("nothing", "ended with status 3 while rendering"),
        ("bug", "ValueError: a mistake of ours"),
        ("babble", "not a known message"),
    ],
)
def test_its_death_is_reported(ready, give, action, words):
    made = ready()
    give(made, action)
    message = last(made)
    assert isinstance(message, Died) and words in message.reason
    assert not made.is_alive


def test_a_kill_by_signal_9_is_reported(ready, give):
    made = ready()
    give(made, "slow 60")
    assert isinstance(made.receive(DEADLINE_S), Progress)
    os.kill(made._child._process.pid, signal.SIGKILL)
    assert "killed by SIGKILL" in last(made).reason


def test_a_job_given_to_a_dead_worker_does_not_crash_the_daemon(ready, give):
    made = ready()
    os.kill(made._child._process.pid, signal.SIGKILL)
    made._child._process.wait()
    give(made, "ok")
    assert isinstance(last(made), Died)


def test_too_much_memory_costs_the_job_and_the_worker(ready, give):
    made = ready(memory_mb=500)
    give(made, "hoard")
    message = last(made)
    assert isinstance(message.error, RequestError)
    assert "a.wav: needs more memory than worker.memory_mb = 500 allows" in str(message.error)
    assert not made.is_alive


@pytest.mark.parametrize(
    ("start_with", "kind", "words"),
    [
        ("config", ConfigError, "there is no such bundle"),
        ("device", DeviceError, "no NPU"),
        ("memory", ConfigError, "worker.memory_mb = 1500: too little to load the model"),
    ],
)
def test_a_failed_start_is_reported(start, start_with, kind, words):
    message = last(start(start_with))
    assert isinstance(message, Failed) and type(message.error) is kind and words in str(message.error)


def test_a_crash_while_loading_is_reported(start):
    assert "killed by SIGKILL while loading the model" in last(start("crash")).reason


def test_a_command_that_is_not_there():
    with pytest.raises(DeviceError, match="the worker cannot be started"):
        Worker(Config(), ("/nowhere/python",))


def test_it_dies_with_the_daemon(tmp_path):
    code = (
        "import sys, time; from sonic_edge.config import Config; from sonic_edge.service.worker import Worker\n"
        f"w = Worker(Config(), {STUB!r})\n"
        "assert w.receive(60) is not None; print(w._child._process.pid, flush=True); time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    until(lambda: not lives(pid), "its end")


def test_its_bounds(ready):
    made = ready(memory_mb=1000)
    limits = Path(f"/proc/{made._child._process.pid}/limits").read_text()
    rows = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert rows["Max data size"] == [str(1000 << 20)] * 2
    assert rows["Max core file size"] == ["0", "0"]
    assert Path(f"/proc/{made.pid}/oom_score_adj").read_text() == "500\n", "it goes before the daemon"


def test_it_is_no_part_of_the_service_protocol(monkeypatch, start):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    made = start()
    assert last(made) == Ready()
    environment = Path(f"/proc/{made._child._process.pid}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" not in environment and b"WATCHDOG_USEC" not in environment


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{}",
        b'{"tell": "dance"}',
        b'{"tell": "progress", "stage": "x", "done": "y", "total": 1}',
        b'{"tell": "progress", "stage": "x", "done": 1, "total": 1' + b"0" * 400 + b"}",
        b'{"tell": "progress", "stage": "x", "done": -1, "total": 1}',
        b'{"tell": "finished", "report": 3}',
        b'{"tell": "failed", "kind": "OSError", "message": "", "controls": {}, "last": false}',
        b"[" * 100_000,
        b"x" * (MAX_LINE_BYTES + 10),
    ],
    ids=["list", "empty", "unknown", "types", "huge", "negative", "report", "error", "deep", "long"],
)
def test_nonsense_from_the_worker_ends_it(line, tmp_path):
    talk = tmp_path / "talk"
    talk.write_bytes(line + b"\n")
    made = Worker(Config(), ("/bin/sh", "-c", f"cat '{talk}'; exec sleep 3600"))
    try:
        message = last(made)
        assert isinstance(message, Died) and "not a known message" in message.reason
    finally:
        made.kill()


def test_messages_in_pieces_are_put_together(tmp_path):
    halves = json.dumps({"tell": "progress", "stage": "think\nSTATUS=x", "done": 1, "total": 2})
    script = f"printf '%s' '{halves[:20]}'; sleep 0.3; printf '%s\\n' '{halves[20:]}'; exec sleep 3600"
    made = Worker(Config(), ("/bin/sh", "-c", script))
    try:
        message = None
        end = time.monotonic() + DEADLINE_S
        while message is None and time.monotonic() < end:
            message = made.receive(1.0)
        assert message == Progress("thinkSTATUS=x", 1, 2)
    finally:
        made.kill()
