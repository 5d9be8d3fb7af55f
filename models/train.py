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
from pathlib import Path
from queue import Empty
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
import cv2
import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from numpy.typing import NDArray

from models import BUILD, faces, life
from models.augment import augment
from models.corpus import HELD_OUT
from models.network import (
    FACE,
    FRAMES,
    MEL_FRAMES,
    MEL_PER_FRAME,
    N_LIPS,
    N_VISEMES,
    Denoiser,
    Encoder,
)
from models.teacher import CHANNELS
from sonic_edge.mel import MelSettings, loudness, normalise, speech_mean

SEED = 1
STREAM = 480  # mel frames of a training stream: three windows share one normalisation, as in a clip
N_STREAMS = 16
N_FACES = 48
STEPS = {"lips": 3600, "face": 2400, "life": 6000}
"""The parts in order, and their steps. Counted in steps, not minutes: a busy machine gives the same weights."""
LOWEST = MelSettings().clip[0] / MelSettings().scale
"""Normalised mel of nothing at all."""
FACE_ERROR = np.array([0.08, 0.1, 0.3, 0.05, 0.025, 0.08, 0.06], np.float32)
"""About how far the face branch is off on a portrait it has not seen: the denoiser is told faces with such errors."""
MEAN_ERROR = 0.12
"""Error of the speech mean that lips should not mind: of its level, and of its slope over the bands; as normalised."""
ANSWERS_SPREAD = (0.10, 0.11, 0.17, 0.05, 0.05, 0.15, 0.09)
"""Of the answers among the faces trained on: what counts as a large mistake."""
PAST, PAST_LIVE = 16, 38  # frames of a window that the ones before have already made: offline, streaming
LEAD = FRAMES  # frames of silence before a clip, for windows that begin before it
LIFE_STREAM = 160  # frames of a clip that takes of the teacher are cut from
N_CLIPS, WINDOWS_HEARD = 720, 8  # clips that the denoiser is trained on, and windows of each
N_TAKES, PER_TAKE = 12, 4  # clips of a batch, and windows of each
JUMP = 0.3  # weight of the error's own steps
STEP_MEAN = -0.6  # of the flow time's logit: earlier than the middle, where events are decided
BLINK_UNIT = 2.0
Batch = Tuple[NDArray[Any], ...]


class Corpus:
    """The corpus file, opened: utterances by index."""

    def __init__(self, path: Path, held_out: bool) -> None:
        data = np.load(path)
        self.arrays = {key: data[key] for key in ("mel", "lips", "held", "viseme")}
        self.ends = np.cumsum(data["lengths"])
        self.starts = self.ends - data["lengths"]
        self.voices: List[str] = [str(voice) for voice in data["voices"]]
        self.kept = [i for i, v in enumerate(self.voices) if any(name in v for name in HELD_OUT) == held_out]
        # recorded timbre counts for more than formant synthesis
        weight = np.array(
            [data["lengths"][i] * (1.0 if self.voices[i].startswith("espeak") else 2.0) for i in self.kept]
        )
        self.share = weight / weight.sum()

    def mel(self, i: int) -> NDArray[np.float32]:
        """Utterance i, [n_frames, 80]."""
        return self.arrays["mel"][self.starts[i] : self.ends[i]].astype(np.float32)

    def viseme_lips(self) -> NDArray[np.float32]:
        """[16, 5] mean lips that the teacher gives each viseme: how the network reads its class probabilities."""
        lips, viseme = self.arrays["lips"], self.arrays["viseme"]
        total = np.stack([np.bincount(viseme, channel.astype(np.float64), N_VISEMES) for channel in lips.T], axis=1)
        return (total / np.maximum(np.bincount(viseme, minlength=N_VISEMES), 1)[:, None]).astype(np.float32)

    def stream(self, n_frames: int, rng: np.random.Generator) -> Tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Utterances one after the other with pauses, each at its own tempo.

        Returns:
            mel [n_frames, 80] and targets [n_frames, 7]: lips (5), lips held shut, viseme.
        """
        mels: List[NDArray[np.float32]] = []
        targets: List[NDArray[np.float32]] = []
        total = 0
        while total < n_frames + 8:
            i = self.kept[int(rng.choice(len(self.kept), p=self.share))]
            part = slice(self.starts[i], self.ends[i])
            mel = self.arrays["mel"][part].astype(np.float32)
            columns = [
                self.arrays["lips"][part],
                self.arrays["held"][part][:, None],
                self.arrays["viseme"][part][:, None],
            ]
            target = np.concatenate(columns, axis=1).astype(np.float32)
            tempo = rng.uniform(0.78, 1.3)
            length = int(len(mel) / tempo)
            start = 0 if mels else int(rng.integers(0, max(1, length - n_frames // 2)))
            at = np.minimum(np.arange(start, min(length, start + n_frames + 8)) * tempo, len(mel) - 1.001)
            low = at.astype(int)
            part_of_next = (at - low).astype(np.float32)[:, None]
            mels.append(mel[low] * (1 - part_of_next) + mel[low + 1] * part_of_next)
            between = target[low] * (1 - part_of_next) + target[low + 1] * part_of_next
            between[:, 5:] = target[low][:, 5:]  # classes are not mixed
            targets.append(between)
            total += len(at)
            gap = int(rng.integers(5, 90)) if rng.random() < 0.6 else 0
            if gap:  # a pause: the utterance's own noise floor
                floor = np.quantile(mel, 0.03) + 0.15 * rng.standard_normal((gap, mel.shape[1]))
                mels.append(floor.astype(np.float32))
                rest = np.zeros((gap, 7), np.float32)
                rest[:, 0] = 0.12 if gap < 35 else 0.03  # as the lip teacher has it
                targets.append(rest)
                total += gap
        shift = int(rng.integers(0, 8))
        return np.concatenate(mels)[shift : shift + n_frames], np.concatenate(targets)[shift : shift + n_frames]


def to_motion_rate(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Targets at 100 frames a second [n, 7] to 25 [n // 4, 7]; frame j is centred on 4 j + 1.5, as the network's is."""
    four = targets.reshape(-1, MEL_PER_FRAME, 7)
    out: NDArray[np.float32] = four[:, 1:3].mean(1)
    out[:, 3:6] = four[:, :, 3:6].max(1)  # a short closure is not averaged away
    out[:, 6] = four[:, 2, 6]
    return out


