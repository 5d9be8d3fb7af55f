"""Makes synthetic mel spectrograms sound like rooms, microphones and people that were not in the corpus.

Works on power spectra in mel bands, a batch at a time, in numpy. Each effect is there because it improved results on
real speech: vocal tracts of other lengths, formants sharper or flatter than the synthesizer's, compression, the
microphone's curve, echo, noise, other people talking, a telephone's low-pass, and bands lost altogether.
"""

import numpy as np
from numpy.typing import NDArray

from sonic_edge.model.mel import MelSettings

FloatArray = NDArray[np.float32]

_N = MelSettings().n_mels
_TOP_HZ = MelSettings().fmax
_BAND = np.arange(_N, dtype=np.float32)
_HEIGHT = (_BAND / (_N - 1))[None, :, None]  # 0 lowest band .. 1 highest
_MEL = np.linspace(0, 2595 * np.log10(1 + _TOP_HZ / 700), _N + 2)[1:-1]
_HZ = 700 * (10 ** (_MEL / 2595) - 1)
_BLUR = np.exp(-(((_BAND[:, None] - _BAND[None]) / 1.9) ** 2))
_BLUR = (_BLUR / _BLUR.sum(1, keepdims=True)).astype(np.float32)


def _warp_matrices(batch: int, rng: np.random.Generator) -> FloatArray:
    """Vocal-tract warp and spectral contrast as one matrix over the bands, [batch, 80, 80]."""
    stretch = np.clip(np.exp(rng.normal(0, 0.11, (batch, 1))), 0.76, 1.32)
    hz = np.minimum(np.minimum(_HZ[None] * stretch, _TOP_HZ - (_TOP_HZ - _HZ[None]) * 0.3), _TOP_HZ - 10)
    source = np.clip((2595 * np.log10(1 + hz / 700) - _MEL[0]) / (_MEL[1] - _MEL[0]), 0, _N - 1)
    warp = np.maximum(1 - np.abs(source[:, :, None] - _BAND), 0)
    contrast = rng.uniform(0, 1.2, (batch, 1, 1))  # 0 blurs the fine structure away, over 1 sharpens it
    matrix: FloatArray = ((contrast * np.eye(_N) + (1 - contrast) * _BLUR) @ warp).astype(np.float32)
    return matrix


def augment(mel: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Change how a batch was spoken and recorded, but not what was said or when.

    Args:
        mel: [batch, 80, n_frames] log10 power.
        rng: Random source of the changes.

    Returns:
        The same shape.
    """
    batch, _, n_frames = mel.shape

    def uniform(low: float, high: float) -> FloatArray:
        return rng.uniform(low, high, (batch, 1, 1)).astype(np.float32)

    def often(share: float) -> NDArray[np.bool_]:
        return rng.random((batch, 1, 1)) < share

    mel = _warp_matrices(batch, rng) @ mel
    middle = mel.mean((1, 2), keepdims=True)
    mel = middle + (mel - middle) * uniform(0.7, 1.2)  # dynamic range
    curve = 0.8 * rng.standard_normal((batch, 1, 1)) * (_HEIGHT - 0.5)  # the microphone: tilt and ripples
    for ripple in (1, 2, 3, 5, 8):
        curve = curve + 0.28 * rng.standard_normal((batch, 1, 1)) * np.cos(np.pi * ripple * _HEIGHT + uniform(0, 6.28))
    curve = curve - 4 * ((uniform(0.5, 1.0) < _HEIGHT) & often(0.25))  # low-pass
    dry = 10 ** (mel + curve).astype(np.float32)

    decay, amount = uniform(0.1, 0.85), uniform(0, 0.35) * often(0.5)
    power = dry.copy()
    for delay in (1, 2, 4, 7, 12):  # echo, in frames of 10 ms
        power[:, :, delay:] += dry[:, :, :-delay] * (amount * decay ** (0.6 * delay) * 1.6)
    level = power.mean((1, 2), keepdims=True)
    colour = 10 ** (
        0.8 * rng.standard_normal((batch, 1, 1)) * (_HEIGHT - 0.7) + 0.15 * rng.standard_normal((batch, _N, 1))
    )
    quieter_db = np.where(often(0.5), uniform(1, 16), uniform(12, 42))
    noise = colour / colour.mean(1, keepdims=True) * level * 10 ** (-quieter_db / 10)
    babble = often(0.35) * level / np.roll(level, 1, 0) * 10 ** (-uniform(3, 30) / 10)
    power = power + noise * rng.standard_exponential((batch, _N, n_frames), np.float32) + np.roll(power, 1, 0) * babble

    out = np.log10(np.maximum(power, 1e-10)) + 0.4 * rng.standard_normal((batch, 1, 1))
    out = out + 0.2 * rng.standard_normal((batch, 1, 1)) * np.linspace(-1, 1, n_frames)  # the level drifts
    first, count = rng.integers(0, _N, (batch, 1, 1)), rng.integers(0, 9, (batch, 1, 1)) * often(0.4)
    lost = (_BAND[None, :, None] >= first) & (_BAND[None, :, None] < first + count)
    out = np.where(lost, out.mean((1, 2), keepdims=True), out)
    made: FloatArray = out.astype(np.float32)
    return made
