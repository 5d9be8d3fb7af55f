"""How well the lips follow the words of real people.

    python -m models.aligned FOLDER [--bundle models/bundles/sonic-net] [--noise-db 5] [--json]

FOLDER holds recordings (.wav, .flac) with their texts (.txt, English), which are force-aligned here; or with
phoneme times that are already known (.seg: `start end symbol` in seconds a line), as synthesizers give them. Each
recording goes through the product (mel, SonicNet on the CPU, silences and closures, default controls), and the motion
is compared with the phonemes. Nothing of FOLDER is kept.
"""

import argparse
import json
import re
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from models import BUNDLE
from models.phonemes import ARPABET, CONSONANTS, PAUSE, VISEME_OF, VOWELS, Segment, segments
from sonic_edge.config import Controls, LimitSettings
from sonic_edge.engine.motion.network import SonicNet
from sonic_edge.engine.motion.shape import shape_motion
from sonic_edge.engine.speech import read_speech, sound
from sonic_edge.media import Motion
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.mel import MelSettings, log_mel, loudness, runs
from sonic_edge.model.spec import ClosureSpec

Array = NDArray[np.float64]
Samples = NDArray[np.float32]

# ---- alignment

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
            talk |= _inside(times, s.start_s, s.end_s)
    limit = np.median(level[talk]) - LOUD_PAUSE_DB
    loud = [
        (start, end)
        for start, end in pauses(spoken)
        if end - start > PAUSE_S and np.median(level[_inside(times, start, end)]) > limit
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


# ---- figures

SHUT = 0.5
"""`close` above this is a closure."""
NEAR_S = 0.04
"""A closure this near to its phoneme is that phoneme's: one frame at 25 a second."""
FAR_S = 0.08
BILABIAL = "pbm"
OPEN = "aɑæʌ"
OPEN_S = 0.06
"""Open vowels no longer than this need not open: nearly all of them are reduced."""
INSIDE_S = 0.03
"""A frame this far inside an open vowel of that length must be open, whatever its neighbours."""
OPEN_JAW = 0.05
"""A mouth less open than this in an open vowel counts as shut, whatever `close` says."""
ROUNDED = "uʊoɔwy"
UNSURE = "ɒøœɵʏɥʍ"
"""Rounded too, but not part of this measure: counted on neither side."""
PAUSE_S = 0.35
"""A pause longer than this shuts the lips ..."""
SETTLE_S = 0.1
"""... from this long after its start to this long before its end."""
PAUSE_JAW = 0.06
"""A mouth less open than this is shut."""


def moments(motion: Motion, lead_s: float) -> Array:
    """The moment of the sound that each frame shows, seconds, [n_frames]; `lead_s` is how far the lips lead."""
    return motion.start_s + np.arange(len(motion)) / motion.fps + lead_s


def _held(spoken: Sequence[Segment], symbols: str) -> List[Segment]:
    return [segment for segment in spoken if segment.symbol in symbols]


def _inside(times: Array, start_s: float, end_s: float) -> NDArray[np.bool_]:
    return (times >= start_s - 1e-9) & (times <= end_s + 1e-9)


def _touches(run: Tuple[float, float], held: Sequence[Segment], near_s: float) -> bool:
    """Whether a stretch of time (start, end) comes within `near_s` of any of the segments."""
    near_s += 1e-9
    return any(s.start_s - near_s <= run[1] and run[0] <= s.end_s + near_s for s in held)


def closure_recall(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[int, int]:
    """(seen, all) p, b, m: seen if `close` says shut at some frame of it, or within NEAR_S of it."""
    times, shut = moments(motion, lead_s), motion.channel("close") > SHUT
    held = _held(spoken, BILABIAL)
    return sum(bool(shut[_inside(times, s.start_s - NEAR_S, s.end_s + NEAR_S)].any()) for s in held), len(held)


def lips_met(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[int, int]:
    """As `closure_recall`, but lips resting shut before the first word count too: the difference is not visible."""
    times = moments(motion, lead_s)
    shut = (motion.channel("close") > SHUT) | (motion.channel("jaw") < OPEN_JAW)
    held = _held(spoken, BILABIAL)
    return sum(bool(shut[_inside(times, s.start_s - NEAR_S, s.end_s + NEAR_S)].any()) for s in held), len(held)


def closure_precision(
    motion: Motion, spoken: Sequence[Segment], lead_s: float, near_s: float = NEAR_S
) -> Tuple[int, int]:
    """(meant, all) closures, runs of frames that `close` calls shut: meant if within `near_s` of a p, b or m.

    Those whose middle is where `spoken` has no segment are not counted.
    """
    times, held = moments(motion, lead_s), _held(spoken, BILABIAL)
    found = [(times[a], times[b - 1]) for a, b in runs(motion.channel("close") > SHUT)]
    found = [(a, b) for a, b in found if _touches(((a + b) / 2, (a + b) / 2), spoken, 0)]
    return sum(_touches(run, held, near_s) for run in found), len(found)


def closure_precision_far(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[int, int]:
    """`closure_precision` within FAR_S."""
    return closure_precision(motion, spoken, lead_s, FAR_S)


def open_shut(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[int, int]:
    """(shut, all) frames INSIDE_S or more inside open vowels longer than OPEN_S; shut by `close` or by the jaw."""
    times = moments(motion, lead_s)
    where = np.zeros(len(motion), bool)
    for s in _held(spoken, OPEN):
        if s.end_s - s.start_s > OPEN_S:
            where |= _inside(times, s.start_s + INSIDE_S, s.end_s - INSIDE_S)
    shut = (motion.channel("close") > SHUT) | (motion.channel("jaw") < OPEN_JAW)
    return int((shut & where).sum()), int(where.sum())


def pauses(spoken: Sequence[Segment]) -> List[Tuple[float, float]]:
    """(start, end) of the stretches without phonemes, seconds; pauses that touch are one."""
    out: List[Tuple[float, float]] = []
    for s in spoken:
        if s.symbol == PAUSE:
            joins = out and s.start_s - out[-1][1] < 1e-6
            start = out.pop()[0] if joins else s.start_s
            out.append((start, s.end_s))
    return out


def pauses_shut(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[int, int]:
    """(shut, all) frames SETTLE_S or more inside pauses longer than PAUSE_S."""
    times = moments(motion, lead_s)
    where = np.zeros(len(motion), bool)
    for start, end in pauses(spoken):
        if end - start > PAUSE_S:
            where |= _inside(times, start + SETTLE_S, end - SETTLE_S)
    return int((where & (motion.channel("jaw") < PAUSE_JAW)).sum()), int(where.sum())


def _at_middles(motion: Motion, name: str, held: Sequence[Segment], lead_s: float) -> Array:
    middles = np.array([(s.start_s + s.end_s) / 2 for s in held])
    return np.interp(middles, moments(motion, lead_s), motion.channel(name)) if len(middles) else middles


def rounding(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[Array, Array]:
    """`round` in the middle of each u, ʊ, o, ɔ, w, y, and of each unrounded vowel."""
    others = "".join(v for v in VOWELS if v not in ROUNDED + UNSURE)
    return (
        _at_middles(motion, "round", _held(spoken, ROUNDED), lead_s),
        _at_middles(motion, "round", _held(spoken, others), lead_s),
    )


def tuck(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[Array, Array]:
    """`tuck` in the middle of each f and v, and of each other consonant but p, b, m (and f's and v's like)."""
    others = "".join(c for c in CONSONANTS if c not in "fvʋɱ" + BILABIAL)
    return (
        _at_middles(motion, "tuck", _held(spoken, "fv"), lead_s),
        _at_middles(motion, "tuck", _held(spoken, others), lead_s),
    )


def area(higher: Array, lower: Array) -> float:
    """Area under the ROC curve: how often one of `higher` is above one of `lower`, ties half; NaN if one is empty.

    Mann & Whitney (1947): by ranks.
    """
    if not len(higher) or not len(lower):
        return float("nan")
    every = np.concatenate([higher, lower])
    _, which, counts = np.unique(every, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # ties share their ranks
    n = len(higher)
    return float((ranks[which[:n]].sum() - n * (n + 1) / 2) / (n * len(lower)))


RATES: Dict[str, Callable[[Motion, Sequence[Segment], float], Tuple[int, int]]] = {
    "closure recall": closure_recall,
    "closure recall, resting lips too": lips_met,
    "closure precision, 40 ms": closure_precision,
    "closure precision, 80 ms": closure_precision_far,
    "open vowels shut": open_shut,
    "pauses shut": pauses_shut,
}
AREAS: Dict[str, Callable[[Motion, Sequence[Segment], float], Tuple[Array, Array]]] = {
    "rounding, AUC": rounding,
    "tuck, AUC": tuck,
}
MARKS: Dict[str, float] = {
    "closure recall": 0.92, "closure precision, 40 ms": 0.55, "open vowels shut": -0.02, "pauses shut": 0.95,
    "rounding, AUC": 0.88, "tuck, AUC": 0.90,
}  # fmt: skip
"""At least; a negative one: at most."""
MARKS_IN_NOISE: Dict[str, float] = {"pauses shut": 0.85}


class Figure(NamedTuple):
    """One figure over all recordings."""

    value: float
    """NaN if there was nothing to measure."""
    n: int
    """How many phonemes, closures or frames it was measured on; for areas, of the smaller class."""


Take = Tuple[Motion, Sequence[Segment]]


def figures(takes: Sequence[Take], lead_s: float) -> Dict[str, Figure]:
    """Every figure over some recordings.

    Args:
        takes: Motion (channels jaw, round, close, tuck) and phonemes of each recording.
        lead_s: How far the lips lead the sound in it, seconds.
    """
    out: Dict[str, Figure] = {}
    for name, rate in RATES.items():
        hits, total = (sum(pair) for pair in zip(*(rate(motion, spoken, lead_s) for motion, spoken in takes)))
        out[name] = Figure(hits / total if total else float("nan"), total)
    for name, contrast in AREAS.items():
        sides = [contrast(motion, spoken, lead_s) for motion, spoken in takes]
        higher, lower = (np.concatenate([side[k] for side in sides]) for k in (0, 1))
        out[name] = Figure(area(higher, lower), min(len(higher), len(lower)))
    return out


def holds(value: float, mark: float) -> bool:
    """Whether a figure meets its target; one that could not be measured does not."""
    return value <= -mark if mark < 0 else value >= mark


# ---- the product


class Heard(NamedTuple):
    """The model's output for one recording."""

    raw: Motion
    duration_s: float
    spoken: List[Segment]


def open_net(folder: Path) -> SonicNet:
    """A bundle on one thread of the CPU backend.

    Raises:
        ConfigError: If the bundle is wrong.
    """
    bundle, backend = Bundle(folder), CpuBackend(1)
    return SonicNet(bundle, *(backend.open(bundle.stage(name, backend.name)) for name in ("encoder", "denoiser")))


def grey(net: SonicNet) -> Samples:
    """A picture without a face, as image_input: these measures do not depend on whose lips they are."""
    size = net.bundle.motion.face.size
    return np.full((1, 3, size, size), 0.5, np.float32)


class Mouth:
    """The product from recording to motion.

    Args:
        folder: The bundle.

    Raises:
        ConfigError: If the bundle is wrong.
    """

    def __init__(self, folder: Path) -> None:
        self._net = open_net(folder)
        self._face = grey(self._net)
        self.bundle = self._net.bundle
        self.controls = Controls()
        self.lead_s = self.controls.align_offset - self.bundle.motion.lips.lead_s
        """How far the video's lips are ahead of the model's, seconds."""

    def hear(self, recording: Spoken) -> Heard:
        """The model's motion for a recording. One denoising step: sampling does not affect the lips."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes((np.clip(recording.samples, -1, 1) * 32767).astype("<i2").tobytes())
            speech = read_speech(path, self.bundle.mel, LimitSettings())
        raw = self._net.motion(speech, self._face, 1, 0, lambda done, total: None)
        return Heard(raw, speech.duration_s, recording.spoken)

    def show(self, heard: Sequence[Heard], closure: ClosureSpec) -> List[Take]:
        """The video's motion for some recordings, with closures by `closure`."""
        fps = self.controls.fps
        return [
            (shape_motion(h.raw, closure, self.controls, max(1, int(h.duration_s * fps + 0.5)), h.duration_s), h.spoken)
            for h in heard
        ]


def sweep(mouth: Mouth, heard: Sequence[Heard]) -> List[Dict[str, float]]:
    """Closure figures for some choices of `closure.enter` and `leave`; the bundle's own comes first."""
    own = mouth.bundle.motion.closure
    pairs = [(enter / 20, round(enter / 20 * share, 3)) for enter in range(4, 20) for share in (0.5, 0.8)]
    rows = []
    for enter, leave in [(own.enter, own.leave), *pairs]:
        closure = own.model_copy(update={"enter": enter, "leave": leave})
        found = figures(mouth.show(heard, closure), mouth.lead_s)
        rows.append({
            "enter": enter, "leave": leave, "recall": found["closure recall"].value,
            "precision": found["closure precision, 40 ms"].value, "80 ms": found["closure precision, 80 ms"].value,
            "open shut": found["open vowels shut"].value,
        })  # fmt: skip
    return rows


def report(found: Dict[str, Figure], marks: Dict[str, float], rows: Sequence[Dict[str, float]]) -> str:
    """The tables to print."""
    lines = [f"{'':34}{'figure':>8}{'of':>8}  mark"]
    for name, figure in found.items():
        mark = marks.get(name)
        said = ""
        if mark is not None:
            said = f"{'<=' if mark < 0 else '>='} {abs(mark):.2f} {'held' if holds(figure.value, mark) else 'NOT held'}"
        lines.append(f"{name:34}{figure.value:8.3f}{figure.n:8d}  {said}".rstrip())
    lines += ["", "closures by thresholds, the bundle's own first", "".join(f"{name:>11}" for name in rows[0])]
    lines += ["".join(f"{value:11.3f}" for value in row.values()) for row in rows]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Hold the product's lips against aligned speech.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--noise-db", type=float, help="mix noise onto the aligned recordings at this ratio")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args()
    recordings = read_folder(args.folder, lambda remark: print(remark, file=sys.stderr))
    if not recordings:
        sys.exit(f"{args.folder}: no recording with times or a fitting text")
    if args.noise_db is not None:
        recordings = in_noise(recordings, args.noise_db)
    mouth = Mouth(args.bundle)
    heard = [mouth.hear(one) for one in recordings]
    found = figures(mouth.show(heard, mouth.bundle.motion.closure), mouth.lead_s)
    marks = MARKS if args.noise_db is None else MARKS_IN_NOISE
    rows = sweep(mouth, heard)
    seconds = sum(len(one.samples) for one in recordings) / RATE
    if args.json:
        told: Dict[str, object] = {
            "recordings": len(recordings), "seconds": round(seconds, 1), "noise_db": args.noise_db,
            "figures": {
                name: {"value": f.value, "n": f.n, "mark": marks.get(name),
                       "held": holds(f.value, marks[name]) if name in marks else None}
                for name, f in found.items()
            },
            "thresholds": rows,
        }  # fmt: skip
        print(json.dumps(told, indent=2))
        return
    noise = "" if args.noise_db is None else f", in noise at {args.noise_db:g} dB"
    print(f"{len(recordings)} recordings, {seconds:.0f} s{noise}")
    print(report(found, marks, rows))


if __name__ == "__main__":
    main()
