"""Trains SonicNet.

    python -m models.train [--effort 1.0] [--corpus models/build/corpus.npz] [--out models/build/trained]

Three parts one after the other: the lips on the speech corpus, the face branch on faces with known answers, then, with
both frozen, the condition and the denoiser on takes of the statistical teacher.
"""

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Callable, Dict, Iterator, List, Tuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
import cv2
import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from numpy.typing import NDArray

from models import BUILD, faces
from models.batches import (
    Batch,
    Corpus,
    cut,
    face_batch,
    life_speech,
    life_starts,
    life_statistics,
    life_takes,
    lip_targets,
    speech_batch,
)
from models.losses import FaceLoss, FlowLoss, LipLoss
from models.network import FRAMES, N_LIPS, Denoiser, Encoder
from models.teacher import CHANNELS

SEED = 1
STEPS = {"lips": 3600, "face": 2400, "life": 6000}
"""The parts in order, and their steps. Steps, not minutes, so that a busy machine gives the same weights."""
N_CLIPS, WINDOWS_HEARD = 720, 8  # clips that the denoiser is trained on, and windows of each
N_TAKES, PER_TAKE = 12, 4  # clips of a batch, and windows of each
STEP_MEAN = -0.6  # of the flow time's logit: earlier than the middle, where events are decided


def _produce(make: Callable[[np.random.Generator], Batch], seed: int, queue: "Queue[Batch]") -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    while True:
        queue.put(make(rng))


def prefetched(make: Callable[[np.random.Generator], Batch], seed: int) -> Iterator[Batch]:
    """Batches made by another process while this one trains."""
    context = get_context("fork")
    queue = context.Queue(6)
    process = context.Process(target=_produce, args=(make, seed, queue), daemon=True)
    process.start()
    try:
        while True:
            try:
                yield queue.get(timeout=60)
            except Empty:
                raise RuntimeError(f"the process that makes batches has exited: exit code {process.exitcode}") from None
    finally:
        process.terminate()


@dataclass
class Averaged:
    """Exponential mean of weights and norm statistics: steadier than the optimiser's last values."""

    parameters: List[Parameter]
    keep: float = 0.995

    def __post_init__(self) -> None:
        self.means = [parameter.asnumpy().copy() for parameter in self.parameters]
        self.steps = 0

    def update(self) -> None:
        """After each step."""
        self.steps += 1
        keep = min(self.keep, self.steps / (self.steps + 10))
        for mean, parameter in zip(self.means, self.parameters):
            mean *= keep
            mean += (1 - keep) * parameter.asnumpy()

    def apply(self) -> None:
        """At the end: the means become the weights."""
        for mean, parameter in zip(self.means, self.parameters):
            parameter.set_data(Tensor(mean))


def fit(
    name: str, loss: nn.Cell, cells: List[nn.Cell], batches: Iterator[Tuple[Tensor, ...]], n_steps: int, rate: float
) -> None:
    """Train cells for so many steps, learning rate up over the first 60 and down along a cosine."""
    parameters = [parameter for cell in cells for parameter in cell.trainable_params()]
    optimiser = nn.AdamWeightDecay(parameters, learning_rate=rate, weight_decay=0.02)
    step = nn.TrainOneStepCell(loss, optimiser)
    step.set_train()
    averaged = Averaged([parameter for cell in cells for parameter in cell.get_parameters()])
    started, losses = time.monotonic(), []
    for i, batch in zip(range(n_steps), batches):
        now = rate * min(1.0, (i + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * i / n_steps)) + 1e-5
        ops.assign(optimiser.learning_rate, Tensor(now, ms.float32))
        losses.append(float(step(*batch).asnumpy()))
        averaged.update()
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"{name}: loss is {losses[-1]} at step {i + 1}")
        if (i + 1) % 100 == 0:
            elapsed = time.monotonic() - started
            print(f"{name} {i + 1:5d} of {n_steps}, {elapsed:4.0f} s, loss {np.mean(losses[-100:]):.4f}", flush=True)
    averaged.apply()


def tensors(batches: Iterator[Batch]) -> Iterator[Tuple[Tensor, ...]]:
    """The same batches as MindSpore tensors."""
    for batch in batches:
        yield tuple(Tensor(np.ascontiguousarray(array)) for array in batch)


