"""The figures over aligned speech: right for motion whose figures are known, bad for motion that is bad."""

import json
import math
import sys
import wave
from pathlib import Path
from typing import Callable, Dict, List

import numpy as np
import pytest

from models import aligned, alignment, lip_figures
from models.alignment import Aligner, Spoken, _Phone
from models.lip_figures import figures, holds
from models.phonemes import PAUSE, Segment
from sonic_edge.media import Motion

FPS = 25.0
WORD = [
    Segment(0.0, 0.6, PAUSE), Segment(0.6, 0.72, "b"), Segment(0.72, 0.96, "a"), Segment(0.96, 1.08, "f"),
    Segment(1.08, 1.28, "u"), Segment(1.28, 1.4, "t"), Segment(1.4, 1.52, "m"), Segment(1.52, 1.72, "i"),
    Segment(1.72, 2.4, PAUSE),
]  # fmt: skip
"""Pauses of .6 and .68 s; b and m; one open vowel; one rounded vowel; f against t."""

Channels = Dict[str, Callable[[Segment], float]]
GOOD: Channels = {
    "jaw": lambda s: 0.0 if s.symbol in PAUSE + "bmf" else 0.6 if s.symbol == "a" else 0.2,
    "round": lambda s: float(s.symbol == "u"),
    "close": lambda s: float(s.symbol in "bm"),
    "tuck": lambda s: float(s.symbol == "f"),
}


def motion(lead_s: float = 0.0, **other: Callable[[Segment], float]) -> Motion:
    """WORD said by a mouth that does at each moment what the segment `lead_s` later asks."""
    channels = {**GOOD, **other}
    values = np.zeros((60, len(channels)), np.float32)
    for i in range(60):
        at = i / FPS + lead_s + 1e-6
        segment = next((s for s in WORD if s.start_s <= at < s.end_s), WORD[-1])
        values[i] = [channel(segment) for channel in channels.values()]
    return Motion(tuple(channels), values, FPS)


def test_a_mouth_that_does_all_it_should_keeps_every_mark() -> None:
    found = figures([(motion(), WORD)], 0.0)
    assert {name: figure.value for name, figure in found.items()} == {
        "closure recall": 1, "closure recall, resting lips too": 1, "closure precision, 40 ms": 1,
        "closure precision, 80 ms": 1, "open vowels shut": 0, "pauses shut": 1, "rounding, AUC": 1, "tuck, AUC": 1,
    }  # fmt: skip
    assert all(holds(found[name].value, mark) for name, mark in lip_figures.MARKS.items())
    assert found["closure recall"].n == 2 and found["closure precision, 40 ms"].n == 2


def test_lips_that_never_shut_keep_no_mark_of_closures() -> None:
    found = figures([(motion(close=lambda s: 0.0, jaw=lambda s: 0.4), WORD)], 0.0)
    assert found["closure recall"].value == 0 and found["closure recall, resting lips too"].value == 0
    assert math.isnan(found["closure precision, 40 ms"].value)
    assert found["pauses shut"].value == 0
    for name in ("closure recall", "closure precision, 40 ms", "pauses shut"):
        assert not holds(found[name].value, lip_figures.MARKS[name])


def test_lips_that_never_open_are_found_out_by_the_vowels() -> None:
    shut = figures([(motion(close=lambda s: 1.0), WORD)], 0.0)
    assert shut["closure recall"].value == 1 and shut["open vowels shut"].value == 1
    still = figures([(motion(close=lambda s: 0.0, jaw=lambda s: 0.0), WORD)], 0.0)
    assert still["open vowels shut"].value == 1, "a jaw that stays up shuts a vowel as well"
    assert not holds(1.0, lip_figures.MARKS["open vowels shut"])


def test_resting_lips_count_for_the_second_recall_only() -> None:
    found = figures([(motion(close=lambda s: float(s.symbol == "m")), WORD)], 0.0)
    assert found["closure recall"].value == 0.5
    assert found["closure recall, resting lips too"].value == 1


def test_closures_of_other_sounds_cost_precision() -> None:
    found = figures([(motion(close=lambda s: float(s.symbol in "bmu")), WORD)], 0.0)
    assert found["closure recall"].value == 1
    assert found["closure precision, 40 ms"].value == pytest.approx(2 / 3)
    assert found["closure precision, 40 ms"].n == 3


