"""Texts and augmentation: seeded, bounded, and as their sources say."""

from random import Random

import numpy as np
import pytest

from models import corpus, texts
from models.augment import augment
from models.espeak import mend_times
from models.phonemes import CATALAN, CZECH, VISEME_OF, Segment
from models.voices import VOICES


def test_texts_are_the_same_for_the_same_seed_and_differ_otherwise() -> None:
    def said(seed: int) -> "list[str]":
        rng = Random(seed)
        return [texts.english(rng), texts.mandarin(rng), *(make(rng) for make in texts.OTHERS.values())]

    assert said(3) == said(3)
    assert said(3) != said(4)
    assert all(text.strip() for text in said(3))


def test_pinyin_syllables_are_plain() -> None:
    assert len(set(texts.SYLLABLES)) > 300
    assert all(syllable.isascii() and syllable.isalpha() for syllable in texts.SYLLABLES)


def test_augmentation_keeps_shape_and_time() -> None:
    mel = np.full((4, 80, 200), -6.0, np.float32)
    mel[:, 10:40, 100:] = 0.0  # silence, then sound
    heard = augment(mel, np.random.default_rng(0))
    assert heard.shape == mel.shape and heard.dtype == np.float32
    assert np.isfinite(heard).all()
    level = heard.max(1)
    assert (level[:, 105:].mean(1) > level[:, :95].mean(1)).all()


def test_the_table_of_voices_adds_up() -> None:
    assert sum(voice.share for voice in VOICES) == pytest.approx(100)
    espeak = [voice for voice in VOICES if voice.synthesizer == "espeak"]
    natural = [voice for voice in VOICES if voice.synthesizer != "espeak"]
    assert sum(voice.share for voice in natural) > 50
    assert sum(voice.share for voice in espeak if voice.language == "cmn") > 0.35 * sum(v.share for v in espeak)
    for speaker in ("slt", "kal", "NSK"):  # the same people in two synthesizers or languages
        assert sum(voice.share for voice in natural if speaker in voice.name) <= 10
    names = [f"{voice.synthesizer} {voice.name}" for voice in natural]
    assert len(set(names)) == len(names)
    assert any("open_jtalk" in name for name in names) and "open_jtalk" in corpus.HELD_OUT
    assert {v.language for v in VOICES} - {"*"} <= set(texts.LANGUAGES)
    assert not set(corpus.HELD_OUT_VARIANTS) & set(corpus.ESPEAK_VARIANTS)


def test_phone_tables_hold_known_sounds() -> None:
    for voice in VOICES:
        for symbols in voice.phones.values():
            assert symbols and all(c in VISEME_OF for c in symbols)
    assert corpus._phone("a:", CZECH) == "a" and corpus._phone("E1", CATALAN) == "ɛ"
    with pytest.raises(ValueError, match="phonemes.py"):
        corpus._phone("?!", CZECH)


def test_texts_can_be_written_as_their_voices_read_them() -> None:
    rng = Random(1)
    for voice in VOICES:
        if voice.synthesizer == "festival" and voice.encoding != "ascii":
            for _ in range(50):
                texts.LANGUAGES[voice.language](rng).encode(voice.encoding)


def test_a_missing_synthesizer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for synthesizer in ("flite", "festival", "open_jtalk"):
        voice = next(voice for voice in VOICES if voice.synthesizer == synthesizer)
        with pytest.raises(RuntimeError, match=voice.package.split()[0]):
            list(corpus.utterances(voice, 5))


def test_the_gap_after_a_syllable_is_the_closure_of_the_next_stop() -> None:
    spoken = [Segment(0.0, 0.1, "p"), Segment(0.1, 0.3, "a"), Segment(0.3, 0.344, "_"), Segment(0.344, 0.4, "t")]
    assert mend_times(spoken)[-1] == Segment(0.3, 0.4, "t")
    pause = [Segment(0.0, 0.1, "p"), Segment(0.1, 0.3, "a"), Segment(0.3, 0.5, "_"), Segment(0.5, 0.6, "t")]
    assert [s.symbol for s in mend_times(pause)] == ["p", "a", "_", "t"]
