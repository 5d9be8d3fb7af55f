import hashlib
import json
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sonic_edge.config import Config, EncodeSettings, share_dir
from sonic_edge.engine.encode import h264, mp4, try_encoder, write_video
from sonic_edge.engine.label import aigc_metadata
from sonic_edge.engine.pipeline import Pipeline
from sonic_edge.errors import ConfigError, DeviceError

AIGC = aigc_metadata("公司", "id-1")
SIZE = (96, 64)


def pictures(n_frames, size=SIZE):
    for i in range(n_frames):
        image = np.full((size[1], size[0], 3), (40, 80, 160), np.uint8)
        image[:, i * 3 % size[0]] = 255
        yield image


def hum(n_samples, n_channels, piece=3000):
    noise = np.random.default_rng(0).standard_normal(n_samples + 60)
    voice = 0.1 * np.convolve(noise, np.hanning(31) / 8, "same")[30 : 30 + n_samples].astype(np.float32)
    whole = np.stack([voice, voice * 0.5][:n_channels])
    for start in range(0, n_samples, piece):
        yield whole[:, start : start + piece]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def video(
    path,
    seconds=1.0,
    fps=25,
    n_channels=1,
    size=SIZE,
    frames=None,
    sound=None,
    aigc=AIGC,
    is_labelled=lambda image: True,
    progress=lambda n: None,
    **settings,
):
    n_frames, n_samples = round(seconds * fps), round(seconds * 48000)
    write_video(
        path,
        pictures(n_frames, size) if frames is None else frames,
        n_frames,
        fps,
        size,
        hum(n_samples, n_channels) if sound is None else sound,
        n_channels,
        AIGC,
        is_labelled,
        EncodeSettings(**settings),
        progress,
    )
    return n_frames, n_samples


def played(path):
    """Times of the pictures, the sound [n_channels, n] and the time of its first sample, as a player has them."""
    with av.open(str(path)) as file:
        times = [frame.time for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    return times, np.concatenate([f.to_ndarray() for f in frames], axis=1), frames[0].time


@pytest.mark.parametrize("fps", [10, 12, 15, 24, 25, 30, 48, 50, 60])
def test_every_length_ends_in_step(tmp_path, fps):
    for seconds in (0.3, 0.31, 0.333, 0.4567, 0.777, 1.0, 1.2345, 1.5017, 2.2222, 3.0):
        path = tmp_path / f"{seconds}.mp4"
        n_frames, n_samples = video(path, seconds, fps, 1 + round(seconds * 1000) % 2)
        times, sound, first = played(path)
        assert len(times) == n_frames
        assert times == pytest.approx(np.arange(n_frames) / fps, abs=1e-4)
        assert first == 0
        assert sound.shape[1] >= n_samples  # nothing cut
        assert abs(n_frames / fps - sound.shape[1] / 48000) <= 0.51 / fps + 1e-3, seconds
        with av.open(str(path)) as file:  # and in the lengths that the file states
            stated = [float(s.duration * s.time_base) for s in (file.streams.video[0], file.streams.audio[0])]
        assert stated == pytest.approx([n_frames / fps, n_samples / 48000], abs=2e-3)


@pytest.mark.parametrize(("seconds", "fps"), [(1.5017, 25), (0.777, 60), (2.2, 30), (0.3, 10)])
def test_the_sound_is_where_it_was_to_the_sample(tmp_path, seconds, fps):
    path = tmp_path / "a.mp4"
    _, n = video(path, seconds, fps, 2)
    original = np.concatenate(list(hum(n, 2)), axis=1)
    _, sound, _ = played(path)
    inner = original[0, 1000 : n - 1000]
    match = [float(inner @ sound[0, 1000 + d : n - 1000 + d]) for d in range(-300, 301)]
    assert np.argmax(match) == 300
    assert np.corrcoef(original.ravel(), sound[:, :n].ravel())[0, 1] > 0.98


def test_the_file_is_what_was_asked_for(tmp_path):
    path = tmp_path / "a.mp4"
    video(path, n_channels=2)
    with av.open(str(path)) as file:
        picture, sound = file.streams.video[0].codec_context, file.streams.audio[0].codec_context
        assert (picture.name, picture.pix_fmt, picture.width, picture.height) == ("h264", "yuv420p", *SIZE)
        assert (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc) == (1, 6, 1, 1)
        assert (sound.name, sound.sample_rate, sound.layout.name) == ("aac", 48000, "stereo")
        assert json.loads(file.metadata["AIGC"])["ContentProducer"] == "公司"
        assert file.streams.video[0].average_rate == 25
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert names(tmp_path) == ["a.mp4"]


def test_colours_come_back(tmp_path):
    colours = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255), (0, 0, 0), (128, 128, 128), (140, 170, 220)]
    image = np.repeat(np.repeat(np.array([colours], np.uint8), 64, axis=0), 32, axis=1)
    path = tmp_path / "a.mp4"
    video(path, size=(224, 64), frames=iter([image] * 25))
    with av.open(str(path)) as file:
        shown = next(file.decode(video=0)).to_ndarray(format="bgr24")
    for i, colour in enumerate(colours):
        assert np.abs(shown[32, 32 * i + 16].astype(int) - colour).max() <= 4