def speech_batch(corpus: Corpus, rng: np.random.Generator, n_streams: int = N_STREAMS, raw: bool = False) -> Batch:
    """Windows as the runtime cuts them.

    Returns:
        audio [3 n, 1, 80, 160], targets [3 n, 7, 40], loudness 0..1 [3 n, 40].
    """
    streams = [corpus.stream(STREAM, rng) for _ in range(n_streams)]
    clean = np.stack([mel.T for mel, _ in streams])  # [n, 80, 480]
    heard = clean if raw else augment(clean, rng)
    settings = MelSettings()
    audio = np.stack([normalise(mel, speech_mean(mel, settings), settings) for mel in heard])
    if not raw:  # of sound that is still arriving the mean is known less well
        wrong = MEAN_ERROR * rng.standard_normal((2, n_streams, 1, 1)) * (rng.random((n_streams, 1, 1)) < 0.6)
        slope = np.linspace(-1.7, 1.7, audio.shape[1])[:, None]
        audio = (audio + wrong[0] + wrong[1] * slope).astype(np.float32)
    for i in range(n_streams):  # what the runtime puts before the start and after the end of a clip
        if not raw and rng.random() < 0.25:
            n = PAST * MEL_PER_FRAME if rng.random() < 0.5 else int(rng.integers(1, 20)) * MEL_PER_FRAME
            outside = slice(0, n) if rng.random() < 0.6 else slice(STREAM - n, STREAM)
            audio[i, :, outside] = LOWEST
            streams[i][1][outside] = [0.03, 0, 0, 0, 0, 0, 0]
    targets = np.stack([to_motion_rate(target).T for _, target in streams])  # [n, 7, 120]
    level = np.stack([loudness(mel) for mel in clean])
    level = np.clip((level - np.quantile(level, 0.95, axis=1, keepdims=True)) / 3 + 1, 0, 1)  # 30 dB
    level = level.reshape(n_streams, -1, MEL_PER_FRAME).mean(2)

    def windows(x: NDArray[Any], size: int) -> NDArray[Any]:  # [n, C, 3 size] -> [3 n, C, size]
        return x.reshape(n_streams, -1, 3, size).transpose(0, 2, 1, 3).reshape(n_streams * 3, -1, size)

    audio = windows(audio, MEL_FRAMES)[:, None].astype(np.float32)
    return audio, windows(targets, FRAMES).astype(np.float32), windows(level[:, None], FRAMES)[:, 0].astype(np.float32)


