"""Signals to the daemon, and its wake-up pipe."""

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Dict, Optional, Type


class Signals:
    """Handles SIGTERM and SIGINT (stop) and SIGHUP (reload the settings) while it is entered as a context manager.

    Enter it from the main thread. It does not use `threading.Event`: setting one in a signal handler deadlocks if the
    signal arrives while the same thread is inside its `wait`.
    """

    def __init__(self) -> None:
        self._stops = False
        self._reads_again = False
        self._old: Dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        self.fd, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {signal.SIGTERM: self._on_stop, signal.SIGINT: self._on_stop, signal.SIGHUP: self._on_hangup}
        self._old = {s: signal.signal(s, handler) for s, handler in handlers.items()}
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for s, handler in self._old.items():
            signal.signal(s, handler)
        os.close(self.fd)
        os.close(self._write_end)

    def _on_stop(self, number: int, frame: Optional[FrameType]) -> None:
        self._stops = True
        self.wake()

    def _on_hangup(self, number: int, frame: Optional[FrameType]) -> None:
        self._reads_again = True
        self.wake()

    def wake(self) -> None:
        """End the current `wait`, or the next one if there is none. May be called from any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write_end, b"x")

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._stops

    def wait(self, timeout: float) -> bool:
        """Sleep for `timeout` seconds or until woken; returns whether to stop."""
        if not self._stops:
            select.select([self.fd], [], [], timeout)
            self.drain()
        return self._stops

    def drain(self) -> None:
        """Clear the wake-up: `fd` is no longer readable, unless the daemon is to stop."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        if self._stops:
            self.wake()

    def reads_again(self) -> bool:
        """Whether a SIGHUP has arrived since the last call: the settings are to be reloaded."""
        asked, self._reads_again = self._reads_again, False
        return asked
