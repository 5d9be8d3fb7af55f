"""The target lips of each phoneme.

The table is by articulation. Vowel openings follow vowel height and lip shapes follow the rounding and spreading of the
IPA chart (Handbook of the International Phonetic Association, 1999; Ladefoged & Johnson, *A Course in Phonetics*);
lip protrusion and spreading by vowel agree with Linker (1982), "Articulatory and acoustic correlates of labial
activity in vowels". How strongly a consonant holds its own shape against its neighbours (its weight) follows the
degree of articulatory constraint of Recasens, Pallares & Fontdevila (1997): bilabials and labiodentals fix the lips,
velars and glottals leave them to the vowels around. The opening numbers were then corrected once against real people on
video: schwa and the rounded vowels open far less than a chart suggests.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple


@dataclass(frozen=True)
class Lips:
    """Target of one phoneme. Units as in the model's `lips` channels."""

    jaw: float
    """Opening, 0 shut .. 1 wide."""
    width: float = 0.0
    """Lip corners, -1 pursed .. 1 spread."""
    round: float = 0.0
    """Rounding and protrusion, 0..1."""
    close: bool = False
    """Lips pressed together."""
    tuck: bool = False
    """Lower lip under the upper teeth."""
    jaw_weight: float = 1.0
    """How strongly it holds its opening against its neighbours."""
    shape_weight: float = 1.0
    """How strongly it holds its width and rounding."""


PAUSE = "_"

VOWELS: Dict[str, Lips] = {
    symbol: Lips(jaw, width, rounding)
    for symbol, jaw, width, rounding in (
        # open
        ("a", 0.75, 0.10, 0.00), ("ɑ", 0.80, -0.05, 0.05), ("æ", 0.75, 0.35, 0.00), ("ɐ", 0.65, 0.00, 0.00),
        ("ʌ", 0.60, 0.00, 0.00), ("ɒ", 0.40, -0.30, 0.45),
        # mid
        ("e", 0.55, 0.50, 0.00), ("ɛ", 0.65, 0.35, 0.00), ("ɔ", 0.32, -0.45, 0.60), ("o", 0.22, -0.55, 0.75),
        ("ɤ", 0.30, 0.10, 0.05), ("ø", 0.20, -0.40, 0.80), ("œ", 0.28, -0.30, 0.60), ("ɵ", 0.20, -0.40, 0.60),
        # central
        ("ə", 0.22, 0.00, 0.05), ("ɚ", 0.15, -0.15, 0.30), ("ɜ", 0.18, -0.15, 0.30), ("ᵻ", 0.28, 0.30, 0.00),
        ("ɨ", 0.28, 0.30, 0.00),
        # close
        ("i", 0.30, 0.70, 0.00), ("ɪ", 0.32, 0.45, 0.00), ("ɯ", 0.20, 0.10, 0.10), ("u", 0.08, -0.70, 1.00),
        ("ʊ", 0.15, -0.50, 0.70), ("y", 0.10, -0.50, 0.95), ("ʏ", 0.12, -0.40, 0.80),
    )
}  # fmt: skip

_CONSONANT_GROUPS: Tuple[Tuple[str, Lips], ...] = (
    ("pbm", Lips(0.00, close=True, shape_weight=0.1)),
    ("fvʋɱ", Lips(0.00, 0.10, tuck=True, shape_weight=0.3)),
    ("wɥʍ", Lips(0.00, -0.60, 0.95, jaw_weight=0.9)),
    ("ʃʒ", Lips(0.16, -0.30, 0.60, jaw_weight=0.7, shape_weight=0.7)),
    ("ɕʑç", Lips(0.16, 0.20, 0.10, jaw_weight=0.6, shape_weight=0.5)),
    ("ʂʐɻ", Lips(0.14, -0.10, 0.35, jaw_weight=0.7, shape_weight=0.5)),
    ("sz", Lips(0.12, 0.30, jaw_weight=0.6, shape_weight=0.4)),
    ("θð", Lips(0.14, 0.10, jaw_weight=0.5, shape_weight=0.2)),
    ("tdnlɾɲʎɳɫ", Lips(0.14, 0.10, jaw_weight=0.4, shape_weight=0.15)),
    ("rɹʀ", Lips(0.10, -0.20, 0.40, jaw_weight=0.5, shape_weight=0.5)),
    ("j", Lips(0.20, 0.45, jaw_weight=0.4, shape_weight=0.5)),
    ("kɡgŋxχɣqʁ", Lips(0.32, jaw_weight=0.25, shape_weight=0.08)),
    ("hɦʔ", Lips(0.30, jaw_weight=0.12, shape_weight=0.05)),
)
CONSONANTS: Dict[str, Lips] = {symbol: lips for symbols, lips in _CONSONANT_GROUPS for symbol in symbols}

VISEMES: Tuple[str, ...] = (
    PAUSE, "pbm", "fvʋɱ", "wɥʍ", "ʃʒɕʑçʂʐɻ", "sz", "tdnlɾɲʎɳɫ", "kɡgŋxχɣqʁhɦʔ", "rɹʀ", "θð",
    "iɪɨᵻjɯ", "eɛæ", "aɑɐʌ", "əɚɜɤ", "ɔoɒ", "uʊyøœʏɵ",
)  # fmt: skip
"""Classes of phonemes that look alike on the lips; the first is silence."""
VISEME_OF: Dict[str, int] = {symbol: i for i, symbols in enumerate(VISEMES) for symbol in symbols}

