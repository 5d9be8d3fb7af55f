"""The teacher for what speech does not determine: blinks, gaze, brows and head, from published statistics.

No head-motion corpus has a licence that would let its motion be shipped, so the teacher is a random process whose
parameters come from the literature; the network learns to sample it given the speech and the face. Each rule names its
source where it is made. Of the speech it uses only loudness: stress, phrases and pauses. (Pitch would be
useful, but a mel of 25 ms windows does not give it for low voices.)

Every channel starts at the portrait's own pose, 0, and keeps coming back to it. A portrait that is not frontal and
wide-eyed changes the motion:

- A head turned by `yaw` or `pitch` drifts back towards the viewer by TURN_BACK of that angle (at most TURN_BACK_MOST),
  and its other turning is smaller, down to 40 % for half a radian: a renderer that warps one photo shows a face
  best near its own pose, and turned further away it would leave the viewer.
- Eyes that are shut in the portrait (`eye_opening` under BLINK_OPENING's first figure) neither blink nor glance; narrow
  ones (up to the second) do so less. A blink that does come is always a whole one.
"""

from typing import Tuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from sonic_edge import media

FloatArray = NDArray[np.float64]

CHANNELS: Tuple[str, ...] = ("blink", "brow", "gaze_x", "gaze_y", "yaw", "pitch", "roll", "tx", "ty")
FACE: Tuple[str, ...] = ("mouth_opening", "mouth_width", "teeth", "lips", "eye_opening", "yaw", "pitch")
"""The portrait's rest state as the network's face branch estimates it, in this order."""
FPS = 25.0
RISE_S, SETTLE_S = 0.6, 1.2
"""How long it takes to leave the portrait's pose at the start of a clip, and to turn back towards the viewer."""
GAZE_RADIANS = np.pi / 6
"""Eye rotation of one unit of gaze: a pupil an eye radius off has turned about 30 degrees."""
TURN_BACK, TURN_BACK_MOST = 0.35, 0.14
"""Share of the portrait's yaw or pitch that the head turns back, and the most it does, radians."""
BLINK_OPENING = (0.03, 0.08)
"""Eye opening of the portrait, in interocular distances, up to which eyes stay shut and from which they are awake."""

# head: standard deviation (radians; interocular distances) of the slow drift and of the quick movements upon it
WANDER = {
    "yaw": (0.046, 0.030),
    "pitch": (0.030, 0.028),
    "roll": (0.026, 0.013),
    "tx": (0.036, 0.017),
    "ty": (0.024, 0.015),
}
SLOW_HZ, QUICK_HZ = 0.40, 1.8


def wander(n_frames: int, corner_hz: float, rng: np.random.Generator) -> FloatArray:
    """Smooth noise of unit variance: white noise through two one-pole low-passes at the corner, [n_frames]."""
    keep = float(np.exp(-2 * np.pi * corner_hz / FPS))
    warm = int(4 * FPS / corner_hz / (2 * np.pi)) + 50
    x = lfilter([(1 - keep) ** 2], [1, -2 * keep, keep**2], rng.standard_normal(n_frames + warm))
    # variance of the cascade (1-a)^4 (1+a^2) / (1-a^2)^3
    scale = np.sqrt((1 - keep) ** 4 * (1 + keep**2) / (1 - keep**2) ** 3)
    out: FloatArray = x[warm:] / scale
    return out


def smooth(level: FloatArray, n_frames: int) -> FloatArray:
    """Mean over an odd number of frames about each, the ends repeated, [n] -> [n]."""
    half = n_frames // 2
    out: FloatArray = np.convolve(np.pad(level, half, mode="edge"), np.ones(n_frames) / n_frames, "valid")
    return out


def stress(level: FloatArray) -> FloatArray:
    """Accents 0..1 out of a loudness curve 0..1 at 25 frames a second: how far it stands over its own second."""
    accent = np.clip((level - smooth(level, 25)) * 2.5, 0, 1)
    out: FloatArray = np.convolve(np.pad(accent, 3, mode="edge"), np.hanning(9)[1:-1] / np.hanning(9).sum(), "valid")
    return out


def phrases(level: FloatArray) -> Tuple[FloatArray, FloatArray, FloatArray]:
    """How much is being said around each frame, and how much a phrase begins or ends there, 0..1, [n] each.

    A phrase ends where half a second was much louder than the third of a second that comes.
    """
    before = np.convolve(np.pad(level, (12, 0), mode="edge")[:-1], np.ones(12) / 12, "valid")
    after = np.convolve(np.pad(level, (0, 7), mode="edge"), np.ones(8) / 8, "valid")
    fall = (before - after - 0.12) * 3
    return smooth(level, 13), np.clip(-fall - 0.72, 0, 1), np.clip(fall, 0, 1)


