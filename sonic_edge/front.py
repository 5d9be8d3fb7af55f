"""What people in front of the box see and hear: the screen, the studio, and the orders they give.

A thread of its own beside the jobs, so that the screen never waits for a disk or a model. It touches no pixel and no
sound: mpv and the studio do. Either may be missing, die or hang without the jobs taking notice.

================================  ================================================================================
studio: ConfigError               told in `status`; not started again
studio: other                     started again with back-off, for ever
screen                            see `display`; the jobs go on without it
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
from typing import Callable, Deque, Dict, List, Optional, Sequence, Type

from .config import Config
from .control import Control, Order
from .display import Screen, Stream, words
from .errors import ConfigError, DeviceError, SonicEdgeError
from .studio import COMMAND, Answer, Live, Message, Ready, Recorded, Scene, State, Studio, Words

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0
WORDS_S = 6.0
"""Words that tell of something that happened are shown this long."""
PASSING = ("no_face", "no_camera", "no_portrait", "snapshot_done", "failed")
"""Words that tell of something that happened; the others of something that is going on."""

_TURN_S = 0.2


class Front:
    """As a context manager it runs its thread.

    Args:
        config: The settings.
        folder: For sockets, the FIFO and the idle scene: ``<spool>/run``; made when missing.
        command: What to start as studio.

    Raises (on entering):
        ConfigError, DeviceError: If the folder or the socket in it cannot be made.
    """

    def __init__(self, config: Config, folder: Path, command: Sequence[str] = COMMAND) -> None:
        self._config = config
        self._folder = folder
        self._command = command
        self._needs_scene = (
            config.display.output != "none" and config.display.idle != "black" and config.spool.portrait is not None
        )
        self._studio: Optional[Studio] = None
        self._try_at: Optional[float] = 0.0 if config.live.mode != "none" or self._needs_scene else None
        self._wait_s = 1.0
        self._state: Dict[str, object] = {}
        self._studio_error = ""
        self._asked: Dict[int, Order] = {}
        self._number = 0
        self._words = self._passing = ""
        self._passing_values: Dict[str, object] = {}
        self._passing_until = 0.0
        self._job: Dict[str, object] = {}
        self._todo: Deque[Callable[[], None]] = deque()
        self._ends = False
        self._error: Optional[BaseException] = None

    def __enter__(self) -> "Front":
        try:
            self._folder.mkdir(mode=0o750, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"{self._folder}: must be a folder this user may write: {e.strerror}") from e
        self._control = Control(self._folder)
        self._screen = Screen(self._config.display, self._folder)
        self._wake_end, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)
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

    def check(self) -> None:
        """See that the thread lives.

        Raises:
            BaseException: What ended it: a mistake of ours.
        """
        if self._error is not None:
            raise self._error

    def working(self, job: str, stage: str, done: int, total: int) -> None:
        """A job moves on."""
        share = done / max(1, total)
        state = {"id": job, "stage": stage, "done": done, "total": total, "percent": int(100 * share)}
        self._later(lambda: self._note(state))

    def finished(self, clip: Path) -> None:
        """A job's video is in outbox."""

        def do() -> None:
            self._note({})
            self._screen.play(clip)

        self._later(do)

    def failed(self, job: str) -> None:
        """A job could not be done."""

        def do() -> None:
            self._note({})
            self._pass("failed", name=job)

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
            with self._screen, contextlib.closing(self._control):
                try:
                    while not self._ends:
                        self._turn()
                finally:
                    if self._studio is not None:
                        self._studio.kill()
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

    # ---- orders --------------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        if order.what == "status":
            self._control.answer(order.caller, self._status())
            return
        if order.what not in ("talk", "mute", "snapshot"):
            self._control.answer(order.caller, {"error": f"{order.what}: is not known; talk, mute, snapshot or status"})
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

    def _understand(self, message: Message) -> None:
        if isinstance(message, State):
            self._state = dict(message.state)
        elif isinstance(message, Ready):
            log.info("the studio is ready")
            self._studio_error = ""
        elif isinstance(message, Scene):
            self._screen.idle(message.path)
            self._wait_s = 1.0
            if self._config.live.mode == "none" and self._studio is not None:  # that was all it was needed for
                self._studio.kill()
                self._studio, self._try_at, self._words = None, None, ""
        elif isinstance(message, Live):
            stream = None
            if message.path is not None:
                stream = Stream(message.path, message.width, message.height, message.fps)
            self._screen.live(stream)
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

    def _pass(self, key: str, **values: object) -> None:
        self._passing, self._passing_values = key, values
        self._passing_until = time.monotonic() + WORDS_S

    def _talk_on_screen(self) -> None:
        """What is the most important thing to say."""
        language = self._config.display.language
        if self._passing and time.monotonic() < self._passing_until:
            self._screen.say(words(self._passing, language, **self._passing_values))
            return
        self._passing = ""
        if self._words:
            self._screen.say(words(self._words, language))
        elif self._job:
            percent = self._job["percent"]
            assert isinstance(percent, int)
            said = words("making", language, name=self._job["id"], percent=percent)
            self._screen.say(said, percent / 100)
        else:
            self._screen.say()
