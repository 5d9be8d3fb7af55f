"""The lip teacher: phoneme times in, lip motion out, with co-articulation.

Each phoneme pulls the lips towards its target with a weight that falls off before and after it; the motion is the
weighted mean (the dominance model of Cohen & Massaro 1993). Lips shut for p, b, m and tuck for f, v multiply the
opening down: those two are goals that speakers do not compromise on (Lofqvist & Gracco 1997).
"""

from typing import List, Tuple

import numpy as np
from numpy.typing import NDArray

from models.phonemes import CONSONANTS, PAUSE, VISEME_OF, VOWELS, Lips, Segment

FloatArray = NDArray[np.float32]

CHANNELS: Tuple[str, ...] = ("jaw", "width", "round", "close", "tuck")
FRAMES_PER_S = 100.0
HOLD_MAX_S = 0.12
"""Longest time a closure is marked as held; a long m relaxes into a light contact."""


def _pause(duration_s: float) -> Lips:
    """Lips in a pause: between words they stay parted, in a real silence they come to rest."""
    if duration_s < 0.08:
        return Lips(0.20, jaw_weight=0.2, shape_weight=0.5)
    return Lips(0.12 if duration_s < 0.35 else 0.03, jaw_weight=0.9, shape_weight=0.5)


def lip_motion(spoken: List[Segment], n_frames: int) -> FloatArray:
    """Lip motion that goes with phonemes.

    Args:
        spoken: The phonemes of a recording.
        n_frames: Frames wanted, at FRAMES_PER_S; frame i is at i / FRAMES_PER_S.

    Returns:
        [n_frames, 5], channels as in CHANNELS.
    """
    time = np.arange(n_frames) / FRAMES_PER_S
    total = np.zeros((n_frames, 3))  # jaw, width, round
    weight = np.full((n_frames, 3), 1e-4)
    close, tuck = np.zeros(n_frames), np.zeros(n_frames)
    for segment in spoken:
        length = segment.end_s - segment.start_s
        reach = 1.0 + 2 * length  # seconds beyond which the weight is nothing
        lo, hi = np.searchsorted(time, (segment.start_s - reach, segment.end_s + reach))
        away = np.abs(time[lo:hi] - (segment.start_s + segment.end_s) / 2)  # from the middle, s
        scale, tau = 1.0, 0.055
        if segment.symbol in VOWELS:
            target = VOWELS[segment.symbol]
            scale = min(1.0, 0.55 + 0.45 * length / 0.16)  # short vowels undershoot (Lindblom 1963)
            outside = np.maximum(away - 0.38 * length, 0)
        elif segment.symbol == PAUSE:
            target, tau = _pause(length), 0.060
            outside = np.maximum(away - 0.5 * length + 0.05, 0)  # speech reaches 50 ms into the pause
        else:
            target, tau = CONSONANTS[segment.symbol], 0.045
            outside = np.maximum(away - 0.38 * length, 0)
            if target.close:
                shut = np.exp(-((np.maximum(away - min(0.35 * length, 0.05), 0) / 0.035) ** 2))
                close[lo:hi] = np.maximum(close[lo:hi], shut)
            if target.tuck:
                tucked = np.exp(-((np.maximum(away - 0.3 * length, 0) / 0.040) ** 2))
                tuck[lo:hi] = np.maximum(tuck[lo:hi], tucked)
        pulls = (
            (target.jaw * scale, target.jaw_weight, tau),
            (target.width, target.shape_weight, 1.5 * tau),  # lip shape moves slower than the jaw
            (target.round, target.shape_weight, 1.5 * tau),
        )
        for channel, (value, strength, spread) in enumerate(pulls):
            pull = strength * np.exp(-outside / spread)
            total[lo:hi, channel] += pull * value
            weight[lo:hi, channel] += pull
    jaw, width, rounding = (total / weight).T
    jaw = jaw * (1 - close) * (1 - 0.75 * tuck)
    return np.stack([jaw, width, rounding, close, tuck], axis=1).astype(np.float32)


def labels(spoken: List[Segment], n_frames: int) -> Tuple[NDArray[np.int8], FloatArray]:
    """What the classifying heads learn.

    Returns:
        Viseme class of each frame [n_frames], and 1 where the lips are held shut [n_frames].
    """
    viseme = np.zeros(n_frames, np.int8)
    held = np.zeros(n_frames, np.float32)
    for segment in spoken:
        first, last = round(segment.start_s * FRAMES_PER_S), round(segment.end_s * FRAMES_PER_S)
        viseme[first:last] = VISEME_OF[segment.symbol]
        if segment.symbol in CONSONANTS and CONSONANTS[segment.symbol].close:
            held[first : min(last, first + round(HOLD_MAX_S * FRAMES_PER_S))] = 1
    return viseme, held
