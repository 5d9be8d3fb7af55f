"""The daemon's thread for screen and studio, with a stub for the studio and no screen; test_live has the real parts."""

import json
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import yaml
from stub_studio import __file__ as STUB
from waiting import DEADLINE_S, until

from sonic_edge.cli import main
from sonic_edge.config import Config
from sonic_edge.errors import ConfigError, DeviceError, RequestError
from sonic_edge.hardware.npu import Monitor
from sonic_edge.live.notices import Notices
from sonic_edge.service.control import ask
from sonic_edge.service.daemon.kiosk import Kiosk
from sonic_edge.service.messages import Request, Retried


@pytest.fixture
def run(tmp_path):
    @contextmanager
    def start(*words, **live):
        live = {"mode": "record", **live}
        (tmp_path / "box.yaml").write_text(yaml.safe_dump({"spool": {"root": str(tmp_path)}, "live": live}))
        config = Config.model_validate({"spool": {"root": str(tmp_path)}, "live": live})
        with Kiosk(config, tmp_path / "run", [sys.executable, STUB, *words]) as kiosk:
            yield kiosk

    return start


def status(tmp_path):
    return ask(tmp_path / "run", Request("status"))


def sonic_edge(tmp_path, *words):
    return main([*words, "--config", str(tmp_path / "box.yaml")])


def test_orders_reach_the_studio_and_its_state_comes_back(run, tmp_path, capsys):
    with run() as kiosk:
        until(lambda: "mode" in status(tmp_path)["live"], "the studio is up")
        assert sonic_edge(tmp_path, "talk", "start") == 0
        until(lambda: status(tmp_path)["live"]["talking"], "talking")
        assert sonic_edge(tmp_path, "status") == 0
        reported = capsys.readouterr().out
        for words in ("record, talking", "a microphone; overruns: 3, disconnected: 1", "screen      none"):
            assert words in reported
        assert sonic_edge(tmp_path, "talk", "stop") == 0
        until(lambda: not status(tmp_path)["live"]["talking"], "not talking")
        assert sonic_edge(tmp_path, "snapshot") == 2
        assert "no picture in which one person looks" in capsys.readouterr().err
        kiosk.check()


def test_the_job_is_in_the_status(run, tmp_path, capsys):
    with run() as kiosk:
        kiosk.working("lesson", "rendering", 30, 75)
        until(lambda: status(tmp_path)["job"].get("percent") == 40, "40 %")
        assert sonic_edge(tmp_path, "status") == 0
        assert "lesson: rendering 40 %" in capsys.readouterr().out
        kiosk.finished(tmp_path / "lesson.mp4")
        until(lambda: status(tmp_path)["job"] == {}, "over")
        assert sonic_edge(tmp_path, "status", "--json") == 0
        assert json.loads(capsys.readouterr().out)["screen"]["state"] == "none"


def test_muted_stays_muted_whatever_is_started_again(run, tmp_path):
    with run():
        until(lambda: "mode" in status(tmp_path)["live"], "up")
        sonic_edge(tmp_path, "mute")
        until(lambda: status(tmp_path)["live"]["muted"], "muted")
    with run():
        until(lambda: "mode" in status(tmp_path)["live"], "up again")
        assert status(tmp_path)["live"]["muted"]
        sonic_edge(tmp_path, "unmute")
        assert not status(tmp_path)["live"]["muted"]
    assert not (tmp_path / "run" / "muted").exists()


def test_a_studio_that_dies_is_restarted_and_waiting_callers_are_answered(run, tmp_path):
    with run("die"):
        until(lambda: "mode" in status(tmp_path)["live"], "up")
        (tmp_path / "run" / "hold").touch()  # once the next one is ready it is forgotten
        with pytest.raises(RequestError, match="ended with status 9"):
            ask(tmp_path / "run", Request("talk"))
        assert "ended with status 9" in status(tmp_path)["live"]["error"]
        (tmp_path / "run" / "hold").unlink()
        until(lambda: "mode" in status(tmp_path)["live"], "up again")


def test_a_studio_that_talks_nonsense_is_ended(run, tmp_path):
    with run("babble"):
        until(lambda: "not a known message" in status(tmp_path)["live"]["error"], "ended")


