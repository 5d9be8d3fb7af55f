"""Measures sampled motion (head, eyes, brows) against the statistical teacher, on voices held out of training.

    python -m models.evaluate_life [--bundle models/bundles/sonic-net] [--clips 24]

Both modes of the runtime: offline (a window continues from 16 known frames) and streaming (from 30, ten new ones a
call), for some numbers of denoising steps; then portraits that are turned or shut-eyed. The face is set in the
condition, so that this measures what the denoiser does with a face, not how well the face is estimated.
"""

import argparse
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
from numpy.typing import NDArray

from models import BUILD, BUNDLE, life
from models.aligned import grey, open_net
from models.batches import LEAD, LOWEST, PAST, Corpus, heard_level
from models.life import FACE
from models.network import FACE_SPREAD, FACE_TYPICAL, FRAMES, MEL_FRAMES, MEL_PER_FRAME, N_LIFE
from sonic_edge.engine.motion.network import SonicNet
from sonic_edge.engine.motion.shape import full_blinks
from sonic_edge.engine.motion.streaming import LIFE_SHARE
from sonic_edge.model.mel import MelSettings, normalise, speech_mean

FloatArray = NDArray[np.float32]
CLIP_S = 8
KNOWN_LIVE = FRAMES - FRAMES // LIFE_SHARE
"""Frames of a window that are known while sound is still arriving."""
STEPS = {PAST: (4, 10, 25, 40), KNOWN_LIVE: (4, 10, 25)}
"""Frames known -> numbers of steps."""
FACES: Dict[str, Dict[str, float]] = {
    "frontal": {}, "turned right": {"yaw": 0.35}, "turned left": {"yaw": -0.35}, "looking down": {"pitch": 0.25},
    "narrow eyes": {"eye_opening": 0.055}, "shut eyes": {"eye_opening": 0.01},
}  # fmt: skip


def conditions(net: SonicNet, heard: FloatArray, n_known: int) -> List[FloatArray]:
    """The denoiser's condition for each window, [1, 64, 40], of a clip from `clip`."""
    face, made = grey(net), []
    first = LEAD - n_known
    while (first + FRAMES) * MEL_PER_FRAME <= heard.shape[1]:
        window = heard[:, first * MEL_PER_FRAME : first * MEL_PER_FRAME + MEL_FRAMES]
        made.append(net.encode(window, face)[1])
        first += FRAMES - n_known
    return made


def walk(
    net: SonicNet, reported: List[FloatArray], face: FloatArray, n_known: int, n_steps: int, rng: np.random.Generator
) -> FloatArray:
    """Life channels [9, n], window after window as by a `network.Take`, for a face that is set, not estimated."""
    spec = net.bundle.motion
    noise = spec.life.noise if n_known == PAST else spec.stream.noise
    spread = np.array(noise or np.ones(N_LIFE))[:, None]
    made = np.zeros((N_LIFE, n_known), np.float32)  # rest
    for condition in reported:
        condition[0, -len(FACE) :] = ((face - FACE_TYPICAL) / FACE_SPREAD)[:, None]
        start = (spread * rng.standard_normal((N_LIFE, FRAMES))).astype(np.float32)
        window = net.sample(condition, made[:, -n_known:], n_steps, start)
        made = np.concatenate([made, window[:, n_known:]], axis=1)
    motion = made[:, n_known:]
    motion[0] = full_blinks(motion[0])  # as the product does
    return motion


def clip(corpus: Corpus, rng: np.random.Generator) -> Tuple[FloatArray, NDArray[np.float64]]:
    """A clip of CLIP_S as the runtime gets it, with silence around it, [80, n]; and its loudness for the teacher."""
    settings = MelSettings()
    mel = corpus.stream(CLIP_S * 100, rng)[0].T
    heard = normalise(mel, speech_mean(mel, settings), settings)
    silence = ((0, 0), (LEAD * MEL_PER_FRAME, (FRAMES - PAST) * MEL_PER_FRAME))
    return np.pad(heard, silence, constant_values=LOWEST), heard_level(mel)


def onsets(blink: NDArray[np.float64]) -> List[int]:
    """Frames at which the lids close."""
    shut = blink > 0.5
    return (np.flatnonzero(shut[1:] & ~shut[:-1]) + 1).tolist()


