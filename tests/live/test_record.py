import wave

import numpy as np
import pytest

from sonic_edge.config import LiveSettings, SpoolSettings
from sonic_edge.engine.speech import sound
from sonic_edge.errors import DeviceError
from sonic_edge.live.record import PATIENCE_S, Passage, put_job
from sonic_edge.spool import Spool

RATE = 16000


@pytest.fixture(scope="module")
def voice(sample):
    """Three seconds of the sample at 16 kHz, [n]."""
    at_48k = np.concatenate(list(sound(sample.path)), axis=1)[0]
    whole = at_48k[: len(at_48k) // 3 * 3].reshape(-1, 3).mean(axis=1).astype(np.float32)
    return whole[: 3 * RATE]


@pytest.fixture
def listen():
    def make(**settings):
        return Passage(LiveSettings(mode="record", **settings))

    return make


def hush(seconds, level=1e-4):
    return (np.random.default_rng(0).standard_normal(int(seconds * RATE)) * level).astype(np.float32)


def feed(passage, samples, piece=320):
    """Seconds until it is over; None if it is not."""
    for start in range(0, len(samples), piece):
        passage.push(samples[start : start + piece])
        if passage.is_over:
            return start / RATE
    return None


def test_silence_ends_it_and_is_cut_off(listen, voice):
    passage = listen(pause_s=1.0)
    ended = feed(passage, np.concatenate([hush(2), voice, hush(3)]))
    assert ended is not None and 5.5 < ended < 6.8
    said = passage.take()
    assert said.dtype == np.int16 and 2.7 < len(said) / RATE < 4.2
    # the first word is whole: what was kept holds all of the voice's energy
    energy = float(np.square(said / 32767).sum())
    assert energy > 0.99 * float(np.square(voice).sum()) * 0.97


def test_a_command_ends_it_at_any_time(listen, voice):
    passage = listen()
    assert feed(passage, voice[: 2 * RATE]) is None
    assert passage.is_speaking
    assert 1.5 < len(passage.take()) / RATE <= 2.0


def test_a_pause_in_speaking_does_not_end_it(listen, voice):
    passage = listen(pause_s=1.5)
    assert feed(passage, np.concatenate([voice, hush(0.8), voice])) is None


def test_it_ends_when_it_is_too_long(listen, voice):
    passage = listen(longest_s=2.0)
    assert feed(passage, np.concatenate([voice, voice])) is not None
    assert len(passage.take()) <= 2 * RATE


@pytest.mark.parametrize("trigger", ["command", "voice"])
def test_nobody_speaks(listen, trigger):
    passage = listen(trigger=trigger)
    ended = feed(passage, hush(PATIENCE_S + 3))
    assert (ended is not None) == (trigger == "command")
    assert passage.take() is None
    assert passage._n_kept < 2 * RATE, "a silence of any length takes no memory"


@pytest.mark.parametrize("noise", ["fan", "hum", "click"])
def test_noise_is_not_a_person(listen, noise):
    n = 8 * RATE
    samples = {
        "fan": hush(8, 0.01),
        "hum": (0.02 * np.sin(2 * np.pi * 100 * np.arange(n) / RATE)).astype(np.float32),
        "click": np.where(np.arange(n) % RATE < 80, 0.5, 0).astype(np.float32),
    }[noise]
    passage = listen(trigger="voice")
    feed(passage, samples)
    assert passage.take() is None or noise == "fan", "a fan that starts may pass for a word, not for a talk"
    if passage.is_speaking:
        assert passage.is_over and len(passage.take()) < 4 * RATE


def test_the_job_is_whole_and_private(tmp_path, voice):
    said = (voice * 32767).astype(np.int16)
    face = np.full((40, 30, 3), 90, np.uint8)
    settings = SpoolSettings(root=str(tmp_path / "spool"), settle_s=0.1, poll_s=0.05)
    with Spool(settings) as spool:
        name = put_job(spool.root, said, RATE, face)
        with wave.open(str(spool.inbox / name / "speech.wav")) as file:
            assert (file.getframerate(), file.getnchannels()) == (RATE, 1)
            assert np.array_equal(np.frombuffer(file.readframes(file.getnframes()), np.int16), said)
        stop = type("Stop", (), {"is_set": lambda self: False, "wait": lambda self, t: __import__("time").sleep(t)})()
        job = next(iter(spool.watch(stop)))
        assert job.portrait.name == "portrait.png" and job.speech.name == "speech.wav"
        spool.start(job)
        job.output.write_bytes(b"video")
        spool.publish(job, {})
        left = sorted(p.name for p in spool.outbox.iterdir())
        assert left == [f"{name}.json", f"{name}.mp4"], "the recording and the face go with the job"
        assert not any(spool.work.iterdir()) and not any(spool.inbox.iterdir())


def test_a_configured_photo_goes_into_the_job(tmp_path):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "me.jpg").write_bytes(b"photo")
    name = put_job(tmp_path, np.ones(100, np.int16), RATE, tmp_path / "me.jpg")
    assert (tmp_path / "inbox" / name / "portrait.jpg").read_bytes() == b"photo"


def test_a_disk_that_fails_leaves_nothing_half_written(tmp_path):
    face = np.full((40, 30, 3), 90, np.uint8)
    with pytest.raises(DeviceError, match="cannot be put into the inbox: there is no such folder"):
        put_job(tmp_path, np.ones(100, np.int16), RATE, face)
    (tmp_path / "inbox").mkdir()
    with pytest.raises(DeviceError, match="gone.jpg: the photo cannot be read"):
        put_job(tmp_path, np.ones(100, np.int16), RATE, tmp_path / "gone.jpg")
    assert not any((tmp_path / "inbox").iterdir())