def test_a_wrong_setting_is_reported_and_not_retried(run, tmp_path, capsys):
    with run("config") as kiosk:
        until(lambda: "camera.device = x" in status(tmp_path)["live"]["error"], "reported")
        time.sleep(1.5)
        assert kiosk._studio.studio is None
        assert sonic_edge(tmp_path, "status") == 0
        assert "camera.device = x: is wrong" in capsys.readouterr().out
        kiosk.check()


def test_without_live_mode_orders_say_what_to_set(run, tmp_path, capsys):
    with run(mode="none") as kiosk:
        assert sonic_edge(tmp_path, "talk", "start") == 2
        assert "live.mode = none: set it to record or mirror" in capsys.readouterr().err
        with pytest.raises(RequestError, match="dance: unknown order"):
            ask(tmp_path / "run", Request("dance"))
        assert kiosk._studio.studio is None, "nothing is loaded for nothing"


def test_no_daemon(tmp_path, capsys):
    (tmp_path / "box.yaml").write_text(yaml.safe_dump({"spool": {"root": str(tmp_path)}}))
    assert sonic_edge(tmp_path, "status") == 1
    assert "start one with `sonic-edge run`" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises((ConfigError, DeviceError), match="run"), Kiosk(Config(), tmp_path / "run"):
        pass


def test_a_mistake_of_ours_in_the_thread_reaches_the_daemon(run, monkeypatch):
    monkeypatch.setattr(Notices, "current", lambda self: 1 / 0)
    with run() as kiosk:
        until(lambda: kiosk._error is not None, "noticed")
        with pytest.raises(ZeroDivisionError):
            kiosk.check()


# ---- other settings ------------------------------------------------------------------------------------------------


def changed(kiosk, **sections):
    """The settings in force with some changed, to go on with."""
    data = kiosk._config.model_dump()
    for name, values in sections.items():
        data[name].update(values)
    kiosk.configure(Config.model_validate(data))


def test_settings_that_do_not_concern_the_studio_leave_it_alone(run, tmp_path):
    with run() as kiosk:
        until(lambda: "mode" in status(tmp_path)["live"], "up")
        studio, screen = kiosk._studio.studio, kiosk._screen
        changed(kiosk, display={"language": "en"}, disk={"floor_mb": 20}, metrics={"every_s": 1.0})
        until(lambda: kiosk._config.display.language == "en", "taken over")
        until(lambda: "mode" in status(tmp_path)["live"], "still up")
        assert kiosk._studio.studio is studio and studio.is_alive
        assert kiosk._screen is screen, "nor the screen: what it shows goes on"
        changed(kiosk, display={"clips": "loop"})
        until(lambda: kiosk._screen is not screen, "another screen")
        assert kiosk._studio.studio is studio
        until(lambda: kiosk.figures() is not None, "figures")


def test_another_live_mode_is_another_studio_or_none(run, tmp_path):
    with run() as kiosk:
        until(lambda: "mode" in status(tmp_path)["live"], "up")
        studio = kiosk._studio.studio
        changed(kiosk, live={"mode": "mirror"})
        until(lambda: kiosk._studio.studio not in (None, studio) and "mode" in status(tmp_path)["live"], "another")
        assert not studio.is_alive
        changed(kiosk, live={"mode": "none"})
        until(lambda: kiosk._studio.studio is None, "gone")
        with pytest.raises(RequestError, match=r"live\.mode = none"):
            ask(tmp_path / "run", Request("talk"))
        changed(kiosk, live={"mode": "record"})
        until(lambda: "mode" in status(tmp_path)["live"], "back")


def test_a_stuck_thread_is_detected(run, tmp_path, monkeypatch):
    with run() as kiosk:
        until(lambda: "mode" in status(tmp_path)["live"], "up")
        assert kiosk.check()
        monkeypatch.setattr("sonic_edge.service.daemon.kiosk.HANGS_S", 0.0)
        assert not kiosk.check()