def test_late_lips_are_wrong() -> None:
    late = motion(lead_s=-0.2)
    assert lip_figures.closure_recall(late, WORD, 0.0) == (0, 2)
    assert lip_figures.closure_precision(late, WORD, 0.0) == (0, 2)
    assert lip_figures.open_shut(late, WORD, 0.0)[0] > 0


def test_a_closure_between_the_two_tolerances_counts_only_for_the_wider() -> None:
    late = motion(lead_s=-0.18)  # b's frames begin at .8, 80 ms after it has ended
    assert lip_figures.closure_precision(late, WORD, 0.0, 0.04)[0] == 0
    assert lip_figures.closure_precision(late, WORD, 0.0, 0.08)[0] == 2


def test_lips_may_lead_by_what_they_are_meant_to() -> None:
    ahead = motion(lead_s=0.2)
    good = figures([(ahead, WORD)], 0.2)
    assert good["closure recall"].value == 1 and good["open vowels shut"].value == 0
    assert figures([(ahead, WORD)], 0.0)["closure recall"].value == 0


def test_only_the_inside_of_long_pauses_is_asked_for() -> None:
    ajar = motion(jaw=lambda s: 0.3)
    shut, n = lip_figures.pauses_shut(ajar, WORD, 0.0)
    assert shut == 0
    assert n == pytest.approx((0.6 - 0.2 + 0.68 - 0.2) * FPS, abs=2)
    halves = [Segment(0.0, 0.2, PAUSE), Segment(0.2, 0.4, PAUSE), Segment(0.4, 1.0, "a"), Segment(1.0, 1.3, PAUSE)]
    assert lip_figures.pauses(halves) == [(0.0, 0.4), (1.0, 1.3)]
    assert lip_figures.pauses_shut(ajar, halves, 0.0)[1] == pytest.approx(0.2 * FPS, abs=1), "the second one is short"


def test_short_open_vowels_need_not_open() -> None:
    short = [Segment(0.0, 0.05, "a"), Segment(0.05, 0.3, "t")]
    assert lip_figures.open_shut(motion(jaw=lambda s: 0.0), short, 0.0) == (0, 0)


def test_takes_are_pooled_by_what_is_in_them() -> None:
    good, bad = motion(), motion(close=lambda s: 0.0)
    assert figures([(good, WORD), (good, WORD), (bad, WORD)], 0.0)["closure recall"].value == pytest.approx(2 / 3)


def test_rounding_and_tuck_the_wrong_way_round() -> None:
    found = figures(
        [(motion(round=lambda s: float(s.symbol in "ai"), tuck=lambda s: float(s.symbol == "t")), WORD)], 0.0
    )
    assert found["rounding, AUC"].value == 0 and found["tuck, AUC"].value == 0
    flat = figures([(motion(round=lambda s: 0.3, tuck=lambda s: 0.3), WORD)], 0.0)
    assert flat["rounding, AUC"].value == 0.5 and flat["tuck, AUC"].value == 0.5


def test_area_counts_pairs() -> None:
    assert lip_figures.area(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0])) == pytest.approx(5.5 / 6)
    assert lip_figures.area(np.array([1.0]), np.array([2.0])) == 0
    assert math.isnan(lip_figures.area(np.array([]), np.array([1.0])))
    assert not holds(float("nan"), 0.5) and not holds(float("nan"), -0.5)


class Fixed(Aligner):
    """An aligner that hears what the test says."""

    def __init__(self, phones: List[_Phone]) -> None:
        self._decoder = self
        self._told = phones

    def lookup_word(self, word: str) -> "str | None":
        return None if word == "xyzzy" else word

    def _phones(self, pcm: bytes, words: List[str]) -> List[_Phone]:
        return self._told


def test_alignments_become_segments_and_absurd_ones_are_refused() -> None:
    rng = np.random.default_rng(0)
    samples = np.zeros(16000, np.float32)
    samples[3200:9600] = 0.1 * rng.standard_normal(6400)  # said from .2 to .6 s
    phones = [_Phone("SIL", 0, 20, -50), _Phone("M", 20, 20, -200), _Phone("AY", 40, 20, -200)]
    spoken = Fixed(phones).align(samples, "My!")
    assert [s.symbol for s in spoken] == [PAUSE, "m", "a", "ɪ", PAUSE]
    assert spoken[0].start_s == 0 and spoken[-1].end_s == 1
    assert spoken[1].start_s == pytest.approx(0.2078) and spoken[4].start_s == pytest.approx(0.6078)
    far = [phone._replace(score=-2000) for phone in phones]
    slow = [_Phone("M", 20, 40, -200)]
    for reported, text, why in (
        (far, "my", "nats per frame"), (slow, "m", "phones a second"), (phones, "my xyzzy", "xyzzy"),
        (phones, "...", "no text"),
    ):  # fmt: skip
        with pytest.raises(alignment.NotAligned, match=why):
            Fixed(reported).align(samples, text)


