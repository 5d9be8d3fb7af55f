"""Training data of SonicNet: speech with its lips, faces with answers, takes of the life teacher."""

from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from models import faces, life
from models.augment import augment
from models.corpus import is_held_out
from models.life import FACE
from models.network import FRAMES, MEL_FRAMES, MEL_PER_FRAME, N_VISEMES
from sonic_edge.model.mel import MelSettings, loud_level, loudness, normalise, speech_mean

STREAM = 480  # mel frames of a training stream: three windows share one normalisation, as in a clip
N_STREAMS = 16
N_FACES = 48
LOWEST = MelSettings().clip[0] / MelSettings().scale
"""Normalised mel of digital silence."""
FACE_ERROR = np.array([0.08, 0.1, 0.3, 0.05, 0.025, 0.08, 0.06], np.float32)
"""Typical error of the face branch on an unseen portrait: the denoiser is trained on faces with such errors."""
MEAN_ERROR = 0.12
"""Error of the speech mean that lips must tolerate: in level, and in slope over the bands; in normalised units."""
PAST, PAST_LIVE = 16, 38  # frames of a window that the ones before have already made, most often: all, all but two
LEAD = FRAMES  # frames of silence before a clip, for windows that begin before it
LIFE_STREAM = 160  # frames of a clip that takes of the teacher are cut from
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
        self.kept = [i for i, v in enumerate(self.voices) if is_held_out(v) == held_out]
        # recorded timbre weighs more than formant synthesis
        weight = np.array(
            [data["lengths"][i] * (1.0 if self.voices[i].startswith("espeak") else 2.0) for i in self.kept]
        )
        self.share = weight / weight.sum()

    def mel(self, i: int) -> NDArray[np.float32]:
        """Utterance i, [n_frames, 80]."""
        mel: NDArray[np.float32] = self.arrays["mel"][self.starts[i] : self.ends[i]].astype(np.float32)
        return mel

    def viseme_lips(self) -> NDArray[np.float32]:
        """[16, 5] mean lips of the teacher for each viseme, which map class probabilities to lips."""
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
            mel = self.mel(i)
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
                rest[:, 0] = 0.12 if gap < 35 else 0.03  # as in the lip teacher
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
        audio [3 n, 1, 80, 160], targets [3 n, 7, 40].
    """
    streams = [corpus.stream(STREAM, rng) for _ in range(n_streams)]
    clean = np.stack([mel.T for mel, _ in streams])  # [n, 80, 480]
    heard = clean if raw else augment(clean, rng)
    settings = MelSettings()
    audio = np.stack([normalise(mel, speech_mean(mel, settings), settings) for mel in heard])
    if not raw:  # for sound that is still arriving the mean is less certain
        wrong = MEAN_ERROR * rng.standard_normal((2, n_streams, 1, 1)) * (rng.random((n_streams, 1, 1)) < 0.6)
        slope = np.linspace(-1.7, 1.7, audio.shape[1])[:, None]
        audio = (audio + wrong[0] + wrong[1] * slope).astype(np.float32)
    for i in range(n_streams):  # the runtime's padding before and after a clip
        if not raw and rng.random() < 0.25:
            n = PAST * MEL_PER_FRAME if rng.random() < 0.5 else int(rng.integers(1, 20)) * MEL_PER_FRAME
            outside = slice(0, n) if rng.random() < 0.6 else slice(STREAM - n, STREAM)
            audio[i, :, outside] = LOWEST
            streams[i][1][outside] = [0.03, 0, 0, 0, 0, 0, 0]
    targets = np.stack([to_motion_rate(target).T for _, target in streams])  # [n, 7, 120]

    def windows(x: NDArray[Any], size: int) -> NDArray[Any]:  # [n, C, 3 size] -> [3 n, C, size]
        return x.reshape(n_streams, -1, 3, size).transpose(0, 2, 1, 3).reshape(n_streams * 3, -1, size)

    audio = windows(audio, MEL_FRAMES)[:, None].astype(np.float32)
    return audio, windows(targets, FRAMES).astype(np.float32)


def face_batch(rng: np.random.Generator, n_faces: int = N_FACES, material: Optional[faces.Material] = None) -> Batch:
    """Grey pictures [n, 1, 224, 224] and answers [n, 7], from the pool or other material, never of held-out heads."""
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


def heard_level(mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Loudness of speech [80, 4 n], 0 (30 dB under the loud parts) .. 1, 25 frames a second [n]: what life goes by."""
    level = loudness(mel).astype(np.float64)
    loud = loud_level(level)  # type: ignore[arg-type]  # what it takes as single precision it counts in double as well
    level = np.clip((level - loud) / 3 + 1, 0, 1)
    out: NDArray[np.float64] = level.reshape(-1, MEL_PER_FRAME).mean(1)
    return out


