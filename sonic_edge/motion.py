"""From what the model says to what the face does: silence, closures, the person's controls, video times."""

from typing import List, Tuple

import numpy as np

from .bundle import ClosureSpec
from .config import Controls
from .media import CHANNELS, FloatArray, Motion, Speech
from .mel import loudness

LIPS = ("jaw", "width", "round", "tuck")
"""Channels that rest in silence; close is made here, of the model's closures."""
EXPRESSION = ("jaw", "width", "round", "tuck", "brow")
"""Channels that dynamic_scale scales: pressing lips together harder than shut would mean nothing."""
HEAD = ("yaw", "pitch", "roll", "tx", "ty")
"""Channels that motion_scale scales."""

SIDE_WEIGHT = {"blink": 0.0, "gaze_x": 0.0, "gaze_y": 0.0, "jaw": 0.1}
"""How much each neighbouring frame counts in smoothing; .25 elsewhere. Blinks and glances are quick by nature."""

SILENT_LEVEL = -4.5
"""log10 power of a recording's loud parts under which nobody speaks in it (about -65 dB of full scale)."""
QUIET_DB = 30.0
"""This far under the loud parts nobody speaks."""
QUIET_S = 0.16
"""A pause shorter than this does not shut the mouth: people keep it parted."""
FADE_S = 0.08
"""How long the mouth takes to come to rest."""
BLINK_MEANT = 0.25
"""A movement of the lids this deep is meant as a blink ..."""
BLINK_DEPTH = 0.95
"""... and goes this deep: lids blink or they do not, but a sampled blink comes out shallower than any in training."""
HOLD_S = 0.04
"""A closure lasts at least this long to either side of its middle: two frames at 25 a second."""


def shape_motion(raw: Motion, speech: Speech, closure: ClosureSpec, controls: Controls, n_frames: int) -> Motion:
    """Apply what the recording and the controls ask, at the moments of the video's frames.

    Args:
        raw: The model's motion, with its channel `closure`.
        speech: The recording, for its silences.
        closure: When the model means shut lips.
        controls: dynamic_scale, motion_scale, smooth, align_offset and fps are used.
        n_frames: Frames of the video.

    Returns:
        Motion of n_frames at controls.fps, with all of `media.CHANNELS` within their limits.
    """
    raw_times = raw.start_s + np.arange(len(raw)) / raw.fps
    moments = (np.arange(n_frames) / controls.fps).astype(np.float32)
    # lips lead the sound: at t they show what is said at t + align_offset; the head keeps its own time
    heard = moments + np.float32(controls.align_offset)
    out = {}
    for name in CHANNELS:
        values = full_blinks(raw.channel(name)) if name == "blink" else raw.channel(name)
        if controls.smooth:
            values = _smoothed(values, SIDE_WEIGHT.get(name, 0.25))
        times = heard if name in LIPS else moments
        out[name] = np.interp(times, raw_times, values).astype(np.float32)

    spoken = (heard >= 0) & (heard <= speech.duration_s)
    talk = (1 - quiet(speech, heard)) * spoken.astype(np.float32)
    shut = closures(raw.channel("closure"), raw, closure, heard) * talk
    for name in LIPS:
        out[name] = out[name] * talk
    out["jaw"] = out["jaw"] * (1 - shut)
    out["close"] = shut
    for name in EXPRESSION:
        out[name] = out[name] * controls.dynamic_scale
    for name in HEAD:
        out[name] = out[name] * controls.motion_scale
    stacked = np.stack([np.clip(out[n], *CHANNELS[n]) for n in CHANNELS], axis=1).astype(np.float32)
    return Motion(tuple(CHANNELS), stacked, float(controls.fps))


def quiet(speech: Speech, times: FloatArray) -> FloatArray:
    """1 where nobody speaks, 0 where somebody does, soft between; [len(times)]."""
    level = loudness(speech.mel)
    frame_s = speech.duration_s / max(1, len(level) - 1)
    loud = float(np.quantile(level, 0.95))
    silent = level < loud - QUIET_DB / 10 if loud > SILENT_LEVEL else np.ones(len(level), bool)
    mask = np.zeros(len(level), np.float32)
    for start, end in _runs(silent):
        if (end - start) * frame_s >= QUIET_S or start == 0 or end == len(level):
            mask[start:end] = 1
    width = max(1, round(FADE_S / frame_s)) | 1
    padded = np.pad(mask, width // 2, mode="edge")
    soft = np.convolve(padded, np.full(width, 1 / width), "valid")
    out: FloatArray = np.interp(times, np.arange(len(level)) * frame_s, soft).astype(np.float32)
    return out


def closures(probability: FloatArray, raw: Motion, spec: ClosureSpec, times: FloatArray) -> FloatArray:
    """How far the lips are shut by p, b and m, 0..1, at `times`; [len(times)].

    A closure begins over spec.enter, lasts while over spec.leave, is held long enough to be seen, and opens and shuts
    over one frame of the model. Hysteresis as in Schmitt's trigger. `times` must rise.
    """
    out = np.zeros(len(times), np.float32)
    frame_s = 1 / raw.fps
    for start, end in _runs(probability > spec.leave):
        inside = probability[start:end]
        peak = start + int(inside.argmax())
        if inside.max() <= spec.enter:
            continue
        half = spec.max_frames // 2
        first, last = max(start, peak - half), min(end - 1, peak + half)
        middle = raw.start_s + (first + last) / 2 * frame_s
        hold = max(HOLD_S, (last - first) / 2 * frame_s)
        # only the moments near it, or the cost would grow with the square of the recording
        a, b = np.searchsorted(times, (middle - hold - frame_s, middle + hold + frame_s))
        near = np.clip(1 + (hold - np.abs(times[a:b] - middle)) / frame_s, 0, 1)
        out[a:b] = np.maximum(out[a:b], near)
    return out


def full_blinks(blink: FloatArray) -> FloatArray:
    """The lids, [n], with every blink that was meant brought to its depth; timing and shape stay."""
    out = blink.copy()
    for start, end in _runs(blink > 0.05):
        deepest = float(blink[start:end].max())
        if BLINK_MEANT <= deepest < BLINK_DEPTH:
            out[start:end] *= BLINK_DEPTH / deepest
    return out


def _smoothed(values: FloatArray, side: float) -> FloatArray:
    """A three-frame average of one channel, [n], that gives each neighbour the weight `side`."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    out: FloatArray = (1 - 2 * side) * values + side * (padded[:-2] + padded[2:])
    return out


def _runs(mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> List[Tuple[int, int]]:
    """[(start, end)] of the stretches where mask is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]
