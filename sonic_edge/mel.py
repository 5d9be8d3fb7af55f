"""Log-mel spectrogram: what the model hears.

One function for training and for the running product, so that both hear the same. Pure numpy; a streaming
form gives, chunk by chunk, exactly the frames the whole would give.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import List, Tuple, Union

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
AnyFloatArray = Union[NDArray[np.float32], NDArray[np.float16]]

_PIECE = 8192  # mel frames worked on at once, so that memory does not grow with the recording


@dataclass(frozen=True)
class MelSettings:
    """How a model's mel is made; read from its bundle."""

    sample_rate: int = 16000
    """Samples a second, Hz."""
    n_fft: int = 400
    """Length of the Hann window and of the transform, samples."""
    hop: int = 160
    """Samples from one frame to the next."""
    n_mels: int = 80
    """Bands."""
    fmin: float = 0.0
    """Lower edge of the lowest band, Hz."""
    fmax: float = 8000.0
    """Upper edge of the highest band, Hz."""
    floor: float = 1e-10
    """Power under which nothing is heard; log10 of it is the lowest value."""
    speech_db: float = 30.0
    """Frames this far or less under the loud ones (95th percentile) count as speech, dB."""
    clip: Tuple[float, float] = (-3.5, 2.5)
    """Range kept about the mean of the speech frames, log10 power."""
    scale: float = 0.8
    """What the clipped value is divided by."""

    @property
    def frames_per_s(self) -> float:
        """Mel frames a second."""
        return self.sample_rate / self.hop


@lru_cache(maxsize=4)
def filterbank(settings: MelSettings) -> FloatArray:
    """Triangular mel filters of equal area, [n_mels, n_fft // 2 + 1].

    Mel scale 2595 log10(1 + f / 700) (O'Shaughnessy 1987); area normalisation as in Slaney's Auditory Toolbox.
    """
    freqs = np.linspace(0, settings.sample_rate / 2, settings.n_fft // 2 + 1)
    lo, hi = (2595 * np.log10(1 + f / 700) for f in (settings.fmin, settings.fmax))
    edges = 700 * (10 ** (np.linspace(lo, hi, settings.n_mels + 2) / 2595) - 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((freqs - left) / (centre - left), (right - freqs) / (right - centre))
    bank: FloatArray = (np.maximum(triangles, 0) * 2 / (right - left)).astype(np.float32)
    return bank


class MelStream:
    """Mel frames out of samples that arrive in pieces of any length."""

    def __init__(self, settings: MelSettings) -> None:
        self._settings = settings
        self._window = np.hanning(settings.n_fft + 1)[:-1].astype(np.float32)
        # frame i is centred on sample i * hop: the first one looks half a window before the start
        self._pending: FloatArray = np.zeros(settings.n_fft // 2, np.float32)

    def push(self, samples: FloatArray) -> FloatArray:
        """Take samples [n], float -1..1; give the frames that are complete, [n_mels, n_frames], log10 power."""
        s = self._settings
        self._pending = np.concatenate([self._pending, samples])
        n_frames = max(0, (len(self._pending) - s.n_fft) // s.hop + 1)
        if n_frames == 0:
            return np.zeros((s.n_mels, 0), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(self._pending, s.n_fft)[:: s.hop][:n_frames]
        power = np.abs(np.fft.rfft(frames * self._window, axis=1)).astype(np.float32) ** 2
        self._pending = self._pending[n_frames * s.hop :].copy()
        mel: FloatArray = np.log10(np.maximum(power @ filterbank(s).T, s.floor)).T.astype(np.float32)
        return mel

    def finish(self) -> FloatArray:
        """The last frames, as if silence followed."""
        return self.push(np.zeros(self._settings.n_fft // 2, np.float32))


def log_mel(samples: FloatArray, settings: MelSettings) -> FloatArray:
    """Log-mel of a whole recording.

    Args:
        samples: [n], mono, float -1..1, at settings.sample_rate.
        settings: The model's mel settings.

    Returns:
        [n_mels, n // hop + 1] log10 power; frame i is centred on sample i * hop.
    """
    stream = MelStream(settings)
    pieces: List[FloatArray] = []
    step = _PIECE * settings.hop
    for start in range(0, len(samples), step):
        pieces.append(stream.push(samples[start : start + step]))
    return np.concatenate([*pieces, stream.finish()], axis=1)


def loudness(mel: AnyFloatArray) -> FloatArray:
    """Loudness of each mel frame, [n_frames], log10 of the summed power (1.0 is 10 dB)."""
    out = np.empty(mel.shape[1], np.float32)
    for start in range(0, len(out), _PIECE):
        out[start : start + _PIECE] = np.log10((10 ** mel[:, start : start + _PIECE].astype(np.float32)).sum(0) + 1e-10)
    return out


def speech_mean(mel: AnyFloatArray, settings: MelSettings) -> FloatArray:
    """Mean of each band over the frames that are speech, [n_mels]: what `normalise` takes away.

    It removes microphone, room and level, which say nothing about the lips.
    """
    level = loudness(mel)
    speech = level >= np.quantile(level, 0.95) - settings.speech_db / 10
    total = np.zeros(mel.shape[0])
    for start in range(0, len(level), _PIECE):
        piece = mel[:, start : start + _PIECE].astype(np.float32)
        total += piece[:, speech[start : start + _PIECE]].sum(axis=1)
    mean: FloatArray = (total / speech.sum()).astype(np.float32)
    return mean


def normalise(mel: FloatArray, mean: FloatArray, settings: MelSettings) -> FloatArray:
    """What the network is given: mel less the speech mean, clipped and scaled; same shape as `mel`."""
    low, high = settings.clip
    out: FloatArray = np.clip(mel - mean[:, None], low, high) / np.float32(settings.scale)
    return out