def spoken(encoder: Encoder, audio: NDArray[np.float32]) -> Batch:
    """Lips of a typical face [n, 5, 40], closure logits [n, 1, 40], visemes [n, 16, 40] of windows [n, 1, 80, 160]."""
    encoder.set_train(False)
    raw, closure, logits = encoder.heads(encoder.trunk(Tensor(audio)))
    lips, visemes = encoder.spoken(raw, logits)
    return lips.asnumpy(), closure.asnumpy(), visemes.asnumpy()


def calibrate(encoder: Encoder, unheard: Corpus) -> None:
    """Set the gain and shift of jaw, width and round so that they span what the teacher's do.

    On augmented speech of unseen voices, where the network is as uncertain as on real speech. The spans are from
    the 5th to the 95th percentile; the gain is at most 1.6, because it amplifies errors too.
    """
    gain, shift = np.ones(N_LIPS), np.zeros(N_LIPS)
    set_gain(encoder, gain, shift)
    audio, targets = speech_batch(unheard, np.random.default_rng(SEED + 4), 24)
    lips, _, _ = spoken(encoder, audio)
    for channel in range(3):
        made = np.quantile(lips[:, channel], (0.05, 0.95))
        wanted = np.quantile(targets[:, channel], (0.05, 0.95))
        gain[channel] = np.clip(np.ptp(wanted) / max(np.ptp(made), 1e-3), 1.0, 1.6)
        shift[channel] = wanted[0] - gain[channel] * made[0]
    print(f"lips' gain {np.round(gain, 2).tolist()}, shift {np.round(shift, 3).tolist()}", flush=True)
    set_gain(encoder, gain, shift)


def set_gain(encoder: Encoder, gain: NDArray[np.float64], shift: NDArray[np.float64]) -> None:
    """Set how the lip channels [5] are stretched on their way out."""
    encoder.spoken.gain.set_data(Tensor(gain.astype(np.float32).reshape(1, N_LIPS, 1)))
    encoder.spoken.shift.set_data(Tensor(shift.astype(np.float32).reshape(1, N_LIPS, 1)))


def report_lips(encoder: Encoder, corpus: Corpus) -> None:
    """The quality of lips on voices held out of training."""
    audio, targets = speech_batch(corpus, np.random.default_rng(7), 24, raw=True)
    lips, closure, visemes = spoken(encoder, audio)
    inner = slice(4, -4)
    r = [np.corrcoef(lips[:, k, inner].ravel(), targets[:, k, inner].ravel())[0, 1] for k in range(5)]
    figures = ", ".join(f"{name} {value:.2f}" for name, value in zip(CHANNELS, r))
    shut, truly = closure[:, 0, inner] > 0, targets[:, 5, inner] > 0.5
    right = (visemes.argmax(1) == targets[:, 6])[:, inner].mean()
    recall, precision = (shut & truly).sum() / truly.sum(), (shut & truly).sum() / max(1, shut.sum())
    print(
        f"held-out voices: r {figures}, closure recall {recall:.2f} precision {precision:.2f}, visemes {right:.2f}",
        flush=True,
    )


@dataclass(frozen=True)
class HeardSpeech:
    """Clips with the frozen trunk's output computed once, so that no batch waits for it."""

    level: NDArray[np.float64]
    """[n, LIFE_STREAM] loudness of each clip."""
    starts: NDArray[np.int64]
    """[n, k] where the windows begin."""
    features: NDArray[np.float16]
    """[n, k, WIDTH, 1, 40] the trunk's output for each window."""