def test_orders_about_jobs_wait_for_the_jobs_thread(tmp_path):
    woken = threading.Event()
    with Kiosk(Config(), tmp_path / "run", [sys.executable, STUB], woken.set) as kiosk:
        answers = []
        caller = threading.Thread(target=lambda: answers.append(ask(tmp_path / "run", Request("retry", name="课文"))))
        caller.start()
        assert woken.wait(DEADLINE_S)
        (order,) = kiosk.asked()
        assert (order.order, order.name) == ("retry", "课文") and kiosk.asked() == []
        kiosk.answer(order, Retried("课文-2"))
        caller.join(DEADLINE_S)
        assert answers == [{"job": "课文-2", "error": ""}]


# ---- the chip ----


@pytest.fixture
def chip(tmp_path, monkeypatch):
    """Has npu-smi say something, and be asked all the time."""
    said = tmp_path / "said"
    monkeypatch.setattr("sonic_edge.hardware.npu.watch._FOLDERS", (str(tmp_path),))
    monkeypatch.setattr("sonic_edge.service.daemon.kiosk.Monitor", partial(Monitor, every_s=0.0))
    (tmp_path / "npu-smi").write_text(f"#!/bin/sh\ncat {said}\n")
    (tmp_path / "npu-smi").chmod(0o755)
    tables = Path(__file__).parents[1].joinpath("npu_smi")

    def say(name):
        (tmp_path / "draft").write_text((tables / name).read_text())
        (tmp_path / "draft").replace(said)  # it is read all the time

    return say


def _config(tmp_path, backend):
    (tmp_path / "box.yaml").write_text(f"spool: {{root: {tmp_path}}}\n")
    return Config.model_validate({"spool": {"root": str(tmp_path)}, "model": {"backend": backend}})


def test_the_chip_is_in_the_status_and_its_faults_in_the_log(chip, tmp_path, capsys, caplog):
    chip("310B4_board.txt")
    with Kiosk(_config(tmp_path, "acl"), tmp_path / "run"):
        until(lambda: status(tmp_path)["npu"], "reported")
        assert sonic_edge(tmp_path, "status") == 0
        reported = capsys.readouterr().out
        assert "chip 0      310B4: OK, 51 C, 8.1 W, AI cores 12 % busy, 2040 of 3513 MB used" in reported
        chip("310B1_alarm.txt")
        until(lambda: len(status(tmp_path)["npu"]["chips"]) == 2, "two chips")
        until(lambda: "its health is Alarm" in caplog.text, "logged")
        assert sonic_edge(tmp_path, "status") == 0
        assert "chip 0      310B1: Alarm, 45 C" in capsys.readouterr().out
        chip("broken_not_initialised.txt")
        until(lambda: status(tmp_path)["npu"]["error"], "an error")
        assert sonic_edge(tmp_path, "status") == 0
        assert "chip        npu-smi: dcmi module initialize failed. ret is -8005" in capsys.readouterr().out
    assert caplog.text.count("its health is Alarm; ") == 1


def test_npu_smi_is_run_only_where_the_settings_want_the_chip(chip, tmp_path):
    chip("310_board.txt")
    with Kiosk(_config(tmp_path, "cpu"), tmp_path / "run") as kiosk:
        time.sleep(0.6)
        assert status(tmp_path)["npu"] == {}
        kiosk.configure(_config(tmp_path, "acl"))
        until(lambda: status(tmp_path)["npu"], "reported")
        kiosk.configure(_config(tmp_path, "cpu"))
        until(lambda: status(tmp_path)["npu"] == {}, "no more")


def test_an_npu_smi_that_hangs_holds_nobody_up(chip, tmp_path, monkeypatch):
    (tmp_path / "npu-smi").write_text("#!/bin/sh\nsleep 600\n")
    monkeypatch.setattr("sonic_edge.service.daemon.kiosk.Monitor", partial(Monitor, every_s=0.0, timeout_s=0.5))
    with Kiosk(_config(tmp_path, "acl"), tmp_path / "run") as kiosk:
        until(lambda: "no answer" in status(tmp_path)["npu"].get("error", ""), "given up")
        for _ in range(20):  # an answer is not waited for as long as npu-smi takes
            status(tmp_path)
            assert kiosk.check()
        since = time.monotonic()
    assert time.monotonic() - since < DEADLINE_S
