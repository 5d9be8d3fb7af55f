import numpy as np
import pytest

from sonic_edge.model.mel import (
    MelSettings,
    MelStream,
    SpeechTracker,
    filterbank,
    log_mel,
    loud_level,
    loudness,
    normalise,
    quiet,
    rests,
    speech_mean,
    speech_shape,
)

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


@pytest.mark.parametrize("n", [639, 640, 9000])
def test_frames_may_be_asked_for_so_many_at_once(n):
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32) * 0.1
    stream = MelStream(S, at_once=4)
    pieces = [stream.push(x[i : i + 160]) for i in range(0, len(x), 160)]
    assert {p.shape[1] for p in pieces} <= {0, 4}
    assert sum(p.shape[1] for p in pieces) == (n + 200 - 400 + 160) // 160 // 4 * 4, "none waits that could be given"
    np.testing.assert_allclose(np.concatenate([*pieces, stream.finish()], 1), log_mel(x, S), rtol=0, atol=1e-5)


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
    # a factor of ten in amplitude is exactly 2.0 in log10 power, and is removed with the mean
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


def talk(seconds, loud=((0, 1e9),), level=-1.0):
    """A mel that is loud between the given moments, silent elsewhere."""
    t = np.arange(int(seconds * 100) + 1) / 100
    mel = np.full((80, len(t)), -8, np.float32)
    for a, b in loud:
        mel[:, (t >= a) & (t < b)] = level
    return mel


def test_quiet_is_soft_and_between_0_and_1():
    q = quiet(talk(4, loud=((1, 3),)), S)
    t = np.arange(len(q)) / 100
    assert q.min() == 0 and q.max() == 1 and np.abs(np.diff(q)).max() < 0.2
    assert q[(t < 0.9) | (t > 3.1)].min() == 1 and q[(t > 1.1) & (t < 2.9)].max() == 0


def test_a_short_pause_is_not_quiet():
    assert quiet(talk(4, loud=((0, 2), (2.1, 4.1))), S).max() == 0
    assert quiet(talk(4, loud=((0, 2), (2.2, 4.1))), S).max() == 1


def test_a_recording_without_sound_is_all_quiet():
    assert quiet(np.full((80, 401), -9, np.float16), S).min() == 1


def test_silence_at_the_end_is_a_rest_only_when_nothing_follows():
    silent = np.zeros(100, bool)
    silent[90:] = True
    assert rests(silent, S, ended=True)[-1] == 1
    assert rests(silent, S, ended=False).max() == 0
    silent[80:] = True
    assert rests(silent, S, ended=False)[-1] == 1


def test_the_shape_of_speech_knows_no_level(sample):
    mel = sample.mel.astype(np.float32)
    np.testing.assert_allclose(speech_shape(mel, S), speech_shape(mel + 1.5, S), atol=1e-4)
    assert loud_level(loudness(mel)) > loudness(mel).mean()


@pytest.fixture
def prior(sonic_net):
    return np.array(sonic_net.bundle.spec.stream.prior, np.float32)


def test_the_tracker_comes_to_the_mean_of_the_whole(sample, prior):
    mel = sample.mel.astype(np.float32)
    tracker = SpeechTracker(S, prior)
    silent = tracker.push(mel)
    level = loudness(mel)
    away = tracker.mean - speech_mean(mel, S)
    assert np.abs(away).mean() < 0.4 and abs(away.mean()) < 0.25  # the last words are not the whole: 0.2 and -0.1
    assert (silent == (level < loud_level(level) - 3)).mean() > 0.9


def test_the_tracker_starts_from_the_prior_at_the_level_of_the_first_word(prior):
    tracker = SpeechTracker(S, prior)
    word = np.full((80, 1), 0.5, np.float32)
    assert tracker.push(np.full((80, 50), -8, np.float32)).all()
    assert not tracker.push(word).any()
    expected = (75 * (prior + loudness(word)[0]) + 0.5) / 76
    np.testing.assert_allclose(tracker.mean, expected, atol=0.01)


def test_silence_leaves_the_mean_as_it_was(sample, prior):
    tracker = SpeechTracker(S, prior)
    tracker.push(sample.mel.astype(np.float32)[:, :600])
    before = tracker.mean
    assert tracker.push(np.full((80, 60000), -10, np.float32)).all()
    np.testing.assert_array_equal(tracker.mean, before)


@pytest.mark.parametrize("jump", [-2.0, 2.0])  # 20 dB
def test_the_tracker_follows_a_jump_of_level(sample, prior, jump):
    mel = sample.mel.astype(np.float32)
    tracker = SpeechTracker(S, prior)
    tracker.push(mel)
    before = tracker.mean
    silent = tracker.push(mel + jump)
    assert 0.7 < ((tracker.mean - before) / jump).mean() < 1.1
    assert silent.mean() < 0.35


