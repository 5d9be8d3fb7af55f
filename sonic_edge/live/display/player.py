"""A running mpv: starting it, sending commands, receiving events, killing it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from ...config import DisplaySettings
from ...engine.fonts import FONT
from ...errors import DeviceError
from ...process import bind_to_parent, environment
from .words import FONT_NAME, LINES

_SOCKET = "mpv.sock"
_PING_S = 1.0
_START_S = 15.0  # a slow board takes a while to create the player's socket, and then its window
_MAX_LOG_BYTES = 1 << 20
_REAP_S = 0.05
_LOADFILE_HAS_INDEX = 2 << 16 | 3  # version of the client API: mpv 0.38


class Player:
    """A running mpv.

    Args:
        settings: Which screen, and how.
        folder: Its working folder, for socket, fonts and log.

    Raises:
        DeviceError: If it cannot be started.
    """

    def __init__(self, settings: DisplaySettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._socket: Optional[socket.socket] = None
        self._received = b""
        self._unsent = b""
        self._is_loading = self._has_begun_loading = self._has_ended = False
        self._version = 0
        self.is_ready = False
        """Whether it accepts commands."""
        self._has_window = False
        self.width = LINES * 1.0
        """Width of the screen in units of which it is `LINES` high."""
        self.since = self._connected = time.monotonic()
        self._pinged = 0.0
        self._unanswered: Optional[float] = None  # time of the oldest ping without an answer
        fonts = folder / "mpv" / "fonts"
        self._log = folder / "mpv.log"
        try:
            fonts.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(FONT, fonts / FONT.name)
            for old in (folder / _SOCKET, self._log):
                with contextlib.suppress(FileNotFoundError):
                    old.unlink()
        except OSError as e:
            raise DeviceError(f"{folder}: the player's files cannot be written: {e.strerror}") from e
        try:
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    _command(settings),
                    cwd=folder,
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    preexec_fn=bind_to_parent,
                )
        except OSError as e:
            raise DeviceError(
                f"display.player = {settings.player}: cannot be started: {e.strerror}; install mpv, or set "
                "display.output to none"
            ) from e

    @property
    def fd(self) -> Optional[int]:
        """A file descriptor that is readable when mpv has sent something; None before it is connected."""
        return None if self._socket is None else self._socket.fileno()

    def kill(self) -> None:
        """Kill the process at once."""
        if self._socket is not None:
            self._socket.close()
        self._process.kill()
        try:
            self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:  # it hangs in the kernel, or the machine is busy; do not wait for it
            threading.Thread(target=self._process.wait, name="wait for the player's end", daemon=True).start()

    def load(self, what: Path, options: Dict[str, str]) -> None:
        """Show a file instead of the current one."""
        self._is_loading, self._has_begun_loading, self._has_ended = True, False, False
        index = (-1,) if self._version >= _LOADFILE_HAS_INDEX else ()
        self.command("loadfile", str(what), "replace", *index, options)

    def command(self, *command: object) -> None:
        """Send a command, or queue it. Its arguments are positional: mpv accepts named ones only since 0.33."""
        self._unsent += json.dumps({"command": command, "async": True}).encode() + b"\n"
        self._send()

    def listen(self) -> List[str]:
        """The events since the last call: "started" (a file's first picture is shown), "ended" (it was played to its
        end), "failed" (it cannot be played), "resized" (the screen's size is known, or another).

        Raises:
            DeviceError: If mpv has died, hangs, or does not get ready.
        """
        now = time.monotonic()
        status = self._process.poll()
        if status is not None:
            raise DeviceError(
                f"display.player: {self._settings.player} ended with status {status}{self._last_log_line()}"
            )
        if self._socket is None:
            self._connect()
            if self._socket is None:
                if now - self.since > _START_S:
                    late = f"was not ready after {_START_S:g} s{self._last_log_line()}"
                    raise DeviceError(f"display.player: {self._settings.player} {late}")
                return []
        events = self._receive()
        if now > self._pinged + _PING_S:
            self._pinged = now
            if self._unanswered is None:
                self._unanswered = now
            self._bound_log()
            self._unsent += b'{"command": ["get_property", "eof-reached"], "request_id": 1}\n'
        self._send()
        if self._unanswered is not None and now - self._unanswered > self._settings.deadline_s:
            problem = f"has not answered for {now - self._unanswered:.0f} s; it was killed"
            raise DeviceError(f"display.player: {self._settings.player} {problem}")
        if not self._has_window and now - self._connected > _START_S:
            raise DeviceError(f"display.player: {self._settings.player} did not open the screen{self._last_log_line()}")
        return events

    def _bound_log(self) -> None:
        """Keep mpv's log small: it runs for months."""
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > _MAX_LOG_BYTES:
                os.truncate(self._log, 0)

    def _connect(self) -> None:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.setblocking(False)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # by a short path: a socket's address is limited to 107 bytes
            line.connect(f"/proc/self/fd/{folder}/{_SOCKET}")
        except OSError:  # not yet
            line.close()
            return
        finally:
            os.close(folder)
        self._socket = line
        self._unsent = b'{"command": ["get_version"], "request_id": 2}\n'
        self._unsent += b'{"command": ["observe_property", 1, "eof-reached"]}\n'
        self._unsent += b'{"command": ["observe_property", 2, "osd-dimensions"]}\n'
        self._unsent += b'{"command": ["set_property", "osd-border-style", "background-box"]}\n'  # since 0.38
        self._connected = time.monotonic()

    def _send(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):  # it is busy or gone; the deadline decides
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _receive(self) -> List[str]:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            chunk = self._socket.recv(1 << 16)  # one chunk at a time: endless output must not block us
            if not chunk:
                closed = f"closed its socket; it was killed{self._last_log_line()}"
                raise DeviceError(f"display.player: {self._settings.player} {closed}")
            self._received += chunk
        if len(self._received) > 1 << 20:
            raise DeviceError(
                f"display.player: {self._settings.player} sent more than 1 MiB without a line break; it was killed"
            )
        *lines, self._received = self._received.split(b"\n")
        events = []
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            event = self._event_of(message) if isinstance(message, dict) else None
            if event is not None:
                events.append(event)
        return events

    def _event_of(self, message: Dict[str, Any]) -> Optional[str]:
        if message.get("request_id") == 1 and "error" in message:
            self._unanswered = None
            self.is_ready = True
            return self._end(message.get("data"))
        if message.get("request_id") == 2 and isinstance(message.get("data"), int):
            self._version = message["data"]
        event = message.get("event")
        if event == "start-file":
            self._has_begun_loading = True
        elif event == "file-loaded":
            self._is_loading = False
        elif event == "playback-restart" and not self._is_loading:
            return "started"
        elif event == "end-file" and self._is_failure(message.get("reason")):
            self._is_loading = False
            return "failed"
        elif event == "property-change" and message.get("name") == "eof-reached":
            return self._end(message.get("data"))
        elif event == "property-change" and message.get("name") == "osd-dimensions":
            return self._measure(message.get("data"))
        return None

    def _end(self, is_reached: object) -> Optional[str]:
        """An end of file, reported once. mpv may omit one soon after the last, so the ping asks for it too."""
        if is_reached is not True or self._is_loading or self._has_ended:
            return None
        self._has_ended = True
        return "ended"

    def _is_failure(self, reason: object) -> bool:
        """Whether the file loaded last failed: each load also ends the file before it. mpv 0.32 gives no reasons."""
        if self._is_loading:
            return self._has_begun_loading and reason in (None, "error")
        return reason == "error"

    def _measure(self, screen: Any) -> Optional[str]:
        with contextlib.suppress(TypeError, KeyError):
            width = LINES * screen["aspect"]
            self._has_window = self._has_window or screen["w"] > 0
            if width > 0 and width != self.width:
                self.width = width
                return "resized"
        return None

    def _last_log_line(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_bytes()[-2000:].decode(errors="replace").split("\n")
            filled = [line.strip() for line in lines if line.strip()]
            if filled:
                return f": {filled[-1][:200]}"
        return ""


def _command(settings: DisplaySettings) -> List[str]:
    """The command that starts mpv. Software drawing works the same everywhere and, without scaling, costs little."""
    output = settings.output
    if output == "auto":
        output = "window" if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") else "drm"
    command = [settings.player, "--idle=yes", "--force-window=yes", "--keep-open=always", "--keep-open-pause=no"]
    command += [
        "--image-display-duration=inf",
        "--config-dir=mpv",
        f"--input-ipc-server={_SOCKET}",
        "--input-terminal=no",
    ]
    command += ["--no-osc", "--osd-level=0", "--load-scripts=no", "--ytdl=no", "--no-input-default-bindings"]
    command += ["--input-vo-keyboard=no", "--cursor-autohide=always", "--audio-display=no", "--hr-seek=no"]
    command += ["--msg-level=all=error", "--autoload-files=no", "--resume-playback=no", "--title=Sonic Edge"]
    command += [f"--osd-font={FONT_NAME}", "--osd-back-color=#A0101010"]  # with a colour there is a box behind the text
    if settings.fullscreen:
        command += ["--fullscreen"]
    command += ["--vo=x11"] if output == "window" else ["--vo=drm"]
    return [*command, *settings.options]