def face_batch(
    rng: np.random.Generator, n_faces: int = N_FACES, material: Optional[faces.Material] = None
) -> Batch:
    """Grey pictures [n, 1, 224, 224] and answers [n, 7], of the pool or other material, held-out heads never."""
    material = material or faces.load()
    chosen = rng.choice(material.taught(), n_faces, False)
    examples = [faces.photographed(material.pictures[i], material.answers[i], rng) for i in chosen]
    return np.stack([picture for picture, _ in examples])[:, None], np.stack([answers for _, answers in examples])


def random_face(rng: np.random.Generator) -> NDArray[np.float32]:
    """The rest state of some portrait, in the order of `FACE`; one in four turned or shut-eyed further than most."""
    shut = rng.random() < 0.7
    odd = rng.random() < 0.25
    face = {
        "mouth_opening": rng.uniform(-0.02, 0.05) if shut else rng.uniform(0.05, 0.4),
        "mouth_width": rng.uniform(0.6, 1.1),
        "teeth": rng.uniform(0, 0.2) if shut else rng.uniform(0, 1),
        "lips": rng.uniform(0.1, 0.35),
        "eye_opening": rng.uniform(0.0, 0.08) if odd and rng.random() < 0.5 else rng.uniform(0.07, 0.24),
        "yaw": rng.uniform(-0.6, 0.6) if odd else rng.normal(0, 0.2),
        "pitch": rng.uniform(-0.4, 0.4) if odd else rng.normal(0, 0.12),
    }
    return np.array([face[name] for name in FACE], np.float32)


def life_speech(corpus: Corpus, rng: np.random.Generator, n: int) -> Tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Clips as the runtime hears them, the silence before them included.

    Returns:
        heard [n, 80, 4 (LEAD + LIFE_STREAM)], normalised, and the loudness of the clips alone, 0..1, [n, LIFE_STREAM].
    """
    settings = MelSettings()
    clean = np.stack([corpus.stream(LIFE_STREAM * MEL_PER_FRAME, rng)[0].T for _ in range(n)])
    clips = np.stack([normalise(mel, speech_mean(mel, settings), settings) for mel in augment(clean, rng)])
    heard = np.pad(clips, ((0, 0), (0, 0), (LEAD * MEL_PER_FRAME, 0)), constant_values=LOWEST)
    level = np.stack([loudness(mel) for mel in clean]).astype(np.float64)
    level = np.clip((level - np.quantile(level, 0.95, axis=1, keepdims=True)) / 3 + 1, 0, 1)  # 30 dB
    return heard.astype(np.float32), level.reshape(n, LIFE_STREAM, MEL_PER_FRAME).mean(2)


def life_starts(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Where windows begin in `life_speech`, [n]: anywhere, one in four before the clip does."""
    early = rng.random(n) < 0.25
    first = np.where(rng.random(n) < 0.4, LEAD - PAST, rng.integers(1, LEAD, n))  # offline there is one such place
    return np.where(early, first, rng.integers(LEAD, LIFE_STREAM + 1, n))


def life_takes(level: NDArray[np.float64], starts: NDArray[np.int64], rng: np.random.Generator) -> Batch:
    """A take of the teacher for each clip, cut into windows.

    Args:
        level: [n, LIFE_STREAM] loudness of the clips.
        starts: [n, k] where each one's windows begin.
        rng: Where faces, takes and what is known are drawn from.

    Returns:
        face [n k, len(FACE)] as the face branch might read it, motion [n k, 9, 40] and known [n k, 40], 1 for the
        frames from the first on that the runtime has made before: 16 offline, 38 in streaming, and any other number.
    """
    faces_read, motion, known = [], [], []
    for clip, firsts in zip(level, starts):
        face = random_face(rng)
        take = np.pad(life.sample(clip, face, rng).T, ((0, 0), (LEAD, 0)))  # before the clip: the portrait's own pose
        read = face + FACE_ERROR * rng.standard_normal(len(FACE)).astype(np.float32)
        for first in firsts:
            n_known = int(rng.choice([0, PAST, PAST_LIVE, rng.integers(1, FRAMES)], p=[0.08, 0.35, 0.32, 0.25]))
            n_known = min(max(n_known, LEAD - int(first)), FRAMES - 1)
            faces_read.append(read)
            motion.append(take[:, first : first + FRAMES])
            known.append(np.arange(FRAMES) < n_known)
    return np.stack(faces_read), np.stack(motion), np.stack(known).astype(np.float32)


