"""The real screen: mpv on a virtual X server."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from live_parts import x_server
from PIL import ImageFont
from waiting import DEADLINE_S, lives, until

from sonic_edge.config import DisplaySettings
from sonic_edge.engine.fonts import FONT
from sonic_edge.engine.label import _lacking
from sonic_edge.live.display import FONT_NAME, WORDS, Screen, Stream, words
from sonic_edge.live.display.player import Player
from sonic_edge.live.display.screen import MAX_CLIPS
from sonic_edge.live.display.words import _ems, _escaped, overlay
from sonic_edge.live.pacing import Pipe

SIZE = 240
RED, GREEN, BLUE, WHITE = (40, 40, 220), (40, 220, 40), (220, 40, 40), (230, 230, 230)


@pytest.fixture(scope="module")
def display():
    with x_server(SIZE, SIZE) as name:
        old = os.environ.get("DISPLAY")
        os.environ["DISPLAY"] = name
        yield name
        if old is None:
            del os.environ["DISPLAY"]
        else:
            os.environ["DISPLAY"] = old


def clip(path, colour, n_frames=20):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for i in range(n_frames):
            image = np.full((SIZE, SIZE, 3), colour, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


GRAB = f"ffmpeg -loglevel error -f x11grab -draw_mouse 0 -framerate 60 -video_size {SIZE}x{SIZE} -i"
RAW = "-f rawvideo -pix_fmt bgr24 -"


def grab(display):
    """What is on the screen, [SIZE, SIZE, 3]."""
    command = [*GRAB.split(), display, "-frames:v", "1", *RAW.split()]
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(SIZE, SIZE, 3)


class Recording:
    """The colours that the screen shows from now on, in order, and anything that is none of them."""

    def __init__(self, display, **colours):
        self.order, self.other = "", []
        self._colours = colours
        self._process = subprocess.Popen([*GRAB.split(), display, *RAW.split()], stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while len(picture := self._process.stdout.read(SIZE * SIZE * 3)) == SIZE * SIZE * 3:
            seen = colour_of(np.frombuffer(picture, np.uint8).reshape(SIZE, SIZE, 3))
            name = next((name for name, colour in self._colours.items() if are_near(seen, colour)), None)
            if name is None:
                self.other.append(seen)
            elif self.order[-1:] != name:
                self.order += name

    def until(self, order):
        until(lambda: self.order == order, lambda: f"{order}; {self.order} was seen")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._process.stdout.close()


def colour_of(image):
    return tuple(int(v) for v in np.median(image[20:-80, 20:-20].reshape(-1, 3), axis=0))


def are_near(one, other):
    return max(abs(a - b) for a, b in zip(one, other)) < 30


def is_near(image, colour):
    return are_near(colour_of(image), colour)


class Room:
    """A screen that is ticked in a thread, as the daemon does."""

    def __init__(self, folder, display, **settings):
        settings = {"output": "window", **settings}
        self.display = display
        self.screen = Screen(DisplaySettings(**settings), folder)
        self._lock = threading.Lock()
        self._ends = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ends:
            with self._lock:
                self.screen.tick()
            time.sleep(0.02)

    @contextlib.contextmanager
    def held_up(self):
        """The thread comes to nothing meanwhile."""
        with self._lock:
            yield self.screen

    def do(self, name, *words):
        with self._lock:
            getattr(self.screen, name)(*words)

    @property
    def status(self):
        with self._lock:
            return self.screen.status()

    def until(self, condition, what):
        until(lambda: condition(self.status), what)

    def until_shown(self, colour):
        until(lambda: is_near(grab(self.display), colour), lambda: f"{colour} on the screen; {self.status}")

    def until_it_waits(self):
        """For the next writer; earlier data would be taken as part of the last one's stream."""
        until(lambda: self.screen._fifo is not None and self.screen._player._has_begun_loading, "it waits")

    @property
    def pid(self):
        player = self.screen._player
        return None if player is None else player._process.pid

    def close(self):
        self._ends = True
        self._thread.join()
        self.screen.close()


