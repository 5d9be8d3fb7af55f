"""Orders about jobs and settings, to a daemon whose worker is a stub."""

import json
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import yaml
from daemon_parts import RUN_WITH_STUB, drop, worker_of

from sonic_edge.cli import main
from sonic_edge.errors import RequestError
from sonic_edge.service.control import ask
from sonic_edge.service.messages import Request


@pytest.fixture
def order(tmp_path):
    return lambda *words: main([words[0], "--config", str(tmp_path / "sonic-edge.yaml"), *words[1:]])


@pytest.fixture
def reported(tmp_path):
    return lambda: ask(tmp_path / "spool/run", Request("status"))


@pytest.fixture
def change(tmp_path):
    """Change the settings file and have the daemon read it again."""

    def change(daemon, **sections):
        path = tmp_path / "sonic-edge.yaml"
        settings = yaml.safe_load(path.read_text())
        for name, section in sections.items():
            settings[name] = {**settings.get(name, {}), **section}
        path.write_text(yaml.safe_dump(settings))
        daemon.process.send_signal(signal.SIGHUP)

    return change


# ---- cancel, retry -------------------------------------------------------------------------------------------------


def test_a_job_under_way_is_cancelled_at_once_and_the_next_is_done(ready, order, reported, capsys):
    daemon = ready()
    drop(daemon, "a", "slow 600")
    daemon.until_logged("a: started")
    drop(daemon, "b", "ok")
    assert order("cancel", "a") == 0  # an answer is not waited for as long as the job would take
    assert capsys.readouterr().out == "a: cancelled\n"
    reason = daemon.json("failed/a/reason.json")
    assert reason["what"] == "a: cancelled by order" and reason["error"] == "RequestError"
    assert (daemon.spool / "failed/a/a.wav").read_text() == "slow 600"
    daemon.until_there("outbox/b.json")
    daemon.until(
        lambda: reported()["counts"] == {"done": 1, "failed": 0, "cancelled": 1, "worker_deaths": 0}, "counted"
    )
    daemon.until_empty("work")


@pytest.mark.parametrize(
    ("action", "goes_on"), [("stall", "a: started"), ("crash", "a: the worker was killed by SIGSEGV")]
)
def test_a_job_that_hangs_or_keeps_dying_is_cancelled_at_once(ready, order, action, goes_on):
    """The daemon is busy for longer than the canceller waits for an answer."""
    patience = "from sonic_edge.service.worker import supervisor\nsupervisor.FIRST_WAIT_S = 600.0\npath ="
    patient = RUN_WITH_STUB.replace("path =", patience)
    assert patient != RUN_WITH_STUB
    daemon = ready(run=patient, stall_s=600)
    drop(daemon, "a", action)
    daemon.until_logged(goes_on)
    assert order("cancel", "a") == 0
    daemon.until_there("failed/a/reason.json")
    daemon.until_empty("work")


def test_jobs_that_wait_are_listed_and_cancelled(ready, order, reported, capsys):
    daemon = ready()
    drop(daemon, "a", "slow 600")
    daemon.until(lambda: reported()["job"].get("id") == "a", "a is worked on")
    drop(daemon, "-课 文\n", "ok")
    drop(daemon, "c", "ok")
    daemon.until(lambda: reported()["queue"]["names"] == ["_课 文_", "c"], "listed")
    assert order("cancel", "_课 文_", "c") == 0
    assert list((daemon.spool / "inbox").iterdir()) == []
    assert sorted(p.name for p in (daemon.spool / "failed").iterdir()) == ["_课 文_", "c"]
    assert order("cancel", "nobody") == 2
    assert "nobody: no such job is waiting or running" in capsys.readouterr().err
    assert reported()["job"]["id"] == "a"


def test_a_failed_job_is_put_into_the_inbox_again_with_its_controls(ready, order, capsys):
    daemon = ready()
    (daemon.spool / "inbox/a.yaml").write_text("seed: 4")
    drop(daemon, "a", "refuse")
    daemon.until_there("failed/a/reason.json")
    (daemon.spool / "failed/a/a.wav").write_text("ok")
    assert order("retry", "a") == 0
    assert capsys.readouterr().out == "a: back in the inbox as a\n"
    daemon.until_there("outbox/a.json")
    assert daemon.json("outbox/a.json")["controls"] == {"seed": 4}
    assert not (daemon.spool / "failed/a").exists()
    for wrong in ("aa", "../work", "..", "", "长" * 100, os.fsdecode(b"\xff")):
        assert order("retry", "--", wrong) == 2
        assert "there is no such job" in capsys.readouterr().err


# ---- settings ------------------------------------------------------------------------------------------------------


def test_new_settings_hold_without_a_restart(ready, change, reported):
    daemon = ready()
    daemon.until(lambda: reported()["worker"]["state"] == "ready", "reported")
    pid = reported()["worker"]["pid"]
    change(daemon, spool={"keep_inputs": False})
    daemon.until_logged("the settings were read again")
    drop(daemon, "a", "ok")
    daemon.until_there("outbox/a.json")
    assert not (daemon.spool / "outbox/a.inputs").exists()
    daemon.until(lambda: reported()["worker"]["pid"] == pid, "the worker stays: nothing of its own changed")
    change(daemon, controls={"seed": 7})
    daemon.until_logged("the worker is ready", times=2)
    assert reported()["settings"]["error"] == ""


