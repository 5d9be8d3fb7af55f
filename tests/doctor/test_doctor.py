"""The doctor, on boxes that are well and boxes that are not."""

import faulthandler
import json
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_parts import pulse_server, x_server
from media_files import write_wav
from waiting import lives, until

from sonic_edge.config import Config, check, share_dir
from sonic_edge.doctor import box, devices, exit_status, model, service
from sonic_edge.doctor.finding import FAILED, NOT_CHECKED, OK, WARNING, Check, Context, Finding, ok, run_check
from sonic_edge.doctor.redact import Redactor
from sonic_edge.doctor.support import unit_line
from sonic_edge.engine import encode, pipeline
from sonic_edge.hardware.machine import Mount
from sonic_edge.process.isolated import Account
from sonic_edge.service.status import statuses

# a test runner has threads, whatever the doctor has
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

PROGRAM = str(Path(sys.executable).with_name("sonic-edge"))


def _case(settings, status=None, **more):
    status = None if status is None else statuses.check(status)
    return Context(check(Config, settings, "test"), status=status, **more)


def _spool(root):
    for name in box.SPOOL_FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    return root


def _ask(path, *words, environment=None):
    """`sonic-edge doctor`: its status, and its findings by check."""
    done = subprocess.run(
        [PROGRAM, "doctor", "--config", str(path), "--json", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=180,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    found = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(Finding(**finding))
    return done.returncode, found


def _film(path, grey=None):
    """A second of somebody; or of one grey."""
    photo = cv2.imread(str(share_dir() / "samples" / "portrait.jpg"))
    picture = cv2.resize(photo, (320, 240)) if grey is None else np.full((240, 320, 3), grey, np.uint8)
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240))
    for _ in range(30):
        out.write(picture)
    out.release()
    return path


def _states(found):
    return [finding.state for finding in found]


# ---- whole boxes ----


