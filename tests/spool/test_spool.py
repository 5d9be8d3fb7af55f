import json
import logging
import os
import random
import re
import resource
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sonic_edge import disk
from sonic_edge.config import SpoolSettings
from sonic_edge.errors import ConfigError, DeviceError, RequestError
from sonic_edge.spool import Spool, folders, scan
from sonic_edge.spool.claim import MAX_INTERRUPTIONS
from sonic_edge.spool.job import MAX_ENTRIES, Record

SETTLE_S, PAIR_S = 1.0, 10.0


class Clock:
    """A clock that advances only when somebody waits, and stops the watching after a while."""

    def __init__(self):
        self.now = 1000.0
        self.end = 0.0

    def monotonic(self):
        return self.now

    def is_set(self):
        return self.now >= self.end

    def wait(self, timeout):
        self.now += max(timeout, 0.001)
        return self.is_set()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    made = Clock()
    for module in ("scan", "spool"):
        monkeypatch.setattr(f"sonic_edge.spool.{module}.time", made)
    return made


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """No test here can distinguish a synced disk from an unsynced one; where it matters, `disk.sync` is watched."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def make(tmp_path):
    """Open a spool; settings by name."""
    opened = []

    def open_spool(**settings):
        settings = {"root": str(tmp_path / "spool"), "settle_s": SETTLE_S, "pair_s": PAIR_S, **settings}
        spool = Spool(SpoolSettings(**settings))
        opened.append(spool)
        return spool.__enter__()

    yield open_spool
    for spool in opened:
        spool.__exit__(None, None, None)


@pytest.fixture
def spool(make):
    return make()


def put(path, content="x", age_s=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    if age_s:
        then = path.stat().st_mtime - age_s
        os.utime(path, (then, then))
    return path


def pair(spool, stem, age_s=0.0):
    put(spool.inbox / f"{stem}.wav", f"recording of {stem}", age_s)
    put(spool.inbox / f"{stem}.jpg", f"photo of {stem}", age_s)


def work(spool, clock, seconds=PAIR_S + 2, each=None):
    """Watch for a while and finish each job; the jobs that came."""
    clock.end = clock.now + seconds
    came = []
    for job in spool.watch(clock):
        came.append(job)
        if each is not None:
            each(job)
        spool.start(job)
        job.output.write_text(f"video of {job.speech.read_text()}")
        spool.publish(job, {"status": "done"})
    return came


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def reason(spool, name):
    return json.loads((spool.failed / name / "reason.json").read_text(encoding="utf-8"))


# ---- what a job is -----------------------------------------------------------------------------------------------


def test_a_folder_is_a_job(spool, clock):
    put(spool.inbox / "hello" / "sound.m4a", "speech")
    put(spool.inbox / "hello" / "face.PNG", "photo")
    put(spool.inbox / "hello" / "job.yaml", "seed: 3")
    put(spool.inbox / "hello" / "notes.txt", "")
    seen = []
    (job,) = work(spool, clock, each=lambda j: seen.append((j.speech.name, j.portrait.name, j.controls.read_text())))
    assert job.id == "hello"
    assert seen == [("sound.m4a", "face.PNG", "seed: 3")]
    assert names(spool.outbox) == ["hello.inputs", "hello.json", "hello.mp4"]
    assert names(spool.outbox / "hello.inputs") == ["face.PNG", "job.yaml", "notes.txt", "sound.m4a"]
    assert names(spool.inbox) == names(spool.work) == names(spool.failed) == []


def test_nobody_else_speaks_in_the_place_of_an_unknown_photo(make, clock, tmp_path):
    spool = make(portrait=str(put(tmp_path / "host.jpg")))
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / "me.psd")
    put(spool.inbox / "b" / "b.wav")
    put(spool.inbox / "b" / "me.gif")
    assert [(job.id, job.portrait.name) for job in work(spool, clock)] == [("b", "me.gif")]
    assert "'me.psd', which is not a known photo type" in reason(spool, "a")["what"]


def test_only_job_yaml_is_the_controls_of_a_folder(spool, clock):
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / "a.jpg")
    put(spool.inbox / "a" / "other.yaml")
    assert work(spool, clock)[0].controls is None


def test_files_of_one_stem_are_a_job(spool, clock):
    pair(spool, "a")
    put(spool.inbox / "a.YML", "seed: 1")
    pair(spool, "a.b")
    jobs = {j.id: j for j in work(spool, clock)}
    assert set(jobs) == {"a", "a.b"}
    assert jobs["a"].controls.name == "a.YML" and jobs["a.b"].controls is None
    assert names(spool.outbox / "a.inputs") == ["a.YML", "a.jpg", "a.wav"]
    assert (spool.outbox / "a.mp4").read_text() == "video of recording of a"
    assert json.loads((spool.outbox / "a.json").read_text()) == {"status": "done", "job": "a", "result": "a.mp4"}


def test_a_recording_alone_takes_the_configured_portrait_after_waiting_for_a_photo(make, clock, tmp_path):
    portrait = put(tmp_path / "host.jpg")
    spool = make(portrait=str(portrait))
    put(spool.inbox / "a.mp3", "speech")
    assert work(spool, clock, PAIR_S - 1) == []
    (job,) = work(spool, clock, 3)
    assert job.portrait == portrait
    assert names(spool.outbox / "a.inputs") == ["a.mp3"] and portrait.exists()


def test_a_recording_alone_in_a_folder_too(make, clock, tmp_path):
    spool = make(portrait=str(put(tmp_path / "host.jpg")))
    put(spool.inbox / "a" / "sound.mp3")
    assert [j.portrait.name for j in work(spool, clock)] == ["host.jpg"]


def test_a_recording_alone_without_a_configured_portrait_fails_in_words(spool, clock):
    put(spool.inbox / "a.mp3", "speech")
    assert work(spool, clock) == []
    reported = reason(spool, "a")
    assert "no photo and spool.portrait is not set" in reported["what"]
    assert (
        reported["error"] == "RequestError"
        and reported["attempts"] == 0
        and reported["controls"] == {}
        and "T" in reported["time"]
    )
    assert names(spool.failed / "a") == ["a.mp3", "reason.json"]


def test_a_photo_that_comes_later_is_waited_for(spool, clock):
    put(spool.inbox / "a.wav", "speech")
    assert work(spool, clock, PAIR_S - 2) == []
    put(spool.inbox / "a.jpg")
    assert [j.id for j in work(spool, clock, SETTLE_S + 2)] == ["a"]


def test_a_photo_alone_stays_and_is_reported_once(spool, clock, caplog):
    put(spool.inbox / "a.jpg")
    assert work(spool, clock, 100) == []
    assert names(spool.inbox) == ["a.jpg"]
    assert len([r for r in caplog.records if "no recording with it" in r.message]) == 1
    put(spool.inbox / "a.wav")
    assert [j.id for j in work(spool, clock, 5)] == ["a"]


def test_unknown_files_stay_and_are_reported_once(spool, clock, caplog):
    put(spool.inbox / "notes.txt")
    put(spool.inbox / "Makefile")
    (spool.inbox / "empty").mkdir()
    (spool.inbox / "link").symlink_to("/etc")
    work(spool, clock, 100)
    assert names(spool.inbox) == ["Makefile", "empty", "link", "notes.txt"]
    (reported,) = [r.message for r in caplog.records if "not a recording" in r.message]
    assert "'Makefile'" in reported and "'link'" in reported
    put(spool.inbox / "another.doc")
    work(spool, clock, 10)
    assert len([r for r in caplog.records if "not a recording" in r.message]) == 2


def test_ten_thousand_unknown_files_give_one_line_and_no_obstacle(spool, clock, caplog):
    for i in range(10_000):
        (spool.inbox / f"junk{i}").touch()
    pair(spool, "a")
    assert [j.id for j in work(spool, clock, 5)] == ["a"]
    assert "and 9995 more" in caplog.text and len(caplog.records) < 10


def test_a_folder_of_thousands_of_files_stays(spool, clock, caplog):
    for i in range(MAX_ENTRIES + 1):
        put(spool.inbox / "album" / f"{i}.wav")
    pair(spool, "a")
    assert [j.id for j in work(spool, clock, 20)] == ["a"]
    assert names(spool.inbox) == ["album"] and "'album'" in caplog.text


@pytest.mark.parametrize("extra", ["b.wav", "b.jpg"])
def test_two_of_a_kind_fail_in_words(spool, clock, extra):
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / "a.jpg")
    put(spool.inbox / "a" / extra)
    assert work(spool, clock) == []
    assert f"'{extra}'" in reason(spool, "a")["what"] and "it must hold one" in reason(spool, "a")["what"]


def test_a_names_accents_may_be_written_in_two_ways(spool, clock):
    put(spool.inbox / "e\u0301te\u0301.wav")
    put(spool.inbox / "\u00e9t\u00e9.jpg")
    assert [j.id for j in work(spool, clock, 5)] == ["\u00e9t\u00e9"]


# ---- when it is complete -----------------------------------------------------------------------------------------


def test_a_file_still_being_written_is_left_alone(spool, clock):
    pair(spool, "a")
    for n in range(20):
        with (spool.inbox / "a.wav").open("a") as f:
            f.write("more")
        assert work(spool, clock, SETTLE_S * 0.8) == [], n
    assert len(work(spool, clock, SETTLE_S * 2)) == 1


def test_a_file_rewritten_at_the_same_size_is_left_alone(spool, clock):
    pair(spool, "a")
    for n in range(5):
        os.utime(spool.inbox / "a.jpg", (n, n))
        assert work(spool, clock, SETTLE_S * 0.8) == []
    assert len(work(spool, clock, SETTLE_S * 2)) == 1


def test_a_folder_still_being_filled_is_left_alone(spool, clock):
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / "a.jpg")
    assert work(spool, clock, SETTLE_S * 0.8) == []
    put(spool.inbox / "a" / "job.yaml", "seed: 1")
    assert work(spool, clock, SETTLE_S * 0.8) == []
    assert work(spool, clock, SETTLE_S)[0].controls is not None


@pytest.mark.parametrize(
    "name", ["b.jpg.part", "b.jpg.filepart", "b.wav.tmp", "b.wav.crdownload", "b.wav~", ".b.wav", ".hidden", "b.PART"]
)
def test_unfinished_files_are_ignored_without_a_word(spool, clock, caplog, name):
    put(spool.inbox / name)
    pair(spool, "a")
    assert [j.id for j in work(spool, clock, 60)] == ["a"]
    assert names(spool.inbox) == [name]
    assert "not a recording" not in caplog.text


def test_an_unfinished_photo_is_worth_waiting_for(spool, clock):
    put(spool.inbox / "a.wav")
    part = put(spool.inbox / "a.jpg.part")
    for n in range(5):
        part.write_text("x" * n)
        assert work(spool, clock, PAIR_S * 0.8) == []
    part.rename(spool.inbox / "a.jpg")
    assert len(work(spool, clock, 3)) == 1


def test_an_unfinished_file_in_a_folder_is_waited_for_but_not_for_ever(spool, clock):
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / "a.jpg")
    put(spool.inbox / "a" / "job.yaml.part")
    assert work(spool, clock, PAIR_S * 0.8) == []
    assert len(work(spool, clock, PAIR_S)) == 1


def test_one_job_being_written_does_not_hold_up_the_others(spool, clock):
    pair(spool, "slow", age_s=1000)
    pair(spool, "b")

    def write(_=None):
        with (spool.inbox / "slow.wav").open("a") as f:
            f.write("more")
        os.utime(spool.inbox / "slow.wav", (1, clock.now))

    clock.end = clock.now + 5
    came = []
    for job in spool.watch(clock, write):
        came.append(job.id)
        spool.fail(job, RequestError("enough"))
    assert came == ["b"]


# ---- in order ----------------------------------------------------------------------------------------------------


def test_oldest_first_then_by_name(spool, clock):
    pair(spool, "new", age_s=10)
    pair(spool, "old", age_s=1000)
    put(spool.inbox / "older" / "a.wav", age_s=2000)
    put(spool.inbox / "older" / "a.jpg", age_s=2000)
    for name in ("c", "b"):
        pair(spool, name)
        for f in spool.inbox.glob(f"{name}.*"):
            os.utime(f, (10**9, 10**9))
    assert [j.id for j in work(spool, clock)] == ["b", "c", "older", "old", "new"]


def test_one_at_a_time(spool, clock):
    pair(spool, "a", age_s=10)
    pair(spool, "b")
    work(spool, clock, each=lambda job: names(spool.work) == [job.id] or pytest.fail("two jobs at once"))


def test_stopping_leaves_the_rest(spool, clock):
    pair(spool, "a")
    pair(spool, "b")

    def stop(job):
        clock.end = clock.now

    assert len(work(spool, clock, each=stop)) == 1
    assert len(names(spool.inbox)) == 2


def test_ticks_come_at_least_every_second(make, clock):
    spool = make(poll_s=60.0)
    ticks = []
    clock.end = clock.now + 300
    assert list(spool.watch(clock, lambda: ticks.append(clock.now))) == []
    assert max(b - a for a, b in zip(ticks, ticks[1:])) <= 1.001


# ---- names -------------------------------------------------------------------------------------------------------

ODD = [
    "你好，世界",
    "with a space",
    "new\nline",
    "tab\tbell\a",
    "-rf",
    "--help",
    "quote'\"`$(x)",
    "a" * 251,
    "长" * 83,
    "%s{}",
    "x.trash-",
    "CON",
]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("as_folder", [False, True])
def test_odd_names(make, clock, name, as_folder):
    spool = make(keep_inputs=True)
    if as_folder:
        put(spool.inbox / name / "-a.wav")
        put(spool.inbox / name / "photo\n.jpg")
    else:
        pair(spool, name)
    (job,) = work(spool, clock)
    assert job.id.isprintable() and job.id[0] not in "-." and len(os.fsencode(job.id)) <= 200
    assert names(spool.outbox) == sorted(f"{job.id}{s}" for s in (".inputs", ".json", ".mp4"))
    assert names(spool.inbox) == names(spool.work) == []
    assert job.id == name or name in ("new\nline", "tab\tbell\a", "-rf", "--help", "a" * 251, "长" * 83)


def test_names_that_are_not_utf8(spool, clock):
    for suffix in (b".wav", b".jpg"):
        with open(os.fsencode(spool.inbox) + b"/bad\xff" + suffix, "wb") as f:  # noqa: PTH123
            f.write(b"x")
    (job,) = work(spool, clock)
    assert job.id == "bad_"
    assert os.listdir(os.fsencode(spool.outbox / "bad_.inputs")).count(b"bad\xff.wav") == 1  # noqa: PTH208


def test_a_bad_name_can_fail_too(spool, clock):
    with open(os.fsencode(spool.inbox) + b"/bad\xff.wav", "wb") as f:  # noqa: PTH123
        f.write(b"x")
    assert work(spool, clock) == []
    assert names(spool.failed) == ["bad_"]


def test_two_long_names_that_differ_at_the_end_stay_apart(spool, clock):
    pair(spool, "a" * 250 + "1")
    pair(spool, "a" * 250 + "2")
    assert len({j.id for j in work(spool, clock)}) == 2
    assert len(names(spool.outbox)) == 6


def test_names_used_before_get_a_number(spool, clock):
    for n in range(3):
        pair(spool, "a")
        work(spool, clock)
        assert len(names(spool.outbox)) == 3 * (n + 1)
    put(spool.inbox / "a.wav")
    work(spool, clock)
    assert {"a", "a-2", "a-3"} == {n[:-4] for n in names(spool.outbox) if n.endswith(".mp4")}
    assert names(spool.failed) == ["a-4"]


def test_a_name_taken_while_the_job_was_worked_on(spool, clock):
    pair(spool, "a")
    work(spool, clock, each=lambda job: put(spool.outbox / "a.mp4", "somebody else's"))
    assert (spool.outbox / "a.mp4").read_text() == "somebody else's"
    assert json.loads((spool.outbox / "a-2.json").read_text())["result"] == "a-2.mp4"


def test_a_folder_and_files_of_the_same_name_are_two_jobs(spool, clock):
    pair(spool, "a")
    put(spool.inbox / "a" / "x.wav")
    put(spool.inbox / "a" / "x.jpg")
    assert sorted(j.id for j in work(spool, clock)) == ["a", "a-2"]


# ---- what is not a plain file ------------------------------------------------------------------------------------


def as_link(path):
    path.symlink_to("/etc/hostname")


def as_dangling_link(path):
    path.symlink_to("/nowhere")


def as_pipe(path):
    os.mkfifo(path)


def as_socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path.name)
    finally:
        os.chdir(here)


def as_folder(path):
    path.mkdir()


KINDS = [
    (as_link, "symbolic link"),
    (as_dangling_link, "symbolic link"),
    (as_pipe, "a pipe"),
    (as_socket, "a socket"),
]


@pytest.mark.parametrize(
    ("make_odd", "word", "in_folder"),
    [(*kind, in_folder) for kind in KINDS for in_folder in (False, True)] + [(as_folder, "a folder", True)],
)
def test_what_is_not_a_plain_file_is_refused_in_words(spool, clock, make_odd, word, in_folder):
    where = spool.inbox / "a" if in_folder else spool.inbox
    put(where / "a.wav")
    make_odd(where / "a.jpg")
    assert work(spool, clock) == []
    assert word in reason(spool, "a")["what"]
    assert names(spool.failed / "a") == ["a.jpg", "a.wav", "reason.json"]
    assert names(spool.inbox) == names(spool.work) == []
    assert Path("/etc/hostname").exists()


def test_a_device_is_distinguished_from_a_file():
    assert not disk.is_plain(Path("/dev/null")) and disk.what_is(Path("/dev/null")) == "a device"


def test_a_hard_link_is_a_plain_file(spool, clock, tmp_path):
    original = put(tmp_path / "original.wav", "speech")
    os.link(original, spool.inbox / "a.wav")
    put(spool.inbox / "a.jpg")
    assert len(work(spool, clock)) == 1
    assert original.read_text() == "speech"


def test_a_link_named_like_our_own_files_is_not_written_through(spool, clock, tmp_path):
    victim = put(tmp_path / "victim", "precious")
    put(spool.inbox / "a" / "a.wav")
    (spool.inbox / "a" / "reason.json").symlink_to(victim)
    (spool.inbox / "a" / ".reason.json.tmp").symlink_to(victim)
    assert work(spool, clock) == []
    assert victim.read_text() == "precious"
    assert reason(spool, "a")["error"] == "RequestError"


def test_a_folder_named_like_our_own_file(spool, clock):
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / "reason.json" / "x")
    assert work(spool, clock) == []
    assert "a folder" in reason(spool, "a")["what"]
    assert names(spool.failed / "a") == ["a.wav", "reason.json", "reason.json-2"]


def test_a_folder_named_like_our_draft_does_not_keep_a_job_from_its_end(spool, clock):
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / ".reason.json.tmp" / "x")
    assert work(spool, clock) == []
    assert "no photo" in reason(spool, "a")["what"]
    assert names(spool.failed / "a") == [".reason.json.tmp", "a.wav", "reason.json"]
    assert names(spool.work) == []


def test_a_folder_a_thousand_folders_deep_is_taken_away(spool, clock, tmp_path):
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / "a.jpg")
    put(spool.inbox / "a" / ".private")
    (spool.inbox / "a" / ".deep").mkdir()
    inner = os.open(spool.inbox / "a" / ".deep", os.O_RDONLY)
    for _ in range(2 * sys.getrecursionlimit()):
        os.mkdir("d", dir_fd=inner)
        deeper = os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(inner)
        inner = deeper
    os.close(inner)
    try:
        assert [j.id for j in work(spool, clock)] == ["a"]
        assert names(spool.work) == []
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "spool")], check=True)  # pytest cannot, either


def test_a_full_disk_does_not_keep_the_lock_from_being_held(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with folders.locked(tmp_path / "lock"), pytest.raises(DeviceError, match="another daemon"):
            folders.locked(tmp_path / "lock").__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_nobody_may_read_is_no_obstacle(spool, clock, monkeypatch, caplog):
    put(spool.inbox / "closed" / "a.wav")
    pair(spool, "a")
    look_into = scan._scan_folder

    def refuse(entry):
        if entry.name == "closed":
            raise PermissionError(13, "Permission denied")
        return look_into(entry)

    monkeypatch.setattr(scan, "_scan_folder", refuse)
    assert [j.id for j in work(spool, clock)] == ["a"]
    assert "'closed'" in caplog.text


def test_files_that_may_not_be_moved_stay_and_are_reported(spool, clock, monkeypatch, caplog):
    pair(spool, "a")
    pair(spool, "b")
    rename = disk.rename

    def refuse(source, target):
        if source.name.startswith("a."):
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(disk, "rename", refuse)
    assert [j.id for j in work(spool, clock, 20)] == ["b"]
    assert names(spool.inbox) == ["a.jpg", "a.wav"] and names(spool.work) == []
    assert caplog.text.count("'a': cannot be taken: Permission denied") == 1


# ---- ends of a job -----------------------------------------------------------------------------------------------


def test_inputs_are_deleted_if_so_configured(make, clock):
    spool = make(keep_inputs=False)
    pair(spool, "a")
    work(spool, clock)
    assert names(spool.outbox) == ["a.json", "a.mp4"]
    assert names(spool.work) == []


def test_a_failed_jobs_reason_says_everything(spool, clock):
    pair(spool, "a")
    clock.end = clock.now + 5
    for job in spool.watch(clock):
        spool.start(job)
        spool.fail(job, RequestError("a.wav: 没有人声"), {"seed": 3})
    assert "没有人声" in (spool.failed / "a" / "reason.json").read_text(encoding="utf-8")
    reported = reason(spool, "a")
    assert (reported["error"], reported["attempts"], reported["controls"]) == ("RequestError", 1, {"seed": 3})
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$", reported["time"])


def test_a_failed_job_dragged_back_is_a_job_again(spool, clock):
    put(spool.inbox / "a" / "a.wav")
    put(spool.inbox / "a" / "a.jpg")
    clock.end = clock.now + 5
    for job in spool.watch(clock):
        spool.fail(job, RequestError("no"))
    (spool.failed / "a").rename(spool.inbox / "a")
    assert [j.id for j in work(spool, clock)] == ["a"]


def test_a_job_is_handed_out_again_until_it_is_finished(spool, clock):
    pair(spool, "a")
    clock.end = clock.now + 5
    for n_given, job in enumerate(spool.watch(clock), 1):
        spool.start(job)
        assert job.deaths == n_given - 1
        if n_given < 3:
            job.output.write_text("half a video")
            assert spool.put_back(job, died=True) == n_given
        else:
            assert not job.output.exists()
            spool.fail(job, DeviceError("no"))
    assert reason(spool, "a")["attempts"] == 3


def test_a_report_too_deep_to_write_is_reported_and_not_published(spool, clock):
    report = {}
    for _ in range(2 * sys.getrecursionlimit()):
        report = {"deeper": report}
    pair(spool, "a")
    clock.end = clock.now + PAIR_S
    for job in spool.watch(clock):
        spool.start(job)
        job.output.write_text("video")
        with pytest.raises(DeviceError, match="a: the spool failed"):
            spool.publish(job, report)
        break
    assert names(spool.outbox) == []


def test_a_worker_that_left_no_video_does_not_publish(spool, clock):
    pair(spool, "a")
    clock.end = clock.now + 5
    for job in spool.watch(clock):
        spool.start(job)
        job.output.symlink_to("/etc/hostname")
        with pytest.raises(RequestError, match="left no video"):
            spool.publish(job, {})
        spool.fail(job, RequestError("no"))
    assert names(spool.outbox) == []


def test_a_parked_job_comes_first_and_whole(make, clock):
    spool = make()
    pair(spool, "b")
    clock.end = clock.now + 5
    for job in spool.watch(clock):
        spool.start(job)
        job.output.write_text("half")
        spool.put_back(job, died=False)
        break
    pair(spool, "a", age_s=1000)
    spool.__exit__(None, None, None)
    spool = make()
    assert [j.id for j in spool.recover()] == ["b"]
    came = work(spool, clock, 5)
    assert [(j.id, j.deaths) for j in came] == [("b", 0), ("a", 0)]


def test_a_job_that_takes_the_daemon_down_again_and_again_is_given_up(make, clock):
    spool = make()
    pair(spool, "a")
    for _ in range(MAX_INTERRUPTIONS):
        clock.end = clock.now + 5
        for job in spool.watch(clock):
            spool.start(job)
            break
        spool.__exit__(None, None, None)
        spool = make()
    assert work(spool, clock) == []
    assert f"went down {MAX_INTERRUPTIONS} times" in reason(spool, "a")["what"]


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"id": "other"}', "\x00" * 100])
def test_a_lost_record_does_not_lose_the_files(spool, clock, content):
    pair(spool, "a")
    clock.end = clock.now + 5
    job = next(spool.watch(clock))
    record = job.folder / "job.json"
    record.unlink() if content is None else record.write_text(content)
    assert spool.recover() == []
    assert names(spool.failed / "a") == ["a.jpg", "a.wav", "reason.json"]
    assert "job.json is lost" in reason(spool, "a")["what"]


# ---- the folders and the disk ------------------------------------------------------------------------------------


def test_the_folders_are_made(spool):
    assert names(spool.root) == ["failed", "inbox", "lock", "outbox", "work"]
    assert stat.S_IMODE(spool.work.stat().st_mode) == 0o700


def test_a_spool_that_cannot_be_made_is_a_matter_of_configuration(tmp_path, make):
    put(tmp_path / "file")
    with pytest.raises(ConfigError, match=r"spool.root = .*file/spool: must be a folder"):
        make(root=str(tmp_path / "file" / "spool"))


def test_a_portrait_that_is_not_there_is_a_matter_of_configuration(make):
    with pytest.raises(ConfigError, match="spool.portrait = /nowhere.jpg: must be a photo"):
        make(portrait="/nowhere.jpg")


def test_a_second_daemon_says_who_holds_the_spool(spool):
    code = (
        "import sys; from sonic_edge.spool import Spool; from sonic_edge.config import SpoolSettings\n"
        "with Spool(SpoolSettings(root=sys.argv[1])): pass"
    )
    done = subprocess.run([sys.executable, "-c", code, str(spool.root)], capture_output=True, text=True)
    assert f"DeviceError: spool {spool.root}: another daemon is using it (process {os.getpid()})" in done.stderr
    assert (spool.root / "lock").read_text() == f"{os.getpid()}\n"


def test_a_full_disk_is_reported_once_and_waited_for(spool, clock, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    pair(spool, "a")
    write = disk.write

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "write", full)
    assert work(spool, clock, 30) == []
    assert caplog.text.count("No space left") == 1
    monkeypatch.setattr(disk, "write", write)
    assert [j.id for j in work(spool, clock, 5)] == ["a"]
    assert "works again" in caplog.text


@pytest.mark.parametrize("step", ["start", "publish", "fail"])
def test_a_full_disk_is_a_device_error_and_the_step_can_be_done_again(spool, clock, monkeypatch, step):
    pair(spool, "a")
    clock.end = clock.now + 5
    n_full = 0

    def full(path, data):
        nonlocal n_full
        n_full += 1
        raise OSError(28, "No space left on device")

    def while_full(action):
        with monkeypatch.context() as m, pytest.raises(DeviceError, match="No space left"):
            m.setattr(disk, "write", full)
            action()

    for job in spool.watch(clock):
        if step == "start":
            while_full(lambda job=job: spool.start(job))
        spool.start(job)
        job.output.write_text("video")
        if step == "publish":
            while_full(lambda job=job: spool.publish(job, {}))
        if step == "fail":
            while_full(lambda job=job: spool.fail(job, RequestError("no")))
            spool.fail(job, RequestError("no"))
        else:
            spool.publish(job, {})
    assert n_full == 1
    assert names(spool.outbox if step != "fail" else spool.failed) == (
        ["a"] if step == "fail" else ["a.inputs", "a.json", "a.mp4"]
    )


def test_an_inbox_that_goes_away_is_made_again(spool, clock, caplog):
    spool.inbox.rmdir()
    assert work(spool, clock, 3) == []
    pair(spool, "a")
    assert len(work(spool, clock, 5)) == 1
    assert caplog.text.count("was missing; created again") == 1


def test_an_inbox_whose_disk_goes_away_is_waited_for(spool, clock, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(spool, "_device", -1)  # what lies under the mount point is another disk
    spool.inbox.rmdir()
    assert work(spool, clock, 10) == []
    spool.inbox.mkdir()
    pair(spool, "a")
    assert len(work(spool, clock, 5)) == 1
    assert caplog.text.count("No such file") == 1 and "works again" in caplog.text


# ---- power cuts --------------------------------------------------------------------------------------------------


class PowerCut(BaseException):
    pass


class Power:
    """Counts the steps that change the disk, and cuts the power at one of them: before it, or right after it."""

    def __init__(self, monkeypatch):
        self.n_steps = 0
        self.cut_at = None
        self.log = []
        for name in ("rename", "sync"):
            monkeypatch.setattr(disk, name, self._around(getattr(disk, name), name))
        monkeypatch.setattr(Path, "mkdir", self._around(Path.mkdir, "mkdir"))
        monkeypatch.setattr(shutil, "rmtree", self._in_the_middle_of(shutil.rmtree))

    def step(self):
        self.n_steps += 1
        if self.n_steps == self.cut_at:
            raise PowerCut

    def _around(self, function, name):
        def call(*args, **kwargs):
            self.step()
            self.log.append((name, *args))
            result = function(*args, **kwargs)
            self.step()
            return result

        return call

    def _in_the_middle_of(self, rmtree):
        def call(path, ignore_errors=False):
            for inner in sorted(Path(path).iterdir(), reverse=True):  # the record before the inputs: the worst order
                self.step()
                rmtree(inner) if inner.is_dir() and not inner.is_symlink() else inner.unlink()
            self.step()
            rmtree(path, ignore_errors)

        return call


def life(make, clock, power, cut_at, **settings):
    """One life of a daemon, from start to the cut or to nothing left to do; whether it was cut."""
    power.n_steps, power.cut_at = 0, cut_at
    spool = None
    try:
        spool = make(**settings)
        clock.end = clock.now + 2 * PAIR_S
        for job in spool.watch(clock):
            spool.start(job)
            content = job.speech.read_text()
            if "dies" in content and job.deaths < 1:
                spool.put_back(job, died=True)
                continue
            job.output.write_text(f"half of {content}")
            power.step()
            job.output.write_text(f"video of {content}")
            if "bad" in content:
                spool.fail(job, RequestError("bad"))
            else:
                spool.publish(job, {"status": "done"})
        return False
    except PowerCut:
        return True
    finally:
        power.cut_at = None
        if spool is not None:
            spool.__exit__(None, None, None)


def fill(root):
    """One job of each kind."""
    box = root / "inbox"
    put(box / "pair.wav", "pair", 500)
    put(box / "pair.jpg", "photo", 500)
    put(box / "pair.yaml", "seed: 1", 500)
    put(box / "folder" / "x.wav", "folder dies", 400)
    put(box / "folder" / "x.jpg", "photo", 400)
    put(box / "badpair.wav", "bad pair", 300)
    put(box / "badpair.jpg", "photo", 300)
    put(box / "alone.wav", "alone", 200)


def check_exactly_once(root, keep_inputs):
    assert names(root / "inbox") == names(root / "work") == []
    kept = [f"{name}.inputs" for name in ("folder", "pair")] if keep_inputs else []
    assert names(root / "outbox") == sorted(["folder.json", "folder.mp4", "pair.json", "pair.mp4", *kept])
    for name, content in (("pair", "pair"), ("folder", "folder dies")):
        assert (root / "outbox" / f"{name}.mp4").read_text() == f"video of {content}"
        report = {"status": "done", "job": name, "result": f"{name}.mp4"}
        assert json.loads((root / "outbox" / f"{name}.json").read_text()) == report
    if keep_inputs:
        assert names(root / "outbox" / "pair.inputs") == ["pair.jpg", "pair.wav", "pair.yaml"]
        assert names(root / "outbox" / "folder.inputs") == ["x.jpg", "x.wav"]
    assert names(root / "failed") == ["alone", "badpair"]
    assert names(root / "failed" / "alone") == ["alone.wav", "reason.json"]
    assert names(root / "failed" / "badpair") == ["badpair.jpg", "badpair.wav", "reason.json"]


@pytest.mark.parametrize("keep_inputs", [True, False])
def test_nothing_is_lost_or_doubled_whenever_the_power_goes(make, clock, tmp_path, monkeypatch, keep_inputs):
    power = Power(monkeypatch)

    def lives(root, cuts):
        fill(root)
        for cut_at in cuts:
            if not life(make, clock, power, cut_at, root=str(root), keep_inputs=keep_inputs):
                break
        n_steps = power.n_steps
        life(make, clock, power, None, root=str(root), keep_inputs=keep_inputs)
        check_exactly_once(root, keep_inputs)
        return n_steps

    n_steps = lives(tmp_path / "uncut", [10**9])
    assert n_steps > 200
    for cut_at in range(1, n_steps + 1):
        lives(tmp_path / f"cut at {cut_at}", [cut_at])
    chance = random.Random(1)
    for n in range(60):
        lives(tmp_path / f"many {n}", [chance.randint(1, n_steps // 2) for _ in range(6)])


def test_what_a_rename_publishes_was_synced_before(make, clock, tmp_path, monkeypatch):
    power = Power(monkeypatch)
    fill(tmp_path / "spool")
    life(make, clock, power, None)
    synced = set()
    n_checked = 0
    for name, *args in power.log:
        if name == "sync":
            synced.add(args[0])
        elif name == "rename" and (args[0].name.endswith(".tmp") or args[1].suffix == ".mp4"):
            assert args[0] in synced, args
            synced.discard(args[0])
            n_checked += 1
    assert n_checked > 20


def test_files_exchanged_during_a_power_cut_are_a_new_job(make, clock, tmp_path, monkeypatch):
    """The photo had not been moved yet, and the person put another pair of the same name into the inbox."""
    spool = make()
    put(spool.inbox / "a.wav", "first")
    put(spool.inbox / "a.jpg", "photo")
    rename = disk.rename

    def cut(source, target):
        rename(source, target)
        if target.parent.name == "inputs":
            raise PowerCut

    with monkeypatch.context() as m, pytest.raises(PowerCut):
        m.setattr(disk, "rename", cut)
        work(spool, clock)
    spool.__exit__(None, None, None)
    put(spool.inbox / "a.wav", "the second one")
    put(spool.inbox / "a.jpg", "another photo")
    spool = make()
    work(spool, clock)
    assert "disappeared or changed while being claimed" in reason(spool, "a")["what"]
    assert (spool.outbox / "a-2.mp4").read_text() == "video of the second one"
    assert names(spool.inbox) == names(spool.work) == []


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_job_that_changes_just_when_it_is_claimed_is_looked_at_afresh(spool, clock, monkeypatch, as_folder):
    sound = spool.inbox / "a" / "a.wav" if as_folder else spool.inbox / "a.wav"
    put(sound, "short")
    put(sound.with_suffix(".jpg"), "photo")
    store = Record.store
    n_stored = 0

    def change(record, folder):
        nonlocal n_stored
        store(record, folder)
        n_stored += 1
        if n_stored == 1:
            put(sound, "longer by far")

    monkeypatch.setattr(Record, "store", change)
    work(spool, clock)
    assert (spool.outbox / "a.mp4").read_text() == "video of longer by far"
    assert names(spool.failed) == []
