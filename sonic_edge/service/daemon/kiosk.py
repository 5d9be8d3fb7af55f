"""What people in front of the box see and hear: the screen, the studio, and the orders they give.

A thread of its own beside the jobs, so that the screen never waits for a disk or a model. It touches no pixel and no
sound: mpv and the studio do. Either may be missing, die or hang without the jobs taking notice.

================================  ================================================================================
studio                            see `live.supervisor`; the jobs go on without it
screen                            see `live.display`; the jobs go on without it
orders about jobs and settings    the jobs' thread is woken and takes them with `Kiosk.asked`
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
from typing import Callable, Collection, Deque, List, Optional, Sequence, Tuple, Type

from ...config import Config
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
"""A turn of the thread takes a fraction of a second; when none has ended for so long it hangs."""

_TURN_S = 0.2


class Kiosk:
    """As a context manager it runs its thread.

    Args:
        config: The settings.
        folder: For sockets, the FIFO and the idle scene: ``<spool>/run``; made when missing.
        command: What to start as studio.
        wake: Wakes the jobs' thread; called from the other.

    Raises:
        ConfigError, DeviceError: On entering, if the folder or the socket in it cannot be made.
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
        self._status = Status()  # as far as the jobs' thread knows it
        self._for_jobs: Deque[Order] = deque()
        self._playing: Tuple[Path, ...] = ()
        self._turned = time.monotonic()
        self._measure_at = 0.0
        self._figures: Optional[Status] = None
        self._npu = Monitor() if needs_chip(config.model.backend) else None
        self._todo: Deque[Callable[[], None]] = deque()
        self._ends = False
        self._error: Optional[BaseException] = None

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

    # ---- from the jobs' thread ------------------------------------------------------------------------------------

    def check(self) -> bool:
        """Whether the thread has come round lately.

        Raises:
            BaseException: What ended it: a mistake of ours.
        """
        if self._error is not None:
            raise self._error
        return time.monotonic() - self._turned < HANGS_S

    def working(
        self, job: str, stage: str, done: int, total: int, attempt: int = 1, left_s: Optional[float] = None
    ) -> None:
        """A job moves on; `left_s` is about how long it will take from here on."""
        percent = int(100 * done / max(1, total))
        left_s = None if left_s is None else round(left_s, 1)
        state = JobStatus(job, stage, done, total, percent, attempt, left_s)
        self._later(lambda: self._note(state))

    def finished(self, clip: Path) -> None:
        """A job's video is in outbox."""

        def do() -> None:
            self._note(None)
            self._screen.play(clip)
            self._playing = self._screen.clips()

        self._later(do)

    def failed(self, job: str) -> None:
        """A job could not be done."""

        def do() -> None:
            self._note(None)
            self._notices.event("failed", name=job)

        self._later(do)

    def report(self, status: Status) -> None:
        """What the jobs' thread knows of the status; the kiosk adds its own parts."""
        self._status = status

    def playing(self) -> Collection[Path]:
        """Videos in outbox that are being shown, or wait for it."""
        return self._playing

    def figures(self) -> Optional[Status]:
        """The status for monitoring, every ``metrics.every_s``; None if there is no other since this was asked last."""
        figures, self._figures = self._figures, None
        return figures

    def asked(self) -> List[Order]:
        """Orders about jobs and settings, since this was asked last; each is to be answered."""
        orders = []
        while self._for_jobs:
            orders.append(self._for_jobs.popleft())
        return orders

    def answer(self, order: Order, answer: object) -> None:
        """Answer one of `asked`; see `Control.answer`."""
        self._later(lambda: self._control.answer(order.caller, answer))

    def configure(self, config: Config) -> None:
        """Go on with other settings: what they do not concern is not disturbed."""

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
        """Take down the figures for monitoring, now and then."""
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
            *names, last = (kind.name for kind in ORDERS)
            self._refuse(order, f"{order.order}: is not known; {', '.join(names)} or {last}")
        elif kind.by == "jobs":
            self._for_jobs.append(order)
            self._wake_jobs()
        elif kind.by == "studio":
            self._order_studio(order)
        elif order.order == "status":
            self._control.answer(order.caller, self._whole_status())
        else:
            self._say_about_usb(order)

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
        elif order.order == "mute":  # remembered for when it comes
            self._control.answer(order.caller, Answer())
        else:  # not remembered: the person may have left by then
            self._refuse(order, f"the studio is not running: {self._studio.error}")

    def _say_about_usb(self, order: Order) -> None:
        """Words about a USB stick: from the import, which is not the daemon."""
        known = (*USB_GOES_ON, *USB_ENDED)
        if order.name not in known:
            self._refuse(order, f"say {order.name}: is not known; {', '.join(known)}")
            return
        self._notices.usb(order.name)
        self._control.answer(order.caller, Answer())

    @property
    def _muted(self) -> Path:
        return self._folder / "muted"

    def _remember_mute(self, on: bool) -> None:
        """A box that was muted stays so, whatever is started again."""
        try:
            if on:
                self._muted.touch()
            else:
                self._muted.unlink()
        except FileNotFoundError:
            pass
        except OSError as e:
            log.error("%s: cannot be kept: %s", self._muted, e.strerror)

    def _whole_status(self) -> Status:
        return replace(
            self._status,
            temperature_c=temperatures(),
            npu=self._npu.status() if self._npu is not None else None,
            job=self._job,
            screen=self._screen.status(),
            live=LiveStatus.of(self._studio.state, self._muted.exists(), self._studio.error),
        )