def life_batch(corpus: Corpus, rng: np.random.Generator, n_clips: int = 10, n_windows: int = 3) -> Batch:
    """Speech windows with the teacher's motion, as the runtime walks through a clip.

    Returns:
        audio [n, 1, 80, 160], and face [n, len(FACE)], motion [n, 9, 40] and known [n, 40] of `life_takes`.
    """
    heard, level = life_speech(corpus, rng, n_clips)
    starts = life_starts(rng, n_clips * n_windows).reshape(n_clips, n_windows)
    audio = [
        mel[:, first * MEL_PER_FRAME : first * MEL_PER_FRAME + MEL_FRAMES]
        for mel, firsts in zip(heard, starts)
        for first in firsts
    ]
    return (np.stack(audio)[:, None], *life_takes(level, starts, rng))


class FaceLoss(nn.Cell):
    """Weighted squared error of the face's answers."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.branch = encoder.face_branch
        self.weight = Tensor(1 / np.array([ANSWERS_SPREAD], np.float32))
        self.mean = ops.ReduceMean()

    def construct(self, image, answers):
        """As the class says."""
        error = (self.branch(image) - answers) * self.weight
        return self.mean(error * error)


class LipLoss(nn.Cell):
    """Regression, its speed, closures and visemes."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.trunk = encoder.trunk
        self.heads = encoder.heads
        self.mean = ops.ReduceMean()
        self.sum = ops.ReduceSum()
        self.log_softmax = nn.LogSoftmax(axis=1)
        self.softplus = ops.Softplus()
        self.channel_weight = Tensor(np.array([2, 1, 1, 1, 0.7], np.float32).reshape(1, 5, 1))
        self.rare = Tensor(np.array([0, 0, 4, 4, 4], np.float32).reshape(1, 5, 1))
        viseme_weight = np.ones((1, N_VISEMES, 1), np.float32)
        viseme_weight[0, :3, 0] = 0.6, 1.5, 1.5  # silence is common, lip consonants matter
        self.viseme_weight = Tensor(viseme_weight)
        ends = np.ones((1, 1, FRAMES), np.float32)
        ends[0, 0, :4] = ends[0, 0, -2:] = 0.4  # half of what they need is outside the window
        self.ends = Tensor(ends)

    def construct(self, audio, lips, held, visemes):
        """As the class says."""
        raw, closure, logits = self.heads(self.trunk(audio))
        error = raw - lips
        weight = self.channel_weight * (1.0 + self.rare * (lips > 0.4).astype(ms.float32))
        loss = self.mean(error * error * weight * self.ends)
        speed = error[:, :, 1:FRAMES] - error[:, :, 0 : FRAMES - 1]
        loss = loss + 0.3 * self.mean(speed * speed * self.channel_weight)
        # cross-entropy on logits, closures three times as dear as openings
        missed = held * 3.0 * self.softplus(-closure) + (1.0 - held) * self.softplus(closure)
        loss = loss + 0.25 * self.mean(missed * self.ends)
        smooth = 0.9 * visemes + 0.1 / N_VISEMES
        entropy = -self.sum(smooth * self.log_softmax(logits) * self.viseme_weight, 1)
        return loss + 0.12 * self.mean(entropy)


class FlowLoss(nn.Cell):
    """Flow matching (Lipman et al. 2023): the velocity from noise to the teacher's motion, where it is not known."""

    def __init__(self, encoder: Encoder, denoiser: Denoiser) -> None:
        super().__init__()
        self.condition = encoder.condition
        self.denoiser = denoiser
        self.mean = ops.ReduceMean()
        self.cat = ops.Concat(axis=1)

    def construct(self, features, face, motion, known, weight, noise, step):
        """As the class says; known and weight [B, 1, 40]."""
        condition = self.condition(features, ops.reshape(face, (-1, len(FACE), 1)))
        past = self.cat((motion * known, known))
        t = ops.reshape(step, (-1, 1, 1))
        noisy = noise * (1.0 - t) + motion * t
        error = self.denoiser(condition, noisy, past, step) - (motion - noise)
        # weighing the error's own steps too leaves the same best answer; a jump is seen before an offset is
        jump = error[:, :, 1:FRAMES] * (1.0 - known[:, :, 1:FRAMES]) - error[:, :, 0 : FRAMES - 1] * (
            1.0 - known[:, :, 0 : FRAMES - 1]
        )
        return self.mean(error * error * weight) + JUMP * self.mean(jump * jump * weight[:, :, 1:FRAMES])


def _produce(make: Callable[[np.random.Generator], Batch], seed: int, queue: Any) -> None:
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
                raise RuntimeError(f"the process that makes batches is gone: exit code {process.exitcode}") from None
    finally:
        process.terminate()


