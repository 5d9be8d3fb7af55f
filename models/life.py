"""The teacher for what speech does not dictate: blinks, gaze, brows and head, out of published statistics.

No head-motion corpus has a licence that would let its motion be shipped, so the teacher is a random process whose
figures come from the literature; the network learns to sample it given the speech.

- Blinks: 15-20 a minute at rest, about 26 in conversation (Bentivoglio et al. 1997); lids close in 80-100 ms and open
  in 150-200 ms (VanderWerf et al. 2003); more of them at pauses and phrase ends (Nakano & Kitazawa 2010).
- Gaze: speakers look at the viewer most of the time and away in glances, oftener at the start of an utterance
  (Kendon 1967; Argyle & Cook 1976). Saccades follow the main sequence: duration = 2.2 ms per degree + 21 ms (Bahill,
  Clark & Stark 1975), so at 25 frames a second they take one or two frames. Large ones come with a blink (Evinger et
  al. 1994) and the head follows a part of the way.
- Head: energy falls with frequency, most of it under 2 Hz, nods on stressed syllables (Hadar et al. 1983; Munhall et
  al. 2004), stiller in pauses. Sizes are set so that the nose travels about 0.38 interocular distances a second and
  roll spans about 6.7 degrees in 5-10 s, as real speakers on video read.
- Brows: raised on accented syllables and phrase starts (Ekman 1979; Cave et al. 1996).

Every channel starts at the portrait's own pose, 0, and keeps coming back to it.
"""

from typing import Tuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CHANNELS: Tuple[str, ...] = ("blink", "brow", "gaze_x", "gaze_y", "yaw", "pitch", "roll", "tx", "ty")
FPS = 25.0
RISE_S = 0.6
"""How long it takes to leave the portrait's pose at the start of a clip."""

# head: standard deviation (radians; interocular distances) of the slow drift and of the quick movements upon it
WANDER = {
    "yaw": (0.050, 0.026),
    "pitch": (0.030, 0.026),
    "roll": (0.028, 0.012),
    "tx": (0.040, 0.014),
    "ty": (0.025, 0.012),
}
SLOW_HZ, QUICK_HZ = 0.40, 1.8


def wander(n_frames: int, corner_hz: float, rng: np.random.Generator) -> FloatArray:
    """Smooth noise of unit variance: white noise through two one-pole low-passes at the corner, [n_frames]."""
    keep = float(np.exp(-2 * np.pi * corner_hz / FPS))
    warm = int(4 * FPS / corner_hz / (2 * np.pi)) + 50
    x = rng.standard_normal(n_frames + warm)
    for _ in range(2):
        y, state = np.empty_like(x), 0.0
        for i, value in enumerate(x):
            state = keep * state + (1 - keep) * value
            y[i] = state
        x = y
    # variance of the cascade (1-a)^4 (1+a^2) / (1-a^2)^3
    scale = np.sqrt((1 - keep) ** 4 * (1 + keep**2) / (1 - keep**2) ** 3)
    out: FloatArray = x[warm:] / scale
    return out


def stress(level: FloatArray) -> FloatArray:
    """Accents 0..1 out of a loudness curve 0..1 at 25 frames a second: how far it stands over its own second."""
    slow = np.convolve(np.pad(level, 12, mode="edge"), np.ones(25) / 25, "valid")
    accent = np.clip((level - slow) * 2.5, 0, 1)
    out: FloatArray = np.convolve(np.pad(accent, 3, mode="edge"), np.hanning(9)[1:-1] / np.hanning(9).sum(), "valid")
    return out


def blink_shape(rng: np.random.Generator) -> FloatArray:
    """One blink, lids shut = 1, at 25 frames a second: quick down, slower up."""
    closing, opening, phase = rng.uniform(0.08, 0.10), rng.uniform(0.15, 0.20), rng.uniform(0, 1 / FPS)
    peak = rng.uniform(0.9, 1.0)
    t = np.arange(10) / FPS + phase
    down = np.sin(np.clip(t / closing, 0, 1) * np.pi / 2) ** 2
    up = np.cos(np.clip((t - closing - 0.02) / opening, 0, 1) * np.pi / 2) ** 2
    shape: FloatArray = peak * np.where(t < closing, down, up)
    return shape


