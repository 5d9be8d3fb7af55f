"""What `make torture` looks for, it finds."""

import json
import shutil

import pytest
from torture import stub
from torture.jobs import Giver, audit
from torture.watch import Watch
from waiting import until


@pytest.fixture
def spool(tmp_path):
    for name in ("inbox", "work", "outbox", "failed"):
        (tmp_path / "spool" / name).mkdir(parents=True)
    return tmp_path / "spool"


@pytest.fixture
def done(spool):
    """A job that succeeded, and one that failed as expected."""
    giver = Giver(spool, seed=1)
    given = [giver.give("folder", "a"), giver.give("two photos", "b")]
    (spool / "inbox" / "a").rename(spool / "outbox" / "a.inputs")
    (spool / "outbox" / "a.mp4").write_bytes(stub.video("job 1"))
    (spool / "outbox" / "a.json").write_text(json.dumps({"mark": "job 1", "result": "a.mp4"}))
    (spool / "inbox" / "b").rename(spool / "failed" / "b")
    (spool / "failed" / "b" / "reason.json").write_text(json.dumps({"what": "two photos"}))
    return given


def cut_short(spool):
    (spool / "outbox" / "a.mp4").write_bytes(stub.video("job 1")[:-1])


def without_a_word(spool):
    (spool / "failed" / "b" / "reason.json").write_text("{")


def twice(spool):
    (spool / "outbox" / "a-2.mp4").write_bytes(stub.video("job 1"))
    (spool / "outbox" / "a-2.json").write_text(json.dumps({"mark": "job 1", "result": "a-2.mp4"}))


def in_both(spool):
    shutil.copytree(spool / "outbox" / "a.inputs", spool / "failed" / "a")
    (spool / "failed" / "a" / "reason.json").write_text(json.dumps({"what": "done, and yet"}))


def without_its_photo(spool):
    (spool / "outbox" / "a.inputs" / "sound.jpg").unlink()


def away(spool):
    for path in (spool / "outbox").glob("a.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def left_at_work(spool):
    (spool / "work" / "a").mkdir()


def with_a_draft(spool):
    (spool / "outbox" / ".a.part").touch()


def test_nothing_wrong_is_found_where_nothing_is(spool, done):
    reported = audit(spool, done)
    assert (reported.done, reported.failed, reported.broken) == (1, 1, [])


@pytest.mark.parametrize(
    "spoil",
    [cut_short, without_a_word, twice, in_both, without_its_photo, away, left_at_work, with_a_draft],
    ids=lambda spoil: spoil.__name__,
)
def test_defects_are_found(spool, done, spoil):
    spoil(spool)
    assert audit(spool, done).broken


@pytest.mark.parametrize("spoil", [cut_short, without_a_word, with_a_draft], ids=lambda spoil: spoil.__name__)
def test_what_should_never_be_visible_is_seen(spool, done, spoil):
    spoil(spool)
    with Watch(spool) as watch:
        until(lambda: watch.broken, "seen")


def test_a_result_that_disappears_is_reported(spool, done):
    with Watch(spool) as watch:
        until(lambda: watch.n_seen == 4, "all seen")
        assert not watch.broken
        away(spool)
        until(lambda: watch.broken, "missed")
    assert "went away" in watch.broken[0]
