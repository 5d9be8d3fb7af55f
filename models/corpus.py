"""Builds the speech corpus: synthetic voices whose phoneme times are known exactly.

    python -m models.corpus [--minutes 120] [--out models/build/corpus.npz]

Four synthesizers: espeak-ng (many languages, formant timbre), flite, festival and open_jtalk (recorded timbre). How
much each speaks is in `models.voices`. All randomness comes from one seed: the same packages give the same corpus. The
file holds for all frames (100 a second) mel, lips, held and viseme, and for each utterance lengths (frames), voices
and languages.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import gcd
from pathlib import Path
from random import Random
from typing import Callable, Dict, Iterator, List, Tuple

import numpy as np
from numpy.typing import NDArray

from models import BUILD, texts
from models.espeak import Job, mend_times
from models.phonemes import CONSONANTS, VISEME_OF, VOWELS, Segment, segments
from models.teacher import labels, lip_motion
from models.voices import HELD_OUT_VARIANTS, VOICES, Voice
from sonic_edge.model.mel import MelSettings, log_mel

SEED = 20261122

ESPEAK_ENGLISH = ["en-us", "en-gb", "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-rp", "en-gb-x-gbclan"]
VARIANT_NAMES = """
Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Mario Michael Mike Nguyen Storm adam anika
announcer antonio aunty benjamin boris caleb david ed edward edward2 f1 f2 f3 f4 f5 grandma grandpa gustave iven iven2
john kaukovalta klatt klatt2 klatt3 klatt4 linda m1 m2 m3 m4 m5 m6 m8 marcelo max michel miguel norbert pablo paul pedro
quincy rob robert sandro shelby steph steph2 steph3 travis victor zac whisper
"""
ESPEAK_VARIANTS = VARIANT_NAMES.split()
HELD_OUT = ("voice_ked_diphone", "open_jtalk", *(f"+{variant}" for variant in HELD_OUT_VARIANTS))
"""Voices held out of training: a whole synthesizer, a speaker of festival's, three of espeak-ng's variants."""
MEI = BUILD / "voices" / "mei_normal.htsvoice"
NAIST_JDIC = Path("/var/lib/mecab/dic/open-jtalk/naist-jdic")


def is_held_out(voice: str) -> bool:
    """Whether a voice is held out of training, by its name in the corpus."""
    return any(part in voice for part in HELD_OUT)


@dataclass(frozen=True)
class Utterance:
    """One recording of the corpus."""

    samples: NDArray[np.float32]
    """[n] at 16 kHz, -1..1."""
    spoken: List[Segment]
    voice: str
    language: str


def _at_16k(samples: NDArray[np.int16], rate: int) -> NDArray[np.float32]:
    from scipy.signal import resample_poly  # imported here, so that the other tests do not need scipy

    common = gcd(16000, rate)
    out: NDArray[np.float32] = samples.astype(np.float32) / np.float32(32768)
    if rate != 16000:
        out = resample_poly(out, 16000 // common, rate // common).astype(np.float32)
    return out


def _read_wave(path: Path) -> Tuple[NDArray[np.int16], int]:
    with wave.open(str(path)) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16), sound.getframerate()


def _phone(name: str, phones: Dict[str, str]) -> str:
    """IPA of a phone name: as the table says, without stress and length marks, or the letter itself."""
    plain = name.rstrip("0123456789").replace(":", "")
    symbol = phones.get(name) or phones.get(plain) or plain
    if any(c not in VISEME_OF for c in symbol):
        raise ValueError(f"phone {name!r} is not in the voice's table (models/phonemes.py)")
    return symbol


def espeak_utterances(voice: Voice, rng: Random, folder: Path) -> Iterator[Utterance]:
    """One language or many, in many voices; the library crashes occasionally, so it runs in short processes."""
    variants = HELD_OUT_VARIANTS if voice.name.endswith("held out") else ESPEAK_VARIANTS
    others = sorted(texts.OTHERS)
    while True:
        jobs, languages = [], []
        for _ in range(60):
            language = rng.choice(others) if voice.language == "*" else voice.language
            name = {"en": rng.choice(ESPEAK_ENGLISH), "cmn": "cmn-latn-pinyin"}.get(language, language)
            name += "+" + rng.choice(variants)
            text = texts.LANGUAGES[language](rng)
            jobs.append(Job(name, text, rng.randint(120, 230), rng.randint(15, 85), rng.randint(20, 95)))
            languages.append(language)
        with tempfile.TemporaryDirectory(dir=folder) as batch:
            job_list = Path(batch, "jobs.json")
            job_list.write_text(json.dumps([asdict(job) for job in jobs]), "utf8")
            for _ in range(10):  # each run skips the job that the previous one died on
                command = [sys.executable, "-m", "models.espeak", str(job_list), batch]
                if subprocess.run(command, capture_output=True).returncode == 0:
                    break
            for i, (job, language) in enumerate(zip(jobs, languages)):
                path = Path(batch, f"{i:05d}.npz")
                if not path.exists() or path.stat().st_size == 0:
                    continue
                with np.load(path) as spoken:
                    samples, rate = spoken["samples"], int(spoken["rate"])
                    events = list(zip(spoken["starts"].tolist(), spoken["names"].tolist()))
                if len(samples) >= rate:  # under a second: the voice is missing or could not read the text
                    mended = mend_times(segments(events, len(samples) / rate))
                    yield Utterance(_at_16k(samples, rate), mended, f"espeak {job.voice}", language)


def flite_utterances(voice: Voice, rng: Random, folder: Path) -> Iterator[Utterance]:
    """English in flite's recorded voices."""
    path = folder / "flite.wav"
    while True:
        command = ["flite", "-voice", voice.name, "--setf", f"duration_stretch={rng.uniform(0.8, 1.3):.2f}"]
        command += ["--setf", f"int_f0_target_mean={rng.choice([95, 110, 130, 160, 190, 220])}", "-psdur"]
        command += ["-t", texts.english(rng) + " " + texts.english(rng), "-o", str(path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        ends = [word.partition(":") for word in run.stdout.split()]  # "hh:0.255": a phone and its end time
        yield _utterance(path, [(name, float(end)) for name, _, end in ends if end], voice)


def festival_utterances(voice: Voice, rng: Random, folder: Path) -> Iterator[Utterance]:
    """Any of festival's voices, ten texts to a process."""
    for batch in range(10_000):
        script = [f"({voice.name})"]
        bases = [folder / f"{batch}_{i}" for i in range(10)]
        for base in bases:
            say = texts.LANGUAGES[voice.language]
            text = (say(rng) + " " + say(rng)).encode(voice.encoding, "ignore").decode(voice.encoding)
            script.append(f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.3):.2f})")
            script.append(f'(set! utterance (utt.synth (Utterance Text "{text}")))')
            script.append(f'(utt.save.wave utterance "{base}.wav" \'riff)(utt.save.segs utterance "{base}.lab")')
        scheme = folder / "script.scm"
        scheme.write_bytes("\n".join(script).encode(voice.encoding))
        subprocess.run(["festival", "-b", str(scheme)], capture_output=True)  # stops at one that it cannot speak
        said = [base for base in bases if base.with_suffix(".lab").exists()]
        if not said:
            return
        for base in said:
            lines = [line.split() for line in base.with_suffix(".lab").read_text("latin1").splitlines()]
            ends = [(fields[2], float(fields[0])) for fields in lines if len(fields) >= 3]
            yield _utterance(base.with_suffix(".wav"), ends, voice)


