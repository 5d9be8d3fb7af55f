"""Shows each picture in time with its sound: drawn ahead when there is time, dropped when it would be late."""

import contextlib
import errno
import fcntl
import os
import select
import termios
import threading
import time
from array import array
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Callable, Deque, Dict, Mapping, Optional, Type, Union

import numpy as np

from ..engine.mirror import Cue
from ..errors import DeviceError
from ..media import Image
from .state import FrameCounts

KEPT = 1000
"""Number of frames whose latencies are kept, for the medians."""
STUCK_S = 1.0
"""A player that reads nothing for this long in the middle of a picture is stuck; it gets the rest at the next write."""
_F_SETPIPE_SZ = 1031  # Linux; named in Python's fcntl from 3.10 on
_PIPE_BYTES = 1 << 20  # the most an unprivileged process may request; a whole picture of 512x512 pixels fits


class Pipe:
    """Passes raw pictures to the player: a FIFO that the player reads at its own pace.

    Args:
        path: The FIFO; created anew, readable by this user only.

    Raises:
        DeviceError: If it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: Optional[int] = None
        self._rest = b""  # of a picture that is written in part
        try:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            os.mkfifo(path, 0o600)
        except OSError as e:
            raise DeviceError(f"{path}: cannot be created: {e.strerror}") from e

    def close(self) -> None:
        """Close and delete the FIFO."""
        self._release()
        with contextlib.suppress(OSError):
            self.path.unlink()

    @property
    def is_open(self) -> bool:
        """Whether a player has it open; connects to one if possible."""
        if self._fd is not None and _is_abandoned(self._fd):  # so that the next player starts at a whole picture
            self._release()
        if self._fd is None:
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as e:
                if e.errno != errno.ENXIO:  # nobody reads
                    raise DeviceError(f"{self.path}: cannot be opened: {e.strerror}") from e
                return False
            with contextlib.suppress(OSError):  # a smaller pipe takes more writes but loses no pictures
                fcntl.fcntl(self._fd, _F_SETPIPE_SZ, _PIPE_BYTES)
        return True

    @property
    def n_waiting(self) -> int:
        """Bytes that the player has not read yet."""
        if self._fd is None:
            return 0
        count = array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, count)
        return count[0]

    def write(self, image: Image) -> bool:
        """Write a whole picture; False if the player is gone, or stuck in this picture or the one before.

        A picture written in part is completed, at the next call if not before: the player finds pictures by counting
        bytes, and would show all later ones shifted by the missing bytes.
        """
        return self.is_open and self._put(self._rest) and self._put(np.ascontiguousarray(image).data.cast("B"))

    def _put(self, rest: Union[bytes, memoryview]) -> bool:
        """Write all of it, or as much as possible within `STUCK_S`; the rest is kept."""
        self._rest = b""
        deadline = time.monotonic() + STUCK_S
        while rest and self._fd is not None:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([], [self._fd], [], left)[1]:
                    self._rest = bytes(rest)  # a copy: the next picture may be drawn into the same place
                    return False
            except BrokenPipeError:
                self._release()
        return not rest

    def _release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._rest = b""


def _is_abandoned(fd: int) -> bool:
    """Whether no process has this FIFO open for reading any more."""
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))


class FramePacer:
    """A thread that draws the picture for each cue and sends it to the player when it is due.

    A picture is due `delay_s` after its sound reached the microphone. It is drawn as soon as its cue is known and then
    waits; one that is late by more than a frame, or that the player is not ready for, is dropped and counted.

    Args:
        draw: Draws the picture of a pose.
        pipe: Passes the pictures to the player.
        delay_s: See above, seconds.
        fps: Frames a second.
    """

    def __init__(self, draw: Callable[[Mapping[str, float]], Image], pipe: Pipe, delay_s: float, fps: float) -> None:
        self._draw = draw
        self._pipe = pipe
        self._delay_s = delay_s
        self._period_s = 1 / fps
        self._cues: Deque[Cue] = deque()
        self._changed = threading.Condition()
        self._ends = False
        self._latencies: Deque[Dict[str, float]] = deque(maxlen=KEPT)
        self._drawing_s = 0.0  # moving average of the time to draw a picture
        self._error: Optional[BaseException] = None
        self.n_shown = 0
        self.n_late = 0
        """Dropped because they were late."""
        self.n_refused = 0
        """Dropped because the player was still reading the one before."""
        self.n_unseen = 0
        """Drawn, but not shown: there was no player, or it was stuck."""
        self._thread = threading.Thread(target=self._run, name="show", daemon=True)

    def __enter__(self) -> "FramePacer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join()

    def cue(self, cue: Cue) -> None:
        """Queue the next picture to draw.

        Raises:
            BaseException: The exception that ended the thread.
        """
        if self._error is not None:
            raise self._error
        with self._changed:
            self._cues.append(cue)
            self._changed.notify()

    @property
    def counts(self) -> FrameCounts:
        """Frames shown and dropped, and the median latencies of the last `KEPT` shown, ms; see `_latency`."""
        latencies = list(self._latencies)
        parts = {
            name: round(1000 * float(np.median([w[name] for w in latencies])), 1)
            for name in (latencies[0] if latencies else {})
        }
        return FrameCounts(self.n_shown, self.n_late, self.n_refused, self.n_unseen, parts)

    def _run(self) -> None:
        try:
            while True:
                cue = self._next()
                if cue is None:
                    return
                self._show(cue)
        except BaseException as e:
            self._error = e

    def _next(self) -> Optional[Cue]:
        with self._changed:
            while not self._cues and not self._ends:
                self._changed.wait()
            return None if self._ends else self._cues.popleft()

    def _show(self, cue: Cue) -> None:
        due = cue.at_s + self._delay_s
        began = time.monotonic()
        if began + self._drawing_s > due + self._period_s:  # drawing it would make the next ones late too
            self._drawing_s *= 0.98  # decays while nothing is drawn, so that drawing is tried again
            self.n_late += 1
            return
        image = self._draw(cue.pose)
        drawn = time.monotonic()
        self._drawing_s += 0.2 * (drawn - began - self._drawing_s)
        if due > drawn:
            time.sleep(min(due - drawn, 1.0))
        elif drawn > due + self._period_s:
            self.n_late += 1
            return
        if not self._pipe.is_open:
            self.n_unseen += 1
            return
        start = time.monotonic()
        while self._pipe.n_waiting:
            if time.monotonic() > start + self._period_s / 2:
                self.n_refused += 1
                return
            time.sleep(0.001)
        if not self._pipe.write(image):
            self.n_unseen += 1
            return
        self.n_shown += 1
        self._latencies.append(_latency(cue, began, drawn, start, time.monotonic()))


def _latency(cue: Cue, began: float, drawn: float, start: float, handed: float) -> Dict[str, float]:
    """The parts of the latency from the sound at the microphone to the picture at the player, seconds."""
    return {
        "look_ahead": cue.needed_s - cue.at_s,
        "capture": cue.heard_s - cue.needed_s,
        "model": cue.made_s - cue.heard_s,
        "queue": began - cue.made_s,
        "render": drawn - began,
        "hold": start - drawn,
        "hand_over": handed - start,
        "total": handed - cue.at_s,
    }
