"""From what the model says to what the face does: silence, closures, the person's controls, video times."""

from typing import Dict, List, Mapping, Optional

import numpy as np

from ...config import Controls
from ...media import CHANNELS, CLOSURE, QUIET, FloatArray, Motion
from ...model.mel import runs
from ...model.spec import ClosureSpec

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

OLD_WEIGHT = {"blink": 0.0, "gaze_x": 0.0, "gaze_y": 0.0, "jaw": 0.15}
"""How much the frame before counts in smoothing what is still arriving; .3 elsewhere."""
LIDS = ((0.0, 0.1, BLINK_MEANT, 0.6, 1.0), (0.0, 0.1, 0.4, BLINK_DEPTH, 1.0))
"""How deep a sampled blink goes on its way to a depth nobody knows yet; `full_blinks` knows the whole of it."""
MOST_SHUT_S = 0.2
"""A closure of what is still arriving ends after this long even if the model still means it."""


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


class MotionShaper:
    """`shape_motion` for motion that is still arriving: each frame by what came before it, none waits for the next.

    Frames are at the model's own rate and moments. align_offset is not applied here: who plays the sound delays it by
    so much more or less.

    Args:
        closure: When the model means shut lips.
        controls: dynamic_scale, motion_scale and smooth are used.
    """

    def __init__(self, closure: ClosureSpec, controls: Controls) -> None:
        self._closure = closure
        self._controls = controls
        self._last: Optional[Dict[str, float]] = None
        self._shut_for = 0

    def push(self, raw: Motion) -> Motion:
        """The next frames.

        Args:
            raw: The model's motion with its channels `CLOSURE` and `QUIET`, going on from the last.

        Returns:
            As many frames, with all of `media.CHANNELS` within their limits.
        """
        rows = [self._shaped(raw.frame(i), raw.fps) for i in range(len(raw))]
        values = np.array(rows, np.float32).reshape(-1, len(CHANNELS))
        return Motion(tuple(CHANNELS), values, raw.fps, raw.start_s, raw.lead_s)

    def _shaped(self, raw: Mapping[str, float], fps: float) -> List[float]:
        controls = self._controls
        now = {name: raw.get(name, 0.0) for name in CHANNELS}
        now["blink"] = float(np.interp(now["blink"], *LIDS))
        if controls.smooth and self._last is not None:
            for name, value in now.items():
                old = OLD_WEIGHT.get(name, 0.3)
                now[name] = (1 - old) * value + old * self._last[name]
        self._last = dict(now)
        talk = 1 - raw[QUIET]
        shut = talk * float(self._is_shut(raw[CLOSURE], fps))
        for name in LIPS:
            now[name] *= talk
        now["jaw"] *= 1 - shut
        now["close"] = shut
        for name in EXPRESSION:
            now[name] *= controls.dynamic_scale
        for name in HEAD:
            now[name] *= controls.motion_scale
        return [min(max(now[name], low), high) for name, (low, high) in CHANNELS.items()]

    def _is_shut(self, probability: float, fps: float) -> bool:
        """Whether p, b or m shuts the lips now: begins over spec.enter, holds while over spec.leave, as `closures`."""
        begins = self._shut_for == 0 and probability > self._closure.enter
        held = 0 < self._shut_for < 2 * HOLD_S * fps
        goes_on = 0 < self._shut_for < MOST_SHUT_S * fps and probability > self._closure.leave
        if begins or held or goes_on:
            self._shut_for += 1
            return True
        if probability <= self._closure.leave:
            self._shut_for = 0
        return False


def _smoothed(values: FloatArray, side: float) -> FloatArray:
    """A three-frame average of one channel, [n], that gives each neighbour the weight `side`."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    out: FloatArray = (1 - 2 * side) * values + side * (padded[:-2] + padded[2:])
    return out