def hear(encoder: Encoder, corpus: Corpus, rng: np.random.Generator, n_clips: int) -> HeardSpeech:
    """Run the trunk over windows of many clips."""
    trunk = encoder.trunk.set_train(False)
    levels, all_starts, features = [], [], []
    for _ in range(-(-n_clips // N_TAKES)):
        heard, level = life_speech(corpus, rng, N_TAKES)
        starts = life_starts(rng, N_TAKES * WINDOWS_HEARD).reshape(N_TAKES, WINDOWS_HEARD)
        made = trunk(Tensor(cut(heard, starts))).asnumpy().astype(np.float16)
        levels.append(level)
        all_starts.append(starts)
        features.append(made.reshape(N_TAKES, WINDOWS_HEARD, *made.shape[1:]))
    return HeardSpeech(np.concatenate(levels), np.concatenate(all_starts), np.concatenate(features))


def flow_batch(
    heard: HeardSpeech, mean: NDArray[np.float32], std: NDArray[np.float32], rng: np.random.Generator
) -> Batch:
    """The denoiser's batch: features, the face read, normalised motion, what is known, weights, noise, flow time."""
    clips = rng.choice(len(heard.level), N_TAKES, replace=False)
    windows = np.argsort(rng.random((N_TAKES, WINDOWS_HEARD)))[:, :PER_TAKE]  # [N_TAKES, PER_TAKE]
    starts = np.take_along_axis(heard.starts[clips], windows, 1)
    features = heard.features[clips[:, None], windows].reshape(-1, *heard.features.shape[2:])
    face, motion, known = life_takes(heard.level[clips], starts, rng)
    motion = (motion - mean[:, None]) / std[:, None]
    n = len(motion)
    # events (a blink, a glance) are decided early: more of the steps there
    step = 1 / (1 + np.exp(-rng.normal(STEP_MEAN, 1.0, (n, 1))))
    step = np.where(rng.random((n, 1)) < 0.15, rng.random((n, 1)), step).clip(0, 0.98)
    unknown = 1 - known
    first = np.diff(unknown, axis=1, prepend=unknown[:, :1]) > 0  # where new frames meet known ones: the visible seam
    weight = unknown * (1 + 2 * first)
    weight *= FRAMES / np.maximum(weight.sum(1, keepdims=True), 8)  # a window counts fully even if little of it is new
    noise = rng.standard_normal(motion.shape)
    batch = (features, face, motion, known[:, None], weight[:, None], noise, step)
    return tuple(np.ascontiguousarray(x, np.float32) for x in batch)


def save(folder: Path, cells: Dict[str, nn.Cell]) -> None:
    """Write every stage's checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    for stage, cell in cells.items():
        # names by place in the cell: training, which wraps cells in cells, renames the parameters themselves
        named = [{"name": name, "data": parameter} for name, parameter in cell.parameters_and_names()]
        ms.save_checkpoint(named, str(folder / f"{stage}.ckpt"))


def load(folder: Path, cells: Dict[str, nn.Cell]) -> None:
    """Read every stage's checkpoint into its cell."""
    for stage, cell in cells.items():
        missing, _ = ms.load_param_into_net(cell, ms.load_checkpoint(str(folder / f"{stage}.ckpt")), strict_load=True)
        if missing:
            raise ValueError(f"{folder / stage}.ckpt lacks {', '.join(missing)}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train SonicNet.")
    parser.add_argument("--effort", type=float, default=1.0, help="share of the usual steps: 0.02 for a trial")
    parser.add_argument("--corpus", type=Path, default=BUILD / "corpus.npz")
    parser.add_argument("--out", type=Path, default=BUILD / "trained")
    parser.add_argument("--only", nargs="+", choices=list(STEPS), help="these parts; the others as --out has them")
    args = parser.parse_args()
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    ms.set_seed(SEED)
    heard, held_out = Corpus(args.corpus, held_out=False), Corpus(args.corpus, held_out=True)
    encoder, denoiser = Encoder(heard.viseme_lips()), Denoiser()
    cells = {"encoder": encoder, "denoiser": denoiser}
    if args.only and any(args.out.glob("*.ckpt")):
        load(args.out, cells)
    for part in args.only or STEPS:
        n_steps = max(1, round(args.effort * STEPS[part]))
        if part == "face":
            faces.load()  # made first, because others wait for it
            batches = tensors(prefetched(face_batch, SEED))
            fit(part, FaceLoss(encoder), [encoder.face_branch], batches, n_steps, 2e-3)
        elif part == "lips":
            batches = tensors(lip_targets(prefetched(partial(speech_batch, heard), SEED + 1)))
            fit(part, LipLoss(encoder), [encoder.trunk, encoder.heads], batches, n_steps, 2.5e-3)
            calibrate(encoder, held_out)
            report_lips(encoder, held_out)
        else:
            mean, std = life_statistics(heard, np.random.default_rng(SEED + 2))
            listened = hear(encoder, heard, np.random.default_rng(SEED + 5), N_CLIPS)
            batches = tensors(prefetched(partial(flow_batch, listened, mean, std), SEED + 3))
            fit(part, FlowLoss(encoder, denoiser), [encoder.condition, denoiser], batches, n_steps, 2e-3)
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "life.json").write_text(json.dumps({"mean": mean.tolist(), "std": std.tolist()}))
        save(args.out, cells)
        print(f"{part}: saved {args.out}", flush=True)


if __name__ == "__main__":
    main()
