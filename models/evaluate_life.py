"""Measures what is sampled (head, eyes, brows) beside the statistical teacher, on voices held out of training.

    python -m models.evaluate_life [--bundle models/bundles/sonic-net | --trained models/build/trained] [--clips 24]

Both walks of the runtime: offline (a window goes on from 16 known frames) and streaming (from 38, two new ones a call),
for some numbers of denoising steps; then portraits that are turned or shut-eyed. The face is set in the condition, so
that what is measured is what the denoiser makes of a face, not how well one is read.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import onnxruntime as ort
import yaml
from numpy.typing import NDArray

from models import BUILD, BUNDLE, life
from models.batches import LEAD, LOWEST, PAST, PAST_LIVE, Corpus
from models.network import FACE, FACE_SPREAD, FACE_TYPICAL, FRAMES, IMAGE, MEL_FRAMES, MEL_PER_FRAME, N_LIFE
from models.parity import open_session
from models.quantize import LIFE_NOISE, STREAM_NOISE
from sonic_edge.mel import MelSettings, loudness, normalise, speech_mean
from sonic_edge.motion import full_blinks

FloatArray = NDArray[np.float32]
CLIP_S = 8
STEPS = {PAST: (4, 10, 25, 40), PAST_LIVE: (4, 10, 25)}
"""Frames known -> numbers of steps."""
FACES: Dict[str, Dict[str, float]] = {
    "frontal": {}, "turned right": {"yaw": 0.35}, "turned left": {"yaw": -0.35}, "looking down": {"pitch": 0.25},
    "narrow eyes": {"eye_opening": 0.055}, "shut eyes": {"eye_opening": 0.01},
}  # fmt: skip


class Graphs:
    """Both graphs and what their life channels are normalised by."""

    def __init__(self, bundle: Path, trained: Path) -> None:
        """From a trained folder (fp32) where there is one, else from a bundle (INT8)."""
        if trained != Path():
            statistics: Dict[str, Any] = json.loads((trained / "life.json").read_text("utf8"))
            self.noise = {PAST: LIFE_NOISE, PAST_LIVE: STREAM_NOISE}
            paths = {stage: trained / f"{stage}.onnx" for stage in ("encoder", "denoiser")}
        else:
            described = yaml.safe_load((bundle / "bundle.yaml").read_text("utf8"))
            statistics = described["life"]
            self.noise = {PAST: described["life"].get("noise"), PAST_LIVE: described["stream"].get("noise")}
            paths = {stage: bundle / entry["files"]["cpu"]["path"] for stage, entry in described["stages"].items()}
        self.sessions: Dict[str, ort.InferenceSession] = {stage: open_session(path) for stage, path in paths.items()}
        self.mean, self.std = (np.array(statistics[key], np.float32)[:, None] for key in ("mean", "std"))

    def conditions(self, heard: FloatArray, n_known: int) -> List[FloatArray]:
        """What the denoiser is told of each window [1, 64, 40] of a clip that `clip` gives."""
        image = np.full((1, 3, IMAGE, IMAGE), 0.5, np.float32)
        made = []
        first = LEAD - n_known
        while (first + FRAMES) * MEL_PER_FRAME <= heard.shape[1]:
            audio = heard[None, None, :, first * MEL_PER_FRAME : first * MEL_PER_FRAME + MEL_FRAMES]
            made.append(self.sessions["encoder"].run(["condition"], {"audio_input": audio, "image_input": image})[0])
            first += FRAMES - n_known
        return made

    def walk(
        self, conditions: List[FloatArray], face: FloatArray, n_known: int, n_steps: int, rng: np.random.Generator
    ) -> FloatArray:
        """Life channels [9, n], window after window as `sonic_edge.sonic` does it."""
        made = np.repeat(-self.mean / self.std, n_known, axis=1)  # rest
        for condition in conditions:
            condition[0, -len(FACE) :] = ((face - FACE_TYPICAL) / FACE_SPREAD)[:, None]
            past = np.zeros((1, N_LIFE + 1, FRAMES), np.float32)
            past[0, :-1, :n_known] = made[:, -n_known:]
            past[0, -1, :n_known] = 1
            spread = np.array(self.noise[n_known] or [1.0] * N_LIFE)[:, None]
            noise = (spread * rng.standard_normal((1, N_LIFE, FRAMES))).astype(np.float32)
            motion = noise.copy()
            for i in range(n_steps):
                t = np.float32(i / n_steps)
                motion[:, :, :n_known] = (1 - t) * noise[:, :, :n_known] + t * past[:, :-1, :n_known]
                feeds = {
                    "condition": condition, "noisy_motion": motion, "past_motion": past,
                    "step": np.full((1, 1), t, np.float32),
                }  # fmt: skip
                motion = motion + self.sessions["denoiser"].run(["velocity"], feeds)[0] / np.float32(n_steps)
            made = np.concatenate([made, motion[0, :, n_known:]], axis=1)
        motion = made[:, n_known:] * self.std + self.mean
        motion[0] = full_blinks(motion[0])  # as the product does
        return motion


def clip(corpus: Corpus, rng: np.random.Generator) -> Tuple[FloatArray, NDArray[np.float64]]:
    """A clip of CLIP_S as the runtime hears it, silence before and after, [80, n]; and its loudness for the teacher."""
    settings = MelSettings()
    mel = corpus.stream(CLIP_S * 100, rng)[0].T
    heard = normalise(mel, speech_mean(mel, settings), settings)
    level = loudness(mel).astype(np.float64)
    level = np.clip((level - np.quantile(level, 0.95)) / 3 + 1, 0, 1).reshape(-1, MEL_PER_FRAME).mean(1)
    silence = ((0, 0), (LEAD * MEL_PER_FRAME, (FRAMES - PAST) * MEL_PER_FRAME))
    return np.pad(heard, silence, constant_values=LOWEST), level


def onsets(blink: NDArray[np.float64]) -> List[int]:
    """Frames at which the lids come to be shut."""
    shut = blink > 0.5
    return (np.flatnonzero(shut[1:] & ~shut[:-1]) + 1).tolist()


def figures(motion: FloatArray, stride: int) -> Dict[str, float]:
    """What people are measured by, of one clip [9, n] of CLIP_S or so.

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
    # the nose stands half an interocular distance before the axis that the head turns about
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
    parser.add_argument("--trained", type=Path, default=Path(), help="fp32 graphs of this folder in the bundle's stead")
    parser.add_argument("--clips", type=int, default=24, help=f"of {CLIP_S} s")
    args = parser.parse_args()
    graphs, corpus = Graphs(args.bundle, args.trained), Corpus(args.corpus, held_out=True)
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
        told = [graphs.conditions(heard, n_known) for heard, _ in clips]
        for n_steps in counts:
            takes = [graphs.walk(conditions, faces["frontal"], n_known, n_steps, rng) for conditions in told]
            where = "offline" if n_known == PAST else "streaming"
            print_row(f"{where} {n_steps} steps", [figures(take, FRAMES - n_known) for take in takes])
    told = [graphs.conditions(heard, PAST) for heard, _ in clips]
    for name, face in faces.items():
        print_row(f"{name}, teacher", taught(face))
        takes = [graphs.walk(conditions, face, PAST, 25, rng) for conditions in told]
        print_row(f"{name}, 25", [figures(take, FRAMES - PAST) for take in takes])


if __name__ == "__main__":
    main()
