"""The simulated power cuts of `make torture`, for one kind of job; and that they detect planted defects."""

import os

import pytest
from torture.power import LIVES, Simulator, quiet

from sonic_edge import disk

PAIR = LIVES[0]


@pytest.fixture
def explore(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", os.fstat)

    def explore(life):
        with quiet():
            return Simulator(tmp_path / life.name, seed=1, again=0).explore(life)

    return explore


@pytest.mark.parametrize("life", [PAIR, LIVES[3]], ids=lambda life: life.name)
def test_no_power_cut_loses_doubles_or_shows_half_a_job(explore, life):
    found = explore(life)
    assert found.n_steps > 40 and found.n_disks > 30
    assert found.broken == []


@pytest.mark.parametrize("forgotten", ["a file", "outbox", "a"])
def test_a_forgotten_sync_is_detected(explore, monkeypatch, forgotten):
    sync = disk.sync

    def forgetful(path):
        if path.name != forgotten and not (forgotten == "a file" and path.is_file()):
            sync(path)

    monkeypatch.setattr(disk, "sync", forgetful)
    assert explore(PAIR).broken


@pytest.mark.parametrize("forgets", [False, True])
def test_a_job_is_put_in_whole_or_not_at_all(tmp_path, monkeypatch, forgets):
    monkeypatch.setattr(os, "fsync", os.fstat)
    if forgets:
        monkeypatch.setattr(disk, "sync", lambda path: None)
    found = Simulator(tmp_path, seed=1).explore_giving()
    assert found.n_disks > 5 and bool(found.broken) == forgets


def test_a_report_that_comes_before_its_video_is_found(explore, monkeypatch):
    rename, late = disk.rename, []

    def hasty(source, target):
        if target.suffix == ".mp4" and not late:
            late.append((source, target))
        else:
            rename(source, target)
            if late and target.suffix == ".json":
                rename(*late.pop())

    monkeypatch.setattr(disk, "rename", hasty)
    assert any("is not whole" in words for words in explore(PAIR).broken)
