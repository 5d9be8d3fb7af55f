"""A delay line: plays sound a fixed time later, even if the two devices' clocks drift apart."""

from typing import Optional

import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray

MAX_RATE_CHANGE = 0.005
"""The sound may be played faster or slower by this share to stay in time: too little to be heard as pitch."""
SETTLE_S = 2.0
"""Time constant with which a timing error is corrected ..."""
SLOW_S = 1.0
"""... and with which the rate changes; half of SETTLE_S gives the least oscillation (damping 0.7)."""
JUMP_S = 0.06
"""A larger timing error is corrected at once, by a jump."""
GAP_S = 0.02
"""If sound starts later than this after the end of the last, it leaves a gap; less is an adjustment of the clock."""
FADE_S = 0.005
"""Sound fades in and out over this time, to avoid clicks."""

_N_TAPS = 16
_N_PHASES = 2048


def _sinc_table() -> FloatArray:
    """Weights of the 16 samples around each position between two samples, [n_phases + 1, n_taps].

    Linear interpolation would dull consonants, and by an amount that varies with the position.
    """
    place = np.arange(_N_PHASES + 1)[:, None] / _N_PHASES
    distance = np.arange(_N_TAPS)[None] - (_N_TAPS // 2 - 1) - place
    window = np.kaiser(4097, 7.0)[np.rint((distance / _N_TAPS + 0.5) * 4096).astype(np.int64).clip(0, 4096)]
    table = np.sinc(distance) * window
    out: FloatArray = (table / table.sum(axis=1, keepdims=True)).astype(np.float32)
    return out


_SINC = _sinc_table()
_TAPS = np.arange(_N_TAPS) - (_N_TAPS // 2 - 1)


class DelayLine:
    """Takes sound with the times at which it was recorded, and returns sound for the times at which it will be played.

    It has neither device nor clock of its own. Its read position follows the target by a small change of rate, smoothed
    so that the pitch does not waver; it jumps only if the error is large.

    Args:
        delay_s: From the microphone to the loudspeaker, seconds; may be changed at any time.
        sample_rate: Hz.
        kept_s: How much sound it keeps, seconds.
    """

    def __init__(self, delay_s: float, sample_rate: int = 16000, kept_s: float = 4.0) -> None:
        self.delay_s = delay_s
        self._rate = sample_rate
        self._ring: FloatArray = np.zeros(round(kept_s * sample_rate), np.float32)
        self._end = 0  # samples pushed so far
        self._end_s: Optional[float] = None  # time of the last of them
        self._at = 0.0  # read position, in samples
        self._speed = 0.0  # current rate change
        self._gain = 0.0  # current gain, 0..1
        self.skew_s = 0.0
        """How late the sound is now, smoothed, seconds; negative if early."""
        self.n_starved = 0
        """How often it ran out of sound."""
        self.n_jumps = 0
        """How often a timing error was corrected by a jump."""

    def push(self, samples: FloatArray, at_s: float) -> None:
        """Add sound, [n] -1..1; `at_s` is the time at which its last sample was recorded, `time.monotonic()`."""
        n = len(samples)
        if n == 0:
            return
        if self._end_s is not None:
            error_s = at_s - self._end_s - n / self._rate
            if abs(error_s) < GAP_S:
                at_s -= error_s * max(0.0, 1 - n / self._rate / 0.5)  # times jitter; the sound itself does not
            elif error_s > 0:  # silence for what is missing, so that what came before keeps its timing
                fade = np.linspace(0, 1, round(FADE_S * self._rate), dtype=np.float32)
                self._ring[np.arange(self._end - len(fade), self._end) % len(self._ring)] *= fade[::-1]
                self._append(np.zeros(min(round(error_s * self._rate), len(self._ring)), np.float32))
                samples = samples.copy()
                samples[: len(fade)] *= fade[:n]
        self._append(samples)
        self._end_s = at_s

    def _append(self, samples: FloatArray) -> None:
        kept = samples[-len(self._ring) :]
        self._end += len(samples)
        self._ring[np.arange(self._end - len(kept), self._end) % len(self._ring)] = kept

    def pull(self, n: int, out_s: float) -> FloatArray:
        """The sound for the loudspeaker from time `out_s` on, [n] -1..1; silence where there is none."""
        if self._end_s is None:
            return np.zeros(n, np.float32)
        target = self._end - 1 - (self._end_s - (out_s - self.delay_s)) * self._rate  # sample of that time
        error_s = (target - self._at) / self._rate  # positive: we are late
        before: Optional[FloatArray] = None
        if abs(error_s) > JUMP_S or self._gain == 0:
            if self._gain > 0:
                self.n_jumps += 1
                before = self._sound(self._at + np.arange(n, dtype=np.float64))
            self._at, self._speed, self.skew_s, error_s = target, 0.0, 0.0, 0.0
        share = n / self._rate
        self.skew_s += min(1.0, share / SLOW_S) * (error_s - self.skew_s)
        wanted = min(max(error_s / SETTLE_S, -MAX_RATE_CHANGE), MAX_RATE_CHANGE)
        self._speed += min(1.0, share / SLOW_S) * (wanted - self._speed)
        out = self._sound(self._at + np.arange(n, dtype=np.float64) * (1 + self._speed))
        if before is not None:
            part = np.minimum(1, np.arange(1, n + 1) / min(n, FADE_S * self._rate)).astype(np.float32)
            out = before + (out - before) * part
        self._at += n * (1 + self._speed)
        return self._faded(out)

    def _faded(self, out: FloatArray) -> FloatArray:
        """Fade out towards the end of the sound received so far, and in again after a gap."""
        n, fade = len(out), FADE_S * self._rate
        place = self._at - np.arange(n, 0, -1)
        room = np.minimum(place - max(0, self._end - len(self._ring)), self._end - 1 - place) - _N_TAPS // 2
        allowed = np.clip(room / fade, 0, 1)
        step = np.arange(1, n + 1) / fade  # the gain falls as fast as it must, but rises no faster than this
        gain = np.minimum(self._gain + step, np.minimum.accumulate(allowed - step) + step)
        self.n_starved += bool(self._gain > 0 and gain[-1] == 0)
        self._gain = float(gain[-1])
        faded: FloatArray = out * gain.astype(np.float32)
        return faded

    def _sound(self, at: NDArray[np.float64]) -> FloatArray:
        """The ring's sound at these positions, between samples too, [n]; `_faded` mutes positions without sound."""
        phase = np.rint(at * _N_PHASES).astype(np.int64)
        whole = phase // _N_PHASES
        around = self._ring[(whole[:, None] + _TAPS) % len(self._ring)]
        sound: FloatArray = np.einsum("ij,ij->i", around, _SINC[phase % _N_PHASES])
        return sound
