import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path

import pytest
import yaml
from waiting import DEADLINE_S, until

from sonic_edge import disk
from sonic_edge.cli import main
from sonic_edge.config import Config, SpoolSettings
from sonic_edge.errors import DeviceError, RequestError, SonicEdgeError
from sonic_edge.service.usb import announce_end, export_results, history, import_jobs, transfer
from sonic_edge.service.usb.find import RESULTS, find_jobs
from sonic_edge.service.usb.results import fat_name
from sonic_edge.spool import Spool

PHOTO = b"picture"


class Box:
    """A spool whose jobs are done as by the daemon, and a socket for orders."""

    def __init__(self, folder, **spool):
        self.root = folder / "spool"
        self.config = Config(spool=SpoolSettings(root=str(self.root), settle_s=0.1, pair_s=0.1, poll_s=0.05, **spool))
        self.said = []
        self.done = []
        self.fails = {}
        self._ends = threading.Event()
        with Spool(self.config.spool) as spool:
            spool.run.mkdir()
        self._ear = self._listen()  # before anybody can ask
        self._threads = [threading.Thread(target=self._hear)]
        self._threads[0].start()

    def serve(self, once=""):
        """Do the jobs that come, from now on or from when this was said."""
        self._threads.append(threading.Thread(target=self._work, args=(once,)))
        self._threads[-1].start()

    def close(self):
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _work(self, once):
        while once and once not in self.said:
            if self._ends.wait(0.01):
                return
        with Spool(self.config.spool) as spool:
            for job in spool.watch(self._ends):
                spool.start(job)
                heard = job.speech.read_bytes()
                self.done.append((job.id, heard, job.controls.read_bytes() if job.controls else None))
                if heard in self.fails:
                    spool.fail(job, self.fails[heard])
                else:
                    job.output.write_bytes(b"video of " + heard)
                    spool.publish(job, {"inputs": {"speech": {"sha256": hashlib.sha256(heard).hexdigest()}}})

    def _listen(self):
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self.root / "run", os.O_RDONLY)
        ear.bind(f"/proc/self/fd/{folder}/control.sock")
        os.close(folder)
        ear.listen(8)
        ear.settimeout(0.1)
        return ear

    def _hear(self):
        with self._ear as ear:
            while not self._ends.is_set():
                with contextlib.suppress(socket.timeout):
                    line, _ = ear.accept()
                    with line, line.makefile("rb") as asked:
                        order = json.loads(asked.readline())
                        assert order["order"] == "say"
                        self.said.append(order["name"])
                        with contextlib.suppress(ConnectionError):  # who asked may have gone
                            line.sendall(b'{"error": ""}\n')

    def plug(self, stick):
        """A whole visit; its errors as the command line prints them."""
        failed = False
        try:
            import_jobs(self.config, stick)
            export_results(self.config, stick)
        except SonicEdgeError:
            failed = True
            raise
        finally:
            announce_end(self.config, stick, failed)

    def names(self):
        return sorted(name for name, _, _ in self.done)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A message is not lost by a delay of the reader, and a silent box is not waited for."""
    monkeypatch.setattr(transfer, "_ANSWER_S", DEADLINE_S)
    monkeypatch.setattr(transfer, "SILENT_S", DEADLINE_S)


@pytest.fixture
def box(tmp_path):
    made = Box(tmp_path)
    yield made
    made.close()


TOLD = set()


def not_run(request, words):
    """On the terminal, although output is captured; once."""
    if words not in TOLD:
        TOLD.add(words)
        with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
            print(f"\nNOT RUN on {words}")


def mounted(request, tmp_path, mb):
    """A file system of its own, as on a stick: (folder, image). FAT where the kernel knows it, else ext4, else None."""
    if os.geteuid() != 0:
        not_run(request, "a file system of its own: only root may mount one; run in a plain folder")
        return None
    if shutil.which("modprobe"):  # without it, use the kernel's current list
        subprocess.run(["modprobe", "vfat"], capture_output=True)
    known = Path("/proc/filesystems").read_text().split()
    kind = "vfat" if "vfat" in known and shutil.which("mkfs.vfat") else ""
    if not kind:
        not_run(request, "FAT: it needs mkfs.vfat and a kernel that knows vfat; run on ext4")
        kind = "ext4"
    image, folder = tmp_path / "stick.img", tmp_path / "stick"
    with image.open("wb") as file:
        file.truncate(mb << 20)
    make = {"vfat": ["mkfs.vfat"], "ext4": ["mkfs.ext4", "-q", "-O", "^has_journal"]}[kind]
    subprocess.run([*make, str(image)], check=True, capture_output=True)
    folder.mkdir()
    mount = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True)
    if mount.returncode != 0:
        why = " ".join(mount.stderr.replace(str(folder), "").split())
        not_run(request, f"a file system of its own: {why}; run in a plain folder")
        return None
    request.addfinalizer(lambda: subprocess.run(["umount", "--lazy", str(folder)], check=False))
    return folder, image


@pytest.fixture
def stick(request, tmp_path):
    """A stick: a FAT image where that can be mounted, else ext4, else a folder."""
    made = mounted(request, tmp_path, 8)
    if made is not None:
        return made[0]
    folder = tmp_path / "stick"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    made.mkdir()
    return made


def put(place, name, recording=None, photo=PHOTO, controls=None):
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.wav").write_bytes(recording if recording is not None else f"sound {name}".encode())
    if photo is not None:
        (place / f"{name}.jpg").write_bytes(photo)
    if controls is not None:
        (place / f"{name}.yaml").write_bytes(controls)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def results(stick):
    return names(stick / RESULTS) if (stick / RESULTS).exists() else []


# ---- a visit -----------------------------------------------------------------------------------------------------


def test_a_stick_comes_and_goes(box, stick):
    put(stick, "课文", controls=b"seed: 3\n")
    put(stick / "任务", "b")
    put(stick / "sonic-edge" / "inbox", "c")
    put(stick / "one job", "speech")
    box.serve(once="usb_working")  # no waiting, and no notice of waiting, for jobs that have finished by then
    box.plug(stick)
    assert box.names() == ["b", "c", "one job", "课文"]
    assert {n: c for n, _, c in box.done}["课文"] == b"seed: 3\n"
    assert results(stick) == ["b.mp4", "c.mp4", "one job.mp4", "课文.mp4"]
    assert (stick / RESULTS / "课文.mp4").read_bytes() == "video of sound 课文".encode()
    assert list(dict.fromkeys(box.said)) == [
        "usb_reading",
        "usb_working",
        "usb_writing",
        "usb_done",
    ]
    assert not list((box.root / "run").glob("stick-*"))


def test_the_same_stick_again_is_not_done_again_and_a_changed_file_is(box, stick):
    put(stick, "a")
    put(stick, "b")
    box.serve()
    box.plug(stick)
    shutil.rmtree(stick / RESULTS)  # people tidy: the results are brought again as long as the box has them
    for left in (box.root / "outbox").glob("b*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    put(stick, "a", recording=b"said anew")
    box.plug(stick)
    assert sorted(h for _, h, _ in box.done) == [b"said anew", b"sound a", b"sound b"]
    (brought,) = (stick / RESULTS).iterdir()
    assert brought.name == "a.mp4" and brought.read_bytes() == b"video of said anew"
    box.plug(stick)
    assert len(box.done) == 3 and results(stick) == ["a.mp4"]


def test_a_second_take_of_a_name_stands_beside_the_first(box, stick):
    put(stick, "a")
    box.serve()
    box.plug(stick)
    put(stick, "a", recording=b"another, longer one")
    box.plug(stick)
    assert results(stick) == ["a-2.mp4", "a.mp4"]


def test_an_impossible_order_is_answered_with_a_message(box, stick):
    put(stick, "bad", recording=b"noise")
    put(stick / "任务", "alone", photo=None)
    put(stick / "任务", "twice")
    (stick / "任务" / "twice.mp3").write_bytes(b"sound")
    (stick / "empty.wav").touch()
    (stick / "empty.jpg").write_bytes(PHOTO)
    box.fails[b"noise"] = RequestError("bad.jpg: no face found")
    box.serve()
    box.plug(stick)
    assert results(stick) == [f"{name} 失败 failed.txt" for name in ("alone", "bad", "empty", "twice")]
    reported = (stick / RESULTS / "bad 失败 failed.txt").read_bytes().decode("utf-8-sig")
    assert "视频未能生成。录音或照片无法使用" in reported and "Why: bad.jpg: no face found\r\n" in reported
    for name, words in (
        ("alone", "there is no photo with it"),
        ("twice", "holds 2 files of kind recording"),
        ("empty", "is empty"),
    ):
        assert words in (stick / RESULTS / f"{name} 失败 failed.txt").read_text("utf-8-sig")
    assert box.said[-1] == "usb_done"


def test_no_jobs(box, stick):
    (stick / "holiday.jpg").write_bytes(PHOTO)
    (stick / "song.mp3").write_bytes(b"la")
    box.serve()
    box.plug(stick)
    assert box.done == [] and box.said == ["usb_reading", "usb_none"]
    assert not (stick / RESULTS).exists(), "a stick that has nothing to do with us is left as it is"


def test_the_configured_portrait_speaks_recordings_alone_where_jobs_are_put(tmp_path, stick):
    (tmp_path / "me.jpg").write_bytes(PHOTO)
    box = Box(tmp_path, portrait=str(tmp_path / "me.jpg"))
    try:
        put(stick, "song", photo=None)
        put(stick / "任务", "said", photo=None)
        box.serve()
        box.plug(stick)
        assert box.names() == ["said"]
    finally:
        box.close()


def test_no_daemon_does_not_fail_the_import(tmp_path, stick, monkeypatch):
    monkeypatch.setattr(transfer, "SILENT_S", 0.5)
    monkeypatch.setattr(transfer, "_POLL_S", 0.05)
    config = Config(spool=SpoolSettings(root=str(tmp_path / "spool")))
    with Spool(config.spool) as spool:
        put(stick, "a")
        import_jobs(config, stick)
        export_results(config, stick)
        announce_end(config, stick)
        assert (spool.inbox / "a" / "a.wav").exists()
        assert results(stick) == []


def test_two_sticks_at_once(box, tmp_path):
    box.serve()
    sticks = [tmp_path / "one", tmp_path / "two"]
    put(sticks[0], "a", recording=b"first")
    put(sticks[1], "a", recording=b"second")
    put(sticks[0], "both")
    put(sticks[1], "both")
    threads = [threading.Thread(target=box.plug, args=(stick,)) for stick in sticks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(h for _, h, _ in box.done) == [b"first", b"second", b"sound both"], "the same job is done once"
    for stick, heard in zip(sticks, (b"first", b"second")):
        assert results(stick) == ["a.mp4", "both.mp4"]
        assert (stick / RESULTS / "a.mp4").read_bytes() == b"video of " + heard


# ---- bad sticks ----------------------------------------------------------------------------------------------------


def test_a_read_only_stick(box, stick, monkeypatch):
    put(stick, "a")
    if os.path.ismount(stick):
        subprocess.run(["mount", "-o", "remount,ro", str(stick)], check=True)
    else:
        full(monkeypatch, errno.EROFS)
    box.serve()
    box.plug(stick)
    assert results(stick) == [] and (box.root / "outbox" / "a.mp4").exists()
    assert box.said[-1] == "usb_done"


def test_a_full_stick(request, tmp_path, box, monkeypatch):
    made = mounted(request, tmp_path, 4)
    if made is None:
        stick = tmp_path / "stick"
        full(monkeypatch, errno.ENOSPC)
    else:
        stick = made[0]
    put(stick, "a")
    box.serve()
    import_jobs(box.config, stick)
    video = box.root / "outbox" / "a.mp4"
    video.write_bytes(bytes(8 << 20))  # twice the stick
    with pytest.raises(DeviceError, match="the stick is full"):
        export_results(box.config, stick)
    announce_end(box.config, stick, failed=True)
    assert results(stick) == [] and box.said[-1] == "usb_failed"
    assert video.exists()


def full(monkeypatch, number):
    """Whatever is written onto the stick fails."""
    real = os.fsync

    def fail(handle):
        if RESULTS in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize(
    "number, reported",
    [(errno.ENOSPC, "the stick is full"), (errno.EIO, "cannot be written onto the stick: Input/output")],
)
def test_a_stick_that_fails_while_it_is_written(box, folder, monkeypatch, number, reported):
    put(folder, "a")
    box.serve()
    import_jobs(box.config, folder)
    full(monkeypatch, number)
    with pytest.raises(DeviceError, match=reported):
        export_results(box.config, folder)
    announce_end(box.config, folder, failed=True)
    assert results(folder) == [] and box.said[-1] == "usb_failed"
    monkeypatch.undo()
    box.plug(folder)
    assert results(folder) == ["a.mp4"] and len(box.done) == 1, "brought the next time, and not done again"


def test_a_stick_that_is_pulled_while_it_is_read(request, tmp_path, box):
    """Its names are still cached, its blocks are gone."""
    made = mounted(request, tmp_path, 16)
    if made is not None:
        stick, image = made
        put(stick, "a", recording=os.urandom(4 << 20))
        subprocess.run(["umount", str(stick)], check=True)
        subprocess.run(["mount", "-o", "loop,ro", str(image), str(stick)], check=True)
        assert "a.wav" in names(stick) and (stick / "a.wav").stat().st_size
        os.truncate(image, 0)
        with pytest.raises(OSError, match="Input/output error"):
            (stick / "a.wav").read_bytes()
        box.serve()
        with contextlib.suppress(DeviceError):
            box.plug(stick)
        assert box.done == [] and not any((box.root / "inbox").iterdir())
    with pytest.raises(DeviceError, match="the stick cannot be read"):
        box.plug(tmp_path / "gone")
    assert box.said[-1] == "usb_failed"


def test_a_file_that_cannot_be_read_costs_its_job_alone(box, folder, monkeypatch):
    put(folder, "a")
    put(folder, "b")
    real = transfer.open_regular

    def broken(path, *rest):
        file = real(path, *rest)
        if path.name == "a.wav":
            file.close()
            return Path("/proc/self/mem").open("rb")  # reading its beginning is an input/output error
        return file

    monkeypatch.setattr(transfer, "open_regular", broken)
    box.serve()
    box.plug(folder)
    assert results(folder) == ["a 失败 failed.txt", "b.mp4"]
    assert "cannot be read from the stick: Input/output error" in (folder / RESULTS / "a 失败 failed.txt").read_text()


def test_a_stick_that_is_pulled_while_its_jobs_are_done(box, folder, tmp_path, monkeypatch):
    """systemd ends the step with SIGTERM; the jobs go on, and the results are written at the next visit."""
    put(folder, "a")
    settings = tmp_path / "box.yaml"
    settings.write_text(yaml.safe_dump({"spool": {"root": str(box.root)}}))
    command = [sys.executable, "-m", "sonic_edge", "stick", "take", "--config", str(settings), str(folder)]
    step = subprocess.Popen(command, stderr=subprocess.PIPE)
    until(lambda: "usb_working" in box.said or step.poll() is not None, "usb_working")
    assert step.poll() is None
    step.send_signal(signal.SIGTERM)
    step.communicate(timeout=DEADLINE_S)
    away = folder.rename(tmp_path / "in a pocket")
    monkeypatch.setenv("SERVICE_RESULT", "signal")  # as systemd says it then
    monkeypatch.setenv("EXIT_STATUS", "TERM")
    assert main(["usb", "done", "--config", str(settings), str(folder)]) == 0
    assert box.said[-1] == "usb_working", "nothing more is said: nothing went wrong"
    box.serve()
    until((box.root / "outbox" / "a.json").exists, "done")
    box.plug(away.rename(folder))
    assert results(folder) == ["a.mp4"] and len(box.done) == 1


@pytest.mark.parametrize(
    "result, said", [("exit-code", ["usb_failed"]), ("exec-condition", []), ("success", []), (None, [])]
)
def test_a_stick_that_could_not_be_mounted(box, folder, tmp_path, monkeypatch, result, said):
    settings = tmp_path / "box.yaml"
    settings.write_text(yaml.safe_dump({"spool": {"root": str(box.root)}}))
    monkeypatch.delenv("SERVICE_RESULT", raising=False)
    monkeypatch.delenv("EXIT_STATUS", raising=False)
    if result is not None:
        monkeypatch.setenv("SERVICE_RESULT", result)
    assert main(["usb", "done", "--config", str(settings), str(folder)]) == 0
    assert box.said == said


def test_a_write_that_a_pull_cut_off_is_cleared_away(box, folder):
    put(folder, "a")
    (folder / RESULTS).mkdir()
    (folder / RESULTS / ".a.mp4.part").write_bytes(b"vid")
    box.serve()
    box.plug(folder)
    assert results(folder) == ["a.mp4"]


def test_a_power_cut_between_noting_and_giving_loses_nothing(box, folder, monkeypatch):
    put(folder, "a")

    def cut(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "submit", cut)
    with pytest.raises(KeyboardInterrupt):
        import_jobs(box.config, folder)
    monkeypatch.undo()
    box.serve()
    box.plug(folder)
    assert box.names() == ["a"] and results(folder) == ["a.mp4"]


def test_a_power_cut_after_giving_doubles_nothing(box, folder, monkeypatch):
    put(folder, "a")
    real = transfer.submit

    def cut(*args):
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "submit", cut)
    with pytest.raises(KeyboardInterrupt):
        import_jobs(box.config, folder)
    monkeypatch.undo()
    box.serve()
    box.plug(folder)
    assert box.names() == ["a"] and results(folder) == ["a.mp4"]


# ---- which files are read ------------------------------------------------------------------------------------------


def test_nothing_is_read_through_a_link(box, folder, tmp_path):
    secret = tmp_path / "secret"
    put(secret, "s")
    folder.joinpath("a.wav").symlink_to(secret / "s.wav")
    folder.joinpath("a.jpg").symlink_to(secret / "s.jpg")
    folder.joinpath("任务").symlink_to(secret)
    folder.joinpath("a job").symlink_to(secret)
    (folder / "sonic-edge").mkdir()
    (folder / "sonic-edge" / "inbox").symlink_to(secret)
    (folder / "sonic-edge" / "linked.wav").symlink_to(secret / "s.wav")
    os.mkfifo(folder / "sonic-edge" / "pipe.wav")
    box.serve()
    box.plug(folder)
    assert box.done == [] and box.said[-1] == "usb_none"


def test_nothing_is_written_through_a_link(box, folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / RESULTS).symlink_to(elsewhere)
    put(folder, "a")
    box.serve()
    box.plug(folder)
    assert not any(elsewhere.iterdir())


def test_junk_is_skipped(folder):
    for name in (".hidden.wav", "._a.wav", "~$a.jpg", "Thumbs.db", "a.txt"):
        (folder / name).write_bytes(b"junk")
    for name in ("System Volume Information", "$RECYCLE.BIN", ".Trashes", RESULTS):
        put(folder / name, "x")
        (folder / name / "other").touch()
    put(folder / "DCIM", "img1")
    put(folder / "DCIM", "img2")
    put(folder / "deep" / "deeper", "x")
    put(folder / "with more", "x")
    (folder / "with more" / "letter.doc").touch()
    assert find_jobs(folder, has_portrait=True) == ([], [])


def test_sticks_do_not_tell_a_from_A_and_macs_take_accents_apart(folder):
    (folder / "LESSON.WAV").write_bytes(b"sound")
    (folder / "lesson.jpg").write_bytes(PHOTO)
    (folder / unicodedata.normalize("NFD", "é.wav")).write_bytes(b"sound")
    (folder / unicodedata.normalize("NFC", "é.jpg")).write_bytes(PHOTO)
    found, refused = find_jobs(folder, has_portrait=False)
    assert [f.name.lower() for f in found if f.photo] == ["lesson", unicodedata.normalize("NFD", "é")] and not refused


def test_a_stick_full_of_files_is_not_walked(folder, monkeypatch):
    monkeypatch.setattr("sonic_edge.service.usb.find.MAX_ENTRIES", 50)
    for i in range(200):
        (folder / f"{i}.txt").touch()
    seen = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: seen.append(str(path)) or real(path))
    find_jobs(folder, has_portrait=False)
    assert seen == [str(folder)]


@pytest.mark.parametrize("name, most", [("MAX_JOBS", 2), ("MAX_BYTES", 2 * len(b"sound 0" + PHOTO))])
def test_too_much_at_once_is_taken_in_several_visits(box, folder, monkeypatch, name, most):
    monkeypatch.setattr(transfer, name, most)
    for i in range(5):
        put(folder, str(i))
    box.serve()
    for n_done in (2, 4, 5):
        box.plug(folder)
        assert len(box.done) == n_done
    assert [r for r in results(folder) if r.endswith(".mp4")] == [f"{i}.mp4" for i in range(5)]


# ---- names on FAT --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("课文 1", "课文 1"),
        ('a<b>c:d"e/f\\g|h?i*j', "a_b_c_d_e_f_g_h_i_j"),
        ("ends with a dot. ", "ends with a dot"),
        (" leads", "leads"),
        ("NUL", "_NUL"),
        ("com1.x", "_com1.x"),
        ("...", "_"),
        ("a\x07b\nc", "a_b_c"),
    ],
)
def test_names_that_fat_refuses(name, wanted):
    assert fat_name(name) == wanted


@pytest.mark.parametrize("name", ["课" * 300, "x" * 300, "😀" * 300, "é" * 199])
def test_names_that_are_too_long(name):
    short = fat_name(name)
    assert name.startswith(short) and len(f".{short}-99.mp4.part".encode()) < 255


def test_a_result_with_a_name_that_fat_refuses(box, stick):
    name = "什么？ who.. 课" + "文" * 50
    put(stick / "任务", name)
    box.serve()
    box.plug(stick)
    assert results(stick) == [f"{name}.mp4"]


# ---- the memory ----------------------------------------------------------------------------------------------------


def test_the_memory_is_bounded_and_forgets_the_oldest(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "MAX_JOBS", 3)
    with history.open_history(tmp_path) as held:
        for i in range(5):
            held.put(str(i), history.Imported(f"n{i}", "sha"))
    with history.open_history(tmp_path) as held:
        assert [held.get(str(i)) is not None for i in range(5)] == [False, False, True, True, True]


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 3}', '{"a": {"name": 1, "what": 2}}', ""])
def test_a_corrupt_memory_of_sticks_is_replaced(tmp_path, text):
    (tmp_path / "sticks.json").write_text(text)
    with history.open_history(tmp_path) as held:
        held.put("a", history.Imported("n", "sha"))
    with history.open_history(tmp_path) as held:
        assert held.get("a") == history.Imported("n", "sha")


def test_a_failing_memory_gives_a_message(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "write", fail)
    with (
        pytest.raises(DeviceError, match=r"sticks\.json: cannot be written: No space"),
        history.open_history(tmp_path) as held,
    ):
        held.put("a", history.Imported("n", "sha"))