@pytest.fixture
def running(tmp_path):
    """A daemon at work; its settings."""
    path = tmp_path / "box.yaml"
    path.write_text(f"spool: {{root: {tmp_path / 'spool'}}}\nmodel: {{threads: 1}}\n")
    process = subprocess.Popen([PROGRAM, "run", "--config", str(path)], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "ready; watching" in line:
            break
    yield path
    process.terminate()
    process.communicate()


def test_a_healthy_box_has_no_findings(running):
    status, found = _ask(running)
    failures = [f.line() for findings in found.values() for f in findings if f.state == FAILED]
    assert (status, failures) == (0, [])
    (daemon,) = [f for f in found["daemon"] if f.state == OK]
    assert "waiting for jobs" in daemon.seen and "0 jobs waiting" in daemon.seen
    (loaded,) = found["model"]
    assert "one window of 1.6 s in" in loaded.seen
    assert "may write" in found["folders"][0].seen or "took" in found["folders"][0].seen, "as fast as the machine is"
    assert not list((running.parent / "spool").glob(".doctor*"))


def test_every_finding_is_one_line_for_grep(tmp_path):
    path = tmp_path / "box.yaml"
    path.write_text(f"spool: {{root: {tmp_path / 'spool'}}}\n")
    done = subprocess.run([PROGRAM, "doctor", "--config", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    for line in done.stdout.splitlines():
        assert line[:13].strip() in (OK, WARNING, FAILED, NOT_CHECKED) and ": " in line
        assert (" -> " in line) == (line[:13].strip() in (WARNING, FAILED))


def test_every_wrong_setting_is_reported_and_the_rest_is_checked(tmp_path):
    path = tmp_path / "box.yaml"
    path.write_text("spool: {rot: a}\ncontrols: {fps: 5}\n")
    status, found = _ask(path)
    assert status == 78
    assert _states(found["settings"]) == [FAILED, FAILED]
    assert "did you mean root?" in found["settings"][0].seen + found["settings"][1].seen
    assert _states(found["camera"]) == [NOT_CHECKED] and found["python"][0].state == OK


def test_a_box_with_everything_plugged_in(tmp_path):
    settings = {
        "spool": {"root": str(tmp_path / "spool"), "portrait": str(share_dir() / "samples" / "portrait.jpg")},
        "live": {"mode": "mirror"},
        "camera": {"device": str(_film(tmp_path / "film.mp4")), "warm_up_s": 0.2},
        "display": {"output": "window", "fullscreen": False},
    }
    path = tmp_path / "box.yaml"
    path.write_text(json.dumps(settings))
    with pulse_server(tmp_path / "pulse") as pulse, x_server(640, 480) as screen:
        status, found = _ask(path, environment={**os.environ, **pulse.environment, "DISPLAY": screen})
    lines = {name: found[name][0].line() for name in ("camera", "microphone", "loudspeaker", "screen", "portrait")}
    assert found["camera"][0].state == OK and "320x240 pixels" in lines["camera"], lines
    assert found["microphone"][0].state == WARNING and "only silence" in lines["microphone"], lines  # nobody speaks
    assert found["loudspeaker"][0].state == OK, lines
    assert found["screen"][0].state == OK and "it can use the screen" in lines["screen"], lines
    assert found["portrait"][0].state == OK and "one face found" in lines["portrait"], lines
    assert status == 0


def test_a_box_with_nothing_plugged_in(tmp_path):
    settings = {
        "spool": {"root": str(tmp_path / "spool"), "portrait": str(tmp_path / "me.jpg")},
        "live": {"mode": "mirror"},
        "camera": {"device": 63},
        "display": {"output": "window"},
        "microphone": {"device": "no such thing"},
        "speaker": {"device": "no such thing"},
    }
    path = tmp_path / "box.yaml"
    path.write_text(json.dumps(settings))
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    with pulse_server(tmp_path / "pulse") as pulse:
        status, found = _ask(path, environment={**environment, **pulse.environment})
        settings["display"]["output"] = "drm"
        path.write_text(json.dumps(settings))
        _, without_card = _ask(path, environment={**environment, **pulse.environment, "DISPLAY": ":999"})
    assert status == 1
    for name, said in (
        ("camera", "there is no /dev/video63"),
        ("microphone", "microphone.device = 'no such thing': there is no such device"),
        ("loudspeaker", "speaker.device = 'no such thing': there is no such device"),
        ("screen", "DISPLAY is not set"),
        ("portrait", "me.jpg: is not there"),
    ):
        (finding,) = found[name]
        assert finding.state == FAILED and said in finding.seen and finding.todo, finding.line()
    if not list(Path("/dev/dri").glob("card*")):
        assert "no graphics device" in without_card["screen"][0].seen


def test_a_screen_that_is_not_reached(tmp_path):
    path = tmp_path / "box.yaml"
    path.write_text(json.dumps({"spool": {"root": str(tmp_path / "spool")}, "display": {"output": "window"}}))
    _, found = _ask(path, environment={**os.environ, "DISPLAY": ":999"})
    (finding,) = found["screen"]
    assert finding.state == FAILED and "mpv" in finding.seen and "DISPLAY" in finding.todo, finding.line()


def _read_only(root):
    """What to put before a command so that it sees the folder on a read-only disk, and the folder then."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(root)]
    if subprocess.run([*command, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return command, root
    for line in Path("/proc/self/mountinfo").read_text().splitlines():  # in a container; it has some of its own
        folder = Path(line.split()[4])
        if folder.is_dir() and os.statvfs(folder).f_flag & os.ST_RDONLY:
            return [], folder
    pytest.fail("this needs user namespaces (unshare --map-root-user), or a read-only disk")


def test_a_read_only_disk(tmp_path):
    command, root = _read_only(_spool(tmp_path / "spool"))
    path = tmp_path / "box.yaml"
    path.write_text(f"spool: {{root: {root}}}\n")
    done = subprocess.run(
        [*command, PROGRAM, "doctor", "--config", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if " disk: " in line]
    assert line.startswith(FAILED) and "read-only" in line and "fsck" in line
    assert "chown" not in done.stdout


def test_help_is_quick_and_loads_nothing():
    code = (
        "import sys; from sonic_edge.cli import make_parser; make_parser()\n"
        "print([m for m in ('numpy', 'cv2', 'sonic_edge.doctor', 'multiprocessing') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_exit_statuses():
    good, bad = ok("fine"), Finding(FAILED, "bad", "do", "disk")
    assert exit_status([good, Finding(WARNING, "w", "do", "disk"), Finding(NOT_CHECKED, "n")]) == 0
    assert exit_status([good, bad]) == 1
    assert exit_status([bad, Finding(FAILED, "x", "do", "settings")]) == 78


# ---- checks that go wrong themselves ----


def test_a_check_that_hangs_is_ended_with_what_it_started(tmp_path, monkeypatch):
    pids = tmp_path / "pids"

    def hang(_):
        child = subprocess.Popen(["sleep", "1000"])
        (tmp_path / "draft").write_text(f"{os.getpid()} {child.pid}")
        (tmp_path / "draft").rename(pids)
        time.sleep(1000)
        yield ok("never")

    poll = Connection.poll

    def late(self, seconds):
        """Its time runs once it hangs."""
        until(pids.exists, "the child")
        return poll(self, seconds)

    monkeypatch.setattr(Connection, "poll", late)
    (finding,) = run_check(Check("camera", hang, seconds=1.0), _case({}))
    assert finding.state == FAILED and finding.check == "camera" and "within 1 s" in finding.seen
    for pid in pids.read_text().split():
        until(lambda pid=pid: not lives(pid), "its end")


def test_a_check_that_kills_its_process():
    def crash(_):
        faulthandler.disable()  # pytest's, which would print pages
        os.kill(os.getpid(), signal.SIGSEGV)

    for end, said in ((crash, "SIGSEGV"), (lambda _: os._exit(3), "status 3")):
        (finding,) = run_check(Check("model", end), _case({}))
        assert finding.state == FAILED and said in finding.seen and finding.todo


def test_a_check_that_raises():
    def fail(error):
        def do(_):
            yield ok("first")
            raise error

        return [(f.state, f.seen) for f in run_check(Check("x", do), _case({}))]

    assert fail(RuntimeError("odd"))[0] == (OK, "first")
    assert fail(RuntimeError("odd"))[1] == (FAILED, "the check crashed: RuntimeError: odd")
    assert fail(MemoryError())[1][0] == FAILED
    assert fail(PermissionError(13, "no", "/root/x"))[1][0] == NOT_CHECKED
    assert _states(run_check(Check("x", lambda _: []), _case({}))) == [NOT_CHECKED]


def test_a_file_whose_name_is_not_utf_8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.yaml"))
    path.write_text(f"spool: {{root: {tmp_path / 'spool'}}}\n")
    status, found = _ask(path)
    assert status == 0 and "/b?.yaml" in found["settings"][0].seen


def test_what_a_check_prints_is_not_seen(capfd):
    def chatty(_):
        os.write(1, b"ALSA lib")
        os.write(2, b"ALSA lib")
        yield ok("fine")

    assert _states(run_check(Check("x", chatty), _case({}))) == [OK]
    assert capfd.readouterr() == ("", "")


def test_the_line_has_no_terminal_control_characters():
    assert Finding(FAILED, "a\nb\x1b[2J", "do", "x").line() == "FAILED       x: a b?[2J -> do"


def _other_user():
    """Another user, if we may switch users."""
    nobody = pwd.getpwnam("nobody")
    return Account("nobody", nobody.pw_uid, nobody.pw_gid, (nobody.pw_gid,), {"PATH": "/usr/bin:/bin", "HOME": "/"})


@pytest.fixture
def open_folder():
    """One that everybody may enter; pytest's own are private."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_as_root_the_checks_are_made_as_the_daemon(open_folder):
    root = _spool(open_folder / "spool")
    (root / "outbox").chmod(0o555)
    account = _other_user() if os.geteuid() == 0 else None
    case = _case({"spool": {"root": str(root)}}, account=account)
    found = run_check(Check("folders", box.folders), case)
    assert FAILED in _states(found) and any("outbox" in f.seen and "may not write" in f.seen for f in found)
    if account is not None:
        assert "nobody may not write" in found[0].seen and "chown -R nobody:" in found[0].todo

        def who(_):
            yield ok(f"{os.getuid()} {os.getgroups()} {dict(os.environ)}")

        (me,) = run_check(Check("x", who), case)
        assert me.seen == f"{account.uid} [{account.gid}] {dict(account.environment)}"
        (root_again,) = run_check(Check("x", who, as_daemon=False), case)
        assert root_again.seen.startswith("0 ")


def test_a_portrait_that_the_daemon_may_not_read(open_folder):
    photo = Path(shutil.copy(share_dir() / "samples" / "portrait.jpg", open_folder / "me.jpg"))
    photo.chmod(0)
    case = _case({"spool": {"portrait": str(photo)}}, account=_other_user() if os.geteuid() == 0 else None)
    (found,) = run_check(Check("portrait", model.portrait, 60), case)
    assert found.state == FAILED and "Permission denied" in found.seen and case.user in found.seen, found


def test_a_spool_that_the_daemon_may_not_enter(open_folder):
    root = _spool(open_folder / "spool")
    (root / "failed").chmod(0)
    case = _case({"spool": {"root": str(root)}}, account=_other_user() if os.geteuid() == 0 else None)
    (found,) = run_check(Check("failed jobs", service.failures), case)
    if case.account is not None:
        assert found.state == FAILED and "nobody may not read" in found.seen and "let nobody read" in found.todo
    else:
        assert found.state == NOT_CHECKED and "as root" in found.seen
    (root / "failed").chmod(0o755)


# ---- the model ----


@pytest.fixture
def own_bundle(tmp_path):
    return Path(shutil.copytree(share_dir() / "bundles" / "sonic-net", tmp_path / "bundle"))


def test_a_damaged_model_file(own_bundle):
    victim = sorted(own_bundle.glob("*.onnx"))[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    case = _case({"model": {"bundle": str(own_bundle)}})
    (files,) = run_check(Check("model files", model.bundle), case)
    assert files.state == FAILED and victim.name in files.seen and "damaged or changed" in files.seen
    (loaded,) = run_check(Check("model", model.backend, 60), case)
    assert loaded.state == FAILED and "nothing can be rendered" in loaded.todo


@pytest.mark.parametrize("window_s, state", [(0.2, OK), (2.0, WARNING)])
def test_a_model_is_as_fast_as_speech_or_slower(monkeypatch, window_s, state):
    monkeypatch.setattr(pipeline.Pipeline, "warm_up", lambda self: (window_s, 1.6))
    (found,) = run_check(Check("model", model.backend, 300), _case({}))
    assert found.state == state and f"in {1000 * window_s:.0f} ms" in found.seen
    assert ("slower than speech" in found.seen) == (state == WARNING)


def test_a_bundle_that_is_not_there():
    (found,) = run_check(Check("model files", model.bundle), _case({"model": {"bundle": "nobody"}}))
    assert found.state == FAILED and "model.bundle = nobody" in found.seen


def test_too_little_memory_for_the_worker(monkeypatch):
    case = _case({})
    monkeypatch.setattr(model.machine, "free_memory_mb", lambda: (100.0, 1000.0))
    assert _states(model.backend(case)) == [NOT_CHECKED]
    assert _states(box.memory(case)) == [FAILED]  # 1500 of 1000


def test_face_networks_that_are_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "share_dir", lambda: tmp_path)
    (found,) = model.faces(_case({}))
    assert found.state == FAILED and "face_detection_short_range.tflite" in found.seen


def _at_speed(function, seconds):
    """It is done, but took so long: how fast this machine is just now does not matter."""

    def do(*words):
        function(*words)
        return seconds

    return do


def test_the_encoder(monkeypatch):
    monkeypatch.setattr(encode, "try_encoder", _at_speed(encode.try_encoder, 0.01))
    (found,) = model.encoder(_case({}))
    assert found.state == OK and found.seen.startswith("libx264: 512x512 pixels, ")
    (found,) = model.encoder(_case({"encode": {"encoder": "mpeg4"}}))
    assert found.state == FAILED and "is not an encoder of H.264" in found.seen
    (found,) = model.encoder(_case({"encode": {"encoder": "h264_v4l2m2m"}}))
    assert found.state == FAILED and "/dev/video" in found.seen and "libx264" in found.todo


def test_an_encoder_that_is_slower_than_the_video(monkeypatch):
    monkeypatch.setattr(encode, "try_encoder", _at_speed(encode.try_encoder, 0.05))
    (found,) = model.encoder(_case({}))
    assert found.state == WARNING and "50.0 ms a picture, slower than 25 pictures a second" in found.seen


def test_a_portrait_without_a_face(tmp_path):
    photo = tmp_path / "wall.png"
    cv2.imwrite(str(photo), np.full((400, 400, 3), 90, np.uint8))
    (found,) = model.portrait(_case({"spool": {"portrait": str(photo)}}))
    assert found.state == FAILED and "wall.png" in found.seen and "another one" in found.todo


def test_the_label(monkeypatch, tmp_path):
    assert _states(model.label(_case({"label": {"producer": "01234"}}))) == [OK]
    assert _states(model.label(_case({}))) == [OK, WARNING]
    (found,) = model.label(_case({"label": {"text": "AI\U0001f99c生成", "producer": "0"}}))
    assert found.state == FAILED and "label.text" in found.seen
    assert model.label.__doc__


# ---- devices ----


def test_a_camera_with_its_cover_on(tmp_path):
    film = _film(tmp_path / "dark.mp4", grey=0)
    (found,) = devices.camera(_case({"camera": {"device": str(film), "warm_up_s": 0.0}}))
    assert found.state == WARNING and "cover" in found.todo


def test_a_muted_microphone_stays_closed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "muted").touch()
    case = _case({"spool": {"root": str(tmp_path)}, "live": {"mode": "record"}, "microphone": {"device": "x"}})
    (found,) = devices.microphone(case)
    assert found.state == NOT_CHECKED and "unmute" in found.seen


def test_without_pyaudio_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    case = _case({"spool": {"root": str(tmp_path)}, "live": {"mode": "mirror"}})
    for found in (*devices.microphone(case), *devices.loudspeaker(case)):
        assert found.state == FAILED and "made with `live`" in found.todo


def test_the_daemon_is_asked_about_devices_it_uses(tmp_path):
    settings = {
        "spool": {"root": str(tmp_path)},
        "live": {"mode": "mirror"},
        "camera": {"device": 62},
        "display": {"output": "drm"},
    }
    live = {
        "talking": True,
        "errors": {},
        "microphone": {"open": True, "device": "USB", "overruns": 0},
        "mirror": {"speaker": {"open": True, "device": "HDMI", "error": ""}},
    }
    status = {"live": live, "screen": {"state": "running", "restarts": 0}}
    case = _case(settings, status=status)
    assert _states(devices.camera(case)) == [NOT_CHECKED]
    assert [f.seen for f in devices.microphone(case)] == ["the daemon has it open: USB"]
    assert [f.seen for f in devices.loudspeaker(case)] == ["the daemon has it open: HDMI"]
    (screen,) = devices.screen(case)
    assert screen.state == OK and "the daemon's screen is running" in screen.seen

    live["microphone"]["overruns"] = 3
    assert _states(devices.microphone(_case(settings, status=status))) == [WARNING]
    live["errors"] = {"microphone": "USB is gone", "camera": "there is no /dev/video62"}
    live["mirror"]["speaker"] = {"open": False, "error": "HDMI cannot be opened"}
    status["screen"] = {"state": "failed", "error": "mpv ended with status 1"}
    case = _case(settings, status=status)
    for found, said in (
        (devices.microphone(case), "USB is gone"),
        (devices.camera(case), "/dev/video62"),
        (devices.loudspeaker(case), "HDMI cannot be opened"),
        (devices.screen(case), "mpv ended with status 1"),
    ):
        (finding,) = found
        assert finding.state == FAILED and said in finding.seen and finding.todo


def test_a_program_that_is_not_a_player(tmp_path):
    (found,) = devices.screen(_case({"display": {"output": "drm", "player": "no-such-player"}}))
    assert found.state == FAILED and "install mpv" in found.todo
    for said, words in (("mpv 0.29.1 Copyright", "too old"), ("hello", "does not report its version")):
        player = tmp_path / "player"
        player.write_text(f"#!/bin/sh\necho '{said}'\n")
        player.chmod(0o755)
        (found,) = devices.screen(_case({"display": {"output": "drm", "player": str(player)}}))
        assert found.state == FAILED and words in found.seen


# ---- the box ----


def test_a_full_disk_and_odd_places(tmp_path, monkeypatch):
    case = _case({"spool": {"root": str(_spool(tmp_path))}, "disk": {"floor_mb": 10**9}})
    assert FAILED in _states(box.disk(case)) and "disk.floor_mb" in next(iter(box.disk(case))).seen
    plain = _case({"spool": {"root": str(tmp_path)}, "disk": {"floor_mb": 10}})
    for kind, expected in (("ext4", [OK]), ("tmpfs", [OK, WARNING]), ("vfat", [OK, WARNING])):
        mount = Mount("/", "/dev/x", kind, False)
        monkeypatch.setattr(box.machine, "mount_of", lambda _, mount=mount: mount)
        assert _states(box.disk(plain)) == expected, kind


@pytest.mark.parametrize("spent_s, state", [(0.01, OK), (2.0, WARNING)])
def test_a_disk_that_is_quick_or_slow(tmp_path, monkeypatch, spent_s, state):
    monkeypatch.setattr(box, "_write_durably", _at_speed(box._write_durably, spent_s))
    (found,) = box.folders(_case({"spool": {"root": str(_spool(tmp_path))}}))
    assert found.state == state and ("may write" if state == OK else "took 2.0 s") in found.seen


def test_a_spool_that_is_not_there(tmp_path):
    assert _states(box.disk(_case({"spool": {"root": str(tmp_path / "a" / "b")}}))) == [OK]
    (found,) = box.disk(_case({"spool": {"root": "/proc/nowhere/spool"}}))
    assert found.state == FAILED or os.access("/proc", os.W_OK)


def test_clocks(tmp_path):
    case, now = _case({}), datetime.now(timezone.utc)

    def found(hardware, shown):
        if hardware is not None:
            (tmp_path / "class/rtc/rtc0").mkdir(parents=True, exist_ok=True)
            (tmp_path / "class/rtc/rtc0/since_epoch").write_text(str(int(hardware.timestamp())))
        (finding,) = box.clock(case, tmp_path, shown)
        return finding

    assert found(None, now).state == WARNING
    assert found(now, now).state == OK
    assert found(now - timedelta(hours=8), now).state == WARNING
    assert found(now, datetime(1970, 1, 2, tzinfo=timezone.utc)).state == FAILED


@pytest.mark.parametrize("degrees, state", [(50, OK), (85, WARNING), (99, FAILED), (None, NOT_CHECKED)])
def test_temperature(degrees, state, tmp_path):
    if degrees is not None:
        zone = tmp_path / "class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (zone / "type").write_text("soc")
        (zone / "temp").write_text(f"{degrees}000")
    assert _states(box.temperature(_case({}), tmp_path)) == [state]


def test_worn_flash_is_reported(tmp_path):
    device = tmp_path / "block/mmcblk0/device"
    device.mkdir(parents=True)
    for life, state in (("0x01 0x02", OK), ("0x01 0x0a", WARNING)):
        (device / "life_time").write_text(life)
        assert _states(box.wear(_case({}), tmp_path)) == [state]


# ---- the service ----

_UNIT = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}


@pytest.mark.parametrize(
    "unit, states, said",
    [
        ({}, [NOT_CHECKED], "systemd does not run here"),
        ({"LoadState": "not-found"}, [FAILED], "not-found"),
        ({**_UNIT, "NRestarts": "0"}, [OK], "active (running)"),
        ({**_UNIT, "NRestarts": "4"}, [WARNING], "restarts: 4"),
        ({**_UNIT, "UnitFileState": "disabled"}, [OK, WARNING], ""),
        ({**_UNIT, "ActiveState": "failed", "ExecMainStatus": "78"}, [FAILED], "its settings are wrong"),
        ({**_UNIT, "ActiveState": "failed", "ExecMainStatus": "1", "Result": "watchdog"}, [FAILED], "watchdog"),
        ({**_UNIT, "ActiveState": "inactive", "SubState": "dead"}, [FAILED], "inactive (dead)"),
    ],
)
def test_units(unit, states, said):
    found = list(service.unit(_case({}, unit=unit)))
    assert _states(found) == states and said in found[0].seen


def test_what_the_daemon_says(tmp_path):
    path = tmp_path / "box.yaml"
    path.write_text("{}")
    now = datetime.now(timezone.utc).isoformat()
    good = {
        "version": service.version("sonic-edge"),
        "pid": 7,
        "up_s": 7300.0,
        "state": "waiting for jobs",
        "queue": {"waiting": 2, "held": ""},
        "settings": {"path": str(path), "read": now, "error": ""},
        "counts": {"worker_deaths": 0},
        "worker": {"memory_mb": 300.0},
        "errors": [],
    }

    def found(**changes):
        return list(service.daemon(_case({}, path=path, status={**good, **changes})))

    (well,) = found()
    assert well.state == OK and "up 2 hours: waiting for jobs; 2 jobs waiting" in well.seen
    for changes, state, said in (
        ({"version": "0.0.1"}, WARNING, "it is version 0.0.1"),
        ({"queue": {"waiting": 2, "held": "disk full: 3 MB free"}}, FAILED, "disk full: 3 MB free"),
        ({"settings": {"path": str(path), "read": now, "error": "fps = 5"}}, FAILED, "fps = 5"),
        ({"settings": {"path": "/other.yaml", "read": now, "error": ""}}, WARNING, "/other.yaml"),
        ({"settings": {"path": str(path), "read": "2026-01-01T00:00:00+00:00"}}, WARNING, "was changed since"),
        ({"counts": {"worker_deaths": 2}}, WARNING, "worker deaths: 2"),
        ({"worker": {"memory_mb": 1450.0}}, WARNING, "1450 of 1500 MB"),
        ({"errors": [{"time": now, "what": "camera: gone"}]}, WARNING, "camera: gone"),
    ):
        other = [f for f in found(**changes) if f.state != OK]
        assert len(other) == 1 and other[0].state == state and said in other[0].seen and other[0].todo, changes
    assert _states(found(errors=[{"time": "2026-01-01T00:00:00+00:00", "what": "old"}])) == [OK]
    assert [f.state for f in service.daemon(_case({}, status={}))][-1] == OK  # an older one tells less


def test_no_daemon():
    assert _states(service.daemon(_case({}, no_answer="nobody"))) == [WARNING]
    assert _states(service.daemon(_case({}, no_answer="nobody", unit=_UNIT))) == [FAILED]


def test_jobs_that_failed(tmp_path):
    case = _case({"spool": {"root": str(tmp_path)}})
    assert _states(service.failures(case)) == [NOT_CHECKED]
    _spool(tmp_path)
    assert _states(service.failures(case)) == [OK]
    (tmp_path / "failed" / "lesson").mkdir()
    (found,) = service.failures(case)
    assert found.state == WARNING and found.seen.endswith(": 1") and "lesson" not in found.seen


def test_metrics_that_are_old(tmp_path):
    settings = {"metrics": {"path": str(tmp_path / "m.prom"), "every_s": 1.0}}
    assert _states(service.metrics(_case(settings))) == [NOT_CHECKED]
    running = _case(settings, status={})
    assert _states(service.metrics(running)) == [FAILED]
    (tmp_path / "m.prom").touch()
    assert _states(service.metrics(running)) == [OK]
    os.utime(tmp_path / "m.prom", (1, 1))
    assert _states(service.metrics(running)) == [FAILED]
    assert _states(service.metrics(_case({"metrics": {"path": None}}))) == [NOT_CHECKED]


def test_the_user(tmp_path):
    settings = {"live": {"mode": "mirror"}, "display": {"output": "drm"}}
    me = os.geteuid()
    other = Account("somebody", me if me else 12345, 12345, (12345,), {})
    found = list(service.user(_case(settings, account=other)))
    assert _states(found) == [OK, FAILED, FAILED] and "SupplementaryGroups=audio" in found[1].todo
    assert _states(service.user(_case({}, account=other))) == [OK]
    assert WARNING in _states(service.user(_case({}, account=Account("root", 0, 0, (0,), {}))))
    open_to_all = tmp_path / "box.yaml"
    open_to_all.touch()
    open_to_all.chmod(0o666)
    assert _states(service.settings_file(_case({}, path=open_to_all))) == [WARNING]


# ---- the support bundle ----

NAMES = ("张小明", "李雷 的录音", "韩梅梅", "wang-xiaohong", "Zhāng Wěi", "13812345678", "zhaoliu", "Qian Qi")


def _plant(tmp_path):
    """A spool full of faces, voices and names; the files whose bytes nobody may see."""
    root = _spool(tmp_path / "zhaoliu" / "spool")
    photo = (share_dir() / "samples" / "portrait.jpg").read_bytes()
    voice = write_wav(tmp_path / "voice.wav", 1.0).read_bytes()
    for i, name in enumerate(NAMES):
        (root / "inbox" / f"{name}.wav").write_bytes(voice)
        (root / "inbox" / f"{name}.jpg").write_bytes(photo)
        (root / "work" / f"{name}-{i}").mkdir()
        (root / "work" / f"{name}-{i}" / "record.json").write_text(json.dumps({"id": name}))
        (root / "outbox" / f"{name}.mp4").write_bytes(voice + photo)
        (root / "outbox" / f"{name}.json").write_text(json.dumps({"portrait": f"{name}.jpg"}, ensure_ascii=False))
        (root / "failed" / name).mkdir()
        (root / "failed" / name / "reason.json").write_text(json.dumps({"error": f"{name}.wav: 0.1 s of speech"}))
    (root / "run").mkdir()
    (root / "run" / "mpv.log").write_text(
        f"Failed to open {root}/outbox/{NAMES[0]}.mp4.\nCould not connect to display\n"
    )
    path = tmp_path / "box.yaml"
    portrait = root / "inbox" / f"{NAMES[2]}.jpg"
    settings = {"spool": {"root": str(root), "portrait": str(portrait)}, "label": {"producer": "zhaoliu"}}
    path.write_text(json.dumps(settings))
    return path, [photo, voice]


def _journalctl(folder):
    """In place of journalctl: the entries that journald would have from a daemon that served these people."""
    entries = []
    for i, name in enumerate(NAMES):
        entry = {
            "__REALTIME_TIMESTAMP": str((1_790_000_000 + i) * 10**6),
            "PRIORITY": "3",
            "SYSLOG_IDENTIFIER": "sonic-edge",
            "_PID": "77",
            "MESSAGE": f"{name}: {name}.wav: 0.1 s of speech; at least 0.3 s is needed",
            "JOB": name,
            "STAGE": "listening",
        }
        entries += [entry, {**entry, "JOB": "", "MESSAGE": f"'{name} 2.m4a': No such file or directory (孙八.JPG)"}]
    entries.append({"MESSAGE": [230, 157, 142, 255], "PRIORITY": "6"})
    folder.mkdir()
    (folder / "said.json").write_text("\n".join([*map(json.dumps, entries), "not JSON", "[]", ""]))
    program = folder / "journalctl"
    program.write_text(f"#!/bin/sh\ncat '{folder}/said.json'\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def _unpacked(archive, folder):
    subprocess.run(["tar", "xzf", str(archive), "-C", str(folder)], check=True)
    return {path.name: path.read_bytes() for path in (folder / "sonic-edge-support").iterdir()}


def test_the_support_bundle_has_no_face_no_voice_and_no_name(tmp_path):
    path, media = _plant(tmp_path)
    environment = _journalctl(tmp_path / "bin")
    archive = tmp_path / "archive.tar.gz"
    status, found = _ask(path, "--bundle", str(archive), environment=environment)
    assert status in (0, 1) and found["failed jobs"][0].state == WARNING
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600 and archive.stat().st_size < 10_000_000
    (tmp_path / "out").mkdir()
    files = _unpacked(archive, tmp_path / "out")
    assert set(files) == {
        *("about.txt", "doctor.txt", "doctor.json", "settings.yaml", "status.json", "spool.json"),
        *("versions.txt", "box.txt", "chip.txt", "units.txt", "log.txt", "mpv.log"),
    }
    everything = b"\n".join(files.values())
    for name in (*NAMES, "孙八", "小明", "梅梅", "xiaohong", "Wěi", "138123", "Qian", "李"):
        for spelled in (name.encode(), json.dumps(name)[1:-1].encode(), name.lower().encode()):
            assert spelled not in everything, name
    for data in media:
        for at in range(64, len(data) - 16, 16):
            assert data[at : at + 16] not in everything or len(set(data[at : at + 16])) < 4

    log = files["log.txt"].decode()
    assert log.count("0.1 s of speech; at least 0.3 s is needed") == len(NAMES)
    assert "STAGE=listening" in log and "No such file or directory" in log
    first = log.splitlines()[0]
    mark = first.split("JOB=")[1].split()[0]
    assert mark.startswith("~") and first.count(mark) == 3  # the same one everywhere
    assert json.loads(files["spool.json"])["failed"]["entries"] == len(NAMES)
    assert "Could not connect to display" in files["mpv.log"].decode()
    assert b"numpy==" in files["versions.txt"] and b"kernel: Linux" in files["box.txt"]
    assert b"backend: cpu" in files["settings.yaml"] and "AI生成".encode() in files["settings.yaml"]
    assert json.loads(files["doctor.json"])["findings"][0]["check"] == "settings"


def test_a_support_bundle_never_overwrites_a_file(tmp_path):
    path = tmp_path / "box.yaml"
    path.write_text(f"spool: {{root: {tmp_path / 'spool'}}}\n")
    there = tmp_path / "there.tar.gz"
    there.write_text("precious")
    link = tmp_path / "link.tar.gz"
    link.symlink_to(tmp_path / "elsewhere")
    for place, said in (
        (there, "exists already"),
        (link, "exists already"),
        (tmp_path / "a.zip", "must end in .tar.gz"),
        (tmp_path / "no" / "a.tar.gz", "there is no folder"),
    ):
        done = subprocess.run(
            [PROGRAM, "doctor", "--config", str(path), "--bundle", str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2 and said in done.stderr and done.stdout == ""  # before any check
    assert there.read_text() == "precious" and not (tmp_path / "elsewhere").exists()


def test_a_support_bundle_that_does_not_fit_leaves_nothing(tmp_path):
    path = tmp_path / "box.yaml"
    path.write_text(f"spool: {{root: {tmp_path / 'spool'}}}\n")
    words = [PROGRAM, "doctor", "--config", path, "--bundle", tmp_path / "p.tar.gz"]
    command = f"ulimit -f 1; trap '' XFSZ; exec {shlex.join(map(str, words))}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "cannot be written: File too large" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["box.yaml"]


def test_units_are_readable_and_hold_no_secret():
    clean = Redactor(["wang"])
    for line, kept in (
        ("ProtectSystem=strict", True),
        ("SystemCallFilter=~@privileged", True),
        ("DeviceAllow=char-alsa rw", True),
        ("Environment=PATH=/usr/bin:/bin", True),
        ("ExecStart=/usr/bin/env sonic-edge run --config /etc/sonic-edge/sonic-edge.yaml", True),
        ("Environment=TOKEN=hunter2", False),
        ("Description=The box of Zhaoliu", False),
        ("ReadWritePaths=/srv/zhaoliu", False),
        ("Alias=wang.service", False),
    ):
        said = unit_line(line, clean)
        assert (said == line) == kept, said
        for secret in ("hunter2", "haoliu", "wang"):
            assert secret not in said


def test_a_name_that_is_not_utf8_is_taken_out_too():
    name = os.fsdecode(b"\xff\xfe Wang.wav")
    assert "Wang" not in Redactor([name]).text(f"{name}: nobody speaks")


def test_words_are_let_through_only_if_they_name_nobody():
    clean = Redactor(["Mark.wav", "a.jpg", "报告"])
    mark = clean.name("Mark")
    assert clean.text("mark: Mark.wav has a face; remark") == f"{mark}: {mark}.wav has a face; remark"
    for kept in ("the worker was killed by SIGKILL", "12ms 0x1f 1280x720 /dev/video0 hw:1,0", "RuntimeError: errno 28"):
        assert clean.text(kept) == kept
    for name in ("Müller", "13812345678", "110101199003078888", "报告", "王", "_wang_", "wang2", "vm_wang"):
        for said in clean.text(f"{name}, ({name})").split():
            assert name not in said and said.strip("(),").startswith("~"), said
    assert clean.tree({"a": ["Müller", 3, 1.5, None, True]})["a"][1:] == [3, 1.5, None, True]
    assert "110101" not in str(clean.tree([110101199003078888, {"110101199003078888": 1}]))
