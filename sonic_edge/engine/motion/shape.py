"""Turns the model's raw motion into the final motion: silences, closures, controls, and the video's frame times."""

from typing import Dict, List, Mapping, Optional

import numpy as np

from ...config import Controls
from ...media import CHANNELS, CLOSURE, QUIET, FloatArray, Motion
from ...model.mel import runs
from ...model.spec import ClosureSpec

LIPS = ("jaw", "width", "round", "tuck", "tongue")
"""Channels that rest in silence. The channel close is computed here, from the model's closures."""
EXPRESSION = ("jaw", "width", "round", "tuck", "brow")
"""Channels that dynamic_scale scales; not close, because lips cannot be more than shut."""
HEAD = ("yaw", "pitch", "roll", "tx", "ty")
"""Channels that motion_scale scales."""

SIDE_WEIGHT = {"blink": 0.0, "gaze_x": 0.0, "gaze_y": 0.0, "jaw": 0.1}
"""Weight of each neighbouring frame in smoothing, by channel; .25 for others. Blinks and glances are quick."""

BLINK_MEANT = 0.25
"""A movement of the lids that is at least this deep counts as a blink ..."""
BLINK_DEPTH = 0.95
"""... and is scaled to this depth: real blinks are complete, but sampled ones come out shallower than in training."""
HOLD_S = 0.04
"""A closure lasts at least this long before and after its middle, seconds: two frames at 25 a second."""

OLD_WEIGHT = {"blink": 0.0, "gaze_x": 0.0, "gaze_y": 0.0, "jaw": 0.15}
"""Weight of the previous frame in smoothing live motion, by channel; .3 for others."""
LIDS = ((0.0, 0.1, BLINK_MEANT, 0.6, 1.0), (0.0, 0.1, 0.4, BLINK_DEPTH, 1.0))
"""Curve that deepens blinks in live motion, where the final depth of a blink is not known yet (cf. `full_blinks`)."""
MOST_SHUT_S = 0.2
"""In live motion a closure ends after this long even if the model's probability stays high, seconds."""


def shape_motion(raw: Motion, closure: ClosureSpec, controls: Controls, n_frames: int, duration_s: float) -> Motion:
    """Apply silences, closures and controls, and resample to the video's frames.

    Args:
        raw: The model's motion, with its channels `CLOSURE` and `QUIET`.
        closure: When the model's output means shut lips.
        controls: dynamic_scale, motion_scale, smooth, align_offset and fps are used.
        n_frames: Number of frames in the video.
        duration_s: Length of the recording, seconds: nothing is said outside it.

    Returns:
        n_frames of motion at controls.fps, with all of `media.CHANNELS` within their limits.
    """
    raw_times = raw.start_s + np.arange(len(raw)) / raw.fps
    moments = (np.arange(n_frames) / controls.fps).astype(np.float32)
    # the lips lead the sound, by as much as the control says; the head is not shifted
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

    A closure begins when the probability exceeds spec.enter and lasts while it exceeds spec.leave (hysteresis, as in a
    Schmitt trigger). It is held long enough to be seen; opening and closing take one frame of the model. `times` must
    increase.
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
        # only the times near it, or the cost would grow with the square of the recording's length
        a, b = np.searchsorted(times, (middle - hold - frame_s, middle + hold + frame_s))
        near = np.clip(1 + (hold - np.abs(times[a:b] - middle)) / frame_s, 0, 1)
        out[a:b] = np.maximum(out[a:b], near)
    return out


def full_blinks(blink: FloatArray) -> FloatArray:
    """The blink channel, [n], with every blink scaled to full depth; timing and shape stay the same."""
    out = blink.copy()
    for start, end in runs(blink > 0.05):
        deepest = float(blink[start:end].max())
        if BLINK_MEANT <= deepest < BLINK_DEPTH:
            out[start:end] *= BLINK_DEPTH / deepest
    return out


class MotionShaper:
    """`shape_motion` for live motion: each frame depends only on earlier ones, so that none waits for the next.

    Frames stay at the model's own rate and times. align_offset is not applied here: the playback of the sound is
    delayed accordingly.

    Args:
        closure: When the model's output means shut lips.
        controls: dynamic_scale, motion_scale and smooth are used.
    """

    def __init__(self, closure: ClosureSpec, controls: Controls) -> None:
        self._closure = closure
        self._controls = controls
        self._last: Optional[Dict[str, float]] = None
        self._shut_for = 0

    def push(self, raw: Motion) -> Motion:
        """Shape the next frames.

        Args:
            raw: The model's motion with its channels `CLOSURE` and `QUIET`, continuing from the previous call.

        Returns:
            The same number of frames, with all of `media.CHANNELS` within their limits.
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
        """Whether p, b or m shuts the lips now, with the hysteresis of `closures`."""
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
    """A three-frame weighted average of one channel, [n], with the weight `side` for each neighbour."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    out: FloatArray = (1 - 2 * side) * values + side * (padded[:-2] + padded[2:])
    return out
