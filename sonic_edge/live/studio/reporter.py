"""What the studio reports to the daemon."""

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
    """Sends messages, remembers what it said.

    Args:
        pipe: Where to.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._state_at = 0.0
        self.words = ""
        """What the screen says."""
        self.errors: Dict[str, str] = {}
        """What is wrong, by part: camera, microphone, portrait, record."""

    def send(self, message: FromStudio) -> None:
        """Send a message."""
        send(self._pipe, encode(message))

    def say(self, key: str, again: bool = False) -> None:
        """Have the screen say something else.

        Args:
            key: Of `display.WORDS`; empty for nothing.
            again: Also if it says so already.
        """
        if key != self.words or again:
            self.words = key
            self.send(Words(key))

    def failed(self, part: str, error: SonicEdgeError) -> None:
        """A part does not work."""
        self.errors[part] = str(error)

    def works(self, part: str) -> bool:
        """A part works; whether it did not before."""
        return self.errors.pop(part, None) is not None

    @property
    def is_due(self) -> bool:
        """Whether it is time for a sign of life."""
        return time.monotonic() >= self._state_at + _STATE_EVERY_S

    def state(self, state: StudioState) -> None:
        """Send the state, with the errors."""
        self._state_at = time.monotonic()
        self.send(State(replace(state, errors=dict(self.errors))))
