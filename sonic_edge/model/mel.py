"""The log-mel spectrogram that models are given, and which parts of the sound are speech.

Training and the product share this code, so that both compute the same. Pure numpy. For each computation on a whole
recording (frames, their mean, silences) there is a streaming one for sound that is still arriving.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import List, Tuple, Union

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
AnyFloatArray = Union[NDArray[np.float32], NDArray[np.float16]]

_PIECE = 8192  # mel frames processed at once, so that memory does not grow with the recording
_BLOCK = 16  # frames transformed at once: more would overflow the cache and wake BLAS's threads for little gain

SILENT_LEVEL = -4.5
"""If the loud parts are below this log10 power (about -65 dBFS), nobody speaks."""
QUIET_S = 0.16
"""A shorter pause does not shut the mouth: people keep their lips parted, seconds."""
NOISE_MEAN_S = 0.16
"""Noise is steady over this time, speech is not, seconds."""
NOISE_LEAST = 0.01
"""If a smaller share of a recording than this is silent, noise fills its pauses."""
NOISE_SHARE, NOISE_DB, NOISE_UNDER_DB = 0.05, 2.0, 8.0
"""The noise floor is this quantile of a recording's level. A frame less than NOISE_DB above the floor is a pause, if it
is also at least NOISE_UNDER_DB below the loud parts. Tuned on real speech with noise at 5 dB SNR
(`models.aligned --noise-db`), in which the mouth otherwise never came to rest."""
FADE_S = 0.08
"""Time in which the mouth comes to rest, seconds."""


@dataclass(frozen=True)
class MelSettings:
    """How a model's mel spectrogram is computed; read from its bundle."""

    sample_rate: int = 16000
    """Samples a second, Hz."""
    n_fft: int = 400
    """Length of the Hann window and of the FFT, samples."""
    hop: int = 160
    """Samples from one frame to the next."""
    n_mels: int = 80
    """Number of bands."""
    fmin: float = 0.0
    """Lower edge of the lowest band, Hz."""
    fmax: float = 8000.0
    """Upper edge of the highest band, Hz."""
    floor: float = 1e-10
    """Smallest power; its log10 is the lowest value."""
    speech_db: float = 30.0
    """Frames at most this far below the loud ones (95th percentile) count as speech, dB."""
    clip: Tuple[float, float] = (-3.5, 2.5)
    """Range kept around the mean of the speech frames, log10 power."""
    scale: float = 0.8
    """The clipped value is divided by this."""
    bands: str = "htk"
    """Mel scale: `htk` or `slaney`, see `filterbank`."""
    summed: str = "power"
    """What a band sums: `power`, or `magnitude`; the squared sum of magnitudes is then its power."""
    preemphasis: float = 0.0
    """Share of the previous sample that is subtracted from each sample first; 0: none."""
    normalise: str = "speech"
    """What the network is given: `speech`, clipped around the mean of the speech frames; `range`, clipped without
    centring, minus the middle of the range."""

    @property
    def frames_per_s(self) -> float:
        """Mel frames a second."""
        return self.sample_rate / self.hop


VAD_MEL = MelSettings()
"""Mel for voice activity detection where the model's own does not suit it: the levels above refer to these settings."""


@lru_cache(maxsize=4)
def filterbank(settings: MelSettings) -> FloatArray:
    """Triangular mel filters of equal area, [n_mels, n_fft // 2 + 1].

    The mel scale `htk` is 2595 log10(1 + f / 700) (O'Shaughnessy 1987); `slaney`, librosa's default, is linear up to
    1 kHz and logarithmic above. Area normalisation as in Slaney's Auditory Toolbox.
    """
    freqs = np.linspace(0, settings.sample_rate / 2, settings.n_fft // 2 + 1)
    if settings.bands == "slaney":
        lo, hi = (_slaney(f) for f in (settings.fmin, settings.fmax))
        mels = np.linspace(lo, hi, settings.n_mels + 2)
        edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * math.log(6.4) / 27))
    else:
        lo, hi = (2595 * np.log10(1 + f / 700) for f in (settings.fmin, settings.fmax))
        edges = 700 * (10 ** (np.linspace(lo, hi, settings.n_mels + 2) / 2595) - 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((freqs - left) / (centre - left), (right - freqs) / (right - centre))
    bank: FloatArray = (np.maximum(triangles, 0) * 2 / (right - left)).astype(np.float32)
    return bank


def _slaney(hz: float) -> float:
    """Mels in Slaney's Auditory Toolbox: 15 up to 1 kHz, then 27 for each factor of 6.4."""
    return hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) * 27 / math.log(6.4)