def test_wrong_settings_are_refused_and_the_old_ones_stay(ready, change, reported, order, capsys):
    daemon = ready()
    change(daemon, worker={"attempts": 99})
    daemon.until(lambda: "worker.attempts = 99" in reported()["settings"]["error"], "reported")
    order("status")
    assert "settings    refused at" in capsys.readouterr().out
    drop(daemon, "a", "ok")
    daemon.until_there("outbox/a.json")
    change(daemon, worker={"attempts": 3}, spool={"root": str(daemon.spool.parent / "other")})
    daemon.until(lambda: "cannot change while the daemon runs" in reported()["settings"]["error"], "reported")
    change(daemon, spool={"root": str(daemon.spool)})
    daemon.until(lambda: reported()["settings"]["error"] == "", "mended")


def test_settings_that_only_the_worker_finds_wrong_are_refused_too(ready, change, reported):
    daemon = ready("picky")
    change(daemon, controls={"seed": 13})
    daemon.until(lambda: "seed = 13: brings bad luck" in reported()["settings"]["error"], "reported")
    drop(daemon, "a", "ok")
    daemon.until_there("outbox/a.json")


def test_a_running_job_is_not_disturbed_by_new_settings(ready, change):
    daemon = ready()
    drop(daemon, "a", "slow 3")
    daemon.until_logged("a: started")
    change(daemon, controls={"seed": 7})
    daemon.until_there("outbox/a.json")
    assert daemon.text().count("a: started") == 1
    daemon.until_logged("the worker is ready", times=2)


# ---- room on the disk ----------------------------------------------------------------------------------------------


def plenty(folder):
    """MB: more than is free."""
    return shutil.disk_usage(folder).free // 1_000_000 + 10_000


def test_jobs_wait_for_room_and_go_on_by_themselves(ready, change, reported, order, capsys):
    daemon = ready()
    change(daemon, disk={"floor_mb": plenty(daemon.spool)})
    daemon.until_logged("disk full")
    drop(daemon, "a", "ok")
    daemon.until(lambda: reported()["queue"]["names"] == ["a"], "it waits")
    order("status")
    shown = capsys.readouterr().out
    assert "no job is started: disk full" in shown and "waiting     1: a" in shown
    assert (daemon.spool / "inbox/a.wav").exists()
    change(daemon, disk={"floor_mb": 10})
    daemon.until_there("outbox/a.json")
    assert "there is room on the disk again" in daemon.text()


def test_a_job_that_fills_the_disk_is_stopped_and_waits(ready, change, reported):
    daemon = ready(attempts=2)
    drop(daemon, "a", "slow 600")
    daemon.until_logged("a: started")
    change(daemon, disk={"floor_mb": 2 * plenty(daemon.spool)})
    daemon.until_logged("(attempt 1 of 2)")
    daemon.until(lambda: "disk full" in reported()["queue"]["held"], "held")
    assert [p.name for p in (daemon.spool / "work").iterdir()] == ["a"]
    (daemon.spool / "work/a/inputs/a.wav").write_text("ok")
    change(daemon, disk={"floor_mb": 10})
    daemon.until_there("outbox/a.json")


# ---- seen from outside ---------------------------------------------------------------------------------------------


def test_status_shows_the_past_and_the_present(ready, order, reported, capsys):
    daemon = ready()
    drop(daemon, "bad", "refuse")
    daemon.until_there("failed/bad/reason.json")
    drop(daemon, "a", "slow 600")
    daemon.until(lambda: reported()["job"].get("percent") == 50, "half way")
    daemon.until(lambda: reported()["job"]["left_s"] > 1, "about how long it takes")
    daemon.until(lambda: reported()["queue"]["waiting"] == 0, "reported")
    status = reported()
    assert status["counts"]["failed"] == 1 and status["errors"][-1]["what"] == "bad: failed: bad.wav: nobody speaks"
    assert status["worker"]["state"] == "working" and status["worker"]["pid"] == worker_of(daemon)
    assert status["job"]["left_s"] > 1 and status["disk"]["free_mb"] > 0
    assert order("status") == 0
    shown = capsys.readouterr().out
    for words in ("a: rendering 50 %, about", "[###############---------------]", "0 done, 1 failed", "nobody speaks"):
        assert words in shown
    daemon.until_there("run/sonic-edge.prom")
    figures = (daemon.spool / "run/sonic-edge.prom").read_text()
    assert "sonic_edge" in figures


def test_watch_goes_on_while_the_daemon_is_away(ready, order, reported, monkeypatch, capsys):
    daemon = ready()
    daemon.until(lambda: reported()["state"] == "waiting for jobs", "reported")
    passes = []

    def wait(seconds):
        passes.append(seconds)
        if len(passes) == 1:
            daemon.end()
        if len(passes) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("sonic_edge.cli.status.time", SimpleNamespace(sleep=wait))
    assert order("status", "--watch") == 130
    shown = capsys.readouterr().out
    assert "daemon      waiting for jobs" in shown and "no daemon answers here" in shown
    with pytest.raises(SystemExit):
        order("status", "--watch", "--json")


def test_notices_about_a_stick(ready, tmp_path):
    ready()
    ask(tmp_path / "spool/run", Request("say", name="usb_done"))
    with pytest.raises(RequestError, match="say hello: unknown text; it must be usb_reading"):
        ask(tmp_path / "spool/run", Request("say", name="hello"))


def test_the_status_is_json(ready, order, capsys):
    ready()
    assert order("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["version"]


def test_folders_that_somebody_deleted_are_made_again(ready):
    daemon = ready()
    for name in ("inbox", "outbox", "failed"):
        shutil.rmtree(daemon.spool / name)
    daemon.until_logged("was missing; created again", times=3)
    drop(daemon, "a", "ok")
    daemon.until_there("outbox/a.json")
