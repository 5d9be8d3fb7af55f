"""The time at which a sample was, or will be, at a device, estimated from the times of the device's callbacks."""

from collections import deque
from typing import Deque, Optional, Tuple

WINDOW_S = 5.0
"""The earliest callback in this window sets the clock's target offset ..."""
EASE_S = 1.0
"""... and the clock moves towards it with about this time constant."""
STEP_S = 0.03
"""If the error is larger than this, the clock steps instead: ..."""
LATE_S = 0.5
"""... backward at once, forward when every callback has been late for this long (the device has lost sound)."""


class Clock:
    """The time of each sample of a device.

    Scheduling may delay a callback, but hardly ever makes it early. The clock therefore follows the earliest callbacks
    and the device's own rate, and does not jitter with the others.
    """

    def __init__(self) -> None:
        self._offset_s: Optional[float] = None  # time of sample 0
        self._earliest: Deque[Tuple[float, float]] = deque()  # (time of the callback, its offset), offsets ascending
        self._started_s = self._ticked_s = 0.0
        self._late_since_s: Optional[float] = None

    def tick(self, call_s: float, sound_s: float) -> None:
        """Record a callback.

        Args:
            call_s: Its time, `time.monotonic()`.
            sound_s: How much sound the device had recorded or played by then, seconds.
        """
        offset_s = call_s - sound_s
        if self._offset_s is None or offset_s < self._offset_s - STEP_S:
            self._restart(call_s, offset_s)
            return
        if offset_s <= self._offset_s + STEP_S:
            self._late_since_s = None
        elif self._late_since_s is None:
            self._late_since_s = call_s
        elif call_s - self._late_since_s > LATE_S:
            lately = [o for s, o in self._earliest if s >= self._late_since_s]
            self._restart(call_s, min([*lately, offset_s]))
            return
        while self._earliest and self._earliest[-1][1] >= offset_s:
            self._earliest.pop()
        self._earliest.append((call_s, offset_s))
        while self._earliest[0][0] < call_s - WINDOW_S:
            self._earliest.popleft()
        error_s = self._earliest[0][1] - self._offset_s
        if call_s - self._started_s < WINDOW_S:
            self._offset_s += min(error_s, 0.0)  # a poor estimate at first: an earlier callback counts at once
        else:
            self._offset_s += min(1.0, (call_s - self._ticked_s) / EASE_S) * error_s
        self._ticked_s = call_s

    def at(self, sound_s: float) -> float:
        """The time, `time.monotonic()`, at which `sound_s` seconds of sound have passed; needs one `tick` before."""
        assert self._offset_s is not None
        return self._offset_s + sound_s

    def _restart(self, call_s: float, offset_s: float) -> None:
        self._offset_s = offset_s
        self._started_s = self._ticked_s = call_s
        self._late_since_s = None
        self._earliest = deque([(call_s, offset_s)])
