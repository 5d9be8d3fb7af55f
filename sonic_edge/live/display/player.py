"""A running mpv: started, told what to do, listened to, and ended."""

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
_START_S = 15.0  # a slow board takes a while until the player's socket is there, and then its window
_MOST_LOG_BYTES = 1 << 20
_REAP_S = 0.05
_LOADFILE_HAS_INDEX = 2 << 16 | 3  # version of the client API: mpv 0.38


class Player:
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
        self._is_loading = self._has_begun_loading = self._is_over = False
        self._version = 0
        self.is_ready = False
        """Whether it takes commands."""
        self._has_window = False
        self.width = LINES * 1.0
        """Of the screen, in units of which it is `LINES` high."""
        self.since = self._connected = time.monotonic()
        self._asked = 0.0
        self._unanswered: Optional[float] = None  # asked then, and not answered yet
        fonts = folder / "mpv" / "fonts"
        self._log = folder / "mpv.log"
        try:
            fonts.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(FONT, fonts / FONT.name)
            for old in (folder / _SOCKET, self._log):
                with contextlib.suppress(FileNotFoundError):
                    old.unlink()
        except OSError as e:
            raise DeviceError(f"{folder}: the player's files cannot be put there: {e.strerror}") from e
        try:
            with self._log.open("ab") as said:
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
        try:
            self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:  # it hangs in the kernel, or the machine is busy: the screen does not wait
            threading.Thread(target=self._process.wait, name="player's end", daemon=True).start()

    def load(self, what: Path, options: Dict[str, str]) -> None:
        """Show a file instead of what is shown."""
        self._is_loading, self._has_begun_loading, self._is_over = True, False, False
        index = (-1,) if self._version >= _LOADFILE_HAS_INDEX else ()
        self.command("loadfile", str(what), "replace", *index, options)

    def command(self, *command: object) -> None:
        """Tell it something, in order: mpv takes names only since 0.33. What cannot be sent at once is sent later."""
        self._unsent += json.dumps({"command": command, "async": True}).encode() + b"\n"
        self._send()

    def listen(self) -> List[str]:
        """What happened: "begun" (a file's first picture is there), "over" (it came to its end), "broken",
        "resized" (the screen).

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
            if self._unanswered is None:
                self._unanswered = now
            self._bound_log()
            self._unsent += b'{"command": ["get_property", "eof-reached"], "request_id": 1}\n'
        self._send()
        if self._unanswered is not None and now - self._unanswered > self._settings.deadline_s:
            silent = f"has not answered for {now - self._unanswered:.0f} s; it was ended"
            raise DeviceError(f"display.player: {self._settings.player} {silent}")
        if not self._has_window and now - self._connected > _START_S:
            raise DeviceError(f"display.player: {self._settings.player} opens no screen{self._last_words()}")
        return events

    def _bound_log(self) -> None:
        """It runs for months."""
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > _MOST_LOG_BYTES:
                os.truncate(self._log, 0)

    def _connect(self) -> None:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.setblocking(False)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # through a short name: a socket's address may have 107 letters
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
        with contextlib.suppress(OSError):  # it is busy, or gone: the deadline tells
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _receive(self) -> List[str]:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            piece = self._socket.recv(1 << 16)  # one piece at a time: one that never stops talking must not keep us
            if not piece:
                closed = f"closed its socket; it was ended{self._last_words()}"
                raise DeviceError(f"display.player: {self._settings.player} {closed}")
            self._heard += piece
        if len(self._heard) > 1 << 20:
            raise DeviceError(f"display.player: {self._settings.player} talks nonsense; it was ended")
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
            self._unanswered = None
            self.is_ready = True
            return self._end(said.get("data"))
        if said.get("request_id") == 2 and isinstance(said.get("data"), int):
            self._version = said["data"]
        event = said.get("event")
        if event == "start-file":
            self._has_begun_loading = True
        elif event == "file-loaded":
            self._is_loading = False
        elif event == "playback-restart" and not self._is_loading:
            return "begun"
        elif event == "end-file" and self._is_end_of_ours(said.get("reason")):
            self._is_loading = False
            return "broken"
        elif event == "property-change" and said.get("name") == "eof-reached":
            return self._end(said.get("data"))
        elif event == "property-change" and said.get("name") == "osd-dimensions":
            return self._measure(said.get("data"))
        return None

    def _end(self, is_reached: object) -> Optional[str]:
        """Of an end that comes fast upon the last one mpv may say nothing, so it is asked too; one is told once."""
        if is_reached is not True or self._is_loading or self._is_over:
            return None
        self._is_over = True
        return "over"

    def _is_end_of_ours(self, reason: object) -> bool:
        """Whether the file last loaded came to a bad end: each load also ends the one before. 0.32 gives no reasons."""
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

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_bytes()[-2000:].decode(errors="replace").split("\n")
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
    command += [
        "--image-display-duration=inf",
        "--config-dir=mpv",
        f"--input-ipc-server={_SOCKET}",
        "--input-terminal=no",
    ]
    command += ["--no-osc", "--osd-level=0", "--load-scripts=no", "--ytdl=no", "--no-input-default-bindings"]
    command += ["--input-vo-keyboard=no", "--cursor-autohide=always", "--audio-display=no", "--hr-seek=no"]
    command += ["--msg-level=all=error", "--autoload-files=no", "--resume-playback=no", "--title=Sonic Edge"]
    command += [f"--osd-font={FONT_NAME}", "--osd-back-color=#A0101010"]  # with a colour there is a plate
    if settings.fullscreen:
        command += ["--fullscreen"]
    command += ["--vo=x11"] if output == "window" else ["--vo=drm"]
    return [*command, *settings.options]
