"""Pictures go to the screen at their sound's moment: made ahead where there is time, dropped where there is not."""

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
"""Frames whose ways are remembered, for the medians."""
STUCK_S = 1.0
"""A screen that takes nothing for this long in the middle of a picture is not waited for; it gets the rest later."""
_F_SETPIPE_SZ = 1031  # Linux; named in Python's fcntl from 3.10 on
_PIPE_BYTES = 1 << 20  # the most a process without privileges may ask for: a picture of 512 pixels fits whole


class Pipe:
    """The way of raw pictures into the player: a FIFO that the player reads when it likes.

    Args:
        path: Where it is; made afresh, readable by nobody else.

    Raises:
        DeviceError: If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: Optional[int] = None
        self._rest = b""  # of a picture the player has begun
        try:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            os.mkfifo(path, 0o600)
        except OSError as e:
            raise DeviceError(f"{path}: cannot be made: {e.strerror}") from e

    def close(self) -> None:
        """Take it away."""
        self._let_go()
        with contextlib.suppress(OSError):
            self.path.unlink()

    @property
    def is_open(self) -> bool:
        """Whether a player reads it; looks for one if not."""
        if self._fd is not None and _is_left(self._fd):  # what the next one found in it would begin in mid-picture
            self._let_go()
        if self._fd is None:
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as e:
                if e.errno != errno.ENXIO:  # nobody reads
                    raise DeviceError(f"{self.path}: cannot be opened: {e.strerror}") from e
                return False
            with contextlib.suppress(OSError):  # a smaller one costs turns, no pictures
                fcntl.fcntl(self._fd, _F_SETPIPE_SZ, _PIPE_BYTES)
        return True

    @property
    def n_waiting(self) -> int:
        """Bytes the player has not taken yet."""
        if self._fd is None:
            return 0
        count = array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, count)
        return count[0]

    def write(self, image: Image) -> bool:
        """A whole picture; False if the player is gone, or stuck in this one or the one before.

        What it has begun it gets to its end, if only at the next call: it counts bytes, and would show all that follow
        shifted by what is missing.
        """
        return self.is_open and self._put(self._rest) and self._put(np.ascontiguousarray(image).data.cast("B"))

    def _put(self, rest: Union[bytes, memoryview]) -> bool:
        """All of it, or as much as goes within `STUCK_S`; what does not is kept."""
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
                self._let_go()
        return not rest

    def _let_go(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._rest = b""


def _is_left(fd: int) -> bool:
    """Whether nobody reads this FIFO any more."""
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))


class FramePacer:
    """A thread that makes the pictures of cues and hands each to the screen at its moment.

    A picture is due `delay_s` after its sound was at the microphone. It is made as soon as its cue is known and waits
    for its moment; one whose moment is over by a frame, or that the screen is not ready for, is dropped and counted.

    Args:
        draw: Makes a picture of a pose.
        pipe: Where pictures go.
        delay_s: See above.
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
        self._ways: Deque[Dict[str, float]] = deque(maxlen=KEPT)
        self._drawing_s = 0.0  # what making a picture takes
        self._error: Optional[BaseException] = None
        self.n_shown = 0
        self.n_late = 0
        """Dropped because their moment was over."""
        self.n_refused = 0
        """Dropped because the screen was still busy with the one before."""
        self.n_unseen = 0
        """Made while no screen was looking."""
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
        """The next picture to be made.

        Raises:
            BaseException: What went wrong in the thread.
        """
        if self._error is not None:
            raise self._error
        with self._changed:
            self._cues.append(cue)
            self._changed.notify()

    @property
    def counts(self) -> FrameCounts:
        """Frames, drops and the medians of the way of the last frames, ms; see `_way`."""
        ways = list(self._ways)
        parts = {name: round(1000 * float(np.median([w[name] for w in ways])), 1) for name in (ways[0] if ways else {})}
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
        if began + self._drawing_s > due + self._period_s:  # it would only make the next ones late too
            self._drawing_s *= 0.98  # what was slow once may not be any more
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
        self._ways.append(_way(cue, began, drawn, start, time.monotonic()))


def _way(cue: Cue, began: float, drawn: float, start: float, handed: float) -> Dict[str, float]:
    """Where the time went between the sound at the microphone and the picture in the player's hands, seconds."""
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
