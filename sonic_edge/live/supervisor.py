"""Starts the studio, passes orders to it, shows its pictures, and restarts it when it dies.

================================  ================================================================================
studio: ConfigError               shown in `status`; not restarted until the settings change
studio: other                     restarted with back-off, indefinitely
================================  ================================================================================
"""

import logging
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

from ..config import Config
from ..errors import ConfigError, DeviceError, SonicEdgeError
from .display import Screen, Stream
from .notices import Notices
from .state import StudioState
from .studio import COMMAND, Answer, Command, Message, Ready, Recorded, Scene, State, Studio, Words
from .studio import Stream as StreamMessage

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""The back-off doubles from the first up to the second."""

STUDIO_SECTIONS = (
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
"""The sections of the settings that the studio depends on."""


class StudioSupervisor:
    """Keeps a studio running while one is needed. Not thread-safe: one thread calls `tick` several times a second.

    Args:
        config: The settings.
        screen: Shows the studio's pictures.
        notices: Shows the studio's texts.
        is_muted: Returns whether a studio starts with the microphone closed.
        command: The command that starts a studio.
    """

    def __init__(
        self,
        config: Config,
        screen: Screen,
        notices: Notices,
        is_muted: Callable[[], bool],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._config = config
        self._screen = screen
        self._notices = notices
        self._is_muted = is_muted
        self._command = command
        self.studio: Optional[Studio] = None
        self.state: Optional[StudioState] = None
        """The last state that the studio reported; None while there is no studio."""
        self.error = ""
        """Why there is no studio; empty if nothing went wrong."""
        self._try_at: Optional[float] = 0.0 if _is_needed(config) else None
        self._wait_s = FIRST_WAIT_S
        self._waiting: Dict[int, Callable[[str], None]] = {}  # called with the answers, by the command's id
        self._n_commands = 0
        self._scene: Optional[Path] = None
        self._stream: Optional[Stream] = None

    @property
    def fds(self) -> List[int]:
        """Readable when `tick` has something to do."""
        return [] if self.studio is None else [self.studio.fd]

    @property
    def is_running(self) -> bool:
        """Whether the studio can be given orders."""
        return self.studio is not None and self.studio.is_alive

    def close(self) -> None:
        """End the studio."""
        if self.studio is not None:
            self.studio.kill()

    def order(self, order: str, on: bool, reply: Callable[[str], None]) -> None:
        """Pass an order to the running studio.

        Args:
            order: talk, mute or snapshot.
            on: For talk and mute: whether to begin or to end.
            reply: Called when the order has been carried out or has failed: with the error, empty on success.
        """
        assert self.studio is not None
        self._n_commands += 1
        self._waiting[self._n_commands] = reply
        self.studio.order(Command(order, self._n_commands, on))

    def show_on(self, screen: Screen) -> None:
        """Switch to another screen."""
        self._screen = screen
        screen.idle(self._scene)
        screen.live(self._stream)

    def configure(self, config: Config) -> None:
        """Apply new settings; the studio is restarted only if they affect it."""
        old, self._config = self._config, config
        scene = (config.display.output == "none", config.display.idle)
        if scene == (old.display.output == "none", old.display.idle) and all(
            getattr(config, name) == getattr(old, name) for name in STUDIO_SECTIONS
        ):
            return
        self._end("the settings changed in the meantime; give the order again")
        self._screen.idle(None)
        self._scene, self.error = None, ""
        self._try_at = 0.0 if _is_needed(config) else None

    def tick(self) -> None:
        """Start the studio if it is time to, and handle its messages."""
        if self.studio is None:
            if self._try_at is None or time.monotonic() < self._try_at:
                return
            try:
                self.studio = Studio(self._config, self._is_muted(), self._command)
            except DeviceError as e:
                self._lost(e)
                return
            self._notices.studio("starting")
        while self.studio is not None:
            message = self.studio.receive()
            if message is None:
                return
            self._understand(message)

    def _understand(self, message: Message) -> None:
        if isinstance(message, State):
            self.state = message.state
        elif isinstance(message, Ready):
            log.info("the studio is ready")
            self.error = ""
        elif isinstance(message, Scene):
            self._scene = message.path
            self._screen.idle(message.path)
            self._wait_s = FIRST_WAIT_S
            if self._config.live.mode == "none":  # the studio was only needed for the idle scene
                self._end("the studio has ended")
        elif isinstance(message, StreamMessage):
            self._show(message)
        elif isinstance(message, Words):
            self._notices.studio(message.key)
        elif isinstance(message, Recorded):
            log.info("%s: recorded", message.name)
        elif isinstance(message, Answer):
            reply = self._waiting.pop(message.id, None)
            if reply is not None:
                reply(message.error)
        else:
            self._lost(message.error)

    def _show(self, message: StreamMessage) -> None:
        self._stream = None
        if message.path is not None:
            self._stream = Stream(message.path, message.width, message.height, message.fps)
        self._screen.live(self._stream)

    def _lost(self, error: SonicEdgeError) -> None:
        log.error("%s", error)
        self.error = str(error)
        self._end(str(error))
        if not isinstance(error, ConfigError):
            self._try_at = time.monotonic() + self._wait_s
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    def _end(self, why: str) -> None:
        """Stop the studio, answer the orders that are pending with `why`, and schedule no restart."""
        if self.studio is not None:
            self.studio.kill()
            self.studio = None
        self._try_at = None
        self._stream = None
        self._screen.live(None)
        self.state = None
        self._notices.studio("")
        for reply in self._waiting.values():
            reply(why)
        self._waiting.clear()


def _is_needed(config: Config) -> bool:
    """Whether a studio is needed: for live mode, or once, to make the idle scene."""
    display = config.display
    has_scene = display.output != "none" and display.idle != "black" and config.spool.portrait is not None
    return config.live.mode != "none" or has_scene
