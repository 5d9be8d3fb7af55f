"""Recordings with their texts: which phoneme is spoken when, and how they sound in noise."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, NamedTuple, Sequence

import numpy as np
from numpy.typing import NDArray

from models.lip_figures import PAUSE_S, inside, pauses
from models.phonemes import ARPABET, PAUSE, VISEME_OF, Segment, segments
from sonic_edge.engine.speech import sound
from sonic_edge.model.mel import MelSettings, log_mel, loudness

Array = NDArray[np.float64]
Samples = NDArray[np.float32]

RATE = 16000
"""Sample rate of the aligner, Hz."""
FRAME_S = 0.01
FIRST_BOUNDARY_S = 0.0078
"""Frame i of the aligner covers i to i + 2.56 hundredths of a second: the border between the middles of frames
i - 1 and i lies here after i hundredths."""
WORST_NATS = 3.0
"""Alignments that score this much worse than the best-fitting sounds, per frame of speech, are of other words: 50
recordings came to 0.8 .. 2.9 with their own texts, to 3.3 .. 7.8 or to nothing with texts of others (156 pairs)."""
PHONES_PER_S = (4.0, 22.0)
"""Nobody speaks slower or faster than this; those recordings came to 6 .. 17."""
LOUD_PAUSE_DB = 3.0
"""A long pause that is not this much quieter than the speech contains words missing from the text, or other noise."""
SCORE_NATS = 1024 * float(np.log(1.0001))
"""The aligner counts in logarithms to the base 1.0001, shifted by ten bits."""


class NotAligned(Exception):
    """A recording and a text that do not match; the message says why."""


class _Phone(NamedTuple):
    name: str
    start: int
    """Frame."""
    n_frames: int
    score: int


class Aligner:
    """Aligns the phonemes of an English text with a recording: PocketSphinx with its own acoustic model.

    Two passes: words (with pronunciations and pauses chosen), then phones within the words (Huggins-Daines & Rudnicky
    2006). The beams are wide, so that a bad fit gets a low score instead of no answer.
    """

    def __init__(self) -> None:
        from pocketsphinx import Decoder  # only who aligns needs it

        self._decoder = Decoder(
            lm=None,
            samprate=RATE,
            loglevel="FATAL",
            cmn="batch",
            bestpath=False,
            beam=1e-100,
            pbeam=1e-100,
            wbeam=1e-80,
        )

    def align(self, samples: Samples, text: str) -> List[Segment]:
        """Phonemes of a recording.

        Args:
            samples: [n] at 16 kHz, -1..1.
            text: What is said in it.

        Returns:
            Segments from 0 to its end, to a hundredth of a second; long pauses as loud as the words are left out.

        Raises:
            NotAligned: If a word is not in the dictionary, or text and recording do not fit each other.
        """
        words = re.findall(r"[a-z']+", text.lower())
        unknown = [word for word in words if self._decoder.lookup_word(word) is None]
        if unknown or not words:
            raise NotAligned(f"not in the dictionary: {' '.join(unknown)}" if unknown else "there is no text")
        phones = self._phones((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes(), words)
        said = [phone for phone in phones if phone.name.lower() in ARPABET]
        n_frames = sum(phone.n_frames for phone in said)
        if not n_frames:
            raise NotAligned("the text matches nowhere")
        distance = -sum(phone.score for phone in said) * SCORE_NATS / n_frames
        rate = len(said) / (n_frames * FRAME_S)
        if distance > WORST_NATS:
            raise NotAligned(
                f"{distance:.1f} nats per frame from the sound; at most {WORST_NATS:g} allowed: another text?"
            )
        if not PHONES_PER_S[0] <= rate <= PHONES_PER_S[1]:
            raise NotAligned(f"{rate:.1f} phones a second; {PHONES_PER_S[0]:g} to {PHONES_PER_S[1]:g} can be spoken")
        events = [
            (phone.start * FRAME_S + (FIRST_BOUNDARY_S if phone.start else 0), ARPABET.get(phone.name.lower(), PAUSE))
            for phone in phones
        ]
        if phones[-1].name.lower() in ARPABET:  # sound after the last word is not part of it
            events.append(((phones[-1].start + phones[-1].n_frames) * FRAME_S + FIRST_BOUNDARY_S, PAUSE))
        return without_loud_pauses(samples, segments(events, len(samples) / RATE))

    def _phones(self, pcm: bytes, words: List[str]) -> List[_Phone]:
        decoder = self._decoder
        try:
            decoder.set_align_text(" ".join(words))
            self._hear(pcm)
            if decoder.hyp() is None:
                raise NotAligned("the text matches nowhere")
            decoder.set_alignment()
            self._hear(pcm)  # no hyp() after this one: it would end the process
            alignment = decoder.get_alignment()
            return [_Phone(p.name, p.start, p.duration, p.score) for word in alignment for p in word]
        except RuntimeError as e:
            raise NotAligned(f"the text matches nowhere ({e})") from e

    def _hear(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()


def without_loud_pauses(samples: Samples, spoken: Sequence[Segment]) -> List[Segment]:
    """The segments without pauses longer than PAUSE_S that are about as loud as words: their content is unknown."""
    level = 10 * loudness(log_mel(samples, MelSettings()))
    times = np.arange(len(level)) / MelSettings().frames_per_s
    talk = np.zeros(len(level), bool)
    for s in spoken:
        if s.symbol != PAUSE:
            talk |= inside(times, s.start_s, s.end_s)
    limit = np.median(level[talk]) - LOUD_PAUSE_DB
    loud = [
        (start, end)
        for start, end in pauses(spoken)
        if end - start > PAUSE_S and np.median(level[inside(times, start, end)]) > limit
    ]
    return [s for s in spoken if not any(start <= s.start_s and s.end_s <= end for start, end in loud)]


@dataclass(frozen=True)
class Spoken:
    """A recording, with the phonemes said in it and their times."""

    name: str
    samples: Samples
    """[n] at 16 kHz, -1..1."""
    spoken: List[Segment]


def read_times(path: Path) -> List[Segment]:
    """Known phoneme times: lines of start and end in seconds and one symbol of `phonemes`.

    Raises:
        ValueError: If a line is anything else.
    """
    out = []
    for line in path.read_text("utf8").splitlines():
        start, end, symbol = line.split()
        if symbol not in VISEME_OF:
            raise ValueError(f"{path.name}: {symbol!r} is not a symbol of models.phonemes")
        out.append(Segment(float(start), float(end), symbol))
    return out


def read_folder(folder: Path, say: Callable[[str], None]) -> List[Spoken]:
    """Every recording of a folder that has its times or can be aligned with its text.

    Args:
        folder: See the top of this file.
        say: Called with the recordings left out, and why.
    """
    out: List[Spoken] = []
    aligner = None
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".wav", ".flac")):
        times, text = path.with_suffix(".seg"), path.with_suffix(".txt")
        samples = np.concatenate([piece.mean(axis=0) for piece in sound(path, RATE)])
        if times.exists():
            out.append(Spoken(path.stem, samples, read_times(times)))
        elif text.exists():
            aligner = aligner or Aligner()
            try:
                out.append(Spoken(path.stem, samples, aligner.align(samples, text.read_text("utf8"))))
            except NotAligned as e:
                say(f"{path.name}: left out: {e}")
        else:
            say(f"{path.name}: left out: it has neither {text.name} nor {times.name}")
    return out


# ---- noise


def pink(n: int, rng: np.random.Generator) -> Array:
    """Noise whose power falls as 1 / frequency, [n]."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    out: Array = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), n)
    return out


