"""Hostile and broken inputs through the whole product: a good video, or a message and the right exit status."""

import json
import shutil

import av
import cv2
import numpy as np
import pytest
from media_files import dog, huge_png, pasted, photo, speech_like, wav, write_wav

from sonic_edge.cli import main
from sonic_edge.config import share_dir

PORTRAIT = share_dir() / "samples" / "portrait.jpg"
FAST = ["--set", "min_resolution=128", "--set", "inference_steps=2", "--set", "fps=10"]


def picture(image):
    return lambda path: cv2.imwrite(str(path), image)


def content(data):
    return lambda path: path.write_bytes(data)


def half_of_the_portrait(path):
    data = PORTRAIT.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def half_of_a_recording(path):
    write_wav(path, 2.0)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def two_faces():
    return pasted((900, 500), (photo(400), 20, 20), (photo(200), 600, 100))


BAD = [
    ("no face", "face.png", picture(np.full((300, 300, 3), 128, np.uint8)), "no face found in 300x300"),
    ("an animal", "dog.png", picture(dog()), "no face found"),
    ("a face too small", "face.png", picture(pasted((1600, 1200), (photo(60), 700, 500))), "face"),
    ("an empty photo", "face.jpg", content(b""), "is empty (0 bytes)"),
    ("a truncated photo", "face.jpg", half_of_the_portrait, "damaged or cut off"),
    ("a text as photo", "face.jpg", content(b"dear diary\n" * 99), "is not a picture"),
    ("a recording as photo", "face.jpg", lambda path: write_wav(path, 1.0), "is not a picture"),
    ("20000x20000 pixels", "face.png", lambda path: huge_png(path, 20000, 20000), "400000000 pixels"),
    ("a folder as photo", "face.png", lambda path: path.mkdir(), "is a folder"),
    ("no photo", "face.png", lambda path: None, "is not there"),
    ("an empty recording", "say.wav", content(b""), "is empty (0 bytes)"),
    ("a text as recording", "say.wav", content(b"dear diary\n" * 99), "is not a recording"),
    ("a photo as recording", "say.wav", lambda path: shutil.copy(PORTRAIT, path), "say.wav"),
    ("a moment", "say.wav", lambda path: write_wav(path, 0.1), "0.1 s of sound; at least 0.3 s is needed"),
    ("no samples", "say.wav", lambda path: write_wav(path, 0.0), "say.wav"),
    ("a playlist", "say.m3u8", content(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), "is not a recording"),
    (
        "too long",
        "say.wav",
        lambda path: wav(path, np.zeros((1, 8000 * 1801), np.float32), 8000, "u8"),
        "longer than 1800 s",
    ),
    ("no recording", "say.wav", lambda path: None, "is not there"),
]


def render(tmp_path, name, path):
    speech = write_wav(tmp_path / "good.wav", 0.8)
    portrait, recording = (path, speech) if name.startswith("face") or name.startswith("dog") else (PORTRAIT, path)
    out = tmp_path / "out.mp4"
    return out, main(["render", str(portrait), str(recording), "-o", str(out), "--report", str(tmp_path / "r"), *FAST])


@pytest.mark.parametrize("name, make, words", [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_message_instead_of_a_video(name, make, words, tmp_path, capfd):
    path = tmp_path / name
    make(path)
    out, status = render(tmp_path, name, path)
    said = capfd.readouterr().err
    assert status == 2
    assert f"sonic-edge: {name}: " in said and words in said
    assert "Traceback" not in said and len(said.strip().splitlines()) <= 3
    assert not out.exists() and not list(tmp_path.glob(".*")), "nothing half-written may stay"


def nan_samples(path):
    samples = speech_like(1.0)[None].copy()
    samples[0, 100:200] = np.nan
    samples[0, 300] = np.inf
    wav(path, samples, 16000, "f32")


def grey_16_bit(path):
    cv2.imwrite(str(path), cv2.cvtColor(photo(), cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257)


def see_through(path):
    cv2.imwrite(str(path), np.dstack([photo(), np.full(photo().shape[:2], 200, np.uint8)]))


HARD = [
    ("two faces", "face.png", picture(two_faces()), "2 faces found; the largest is used"),
    ("silence", "say.wav", lambda path: wav(path, np.zeros((1, 16000), np.float32), 16000), "without speech"),
    ("NaN samples", "say.wav", nan_samples, "samples that are not finite"),
    ("a cut recording", "say.wav", half_of_a_recording, "cut off"),
    ("16-bit grey", "face.png", grey_16_bit, None),
    ("alpha", "face.png", see_through, None),
    ("eight channels", "say.wav", lambda path: wav(path, np.tile(speech_like(1.0), (8, 1)), 16000), None),
    ("a rate of 8 kHz, 8 bits", "say.wav", lambda path: wav(path, speech_like(1.0, 8000)[None], 8000, "u8"), None),
    ("names", "face 脸 'quoted' -x.png", picture(photo()), None),
]


@pytest.mark.parametrize("name, make, warning", [h[1:] for h in HARD], ids=[h[0] for h in HARD])
def test_a_good_video_with_a_warning(name, make, warning, tmp_path):
    path = tmp_path / name
    make(path)
    out, status = render(tmp_path, name, path)
    assert status == 0
    report = json.loads((tmp_path / "r").read_text(encoding="utf-8"))
    with av.open(str(out)) as video:
        n_frames = sum(1 for _ in video.decode(video=0))
        assert abs(float(video.streams.audio[0].duration * video.streams.audio[0].time_base) - report["speech_s"]) < 0.1
    assert n_frames == max(1, round(report["speech_s"] * 10)) == report["video"]["n_frames"]
    if warning:
        assert any(warning in w for w in report["warnings"]), report["warnings"]


def test_silence_keeps_the_mouth_shut(tmp_path):
    path = tmp_path / "say.wav"
    wav(path, np.zeros((1, 32000), np.float32), 16000)
    out = tmp_path / "out.mp4"
    assert main(["render", str(PORTRAIT), str(path), "-o", str(out), *FAST, "--set", "motion_scale=0"]) == 0
    with av.open(str(out)) as video:
        frames = np.stack([f.to_ndarray(format="gray") for f in video.decode(video=0)]).astype(int)
    mouth = frames[:, 70:100, 45:80]
    assert np.abs(mouth - mouth[0]).mean() < 3
