"""The microphone: one device, whatever rate it has, as 16 kHz mono with the moment each sample was heard at."""

import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Deque, List, Mapping, Optional, Tuple, Type

import av
import numpy as np

from ..config import MicrophoneSettings
from ..errors import DeviceError
from ..media import FloatArray, Heard
from . import portaudio
from .portaudio import CLOSE_S, choose, connect, in_words, within

_CREEP_S = 2e-4
"""How fast the clock follows sound that comes later than it used to: so much for each second."""


def input_devices() -> List[str]:
    """The microphones there are, in words, each with its number.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the sound system cannot be reached.
    """
    host = connect()
    try:
        return in_words(host, "input")
    finally:
        within(CLOSE_S, host.terminate, "the sound system")


class Microphone:
    """An open microphone; closed it hears nothing.

    Sound comes in a thread of PortAudio's and waits in a ring for `read`. What does not fit there any more is dropped,
    oldest first, and counted, as is what PortAudio itself lost.

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
        self._blocks: Deque[Tuple[bytes, float]] = deque()
        self._n_waiting = 0  # samples of the device's own
        self._gap = 0  # samples of the device's own, lost before the next block
        self._last_s = time.monotonic()
        self._start = 0
        self._offset_s: Optional[float] = None  # of the clock: moment of sample 0
        self._n_own = 0  # samples of the device's own up to now
        self.n_overruns = 0
        """How often sound was lost."""
        self._host = connect()
        try:
            info = choose(self._host, "input", settings.device, "microphone.device")
            self.name: str = info["name"]
            self._stream = self._open(info)
        except BaseException:
            within(CLOSE_S, self._host.terminate, "the sound system")
            raise
        self._resampler = _Resampler(self._own_rate, self._n_channels, sample_rate)

    def __enter__(self) -> "Microphone":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _open(self, info: Mapping[str, Any]) -> Any:
        pyaudio = portaudio.load()
        error: Optional[Exception] = None
        for rate, channels in portaudio.formats(self._host, dict(info), "input", self._rate):
            self._own_rate, self._n_channels = rate, channels
            try:
                return self._host.open(
                    rate=rate,
                    channels=channels,
                    format=pyaudio.paInt16,
                    input=True,
                    input_device_index=info["index"],
                    frames_per_buffer=max(1, round(self._settings.block_s * rate)),
                    stream_callback=self._take,
                )
            except OSError as e:
                error = e
        words = error or "it takes no 16-bit sound"
        raise DeviceError(f"microphone.device = {self._settings.device!r}: {self.name} cannot be opened: {words}")

    def _take(self, data: bytes, n: int, moments: Mapping[str, float], flags: int) -> Tuple[None, int]:
        """PortAudio's thread: note sound and when it came; its own moments are not to be trusted (ALSA plug-ins)."""
        now = time.monotonic()
        with self._arrived:
            if flags & _INPUT_OVERFLOW:
                self.n_overruns += 1
            self._blocks.append((data, now))
            self._n_waiting += n
            if self._n_waiting > self._settings.buffer_s * self._own_rate:
                self.n_overruns += 1
                lost = len(self._blocks.popleft()[0]) // (2 * self._n_channels)
                self._n_waiting -= lost
                self._gap += lost
            self._last_s = now
            self._arrived.notify()
        return None, _CONTINUE

    def read(self, timeout_s: float) -> Optional[Heard]:
        """What has been heard since the last time; None if nothing has.

        Args:
            timeout_s: How long to wait for it.

        Raises:
            DeviceError: If nothing has come for `silent_s`: a device that is there delivers silence too.
        """
        with self._arrived:
            if not self._blocks:
                self._arrived.wait(timeout_s)
            blocks, self._blocks = list(self._blocks), deque()
            gap, self._gap = self._gap, 0
            self._n_waiting = 0
            silent_s = time.monotonic() - self._last_s
        if not blocks:
            if silent_s > self._settings.silent_s:
                raise DeviceError(f"microphone.device: {self.name} has delivered nothing for {silent_s:.1f} s")
            return None
        data = b"".join(block for block, _ in blocks)
        own = np.frombuffer(data, np.int16).reshape(-1, self._n_channels)
        self._n_own += gap + len(own)
        end_s = self._moment(blocks[-1][1])
        if gap:
            self._start = round(self._n_own * self._rate / self._own_rate) - len(own) * self._rate // self._own_rate
        samples = self._resampler.push(own)
        start, self._start = self._start, self._start + len(samples)
        return Heard(samples, start, end_s - self._resampler.delay_s)

    def _moment(self, arrived_s: float) -> float:
        """When the last sample up to now was heard: blocks may come late, never early."""
        offset_s = arrived_s - self._n_own / self._own_rate
        if self._offset_s is None or offset_s < self._offset_s or offset_s > self._offset_s + 0.5:
            self._offset_s = offset_s
        else:
            self._offset_s = min(offset_s, self._offset_s + _CREEP_S * self._settings.block_s)
        return self._offset_s + self._n_own / self._own_rate

    def close(self) -> None:
        """Let go of the device."""
        stream, host = self._stream, self._host

        def shut() -> None:
            stream.close()
            host.terminate()

        within(CLOSE_S, shut, self.name)


_INPUT_OVERFLOW = 2  # paInputOverflow
_CONTINUE = 0  # paContinue


class _Resampler:
    """Blocks of a device, [n, channels] 16 bit, to mono floats at another rate, without seams."""

    def __init__(self, own_rate: int, n_channels: int, rate: int) -> None:
        self._n_channels = n_channels
        self._own_rate = own_rate
        self._resampler: Optional[Any] = None
        self.delay_s = 0.0
        """By how much what comes out is behind what goes in, seconds."""
        if own_rate != rate:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            self._n_in = self._n_out = 0
            self._rate = rate

    def push(self, own: "np.ndarray[Any, np.dtype[np.int16]]") -> FloatArray:
        mono = _mono(own)
        if self._resampler is None:
            return mono
        frame = av.AudioFrame.from_ndarray(mono[None], format="flt", layout="mono")
        frame.sample_rate = self._own_rate
        made = [out.to_ndarray()[0] for out in self._resampler.resample(frame)]
        samples: FloatArray = np.concatenate(made) if made else np.zeros(0, np.float32)
        self._n_in += len(mono)
        self._n_out += len(samples)
        self.delay_s = max(0.0, self._n_in / self._own_rate - self._n_out / self._rate)
        return samples


def _mono(own: "np.ndarray[Any, np.dtype[np.int16]]") -> FloatArray:
    """The mean of the channels that carry something: one that is dead must not halve the voice."""
    if own.shape[1] == 1:
        return own[:, 0].astype(np.float32) / np.float32(32768)
    alive = np.abs(own.astype(np.int32)).max(axis=0, initial=0) > 0
    chosen = own[:, alive] if alive.any() else own[:, :1]
    mono: FloatArray = chosen.mean(axis=1, dtype=np.float32) / np.float32(32768)
    return mono
