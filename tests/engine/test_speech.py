import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import SAMPLE_PHOTO, channels, encoded, speech_like, wav

from sonic_edge.config import LimitSettings
from sonic_edge.engine.speech import read_speech, sound
from sonic_edge.errors import RequestError
from sonic_edge.model.mel import MelSettings, log_mel

MEL = MelSettings()


def heard(path: Path) -> np.ndarray:
    return np.concatenate(list(sound(path)), axis=1)


def lag(a: np.ndarray, b: np.ndarray, most: int = 3000) -> int:
    """By how many samples b is late."""
    n = min(len(a), len(b))
    size = 1 << (2 * n).bit_length()
    product = np.fft.irfft(np.conj(np.fft.rfft(a[:n], size)) * np.fft.rfft(b[:n], size))
    around = np.concatenate([product[-most:], product[: most + 1]])
    return int(np.argmax(around)) - most


# ---------------------------------------------------------------------------------------------------- what is heard


def test_mel_is_that_of_the_samples(tmp_path, limits):
    samples = speech_like(2.345)
    speech = read_speech(wav(tmp_path / "a.wav", samples[None], 16000), MEL, limits)
    expected = log_mel(np.rint(samples * 32767).astype(np.float32) / 32768, MEL)
    assert speech.duration_s == len(samples) / 16000
    assert (speech.sample_rate, speech.n_channels, speech.warnings) == (16000, 1, ())
    assert speech.mel.dtype == np.float16
    np.testing.assert_allclose(speech.mel, expected, atol=0.02)


