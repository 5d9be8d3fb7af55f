"""How well a motion's lips follow the phonemes: closures, open vowels, pauses, rounding."""

from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from models.phonemes import CONSONANTS, PAUSE, VOWELS, Segment
from sonic_edge.media import Motion
from sonic_edge.model.mel import runs

Array = NDArray[np.float64]
Samples = NDArray[np.float32]

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


def inside(times: Array, start_s: float, end_s: float) -> NDArray[np.bool_]:
    """Which times lie between the two."""
    return (times >= start_s - 1e-9) & (times <= end_s + 1e-9)


def _touches(run: Tuple[float, float], held: Sequence[Segment], near_s: float) -> bool:
    """Whether a stretch of time (start, end) comes within `near_s` of any of the segments."""
    near_s += 1e-9
    return any(s.start_s - near_s <= run[1] and run[0] <= s.end_s + near_s for s in held)


def closure_recall(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[int, int]:
    """(seen, all) p, b, m: seen if `close` says shut at some frame of it, or within NEAR_S of it."""
    times, shut = moments(motion, lead_s), motion.channel("close") > SHUT
    held = _held(spoken, BILABIAL)
    return sum(bool(shut[inside(times, s.start_s - NEAR_S, s.end_s + NEAR_S)].any()) for s in held), len(held)


def lips_met(motion: Motion, spoken: Sequence[Segment], lead_s: float) -> Tuple[int, int]:
    """As `closure_recall`, but lips resting shut before the first word count too: the difference is not visible."""
    times = moments(motion, lead_s)
    shut = (motion.channel("close") > SHUT) | (motion.channel("jaw") < OPEN_JAW)
    held = _held(spoken, BILABIAL)
    return sum(bool(shut[inside(times, s.start_s - NEAR_S, s.end_s + NEAR_S)].any()) for s in held), len(held)


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
            where |= inside(times, s.start_s + INSIDE_S, s.end_s - INSIDE_S)
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
            where |= inside(times, start + SETTLE_S, end - SETTLE_S)
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
