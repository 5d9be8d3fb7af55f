"""Checks the voices' phoneme times against their sound.

    python -m models.borders [--seconds 120]

For each voice, how late the sound changes after the border that the synthesizer names: median and half the distance
between quartiles, in ms, and how many borders that is. Where a vowel meets a consonant the energy of a band falls or
rises; the change is taken where it crosses the middle (in dB) between its levels in the two phonemes.
"""

import argparse
from typing import Dict, List, Tuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from models.corpus import Utterance, utterances
from models.phonemes import VOWELS
from models.voices import VOICES

RATE = 200  # measurements a second
KINDS: Dict[str, Tuple[str, Tuple[float, float]]] = {
    "p t k": ("ptk", (150, 4000)),
    "m n": ("mnɲ", (900, 4000)),
    "b d g": ("bdɡ", (400, 4000)),
    "s ʃ": ("sʃʂɕ", (150, 1500)),
}
"""Consonants, and the band in hertz in which vowels have energy and they do not."""


def changes(utterance: Utterance) -> Dict[str, List[float]]:
    """How late (ms) the sound changes at each border of a kind: "V p t k" into the consonant, "p t k V" out of it."""
    late: Dict[str, List[float]] = {}
    spoken = utterance.spoken
    for kind, (consonants, band) in KINDS.items():
        filtered = sosfiltfilt(butter(4, band, "bandpass", fs=16000, output="sos"), utterance.samples)
        power = uniform_filter1d(filtered**2, 160)[:: 16000 // RATE]  # 10 ms
        level: NDArray[np.float64] = 10 * np.log10(power + 1e-9)
        for before, after in zip(spoken, spoken[1:]):
            if before.symbol in VOWELS and after.symbol in consonants:
                name, sign = f"V {kind}", -1
            elif before.symbol in consonants and after.symbol in VOWELS:
                name, sign = f"{kind} V", 1
            else:
                continue
            lo, hi = (int(RATE * (s.start_s + s.end_s) / 2) for s in (before, after))
            part = sign * level[lo : hi + 1]  # rises
            if len(part) < 6 or part.max() - part.min() < 9:
                continue
            middle = (part.max() + part.min()) / 2
            bottom = int(part.argmin())
            crossings = np.flatnonzero((part[bottom:-1] < middle) & (part[bottom + 1 :] >= middle)) + bottom
            if len(crossings):
                at = crossings[0]
                exact = at + (middle - part[at]) / (part[at + 1] - part[at])
                late.setdefault(name, []).append(1000 * ((lo + exact) / RATE - after.start_s))
    return late


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Check phoneme times against the sound.")
    parser.add_argument("--seconds", type=float, default=120, help="of speech for each voice")
    args = parser.parse_args()
    names = [name for kind in KINDS for name in (f"V {kind}", f"{kind} V")]
    print(f"{'ms late, half quartile distance, n':36}" + "".join(f"{name:>16}" for name in names))
    for voice in VOICES:
        late: Dict[str, List[float]] = {name: [] for name in names}
        for utterance in utterances(voice, args.seconds):
            for name, values in changes(utterance).items():
                late[name] += values
        cells = []
        for values in late.values():
            low, median, high = np.percentile(values or [np.nan], (25, 50, 75))
            cells.append(f"{median:6.0f} {(high - low) / 2:4.0f} {len(values):4d}")
        print(f"{voice.synthesizer + ' ' + voice.name:36}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