@pytest.mark.parametrize("kind", ["u8", "s16", "s24", "s32", "f32", "f64"])
@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_wav_of_any_depth_and_rate(tmp_path, limits, kind, rate):
    path = wav(tmp_path / "a.wav", channels(0.777, rate, 1), rate, kind)
    speech = read_speech(path, MEL, limits)
    n = round(0.777 * rate)
    assert speech.duration_s == pytest.approx(n / rate, abs=1e-9)
    assert speech.mel.shape == (80, round(n / rate * 16000) // 160 + 1)
    out = heard(path)
    assert out.shape == (1, round(n / rate * 48000))
    reference = speech_like(0.777, 48000)
    assert abs(lag(reference, out[0])) <= 2
    assert np.corrcoef(reference[: out.shape[1]], out[0, : len(reference)])[0, 1] > 0.98


def test_a_compressed_stream_in_a_wav_is_not_taken_for_samples(tmp_path, limits):
    """As recorded from a CD player's or receiver's digital output (IEC 61937): declared as PCM, but noise."""
    stream = encoded(tmp_path / "a.spdif", "ac3", channels(2.0, 48000, 2), 48000, "spdif").read_bytes()
    path = wav(tmp_path / "a.wav", np.frombuffer(stream, "<i2").reshape(-1, 2).T / np.float32(32767), 48000)
    speech = read_speech(path, MEL, limits)
    assert speech.duration_s == pytest.approx(2, abs=0.1)
    assert np.corrcoef(speech_like(2.0, 48000)[4800:91200], np.roll(heard(path)[0], -256)[4800:91200])[0, 1] > 0.9


@pytest.mark.parametrize("n_channels", range(1, 9))
def test_any_number_of_channels(tmp_path, limits, n_channels):
    path = wav(tmp_path / "a.wav", channels(0.5, 44100, n_channels), 44100)
    speech = read_speech(path, MEL, limits)
    out = heard(path)
    assert speech.n_channels == n_channels
    assert out.shape == (min(n_channels, 2), 24000)
    assert 0.2 < np.abs(out).max() <= 1


def test_a_voice_in_one_channel_is_heard(tmp_path, limits):
    samples = channels(1, 16000, 2)
    samples[0] = 0
    path = wav(tmp_path / "a.wav", samples, 16000)
    speech = read_speech(path, MEL, limits)
    assert speech.mel.max() > 0
    assert not speech.warnings
    out = heard(path)
    assert np.abs(out[0]).max() == 0 < np.abs(out[1]).max()


def test_contradicting_channels_are_reported(tmp_path, limits):
    voice = speech_like(1)
    path = wav(tmp_path / "a.wav", np.stack([voice, -voice]), 16000)
    speech = read_speech(path, MEL, limits)
    assert "cancel" in speech.warnings[0]
    assert speech.mel.max() > 0  # one of the channels is listened to


COMPRESSED = [
    ("a.mp3", "libmp3lame", None),
    ("a.m4a", "aac", "ipod"),
    ("a.aac", "aac", "adts"),
    ("a.opus", "libopus", "opus"),
    ("a.ogg", "libvorbis", "ogg"),
    ("a.webm", "libopus", "webm"),
    ("a.flac", "flac", None),
    ("a.mka", "pcm_s24le", "matroska"),
    ("a.caf", "alac", "caf"),
    ("a.aiff", "pcm_s16be", "aiff"),
    ("a.wma", "wmav2", "asf"),
]


def test_more_channels_than_can_be_read_safely_are_refused(tmp_path, alone):
    path = tmp_path / "many.mka"
    with av.open(str(path), "w", format="matroska") as file:
        stream = file.add_stream("libopus", rate=48000, options={"mapping_family": "255"})
        stream.codec_context.layout, stream.codec_context.format = "hexadecagonal", "flt"
        for start in range(0, 48000, 960):
            packed = np.ascontiguousarray(channels(0.02, 48000, 16).T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="hexadecagonal")
            frame.sample_rate, frame.pts = 48000, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    # in a process of its own: it could crash the tests
    reported, _, _ = alone(f"""
from pathlib import Path
from sonic_edge.model.store import find_bundle
from sonic_edge.config import LimitSettings
from sonic_edge.errors import RequestError
from sonic_edge.engine.speech import read_speech
try:
    read_speech(Path({str(path)!r}), find_bundle("sonic-net").mel, LimitSettings())
except RequestError as e:
    print(e)
""")
    assert reported == "many.mka: 16 channels; at most 8 can be read"


@pytest.mark.parametrize(("name", "codec", "container"), COMPRESSED)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_compressed_recordings(tmp_path, limits, name, codec, container, n_channels):
    samples = channels(1.5, 48000, n_channels)
    path = encoded(tmp_path / name, codec, samples, 48000, container)
    speech = read_speech(path, MEL, limits)
    assert speech.n_channels == n_channels
    assert speech.duration_s == pytest.approx(1.5, abs=0.09)  # AAC in ADTS and WMA say nothing of their filling
    out = heard(path)
    assert out.shape == (n_channels, round(speech.duration_s * 48000))
    assert speech.mel.shape[1] == round(speech.duration_s * 16000) // 160 + 1
    unmarked = codec == "wmav2" or container == "adts"
    assert abs(lag(samples[0], out[0])) <= (2600 if unmarked else 2)
    if codec in ("flac", "alac", "pcm_s24le", "pcm_s16be", "libopus", "libvorbis", "libmp3lame"):
        assert speech.duration_s == pytest.approx(1.5, abs=1e-6)


def test_the_sound_of_a_film(tmp_path, limits):
    path = encoded(tmp_path / "film.mp4", "aac", channels(1.2, 44100, 2), 44100, picture=True)
    assert read_speech(path, MEL, limits).duration_s == pytest.approx(1.2, abs=0.03)


def test_the_name_may_lie_and_be_chinese(tmp_path, limits):
    path = encoded(tmp_path / "a.flac", "flac", channels(0.6, 16000, 1), 16000)
    shutil.move(path, tmp_path / "录音 一.mp3")
    assert read_speech(tmp_path / "录音 一.mp3", MEL, limits).duration_s == pytest.approx(0.6)


def test_a_name_that_is_no_text(tmp_path, limits):
    path = wav(tmp_path / "a.wav", channels(0.6, 16000, 1), 16000)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"))
    shutil.move(path, odd)
    assert read_speech(odd, MEL, limits).duration_s == pytest.approx(0.6)


# --------------------------------------------------------------------------------------------------- odd recordings


def test_samples_that_are_no_numbers_are_silence(tmp_path, limits):
    samples = channels(1, 16000, 2)
    samples[0, 500:600], samples[1, 700], samples[0, 900], samples[1, 1000] = np.nan, np.inf, -np.inf, 1e30
    path = wav(tmp_path / "nan.wav", samples, 16000, "f32")
    speech = read_speech(path, MEL, limits)
    assert "nan.wav: 102 samples that are not finite" in speech.warnings[0]
    assert np.isfinite(speech.mel).all()
    out = heard(path)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1


def test_silence_is_accepted_and_reported(tmp_path, limits):
    speech = read_speech(wav(tmp_path / "s.wav", np.zeros((1, 16000)), 16000), MEL, limits)
    assert speech.duration_s == 1
    assert "s.wav: it is silent, without speech; the mouth stays shut" in speech.warnings
    assert np.isfinite(speech.mel).all()


def test_all_numbers_wrong_is_silence(tmp_path, limits):
    speech = read_speech(wav(tmp_path / "n.wav", np.full((1, 16000), np.nan), 16000, "f32"), MEL, limits)
    assert any("silent" in w for w in speech.warnings)


def test_quiet_is_not_silent(tmp_path, limits):
    speech = read_speech(wav(tmp_path / "q.wav", channels(1, 16000, 1) * 0.001, 16000, "s24"), MEL, limits)
    assert speech.warnings == ()


def test_a_recording_cut_off_gives_what_it_has(tmp_path, limits):
    path = encoded(tmp_path / "cut.flac", "flac", channels(4, 16000, 1), 16000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    speech = read_speech(path, MEL, limits)
    assert 1 < speech.duration_s < 3
    assert any("cut off" in w or "damaged" in w for w in speech.warnings)
    assert heard(path).shape[1] == round(speech.duration_s * 48000)


def test_a_wav_cut_off_gives_what_it_has(tmp_path, limits):
    path = wav(tmp_path / "cut.wav", channels(4, 16000, 1), 16000)
    path.write_bytes(path.read_bytes()[:64044])
    speech = read_speech(path, MEL, limits)
    assert speech.duration_s == pytest.approx(2)
    assert "cut.wav: cut off: 64000 bytes are missing; the 2.0 s there are used" in speech.warnings[0]


def test_damage_in_the_middle_costs_a_piece(tmp_path, limits):
    path = encoded(tmp_path / "d.mp3", "libmp3lame", channels(4, 44100, 1), 44100)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    speech = read_speech(path, MEL, limits)
    assert 3 < speech.duration_s < 4.1
    assert heard(path).shape[1] == round(speech.duration_s * 48000)


# ----------------------------------------------------------------------------------------------------- bad recordings


def refused(path: Path, limits: LimitSettings) -> str:
    with pytest.raises(RequestError) as caught:
        read_speech(path, MEL, limits)
    words = str(caught.value)
    assert words.startswith(path.name + ": ")
    assert "\n" not in words
    return words


def test_missing_empty_folder(tmp_path, limits):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    assert "is not there" in refused(tmp_path / "nothing.wav", limits)
    assert "is empty (0 bytes)" in refused(tmp_path / "empty.wav", limits)
    assert "is a folder" in refused(tmp_path / "folder.wav", limits)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.ogg", "a.flac", "a.txt"])
@pytest.mark.parametrize("content", [b"dear diary\n" * 500, bytes(range(256)) * 40, b"RIFF", b"ID3", b"OggS" * 99])
def test_no_recording(tmp_path, limits, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, limits)


def test_a_picture_is_no_recording(tmp_path, limits):
    shutil.copy(SAMPLE_PHOTO, tmp_path / "voice.wav")
    assert "is not a recording that can be read" in refused(tmp_path / "voice.wav", limits)


def test_a_silent_film(tmp_path, limits):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")))
        file.mux(stream.encode(None))
    assert "there is no sound in it" in refused(path, limits)


def test_an_m4a_without_its_end(tmp_path, limits):
    path = encoded(tmp_path / "a.m4a", "aac", channels(2, 48000, 1), 48000, "ipod")
    path.write_bytes(path.read_bytes()[:-2000])
    refused(path, limits)


def test_an_unknown_kind_of_sound(tmp_path, limits, alone):
    path = wav(tmp_path / "a.wav", channels(1, 48000, 1), 48000)
    data = path.read_bytes()
    path.write_bytes(data[:20] + b"\x99\x99" + data[22:])
    code = """
from test_speech import *
print(refused(Path({!r}), LimitSettings()))
"""
    printed, _, _ = alone(code.format(str(path)))  # PyAV crashes the process when decoding this
    assert printed == "a.wav: its sound is of an unknown kind and cannot be decoded"


def test_streams_that_appear_late(tmp_path, alone):
    """A programme stream does not list its streams at the front; PyAV has crashed over that."""
    path = encoded(tmp_path / "a.mpg", "mp2", channels(1, 48000, 2), 48000, "mpeg")
    code = """
from test_speech import *
print(read_speech(Path({!r}), MEL, LimitSettings()).duration_s)
"""
    printed, _, _ = alone(code.format(str(path)))
    assert float(printed) == pytest.approx(1, abs=0.06)


def test_header_without_sound(tmp_path, limits):
    path = wav(tmp_path / "a.wav", np.zeros((1, 0)), 16000)
    assert "no sound could be decoded" in refused(path, limits)


def test_too_short(tmp_path, limits):
    path = wav(tmp_path / "greeting.wav", channels(0.1, 16000, 1), 16000)
    assert refused(path, limits) == "greeting.wav: 0.1 s of sound; at least 0.3 s is needed"


def test_the_length_is_counted_and_not_taken_from_the_header(tmp_path):
    path = wav(tmp_path / "a.wav", channels(3, 16000, 1), 16000)
    data = bytearray(path.read_bytes())
    data[40:44] = (1000).to_bytes(4, "little")  # the header says 31 ms
    path.write_bytes(data)
    read = LimitSettings(speech_s=2.0)
    path_2 = wav(tmp_path / "b.wav", channels(3, 16000, 1), 16000)
    assert refused(path_2, read) == "b.wav: longer than 2 s, the most that a recording may last"
    flac = encoded(tmp_path / "c.flac", "flac", channels(3, 16000, 1), 16000)
    data = bytearray(flac.read_bytes())
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])  # length unknown
    flac.write_bytes(data)
    assert "longer than 2 s" in refused(flac, read)


