"""Phoneme table and lip teacher."""

import numpy as np
import pytest

from models import teacher
from models.espeak import mend_times
from models.phonemes import ARPABET, CONSONANTS, PAUSE, SAMPA, VISEME_OF, VISEMES, VOWELS, Segment, segments


def motion(word: str, seconds_each: float = 0.12) -> "dict[str, np.ndarray]":
    """Lip channels of some phonemes in a row, with half a second of silence around."""
    spoken = [Segment(0.0, 0.5, PAUSE)]
    for symbol in word:
        spoken.append(Segment(spoken[-1].end_s, spoken[-1].end_s + seconds_each, symbol))
    spoken.append(Segment(spoken[-1].end_s, spoken[-1].end_s + 0.5, PAUSE))
    frames = teacher.lip_motion(spoken, round(spoken[-1].end_s * teacher.FRAMES_PER_S))
    return dict(zip(teacher.CHANNELS, frames.T))


def middle(index: int, seconds_each: float = 0.12) -> int:
    return round((0.5 + (index + 0.5) * seconds_each) * teacher.FRAMES_PER_S)


def test_every_symbol_has_lips_and_one_viseme() -> None:
    assert set(VOWELS) | set(CONSONANTS) | {PAUSE} == set(VISEME_OF)
    assert sum(map(len, VISEMES)) == len(VISEME_OF)
    assert not set(VOWELS) & set(CONSONANTS)


@pytest.mark.parametrize("table", [ARPABET, SAMPA])
def test_phone_names_lead_to_known_symbols(table: "dict[str, str]") -> None:
    assert all(symbol in VISEME_OF for text in table.values() for symbol in text)


def test_a_diphthong_is_shared_out_and_marks_are_dropped() -> None:
    spoken = segments([(0.0, "ˈaɪ"), (0.2, "(en)"), (0.2, "tʃ"), (0.3, "?")], 0.4)
    assert [s.symbol for s in spoken] == ["a", "ɪ", "t", "ʃ", PAUSE]
    assert spoken[0].end_s == pytest.approx(0.1)
    assert spoken[-1].end_s == pytest.approx(0.4)


@pytest.mark.parametrize("symbol", "pbm")
def test_bilabials_shut_the_lips_between_open_vowels(symbol: str) -> None:
    lips = motion(f"a{symbol}a")
    assert lips["close"][middle(1)] > 0.95
    assert lips["jaw"][middle(1)] < 0.05
    assert lips["jaw"][middle(0)] > 0.4


def test_vowels_and_tucks_look_as_they_should() -> None:
    assert motion("u")["round"][middle(0)] > 0.7
    assert motion("i")["width"][middle(0)] > 0.4 > motion("u")["width"][middle(0)]
    assert motion("afa")["tuck"][middle(1)] > 0.95
    assert motion("a")["jaw"][middle(0)] > motion("e")["jaw"][middle(0)] > motion("u")["jaw"][middle(0)]


def test_long_silence_rests_and_short_pauses_stay_parted() -> None:
    assert motion("aa")["jaw"][10] < 0.05
    spoken = [Segment(0, 0.2, "e"), Segment(0.2, 0.45, PAUSE), Segment(0.45, 0.65, "e")]
    assert 0.08 < teacher.lip_motion(spoken, 65)[32, 0] < 0.25


def test_lips_stay_in_range() -> None:
    lips = motion("".join(sorted(set(VOWELS) | set(CONSONANTS))), 0.05)
    for name, values in lips.items():
        assert values.min() >= (-1 if name == "width" else 0), name
        assert values.max() <= 1, name


def test_labels_mark_what_is_held_for_at_most_its_limit() -> None:
    viseme, held = teacher.labels([Segment(0, 0.1, "a"), Segment(0.1, 0.4, "m"), Segment(0.4, 0.5, "s")], 50)
    assert viseme[5] == VISEME_OF["a"] and viseme[20] == VISEME_OF["m"] and viseme[45] == VISEME_OF["s"]
    assert held.sum() == round(teacher.HOLD_MAX_S * teacher.FRAMES_PER_S)
    assert held[10] == 1 and held[9] == 0


def test_espeaks_stops_get_their_closure_and_its_vowels_their_start() -> None:
    spoken = [Segment(0.0, 0.2, "a"), Segment(0.2, 0.24, "p"), Segment(0.24, 0.4, "a"), Segment(0.4, 0.46, "m")]
    spoken.append(Segment(0.46, 0.6, "a"))
    mended = mend_times(spoken)
    assert [s.symbol for s in mended] == [s.symbol for s in spoken]
    assert [s.start_s for s in mended] == pytest.approx([0.0, 0.15, 0.24, 0.4, 0.44])
    assert [s.end_s for s in mended] == pytest.approx([0.15, 0.24, 0.4, 0.44, 0.6])
    short = mend_times([Segment(0.0, 0.03, "a"), Segment(0.03, 0.07, "t")])
    assert short[0].end_s == pytest.approx(0.02)  # what is before keeps something
    assert mend_times([]) == []