ARPABET: Dict[str, str] = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "axr": "ɚ", "ay": "aɪ", "b": "b", "ch": "tʃ",
    "d": "d", "dh": "ð", "dx": "ɾ", "eh": "ɛ", "el": "l", "em": "m", "en": "n", "er": "ɜ", "ey": "eɪ", "f": "f",
    "g": "g", "hh": "h", "hv": "h", "ih": "ɪ", "ix": "ɪ", "iy": "i", "jh": "dʒ", "k": "k", "l": "l", "m": "m",
    "n": "n", "ng": "ŋ", "nx": "n", "ow": "oʊ", "oy": "ɔɪ", "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t",
    "th": "θ", "uh": "ʊ", "uw": "u", "ux": "u", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ",
    "pau": PAUSE, "ssil": PAUSE, "h#": PAUSE, "brth": PAUSE, "#": PAUSE,
}  # fmt: skip
"""Phone names of flite and of festival's English voices."""

SAMPA: Dict[str, str] = {
    "S": "ʃ", "SS": "ʃ", "Z": "ʒ", "tS": "tʃ", "ttS": "tʃ", "dZ": "dʒ", "ddZ": "dʒ", "tts": "ts", "ddz": "dz", "J": "ɲ",
    "L": "ʎ", "N": "ŋ", "ng": "ŋ", "nf": "ɱ", "@": "ə", "A": "ɑ", "ae": "æ", "{": "æ", "E": "ɛ", "O": "ɔ", "oe": "ø",
    "2": "ø", "g": "ɡ", "#": PAUSE, "pau": PAUSE,
}  # fmt: skip
"""Phone names of festival's Italian and Finnish voices where they are not plain letters."""

CATALAN: Dict[str, str] = {**SAMPA, "ax": "ə", "rr": "r", "_": PAUSE}
"""Phone names of festival's Catalan voice."""

CZECH: Dict[str, str] = {
    "#": PAUSE, "_": "ʔ", "e": "ɛ", "e:": "ɛ", "i": "ɪ", "i:": "i", "c": "ts", "c~": "tʃ", "ch": "x", "d~": "d",
    "g": "ɡ", "dz": "dz", "dz~": "dʒ", "h": "ɦ", "n*": "ŋ", "n~": "ɲ", "r~": "ʒ", "r~*": "ʃ", "s~": "ʃ", "t~": "t",
    "z~": "ʒ",
}  # fmt: skip
"""Phone names of festival's Czech voices where they are not plain letters (ISO-8859-2 text)."""

RUSSIAN: Dict[str, str] = {
    "pau": PAUSE, "ii": "i", "yy": "ɨ", "uu": "u", "ee": "ɛ", "oo": "o", "aa": "a", "a": "ɐ", "e": "ɪ", "i": "ɪ",
    "y": "ɨ", "u": "ʊ", "ae": "ə", "ay": "ə", "ur": "ʊ", "c": "ts", "ch": "tɕ", "sh": "ʂ", "sch": "ɕ", "zh": "ʐ",
    "h": "x", "g": "ɡ", **{2 * name: name for name in "pbtdkfvszmnlr"}, "gg": "ɡ", "hh": "x",
}  # fmt: skip
"""Phone names of festival's Russian voice where they are not plain letters; doubled consonants are the soft ones."""

INDIAN: Dict[str, str] = {
    "pau": PAUSE, "a": "ʌ", "aa": "a", "ih": "ɪ", "iy": "i", "uh": "ʊ", "uw": "u", "eh": "ɛ", "ee": "e", "ay": "aɪ",
    "oh": "o", "oo": "o", "aw": "aʊ", "ch": "tʃ", "T": "t", "D": "d", "N": "ɳ", "th": "t", "dh": "d", "y": "j",
    "r": "ɾ", "v": "ʋ", "L": "l", "R": "ɾ", "sh": "ʃ", "j": "dʒ", "h": "ɦ", "ksh": "kʂ", "sri": "ʃɾ", "x": "ks",
    "kh": "k", "gh": "ɡ", "td": "t", "tth": "t", "ddh": "d", "bh": "b", "zh": "dʒ", "g": "ɡ", "@": "æ", "w": "w",
}  # fmt: skip
"""Phone names of festival's Hindi and Telugu voices where they are not plain letters."""

JAPANESE: Dict[str, str] = {
    "sil": PAUSE, "pau": PAUSE, "u": "ɯ", "A": "a", "I": "i", "U": "ɯ", "E": "e", "O": "o", "N": "ŋ", "cl": "ʔ",
    "ch": "tɕ", "sh": "ɕ", "j": "dʑ", "ts": "ts", "f": "h", "g": "ɡ", "r": "ɾ", "y": "j",
    **{name + "y": {"r": "ɾ", "g": "ɡ"}.get(name, name) + "j" for name in "kgtdnhbpmr"},
}  # fmt: skip
"""Phone names of open_jtalk where they are not plain letters; capital vowels are whispered."""


@dataclass(frozen=True)
class Segment:
    """One phoneme of a recording."""

    start_s: float
    end_s: float
    symbol: str
    """One IPA character of the tables above, or PAUSE."""


def segments(events: List[Tuple[float, str]], duration_s: float) -> List[Segment]:
    """Phoneme events to segments of single symbols.

    Args:
        events: (start in seconds, IPA text) in order; a diphthong or affricate is shared out evenly among its
            symbols, diacritics and stress marks are dropped, text without a known symbol is a pause.
        duration_s: Where the last event ends.
    """
    out: List[Segment] = []
    for (start, text), (end, _) in zip(events, [*events[1:], (duration_s, "")]):
        if end - start < 0.002 or text.startswith("("):  # "(en)": espeak changes language, no sound
            continue
        known = [c for c in text if c in VISEME_OF and c != PAUSE] or [PAUSE]
        step = (end - start) / len(known)
        out += [Segment(start + i * step, start + (i + 1) * step, c) for i, c in enumerate(known)]
    return out