class MelStream:
    """Mel frames from samples that arrive in pieces of any length.

    Args:
        settings: The model's mel settings.
        at_once: Frames are returned in multiples of this number, except at the end.
    """

    def __init__(self, settings: MelSettings, at_once: int = 1) -> None:
        self._settings = settings
        self._at_once = at_once
        # Double precision: in single precision the last bit of a sum depends on the processor and on how many frames
        # are computed at once, and INT8 quantisation can turn that into a visible step in the motion.
        self._window = np.hanning(settings.n_fft + 1)[:-1]
        self._bands = filterbank(settings).T.astype(np.float64)
        # frame i is centred on sample i * hop: the first one begins half a window before the start
        self._pending: FloatArray = np.zeros(settings.n_fft // 2, np.float32)
        self._before: FloatArray = np.zeros(1, np.float32)  # the previous sample

    def push(self, samples: FloatArray) -> FloatArray:
        """Add samples [n], float -1..1; returns the frames that are complete, [n_mels, n_frames], log10 power."""
        if self._settings.preemphasis:
            joined = np.concatenate([self._before, samples])
            self._before = joined[-1:].copy()
            samples = joined[1:] - np.float32(self._settings.preemphasis) * joined[:-1]
        return self._transformed(samples, self._at_once)

    def _transformed(self, samples: FloatArray, at_once: int) -> FloatArray:
        s = self._settings
        self._pending = np.concatenate([self._pending, samples])
        n_frames = max(0, (len(self._pending) - s.n_fft) // s.hop + 1) // at_once * at_once
        if n_frames == 0:
            return np.zeros((s.n_mels, 0), np.float32)
        step = self._pending.itemsize
        frames = np.lib.stride_tricks.as_strided(
            self._pending, (n_frames, s.n_fft), (s.hop * step, step), writeable=False
        )
        mel = np.empty((s.n_mels, n_frames), np.float32)
        for i in range(0, n_frames, _BLOCK):
            size = np.abs(np.fft.rfft(frames[i : i + _BLOCK] * self._window, axis=1))
            power = size**2 @ self._bands if s.summed == "power" else (size @ self._bands) ** 2
            mel[:, i : i + _BLOCK] = np.log10(np.maximum(power, s.floor)).T
        self._pending = self._pending[n_frames * s.hop :].copy()
        return mel

    def finish(self) -> FloatArray:
        """The last frames, as if silence followed."""
        return self._transformed(np.zeros(self._settings.n_fft // 2, np.float32), 1)


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


def loud_level(level: FloatArray) -> float:
    """Level of a recording's loud parts: the 95th percentile of its frames' `loudness`, log10 power."""
    return float(np.quantile(level, 0.95))


def cut(mel: AnyFloatArray, first: int, length: int, settings: MelSettings) -> FloatArray:
    """Mel frames from `first` on, [n_mels, length]; padded with silence before and after the sound."""
    a, b = max(0, first), min(mel.shape[1], first + length)
    piece: FloatArray = np.full((len(mel), length), np.log10(settings.floor), np.float32)
    if b > a:
        piece[:, a - first : b - first] = mel[:, a:b]
    return piece


def speech_mean(mel: AnyFloatArray, settings: MelSettings) -> FloatArray:
    """Mean of each band over the speech frames, [n_mels]: what `normalise` subtracts.

    This removes the effect of microphone, room and level, which say nothing about the lips.
    """
    level = loudness(mel)
    speech = level >= loud_level(level) - settings.speech_db / 10
    total = np.zeros(mel.shape[0])
    for start in range(0, len(level), _PIECE):
        piece = mel[:, start : start + _PIECE].astype(np.float32)
        total += piece[:, speech[start : start + _PIECE]].sum(axis=1)
    mean: FloatArray = (total / speech.sum()).astype(np.float32)
    return mean


def normalise(mel: FloatArray, mean: FloatArray, settings: MelSettings) -> FloatArray:
    """The network's input: mel minus the speech mean, clipped and scaled; same shape as `mel`.

    If `settings.normalise` is `range`, the mean is not used.
    """
    low, high = settings.clip
    if settings.normalise == "range":
        ranged: FloatArray = (np.clip(mel, low, high) - np.float32((low + high) / 2)) / np.float32(settings.scale)
        return ranged
    out: FloatArray = np.clip(mel - mean[:, None], low, high) / np.float32(settings.scale)
    return out


def speech_shape(mel: AnyFloatArray, settings: MelSettings) -> FloatArray:
    """`speech_mean` minus the level of the loud parts, [n_mels]. Its mean over a corpus is `SpeechTracker`'s prior."""
    shape: FloatArray = speech_mean(mel, settings) - np.float32(loud_level(loudness(mel)))
    return shape


def quiet(mel: AnyFloatArray, settings: MelSettings) -> FloatArray:
    """For a whole recording: 1 where nobody speaks, 0 where somebody does, with soft transitions; [n_frames]."""
    level = loudness(mel)
    loud = loud_level(level)
    if loud <= SILENT_LEVEL:
        return rests(np.ones(len(level), np.bool_), settings, ended=True)
    limit = loud - settings.speech_db / 10
    if float(np.quantile(level, NOISE_LEAST)) < limit:
        return rests(level < limit, settings, ended=True)
    # noise fills the pauses: a pause is where nothing rises above the noise floor for a while
    half = max(1, round(NOISE_MEAN_S / 2 * settings.frames_per_s))
    steady = _moving_mean(level, 2 * half + 1)
    floor = float(np.quantile(steady, NOISE_SHARE))
    return rests(steady < min(floor + NOISE_DB / 10, loud - NOISE_UNDER_DB / 10), settings, ended=True)


def rests(silent: BoolArray, settings: MelSettings, ended: bool) -> FloatArray:
    """The pauses long enough to shut the mouth, with soft transitions.

    Args:
        silent: [n_frames], true where nothing is said.
        settings: For the frame rate.
        ended: Whether the sound ends here. If not, a silence at the end counts only once it has lasted long enough.

    Returns:
        [n_frames], 0..1.
    """
    mask = np.zeros(len(silent), np.float32)
    for start, end in runs(silent):
        if end - start >= QUIET_S * settings.frames_per_s or start == 0 or (ended and end == len(silent)):
            mask[start:end] = 1
    width = max(1, round(FADE_S * settings.frames_per_s)) | 1
    return _moving_mean(mask, width).astype(np.float32)


def _moving_mean(values: FloatArray, width: int) -> NDArray[np.float64]:
    """Mean over an odd number of frames around each, the ends repeated, [n] to [n]."""
    half = width // 2
    padded = np.concatenate([np.repeat(values[:1], half), values, np.repeat(values[-1:], half)])  # faster than np.pad
    out: NDArray[np.float64] = np.convolve(padded, np.full(width, 1 / width), "valid")
    return out


def runs(mask: BoolArray) -> List[Tuple[int, int]]:
    """[(start, end)] of the stretches where mask is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


class SpeechTracker:
    """`speech_mean`, and which frames are silent, for sound that is still arriving.

    The level follows the loudest frame up at once and falls slowly. A frame close enough below it is speech, unless no
    frame has stood out from the noise for a while. The noise level does the opposite: down at once, up slowly. The mean
    is a slow moving average over speech only, so that a silence of any length leaves it unchanged; it starts from the
    mean of the training speech.

    Args:
        settings: The model's mel settings.
        prior: [n_mels], mean `speech_shape` of the training speech.
    """

    START = -1.0
    """Level before the first word, log10 power: that of softly recorded speech. If it were lower, room noise would pass
    for speech."""
    FALL_DB = 1.5
    """How fast the level falls, dB per second."""
    RISE_DB = 6.0
    """How fast the noise level rises, dB per second; speech has gaps often enough to pull it back."""
    NOISE_DB = 6.0
    """A frame must be louder than the noise by this much to stand out from it, dB ..."""
    NOISE_S = 0.5
    """... and after this long without such a frame, nobody speaks, seconds."""
    FORGET_S = 4.0
    """Time constant of the mean, seconds of speech."""
    PRIOR_S = 0.75
    """Weight of the prior, seconds of speech."""

    def __init__(self, settings: MelSettings, prior: FloatArray) -> None:
        self._settings = settings
        self._prior = prior.astype(np.float64)
        self._level = self._spoken = self.START  # current level; level when somebody last spoke
        self._noise = math.inf  # set by the first frame
        self._still = math.inf  # frames since one stood out
        self._sum = np.zeros(settings.n_mels)
        self._weight = 0.0  # frames in the sum

    def push(self, mel: FloatArray) -> BoolArray:
        """Add frames [n_mels, n], log10 power; returns which of them are silent, [n]."""
        rate, near = self._settings.frames_per_s, self._settings.speech_db / 10
        keep = 1 - 1 / (self.FORGET_S * rate)
        silent = np.ones(mel.shape[1], np.bool_)
        for i, now in enumerate(loudness(mel).tolist()):
            self._level = max(self._level - self.FALL_DB / 10 / rate, now, SILENT_LEVEL)
            # noise too soft to pass for speech does not matter, and rising again from there would take long
            lowest = self._level - near - self.NOISE_DB / 10
            self._noise = max(min(self._noise + self.RISE_DB / 10 / rate, now), lowest)
            soft = self._level <= SILENT_LEVEL or now < self._level - near
            stands_out = not soft and now > self._noise + self.NOISE_DB / 10
            self._still = 0 if stands_out else self._still + 1
            silent[i] = soft or self._still > self.NOISE_S * rate
            if not silent[i]:
                self._spoken = self._level
                self._sum = self._sum * keep + mel[:, i]
                self._weight = self._weight * keep + 1
        return silent

    @property
    def mean(self) -> FloatArray:
        """Mean of each band over the speech so far, [n_mels]: what `normalise` subtracts."""
        count = self.PRIOR_S * self._settings.frames_per_s
        mean = (self._sum + (self._prior + self._spoken) * count) / (self._weight + count)
        out: FloatArray = mean.astype(np.float32)
        return out
