"""From what the model says to what the face does: silence, closures, the person's controls, video times."""

import numpy as np

from .bundle import ClosureSpec
from .config import Controls
from .media import CHANNELS, CLOSURE, QUIET, FloatArray, Motion
from .mel import runs

LIPS = ("jaw", "width", "round", "tuck", "tongue")
"""Channels that rest in silence; close is made here, of the model's closures."""
EXPRESSION = ("jaw", "width", "round", "tuck", "brow")
"""Channels that dynamic_scale scales: pressing lips together harder than shut would mean nothing."""
HEAD = ("yaw", "pitch", "roll", "tx", "ty")
"""Channels that motion_scale scales."""

SIDE_WEIGHT = {"blink": 0.0, "gaze_x": 0.0, "gaze_y": 0.0, "jaw": 0.1}
"""How much each neighbouring frame counts in smoothing; .25 elsewhere. Blinks and glances are quick by nature."""

BLINK_MEANT = 0.25
"""A movement of the lids this deep is meant as a blink ..."""
BLINK_DEPTH = 0.95
"""... and goes this deep: lids blink or they do not, but a sampled blink comes out shallower than any in training."""
HOLD_S = 0.04
"""A closure lasts at least this long to either side of its middle: two frames at 25 a second."""


def shape_motion(raw: Motion, closure: ClosureSpec, controls: Controls, n_frames: int, duration_s: float) -> Motion:
    """Apply what the recording and the controls ask, at the moments of the video's frames.

    Args:
        raw: The model's motion, with its channels `CLOSURE` and `QUIET`.
        closure: When the model means shut lips.
        controls: dynamic_scale, motion_scale, smooth, align_offset and fps are used.
        n_frames: Frames of the video.
        duration_s: Length of the recording: nothing is said outside it.

    Returns:
        Motion of n_frames at controls.fps, with all of `media.CHANNELS` within their limits.
    """
    raw_times = raw.start_s + np.arange(len(raw)) / raw.fps
    moments = (np.arange(n_frames) / controls.fps).astype(np.float32)
    # the model's lips lead the sound as speakers' do; the control says by how much; the head keeps its own time
    heard = moments + np.float32(controls.align_offset - raw.lead_s)
    out = {}
    for name in CHANNELS:
        values = full_blinks(raw.channel(name)) if name == "blink" else raw.channel(name)
        if controls.smooth:
            values = _smoothed(values, SIDE_WEIGHT.get(name, 0.25))
        times = heard if name in LIPS else moments
        out[name] = np.interp(times, raw_times, values).astype(np.float32)

    spoken = (heard >= 0) & (heard <= duration_s)
    talk = (1 - np.interp(heard, raw_times, raw.channel(QUIET)).astype(np.float32)) * spoken.astype(np.float32)
    shut = closures(raw.channel(CLOSURE), raw, closure, heard) * talk
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


def closures(probability: FloatArray, raw: Motion, spec: ClosureSpec, times: FloatArray) -> FloatArray:
    """How far the lips are shut by p, b and m, 0..1, at `times`; [len(times)].

    A closure begins over spec.enter, lasts while over spec.leave, is held long enough to be seen, and opens and shuts
    over one frame of the model. Hysteresis as in Schmitt's trigger. `times` must rise.
    """
    out = np.zeros(len(times), np.float32)
    frame_s = 1 / raw.fps
    for start, end in runs(probability > spec.leave):
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
    for start, end in runs(blink > 0.05):
        deepest = float(blink[start:end].max())
        if BLINK_MEANT <= deepest < BLINK_DEPTH:
            out[start:end] *= BLINK_DEPTH / deepest
    return out


def _smoothed(values: FloatArray, side: float) -> FloatArray:
    """A three-frame average of one channel, [n], that gives each neighbour the weight `side`."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    out: FloatArray = (1 - 2 * side) * values + side * (padded[:-2] + padded[2:])
    return out
