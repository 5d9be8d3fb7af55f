"""A painted face in the photo, and in its time: the network of a frames bundle, pasting, live."""

import math
import time
import wave

import av
import numpy as np
import pytest
from drawn_face import drawn
from frames_bundle import BLOB, BLOB_WIDTH, SHAPES

from sonic_edge.config import Controls, LabelSettings, LimitSettings
from sonic_edge.engine.frames.network import Painter, PainterStream
from sonic_edge.engine.frames.paste import Paste, crop_transform
from sonic_edge.engine.frames.performer import FramesPerformer
from sonic_edge.engine.label import Label
from sonic_edge.engine.mirror import Mirror
from sonic_edge.engine.speech import read_speech
from sonic_edge.media import SoundBlock
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.mel import MelStream

RATE = 16000
BOTH = pytest.mark.parametrize("shape", list(SHAPES))


@pytest.fixture(scope="module")
def painter(painted_bundle):
    def make(shape, network="random"):
        bundle = Bundle(painted_bundle(shape, network))
        return Painter(bundle, CpuBackend(1).open(bundle.stage("painter", "cpu")))

    return make


@pytest.fixture(scope="module")
def painted(painted_bundle):
    def make(shape, network="random"):
        bundle = Bundle(painted_bundle(shape, network))
        return FramesPerformer(bundle, CpuBackend(1).open(bundle.stage("painter", "cpu")))

    return make


def frames_of(painted, portrait, path, n=None, **controls):
    speech = read_speech(path, painted.bundle.mel, LimitSettings())
    asked = Controls(**controls)
    n_frames = n or round(speech.duration_s * asked.fps)
    return list(painted.perform(portrait, speech, asked, n_frames, lambda done, total: None).frames())


def burst(path, begins_s, ends_s, seconds):
    """Silence with a noise in it."""
    samples = np.zeros(round(seconds * RATE), "<i2")
    a, b = round(begins_s * RATE), round(ends_s * RATE)
    samples[a:b] = np.random.default_rng(0).standard_normal(b - a) * 6000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


# ---- pictures in the photo ----------------------------------------------------------------------------------------


def pasted_box(portrait, bundle, room=1.5):
    """Where anything may be pasted: the box of bundle.yaml on the canvas, [height, width] bool."""
    spec, size = bundle.frames, bundle.frames.crop.size
    height, width = portrait.image.shape[:2]
    to_crop = crop_transform(portrait, spec.crop)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    there = np.stack([x, y], -1) @ to_crop[:, :2].T + to_crop[:, 2]
    left, top, right, bottom = np.array(spec.paste.box) * size
    u, v = there[..., 0], there[..., 1]
    return (u > left - room) & (u < right + room) & (v > top - room) & (v < bottom + room)


@BOTH
def test_only_the_box_is_touched_and_the_mouth_changes_with_the_sound(painted, portrait, short_speech, shape):
    made = painted(shape)
    frames = np.stack(frames_of(made, portrait, short_speech))
    inside = pasted_box(portrait, made.bundle)
    assert 0.02 < inside.mean() < 0.35
    assert np.all(frames[:, ~inside] == portrait.image[~inside])
    mouth = tuple(np.rint(portrait.landmarks[13, :2]).astype(int)[::-1])
    around = frames[:, mouth[0] - 10 : mouth[0] + 10, mouth[1] - 10 : mouth[1] + 10].astype(int)
    own = portrait.image[mouth[0] - 10 : mouth[0] + 10, mouth[1] - 10 : mouth[1] + 10]
    assert np.abs(around - own).mean() > 5
    assert np.abs(np.diff(around, axis=0)).max() > 3


@BOTH
@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_a_network_that_changes_nothing_leaves_the_photo(painted, short_speech, shape, tilt):
    face = drawn(tilt=tilt)
    for frame in frames_of(painted(shape, "identity"), face, short_speech, n=3):
        assert np.abs(frame.astype(int) - face.image).max() <= 1