def _glances(
    n_frames: int, talking: FloatArray, rng: np.random.Generator
) -> Tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Gaze x, y and the frames at which a large saccade starts."""
    x, y, large = np.zeros(n_frames), np.zeros(n_frames), np.zeros(n_frames, bool)
    frame, away = int(rng.exponential(1.2 * FPS)) + 5, False
    at_x = at_y = 0.0
    while frame < n_frames:
        away = not away and rng.random() < 0.45
        if away:  # a glance to the side, more often up while thinking (in a pause)
            to_x = rng.choice([-1, 1]) * rng.uniform(0.25, 0.75)
            to_y = rng.normal(-0.10 if talking[frame] < 0.3 else 0.05, 0.18)
        else:  # about the viewer's face: eyes, mouth
            to_x, to_y = rng.normal(0, 0.07), rng.normal(0, 0.05)
        large[frame] = np.hypot(to_x - at_x, to_y - at_y) > 0.35
        # main sequence: 1 eye radius of gaze is about 30 degrees of rotation
        duration = 0.021 + 0.0022 * 30 * np.hypot(to_x - at_x, to_y - at_y)
        n_moving = max(1, round(duration * FPS))
        for i in range(n_moving):
            part = (i + 1) / n_moving
            if frame + i < n_frames:
                x[frame + i], y[frame + i] = at_x + (to_x - at_x) * part, at_y + (to_y - at_y) * part
        x[frame + n_moving :], y[frame + n_moving :] = to_x, to_y
        at_x, at_y = to_x, to_y
        frame += n_moving + int(FPS * (rng.gamma(2.0, 0.35) if away else rng.gamma(1.5, 0.9))) + 2
    return x, y, large


def sample(level: FloatArray, face: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """One take of a clip.

    Args:
        level: [n_frames] loudness of the speech, 0 (30 dB under the loud parts) .. 1, 25 frames a second.
        face: [6] the portrait's rest state, in the order of `faces.Answers`. A head already turned turns less further,
            and eyes nearly shut in the portrait do not blink.
        rng: Where the take is drawn from.

    Returns:
        [n_frames, 9] in the units of the model's life channels, starting at 0.
    """
    n = len(level)
    talking = np.convolve(np.pad(level, 6, mode="edge"), np.ones(13) / 13, "valid")
    accent = stress(level)
    lively = rng.lognormal(0, 0.25)  # people differ
    rise = 1 - np.exp(-((np.arange(n) / FPS / RISE_S) ** 2))
    alive = 0.55 + 0.45 * np.clip(talking * 1.6, 0, 1)  # stiller in pauses

    gaze_x, gaze_y, large = _glances(n, talking, rng)
    head = {}
    for name, (slow, quick) in WANDER.items():
        drift = slow * wander(n, SLOW_HZ, rng) + quick * wander(n, QUICK_HZ, rng) * (0.3 + 1.2 * talking)
        head[name] = lively * drift * alive * rise
    follow = np.convolve(
        np.pad(gaze_x, (12, 0), mode="edge"), np.exp(-np.arange(13) / 5) / np.exp(-np.arange(13) / 5).sum(), "valid"
    )
    nod = np.convolve(np.pad(accent, (2, 0)), [0.2, 0.5, 0.3], "valid")
    head["yaw"] = head["yaw"] * (1 - 0.6 * min(1.0, abs(float(face[4])) / 0.5)) + 0.06 * follow
    head["pitch"] = (
        head["pitch"] * (1 - 0.5 * min(1.0, abs(float(face[5])) / 0.4))
        + rng.uniform(0.03, 0.09) * (nod - nod.mean()) * rise
    )
    head["ty"] = head["ty"] + 0.25 * head["pitch"]
    head["tx"] = head["tx"] + 0.35 * head["roll"]  # the neck leans

    brow = 0.16 * wander(n, 0.35, rng) * rise + rng.uniform(0.2, 0.7) * nod * rise + rng.normal(0, 0.05) * rise

    # blinks: a steady hazard, three times as likely when a pause begins, and with large saccades
    falling = np.clip(-np.gradient(talking) * 12, 0, 1)
    per_minute = rng.uniform(11, 17)
    blink, last = np.zeros(n), -int(rng.uniform(0, 60))
    for frame in range(n):
        rested = np.clip((frame - last - 12) / 30, 0, 1.5)  # seldom twice within a second
        hazard = per_minute / 60 / FPS * rested * (1 + 2 * falling[frame]) + 0.2 * large[frame] * (rested > 0)
        if frame > 6 and rng.random() < hazard:
            shape = blink_shape(rng)[: n - frame]
            blink[frame : frame + len(shape)] = np.maximum(blink[frame : frame + len(shape)], shape)
            last = frame
    blink = blink * np.clip((float(face[3]) - 0.01) / 0.03, 0, 1)

    motion = np.stack([blink, brow, gaze_x, gaze_y, *(head[name] for name in ("yaw", "pitch", "roll", "tx", "ty"))], 1)
    return np.clip(motion, -1, 1).astype(np.float32)
