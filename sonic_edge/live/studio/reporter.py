"""Sends the studio's messages to the daemon."""

import time
from dataclasses import replace
from typing import BinaryIO, Dict

from ...errors import SonicEdgeError
from ...process import send
from ...process.messages import encode
from ..state import StudioState
from .messages import FromStudio, State, Words

_STATE_EVERY_S = 0.5


class Reporter:
    """Sends messages, and remembers the text on the screen and the errors.

    Args:
        pipe: The pipe to the daemon.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._state_at = 0.0
        self.words = ""
        """The key of the text on the screen."""
        self.errors: Dict[str, str] = {}
        """The present errors, by part: camera, microphone, portrait, record."""

    def send(self, message: FromStudio) -> None:
        """Send a message."""
        send(self._pipe, encode(message))

    def say(self, key: str, again: bool = False) -> None:
        """Change the text on the screen.

        Args:
            key: A key of `display.WORDS`; empty for no text.
            again: Send it even if it has not changed.
        """
        if key != self.words or again:
            self.words = key
            self.send(Words(key))

    def failed(self, part: str, error: SonicEdgeError) -> None:
        """Record that a part has failed."""
        self.errors[part] = str(error)

    def works(self, part: str) -> bool:
        """Record that a part works; returns whether it had failed."""
        return self.errors.pop(part, None) is not None

    @property
    def is_due(self) -> bool:
        """Whether it is time to send the state."""
        return time.monotonic() >= self._state_at + _STATE_EVERY_S

    def state(self, state: StudioState) -> None:
        """Send the state, with the errors."""
        self._state_at = time.monotonic()
        self.send(State(replace(state, errors=dict(self.errors))))
