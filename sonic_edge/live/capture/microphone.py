"""The microphone: one device, whatever rate it has, as 16 kHz mono with the moment each sample was heard at."""

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
    """The microphones there are, in words, each with its number: ``0: name (48000 Hz, 2 channels, ALSA)``.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the sound system cannot be reached.
    """
    return portaudio.listed("input")


class Microphone:
    """An open microphone; closed it hears nothing.

    Sound comes in a thread of PortAudio's and waits in a ring for `read`. What does not fit there any more is dropped,
    oldest first, and counted. What PortAudio itself says it lost is counted too; how much that was it does not say, so
    `start` leaves it out, but `at_s` tells.

    Args:
        settings: Which device, and how much may wait.
        sample_rate: What `read` gives, Hz; the device may have another.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the device is not there or cannot be opened; it names those there are.
    """

    def __init__(self, settings: MicrophoneSettings, sample_rate: int = 16000) -> None:
        self._settings = settings
        self._rate = sample_rate
        self._arrived = threading.Condition()
        self._blocks: Deque[bytes] = deque()
        self._n_waiting = 0  # this and the next two in the device's own samples
        self._n_own = 0
        self._n_own_dropped = 0
        self._clock = Clock()
        self._start = 0
        self.n_overruns = 0
        """How often sound was lost."""
        self.n_dropped = 0
        """Samples lost to a full ring, at `sample_rate`."""
        self._device = portaudio.Device(
            "input", settings.device, "microphone.device", sample_rate, settings.block_s, self._take
        )
        self._own_rate, self._n_channels = self._device.rate, self._device.n_channels
        self._mixer = _Mixer(self._n_channels, self._own_rate)
        self._resampler = Resampler(self._own_rate, sample_rate)
        self._silent_s = 0.0  # waited for in vain
        self._device.start()

    @property
    def name(self) -> str:
        """Of the device."""
        return self._device.name

    def __enter__(self) -> "Microphone":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _take(self, data: bytes, n: int, _: object, flags: int) -> Tuple[None, int]:
        """PortAudio's thread: note the sound and when it came.

        The moments PortAudio gives are not used: through ALSA's plug-ins they have been seen 0.7 s off.
        """
        now = time.monotonic()
        with self._arrived:
            self._n_own += n
            self._clock.tick(now, self._n_own / self._own_rate)
            self._blocks.append(data)
            self._n_waiting += n
            lost = bool(flags & _INPUT_OVERFLOW)
            while self._n_waiting > self._settings.buffer_s * self._own_rate and len(self._blocks) > 1:
                n_lost = len(self._blocks.popleft()) // (2 * self._n_channels)
                self._n_waiting -= n_lost
                self._n_own_dropped += n_lost
                lost = True
            self.n_overruns += lost
            self._arrived.notify()
        return None, _CONTINUE

    def read(self, timeout_s: float) -> Optional[SoundBlock]:
        """What has been heard since the last time; None if nothing has.

        Args:
            timeout_s: How long to wait for it.

        Raises:
            DeviceError: If the device is gone, or nothing has come in `silent_s` of waiting: one that is there delivers
                silence too.
        """
        since = time.monotonic()
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._blocks), timeout_s)
            blocks, self._blocks = list(self._blocks), deque()
            self._n_waiting = 0
            n_own, n_own_dropped = self._n_own, self._n_own_dropped
            end_s = self._clock.at(n_own / self._own_rate) if blocks else 0.0
        # a wait that took longer than it should is ours: we were held up
        self._silent_s = 0.0 if blocks else self._silent_s + min(timeout_s, time.monotonic() - since)
        if not blocks:
            self._device.check(self._silent_s, self._settings.silent_s, "has delivered nothing")
            return None
        own = np.frombuffer(b"".join(blocks), np.int16).reshape(-1, self._n_channels)
        n_dropped = round(n_own_dropped * self._rate / self._own_rate)
        self._start += n_dropped - self.n_dropped
        self.n_dropped = n_dropped
        samples = self._resampler.push(self._mixer.mixed(own))
        start, self._start = self._start, self._start + len(samples)
        return SoundBlock(samples, start, end_s - self._resampler.behind_s)

    def close(self) -> None:
        """Let go of the device; takes at most `portaudio.CLOSE_S`."""
        self._device.close()


_INPUT_OVERFLOW = 2  # paInputOverflow
_CONTINUE = 0  # paContinue


class _Mixer:
    """Channels to one: each counts as much as it has carried lately, so that a dead one does not halve the voice."""

    FORGET_S = 5.0
    FADE_S = 0.01
    """A change of the weights takes this long, so that it does not click."""

    def __init__(self, n_channels: int, sample_rate: int) -> None:
        self._rate = sample_rate
        self._energy = np.zeros(n_channels)
        self._weights: Optional[NDArray[np.float64]] = None

    def mixed(self, own: NDArray[np.int16]) -> FloatArray:
        """[n, n_channels] 16 bit to [n], -1..1."""
        if own.shape[1] == 1:
            return own[:, 0].astype(np.float32) / np.float32(32768)
        samples = own.astype(np.float32) / np.float32(32768)
        keep = np.exp(-len(own) / self._rate / self.FORGET_S)
        self._energy = keep * self._energy + np.square(samples, dtype=np.float64).sum(axis=0)
        weights = (self._energy + 1e-12) / (self._energy + 1e-12).sum()
        before = weights if self._weights is None else self._weights
        self._weights = weights
        ramp = np.minimum(1, np.arange(1, len(own) + 1) / (self.FADE_S * self._rate))[:, None]
        mono: FloatArray = (samples * (before + (weights - before) * ramp)).sum(axis=1, dtype=np.float32)
        return mono