def figures(motion: FloatArray, stride: int) -> Dict[str, float]:
    """The measures used for people, of one clip [9, n] of about CLIP_S.

    blinks/min; depth: mean of the blinks' deepest frames; ms: how long lids are a quarter shut or more in a blink; gaze
    jumps/s: frames that take the look over a fifth of an eye radius on; at viewer: share of time within a quarter (of
    the look in the room: eyes and head); nose/s: way of the nose, interocular distances a second; roll, yaw: range,
    degrees; brow: spread; seam: steps of the head where windows meet over those elsewhere; mean yaw, mean pitch: from
    the second second on, radians; std yaw: likewise.
    """
    c = dict(zip(life.CHANNELS, motion.astype(np.float64)))
    seconds = motion.shape[1] / life.FPS
    begun = onsets(c["blink"])
    look_x, look_y = c["gaze_x"] + c["yaw"] / life.GAZE_RADIANS, c["gaze_y"] + c["pitch"] / life.GAZE_RADIANS
    # the nose is half an interocular distance in front of the head's axis of rotation
    nose = np.stack([c["tx"] + 0.52 * np.sin(c["yaw"]), c["ty"] + 0.52 * np.sin(c["pitch"])])
    steps = np.abs(np.diff(motion[4:], axis=1)).mean(0)  # of the head
    at_seam = np.arange(1, motion.shape[1]) % stride == 0
    later = slice(round(life.FPS), None)
    return {
        "blinks/min": len(begun) / seconds * 60,
        "depth": float(np.mean([c["blink"][i : i + 6].max() for i in begun])) if begun else np.nan,
        "ms": float((c["blink"] > 0.25).sum() / life.FPS * 1000 / len(begun)) if begun else np.nan,
        "jumps/s": float((np.abs(np.diff(look_x)) > 0.2).sum() / seconds),
        "at viewer": float((np.hypot(look_x, look_y) < 0.25).mean()),
        "nose/s": float(np.hypot(*np.diff(nose, axis=1)).sum() / seconds),
        "roll deg": float(np.degrees(np.ptp(c["roll"]))),
        "yaw deg": float(np.degrees(np.ptp(c["yaw"]))),
        "brow": float(c["brow"].std()),
        "seam": float(steps[at_seam].mean() / steps[~at_seam].mean()),
        "mean yaw": float(c["yaw"][later].mean()),
        "std yaw": float(c["yaw"][later].std()),
        "mean pitch": float(c["pitch"][later].mean()),
    }


def print_row(name: str, rows: List[Dict[str, float]]) -> None:
    """Means over clips, those without a blink left out where it takes one."""
    means = [np.nanmean(column) if np.isfinite(column).any() else np.nan for column in zip(*(r.values() for r in rows))]
    print(f"{name:22}" + "".join(f"{value:11.3f}" for value in means), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the sampled channels beside the teacher.")
    parser.add_argument("--corpus", type=Path, default=BUILD / "corpus.npz")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--clips", type=int, default=24, help=f"of {CLIP_S} s")
    args = parser.parse_args()
    net, corpus = open_net(args.bundle), Corpus(args.corpus, held_out=True)
    rng = np.random.default_rng(31)
    clips = [clip(corpus, rng) for _ in range(args.clips)]
    faces = {
        name: np.array([{**dict(zip(FACE, FACE_TYPICAL)), **unusual}[key] for key in FACE], np.float32)
        for name, unusual in FACES.items()
    }

    def taught(face: FloatArray) -> List[Dict[str, float]]:
        return [figures(life.sample(level, face, rng).T, FRAMES - PAST) for _, level in clips for _ in range(8)]

    rows = taught(faces["frontal"])
    print(" " * 22 + "".join(f"{name:>11}" for name in rows[0]))
    print_row("teacher", rows)
    for n_known, counts in STEPS.items():
        reported = [conditions(net, heard, n_known) for heard, _ in clips]
        for n_steps in counts:
            takes = [walk(net, one, faces["frontal"], n_known, n_steps, rng) for one in reported]
            where = "offline" if n_known == PAST else "streaming"
            print_row(f"{where} {n_steps} steps", [figures(take, FRAMES - n_known) for take in takes])
    reported = [conditions(net, heard, PAST) for heard, _ in clips]
    for name, face in faces.items():
        print_row(f"{name}, teacher", taught(face))
        takes = [walk(net, one, face, PAST, 25, rng) for one in reported]
        print_row(f"{name}, 25", [figures(take, FRAMES - PAST) for take in takes])


if __name__ == "__main__":
    main()