def open_jtalk_utterances(voice: Voice, rng: Random, folder: Path) -> Iterator[Utterance]:
    """Japanese in the voice Mei, at several speeds and pitches."""
    sound, trace = folder / "mei.wav", folder / "mei.txt"
    while True:
        command = ["open_jtalk", "-x", str(NAIST_JDIC), "-m", str(MEI), "-ow", str(sound), "-ot", str(trace)]
        command += ["-r", f"{rng.uniform(0.8, 1.25):.2f}", "-fm", f"{rng.uniform(-5, 2):.1f}"]
        subprocess.run(command, input=texts.LANGUAGES[voice.language](rng).encode(), check=True)
        output = trace.read_text("utf8").split("[Output label]")[1].split("[Global parameter]")[0]
        lines = [line.split() for line in output.splitlines() if line.strip()]  # start end p1^p2-NAME+..., 100 ns units
        ends = [(name.partition("-")[2].partition("+")[0], int(end) * 1e-7) for _, end, name in lines]
        yield _utterance(sound, ends, voice)


def _utterance(path: Path, ends: List[Tuple[str, float]], voice: Voice) -> Utterance:
    """A sound file and the end of each phone in seconds, as a recording of the corpus."""
    samples, rate = _read_wave(path)
    events = [(start, _phone(name, voice.phones)) for start, (name, _) in zip([0.0, *(end for _, end in ends)], ends)]
    samples = samples[: int(rate * (events[-1][0] + 0.5))]  # some voices end on seconds of silence
    spoken = segments(events, len(samples) / rate)
    for i, (before, after) in enumerate(zip(spoken, spoken[1:])):
        if voice.vowels_late_s and before.symbol in CONSONANTS and after.symbol in VOWELS:
            border = after.start_s - min(voice.vowels_late_s, (before.end_s - before.start_s) / 2)
            spoken[i : i + 2] = [replace(before, end_s=border), replace(after, start_s=border)]
    return Utterance(_at_16k(samples, rate), spoken, f"{voice.synthesizer} {voice.name}", voice.language)