@BOTH
@pytest.mark.parametrize("tilt", [0.0, 0.5])
@pytest.mark.parametrize("unit", [40.0, 80.0, 300.0])
def test_what_is_painted_lies_where_it_belongs(painted, tmp_path, short_speech, shape, tilt, unit):
    """A spot painted at a known place of the square is found at that place of the face, whatever its size and turn."""
    side = round(unit * 6)
    face = drawn((side, side), unit, (side * 0.5, side * 0.62), tilt)
    made = painted(shape, "blob")
    frame = frames_of(made, face, short_speech, n=1)[0]
    light = (frame.astype(float) - face.image).sum(axis=2).clip(0)
    light[light < light.max() * 0.3] = 0  # what is left of the colours' fitting
    y, x = np.indices(light.shape)
    found = np.array([(x * light).sum(), (y * light).sum()]) / light.sum()
    width = math.sqrt(((x - found[0]) ** 2 * light).sum() / light.sum()) / unit
    # where it must be, from the eyes or the box about the face, as bundle.yaml says
    crop = made.bundle.frames.crop
    left, right = face.eyes.astype(float)
    across = (right - left) / np.linalg.norm(right - left)
    down = np.array([-across[1], across[0]])
    if crop.eye_left:
        unit_share = crop.eye_right[0] - crop.eye_left[0]
        from_eye = (np.array(BLOB) - crop.eye_left) / unit_share * np.linalg.norm(right - left)
        expected = left + across * from_eye[0] + down * from_eye[1]
        spread = BLOB_WIDTH / unit_share
    else:
        u, v = face.landmarks[:, :2] @ across, face.landmarks[:, :2] @ down
        west, north, east, south = crop.margins
        wide, high = np.ptp(u), np.ptp(v)
        expected = across * (u.min() - west * wide + BLOB[0] * wide * (1 + west + east))
        expected = expected + down * (v.min() - north * high + BLOB[1] * high * (1 + north + south))
        spread = BLOB_WIDTH * wide * (1 + west + east) / unit
    assert np.linalg.norm(found - expected) < max(0.6, 0.02 * unit), (found, expected)
    assert 0.6 * spread < width < 1.2 * spread


def test_the_seam_takes_the_photos_light(painted, painted_bundle, portrait):
    """A painter whose pictures are darker on one side than the photo: nothing of it is seen."""
    spec = Bundle(painted_bundle("sonic")).frames
    paste = Paste(portrait, spec.crop, spec.paste)
    slope = np.linspace(-25, -5, spec.crop.size, dtype=np.float32)[None, :, None]
    frame = paste.apply(paste.crop.astype(np.float32) + slope)
    assert np.abs(frame.astype(int) - portrait.image).max() <= 2


def test_a_face_at_the_edge_of_the_photo_is_pasted(painted, short_speech):
    face = drawn((200, 300), 80.0, (60.0, 270.0))
    frame = frames_of(painted("wav2lip", "blob"), face, short_speech, n=1)[0]
    assert frame.shape == face.image.shape
    assert np.abs(frame.astype(int) - face.image).max() > 20


# ---- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [25, 50, 10])
@pytest.mark.parametrize("offset", [0.03, 0.23, -0.2])
def test_a_picture_goes_with_the_sound_of_its_moment(painted, portrait, tmp_path, fps, offset):
    """The spot is as light as the window is loud: half as light where the noise begins in the middle of the window."""
    made = painted("wav2lip", "meter")
    frames = frames_of(made, portrait, burst(tmp_path / "b.wav", 1.0, 2.0, 3.0), fps=fps, align_offset=offset)
    assert len(frames) == 3 * fps
    x, y = np.rint(portrait.landmarks[[61, 291], :2].mean(0)).astype(int)
    light = np.array([f[y - 8 : y + 8, x - 8 : x + 8].astype(float).mean() for f in frames])
    half = (light.min() + light.max()) / 2
    up = np.flatnonzero((light[:-1] < half) & (light[1:] >= half))
    down = np.flatnonzero((light[:-1] >= half) & (light[1:] < half))
    assert len(up) == len(down) == 1
    window = made.bundle.frames.window
    middle = window.start_s + window.mel_frames / 2 / made.bundle.mel.frames_per_s
    shift = middle + offset - window.lead_s
    for found, true in ((up[0], 1.0), (down[0], 2.0)):
        at = found + (half - light[found]) / (light[found + 1] - light[found])
        assert at / fps + shift == pytest.approx(true, abs=0.6 / fps + 0.02)


