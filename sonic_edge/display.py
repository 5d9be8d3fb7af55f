"""The screen: one mpv process, driven through its JSON IPC; it shows the live stream, else a clip, else the idle scene.

mpv keeps the last picture until the next file's first one is there (``--keep-open=always``), so that nothing flashes
black in between. It is told from here what to show, asked now and then whether it still lives, and started again when
it does not.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Deque, Dict, List, Optional, Sequence, Type, Union

from .config import DisplaySettings
from .errors import DeviceError
from .process import bind_to_parent, environment

FONT = Path(__file__).parent / "fonts" / "label.otf"
FONT_NAME = "Noto Sans CJK SC"

ATTEMPTS = 3
"""A player that does not start, or dies, is started again this often in a row ..."""
LATER_S = 60.0
"""... and after that once in so long. Having run for as long as this it is forgiven."""
MOST_CLIPS = 50
"""Clips that are remembered for showing again and again."""
LONGEST_NAME = 24
"""Characters of a job's name that are shown."""

_SOCKET = "mpv.sock"
_PING_S = 1.0
_START_S = 15.0  # a slow board takes a while until the player's socket is there
_RELOAD_S = 0.3

WORDS: Dict[str, Dict[str, str]] = {
    "making": {"zh": "正在生成 {name}  {percent}%", "en": "Making {name}: {percent}%"},
    "listening": {"zh": "请讲话", "en": "Please speak"},
    "recording": {"zh": "正在录音", "en": "Recording"},
    "muted": {"zh": "麦克风已关闭", "en": "The microphone is off"},
    "no_microphone": {"zh": "没有找到麦克风，正在重试", "en": "No microphone; trying again"},
    "no_camera": {"zh": "没有找到摄像头，使用默认照片", "en": "No camera; using the configured portrait"},
    "no_face": {"zh": "没有找到人脸，使用默认照片", "en": "No face found; using the configured portrait"},
    "no_portrait": {"zh": "没有照片", "en": "No portrait"},
    "snapshot": {"zh": "请看镜头", "en": "Please look at the camera"},
    "snapshot_done": {"zh": "拍好了", "en": "Done"},
    "failed": {"zh": "未能生成 {name}", "en": "{name} could not be made"},
    "starting": {"zh": "正在启动", "en": "Starting"},
}
"""What the screen can say, by key and language. The font must have every character."""


def words(key: str, language: str, **values: object) -> str:
    """What the screen says; names are cut short."""
    short = {
        k: v[: LONGEST_NAME - 1] + "…" if isinstance(v, str) and len(v) > LONGEST_NAME else v for k, v in values.items()
    }
    return WORDS[key][language].format(**short)


@dataclass(frozen=True)
class Stream:
    """Live pictures through a FIFO: raw bgr24, one after the other."""

    path: Path
    width: int
    height: int
    fps: float