def blink_shape(rng: np.random.Generator) -> FloatArray:
    """One blink, lids shut = 1, at 25 frames a second: down in 80-100 ms, up in 150-200 (VanderWerf et al. 2003).

    Lids meet for 20 to 40 ms, so that a frame sees them shut wherever it falls; no blink is left half-way.
    """
    closing, held, opening = rng.uniform(0.08, 0.10), rng.uniform(0.02, 0.04), rng.uniform(0.15, 0.20)
    t = np.arange(10) / FPS + rng.uniform(0, 1 / FPS)
    down = np.sin(np.clip(t / closing, 0, 1) * np.pi / 2) ** 2
    up = np.cos(np.clip((t - closing - held) / opening, 0, 1) * np.pi / 2) ** 2
    shape: FloatArray = rng.uniform(0.96, 1.0) * np.where(t < closing, down, up)
    return shape


def _blinks(
    begins: FloatArray, ends: FloatArray, large: NDArray[np.bool_], awake: float, rng: np.random.Generator
) -> FloatArray:
    """Lids over time, [n], 0 open .. 1 shut.

    Speakers blink 20-26 times a minute (Bentivoglio et al. 1997), more often at the end of a phrase or in a pause
    (Nakano & Kitazawa 2010) and with large saccades (Evinger et al. 1994), seldom twice within a second but for the
    occasional double blink.
    """
    n = len(ends)
    lids, last, again = np.zeros(n), -int(rng.uniform(0, 60)), -1
    per_frame = rng.uniform(7.5, 11.5) / 60 / FPS
    urge = (per_frame * (1 + 9 * ends + 0.5 * begins) * awake).tolist()
    saccade = (0.12 * awake * large).tolist()
    draws = rng.random(n).tolist()
    for frame in range(7, n):
        since = frame - last
        rested = min(max((since - 12) / 30, 0.0), 1.5)
        if frame == again or (rested > 0 and draws[frame] < urge[frame] * rested + saccade[frame]):
            shape = blink_shape(rng)[: n - frame]
            lids[frame : frame + len(shape)] = np.maximum(lids[frame : frame + len(shape)], shape)
            again = frame + int(rng.integers(9, 13)) if frame != again and rng.random() < 0.08 else -1
            last = frame
    return lids


def _glances(
    talking: FloatArray, begins: FloatArray, ends: FloatArray, rng: np.random.Generator
) -> Tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Where the eyes look, in the room: x, y (0 is the viewer), and the frames at which a large saccade starts.

    Speakers look at the viewer most of the time and away in glances, oftener as an utterance begins, and back as it
    ends (Kendon 1967; Argyle & Cook 1976), up rather than down while they think. Saccades follow the main sequence:
    2.2 ms per degree + 21 ms (Bahill, Clark & Stark 1975), one or two frames.
    """
    n = len(talking)
    x, y, large = np.zeros(n), np.zeros(n), np.zeros(n, bool)
    frame, away, at_x, at_y = int(rng.exponential(1.0 * FPS)) + 5, False, 0.0, 0.0
    while frame < n:
        away = not away and rng.random() < 0.42 + 0.3 * begins[frame]
        if away:
            to_x = rng.choice([-1, 1]) * rng.uniform(0.3, 0.85)
            to_y = rng.normal(-0.10 if talking[frame] < 0.3 else 0.05, 0.18)
        else:  # about the viewer's face: eyes, mouth
            to_x, to_y = rng.normal(0, 0.06), rng.normal(0, 0.05)
        size = np.hypot(to_x - at_x, to_y - at_y)
        large[frame] = size > 0.35
        n_moving = max(1, round((0.021 + 0.0022 * np.degrees(GAZE_RADIANS) * size) * FPS))
        part = np.minimum(np.arange(1, n - frame + 1) / n_moving, 1)
        x[frame:], y[frame:] = at_x + (to_x - at_x) * part, at_y + (to_y - at_y) * part
        at_x, at_y = to_x, to_y
        stay = n_moving + 2 + int(FPS * (rng.gamma(2.0, 0.35) if away else rng.gamma(1.5, 0.9)))
        over = np.flatnonzero(ends[frame + 8 : frame + stay] > 0.5) if away else np.zeros(0, np.intp)
        frame += 8 + int(over[0]) if len(over) and rng.random() < 0.6 else stay
    return x, y, large


def _nods(accent: FloatArray, ends: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Pitch of the nods, radians, down positive, [n]: on stressed syllables, each of its own size (Hadar et al. 1983;
    Munhall et al. 2004), and a slower one at every other end of a phrase (Poggi, D'Errico & Vincze 2010; Ishi et al.
    2014)."""
    n = len(accent)
    beat = np.convolve(np.pad(accent, (2, 0)), [0.2, 0.5, 0.3], "valid")
    size = rng.uniform(0.03, 0.08) * np.clip(1 + 0.6 * wander(n, 0.8, rng), 0, 2)
    out = size * beat
    peaks = np.flatnonzero((ends[1:-1] > 0.3) & (ends[1:-1] >= ends[:-2]) & (ends[1:-1] > ends[2:])) + 1
    for frame in peaks.tolist():
        if rng.random() < 0.5:
            length = int(rng.integers(12, 20))
            shape = rng.uniform(0.03, 0.07) * np.sin(np.pi * np.arange(length) / length) ** 2
            first, last = max(0, frame - 4), min(n, frame - 4 + length)
            out[first:last] += shape[first - frame + 4 : last - frame + 4]
    nods: FloatArray = out - out.mean()
    return nods


