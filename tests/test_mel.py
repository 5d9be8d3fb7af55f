import numpy as np
import pytest

from sonic_edge.mel import MelSettings, MelStream, filterbank, log_mel, loudness, normalise, speech_mean

S = MelSettings()


def tone(hz, seconds, amplitude=0.5):
    t = np.arange(int(seconds * S.sample_rate)) / S.sample_rate
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def test_a_tone_is_loudest_in_the_band_around_it():
    mel = log_mel(tone(1000, 0.5), S)
    centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82)[1:-1] / 2595) - 1)
    assert abs(centres[mel[:, 25].argmax()] - 1000) < 60


def test_frames_are_centred_on_multiples_of_the_hop():
    click = np.zeros(16000, np.float32)
    click[8000] = 1
    assert loudness(log_mel(click, S)).argmax() == 50


@pytest.mark.parametrize("n", [0, 1, 159, 160, 161, 399, 16000, 16001])
def test_number_of_frames(n):
    assert log_mel(np.zeros(n, np.float32), S).shape == (80, n // 160 + 1)


@pytest.mark.parametrize("step", [1, 77, 160, 1000, 5000])
def test_pieces_give_what_the_whole_gives(step):
    x = np.random.default_rng(0).standard_normal(9000).astype(np.float32) * 0.1
    stream = MelStream(S)
    pieces = [stream.push(x[i : i + step]) for i in range(0, len(x), step)] + [stream.finish()]
    np.testing.assert_allclose(np.concatenate(pieces, 1), log_mel(x, S), rtol=0, atol=1e-5)


def test_long_input_is_the_same_in_pieces():
    x = np.random.default_rng(0).standard_normal(160 * 9000).astype(np.float32) * 0.1
    whole = MelStream(S)
    np.testing.assert_allclose(
        log_mel(x, S), np.concatenate([whole.push(x), whole.finish()], axis=1), rtol=0, atol=1e-5
    )


def test_filters_cover_the_range_and_have_equal_area():
    bank = filterbank(S)
    assert bank.shape == (80, 201)
    wide = bank[40:].sum(1) * 40  # 40 Hz a bin; narrow filters fall between bins
    np.testing.assert_allclose(wide, 1, atol=0.1)


def test_level_and_microphone_do_not_matter():
    x = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 0.1
    x[:8000] = 0
    a, b = log_mel(x, S), log_mel(x * 0.1, S)
    na, nb = (normalise(m, speech_mean(m, S), S) for m in (a, b))
    # a factor of ten in amplitude is exactly 2.0 in log10 power, and goes out with the mean
    np.testing.assert_allclose(na[:, 60:190], nb[:, 60:190], atol=1e-3)
    assert na.min() >= S.clip[0] / S.scale - 1e-6 and na.max() <= S.clip[1] / S.scale + 1e-6


def test_speech_mean_ignores_silence():
    x = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 0.1
    alone = speech_mean(log_mel(x, S), S)
    padded = speech_mean(log_mel(np.concatenate([np.zeros(32000, np.float32), x]), S), S)
    np.testing.assert_allclose(alone, padded, atol=0.05)


def test_half_precision_is_enough():
    x = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    mel = log_mel(x, S)
    np.testing.assert_allclose(loudness(mel), loudness(mel.astype(np.float16)), atol=0.01)