class Screen:
    """What is shown, and the player that shows it. For one thread, which calls `tick` several times a second.

    Args:
        settings: Which screen, and how.
        folder: For the player's socket and fonts; it must be there.
    """

    def __init__(self, settings: DisplaySettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder.absolute()
        self._is_on = settings.output != "none"
        self._scene: Optional[Path] = None
        self._clips: Deque[Path] = deque(maxlen=MOST_CLIPS)  # to be shown, the first one now
        self._stream: Optional[Stream] = None
        self._overlay = ""
        self._player: Optional[_Player] = None
        self._shown: Union[Path, Stream, None] = None
        self._reload_at: Optional[float] = None
        self._held: Optional[int] = None
        self._n_failures = 0
        self._try_at = 0.0
        self._error: Optional[DeviceError] = None
        self._n_restarts = 0
        self._n_skipped = 0

    def __enter__(self) -> "Screen":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the player."""
        self._let_go()
        if self._player is not None:
            self._player.kill()
            self._player = None

    # ---- what is to be shown --------------------------------------------------------------------------------------

    def idle(self, scene: Optional[Path]) -> None:
        """What is shown when nothing else is: a video that ends where it begins, a picture, or nothing (black)."""
        self._scene = scene
        self._show()

    def play(self, clip: Path) -> None:
        """Show a finished video when it is its turn."""
        if not self._is_on or self._settings.clips == "none":
            return
        if self._settings.clips == "loop" and self._clips:
            self._clips.insert(1, clip) if len(self._clips) < MOST_CLIPS else self._clips.append(clip)
        else:
            self._clips.append(clip)
        self._show()

    def live(self, stream: Optional[Stream]) -> None:
        """Show live pictures from now on; None: no more. Clips wait meanwhile."""
        self._stream = stream
        self._show()

    def say(self, text: str = "", share: Optional[float] = None) -> None:
        """Words on top of whatever is shown, with a bar if `share` is 0..1; "" and None: nothing."""
        overlay = _overlay(text, share)
        if overlay != self._overlay:
            self._overlay = overlay
            self._draw_overlay()

    def status(self) -> Dict[str, object]:
        """For `sonic-edge status`."""
        if not self._is_on:
            state = "none"
        elif self._error is not None:
            state = "failed"
        else:
            state = "running" if self._player is not None and self._player.is_ready else "starting"
        clip = self._shown if self._shown is not None and self._what() == "clip" else None
        return {
            "state": state,
            "showing": self._what() if state == "running" else "nothing",
            "clip": clip.name if isinstance(clip, Path) else None,
            "waiting": max(0, len(self._clips) - int(clip is not None)),
            "restarts": self._n_restarts,
            "skipped": self._n_skipped,
            "error": str(self._error) if self._error is not None else None,
        }

    def _what(self) -> str:
        if self._stream is not None:
            return "live"
        if self._clips:
            return "clip"
        return "idle" if self._scene is not None else "black"

    def _wanted(self) -> Union[Path, Stream, None]:
        return self._stream or (self._clips[0] if self._clips else self._scene)

    def _show(self, again: bool = False) -> None:
        """Tell the player what to show, if that is not what it shows."""
        player = self._player
        if player is None or not player.is_ready:
            return
        wanted = self._wanted()
        if wanted == self._shown and not again:
            return
        self._shown = wanted
        self._reload_at = None
        self._let_go()
        if wanted is None:
            player.command(name="stop")
        elif isinstance(wanted, Stream):
            if player.has_streamed:  # mpv 0.35 on X11 draws nothing of a raw stream right after another
                player.rest()
                self._reload_at = time.monotonic() + _RELOAD_S
            else:
                # as long as nobody writes the player would take it for empty
                with contextlib.suppress(OSError):
                    self._held = os.open(wanted.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                player.load(wanted.path, _raw(wanted))
        else:
            player.load(wanted, {"loop-file": "inf" if not self._clips else "no"})

    def _let_go(self) -> None:
        """From its first picture on a stream ends when its writer does; and a writer notices when the player ends."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _draw_overlay(self) -> None:
        if self._player is not None and self._player.is_ready:
            kind = "ass-events" if self._overlay else "none"
            self._player.command(name="osd-overlay", id=1, format=kind, data=self._overlay, res_x=0, res_y=720, z=0)

    # ---- the player ------------------------------------------------------------------------------------------------

    def fds(self) -> Sequence[int]:
        """Readable when `tick` has something to do."""
        return [] if self._player is None or self._player.fd is None else [self._player.fd]

    def tick(self) -> None:
        """Hear what the player says, see that it lives, start it if not."""
        if not self._is_on:
            return
        now = time.monotonic()
        if self._player is None:
            if now >= self._try_at:
                self._start()
            return
        was_ready = self._player.is_ready
        try:
            events = self._player.listen()
        except DeviceError as e:
            self._lost(e)
            return
        if self._player.is_ready and not was_ready:
            self._error = None
            self._shown = None
            self._show(again=True)
            self._draw_overlay()
        for event in events:
            if event == "begun":
                self._let_go()
            elif event == "over":
                self._over()
            elif event == "broken":
                self._broken()
        if self._reload_at is not None and now >= self._reload_at:
            self._show(again=True)
        if now - self._player.since > LATER_S:
            self._n_failures = 0

    def _over(self) -> None:
        """What was shown has come to its end."""
        if isinstance(self._shown, Stream):
            self._reload_at = time.monotonic() + _RELOAD_S  # the writer will be back
        elif self._clips and self._shown == self._clips[0]:
            if self._settings.clips == "loop":
                if len(self._clips) == 1:
                    self._show(again=True)
                    return
                self._clips.rotate(-1)
            else:
                self._clips.popleft()
            self._show(again=True)

    def _broken(self) -> None:
        """What was to be shown cannot be: it went, or is damaged."""
        if isinstance(self._shown, Stream):
            self._reload_at = time.monotonic() + _RELOAD_S
        elif self._clips and self._shown == self._clips[0]:
            self._n_skipped += 1
            self._clips.popleft()
            self._show(again=True)
        else:
            self._scene = None

    def _start(self) -> None:
        try:
            self._player = _Player(self._settings, self._folder)
        except DeviceError as e:
            self._lost(e)

    def _lost(self, error: DeviceError) -> None:
        self._let_go()
        if self._player is not None:
            self._player.kill()
            self._player = None
            self._n_restarts += 1
        self._n_failures += 1
        if self._n_failures > ATTEMPTS:
            self._error = error
            self._try_at = time.monotonic() + LATER_S
        else:
            self._try_at = time.monotonic() + 2.0 ** (self._n_failures - 1)


class _Player:
    """A running mpv.

    Args:
        settings: Which screen, and how.
        folder: Where it runs.

    Raises:
        DeviceError: If it cannot be started.
    """

    def __init__(self, settings: DisplaySettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._socket: Optional[socket.socket] = None
        self._heard = b""
        self._unsent = b""
        self._is_loading = self._is_stream = False
        self.is_ready = False
        """Whether it takes commands."""
        self.has_streamed = False
        """Whether a raw stream was loaded and nothing else was shown since."""
        self.since = self._answered = time.monotonic()
        self._asked = 0.0
        fonts = folder / "mpv" / "fonts"
        log = folder / "mpv.log"
        try:
            fonts.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(FONT, fonts / FONT.name)
            with contextlib.suppress(FileNotFoundError):
                (folder / _SOCKET).unlink()
            with log.open("wb") as said:
                self._process = subprocess.Popen(
                    _command(settings),
                    cwd=folder,
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    preexec_fn=bind_to_parent,
                )
        except OSError as e:
            raise DeviceError(
                f"display.player = {settings.player}: cannot be started: {e.strerror}; install mpv, or set "
                "display.output to none"
            ) from e

    @property
    def fd(self) -> Optional[int]:
        """Readable when it says something."""
        return None if self._socket is None else self._socket.fileno()

    def kill(self) -> None:
        """End it at once."""
        if self._socket is not None:
            self._socket.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)

    def load(self, what: Path, options: Dict[str, str]) -> None:
        """Show a file instead of what is shown."""
        self._is_loading = True
        self._is_stream = options.get("demuxer") == "rawvideo"
        self.has_streamed = self.has_streamed or self._is_stream
        # by name: the order of loadfile's arguments changed in mpv 0.38
        self.command(name="loadfile", url=str(what), flags="replace", options=options)

    def rest(self) -> None:
        """Show nothing for a moment."""
        self.has_streamed = False
        self.command(name="stop")

    def command(self, **command: object) -> None:
        """Tell it something. What cannot be sent at once is sent later."""
        self._unsent += json.dumps({"command": command, "async": True}).encode() + b"\n"
        self._send()

    def listen(self) -> List[str]:
        """What happened: "begun" (a file's first picture is there), "over" (it came to its end), "broken".

        Raises:
            DeviceError: If it died, hangs, or does not get ready.
        """
        now = time.monotonic()
        status = self._process.poll()
        if status is not None:
            raise DeviceError(f"display.player: {self._settings.player} ended with status {status}{self._last_words()}")
        if self._socket is None:
            self._connect()
            if self._socket is None:
                if now - self.since > _START_S:
                    raise DeviceError(f"display.player: {self._settings.player} does not get ready{self._last_words()}")
                return []
        events = self._receive()
        if now > self._asked + _PING_S:
            self._asked = now
            self._unsent += b'{"command": ["get_property", "idle-active"], "request_id": 1}\n'
        self._send()
        if now - self._answered > self._settings.deadline_s:
            silent = f"has not answered for {now - self._answered:.0f} s; it was ended"
            raise DeviceError(f"display.player: {self._settings.player} {silent}")
        return events

    def _connect(self) -> None:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # through a short name: a socket's address may have 107 letters
            line.connect(f"/proc/self/fd/{folder}/{_SOCKET}")
        except OSError:  # not yet
            line.close()
            return
        finally:
            os.close(folder)
        line.setblocking(False)
        self._socket = line
        self._unsent = b'{"command": ["observe_property", 1, "eof-reached"]}\n'
        self._answered = time.monotonic()

    def _send(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):  # it is busy, or gone: the deadline tells
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _receive(self) -> List[str]:
        assert self._socket is not None
        try:
            while True:
                piece = self._socket.recv(1 << 16)
                if not piece:
                    break
                self._heard += piece
                if len(self._heard) > 1 << 20:
                    raise DeviceError(f"display.player: {self._settings.player} talks nonsense; it was ended")
        except OSError:
            pass
        *lines, self._heard = self._heard.split(b"\n")
        events = []
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            event = self._understand(said) if isinstance(said, dict) else None
            if event is not None:
                events.append(event)
        return events

    def _understand(self, said: Dict[str, Any]) -> Optional[str]:
        if said.get("request_id") == 1 and "error" in said:
            self._answered = time.monotonic()
            self.is_ready = True
        event = said.get("event")
        if event == "file-loaded":
            self._is_loading = False
        elif event == "playback-restart" and not self._is_loading:
            self.has_streamed = self._is_stream
            return "begun"
        elif event == "end-file" and said.get("reason") == "error":
            self._is_loading = False
            return "broken"
        elif event == "property-change" and said.get("data") is True and not self._is_loading:
            return "over"  # only eof-reached is watched
        return None

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._folder / "mpv.log").read_bytes()[-2000:].decode(errors="replace").split("\n")
            said = [line.strip() for line in lines if line.strip()]
            if said:
                return f": {said[-1][:200]}"
        return ""