def babble(n: int, others: Sequence[Samples], rng: np.random.Generator) -> Array:
    """Several people speaking at once, equally loud, [n]."""
    voices = [np.roll(np.resize(other, n), rng.integers(n)).astype(np.float64) for other in others]
    out: Array = np.sum([voice / (voice.std() + 1e-9) for voice in voices], axis=0)
    return out


def add_noise(samples: Samples, noise: Array, spoken: Sequence[Segment], snr_db: float) -> Samples:
    """A noisy recording, [n], no louder than 1; the ratio is that of the powers while somebody speaks."""
    talk = np.zeros(len(samples), bool)
    for segment in spoken:
        if segment.symbol != PAUSE:
            talk[int(segment.start_s * RATE) : int(segment.end_s * RATE)] = True
    power = float((samples[talk].astype(np.float64) ** 2).mean()) / float((noise[talk] ** 2).mean())
    mixed = samples + noise * np.sqrt(power / 10 ** (snr_db / 10))
    out: Samples = (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)
    return out


def in_noise(recordings: Sequence[Spoken], snr_db: float) -> List[Spoken]:
    """The same recordings in white noise, pink noise and babble in turn; babble is up to five of the others."""
    rng = np.random.default_rng(7)
    out = []
    for i, one in enumerate(recordings):
        n = len(one.samples)
        others = [other.samples for other in recordings if other is not one]
        kind = i % 3 if len(others) >= 3 else i % 2
        if kind == 2:
            noise = babble(n, [others[k] for k in rng.choice(len(others), min(5, len(others)), replace=False)], rng)
        else:
            noise = pink(n, rng) if kind else rng.standard_normal(n)
        out.append(Spoken(one.name, add_noise(one.samples, noise, one.spoken, snr_db), one.spoken))
    return out
