import json
import os
import time
from types import SimpleNamespace

import pytest

from sonic_edge.config import DiskSettings
from sonic_edge.spool import quota as room_module
from sonic_edge.spool.folders import Folders
from sonic_edge.spool.quota import LOOK_EVERY_S, STEADY_S, DiskQuota

DAY = 86400.0


class Clock:
    """time.time and time.monotonic, to be turned by hand."""

    def __init__(self):
        self.wall = time.time()
        self.steady = 1000.0

    def go(self, seconds):
        self.wall += seconds
        self.steady += seconds

    def time(self):
        return self.wall

    def monotonic(self):
        return self.steady


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(room_module, "time", clock)
    return clock


@pytest.fixture
def folders(tmp_path):
    folders = Folders(tmp_path)
    folders.make()
    return folders


@pytest.fixture
def room(folders, clock):
    def room(**settings):
        return DiskQuota(folders, DiskSettings.model_validate(settings))

    return room


def finish(folders, name, days_ago, n_bytes=1000):
    """A result that is so old."""
    inputs = folders.outbox / f"{name}.inputs"
    inputs.mkdir()
    for path, size in ((folders.outbox / f"{name}.mp4", n_bytes), (inputs / "a.wav", 500)):
        path.write_bytes(b"x" * size)
    (folders.outbox / f"{name}.json").write_text(json.dumps({"job": name}))
    for path in (inputs, folders.outbox / f"{name}.mp4", folders.outbox / f"{name}.json"):
        os.utime(path, (0, time.time() - days_ago * DAY))


def there(folders):
    return sorted(p.stem for p in folders.outbox.glob("*.json"))


def test_old_results_go_whole_and_others_stay(room, folders, clock, caplog):
    for name, days in (("old", 91), ("课文", 95), ("young", 89), ("new", 0)):
        finish(folders, name, days)
    (folders.outbox / "somebody's.txt").write_text("notes")
    os.utime(folders.outbox / "somebody's.txt", (0, 0))
    tidied = room(keep_days=90, keep_mb=None)
    clock.go(STEADY_S)
    with caplog.at_level("INFO"):
        tidied.tidy(tuple)
    assert there(folders) == ["new", "young"]
    assert sorted(p.name for p in folders.outbox.iterdir()) == sorted(
        ["somebody's.txt", *(f"{n}{s}" for n in ("new", "young") for s in (".json", ".mp4", ".inputs"))]
    )
    assert list(folders.work.iterdir()) == []
    assert "old: deleted from outbox, too old" in caplog.text
    assert tidied.status().removed == 2


def test_the_oldest_go_when_there_is_too_much(room, folders, clock):
    for i in range(6):
        finish(folders, f"r{i}", 10 - i, 300_000)
    tidied = room(keep_days=None, keep_mb=1)
    tidied.tidy(tuple)
    assert there(folders) == ["r3", "r4", "r5"]
    assert 0.9 <= tidied.status().outbox_mb < 1


def test_the_shown_and_the_newest_result_stay_whatever_their_size(room, folders, clock):
    for i in range(4):
        finish(folders, f"r{i}", 10 - i, 2_000_000)
    room(keep_days=None, keep_mb=1).tidy(lambda: [folders.outbox / "r1.mp4"])
    assert there(folders) == ["r1", "r3"]


def test_ages_do_not_count_after_the_clock_has_jumped(room, folders, clock):
    finish(folders, "a", 1)
    finish(folders, "b", 0)
    tidied = room(keep_days=90)
    clock.go(STEADY_S)
    clock.wall += 20 * 365 * DAY  # somebody set the year 2046
    tidied.tidy(tuple)
    assert there(folders) == ["a", "b"]
    clock.go(STEADY_S - 10)
    tidied.tidy(tuple)
    assert there(folders) == ["a", "b"]
    clock.go(LOOK_EVERY_S)
    tidied.tidy(tuple)
    assert there(folders) == ["b"], "it goes on like that: that is the time"


def test_it_looks_now_and_then_only(room, folders, clock):
    tidied = room(keep_days=None, keep_mb=1)
    tidied.tidy(tuple)
    for i in range(3):
        finish(folders, f"r{i}", 10 - i, 900_000)
    tidied.tidy(tuple)
    assert len(there(folders)) == 3
    clock.go(LOOK_EVERY_S)
    tidied.tidy(tuple)
    assert there(folders) == ["r2"]


def test_half_a_deletion_is_carried_on(room, folders, clock, monkeypatch):
    for i in range(2):
        finish(folders, f"r{i}", 10 - i, 900_000)
    with monkeypatch.context() as power_cut:
        power_cut.setattr(room_module.disk, "sync", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            room(keep_days=None, keep_mb=1).tidy(tuple)
    (folders.outbox / "r0.mp4").write_bytes(b"x" * 900_000)  # as if it had not come so far
    os.utime(folders.outbox / "r0.mp4", (0, 0))
    room(keep_days=None, keep_mb=1).tidy(tuple)
    assert there(folders) == ["r1"] and not (folders.outbox / "r0.mp4").exists()


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"f_bavail": 400_000}, "disk full: 400 MB free at"),
        ({"f_favail": 5}, "disk full: only 5 more files can be created"),
        ({"f_flag": os.ST_RDONLY}, "disk read-only"),
        ({"f_files": 0, "f_favail": 0}, ""),  # a file system without inodes
        ({}, ""),
    ],
)
def test_the_reason_for_missing_space_is_given(room, monkeypatch, info, words):
    plenty = {
        "f_bavail": 10**9, "f_blocks": 10**9, "f_frsize": 1000, "f_files": 10**6, "f_favail": 10**6, "f_flag": 0,
    }  # fmt: skip
    monkeypatch.setattr(room_module.os, "statvfs", lambda path: SimpleNamespace(**{**plenty, **info}))
    assert words in room().lacking() and bool(words) == bool(room().lacking())
