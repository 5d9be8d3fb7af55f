"""What people in front of the box see and hear: the screen, the studio, and the orders they give.

It runs in its own thread beside the jobs, so that the screen never waits for a disk or a model. It handles no pictures
or sound itself: mpv and the studio do. Either may be missing, die or hang without affecting the jobs.

================================  ================================================================================
studio fails                      see `live.supervisor`; the jobs continue without it
screen fails                      see `live.display`; the jobs continue without it
orders about jobs and settings    the jobs thread is woken and takes them with `Kiosk.asked`
================================  ================================================================================
"""

import contextlib
import logging
import os
import select
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Callable, Collection, Deque, List, Mapping, Optional, Sequence, Tuple, Type

from ...config import Config
from ...config.mistakes import either
from ...errors import ConfigError
from ...hardware.machine import temperatures
from ...hardware.npu import Monitor, needs_chip
from ...live.display import Screen
from ...live.notices import USB_ENDED, USB_GOES_ON, Notices
from ...live.state import LiveStatus
from ...live.studio import COMMAND
from ...live.supervisor import StudioSupervisor
from ..control import Control, Order
from ..messages import Answer
from ..orders import ORDERS, find
from ..status import JobStatus, Status

log = logging.getLogger(__name__)

HANGS_S = 30.0
"""A pass of the thread takes a fraction of a second; if none has finished for this long, the thread hangs."""

_TURN_S = 0.2