@pytest.mark.parametrize("piece", [80, 160, 333, 8000])
def test_live_pictures_are_those_of_the_recording(painter, portrait, sample, piece):
    """Where the model's window fits into the look-ahead and needs no mean, sound that arrives gives the same."""
    made = painter("wav2lip")
    spec = made.spec
    crop = Paste(portrait, spec.crop, spec.paste).crop
    speech = read_speech(sample.path, made.bundle.mel, LimitSettings())
    samples = np.concatenate(list(_at_16k(sample.path)))[: 2 * RATE]
    mel, stream = MelStream(made.bundle.mel), PainterStream(made, crop)
    live = []
    for i in range(0, len(samples), piece):
        begins_s, pictures = stream.push(mel.push(samples[i : i + piece]))
        assert begins_s == pytest.approx(len(live) / 25)
        live += pictures
        assert stream._mel.shape[1] < 16 + piece / 200 + 8, "nothing old is kept"
    assert 40 <= len(live) < 50
    whole = list(made.pictures(speech, crop, np.arange(len(live)) / 25))
    apart = [np.abs(a - b).max() for a, b in zip(live, whole)]
    assert max(apart) < 1.5, "float16 between them, and no more"


def _at_16k(path):
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        for frame in file.decode(audio=0):
            for out in resampler.resample(frame):
                yield out.to_ndarray()[0]


@BOTH
def test_the_mirror_paints_at_the_models_rate_with_a_label(painted, portrait, sample, shape):
    made = painted(shape)
    height, width = portrait.image.shape[:2]
    label = Label(width, height, LabelSettings())
    mirror = Mirror(made, portrait, label, Controls(align_offset=0.05))
    assert mirror.fps == 25 and mirror.size == (width, height)
    assert mirror.lead_s == pytest.approx(0.02)
    samples = np.concatenate(list(_at_16k(sample.path)))[: 3 * RATE]
    quiet_s = mirror.spoken_s
    moments, cues = [], []
    for i in range(0, len(samples), 160):
        at_s = time.monotonic()
        found = mirror.hear(SoundBlock(samples[i : i + 160], i, at_s))
        moments += [cue.at_s - at_s + (i + 160) / RATE for cue in found]
        cues += found
    assert np.allclose(np.diff(moments), 0.04, atol=1e-6)
    assert moments[0] == pytest.approx(0, abs=1e-6)
    assert 3 - moments[-1] < mirror.look_ahead_s + 0.05
    assert all(cue.needed_s - cue.at_s <= mirror.look_ahead_s + 1e-6 for cue in cues)
    assert mirror.spoken_s > quiet_s
    a, b = mirror.draw(cues[0].pose), mirror.draw(cues[40].pose)
    assert label.is_on(a) and label.is_on(b)
    assert np.abs(a.astype(int) - b).max() > 3


def test_silence_in_the_mirror_is_nobody_speaking(painted, portrait):
    mirror = Mirror(painted("wav2lip"), portrait, Label(400, 480, LabelSettings()), Controls())
    since = mirror.spoken_s
    for i in range(100):
        mirror.hear(SoundBlock(np.zeros(160, np.float32), i * 160, time.monotonic()))
    assert mirror.spoken_s == since