def _command(settings: DisplaySettings) -> List[str]:
    """How mpv is started. Drawing in software is the same everywhere, and with nothing to scale costs little."""
    output = settings.output
    if output == "auto":
        output = "window" if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") else "drm"
    command = [settings.player, "--idle=yes", "--force-window=yes", "--keep-open=always", "--keep-open-pause=no"]
    command += ["--image-display-duration=inf", "--config-dir=mpv", f"--input-ipc-server={_SOCKET}", "--no-terminal"]
    command += ["--no-osc", "--osd-level=0", "--load-scripts=no", "--ytdl=no", "--no-input-default-bindings"]
    command += ["--input-vo-keyboard=no", "--cursor-autohide=always", "--audio-display=no", "--hr-seek=no"]
    command += ["--msg-level=all=error", "--autoload-files=no", "--resume-playback=no", "--title=Sonic Edge"]
    command += [f"--osd-font={FONT_NAME}"]
    if settings.fullscreen:
        command += ["--fullscreen"]
    command += ["--vo=x11"] if output == "window" else ["--vo=drm"]
    return [*command, *settings.options]


def _raw(stream: Stream) -> Dict[str, str]:
    """Each picture is shown as soon as it is there: nothing is read ahead, which would keep up to a second of them."""
    return {
        "demuxer": "rawvideo",
        "demuxer-rawvideo-w": str(stream.width),
        "demuxer-rawvideo-h": str(stream.height),
        "demuxer-rawvideo-mp-format": "bgr24",
        "demuxer-rawvideo-fps": f"{stream.fps:g}",
        "untimed": "yes",
        "cache": "no",
        "demuxer-readahead-secs": "0",
        "video-latency-hacks": "yes",
        "loop-file": "no",
    }


def _overlay(text: str, share: Optional[float]) -> str:
    """Words and bar as ASS events in 720 lines: in the lower third, above the corner with the AI label."""
    lines = []
    if share is not None:
        lines += [_box(40, 606, 400, 14, "000000", "50")]
        lines += [_box(42, 608, max(1.0, 396 * min(max(share, 0.0), 1.0)), 10, "FFFFFF", "10")]
    if text:
        style = f"\\an1\\pos(40,596)\\fn{FONT_NAME}\\fs38\\bord2.5\\shad0\\1c&HFFFFFF&\\3c&H202020&\\q2"
        lines.append(f"{{{style}}}{_escaped(text)}")
    return "\n".join(lines)


def _box(x: float, y: float, width: float, height: float, colour: str, through: str) -> str:
    corners = f"m {x:.0f} {y} l {x + width:.0f} {y} l {x + width:.0f} {y + height} l {x:.0f} {y + height}"
    return f"{{\\an7\\pos(0,0)\\bord0\\shad0\\1c&H{colour}&\\1a&H{through}&\\p1}}{corners}{{\\p0}}"


def _escaped(text: str) -> str:
    """Text in which nothing is an instruction to ASS."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    # a backslash followed by an invisible word joiner is a backslash
    return plain.replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}")