class Kiosk:
    """Runs its thread while it is entered as a context manager.

    Args:
        config: The settings.
        folder: For sockets, the FIFO and the idle scene: ``<spool>/run``; created if missing.
        command: The command that starts a studio.
        wake: Wakes the jobs thread; called from the kiosk thread.

    Raises:
        ConfigError, DeviceError: On entering, if the folder or the socket in it cannot be created.
    """

    def __init__(
        self, config: Config, folder: Path, command: Sequence[str] = COMMAND, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._config = config
        self._folder = folder
        self._command = command
        self._wake_jobs = wake
        self._notices = Notices(config.display.language)
        self._job: Optional[JobStatus] = None
        self._status = Status()  # the jobs thread's part of it
        self._for_jobs: Deque[Order] = deque()
        self._playing: Tuple[Path, ...] = ()
        self._turned = time.monotonic()
        self._measure_at = 0.0
        self._figures: Optional[Status] = None
        self._npu = Monitor() if needs_chip(config.model.backend) else None
        self._todo: Deque[Callable[[], None]] = deque()
        self._ends = False
        self._error: Optional[BaseException] = None
        self.orders: Mapping[str, Callable[[Order], object]] = {
            "status": lambda _: self._whole_status(),
            "say": self._say_about_usb,
        }
        """The orders that the kiosk carries out at once; each returns its answer."""

    def __enter__(self) -> "Kiosk":
        try:
            self._folder.mkdir(mode=0o750, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"{self._folder}: must be a folder this user may write: {e.strerror}") from e
        self._control = Control(self._folder)
        self._screen = Screen(self._config.display, self._folder)
        self._studio = StudioSupervisor(
            self._config, self._screen, self._notices, lambda: self._muted.exists(), self._command
        )
        self._wake_end, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="kiosk", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._ends = True
        self._poke()
        self._thread.join()
        os.close(self._wake_end)
        os.close(self._wake)

    # ---- called from the jobs thread ------------------------------------------------------------------------------

    def check(self) -> bool:
        """Whether the thread is alive: it has completed a pass within `HANGS_S`.

        Raises:
            BaseException: What ended it: a bug.
        """
        if self._error is not None:
            raise self._error
        return time.monotonic() - self._turned < HANGS_S

    def working(
        self, job: str, stage: str, done: int, total: int, attempt: int = 1, left_s: Optional[float] = None
    ) -> None:
        """Show a job's progress; `left_s` is the estimated time remaining, seconds."""
        percent = int(100 * done / max(1, total))
        left_s = None if left_s is None else round(left_s, 1)
        state = JobStatus(job, stage, done, total, percent, attempt, left_s)
        self._later(lambda: self._note(state))

    def finished(self, clip: Path) -> None:
        """Play a finished job's video, which is in outbox."""

        def do() -> None:
            self._note(None)
            self._screen.play(clip)
            self._playing = self._screen.clips()

        self._later(do)

    def failed(self, job: str) -> None:
        """Show that a job failed."""

        def do() -> None:
            self._note(None)
            self._notices.event("failed", name=job)

        self._later(do)

    def report(self, status: Status) -> None:
        """Set the jobs thread's part of the status; the kiosk adds its own."""
        self._status = status

    def playing(self) -> Collection[Path]:
        """Videos in outbox that are being played or waiting to be."""
        return self._playing

    def figures(self) -> Optional[Status]:
        """The status for monitoring, taken every ``metrics.every_s``; None if none was taken since the last call."""
        figures, self._figures = self._figures, None
        return figures

    def asked(self) -> List[Order]:
        """Orders about jobs and settings since the last call; each must be answered."""
        orders = []
        while self._for_jobs:
            orders.append(self._for_jobs.popleft())
        return orders

    def answer(self, order: Order, answer: object) -> None:
        """Answer an order from `asked`; see `Control.answer`."""
        self._later(lambda: self._control.answer(order.caller, answer))

    def configure(self, config: Config) -> None:
        """Apply new settings; what they do not affect is left alone."""

        def do() -> None:
            old, self._config = self._config, config
            self._notices.language = config.display.language
            apart_from_language = config.display.model_copy(update={"language": old.display.language})
            if apart_from_language != old.display:
                self._screen.close()
                self._screen = Screen(config.display, self._folder)
                self._studio.show_on(self._screen)
            if self._npu is not None and not needs_chip(config.model.backend):
                self._npu.close()
                self._npu = None
            elif self._npu is None and needs_chip(config.model.backend):
                self._npu = Monitor()
            self._studio.configure(config)

        self._later(do)

    def _later(self, do: Callable[[], None]) -> None:
        self._todo.append(do)
        self._poke()

    def _poke(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"x")

    # ---- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with contextlib.closing(self._control):
                try:
                    while not self._ends:
                        self._turn()
                finally:
                    self._screen.close()
                    self._studio.close()
                    if self._npu is not None:
                        self._npu.close()
        except BaseException as e:
            self._error = e

    def _turn(self) -> None:
        fds: List[int] = [self._wake_end, *self._control.fds, *self._screen.fds(), *self._studio.fds]
        if select.select(fds, [], [], _TURN_S)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_end, 4096)
        while self._todo:
            self._todo.popleft()()
        for order in self._control.orders():
            self._obey(order)
        self._studio.tick()
        queue = self._status.queue
        self._notices.n_waiting, self._notices.is_held = (queue.waiting, bool(queue.held)) if queue else (0, False)
        self._screen.say(*self._notices.current())
        self._screen.tick()
        self._playing = self._screen.clips()
        if self._npu is not None:
            self._npu.tick()
        self._measure()
        self._turned = time.monotonic()

    def _measure(self) -> None:
        """Take the figures for monitoring, every ``metrics.every_s``."""
        if time.monotonic() >= self._measure_at:
            self._measure_at = time.monotonic() + self._config.metrics.every_s
            self._figures = self._whole_status()

    def _note(self, job: Optional[JobStatus]) -> None:
        self._job = job
        self._notices.job = None if job is None else (job.id, job.percent)

    # ---- orders --------------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        kind = find(order.order)
        if kind is None:
            self._refuse(order, f"{order.order}: unknown order; it must be {either([k.name for k in ORDERS])}")
        elif kind.by == "jobs":
            self._for_jobs.append(order)
            self._wake_jobs()
        elif kind.by == "studio":
            self._order_studio(order)
        else:
            self._control.answer(order.caller, self.orders[order.order](order))

    def _refuse(self, order: Order, error: str) -> None:
        self._control.answer(order.caller, Answer(error))

    def _order_studio(self, order: Order) -> None:
        if self._config.live.mode == "none":
            self._refuse(order, "live.mode = none: set it to record or mirror first")
            return
        if order.order == "mute":
            self._remember_mute(order.on)
        if self._studio.is_running:
            self._studio.order(order.order, order.on, lambda error: self._refuse(order, error))
        elif order.order == "mute":  # applied when the studio starts
            self._control.answer(order.caller, Answer())
        else:  # not kept for later: the person may have left by then
            self._refuse(order, f"the studio is not running: {self._studio.error}")

    def _say_about_usb(self, order: Order) -> Answer:
        """Show a text about a USB stick; the order comes from the USB import, a process of its own."""
        known = (*USB_GOES_ON, *USB_ENDED)
        if order.name not in known:
            return Answer(f"say {order.name}: unknown text; it must be {either(known)}")
        self._notices.usb(order.name)
        return Answer()

    @property
    def _muted(self) -> Path:
        return self._folder / "muted"

    def _remember_mute(self, on: bool) -> None:
        """Keep the mute in a file, so that a muted box stays muted after any restart."""
        try:
            if on:
                self._muted.touch()
            else:
                self._muted.unlink()
        except FileNotFoundError:
            pass
        except OSError as e:
            log.error("%s: cannot be changed, so the mute is lost at a restart: %s", self._muted, e.strerror)

    def _whole_status(self) -> Status:
        return replace(
            self._status,
            temperature_c=temperatures(),
            npu=self._npu.status() if self._npu is not None else None,
            job=self._job,
            screen=self._screen.status(),
            live=LiveStatus.of(self._studio.state, self._muted.exists(), self._studio.error),
        )
