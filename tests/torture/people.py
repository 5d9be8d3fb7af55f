"""People who constantly ask for the status, cancel and retry jobs, and reload the settings."""

import contextlib
import random
import signal
import threading
import time
from types import TracebackType
from typing import Optional, Type

from sonic_edge.errors import DeviceError, RequestError
from sonic_edge.service import control
from sonic_edge.service.messages import Request

from .box import Box


class People:
    """A thread, while used as a context manager.

    Args:
        box: Whose daemon is asked; it may come and go.
        seed: Of what they do.
    """

    def __init__(self, box: Box, seed: int) -> None:
        self._box, self._rng = box, random.Random(f"{seed} people")
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.n_asked = self.n_cancelled = self.n_hangups = 0
        """Answered questions, cancelled jobs, signals to read the settings again."""
        self.slowest_s = 0.0
        """The longest that the cancelling of a job took."""

    def __enter__(self) -> "People":
        self._thread.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(self._rng.uniform(0.0, 0.6)):
            with contextlib.suppress(DeviceError, RequestError):  # no daemon at the moment; or it was too late
                self._bother()

    def _bother(self) -> None:
        run, process = self._box.spool / "run", self._box.process
        status = control.ask(run, Request("status"), 5.0)
        self.n_asked += 1
        names = [*status.get("queue", {}).get("names", ()), *([status["job"]["id"]] if status["job"] else [])]
        if names and self._rng.random() < 0.15:
            since = time.monotonic()
            control.ask(run, Request("cancel", name=self._rng.choice(names)), 5.0)
            self.n_cancelled += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - since)
        if self._rng.random() < 0.1 and process is not None:  # the one that answered: a younger one may not listen yet
            process.send_signal(signal.SIGHUP)
            self.n_hangups += 1
