"""When sound was, or will be, at a device, out of when its blocks were asked for or given."""

from collections import deque
from typing import Deque, Optional, Tuple

WINDOW_S = 5.0
"""The earliest of the calls in this time says where the clock is ..."""
EASE_S = 1.0
"""... and it goes there over about this long."""
STEP_S = 0.03
"""Further off than this it does not go, it steps: ..."""
LATE_S = 0.5
"""... back at once, forth when every call has been late for so long (the device has lost sound)."""


class Clock:
    """The moment of each sample of a device.

    A call may come late, by scheduling, but hardly early: the moments follow the earliest calls, and the device's own
    rate, and do not jitter with the others.
    """

    def __init__(self) -> None:
        self._offset_s: Optional[float] = None  # moment of sample 0
        self._earliest: Deque[Tuple[float, float]] = deque()  # (call, its offset), offsets rising
        self._begun_s = self._ticked_s = 0.0
        self._late_since_s: Optional[float] = None

    def tick(self, call_s: float, sound_s: float) -> None:
        """Note a call.

        Args:
            call_s: When it came, `time.monotonic()`.
            sound_s: How much sound the device had moved by then, seconds.
        """
        offset_s = call_s - sound_s
        if self._offset_s is None or offset_s < self._offset_s - STEP_S:
            self._start_again(call_s, offset_s)
            return
        if offset_s <= self._offset_s + STEP_S:
            self._late_since_s = None
        elif self._late_since_s is None:
            self._late_since_s = call_s
        elif call_s - self._late_since_s > LATE_S:
            lately = [o for s, o in self._earliest if s >= self._late_since_s]
            self._start_again(call_s, min([*lately, offset_s]))
            return
        while self._earliest and self._earliest[-1][1] >= offset_s:
            self._earliest.pop()
        self._earliest.append((call_s, offset_s))
        while self._earliest[0][0] < call_s - WINDOW_S:
            self._earliest.popleft()
        error_s = self._earliest[0][1] - self._offset_s
        if call_s - self._begun_s < WINDOW_S:
            self._offset_s += min(error_s, 0.0)  # the first calls say little: better ones are believed at once
        else:
            self._offset_s += min(1.0, (call_s - self._ticked_s) / EASE_S) * error_s
        self._ticked_s = call_s

    def at(self, sound_s: float) -> float:
        """The moment, `time.monotonic()`, at which `sound_s` seconds of sound have been moved; needs one `tick`."""
        assert self._offset_s is not None
        return self._offset_s + sound_s

    def _start_again(self, call_s: float, offset_s: float) -> None:
        self._offset_s = offset_s
        self._begun_s = self._ticked_s = call_s
        self._late_since_s = None
        self._earliest = deque([(call_s, offset_s)])
