import contextlib
import os
import select
import threading
import time

import numpy as np
import pytest
from waiting import DEADLINE_S, until

from sonic_edge.engine.mirror import Cue
from sonic_edge.errors import DeviceError
from sonic_edge.live.pacing import STUCK_S, FramePacer, Pipe

SIZE = (48, 64)
N_BYTES = 48 * 64 * 3


def picture(pose):
    return np.full((*SIZE, 3), int(pose["jaw"] * 255), np.uint8)


class Clock:
    """Replaces `time` in the pacer: it advances only when the pacer sleeps, however long that really takes."""

    def __init__(self):
        self.now = 1000.0
        self.goes_on = lambda: None

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.goes_on()
        self.now += seconds


class Screen:
    """Reads pictures out of the FIFO as a quick player does, as soon as they are there, and notes when each came."""

    def __init__(self, path, clock):
        self.came = []
        self._clock = clock
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._waiting = b""
        clock.goes_on = self.look

    def look(self):
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._fd, 1 << 20):
                self._waiting += piece
        while len(self._waiting) >= N_BYTES:
            self.came.append((self._clock.now, self._waiting[0]))
            self._waiting = self._waiting[N_BYTES:]

    def close(self):
        os.close(self._fd)


@pytest.fixture
def pipe(tmp_path):
    made = Pipe(tmp_path / "live.bgr")
    yield made
    made.close()
    assert not (tmp_path / "live.bgr").exists()


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("sonic_edge.live.pacing.time", made)
    return made


@pytest.fixture
def screen(pipe, clock):
    made = Screen(pipe.path, clock)
    yield made
    made.close()


def cue(at_s, jaw=0.0):
    return Cue(at_s, at_s, at_s, at_s, {"jaw": jaw})


def shown(draw, pipe, delay_s, cues):
    """What became of the cues, given all at once."""
    with FramePacer(draw, pipe, delay_s, fps=25) as show:
        for one in cues:
            show.cue(one)
        until(
            lambda: sum(getattr(show.counts, k) for k in ("shown", "late", "refused", "unseen")) == len(cues),
            "all of them",
        )
    return show.counts


def test_each_picture_comes_at_its_moment(pipe, clock, screen):
    start = clock.now
    counts = shown(picture, pipe, 0.15, [cue(start + i * 0.04, i / 255) for i in range(10)])
    screen.look()
    assert counts.shown == 10
    late = [came - (start + i * 0.04 + 0.15) for i, (came, _) in enumerate(screen.came)]
    assert [value for _, value in screen.came] == list(range(10))
    assert np.abs(late).max() < 1e-6


def test_a_late_picture_is_dropped_and_not_queued_up(pipe, clock, screen):
    # two seconds of pictures at once: we were away
    counts = shown(picture, pipe, 0.15, [cue(clock.now - 2 + i * 0.04, i / 255) for i in range(50)])
    screen.look()
    assert counts.late == 46 and counts.shown == 4
    assert screen.came[-1][1] == 49


def test_a_slow_renderer_drops_pictures_and_keeps_time(pipe, clock, screen):
    def slow(pose):
        clock.sleep(0.06)
        return picture(pose)

    counts = shown(slow, pipe, 0.15, [cue(clock.now + i * 0.04, i / 255) for i in range(50)])
    assert counts.latency_ms["total"] < 150 + 60 + 40
    assert counts.late > 5 and counts.shown > 15


def test_a_picture_that_took_too_long_is_dropped(pipe, clock, screen):
    def hindered(pose):
        clock.sleep(1.0 if pose["jaw"] == 0.0 else 0.0)
        return picture(pose)

    counts = shown(hindered, pipe, 0.15, [cue(clock.now), cue(clock.now + 2.0, 1.0)])
    screen.look()
    assert counts.late == 1 and [value for _, value in screen.came] == [255]


def test_without_a_reader_and_with_one_that_never_reads(pipe, clock):
    assert shown(picture, pipe, 0.05, [cue(clock.now)]).unseen == 1


def test_a_screen_that_is_busy_gets_no_more(pipe, clock):
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)  # and never reads
    counts = shown(picture, pipe, 0.05, [cue(clock.now + i * 0.04) for i in range(5)])
    assert counts.shown == 1 and counts.refused == 4
    os.close(reader)


def test_a_player_that_dies_in_a_picture_and_comes_back(pipe, monkeypatch):
    large = np.zeros((2000, 1000, 3), np.uint8)  # more than a pipe holds
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    assert pipe.is_open
    monkeypatch.setattr("sonic_edge.live.pacing.STUCK_S", DEADLINE_S)

    def die():
        select.select([reader], [], [])
        os.close(reader)

    dying = threading.Thread(target=die)
    dying.start()
    since = time.monotonic()
    assert not pipe.write(large)
    assert time.monotonic() - since < DEADLINE_S, "it was noticed, and not taken for stuck"
    dying.join()
    assert not pipe.is_open
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    assert pipe.write(np.zeros((4, 4, 3), np.uint8)) and pipe.n_waiting == 48
    os.close(reader)


def test_a_player_that_is_stuck_in_a_picture_gets_the_rest_of_it_first(pipe):
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    since = time.monotonic()
    large = np.random.default_rng(0).integers(0, 255, (2000, 1000, 3), np.uint8)
    first, small = large.tobytes(), np.full((4, 4, 3), 9, np.uint8)
    assert not pipe.write(large)
    assert STUCK_S <= time.monotonic() - since < DEADLINE_S
    large[:] = 0  # drawn into for the next one
    assert not pipe.write(small), "it is still stuck in the one before"
    seen = b""

    def goes_on():
        nonlocal seen
        with contextlib.suppress(BlockingIOError):
            seen += os.read(reader, 1 << 20)
        return pipe.write(small)

    until(goes_on, "the next picture")
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(reader, 1 << 20):
            seen += piece
    assert seen == first + small.tobytes(), "and not the one that was refused"
    os.close(reader)


def test_what_a_player_left_in_the_pipe_is_not_for_the_next(pipe):
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    assert pipe.write(np.full((4, 4, 3), 1, np.uint8))
    assert len(os.read(reader, 10)) == 10
    os.close(reader)
    assert not pipe.is_open
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    assert pipe.write(np.full((4, 4, 3), 2, np.uint8))
    assert set(os.read(reader, 100)) == {2}
    os.close(reader)


def test_errors_while_drawing_are_raised(pipe, clock):
    def broken(pose):
        raise ValueError("a channel is unknown")

    with (
        FramePacer(broken, pipe, delay_s=0.05, fps=25) as show,
        pytest.raises(ValueError, match="unknown"),
    ):
        until(lambda: show.cue(cue(clock.now)), "raised")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DeviceError, match="cannot be created"):
        Pipe(tmp_path / "gone" / "live.bgr")
