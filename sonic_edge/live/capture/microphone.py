"""The microphone: sound of any device as 16 kHz mono, with the time at which each sample was recorded."""

import threading
import time
from collections import deque
from types import TracebackType
from typing import Deque, List, Optional, Tuple, Type

import numpy as np
from numpy.typing import NDArray

from ...config import MicrophoneSettings
from ...media import FloatArray, SoundBlock
from . import portaudio
from .clock import Clock
from .resample import Resampler


def input_devices() -> List[str]:
    """The microphones of this machine, each with its number: ``0: name (48000 Hz, 2 channels, ALSA)``.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the sound system cannot be reached.
    """
    return portaudio.list_devices("input")


class Microphone:
    """An open microphone.

    A thread of PortAudio puts sound into a buffer, where it waits for `read`. If the buffer is full, the oldest sound
    is dropped and counted. Overruns that PortAudio reports are counted too; it does not report their length, so
    `Heard.start` does not include them, but `Heard.at_s` does.

    Args:
        settings: Which device, and the size of the buffer.
        sample_rate: Of the sound that `read` returns, Hz; the device may have another.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If there is no such device (the message lists those there are) or it cannot be opened.
    """

    def __init__(self, settings: MicrophoneSettings, sample_rate: int = 16000) -> None:
        self._settings = settings
        self._rate = sample_rate
        self._changed = threading.Condition()
        self._blocks: Deque[bytes] = deque()
        self._n_waiting = 0  # this and the next two in samples at the device's rate
        self._n_recorded = 0
        self._n_device_dropped = 0
        self._clock = Clock()
        self._start = 0
        self.n_overruns = 0
        """How often sound was lost."""
        self.n_dropped = 0
        """Samples dropped because the buffer was full, at `sample_rate`."""
        self._device = portaudio.Device(
            "input", settings.device, "microphone.device", sample_rate, settings.block_s, self._on_sound
        )
        self._device_rate, self._n_channels = self._device.rate, self._device.n_channels
        self._mixer = _Mixer(self._n_channels, self._device_rate)
        self._resampler = Resampler(self._device_rate, sample_rate)
        self._silent_s = 0.0  # waited without sound
        self._device.start()

    @property
    def name(self) -> str:
        """The device's name."""
        return self._device.name

    def __enter__(self) -> "Microphone":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _on_sound(self, data: bytes, n: int, _: object, flags: int) -> Tuple[None, int]:
        """PortAudio's callback, in its thread: store the sound and the time of its arrival.

        PortAudio's own time stamps are not used: through ALSA's plug-ins they have been seen 0.7 s off.
        """
        now = time.monotonic()
        with self._changed:
            self._n_recorded += n
            self._clock.tick(now, self._n_recorded / self._device_rate)
            self._blocks.append(data)
            self._n_waiting += n
            is_lost = bool(flags & _INPUT_OVERFLOW)
            while self._n_waiting > self._settings.buffer_s * self._device_rate and len(self._blocks) > 1:
                n_lost = len(self._blocks.popleft()) // (2 * self._n_channels)
                self._n_waiting -= n_lost
                self._n_device_dropped += n_lost
                is_lost = True
            self.n_overruns += is_lost
            self._changed.notify()
        return None, _CONTINUE

    def read(self, timeout_s: float) -> Optional[SoundBlock]:
        """The sound since the last call; None if there is none.

        Args:
            timeout_s: How long to wait for it.

        Raises:
            DeviceError: If the device is gone, or has delivered nothing in `silent_s` of waiting: a working device
                delivers sound all the time, if only silence.
        """
        since = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: bool(self._blocks), timeout_s)
            blocks, self._blocks = list(self._blocks), deque()
            self._n_waiting = 0
            n_recorded, n_device_dropped = self._n_recorded, self._n_device_dropped
            end_s = self._clock.at(n_recorded / self._device_rate) if blocks else 0.0
        # if the wait took longer than its timeout, this process was delayed, and the device is not to blame
        self._silent_s = 0.0 if blocks else self._silent_s + min(timeout_s, time.monotonic() - since)
        if not blocks:
            self._device.check(self._silent_s, self._settings.silent_s, "has delivered nothing")
            return None
        samples_in = np.frombuffer(b"".join(blocks), np.int16).reshape(-1, self._n_channels)
        n_dropped = round(n_device_dropped * self._rate / self._device_rate)
        self._start += n_dropped - self.n_dropped
        self.n_dropped = n_dropped
        samples = self._resampler.push(self._mixer.mix(samples_in))
        start, self._start = self._start, self._start + len(samples)
        return SoundBlock(samples, start, end_s - self._resampler.behind_s)

    def close(self) -> None:
        """Close the device; takes at most `portaudio.CLOSE_S`."""
        self._device.close()


_INPUT_OVERFLOW = 2  # paInputOverflow
_CONTINUE = 0  # paContinue


class _Mixer:
    """Mixes channels to mono, weighted by their recent energy, so that a dead channel does not halve the voice."""

    FORGET_S = 5.0
    """Time constant of the energy's average."""
    FADE_S = 0.01
    """Weights change over this time, to avoid clicks."""

    def __init__(self, n_channels: int, sample_rate: int) -> None:
        self._rate = sample_rate
        self._energy = np.zeros(n_channels)
        self._weights: Optional[NDArray[np.float64]] = None

    def mix(self, channels: NDArray[np.int16]) -> FloatArray:
        """[n, n_channels] 16 bit to [n], -1..1."""
        if channels.shape[1] == 1:
            return channels[:, 0].astype(np.float32) / np.float32(32768)
        samples = channels.astype(np.float32) / np.float32(32768)
        keep = np.exp(-len(channels) / self._rate / self.FORGET_S)
        self._energy = keep * self._energy + np.square(samples, dtype=np.float64).sum(axis=0)
        weights = (self._energy + 1e-12) / (self._energy + 1e-12).sum()
        before = weights if self._weights is None else self._weights
        self._weights = weights
        ramp = np.minimum(1, np.arange(1, len(channels) + 1) / (self.FADE_S * self._rate))[:, None]
        mono: FloatArray = (samples * (before + (weights - before) * ramp)).sum(axis=1, dtype=np.float32)
        return mono