SYNTHESIZERS: Dict[str, Callable[[Voice, Random, Path], Iterator[Utterance]]] = {
    "espeak": espeak_utterances,
    "flite": flite_utterances,
    "festival": festival_utterances,
    "open_jtalk": open_jtalk_utterances,
}


def utterances(voice: Voice, seconds: float) -> Iterator[Utterance]:
    """Utterances of a voice up to this total length.

    Raises:
        RuntimeError: It yields less; the message names the package.
    """
    said, problem = 0.0, ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            for utterance in SYNTHESIZERS[voice.synthesizer](voice, Random(f"{SEED} {voice.name}"), Path(folder)):
                yield utterance
                said += len(utterance.samples) / 16000
                if said >= seconds:
                    return
        except (OSError, subprocess.CalledProcessError, IndexError) as error:
            problem = f" ({error})"
    raise RuntimeError(
        f"{voice.synthesizer} {voice.name} spoke {said:.0f} of {seconds:.0f} s: sh models/setup.sh installs "
        f"{voice.package}{problem}"
    )


def speak(voice: Voice, minutes: float) -> List[Dict[str, NDArray[np.generic]]]:
    """All utterances of a voice in a corpus of this many minutes, as the arrays for training."""
    records: List[Dict[str, NDArray[np.generic]]] = []
    noise = np.random.default_rng(SEED)
    for utterance in utterances(voice, minutes * 60 * voice.share / 100):
        hiss = noise.standard_normal(len(utterance.samples)).astype(np.float32) * 1e-5  # digital zero has no mel
        mel = log_mel(utterance.samples + hiss, MelSettings())
        n_frames = mel.shape[1]
        viseme, held = labels(utterance.spoken, n_frames)
        records.append({
            "mel": mel.T.astype(np.float16),  # [n_frames, 80]
            "lips": lip_motion(utterance.spoken, n_frames).astype(np.float16),  # [n_frames, 5]
            "held": held.astype(np.int8), "viseme": viseme,  # [n_frames]
            "voice": np.array(utterance.voice), "language": np.array(utterance.language),
        })  # fmt: skip
    return records


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the synthetic speech corpus.")
    parser.add_argument("--minutes", type=float, default=120, help="minutes of speech in all")
    parser.add_argument("--out", type=Path, default=BUILD / "corpus.npz")
    args = parser.parse_args()
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:  # the synthesizers are processes of their own
        parts = list(pool.map(lambda voice: speak(voice, args.minutes), VOICES))
    records = [record for part in parts for record in part]
    lengths = np.array([len(record["mel"]) for record in records])
    joined = {key: np.concatenate([record[key] for record in records]) for key in ("mel", "lips", "held", "viseme")}
    voices = np.array([str(record["voice"]) for record in records])
    languages = np.array([str(record["language"]) for record in records])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(args.out, lengths=lengths, voices=voices, languages=languages, **joined)  # type: ignore[arg-type]  # numpy: its own allow_pickle
    print(f"{len(records)} utterances, {lengths.sum() / 6000:.1f} minutes, {len(set(voices))} voices")
    held_out = np.array([is_held_out(voice) for voice in voices])
    for name in SYNTHESIZERS:
        print(f"  {name}: {lengths[np.char.startswith(voices, name)].sum() / 6000:.1f} minutes")
    for language in sorted(set(languages)):
        spoken = lengths * (languages == language) / 6000
        print(f"  {language}: {spoken.sum():.1f} minutes, held out {spoken[held_out].sum():.1f}")
    shares = np.bincount(joined["viseme"], minlength=16) / lengths.sum()
    print(f"  share of each viseme: {np.round(shares, 3).tolist()}")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