@pytest.mark.parametrize("amplitude", [0.001, 0.01, 0.03])
def test_noise_alone_is_silence(prior, amplitude):
    noise = np.random.default_rng(0).standard_normal(16000 * 30).astype(np.float32) * np.float32(amplitude)
    tracker = SpeechTracker(S, prior)
    silent = tracker.push(log_mel(noise, S))
    assert silent[100:].all()
    assert np.isfinite(tracker.mean).all()


def test_speech_stands_out_of_noise(sample, prior):
    noise = np.random.default_rng(0).standard_normal(16000 * 20).astype(np.float32) * np.float32(0.003)
    mel = np.log10(10 ** log_mel(noise, S)[:, : sample.mel.shape[1]] + 10 ** sample.mel.astype(np.float32))
    clean, noisy = (SpeechTracker(S, prior).push(m) for m in (sample.mel.astype(np.float32), mel))
    assert noisy[~clean].mean() < 0.1, "little of what is said is lost"


def test_pauses_are_heard_through_noise_and_speech_is_not_taken_for_them():
    rng = np.random.default_rng(3)
    settings = MelSettings()
    t = np.arange(16000) / 16000
    # half a second of a vowel with syllables in it, half a second of nothing, five times; noise 8 dB under the vowel
    vowel = np.sin(2 * np.pi * 150 * t) * np.sin(2 * np.pi * 4 * t) ** 2 * (t % 1 < 0.5)
    said = np.tile(vowel, 5)
    noise = rng.standard_normal(len(said)) * said.std() * 10 ** (-8 / 20)
    for sound in (said + 1e-4 * noise, said + noise):
        rest = quiet(log_mel(0.2 * sound.astype(np.float32), settings), settings)
        middle = np.arange(len(rest)) % 100
        assert rest[(middle > 65) & (middle < 85)].mean() > 0.9
        assert rest[(middle > 5) & (middle < 20)].mean() < 0.1


# ---- mel of other models ------------------------------------------------------------------------------------------

WAV2LIP = MelSettings(
    n_fft=800,
    hop=200,
    fmin=55.0,
    fmax=7600.0,
    clip=(-8.0, 2.0),
    scale=1.25,
    bands="slaney",
    summed="magnitude",
    preemphasis=0.97,
    normalise="range",
)


def slaney_bank():
    """librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600), by its documented formulas."""

    def mel(hz):
        return hz / (200 / 3) if hz < 1000 else 15 + np.log(hz / 1000) / (np.log(6.4) / 27)

    def hertz(m):
        return m * 200 / 3 if m < 15 else 1000 * np.exp((m - 15) * np.log(6.4) / 27)

    edges = [hertz(m) for m in np.linspace(mel(55), mel(7600), 82)]
    bank = np.zeros((80, 401))
    for i in range(80):
        low, middle, high = edges[i : i + 3]
        for k in range(401):
            hz = k * 20.0
            bank[i, k] = max(0, min((hz - low) / (middle - low), (high - hz) / (high - middle))) * 2 / (high - low)
    return bank


def test_wav2lips_mel_can_be_described():
    """Its audio.melspectrogram (github.com/Rudrabha/Wav2Lip, audio.py and hparams.py) written out once more."""
    samples = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * np.float32(0.1)
    samples[6000:9000] = 0
    emphasised = np.concatenate([samples[:1], samples[1:] - 0.97 * samples[:-1]])
    padded = np.pad(emphasised.astype(np.float64), 400)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 800)
    spectra = np.stack([np.abs(np.fft.rfft(padded[i : i + 800] * window)) for i in range(0, 16001, 200)], axis=1)
    decibels = 20 * np.log10(np.maximum(1e-5, slaney_bank() @ spectra)) - 20
    expected = np.clip(8 * (decibels + 100) / 100 - 4, -4, 4)
    ours = normalise(log_mel(samples, WAV2LIP), np.zeros(80, np.float32), WAV2LIP)
    assert ours.shape == expected.shape == (80, 81)
    np.testing.assert_allclose(ours, expected, atol=2e-3)


@pytest.mark.parametrize("piece", [1, 77, 200, 5000])
def test_preemphasis_goes_on_from_piece_to_piece(piece):
    samples = np.random.default_rng(1).standard_normal(6000).astype(np.float32)
    stream = MelStream(WAV2LIP)
    pieces = [stream.push(samples[i : i + piece]) for i in range(0, len(samples), piece)]
    np.testing.assert_allclose(np.concatenate([*pieces, stream.finish()], axis=1), log_mel(samples, WAV2LIP), atol=1e-4)