@pytest.fixture
def room(tmp_path, display):
    made = []
    folder = tmp_path / ("长" * 20) / "run"
    folder.mkdir(parents=True)

    def make(**settings):
        made.append(Room(folder, display, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextlib.contextmanager
def writer(path, pictures, period_s=0.04):
    """Writes live pictures like the studio, as long as somebody reads."""
    ends = threading.Event()

    def run():
        i = 0
        fd = None
        while not ends.is_set():
            if fd is None:
                with contextlib.suppress(OSError):
                    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                    os.set_blocking(fd, True)
            if fd is not None:
                try:
                    os.write(fd, pictures(i).tobytes())
                    i += 1
                except BrokenPipeError:
                    os.close(fd)
                    fd = None
            time.sleep(period_s)
        if fd is not None:
            os.close(fd)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        with contextlib.suppress(OSError):  # let a write that waits go
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        thread.join()


def test_scene_clips_and_live_without_a_black_flash(room, tmp_path, display):
    here = room()
    here.do("idle", clip(tmp_path / "scene.mp4", RED, 10))
    here.until_shown(RED)
    fifo = tmp_path / "live.bgr"
    os.mkfifo(fifo)
    one, two = (clip(tmp_path / name, colour, 75) for name, colour in (("一.mp4", GREEN), ("b.mp4", BLUE)))
    with Recording(display, r=RED, g=GREEN, b=BLUE, w=WHITE) as seen:
        seen.until("r")
        with here.held_up() as screen:
            screen.play(one)
            screen.play(two)
            status = screen.status()
        assert status.clip == "一.mp4" and status.waiting == 1
        seen.until("rgbr")
        with writer(fifo, lambda i: np.full((SIZE, SIZE, 3), WHITE, np.uint8)):
            here.do("live", Stream(fifo, SIZE, SIZE, 25))
            seen.until("rgbrw")
            here.do("live", None)
            seen.until("rgbrwr")
    assert not seen.other, "something else was shown"


@pytest.mark.parametrize("is_told", [True, False])
def test_an_end_counts_by_event_or_by_query(room, tmp_path, display, monkeypatch, is_told):
    understand = Player._event_of

    def deaf(self, said):
        is_end = said.get("event") == "property-change" and said.get("name") == "eof-reached" and said.get("data")
        return understand(self, {} if is_end and not is_told else said)

    monkeypatch.setattr(Player, "_event_of", deaf)
    monkeypatch.setattr("sonic_edge.live.display.player._PING_S", 0.0)
    here = room()
    here.do("idle", clip(tmp_path / "scene.mp4", RED, 10))
    here.until_shown(RED)
    one, two, three = (clip(tmp_path / f"{name}.mp4", c, 50) for name, c in (("1", GREEN), ("2", BLUE), ("3", WHITE)))
    with Recording(display, r=RED, g=GREEN, b=BLUE, w=WHITE) as seen:
        seen.until("r")
        with here.held_up() as screen:
            for path in (one, two, three):
                screen.play(path)
        seen.until("rgbwr")


def test_an_end_by_event_and_by_query_counts_once(room, tmp_path):
    here = room()
    one = clip(tmp_path / "1.mp4", GREEN)
    here.do("play", one)
    here.until(lambda s: s.clip == one.name and not here.screen._player._is_loading, "it is shown")
    end = {"event": "property-change", "id": 1, "name": "eof-reached", "data": True}
    answer = {"request_id": 1, "error": "success", "data": True}
    with here.held_up() as screen:
        assert [screen._player._event_of(said) for said in (end, answer, end)] == ["ended", None, None]
        screen._player.load(one, {})
        assert [screen._player._event_of(said) for said in (end, answer)] == [None, None], "of the one before"


def test_what_is_written_is_what_is_seen(room, tmp_path, display):
    rng = np.random.default_rng(0)
    sent = cv2.resize(rng.integers(0, 255, (12, 12, 3), np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    fifo = tmp_path / "live.bgr"
    os.mkfifo(fifo)
    here = room()
    with writer(fifo, lambda i: sent):
        here.do("live", Stream(fifo, SIZE, SIZE, 25))
        until(lambda: np.abs(grab(display).astype(int) - sent).max() <= 2, "to the bit, but for rounding")
        here.do("live", None)


def test_clips_again_and_again_and_one_that_is_gone(room, tmp_path):
    here = room(clips="loop")
    one, two, bad = clip(tmp_path / "1.mp4", RED, 8), clip(tmp_path / "2.mp4", GREEN, 8), tmp_path / "3.mp4"
    bad.write_bytes(b"not a video")
    here.do("play", one)
    here.do("play", tmp_path / "gone.mp4")
    here.do("play", bad)
    here.do("play", two)
    here.until(lambda s: s.skipped == 2, "both that do not play are left out")
    shown = []

    def have_five_been():
        now = here.status.clip
        if shown[-1:] != [now]:
            shown.append(now)
        return len(shown) == 5

    until(have_five_been, "again and again")
    assert shown in (["1.mp4", "2.mp4"] * 2 + ["1.mp4"], ["2.mp4", "1.mp4"] * 2 + ["2.mp4"])


def still(display):
    """What is on the screen once it does not change any more."""
    seen = [grab(display)]

    def is_still():
        seen.append(grab(display))
        return np.array_equal(*seen[-2:])

    until(is_still, "it changes again and again")
    return seen[-1]


def test_words_and_bar_are_on_top_and_go_again(room, tmp_path, display):
    here = room()
    here.do("idle", clip(tmp_path / "scene.mp4", BLUE, 10))
    here.until_shown(BLUE)
    before = grab(display)
    here.do("say", words("making", "zh", name="第一课 {\\b1}", percent=50), 0.5)
    until(lambda: (grab(display) > 200).all(axis=2).any(), "white letters, or a white bar")
    after = still(display)
    changed = np.abs(after.astype(int) - before).max(axis=2) > 60
    rows = np.flatnonzero(changed.any(axis=1))
    assert rows[0] > SIZE * 0.6 and rows[-1] < SIZE * 0.9, "the lower third, above the label's corner"
    bar = after[round(613 / 720 * SIZE)]
    white = np.flatnonzero((bar > 200).all(axis=1))
    assert 0.25 < white[-1] / SIZE < 0.40, "half a bar"
    here.do("say")
    until(lambda: np.abs(grab(display).astype(int) - before).max() < 30, "gone")


def test_a_player_that_is_killed_or_hangs_comes_back_with_everything(room, tmp_path, display):
    here = room(deadline_s=4.0)
    here.do("idle", clip(tmp_path / "scene.mp4", GREEN, 10))
    here.until_shown(GREEN)
    for number in (signal.SIGKILL, signal.SIGSTOP):
        old = here.pid
        os.kill(old, number)
        here.until(lambda s, old=old: s.state == "running" and here.pid != old, "back")
        here.until_shown(GREEN)
        until(lambda old=old: not Path(f"/proc/{old}").exists(), "it is gone")
    assert here.status.restarts == 2


def test_a_player_is_not_to_blame_when_we_are_held_up(room, tmp_path):
    here = room(deadline_s=1.0)
    here.until(lambda s: s.state == "running", "up")
    old = here.pid
    for pause_s in (1.1, 1.5, 2.0):
        with here.held_up():
            time.sleep(pause_s)
        time.sleep(0.1)
        assert here.pid == old


def test_live_goes_on_when_the_player_or_the_writer_comes_back(room, tmp_path, display):
    here = room()
    fifo = tmp_path / "live.bgr"
    os.mkfifo(fifo)
    here.do("live", Stream(fifo, SIZE, SIZE, 25))
    with writer(fifo, lambda i: np.full((SIZE, SIZE, 3), RED, np.uint8)):
        here.until_shown(RED)
        old = here.pid
        os.kill(old, signal.SIGKILL)
        here.until(lambda s: s.state == "running" and here.pid != old, "back")
        here.until_shown(RED)
    here.until_it_waits()
    with writer(fifo, lambda i: np.full((SIZE, SIZE, 3), GREEN, np.uint8)):
        here.until_shown(GREEN)


def test_a_player_that_was_stuck_in_a_picture_shows_the_next_ones_where_they_belong(
    room, tmp_path, display, monkeypatch
):
    monkeypatch.setattr("sonic_edge.live.pacing.STUCK_S", 0.2)
    here = room(deadline_s=60.0)
    sent = np.full((SIZE, SIZE, 3), RED, np.uint8)
    with contextlib.closing(Pipe(tmp_path / "live.bgr")) as pipe:
        here.do("live", Stream(pipe.path, SIZE, SIZE, 25))

        def is_seen():
            pipe.write(sent)
            return np.abs(grab(display).astype(int) - sent).max() <= 2

        until(is_seen, "the picture")
        os.kill(here.pid, signal.SIGSTOP)
        until(lambda: not pipe.write(sent), "the middle of a picture")
        os.kill(here.pid, signal.SIGCONT)
        sent[: SIZE // 3] = GREEN
        until(is_seen, "the next picture")


def test_a_live_stream_without_a_writer_does_not_hang_the_player(room, tmp_path, display):
    here = room(deadline_s=4.0)
    here.do("idle", clip(tmp_path / "scene.mp4", RED, 10))
    here.until_shown(RED)
    fifo = tmp_path / "live.bgr"
    os.mkfifo(fifo)
    here.do("live", Stream(fifo, SIZE, SIZE, 25))
    time.sleep(6.0)  # longer than the player may take to answer
    assert is_near(grab(display), RED), "the scene stays until there is a picture"
    here.do("live", None)
    here.do("play", clip(tmp_path / "clip.mp4", BLUE))
    here.until_shown(BLUE)
    assert here.status.restarts == 0


def test_a_writer_that_pauses_or_leaves_costs_neither_the_player_nor_the_picture(room, tmp_path, display):
    here = room(deadline_s=4.0)
    fifo = tmp_path / "live.bgr"
    os.mkfifo(fifo)
    goes_on = threading.Event()
    goes_on.set()

    def pictures(i):
        goes_on.wait()
        return np.full((SIZE, SIZE, 3), RED, np.uint8)

    here.do("live", Stream(fifo, SIZE, SIZE, 25))
    with contextlib.ExitStack() as stack:
        with writer(fifo, pictures):
            here.until_shown(RED)
            seen = stack.enter_context(Recording(display, r=RED, g=GREEN))
            seen.until("r")
            goes_on.clear()
            time.sleep(6.0)  # longer than the player may take to answer
            goes_on.set()
            time.sleep(0.5)
        here.until_it_waits()
        with writer(fifo, lambda i: np.full((SIZE, SIZE, 3), GREEN, np.uint8)):
            seen.until("rg")
    assert not seen.other
    assert here.status.restarts == 0


def test_a_single_picture_is_shown_without_a_next_one(room, tmp_path, display):
    here = room()
    fifo = tmp_path / "live.bgr"
    os.mkfifo(fifo)
    here.do("live", Stream(fifo, SIZE, SIZE, 25))
    here.until(lambda s: s.state == "running", "up")
    with fifo.open("wb", buffering=0) as out:
        for colour in (RED, GREEN, BLUE, WHITE):
            out.write(np.full((SIZE, SIZE, 3), colour, np.uint8).tobytes())
            here.until_shown(colour)


def test_it_ends_with_the_daemon_and_is_no_part_of_its_service(tmp_path, display):
    code = """
import os, signal, sys, time
from pathlib import Path
from sonic_edge.config import DisplaySettings
from sonic_edge.live.display import Screen
screen = Screen(DisplaySettings(output="window"), Path(sys.argv[1]))
while screen.status().state != "running":
    screen.tick()
    time.sleep(0.02)
pid = screen._player._process.pid
print(pid, b"NOTIFY_SOCKET" in Path(f"/proc/{pid}/environ").read_bytes(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "NOTIFY_SOCKET": "/nowhere"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env=environment, check=False)
    pid, reported = done.stdout.split()
    assert reported == "False"
    until(lambda: not lives(pid), "it ends")


def test_in_a_loop_new_clips_are_next_and_the_oldest_are_forgotten(tmp_path):
    screen = Screen(DisplaySettings(output="window", clips="loop"), tmp_path)
    for name in "abc":
        screen.play(Path(name))

    def shown(n):
        names = []
        for _ in range(n):
            screen._shown = screen._clips[0]
            names.append(str(screen._clips[0]))
            screen._on_end()
        return "".join(names)

    assert shown(4) == "abca"
    screen.play(Path("x"))
    screen.play(Path("y"))
    assert shown(8) == "bxycabxy"
    for i in range(MAX_CLIPS):
        screen.play(Path(f"{i:02}"))
    kept = sorted(str(c) for c in screen._clips)
    assert kept == sorted(["c", *(f"{i:02}" for i in range(1, MAX_CLIPS))]), "the one being shown, and the newest"


def test_many_waiting_clips_do_not_push_the_first_one_out(tmp_path):
    screen = Screen(DisplaySettings(output="window"), tmp_path)
    for i in range(MAX_CLIPS + 5):
        screen.play(Path(f"{i:02}"))
    assert screen._clips[0] == Path("00") and screen.status().waiting == MAX_CLIPS + 5


@pytest.mark.parametrize("width", [405, 720, 1280])
def test_words_leave_the_corner_of_the_label_free(width):
    for key, said in WORDS.items():
        for language in said:
            text = words(key, language, name="名" * 24, percent=10, n=2)
            drawn = overlay(text, 1.0, width)
            size = float(drawn.rpartition("\\fs")[2].partition("\\")[0])
            assert size <= 38 and size / 1.45 > 0.01 * 720, "legible"
            assert 40 + 9 + _ems(text) * size / 1.45 <= 0.73 * width


def test_nothing_in_a_name_is_an_instruction():
    assert _escaped("a{\\b1}\nb") == "a\\{\\\u2060b1\\} b"


def test_a_player_that_is_not_there(room, monkeypatch):
    monkeypatch.setattr("sonic_edge.live.display.screen._RETRY_S", 0.3)
    here = room(player="/no/such/mpv")
    here.do("idle", Path("/scene.mp4"))
    here.until(lambda s: s.state == "failed", "given up after three tries")
    assert "/no/such/mpv: cannot be started: No such file" in here.status.error
    assert "display.output to none" in here.status.error


@pytest.mark.parametrize("manner", ["garbage", "exit", "deaf", "leaves"])
def test_a_program_that_is_not_a_player(room, tmp_path, manner, monkeypatch):
    monkeypatch.setattr("sonic_edge.live.display.screen._RETRY_S", 0.1)
    script = tmp_path / "player.py"
    script.write_text(
        f"""
import socket, sys, time
if {manner!r} == "exit":
    sys.exit("cannot open display")
line = socket.socket(socket.AF_UNIX)
line.bind("mpv.sock")
line.listen()
other, _ = line.accept()
while True:
    if {manner!r} == "garbage":
        other.sendall(b"\\xff\\x00 not json" * 1000 + b"\\n[1]\\n")
    elif {manner!r} == "leaves":
        other.close()
        time.sleep(60)
    time.sleep(0.01)
"""
    )
    fake = tmp_path / "player"
    fake.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{script}'\n")
    fake.chmod(0o755)
    here = room(player=str(fake), deadline_s=1.0 if manner in ("garbage", "deaf") else 60.0)
    here.until(lambda s: s.restarts >= 1, "noticed")
    here.until(lambda s: s.state == "failed", "given up")
    wanted = {"exit": "ended with status 1: cannot open display", "leaves": "closed its socket"}
    assert wanted.get(manner, "has not answered") in here.status.error


def test_a_desktop_that_is_not_there(room, monkeypatch):
    """mpv idles without a window and answers all the same."""
    monkeypatch.setenv("DISPLAY", ":9999")
    monkeypatch.setattr("sonic_edge.live.display.player._START_S", 5.0)
    monkeypatch.setattr("sonic_edge.live.display.screen.ATTEMPTS", 0)
    made = room()
    made.until(lambda s: s.state == "failed", "noticed")
    assert "mpv did not open the screen: " in made.status.error and "VO window" in made.status.error


def test_what_the_player_says_does_not_fill_the_disk(room, tmp_path, monkeypatch):
    monkeypatch.setattr("sonic_edge.live.display.player._MAX_LOG_BYTES", 100)
    made = room()
    made.until(lambda s: s.state == "running", "running")
    log = made.screen._player._log
    with log.open("ab") as said:
        said.write(b"x" * 1000)
    until(lambda: log.stat().st_size <= 100, "it is cut")


def test_no_screen(tmp_path):
    screen = Screen(DisplaySettings(output="none"), tmp_path)
    screen.idle(Path("a"))
    screen.play(Path("b"))
    screen.say("words", 0.5)
    screen.live(Stream(Path("c"), 2, 2, 25))
    screen.tick()
    assert screen.status().state == "none" and screen.fds() == []
    screen.close()


def test_the_font_has_every_character_the_screen_can_say():
    font = ImageFont.truetype(str(FONT), 40, layout_engine=ImageFont.Layout.BASIC)
    assert font.getname()[0] == FONT_NAME
    for said in WORDS.values():
        for text in said.values():
            assert not _lacking(font, text.format(name="第一课 Lesson", percent=10, n=2)), text
    names = "第一二三课语文数学英语物理化学校长老师欢迎家长会通知办事指南窗口直播带货新品发布"
    assert not _lacking(font, names), "names of jobs are Chinese too"


def test_long_names_are_cut():
    assert words("failed", "en", name="x" * 100) == "x" * 23 + "… could not be made"
    assert words("failed", "zh", name="课" * 100) == "生成失败：" + "课" * 15 + "…"
    assert words("failed", "zh", name="课" * 16) == "生成失败：" + "课" * 16