def test_what_is_loud_without_words_is_neither_pause_nor_closure() -> None:
    rng = np.random.default_rng(4)
    samples = 1e-4 * rng.standard_normal(38400).astype(np.float32)
    samples[9600:27520] += 0.1 * rng.standard_normal(17920).astype(np.float32)
    assert alignment.without_loud_pauses(samples, WORD) == WORD
    samples[27520:] += 0.1 * rng.standard_normal(10880).astype(np.float32)
    known = alignment.without_loud_pauses(samples, WORD)
    assert known == WORD[:-1]
    restless = motion(close=lambda s: float(s.symbol in "bm" or s is WORD[-1]))
    assert lip_figures.closure_precision(restless, WORD, 0.0) == (2, 3)
    assert lip_figures.closure_precision(restless, known, 0.0) == (2, 2)
    assert lip_figures.pauses_shut(restless, known, 0.0)[1] < lip_figures.pauses_shut(restless, WORD, 0.0)[1]


def test_noise_comes_at_the_ratio_asked_for() -> None:
    rng = np.random.default_rng(1)
    samples = (0.05 * rng.standard_normal(38400)).astype(np.float32)
    samples[:9600] = samples[27520:] = 0  # the pauses of WORD
    others = [Spoken(str(i), np.roll(samples, 4000 * i), WORD) for i in range(4)]
    noisy = alignment.in_noise(others, 5.0)
    talk = slice(9600, 27520)
    for clean, mixed in zip(others, noisy):
        added = (mixed.samples - clean.samples)[talk].astype(np.float64)
        ratio = 10 * np.log10((clean.samples[talk].astype(np.float64) ** 2).mean() / (added**2).mean())
        assert ratio == pytest.approx(5.0, abs=0.05)
        assert mixed.spoken is clean.spoken
    assert any(np.abs(one.samples[:9000]).max() > 0.005 for one in noisy), "in the pauses too"


def test_pink_noise_is_deeper_than_white() -> None:
    power = np.abs(np.fft.rfft(alignment.pink(1 << 15, np.random.default_rng(2)))) ** 2
    low, high = power[100:200].mean(), power[1600:3200].mean()
    assert 10 * np.log10(low / high) == pytest.approx(12, abs=2)  # four octaves


def write(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_a_folder_gives_what_has_times_and_says_what_has_not(tmp_path: Path) -> None:
    for name in ("known", "bare"):
        write(tmp_path / f"{name}.wav", np.zeros(16000))
    (tmp_path / "known.seg").write_text("0 0.5 _\n0.5 1.0 m\n", "utf8")
    said: List[str] = []
    recordings = alignment.read_folder(tmp_path, said.append)
    assert [one.name for one in recordings] == ["known"]
    assert recordings[0].spoken == [Segment(0, 0.5, PAUSE), Segment(0.5, 1, "m")]
    assert len(recordings[0].samples) == 16000
    assert len(said) == 1 and "bare.wav" in said[0]
    (tmp_path / "known.seg").write_text("0 0.5 ?\n", "utf8")
    with pytest.raises(ValueError, match="known.seg"):
        alignment.read_folder(tmp_path, said.append)


def test_the_command_measures_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    samples = 1e-4 * rng.standard_normal(38400)
    samples[9600:27520] += 0.1 * rng.standard_normal(17920)
    write(tmp_path / "word.wav", np.clip(samples, -1, 1))
    (tmp_path / "word.seg").write_text("".join(f"{s.start_s} {s.end_s} {s.symbol}\n" for s in WORD), "utf8")
    monkeypatch.setattr(sys, "argv", ["aligned", str(tmp_path), "--json"])
    aligned.main()
    reported = json.loads(capsys.readouterr().out)
    assert reported["recordings"] == 1 and reported["seconds"] == 2.4
    assert set(lip_figures.MARKS) <= set(reported["figures"])
    assert reported["figures"]["pauses shut"]["value"] == 1, "the product shuts the lips in its silences"
    assert reported["figures"]["closure recall"]["n"] == 2
    monkeypatch.setattr(sys, "argv", ["aligned", str(tmp_path)])
    aligned.main()
    printed = capsys.readouterr().out
    assert "closure recall" in printed and "held" in printed
