"""What is shown, one thing at a time: the live stream, else a clip, else the idle scene."""

import contextlib
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Deque, Dict, Literal, Optional, Sequence, Tuple, Union

from ...config import DisplaySettings
from ...errors import DeviceError
from ..state import ScreenStatus
from .player import Player
from .words import LINES, overlay

ATTEMPTS = 3
"""A player that does not start, or dies, is started again this often in a row ..."""
LATER_S = 60.0
"""... and after that once in so long. Having run for as long as this it is forgiven."""
MOST_CLIPS = 50
"""Clips that are remembered for showing again and again."""

_RELOAD_S = 0.3
_AGAIN_S = 1.0  # doubled each time


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
        self._clips: Deque[Path] = deque()  # to be shown, the first one now; in a loop the next round's follow
        self._n_new = 0  # in a loop: those behind the first that were not shown yet
        self._arrived: Deque[Path] = deque()  # in a loop: all of them, the oldest first
        self._stream: Optional[Stream] = None
        self._said: Tuple[str, Optional[float]] = ("", None)
        self._player: Optional[Player] = None
        self._shown: Union[Path, Stream, None] = None
        self._reload_at: Optional[float] = None
        self._held: Optional[int] = None
        self._n_failures = 0
        self._try_at = 0.0
        self._error: Optional[DeviceError] = None
        self._n_restarts = 0
        self._n_skipped = 0

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
        if self._settings.clips == "loop":
            self._arrived.append(clip)
            self._n_new += bool(self._clips)
            self._clips.insert(self._n_new, clip)  # next, behind others that are new
            if len(self._clips) > MOST_CLIPS:
                self._forget_oldest()
        else:
            self._clips.append(clip)
        self._show()

    def _forget_oldest(self) -> None:
        """Of those that are not shown just now."""
        oldest = next(i for i, clip in enumerate(self._arrived) if clip != self._clips[0])
        where = self._clips.index(self._arrived[oldest])
        del self._arrived[oldest], self._clips[where]
        self._n_new -= where <= self._n_new

    def live(self, stream: Optional[Stream]) -> None:
        """Show live pictures from now on; None: no more. Clips wait meanwhile."""
        self._stream = stream
        self._show()

    def clips(self) -> Tuple[Path, ...]:
        """The videos that are to be shown yet, the one that is shown now among them."""
        return tuple(self._clips)

    def say(self, text: str = "", share: Optional[float] = None) -> None:
        """Words on top of whatever is shown, with a bar if `share` is 0..1; "" and None: nothing."""
        if (text, share) != self._said:
            self._said = (text, share)
            self._draw_overlay()

    def status(self) -> ScreenStatus:
        """For `sonic-edge status`."""
        if not self._is_on:
            state = "none"
        elif self._error is not None:
            state = "failed"
        else:
            state = "running" if self._player is not None and self._player.is_ready else "starting"
        clip = self._shown if self._shown is not None and self._what() == "clip" else None
        return ScreenStatus(
            state=state,
            showing=self._what() if state == "running" else "nothing",
            clip=clip.name if isinstance(clip, Path) else None,
            waiting=max(0, len(self._clips) - int(clip is not None)),
            restarts=self._n_restarts,
            skipped=self._n_skipped,
            error=str(self._error) if self._error is not None else None,
        )

    def _what(self) -> Literal["live", "clip", "idle", "black"]:
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
            player.command("stop")
        elif isinstance(wanted, Stream):
            # as long as nobody writes the player would wait to open it, or take it for empty
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
            drawn = overlay(*self._said, self._player.width)
            self._player.command("osd-overlay", 1, "ass-events" if drawn else "none", drawn, 0, LINES, 0)

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
            elif event == "resized":
                self._draw_overlay()
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
                self._n_new = max(0, self._n_new - 1)
            else:
                self._clips.popleft()
            self._show(again=True)

    def _broken(self) -> None:
        """What was to be shown cannot be: it went, or is damaged."""
        if isinstance(self._shown, Stream):
            self._reload_at = time.monotonic() + _RELOAD_S
        elif self._clips and self._shown == self._clips[0]:
            self._n_skipped += 1
            bad = self._clips.popleft()
            if self._settings.clips == "loop":
                self._arrived.remove(bad)
                self._n_new = max(0, self._n_new - 1)
            self._show(again=True)
        else:
            self._scene = None

    def _start(self) -> None:
        try:
            self._player = Player(self._settings, self._folder)
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
            self._try_at = time.monotonic() + _AGAIN_S * 2.0 ** (self._n_failures - 1)


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
