"""The loudspeaker: what the microphone heard, said again a fixed time later, however the two clocks drift apart."""

import threading
import time
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

import numpy as np

from ..config import SpeakerSettings
from ..errors import DeviceError
from ..media import FloatArray, Heard
from . import portaudio
from .portaudio import CLOSE_S, choose, connect, in_words, within

MOST_RATE = 0.005
"""By how much the sound may be played faster or slower to stay in time: too little to be heard as pitch."""
SETTLE_S = 1.0
"""An error of time is worked off over about this long."""
JUMP_S = 0.06
"""An error larger than this is jumped over at once."""
FADE_S = 0.005
"""Sound comes and goes over this long, so that nothing clicks."""


class DelayLine:
    """Sound in with the moments it was heard at, sound out for the moments it will be heard again at.

    It has neither device nor clock of its own. Position follows the target by a small change of rate, smoothed so that
    pitch does not waver; only when it is far off it jumps.

    Args:
        delay_s: From the microphone to the loudspeaker.
        sample_rate: Hz.
        kept_s: How much is remembered.
    """

    def __init__(self, delay_s: float, sample_rate: int = 16000, kept_s: float = 4.0) -> None:
        self.delay_s = delay_s
        self._rate = sample_rate
        self._ring: FloatArray = np.zeros(round(kept_s * sample_rate), np.float32)
        self._end = 0  # samples taken in, in all
        self._end_s: Optional[float] = None  # moment of the last of them
        self._at: Optional[float] = None  # where we read, in samples; None: nothing is being said
        self._speed = 0.0  # rate change now
        self._fade_in = 0.0  # how loud we are, 0..1: it comes up after a gap
        self.skew_s = 0.0
        """How late the sound is now, smoothed, seconds; early is negative."""
        self.n_starved = 0
        """How often there was nothing to say."""
        self.n_jumps = 0
        """How often time had to be jumped over."""

    def push(self, samples: FloatArray, at_s: float) -> None:
        """Take sound, [n] -1..1; `at_s` is when the last sample of it was heard."""
        n = len(samples)
        if n == 0:
            return
        if n >= len(self._ring):
            samples = samples[-len(self._ring) :]
        where = (self._end + n - len(samples) + np.arange(len(samples))) % len(self._ring)
        self._ring[where] = samples
        self._end += n
        if self._end_s is None or abs(at_s - self._end_s - n / self._rate) > 0.02:
            self._end_s = at_s  # the first, or a gap
        else:  # blocks come unevenly; the sound itself does not
            self._end_s += n / self._rate
            self._end_s += 0.02 * (at_s - self._end_s)

    def pull(self, n: int, out_s: float) -> FloatArray:
        """The `n` samples that leave the loudspeaker from `out_s` on; silence where there is nothing to say."""
        if self._end_s is None:
            return np.zeros(n, np.float32)
        target = self._end - (self._end_s - (out_s - self.delay_s)) * self._rate  # index of that moment
        if self._at is None:
            self._at, self._speed, self._fade_in = target, 0.0, 0.0
        error_s = (target - self._at) / self._rate  # positive: we are late
        if abs(error_s) > JUMP_S:
            self.n_jumps += 1
            out = self._read(self._at + np.arange(n)) * np.linspace(1, 0, n, dtype=np.float32)
            self._at, self._speed, self._fade_in = target + n, 0.0, 0.0
            return out
        share = min(1.0, n / self._rate / SETTLE_S)
        self.skew_s += share * (error_s - self.skew_s)
        wanted = min(max(error_s / SETTLE_S, -MOST_RATE), MOST_RATE)
        self._speed += share * (wanted - self._speed)
        out = self._read(self._at + np.arange(n) * (1 + self._speed))
        self._at += n * (1 + self._speed)
        if self._fade_in < 1:
            ramp = np.minimum(1, self._fade_in + np.arange(1, n + 1) / (FADE_S * self._rate)).astype(np.float32)
            self._fade_in = float(ramp[-1])
            out = out * ramp
        if self._at > self._end - 1:  # nothing came in time
            self.n_starved += 1
            self._at = None
        return out

    def _read(self, at: "np.ndarray[Any, np.dtype[Any]]") -> FloatArray:
        """The sound at these places, [n]; silence outside what is there, softly towards what has not come yet."""
        size, last = len(self._ring), self._end - 1
        inside = (at >= max(self._end - size, 0)) & (at <= last)
        out = np.zeros(len(at), np.float32)
        read = at[inside]
        whole = np.floor(read).astype(np.int64)
        part = (read - whole).astype(np.float32)
        a, b = self._ring[whole % size], self._ring[np.minimum(whole + 1, last) % size]
        out[inside] = (a + (b - a) * part) * np.clip((last - read) / (FADE_S * self._rate), 0, 1).astype(np.float32)
        return out


