"""Measures the bundle as the CPU backend runs it.

    python -m models.evaluate [--bundle models/bundles/sonic-net]

Lips on voices that training never heard; then head, eyes and brows after 4, 10 and 25 denoising steps beside the
statistical teacher.
"""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import onnxruntime as ort
import yaml
from numpy.typing import NDArray

from models import BUILD, BUNDLE, life, teacher
from models.network import FACE_TYPICAL
from models.parity import correlation, open_session
from models.phonemes import PAUSE, VISEME_OF
from models.train import Corpus, to_motion_rate
from sonic_edge.mel import MelSettings, loudness, normalise, speech_mean

FloatArray = NDArray[np.float32]


class Bundle:
    """The bundle's two INT8 graphs and its settings."""

    def __init__(self, folder: Path) -> None:
        self.settings: Dict[str, Any] = yaml.safe_load((folder / "bundle.yaml").read_text("utf8"))
        self.sessions: Dict[str, ort.InferenceSession] = {
            stage: open_session(folder / entry["files"]["cpu"]["path"])
            for stage, entry in self.settings["stages"].items()
        }
        self.frames, self.stride = self.settings["window"]["frames"], self.settings["window"]["stride"]

    def encode(self, mel: FloatArray, image: FloatArray) -> Tuple[FloatArray, FloatArray, FloatArray, List[FloatArray]]:
        """A whole recording: lips [5, n], closure [n], visemes [16, n], and the condition of each window [1, 64, 40].

        Windows overlap; where they do, they are blended with weights that fall off towards their ends.
        """
        settings = MelSettings()
        heard = normalise(mel, speech_mean(mel, settings), settings)
        per_frame = self.settings["window"]["mel_frames"] // self.frames
        n = heard.shape[1] // per_frame
        lead = self.frames - self.stride  # the first window begins before the recording, at rest
        n_windows = -(-(n + lead) // self.stride)
        whole = self.frames + (n_windows - 1) * self.stride
        padded = np.full((heard.shape[0], whole * per_frame), settings.clip[0] / settings.scale, np.float32)
        padded[:, lead * per_frame : (lead + n) * per_frame] = heard[:, : n * per_frame]
        total, weight = np.zeros((22, whole), np.float32), np.zeros(whole, np.float32)
        fade = np.minimum(np.arange(self.frames) + 0.5, self.frames - 0.5 - np.arange(self.frames)).clip(max=8)
        conditions: List[FloatArray] = []
        for start in range(0, n_windows * self.stride, self.stride):
            window = padded[None, None, :, start * per_frame : (start + self.frames) * per_frame]
            lips, closure, visemes, condition = self.sessions["encoder"].run(
                ["lips", "closure", "visemes", "condition"], {"audio_input": window, "image_input": image}
            )
            total[:, start : start + self.frames] += np.concatenate([lips[0], closure[0], visemes[0]]) * fade
            weight[start : start + self.frames] += fade
            conditions.append(condition)
        blended = (total / weight)[:, lead : lead + n]
        return blended[:5], blended[5], blended[6:], conditions

    def live(self, conditions: List[FloatArray], n_steps: int, rng: np.random.Generator) -> FloatArray:
        """Life channels [9, n] sampled window after window, each going on from what the one before made."""
        known = self.frames - self.stride
        mean, std = (np.array(self.settings["life"][key], np.float32)[:, None] for key in ("mean", "std"))
        n_life = len(mean)
        made = np.repeat(-mean / std, known, axis=1)  # rest
        for condition in conditions:
            past = np.zeros((n_life + 1, self.frames), np.float32)
            past[:-1, :known] = made[:, -known:]
            past[-1, :known] = 1
            noise = rng.standard_normal((n_life, self.frames)).astype(np.float32)
            motion = noise.copy()
            for i in range(n_steps):
                t = i / n_steps
                motion = np.where(past[-1:] > 0, (1 - t) * noise + t * past[:-1], motion)
                feeds = {
                    "condition": condition, "noisy_motion": motion[None], "past_motion": past[None],
                    "step": np.full((1, 1), t, np.float32),
                }  # fmt: skip
                motion = motion + self.sessions["denoiser"].run(["velocity"], feeds)[0][0] / n_steps
            made = np.concatenate([made, motion[:, known:]], axis=1)
        return made[:, known:] * std + mean


def level_of(mel: FloatArray) -> NDArray[np.float64]:
    """Loudness 0..1 at 25 frames a second of a mel [80, n]: what the life teacher goes by."""
    level = loudness(mel)
    level = np.clip((level - np.quantile(level, 0.95)) / 3 + 1, 0, 1)
    return level[: len(level) // 4 * 4].reshape(-1, 4).mean(1).astype(np.float64)


def life_figures(motion: FloatArray, stride: int) -> Dict[str, float]:
    """What people are measured by, of one clip [9, n]; `seam`: how much larger the steps between windows are."""
    c = dict(zip(life.CHANNELS, motion.astype(np.float64)))
    seconds = motion.shape[1] / life.FPS
    shut = c["blink"] > 0.5
    # the nose stands half an interocular distance before the axis that the head turns about
    nose = np.stack([c["tx"] + 0.52 * np.sin(c["yaw"]), c["ty"] + 0.52 * np.sin(c["pitch"])])
    steps = np.abs(np.diff(motion[4:], axis=1)).mean(0)  # of the head
    at_seam = np.arange(1, motion.shape[1]) % stride == 0
    return {
        "blinks/min": float((shut[1:] & ~shut[:-1]).sum() / seconds * 60),
        "nose/s": float(np.hypot(*np.diff(nose, axis=1)).sum() / seconds),
        "roll deg": float(np.degrees(np.ptp(c["roll"]))),
        "yaw deg": float(np.degrees(np.ptp(c["yaw"]))),
        "at viewer": float((np.hypot(c["gaze_x"], c["gaze_y"]) < 0.25).mean()),
        "gaze jumps/s": float((np.abs(np.diff(c["gaze_x"])) > 0.2).sum() / seconds),
        "brow std": float(c["brow"].std()),
        "start": float(np.abs(motion[:, 0]).max()),
        "seam": float(steps[at_seam].mean() / steps[~at_seam].mean()),
    }


def held_out_clips(corpus: Corpus, n_clips: int, n_frames: int) -> List[Tuple[FloatArray, FloatArray]]:
    """Clips of held-out voices: mel [80, n], targets [n // 4, 7]."""
    rng = np.random.default_rng(31)
    clips = [corpus.stream(n_frames, rng) for _ in range(n_clips)]
    return [(mel.T, to_motion_rate(targets)) for mel, targets in clips]


def report_lips(bundle: Bundle, clips: List[Tuple[FloatArray, FloatArray]], image: FloatArray) -> None:
    """Prints how the lips follow the teacher, and what a rounding, a tuck and a closure are told by."""
    lips, closure, visemes, truth = [], [], [], []
    for mel, targets in clips:
        one, shut, classes, _ = bundle.encode(mel, image)
        lips.append(one), closure.append(shut), visemes.append(classes), truth.append(targets.T)
    predicted, real = np.concatenate(lips, 1), np.concatenate(truth, 1)
    shut, held = np.concatenate(closure) > bundle.settings["closure"]["enter"], real[5] > 0.5
    figures = [f"{name} {correlation(predicted[k], real[k]):.2f}" for k, name in enumerate(teacher.CHANNELS)]
    print(f"lips on held-out voices, r with the teacher: {', '.join(figures)}")
    right = (np.concatenate(visemes, 1).argmax(0) == real[6]).mean()
    recall, precision = (shut & held).sum() / held.sum(), (shut & held).sum() / max(1, shut.sum())
    print(f"closure frames: recall {recall:.2f}, precision {precision:.2f}; visemes right {right:.2f}")
    places = (("silences", real[6] == VISEME_OF[PAUSE]), ("open vowels", real[6] == VISEME_OF["a"]), ("p b m", held))
    print("mean jaw in " + ", ".join(f"{name} {predicted[0, where].mean():.2f}" for name, where in places))


def report_life(bundle: Bundle, clips: List[Tuple[FloatArray, FloatArray]], image: FloatArray) -> None:
    """Prints the statistics of the sampled channels for some numbers of steps, and the teacher's."""
    rng = np.random.default_rng(41)
    rows: Dict[str, List[Dict[str, float]]] = {"teacher": []}
    for mel, _ in clips:
        conditions = bundle.encode(mel, image)[3]
        take = life.sample(level_of(mel), np.array(FACE_TYPICAL, np.float32), rng).T
        rows["teacher"].append(life_figures(take, bundle.stride))
        for n_steps in (4, 10, 25):
            rows.setdefault(f"{n_steps} steps", []).append(
                life_figures(bundle.live(conditions, n_steps, rng), bundle.stride)
            )
    print(f"{'':10}" + "".join(f"{name:>13}" for name in rows["teacher"][0]))
    for name, figures in rows.items():
        print(f"{name:10}" + "".join(f"{np.mean([row[key] for row in figures]):13.3f}" for key in figures[0]))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the bundle on voices held out of training.")
    parser.add_argument("--corpus", type=Path, default=BUILD / "corpus.npz")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    args = parser.parse_args()
    bundle = Bundle(args.bundle)
    clips = held_out_clips(Corpus(args.corpus, held_out=True), 24, 800)
    image = np.full((1, 3, 224, 224), 0.5, np.float32)
    report_lips(bundle, clips, image)
    report_life(bundle, clips, image)


if __name__ == "__main__":
    main()