def test_too_many_bytes(tmp_path):
    path = wav(tmp_path / "a.wav", channels(3, 16000, 1), 16000)
    words = refused(path, LimitSettings(speech_bytes=1000))
    assert words == f"a.wav: {path.stat().st_size} bytes; a recording may have at most 1000"


@pytest.mark.parametrize("rate", [1, 100, 4_000_000])
def test_absurd_sample_rates(tmp_path, limits, rate):
    path = wav(tmp_path / "a.wav", np.zeros((1, 8000)), rate)
    assert f"{rate} samples a second" in refused(path, limits)


def test_lists_of_other_files_are_refused(tmp_path, limits):
    secret = wav(tmp_path / "secret.wav", channels(1, 16000, 1), 16000)
    ts = encoded(tmp_path / "secret.ts", "aac", channels(1, 48000, 1), 48000, "mpegts")
    read_speech(secret, MEL, limits)
    read_speech(ts, MEL, limits)
    lists = {
        "a.txt": f"ffconcat version 1.0\nfile {secret.name}\n",
        "b.wav": f"ffconcat version 1.0\nfile '{secret}'\nduration 1\n",
        "c.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{ts.name}\n#EXT-X-ENDLIST\n",
        "d.mp3": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nfile://{ts}\n#EXT-X-ENDLIST\n",
        "e.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "f.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>'
        f"<Representation><BaseURL>{ts}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        refused(tmp_path / name, limits)


def test_a_name_like_an_address_is_a_file(tmp_path, limits, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = Path("concat:a.wav|b.wav")
    wav(tmp_path / "a.wav", channels(1, 16000, 1), 16000)
    shutil.copy("a.wav", odd)
    assert read_speech(odd, MEL, limits).duration_s == 1
    assert "is not there" in refused(Path("subfile,,start,0,end,0,,:a.wav"), limits)


def test_half_an_hour_in_bounded_memory(tmp_path, alone):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 8000 * 1800)).astype(np.float32)
    path = wav(tmp_path / "long.wav", noise, 8000, "u8")
    code = """
from pathlib import Path
from sonic_edge.config import LimitSettings
from sonic_edge.model.mel import MelSettings
from sonic_edge.engine.speech import read_speech, sound
path = Path({!r})
speech = read_speech(path, MelSettings(), LimitSettings())
print(speech.duration_s, speech.mel.shape[1], sum(p.shape[1] for p in sound(path)))
"""
    printed, peak_mb, seconds = alone(code.format(str(path)))
    assert printed == "1800.0 180001 86400000"
    assert peak_mb < 150  # 29 MB of mel, twice while it is put together
    assert seconds < 60


def test_more_than_half_an_hour_is_refused(tmp_path, limits):
    path = wav(tmp_path / "long.wav", np.zeros((1, 8000 * 1801)), 8000, "u8")
    assert refused(path, limits) == "long.wav: longer than 1800 s, the most that a recording may last"