def sample(level: FloatArray, face: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """One take of a clip.

    Args:
        level: [n_frames] loudness of the speech, 0 (30 dB under the loud parts) .. 1, 25 frames a second.
        face: [7] the portrait's rest state, in the order of `FACE`; the module says what it changes.
        rng: Random source of the take.

    Returns:
        [n_frames, 9] in the units of the model's life channels, starting at 0.
    """
    n, portrait = len(level), dict(zip(FACE, face.tolist()))
    talking, begins, ends = phrases(level)
    accent = stress(level)
    lively = rng.lognormal(0, 0.25)  # people differ
    seconds = np.arange(n) / FPS
    rise, settle = 1 - np.exp(-((seconds / RISE_S) ** 2)), 1 - np.exp(-((seconds / SETTLE_S) ** 2))
    awake = float(np.clip((portrait["eye_opening"] - BLINK_OPENING[0]) / np.ptp(BLINK_OPENING), 0, 1))

    look_x, look_y, large = _glances(talking, begins, ends, rng)
    look_x, look_y = look_x * awake * rise, look_y * awake * rise

    # Energy of the head falls with frequency, most of it under 2 Hz; the quick part comes with speech, and a long
    # silence leaves it swaying, half as far (Hadar et al. 1983).
    alive = 0.5 + 0.5 * np.clip(smooth(level, 31) * 2, 0, 1)
    head = {}
    for name, (slow, quick) in WANDER.items():
        drift = slow * alive * wander(n, SLOW_HZ, rng) + quick * (0.2 + 1.3 * talking) * wander(n, QUICK_HZ, rng)
        head[name] = lively * drift * rise
    # the head turns part of the way towards the gaze, a fifth of a second behind (Stahl 1999)
    lag = np.exp(-np.arange(13) / 5) / np.exp(-np.arange(13) / 5).sum()
    head["yaw"] += 0.15 * GAZE_RADIANS * np.convolve(np.pad(look_x, (12, 0), mode="edge"), lag, "valid")
    head["pitch"] += _nods(accent, ends, rng) * rise
    for name, turned in (("yaw", portrait["yaw"]), ("pitch", portrait["pitch"])):
        room = 1 - 0.6 * min(1.0, abs(turned) / 0.5)
        head[name] = room * head[name] - settle * float(np.clip(TURN_BACK * turned, -TURN_BACK_MOST, TURN_BACK_MOST))
    head["ty"] = head["ty"] + 0.25 * head["pitch"]
    head["tx"] = head["tx"] + 0.35 * head["roll"]  # the neck leans

    # Eyes stay on what they look at while the head moves under them: the vestibulo-ocular reflex, whose gain is close
    # to 1 at the speeds of speech (Grossman et al. 1989).
    gaze_x = look_x - awake * head["yaw"] / GAZE_RADIANS
    gaze_y = look_y - awake * head["pitch"] / GAZE_RADIANS

    # raised on accented syllables and where a phrase starts (Ekman 1979; Cave et al. 1996)
    lift = np.convolve(np.pad(accent + 0.5 * smooth(begins, 9), (2, 0)), [0.2, 0.5, 0.3], "valid")
    brow = 0.16 * wander(n, 0.35, rng) * rise + rng.uniform(0.15, 0.55) * lift * rise + rng.normal(0, 0.05) * rise
    blink = _blinks(begins, ends, large, awake, rng)

    motion = np.stack([blink, brow, gaze_x, gaze_y, *(head[name] for name in ("yaw", "pitch", "roll", "tx", "ty"))], 1)
    low, high = np.array([media.CHANNELS[name] for name in CHANNELS]).T
    out: NDArray[np.float32] = np.clip(motion, low, high).astype(np.float32)
    return out
