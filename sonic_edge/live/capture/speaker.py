"""The loudspeaker: plays the microphone's sound a fixed time later."""

import threading
import time
from types import TracebackType
from typing import List, Mapping, Optional, Tuple, Type

import numpy as np

from ...config import SpeakerSettings
from ...errors import DeviceError
from ...media import FloatArray, SoundBlock
from ..state import SpeakerState
from . import portaudio
from .clock import Clock
from .delay import DelayLine
from .resample import Resampler

_WARM_UP_S = 0.2
"""At first the device gets silence for this long: while its buffers fill, it takes sound faster than it plays it."""
_LATENCIES_S = (0.0, 0.5)
"""A latency that a device reports is used only if it lies between these, seconds."""


def output_devices() -> List[str]:
    """The loudspeakers of this machine, each with its number: ``0: name (48000 Hz, 2 channels, ALSA)``.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the sound system cannot be reached.
    """
    return portaudio.list_devices("output")


class Speaker:
    """An open loudspeaker that plays the microphone's sound `delay_s` later.

    Args:
        settings: Which device.
        delay_s: From the microphone to the loudspeaker, seconds.
        sample_rate: Of the sound, Hz; the device may have another.
        block_s: Length of the blocks that the device asks for, seconds.
        silent_s: A device that asks for nothing for this long counts as unplugged, seconds.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If there is no such device (the message lists those there are) or it cannot be opened.
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
            raise DeviceError("speaker.device = null: no loudspeaker is used")
        self._rate = sample_rate
        self._silent_s = silent_s
        self._line = DelayLine(delay_s, sample_rate)
        self._lock = threading.Lock()
        self._clock = Clock()
        self._latency_s = 0.0
        self._n_silent = 0  # this and the next in samples at the device's rate: silence at the start, and sound
        self._n_played = 0
        self._n_pulled = 0
        self._n_underruns = 0
        self._ready: FloatArray = np.zeros(0, np.float32)  # resampled, not yet played
        self._device = portaudio.Device(
            "output", settings.device, "speaker.device", sample_rate, block_s, self._on_request
        )
        self._device_rate, self._n_channels = self._device.rate, self._device.n_channels
        self._resampler = Resampler(sample_rate, self._device_rate)
        self._stated_latency_s = self._device.output_latency_s
        self._asked_s = time.monotonic()
        self._device.start()

    @property
    def name(self) -> str:
        """The device's name."""
        return self._device.name

    def __enter__(self) -> "Speaker":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _on_request(self, _: object, n: int, times: Mapping[str, float], flags: int) -> Tuple[bytes, int]:
        """PortAudio's callback, in its thread: the next `n` samples, heard after the device's latency."""
        now = time.monotonic()
        with self._lock:
            self._asked_s = now
            self._n_underruns += bool(flags & _OUTPUT_UNDERFLOW)
            latency_s = times["output_buffer_dac_time"] - times["current_time"]
            if not _LATENCIES_S[0] < latency_s < _LATENCIES_S[1]:
                latency_s = self._stated_latency_s
            self._latency_s = latency_s
            if self._n_silent < _WARM_UP_S * self._device_rate:
                self._n_silent += n
                return bytes(2 * self._n_channels * n), _CONTINUE
            self._clock.tick(now + latency_s, self._n_played / self._device_rate)
            while len(self._ready) < n:
                n_more = max(1, round((n - len(self._ready)) * self._rate / self._device_rate))
                sound = self._line.pull(n_more, self._clock.at(self._n_pulled / self._rate))
                self._n_pulled += n_more
                self._ready = np.concatenate([self._ready, self._resampler.push(sound)])
            block, self._ready = self._ready[:n], self._ready[n:]
            self._n_played += n
        pcm = np.rint(np.clip(block, -1, 1) * 32767).astype(np.int16)
        return np.repeat(pcm[:, None], self._n_channels, axis=1).tobytes(), _CONTINUE

    def hear(self, heard: SoundBlock) -> None:
        """Add sound from the microphone."""
        with self._lock:
            self._line.push(heard.samples, heard.at_s)

    def check(self) -> None:
        """Check that the device still plays.

        Raises:
            DeviceError: If it does not.
        """
        self._device.check(time.monotonic() - self._asked_s, self._silent_s, "has accepted no sound")

    @property
    def state(self) -> SpeakerState:
        """For the status."""
        line = self._line
        return SpeakerState(
            open=True,
            device=self.name,
            skew_ms=round(1000 * line.skew_s, 1),
            starved=line.n_starved,
            jumps=line.n_jumps,
            underruns=self._n_underruns,
            latency_ms=round(1000 * self._latency_s, 1),
        )

    def close(self) -> None:
        """Close the device; takes at most `portaudio.CLOSE_S`."""
        self._device.close()


_OUTPUT_UNDERFLOW = 4  # paOutputUnderflow
_CONTINUE = 0  # paContinue