@dataclass
class Averaged:
    """Exponential mean of weights and norm statistics: steadier than where the optimiser last stood."""

    parameters: List[Any]
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


def lip_targets(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Audio, lips [n, 5, 40], held [n, 1, 40] and viseme classes [n, 16, 40] out of speech batches."""
    for audio, targets, _ in batches:
        viseme = targets[:, 6].round().astype(int)  # [n, 40]
        one_hot = np.eye(N_VISEMES, dtype=np.float32)[viseme].transpose(0, 2, 1)  # [n, 16, 40]
        yield audio, targets[:, :5], (targets[:, 5:6] > 0.5).astype(np.float32), one_hot


def spoken(encoder: Encoder, audio: NDArray[np.float32]) -> Batch:
    """Lips of a typical face [n, 5, 40], closure logits [n, 1, 40], visemes [n, 16, 40] of windows [n, 1, 80, 160]."""
    encoder.set_train(False)
    raw, closure, logits = encoder.heads(encoder.trunk(Tensor(audio)))
    lips, visemes = encoder.spoken(raw, logits)
    return lips.asnumpy(), closure.asnumpy(), visemes.asnumpy()


def calibrate(encoder: Encoder, unheard: Corpus) -> None:
    """Set the gain and shift of jaw, width and round so that they span what the teacher's do.

    On augmented speech of voices it has not heard, where the network is as unsure as on real speech. The spans are from
    the 5th to the 95th percentile; the gain is at most 1.6, for it enlarges mistakes too.
    """
    gain, shift = np.ones(N_LIPS), np.zeros(N_LIPS)
    set_gain(encoder, gain, shift)
    audio, targets, _ = speech_batch(unheard, np.random.default_rng(SEED + 4), 24)
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
    """How the lips do on voices that training never heard."""
    audio, targets, _ = speech_batch(corpus, np.random.default_rng(7), 24, raw=True)
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


def life_statistics(corpus: Corpus, rng: np.random.Generator) -> Tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What each life channel is normalised by: mean and spread over takes of the teacher, [9] each.

    Lids rest most of the time and shut altogether, six spreads away; a unit twice as large leaves whether they shut to
    steps at which more of the noise is gone, where the walk takes more of them.
    """
    motion = np.concatenate([life_batch(corpus, rng)[2] for _ in range(20)])
    std = motion.std((0, 2))
    std[life.CHANNELS.index("blink")] *= BLINK_UNIT
    return motion.mean((0, 2)).astype(np.float32), std.astype(np.float32)


@dataclass(frozen=True)
class HeardSpeech:
    """Clips that the frozen trunk has heard once, so that no batch waits for it."""

    level: NDArray[np.float64]
    """[n, LIFE_STREAM] loudness of each clip."""
    starts: NDArray[np.int64]
    """[n, k] where the windows begin."""
    features: NDArray[np.float16]
    """[n, k, WIDTH, 1, 40] what the trunk makes of each window."""


def hear(encoder: Encoder, corpus: Corpus, rng: np.random.Generator, n_clips: int) -> HeardSpeech:
    """Run the trunk over windows of many clips."""
    trunk = encoder.trunk.set_train(False)
    levels, all_starts, features = [], [], []
    for _ in range(-(-n_clips // N_TAKES)):
        heard, level = life_speech(corpus, rng, N_TAKES)
        starts = life_starts(rng, N_TAKES * WINDOWS_HEARD).reshape(N_TAKES, WINDOWS_HEARD)
        audio = np.stack([
            mel[:, first * MEL_PER_FRAME : first * MEL_PER_FRAME + MEL_FRAMES]
            for mel, firsts in zip(heard, starts)
            for first in firsts
        ])  # fmt: skip
        made = trunk(Tensor(audio[:, None])).asnumpy().astype(np.float16)
        levels.append(level), all_starts.append(starts)
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
    # events (a blink, a glance) are decided early on the way: more of the steps there
    step = 1 / (1 + np.exp(-rng.normal(STEP_MEAN, 1.0, (n, 1))))
    step = np.where(rng.random((n, 1)) < 0.15, rng.random((n, 1)), step).clip(0, 0.98)
    unknown = 1 - known
    first = np.diff(unknown, axis=1, prepend=unknown[:, :1]) > 0  # where the new meets the known: the seam that is seen
    weight = unknown * (1 + 2 * first)
    weight *= FRAMES / np.maximum(weight.sum(1, keepdims=True), 8)  # a window counts however little of it is new
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
            faces.load()  # made before others wait for it
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
