"""Builds the speech corpus: synthetic voices whose phoneme times are known exactly.

    python -m models.corpus [--minutes 90] [--out models/build/corpus.npz]

Three synthesizers: espeak-ng (many languages, formant timbre), flite and festival (recorded timbre, English, Italian,
Finnish). Everything is drawn from one seed, so that the same packages give the same corpus.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import gcd
from pathlib import Path
from random import Random
from typing import Callable, Dict, Iterator, List, Tuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from models import BUILD, texts
from models.espeak import Job, mend_times
from models.phonemes import ARPABET, PAUSE, SAMPA, VISEME_OF, Segment, segments
from models.teacher import labels, lip_motion
from sonic_edge.mel import MelSettings, log_mel

SEED = 20261122
SHARES = {"espeak": 0.50, "flite": 0.27, "festival": 0.23}
"""Share of the minutes that each synthesizer speaks. Trained on espeak alone, real speech reads worse."""

ESPEAK_ENGLISH = ["en-us", "en-gb", "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-rp", "en-gb-x-gbclan"]
VARIANT_NAMES = """
Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Mario Michael Mike Nguyen Storm adam anika
announcer antonio aunty benjamin boris caleb david ed edward edward2 f1 f2 f3 f4 f5 grandma grandpa gustave iven iven2
john kaukovalta klatt klatt2 klatt3 klatt4 linda m1 m2 m3 m4 m5 m6 m8 marcelo max michel miguel norbert pablo paul pedro
quincy rob robert sandro shelby steph steph2 steph3 travis victor zac whisper belinda m7 Marco
"""
ESPEAK_VARIANTS = VARIANT_NAMES.split()
FLITE_VOICES = ["slt", "rms", "awb", "kal16"]
FESTIVAL_VOICES = {
    "voice_kal_diphone": 0.30, "voice_cmu_us_slt_arctic_hts": 0.26, "voice_ked_diphone": 0.12, "voice_lp_diphone": 0.08,
    "voice_pc_diphone": 0.08, "voice_suo_fi_lj_diphone": 0.08, "voice_hy_fi_mv_diphone": 0.08,
}  # fmt: skip
"""Festival's voices and their shares of its minutes."""
HELD_OUT = ("voice_ked_diphone", "+belinda", "+m7", "+Marco")
"""Voices that training never hears: a speaker of festival's and three of espeak-ng's variants."""


@dataclass(frozen=True)
class Utterance:
    """One recording of the corpus."""

    samples: NDArray[np.float32]
    """[n] at 16 kHz, -1..1."""
    spoken: List[Segment]
    voice: str


def _at_16k(samples: NDArray[np.int16], rate: int) -> NDArray[np.float32]:
    common = gcd(16000, rate)
    out = samples.astype(np.float32) / 32768
    return out if rate == 16000 else resample_poly(out, 16000 // common, rate // common).astype(np.float32)


def _read_wave(path: Path) -> Tuple[NDArray[np.int16], int]:
    with wave.open(str(path)) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16), sound.getframerate()


def espeak_utterances(seconds: float, rng: Random, folder: Path) -> Iterator[Utterance]:
    """English, Mandarin and the other languages, in many voices."""
    jobs: List[Job] = []
    for _ in range(int(seconds / 2.2) + 50):  # more than needed: an utterance is 2.5 to 6 s
        draw = rng.random()
        if draw < 0.38:
            language, text = rng.choice(ESPEAK_ENGLISH), texts.english(rng)
        elif draw < 0.64:
            language, text = "cmn-latn-pinyin", texts.mandarin(rng)
        else:
            language = rng.choice(sorted(texts.OTHERS))
            text = texts.OTHERS[language](rng)
        variant = "+" + rng.choice(ESPEAK_VARIANTS) if rng.random() < 0.97 else ""
        jobs.append(Job(language + variant, text, rng.randint(120, 230), rng.randint(15, 85), rng.randint(20, 95)))
    said, batch_size = 0.0, 60
    for start in range(0, len(jobs), batch_size):
        batch, out_dir = jobs[start : start + batch_size], folder / str(start)
        out_dir.mkdir()
        job_list = folder / f"{start}.json"
        job_list.write_text(json.dumps([asdict(job) for job in batch]), "utf8")
        for _ in range(10):  # each run goes past the job that the one before died on
            run = subprocess.run(
                [sys.executable, "-m", "models.espeak", str(job_list), str(out_dir)], capture_output=True
            )
            if run.returncode == 0:
                break
        for i, job in enumerate(batch):
            path = out_dir / f"{i:05d}.npz"
            if not path.exists() or path.stat().st_size == 0:
                continue
            with np.load(path) as spoken:
                samples, rate = spoken["samples"], int(spoken["rate"])
                events = list(zip(spoken["starts"].tolist(), spoken["names"].tolist()))
            if len(samples) < rate:  # under a second: the voice is missing or could not read the text
                continue
            said += len(samples) / rate
            spoken = mend_times(segments(events, len(samples) / rate))
            yield Utterance(_at_16k(samples, rate), spoken, f"espeak {job.voice}")
        if said >= seconds:
            return