def test_a_moving_face_keeps_its_colours_and_its_texture(tmp_path):
    """Asked of the planes themselves, whatever a decoder's way to RGB is."""
    photo = cv2.imread(str(share_dir() / "samples" / "portrait.jpg"))
    photo = cv2.resize(photo, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    left, top = (photo.shape[1] - 256) / 2, 0.35 * (photo.shape[0] - 256)
    frames = []
    for i in range(50):
        x, y = left + 4 * np.sin(i / 13), top + 3 * np.sin(i / 9)
        frames.append(cv2.warpAffine(photo, np.array([[1, 0, -x], [0, 1, -y]]), (256, 256), flags=cv2.INTER_CUBIC))
    path = tmp_path / "a.mp4"
    video(path, 2, size=(256, 256), frames=iter(frames))
    with av.open(str(path)) as file:
        shown = np.stack([frame.to_ndarray(format="yuv420p") for frame in file.decode(video=0)]).astype(np.float32)
    meant = np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420) for frame in frames]).astype(np.float32)
    off = [float((shown - meant)[:, rows].mean()) for rows in (slice(256), slice(256, 320), slice(320, None))]
    assert abs(off[0]) < 0.4  # .49 with veryfast and pyramids of B pictures
    assert np.abs(off[1:]).max() < 0.13  # .25 ...
    edges = [
        np.square(np.gradient(planes[:, :256], axis=(1, 2))).sum(axis=0).mean(axis=(1, 2)) for planes in (shown, meant)
    ]
    kept = edges[0] / edges[1]
    assert kept.mean() > 0.97  # .94, and .96 when not tuned to film
    assert kept.min() > 0.92
    noise = np.square(shown - meant)[:, :256].mean(axis=(1, 2))
    assert 10 * np.log10(255**2 / noise.max()) > 40  # dB


def test_what_stands_still_stays_as_it_is(tmp_path):
    """A scene that is played again and again must not end sharper than it begins."""
    photo = cv2.imread(str(share_dir() / "samples" / "portrait.jpg"))[:256, :256]
    path = tmp_path / "a.mp4"
    video(path, 4, size=(256, 256), frames=iter([photo] * 100))
    with av.open(str(path)) as file:
        shown = [frame.to_ndarray(format="yuv420p")[:256].astype(np.float32) for frame in file.decode(video=0)]
    assert np.sqrt(np.square(shown[-1] - shown[0]).mean()) < 0.4  # 1.8 without what is set for it


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])
@pytest.mark.parametrize("size", [(96, 64), (130, 130), (98, 66), (514, 130)])
def test_each_picture_is_the_one_that_was_put_in(tmp_path, size, preset):
    """However long the encoder keeps it, and however FFmpeg pads its rows."""
    rng = np.random.default_rng(0)
    frames = [
        cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), size, interpolation=cv2.INTER_LINEAR) for _ in range(25)
    ]
    path = tmp_path / "a.mp4"
    video(path, size=size, frames=iter(frames), preset=preset, crf=10)
    meant = [cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).astype(int) for frame in frames]
    with av.open(str(path)) as file:
        shown = [frame.to_ndarray(format="yuv420p") for frame in file.decode(video=0)]
    off = np.array([[np.abs(a - b).mean() for b in meant] for a in shown])
    assert off.diagonal().max() < 3
    assert (off + 99 * np.eye(25)).min() > 10