def cut(heard: NDArray[np.float32], starts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Windows [n k, 1, 80, 160] of clips [n, 80, any] from motion frames [n, k] on."""
    windows = [
        mel[:, first * MEL_PER_FRAME : first * MEL_PER_FRAME + MEL_FRAMES]
        for mel, firsts in zip(heard, starts)
        for first in firsts
    ]
    return np.stack(windows)[:, None]


def life_speech(corpus: Corpus, rng: np.random.Generator, n: int) -> Tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Clips as the runtime processes them, including the silence before them.

    Returns:
        heard [n, 80, 4 (LEAD + LIFE_STREAM)], normalised, and the loudness of the clips alone, 0..1, [n, LIFE_STREAM].
    """
    settings = MelSettings()
    clean = np.stack([corpus.stream(LIFE_STREAM * MEL_PER_FRAME, rng)[0].T for _ in range(n)])
    clips = np.stack([normalise(mel, speech_mean(mel, settings), settings) for mel in augment(clean, rng)])
    heard = np.pad(clips, ((0, 0), (0, 0), (LEAD * MEL_PER_FRAME, 0)), constant_values=LOWEST)
    return heard.astype(np.float32), np.stack([heard_level(mel) for mel in clean])


def life_starts(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Where windows begin in `life_speech`, [n]: anywhere, one in four before the clip does."""
    early = rng.random(n) < 0.25
    first = np.where(rng.random(n) < 0.4, LEAD - PAST, rng.integers(1, LEAD, n))  # offline there is one such position
    return np.where(early, first, rng.integers(LEAD, LIFE_STREAM + 1, n))


def life_takes(level: NDArray[np.float64], starts: NDArray[np.int64], rng: np.random.Generator) -> Batch:
    """A take of the teacher for each clip, cut into windows.

    Args:
        level: [n, LIFE_STREAM] loudness of the clips.
        starts: [n, k] where each one's windows begin.
        rng: Random source of faces, takes and known frames.

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
            n_known = int(rng.choice([0, PAST, PAST_LIVE, int(rng.integers(1, FRAMES))], p=[0.08, 0.35, 0.32, 0.25]))
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
    return (cut(heard, starts), *life_takes(level, starts, rng))


def lip_targets(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Audio, lips [n, 5, 40], held [n, 1, 40] and viseme classes [n, 16, 40] out of speech batches."""
    for audio, targets in batches:
        viseme = targets[:, 6].round().astype(int)  # [n, 40]
        one_hot = np.eye(N_VISEMES, dtype=np.float32)[viseme].transpose(0, 2, 1)  # [n, 16, 40]
        yield audio, targets[:, :5], (targets[:, 5:6] > 0.5).astype(np.float32), one_hot


def life_statistics(corpus: Corpus, rng: np.random.Generator) -> Tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normalisation of each life channel: mean and spread over takes of the teacher, [9] each.

    Lids rest most of the time, and shut lids are six spreads away; with a unit twice as large, whether they shut is
    decided at steps with less noise, of which sampling takes more.
    """
    motion = np.concatenate([life_batch(corpus, rng)[2] for _ in range(20)])
    std = motion.std((0, 2))
    std[life.CHANNELS.index("blink")] *= BLINK_UNIT
    return motion.mean((0, 2)).astype(np.float32), std.astype(np.float32)