def flite_utterances(seconds: float, rng: Random, folder: Path) -> Iterator[Utterance]:
    """English in flite's recorded voices."""
    path, said = folder / "flite.wav", 0.0
    while said < seconds:
        voice = rng.choice(FLITE_VOICES)
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.8, 1.3):.2f}"]
        command += ["--setf", f"int_f0_target_mean={rng.choice([95, 110, 130, 160, 190, 220])}", "-psdur"]
        command += ["-t", texts.english(rng) + " " + texts.english(rng), "-o", str(path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        events, start = [], 0.0
        for word in run.stdout.split():  # "hh:0.255": a phone and its end time
            name, _, end = word.partition(":")
            if end:
                events.append((start, ARPABET[name]))
                start = float(end)
        samples, rate = _read_wave(path)
        said += len(samples) / rate
        yield Utterance(_at_16k(samples, rate), segments(events, len(samples) / rate), f"flite {voice}")


def _festival_symbol(name: str, english: bool) -> str:
    if english:
        return ARPABET.get(name, PAUSE)
    plain = name.rstrip("0123456789").replace(":", "")  # stress and length marks
    return SAMPA.get(plain, plain if any(c in VISEME_OF for c in plain) else PAUSE)


def festival_utterances(seconds: float, rng: Random, folder: Path) -> Iterator[Utterance]:
    """English, Italian and Finnish in festival's recorded voices."""
    for voice, share in FESTIVAL_VOICES.items():
        language = {"voice_lp": "it", "voice_pc": "it", "voice_su": "fi", "voice_hy": "fi"}.get(voice[:8], "en")
        script, n_texts = [f"({voice})"], int(seconds * share / (6.0 if language == "en" else 5.0)) + 1
        for i in range(n_texts):
            text = texts.english(rng) + " " + texts.english(rng) if language == "en" else texts.salad(language, rng)
            text = text if language == "en" else text.encode("ascii", "ignore").decode()  # these voices read ASCII only
            base = folder / f"{voice}_{i}"
            script.append(f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.3):.2f})")
            script.append(f'(set! utterance (utt.synth (Utterance Text "{text}")))')
            script.append(f'(utt.save.wave utterance "{base}.wav" \'riff)(utt.save.segs utterance "{base}.lab")')
        scheme = folder / f"{voice}.scm"
        scheme.write_text("\n".join(script))
        subprocess.run(["festival", "-b", str(scheme)], capture_output=True)  # stops at an utterance it cannot say
        for i in range(n_texts):
            base = folder / f"{voice}_{i}"
            label_file = base.with_name(base.name + ".lab")
            if not label_file.exists():
                continue
            samples, rate = _read_wave(base.with_name(base.name + ".wav"))
            events, start = [], 0.0
            for line in label_file.read_text().splitlines():
                fields = line.split()
                if len(fields) >= 3:
                    events.append((start, _festival_symbol(fields[2], language == "en")))
                    start = float(fields[0])
            yield Utterance(_at_16k(samples, rate), segments(events, len(samples) / rate), f"festival {voice}")


SYNTHESIZERS: Dict[str, Callable[[float, Random, Path], Iterator[Utterance]]] = {
    "espeak": espeak_utterances,
    "flite": flite_utterances,
    "festival": festival_utterances,
}


def speak(name: str, minutes: float) -> List[Dict[str, NDArray[np.generic]]]:
    """All utterances of one synthesizer, as the arrays that training reads."""
    records: List[Dict[str, NDArray[np.generic]]] = []
    noise = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as folder:
        for utterance in SYNTHESIZERS[name](minutes * 60 * SHARES[name], Random(f"{SEED} {name}"), Path(folder)):
            hiss = noise.standard_normal(len(utterance.samples)).astype(np.float32) * 1e-5  # digital zero is not heard
            mel = log_mel(utterance.samples + hiss, MelSettings())
            n_frames = mel.shape[1]
            viseme, held = labels(utterance.spoken, n_frames)
            records.append({
                "mel": mel.T.astype(np.float16),  # [n_frames, 80]
                "lips": lip_motion(utterance.spoken, n_frames).astype(np.float16),  # [n_frames, 5]
                "held": held.astype(np.int8), "viseme": viseme,  # [n_frames]
                "voice": np.array(utterance.voice),
            })  # fmt: skip
    return records


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the synthetic speech corpus.")
    parser.add_argument("--minutes", type=float, default=90, help="minutes of speech in all")
    parser.add_argument("--out", type=Path, default=BUILD / "corpus.npz")
    args = parser.parse_args()
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda name: speak(name, args.minutes), SYNTHESIZERS))
    records = [record for part in parts for record in part]
    lengths = np.array([len(record["mel"]) for record in records])
    joined = {key: np.concatenate([record[key] for record in records]) for key in ("mel", "lips", "held", "viseme")}
    voices = np.array([str(record["voice"]) for record in records])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(args.out, lengths=lengths, voices=voices, **joined)
    held_out = sum(length for length, voice in zip(lengths, voices) if any(name in voice for name in HELD_OUT))
    print(f"{len(records)} utterances, {lengths.sum() / 6000:.1f} minutes, {len(set(voices))} voices")
    for name in SYNTHESIZERS:
        print(f"  {name}: {sum(n for n, v in zip(lengths, voices) if v.startswith(name)) / 6000:.1f} minutes")
    print(f"  held out: {held_out / 6000:.1f} minutes")
    print(
        f"  share of each viseme: {np.round(np.bincount(joined['viseme'], minlength=16) / lengths.sum(), 3).tolist()}"
    )
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