def output_devices() -> List[str]:
    """The loudspeakers there are, in words, each with its number.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the sound system cannot be reached.
    """
    host = connect()
    try:
        return in_words(host, "output")
    finally:
        within(CLOSE_S, host.terminate, "the sound system")


class Speaker:
    """An open loudspeaker that says what the microphone heard, `delay_s` later.

    Args:
        settings: Which device.
        delay_s: From the microphone to the loudspeaker, seconds.
        sample_rate: Of the sound, Hz.
        block_s: Sound is given to the device in pieces this long.
        silent_s: A device that takes nothing for this long counts as unplugged.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the device is not there or cannot be opened; it names those there are.
    """

    def __init__(
        self,
        settings: SpeakerSettings,
        delay_s: float,
        sample_rate: int = 16000,
        block_s: float = 0.01,
        silent_s: float = 2.0,
    ) -> None:
        if settings.device is None:
            raise DeviceError("speaker.device = null: there is to be no sound")
        self._device = settings.device
        self._rate = sample_rate
        self._block_s = block_s
        self._silent_s = silent_s
        self._line = DelayLine(delay_s, sample_rate)
        self._lock = threading.Lock()
        self._taken_s = time.monotonic()
        self._latency_s = 0.0
        self._offset_s: Optional[float] = None
        self._n_out = 0
        self._n_underruns = 0
        self._host = connect()
        try:
            info = choose(self._host, "output", settings.device, "speaker.device")
            self.name: str = info["name"]
            self._stream = self._open(info)
        except BaseException:
            within(CLOSE_S, self._host.terminate, "the sound system")
            raise
        self._latency_s = float(self._stream.get_output_latency())
        self._stream.start_stream()

    def __enter__(self) -> "Speaker":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _open(self, info: Mapping[str, Any]) -> Any:
        pyaudio = portaudio.load()
        error: Optional[Exception] = None
        for rate, channels in portaudio.formats(self._host, dict(info), "output", self._rate):
            if rate % self._rate:  # rates that are not a multiple are left to ALSA, whose "plug" takes any
                continue
            self._times, self._n_channels = rate // self._rate, channels
            try:
                return self._host.open(
                    rate=rate,
                    channels=channels,
                    format=pyaudio.paInt16,
                    output=True,
                    output_device_index=info["index"],
                    frames_per_buffer=max(1, round(self._block_s * rate)),
                    stream_callback=self._give,
                    start=False,
                )
            except OSError as e:
                error = e
        words = error or f"it takes no 16-bit sound at {self._rate} Hz or a multiple"
        raise DeviceError(f"speaker.device = {self._device!r}: {self.name} cannot be opened: {words}")

    def _give(self, _: object, n: int, moments: Mapping[str, float], flags: int) -> Tuple[bytes, int]:
        """PortAudio's thread: what is heard `_latency_s` from now."""
        now = time.monotonic()
        rate = self._rate * self._times
        with self._lock:
            self._taken_s = now
            if flags & _OUTPUT_UNDERFLOW:
                self._n_underruns += 1
            # it asks in bursts; the sound leaves evenly: sample i leaves at offset + i / rate
            offset_s = now + self._latency_s - self._n_out / rate
            if self._offset_s is None or abs(offset_s - self._offset_s) > 0.1:
                self._offset_s = offset_s
            else:
                self._offset_s += 0.01 * (offset_s - self._offset_s)
            out_s = self._offset_s + self._n_out / rate
            self._n_out += n
            sound = self._line.pull(-(-n // self._times), out_s)
        if self._times > 1:
            sound = np.interp(np.arange(n) / self._times, np.arange(len(sound)), sound).astype(np.float32)
        loud = np.rint(np.clip(sound, -1, 1) * 32767).astype(np.int16)
        return np.repeat(loud[:, None], self._n_channels, axis=1).tobytes(), _CONTINUE

    def hear(self, heard: Heard) -> None:
        """Take what the microphone heard."""
        with self._lock:
            self._line.push(heard.samples, heard.at_s)

    def check(self) -> None:
        """See that it still plays.

        Raises:
            DeviceError: If it does not.
        """
        silent_s = time.monotonic() - self._taken_s
        if silent_s > self._silent_s:
            raise DeviceError(f"speaker.device: {self.name} has taken nothing for {silent_s:.1f} s")

    @property
    def counts(self) -> Dict[str, object]:
        """For `status`."""
        line = self._line
        return {
            "device": self.name,
            "skew_ms": round(1000 * line.skew_s, 1),
            "starved": line.n_starved,
            "jumps": line.n_jumps,
            "underruns": self._n_underruns,
            "latency_ms": round(1000 * self._latency_s, 1),
        }

    def close(self) -> None:
        """Let go of the device."""
        stream, host = self._stream, self._host

        def shut() -> None:
            stream.close()
            host.terminate()

        within(CLOSE_S, shut, self.name)


_OUTPUT_UNDERFLOW = 4  # paOutputUnderflow
_CONTINUE = 0  # paContinue
