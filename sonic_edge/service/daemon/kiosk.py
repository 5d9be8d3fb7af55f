"""What people in front of the box see and hear: the screen, the studio, and the orders they give.

A thread of its own beside the jobs, so that the screen never waits for a disk or a model. It touches no pixel and no
sound: mpv and the studio do. Either may be missing, die or hang without the jobs taking notice.

================================  ================================================================================
studio: ConfigError               told in `status`; not started again
studio: other                     started again with back-off, for ever
screen                            see `display`; the jobs go on without it
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
from pathlib import Path
from types import TracebackType
from typing import Callable, Collection, Deque, Dict, List, Optional, Sequence, Tuple, Type

from ...config import Config
from ...errors import ConfigError, DeviceError, SonicEdgeError
from ...hardware.machine import temperatures
from ...hardware.npu import Watch, needs_chip
from ...live.display import Screen, Stream, words
from ...live.studio import COMMAND, Answer, Live, Message, Ready, Recorded, Scene, State, Studio, Words
from ..control import Control, Order

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0
WORDS_S = 6.0
"""Words that tell of something that happened are shown this long."""
PASSING = ("no_face", "no_camera", "no_portrait", "snapshot_done", "failed")
"""Words that tell of something that happened; the others of something that is going on."""
STICK = ("usb_reading", "usb_working", "usb_writing", "usb_done", "usb_none", "usb_failed")
"""Words about a USB stick: three of what goes on, three of how it ended."""
STICK_S = (600.0, 20.0)
"""How long they are shown: those of what goes on, unless there is news; and those of the end."""
HANGS_S = 30.0
"""A turn of the thread takes a fraction of a second; when none has ended for so long it hangs."""

_TURN_S = 0.2
# the sections the studio is started with
_OF_STUDIO = (
    "controls",
    "model",
    "label",
    "encode",
    "limits",
    "spool",
    "worker",
    "live",
    "microphone",
    "speaker",
    "camera",
)


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
        self._studio: Optional[Studio] = None
        self._try_at: Optional[float] = 0.0 if self._needs_studio(config) else None
        self._wait_s = 1.0
        self._state: Dict[str, object] = {}
        self._studio_error = ""
        self._asked: Dict[int, Order] = {}
        self._number = 0
        self._words = self._passing = ""
        self._passing_values: Dict[str, object] = {}
        self._passing_until = 0.0
        self._job: Dict[str, object] = {}
        self._facts: Dict[str, object] = {}
        self._for_jobs: Deque[Order] = deque()
        self._playing: Tuple[Path, ...] = ()
        self._turned = time.monotonic()
        self._measure_at = 0.0
        self._figures: Optional[Dict[str, object]] = None
        self._scene: Optional[Path] = None
        self._stream: Optional[Stream] = None
        self._stick = ""
        self._stick_until = 0.0
        self._npu = Watch() if needs_chip(config.model.backend) else None
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
        """See that the thread lives: whether it has come round lately.

        Raises:
            BaseException: What ended it: a mistake of ours.
        """
        if self._error is not None:
            raise self._error
        return time.monotonic() - self._turned < HANGS_S

    def working(
        self, job: str, stage: str, done: int, total: int, attempt: int = 1, left_s: Optional[float] = None
    ) -> None:
        """A job moves on; `left_s` is about how long it will take yet."""
        state = {
            "id": job,
            "stage": stage,
            "done": done,
            "total": total,
            "percent": int(100 * done / max(1, total)),
            "attempt": attempt,
            "left_s": None if left_s is None else round(left_s, 1),
        }
        self._later(lambda: self._note(state))

    def finished(self, clip: Path) -> None:
        """A job's video is in outbox."""

        def do() -> None:
            self._note({})
            self._screen.play(clip)
            self._playing = self._screen.clips()

        self._later(do)

    def failed(self, job: str) -> None:
        """A job could not be done."""

        def do() -> None:
            self._note({})
            self._pass("failed", name=job)

        self._later(do)

    def put_off(self) -> None:
        """The job under way is not any more; it will come again."""
        self._later(lambda: self._note({}))

    def tell(self, facts: Dict[str, object]) -> None:
        """What else `sonic-edge status` tells; each time all of it."""
        self._facts = facts

    def playing(self) -> Collection[Path]:
        """Videos in outbox that are being shown, or wait for it."""
        return self._playing

    def figures(self) -> Optional[Dict[str, object]]:
        """The status for monitoring, every ``metrics.every_s``; None if there is no other since this was asked last."""
        figures, self._figures = self._figures, None
        return figures

    def asked(self) -> List[Order]:
        """What people want done about jobs and settings, since this was asked last; each is to be answered."""
        orders = []
        while self._for_jobs:
            orders.append(self._for_jobs.popleft())
        return orders

    def answer(self, order: Order, error: str = "", **more: object) -> None:
        """Answer one of `asked`."""
        self._later(lambda: self._control.answer(order.caller, {"error": error, **more}))

    def configure(self, config: Config) -> None:
        """Go on with other settings: what they do not concern is not disturbed."""

        def do() -> None:
            old, self._config = self._config, config
            words_apart = config.display.model_copy(update={"language": old.display.language})
            if words_apart != old.display:
                self._screen.close()
                self._screen = Screen(config.display, self._folder)
                self._screen.idle(self._scene)
                self._screen.live(self._stream)
            if self._npu is not None and not needs_chip(config.model.backend):
                self._npu.close()
                self._npu = None
            elif self._npu is None and needs_chip(config.model.backend):
                self._npu = Watch()
            scene = (config.display.output == "none", config.display.idle)
            if scene != (old.display.output == "none", old.display.idle) or any(
                getattr(config, name) != getattr(old, name) for name in _OF_STUDIO
            ):
                self._leave_studio()
                self._screen.idle(None)
                self._scene, self._studio_error = None, ""
                self._try_at = 0.0 if self._needs_studio(config) else None

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
                    if self._studio is not None:
                        self._studio.kill()
                    if self._npu is not None:
                        self._npu.close()
        except BaseException as e:
            self._error = e

    def _turn(self) -> None:
        fds: List[int] = [self._wake_end, *self._control.fds, *self._screen.fds()]
        if self._studio is not None:
            fds.append(self._studio.fd)
        if select.select(fds, [], [], _TURN_S)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_end, 4096)
        while self._todo:
            self._todo.popleft()()
        for order in self._control.orders():
            self._obey(order)
        self._look_after_studio()
        self._talk_on_screen()
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
            self._figures = self._status()

    # ---- orders --------------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        if order.what == "status":
            self._control.answer(order.caller, self._status())
            return
        if order.what in ("cancel", "retry", "reload"):
            self._for_jobs.append(order)
            self._wake_jobs()
            return
        if order.what == "say":
            self._say_about_stick(order)
            return
        if order.what not in ("talk", "mute", "snapshot"):
            known = "talk, mute, snapshot, cancel, retry, reload, say or status"
            self._control.answer(order.caller, {"error": f"{order.what}: is not known; {known}"})
            return
        if self._config.live.mode == "none":
            self._control.answer(order.caller, {"error": "live.mode = none: set it to record or mirror first"})
            return
        if order.what == "mute":
            self._remember_mute(order.on)
        if self._studio is None or not self._studio.is_alive:
            # muted is kept for when it comes; talking is not: nobody may be there any more
            answer = {} if order.what == "mute" else {"error": f"the studio is not running: {self._studio_error}"}
            self._control.answer(order.caller, answer)
            return
        self._number += 1
        self._asked[self._number] = order
        self._studio.order(order.what, self._number, order.on)

    def _say_about_stick(self, order: Order) -> None:
        """Words about a USB stick: from the import, which is not the daemon."""
        if order.name not in STICK:
            error = f"say {order.name}: is not known; {', '.join(STICK)}"
            self._control.answer(order.caller, {"error": error})
            return
        goes_on = STICK.index(order.name) < 3
        self._stick = order.name if goes_on else ""
        self._stick_until = time.monotonic() + STICK_S[0]
        if not goes_on:
            self._pass(order.name, STICK_S[1])
        self._control.answer(order.caller, {"error": ""})

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

    def _status(self) -> Dict[str, object]:
        return {
            "error": "",
            **self._facts,
            "temperature_c": temperatures(),
            "npu": self._npu.status() if self._npu is not None else {},
            "job": self._job,
            "screen": self._screen.status(),
            "live": {**self._state, "muted": self._muted.exists(), "error": self._studio_error},
        }

    # ---- the studio ----------------------------------------------------------------------------------------------

    def _look_after_studio(self) -> None:
        if self._studio is None:
            if self._try_at is None or time.monotonic() < self._try_at:
                return
            try:
                self._studio = Studio(self._config, self._muted.exists(), self._command)
            except DeviceError as e:
                self._studio_lost(e)
                return
            self._words = "starting"
        while self._studio is not None:
            message = self._studio.receive()
            if message is None:
                return
            self._understand(message)

    def _needs_studio(self, config: Config) -> bool:
        """For live mode, or once, to make the idle scene."""
        display = config.display
        has_scene = display.output != "none" and display.idle != "black" and config.spool.portrait is not None
        return config.live.mode != "none" or has_scene

    def _leave_studio(self) -> None:
        """End it, on purpose."""
        if self._studio is not None:
            self._studio.kill()
            self._studio = None
        self._try_at = None
        self._stream = None
        self._screen.live(None)
        self._state, self._words = {}, ""
        for order in self._asked.values():
            self._control.answer(order.caller, {"error": "the settings were changed meanwhile; say it again"})
        self._asked.clear()

    def _understand(self, message: Message) -> None:
        if isinstance(message, State):
            self._state = dict(message.state)
        elif isinstance(message, Ready):
            log.info("the studio is ready")
            self._studio_error = ""
        elif isinstance(message, Scene):
            self._scene = message.path
            self._screen.idle(message.path)
            self._wait_s = 1.0
            if self._config.live.mode == "none":  # that was all it was needed for
                self._leave_studio()
        elif isinstance(message, Live):
            self._stream = None
            if message.path is not None:
                self._stream = Stream(message.path, message.width, message.height, message.fps)
            self._screen.live(self._stream)
        elif isinstance(message, Words):
            if message.key in PASSING:
                self._pass(message.key)
                self._words = ""
            else:
                self._words = message.key
        elif isinstance(message, Recorded):
            log.info("%s: recorded", message.name)
        elif isinstance(message, Answer):
            order = self._asked.pop(message.id, None)
            if order is not None:
                self._control.answer(order.caller, {"error": message.error})
        else:
            self._studio_lost(message.error)

    def _studio_lost(self, error: SonicEdgeError) -> None:
        log.error("%s", error)
        self._studio_error = str(error)
        if self._studio is not None:
            self._studio.kill()
            self._studio = None
        self._stream = None
        self._screen.live(None)
        self._state = {}
        self._words = ""
        for order in self._asked.values():
            self._control.answer(order.caller, {"error": str(error)})
        self._asked.clear()
        if isinstance(error, ConfigError):
            self._try_at = None
        else:
            self._try_at = time.monotonic() + self._wait_s
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    # ---- words on the screen --------------------------------------------------------------------------------------

    def _note(self, job: Dict[str, object]) -> None:
        self._job = job

    def _pass(self, key: str, seconds: float = WORDS_S, **values: object) -> None:
        self._passing, self._passing_values = key, values
        self._passing_until = time.monotonic() + seconds

    def _talk_on_screen(self) -> None:
        """What is the most important thing to say."""
        language = self._config.display.language
        if self._passing and time.monotonic() < self._passing_until:
            self._screen.say(words(self._passing, language, **self._passing_values))
            return
        self._passing = ""
        if time.monotonic() >= self._stick_until:
            self._stick = ""
        share, making = self._progress(language)
        if self._words:
            self._screen.say(words(self._words, language))
        elif self._stick:
            self._screen.say(words(self._stick, language), share)
        else:
            self._screen.say(making, share)

    def _progress(self, language: str) -> Tuple[Optional[float], str]:
        """Of the running job: its share, and words; or why none runs."""
        queue = self._facts.get("queue", {})
        assert isinstance(queue, dict)
        if not self._job:
            return None, words("disk_full", language) if queue.get("held") and queue.get("waiting") else ""
        percent = self._job["percent"]
        assert isinstance(percent, int)
        said = words("making", language, name=self._job["id"], percent=percent)
        if queue.get("waiting"):
            said += "  " + words("job_waiting", language, n=queue["waiting"])
        return percent / 100, said