def test_a_picture_of_another_size_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="a picture of another size"):
        video(tmp_path / "a.mp4", frames=pictures(25, (64, 96)))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "settings, reported",
    [
        ({}, ["subme=1", "deadzone=12,11", "qcomp=0.90", "crf=21.0", "bframes=0", "mbtree=0"]),
        ({"crf": 30}, ["crf=30.0"]),
        ({"preset": "veryfast"}, ["subme=2", "crf=17.0", "psy_rd=1.00:0.15"]),
        ({"preset": "faster"}, ["subme=4", "crf=18.0", "rc_lookahead=10"]),
        ({"preset": "medium"}, ["subme=7", "crf=18.0", "rc_lookahead=10"]),
    ],
)
def test_x264_gets_the_options_of_the_settings(tmp_path, settings, reported):
    """It writes its arguments into the file, and skips names that it does not know."""
    video(tmp_path / "a.mp4", **settings)
    said = (tmp_path / "a.mp4").read_bytes().split(b"options: ")[1].split(b"\0")[0].decode("ascii", "replace").split()
    assert {"threads=2", "lookahead_threads=1", "sliced_threads=0", *reported} <= set(said)
    assert {"b_pyramid=0", "bframes=0"} & set(said)


def test_same_in_same_out(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        video(tmp_path / name, size=(256, 256))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_pieces_of_sound_of_any_size(tmp_path):
    digests = set()
    for piece in (100, 1024, 48000):
        video(tmp_path / "a.mp4", sound=hum(48000, 1, piece))
        digests.add(hashlib.sha256((tmp_path / "a.mp4").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_progress_is_reported(tmp_path):
    reported = []
    video(tmp_path / "a.mp4", 0.4, progress=reported.append)
    assert reported == list(range(1, 11))


def test_sound_and_picture_are_taken_in_step(tmp_path):
    taken = {"pictures": 0, "samples": 0}
    worst = []

    def frames():
        for image in pictures(250):
            taken["pictures"] += 1
            worst.append(abs(taken["pictures"] / 25 - taken["samples"] / 48000))
            yield image

    def sound():
        for piece in hum(480000, 1, 500):
            taken["samples"] += piece.shape[1]
            yield piece

    video(tmp_path / "a.mp4", 10, frames=frames(), sound=sound())
    assert max(worst) < 0.15


def test_an_older_file_is_replaced(tmp_path):
    (tmp_path / "a.mp4").write_text("old")
    video(tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").stat().st_size > 1000


@pytest.mark.parametrize("name", ["录像 一.mp4", "很长" * 40 + ".mp4", "a.b", "-o.mp4", "%d.mp4", "http:x.mp4"])
def test_any_name(tmp_path, name):
    video(tmp_path / name)
    assert names(tmp_path) == [name]


def test_any_name_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http:x.mp4", "-o.mp4"):
        video(Path(name))
    assert names(tmp_path) == ["-o.mp4", "http:x.mp4"]


# ------------------------------------------------------------------------------------------------------- other encoders

OTHER = "libopenh264"
"""Another real encoder of H.264, in PyAV's wheels since 14; nothing of it is known to the product."""
HEADERLESS = "flags=-global_header"
"""This makes it like V4L2 encoders: the decoder's headers come only with the pictures."""


@pytest.mark.parametrize("options", [[], [HEADERLESS]])
def test_another_encoder(tmp_path, options):
    path = tmp_path / "a.mp4"
    size = (256, 192)
    frames = list(pictures(50, size))
    n_frames, n_samples = video(path, 2, size=size, frames=iter(frames), encoder=OTHER, options=options)
    times, sound, first = played(path)
    assert times == pytest.approx(np.arange(n_frames) / 25, abs=1e-4)
    assert (first, sound.shape[1] >= n_samples) == (0, True)
    with av.open(str(path)) as file:
        picture = file.streams.video[0].codec_context
        assert (picture.name, picture.pix_fmt, picture.extradata[0]) == ("h264", "yuv420p", 1)  # avcC: version 1
        assert (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc) == (1, 6, 1, 1)
        off = [
            np.abs(shown.to_ndarray(format="bgr24").astype(int) - meant).mean()
            for shown, meant in zip(file.decode(video=0), frames)
        ]
    assert len(off) == 50 and max(off) < 6


def test_another_encoder_keeps_to_its_bits(tmp_path):
    rng = np.random.default_rng(0)
    frames = [cv2.GaussianBlur(rng.integers(0, 256, (192, 256, 3), np.uint8), (0, 0), 2) for _ in range(50)]
    n_bytes = []
    for bits in (0.1, 0.4):
        video(tmp_path / "a.mp4", 2, size=(256, 192), frames=iter(frames), encoder=OTHER, bits_per_pixel=bits)
        with av.open(str(tmp_path / "a.mp4")) as file:
            n_bytes.append(sum(packet.size for packet in file.demux(video=0)))
    assert 2.5 < n_bytes[1] / n_bytes[0] < 5.5


def test_pictures_in_the_other_order(tmp_path, monkeypatch):
    """NV12, as Ascend's encoder and Intel's take them."""
    video(tmp_path / "a.mp4")
    monkeypatch.setattr(h264, "_FORMATS", ("nv12",))
    video(tmp_path / "b.mp4")
    shown = []
    for name in ("a.mp4", "b.mp4"):
        with av.open(str(tmp_path / name)) as file:
            shown.append([frame.to_ndarray(format="yuv420p") for frame in file.decode(video=0)])
    np.testing.assert_array_equal(*shown)


@pytest.mark.parametrize(
    "error, settings, words",
    [
        (
            ConfigError,
            {"encoder": "h264_nothing"},
            r"'h264_nothing': FFmpeg \(PyAV .*\) has no such encoder; of H.264 it has .*libx264",
        ),
        (ConfigError, {"encoder": "h264"}, "'h264': .* has no such encoder"),
        (ConfigError, {"encoder": "mpeg4"}, "'mpeg4': is not an encoder of H.264; of H.264 it has .*libx264"),
        (ConfigError, {"encoder": "aac"}, "'aac': is not an encoder of H.264"),
        (ConfigError, {"encoder": "libx264rgb"}, "takes pictures as .*rgb24; yuv420p or nv12 is needed"),
        (ConfigError, {"options": ["tune=grain"]}, r"options = \['tune=grain'\]: libx264 takes none"),
        (ConfigError, {"encoder": OTHER, "options": ["rc_mode"]}, "'rc_mode' must be of the form name=value"),
        (
            ConfigError,
            {"encoder": OTHER, "options": ["slices=2", "no=1", "nor=2"]},
            "libopenh264 has no option no, nor$",
        ),
        (
            DeviceError,
            {"encoder": OTHER, "options": ["slices=x"]},
            "does not open for 512x512 at 25 .* option slices to value x",
        ),
        (
            DeviceError,
            {"encoder": "h264_v4l2m2m"},
            "'h264_v4l2m2m': does not open for 512x512 at 25 frames a second: Could not find a valid device; .*"
            "it needs a V4L2 device that encodes H.264, open to the group video; there is .*/dev/video",
        ),
    ],
)
def test_an_impossible_encoder_is_reported_before_the_first_job(tmp_path, error, settings, words):
    for _ in range(2):  # FFmpeg's words are there again
        with pytest.raises(error, match="^encode\\..*" + words):
            try_encoder(EncodeSettings(**settings), 512, 25)
    with pytest.raises(error, match="^encode\\."):
        video(tmp_path / "a.mp4", **settings)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "settings", [{}, {"preset": "medium"}, {"encoder": OTHER}, {"encoder": OTHER, "options": [HEADERLESS]}]
)
@pytest.mark.parametrize("side", [128, 514])
def test_an_encoder_that_works(side, settings):
    assert 0 < try_encoder(EncodeSettings(**settings), side, 25) < 10


def test_the_pipeline_does_not_open_without_its_encoder():
    with pytest.raises(DeviceError, match="encode.encoder = 'h264_v4l2m2m': does not open for 256x256 at 30 frames"):
        Pipeline(
            Config.model_validate(
                {"encode": {"encoder": "h264_v4l2m2m"}, "controls": {"min_resolution": 256, "fps": 30}}
            )
        )


def test_a_trial_sees_rows_in_the_wrong_place(monkeypatch):
    """As from an encoder that takes another length of rows than it is given."""

    def rolled(file, image):
        planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
        file.add_planes(np.roll(planes.ravel(), 5000).reshape(planes.shape))

    monkeypatch.setattr(mp4.Mp4, "add_picture", rolled)
    with pytest.raises(DeviceError, match="a trial of 256x256: pictures came back changed, by .* of 255"):
        try_encoder(EncodeSettings(), 256, 25)


class Failing:
    """A stream whose encoder fails or stops giving packets after some pictures."""

    def __init__(self, stream, after, error):
        self.codec_context = stream.codec_context
        self._stream = stream
        self._left = after
        self._error = error

    def encode(self, frame):
        self._left -= 1
        if self._left >= 0 or (frame is None and self._error is None):
            return self._stream.encode(frame)
        if self._error is None:
            return []
        raise self._error


@pytest.fixture
def breaks(monkeypatch):
    """Make encoders go wrong: ``breaks(after, error)``."""

    def set_up(after, error):
        add = mp4.add_pictures
        monkeypatch.setattr(mp4, "add_pictures", lambda *args: Failing(add(*args), after, error))

    return set_up


@pytest.mark.parametrize("after, at", [(0, "picture 1"), (12, "picture 13"), (25, "the end")])
def test_an_encoder_that_fails_in_the_middle(tmp_path, breaks, after, at):
    (tmp_path / "a.mp4").write_text("old")
    breaks(after, av.error.ExternalError(-542398533, "Generic error in an external library"))
    with pytest.raises(DeviceError, match=f"^encode.encoder = 'libx264': failed at {at}: Generic error in an external"):
        video(tmp_path / "a.mp4")
    assert names(tmp_path) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "old"


def test_an_encoder_that_falls_silent(tmp_path, breaks):
    breaks(3, None)
    with pytest.raises(DeviceError, match="not published, because the file is wrong: it has 3 frames, not 25"):
        video(tmp_path / "a.mp4")
    with pytest.raises(DeviceError, match="a trial of 256x256: 3 pictures came back, not 5"):
        try_encoder(EncodeSettings(), 256, 25)
    assert names(tmp_path) == []


def test_a_trial_without_room_for_its_file(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    with pytest.raises(DeviceError, match="encode.encoder = 'libx264': a trial of 256x256: "):
        try_encoder(EncodeSettings(), 256, 25)


# ------------------------------------------------------------------------------------------------------------- failures


def failing(after, error):
    for i, image in enumerate(pictures(100)):
        if i == after:
            raise error
        yield image


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), GeneratorExit(), SystemExit(1), OSError("y")])
@pytest.mark.parametrize("after", [0, 1, 60])
def test_nothing_is_left_of_a_failure(tmp_path, error, after):
    with pytest.raises(type(error)):
        video(tmp_path / "a.mp4", 4, frames=failing(after, error))
    assert names(tmp_path) == []


def test_nothing_is_left_when_the_sound_fails(tmp_path):
    def sound():
        yield np.zeros((1, 4800), np.float32)
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        video(tmp_path / "a.mp4", sound=sound())
    assert names(tmp_path) == []


def test_too_few_pictures_are_not_published(tmp_path):
    with pytest.raises(DeviceError, match=r"a.mp4: not published, because the file is wrong: it has 20 frames, not 25"):
        video(tmp_path / "a.mp4", frames=pictures(20))
    assert names(tmp_path) == []


@pytest.mark.parametrize("n_samples", [0, 30000, 60000])
def test_sound_of_another_length_is_not_published(tmp_path, n_samples):
    with pytest.raises(DeviceError, match=r"not published, .* its picture lasts 1.000 s, its sound"):
        video(tmp_path / "a.mp4", sound=hum(n_samples, 1))
    assert names(tmp_path) == []


def test_without_the_label_it_is_not_published(tmp_path, monkeypatch):
    monkeypatch.setattr(mp4, "_MOVFLAGS", "faststart")
    with pytest.raises(DeviceError, match=r"not published, because the file is wrong: its AIGC metadata is None"):
        video(tmp_path / "a.mp4")
    assert names(tmp_path) == []


def test_without_the_visible_label_it_is_not_published(tmp_path):
    shown = []
    with pytest.raises(DeviceError, match=r"not published, .* its first picture does not have the visible label"):
        video(tmp_path / "a.mp4", is_labelled=lambda image: bool(shown.append(image)))
    assert names(tmp_path) == []
    (first,) = shown
    assert first.shape == (SIZE[1], SIZE[0], 3)
    assert np.abs(first.astype(int) - next(pictures(1))).mean() < 8, "asked of the picture as it comes out of the file"


def test_with_the_index_at_the_end_it_is_not_published(tmp_path, monkeypatch):
    monkeypatch.setattr(mp4, "_MOVFLAGS", "use_metadata_tags")
    with pytest.raises(DeviceError, match=r"not published, because the file is wrong: its index is not at the front"):
        video(tmp_path / "a.mp4")


def test_an_old_file_survives_a_failure(tmp_path):
    (tmp_path / "a.mp4").write_text("old")
    with pytest.raises(DeviceError):
        video(tmp_path / "a.mp4", frames=pictures(3))
    assert (tmp_path / "a.mp4").read_text() == "old"
    assert names(tmp_path) == ["a.mp4"]


def test_no_such_folder(tmp_path):
    with pytest.raises(DeviceError, match=r"out/a.mp4: cannot be written: No such file or directory"):
        video(tmp_path / "out" / "a.mp4")


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(DeviceError, match=r"a.mp4: cannot be written: Is a directory"):
        video(tmp_path / "a.mp4")
    assert names(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("limit", [1, 50_000, 400_000])
def test_a_full_disk(tmp_path, alone, limit):
    """A limit on the size of files acts as a full disk does: writing fails at some point."""
    code = """
import os, resource, signal
from pathlib import Path
from test_encode import video
from sonic_edge.errors import DeviceError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
import numpy as np
noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
try:
    video(Path({path!r}), 4, size=(256, 256), frames=iter([np.roll(noise, i, 0) for i in range(100)]))
except DeviceError as e:
    print(e)
print(os.listdir({folder!r}))
"""
    path = str(tmp_path / "a.mp4")
    printed, _, _ = alone(code.format(limit=limit, path=path, folder=str(tmp_path)))
    assert printed.splitlines() == [f"{path}: cannot be written: File too large", "[]"]


def test_memory_is_flat(tmp_path, alone):
    code = """
from pathlib import Path
import numpy as np
from test_encode import video
video(Path({!r}), {}, size=(256, 256), sound=(np.zeros((1, 4800), np.float32) for _ in range({})))
"""
    _, short_mb, _ = alone(code.format(str(tmp_path / "a.mp4"), 10, 100))
    _, long_mb, _ = alone(code.format(str(tmp_path / "b.mp4"), 200, 2000))
    assert long_mb < 1.1 * short_mb


def test_slow_presets_do_not_take_much_more_memory(tmp_path, alone):
    """A whole render must stay under 400 MB; x264's defaults would take 170 MB more than ultrafast, ours take 60."""
    code = """
from pathlib import Path
import numpy as np
from test_encode import video
noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
frames = (np.roll(noise, i, 0) for i in range(60))
video(Path({!r}), 2.4, size=(1024, 1024), frames=frames, n_channels=0, preset={!r}, crf=40)
"""
    _, least_mb, _ = alone(code.format(str(tmp_path / "a.mp4"), "ultrafast"))
    _, most_mb, _ = alone(code.format(str(tmp_path / "b.mp4"), "medium"))
    assert most_mb < least_mb + 90


def test_the_same_frames_give_the_same_file_on_a_busy_machine(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (192, 256, 3), dtype=np.uint8)
    frames = [np.roll(picture, 3 * i, axis=1) for i in range(12)]
    files = set()

    def encode_some(name):
        for i in range(25):
            path = tmp_path / f"{name}{i}.mp4"
            video(path, 12 / 25, size=(256, 192), frames=iter(frames))
            files.add(path.read_bytes())

    threads = [threading.Thread(target=encode_some, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files) == 1
