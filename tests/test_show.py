import os
import select
import threading
import time

import numpy as np
import pytest

from sonic_edge.errors import DeviceError
from sonic_edge.mirror import Cue
from sonic_edge.show import STUCK_S, Pipe, Show

SIZE = (48, 64)
N_BYTES = 48 * 64 * 3


def picture(pose):
    return np.full((*SIZE, 3), int(pose["jaw"] * 255), np.uint8)


class Screen:
    """Reads pictures out of the FIFO as a player does, and notes when each came."""

    def __init__(self, path):
        self.came = []
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._ends = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        waiting = b""
        while not self._ends:
            if not select.select([self._fd], [], [], 0.02)[0]:
                continue
            waiting += os.read(self._fd, 1 << 20) or (time.sleep(0.01) or b"")
            while len(waiting) >= N_BYTES:
                self.came.append((time.monotonic(), waiting[0]))
                waiting = waiting[N_BYTES:]

    def close(self):
        self._ends = True
        self._thread.join()
        os.close(self._fd)


@pytest.fixture
def pipe(tmp_path):
    made = Pipe(tmp_path / "live.bgr")
    yield made
    made.close()
    assert not (tmp_path / "live.bgr").exists()


@pytest.fixture
def screen(pipe):
    made = Screen(pipe.path)
    yield made
    made.close()


def cue(at_s, jaw=0.0):
    now = time.monotonic()
    return Cue(at_s, at_s, now, now, {"jaw": jaw})


def test_each_picture_comes_at_its_moment(pipe, screen):
    with Show(picture, pipe, delay_s=0.15, fps=25) as show:
        start = time.monotonic()
        for i in range(10):
            show.cue(cue(start + i * 0.04, i / 255))
        time.sleep(0.8)
        assert show.counts["shown"] == 10
    late = [came - (start + i * 0.04 + 0.15) for i, (came, _) in enumerate(screen.came)]
    assert [value for _, value in screen.came] == list(range(10))
    assert np.median(late) < 0.02 and min(late) > -0.005


def test_a_late_picture_is_dropped_and_not_queued_up(pipe, screen):
    with Show(picture, pipe, delay_s=0.15, fps=25) as show:
        now = time.monotonic()
        for i in range(50):  # two seconds of pictures at once: we were away
            show.cue(cue(now - 2 + i * 0.04, i / 255))
        time.sleep(0.3)
        counts = show.counts
    assert counts["late"] >= 44 and counts["shown"] + counts["late"] == 50
    assert screen.came[-1][1] == 49


def test_a_slow_renderer_drops_pictures_and_keeps_time(pipe, screen):
    def slow(pose):
        time.sleep(0.06)
        return picture(pose)

    with Show(slow, pipe, delay_s=0.15, fps=25) as show:
        start = time.monotonic()
        for i in range(50):
            time.sleep(max(0, start + i * 0.04 - time.monotonic()))
            show.cue(cue(time.monotonic(), i / 255))
        time.sleep(0.3)
        counts = show.counts
        assert counts["latency_ms"]["total"] < 150 + 60 + 40
    assert counts["late"] > 5 and counts["shown"] > 15


def test_nobody_looks(pipe):
    with Show(picture, pipe, delay_s=0.05, fps=25) as show:
        show.cue(cue(time.monotonic()))
        time.sleep(0.2)
        assert show.counts["unseen"] == 1


def test_a_screen_that_is_busy_gets_no_more(tmp_path, pipe):
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)  # and never reads
    with Show(picture, pipe, delay_s=0.05, fps=25) as show:
        for _ in range(5):
            show.cue(cue(time.monotonic()))
            time.sleep(0.04)
        time.sleep(0.2)
        assert show.counts["shown"] == 1 and show.counts["refused"] + show.counts["late"] == 4
    os.close(reader)


def test_a_player_that_dies_in_a_picture_and_comes_back(pipe):
    large = np.zeros((2000, 1000, 3), np.uint8)  # more than a pipe holds
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    assert pipe.is_open
    threading.Timer(0.2, os.close, [reader]).start()
    since = time.monotonic()
    assert not pipe.write(large)
    assert time.monotonic() - since < STUCK_S
    assert not pipe.is_open
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    assert pipe.write(np.zeros((4, 4, 3), np.uint8)) and pipe.n_waiting == 48
    os.close(reader)


def test_a_player_that_is_stuck_in_a_picture_loses_it(pipe):
    reader = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    since = time.monotonic()
    assert not pipe.write(np.zeros((2000, 1000, 3), np.uint8))
    assert STUCK_S <= time.monotonic() - since < STUCK_S + 0.5
    os.close(reader)


def test_what_goes_wrong_while_drawing_is_raised(pipe, screen):
    def broken(pose):
        raise ValueError("a channel is unknown")

    with Show(broken, pipe, delay_s=0.05, fps=25) as show:
        show.cue(cue(time.monotonic()))
        time.sleep(0.1)
        with pytest.raises(ValueError, match="unknown"):
            show.cue(cue(time.monotonic()))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DeviceError, match="cannot be made"):
        Pipe(tmp_path / "gone" / "live.bgr")
