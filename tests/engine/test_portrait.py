import io
import shutil
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_files import SAMPLE_PHOTO, cat, colours, dog, huge_png, pasted, photo
from PIL import Image as Pil

from sonic_edge.config import Controls, LimitSettings, share_dir
from sonic_edge.engine.portrait import FaceFinder, is_single_frontal_face, make_portrait, read_image
from sonic_edge.engine.portrait.remarks import hard_parts
from sonic_edge.errors import ConfigError, RequestError


def refused(path: Path, limits: LimitSettings) -> str:
    with pytest.raises(RequestError) as caught:
        read_image(path, limits)
    words = str(caught.value)
    assert words.startswith(path.name + ": ")
    assert "\n" not in words
    return words


def save(image: np.ndarray, path: Path, **options: object) -> Path:
    """BGR or grey through Pillow."""
    Pil.fromarray(image if image.ndim == 2 else image[..., ::-1]).save(path, **options)
    return path


# --------------------------------------------------------------------------------------------------- reading pictures


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0),
        ("a.bmp", {}, 0),
        ("a.tiff", {"compression": "tiff_lzw"}, 0),
        ("a.webp", {"lossless": True}, 0),
        ("a.ppm", {}, 0),
        ("a.gif", {}, 8),
        ("a.jpg", {"quality": 95, "subsampling": 0}, 12),
        ("b.jpg", {"quality": 90, "progressive": True, "subsampling": 0}, 14),
        ("a.jp2", {}, 8),
    ],
)
def test_formats(tmp_path, limits, name, options, tolerance):
    image = read_image(save(colours(), tmp_path / name, **options), limits)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    inside = (slice(4, -4), slice(4, -4))
    assert image.shape == colours().shape
    edges = np.zeros(image.shape[:2], bool)
    edges[20:28], edges[:, 28:36] = True, True
    difference = np.abs(image.astype(int) - colours())
    assert difference[~edges].max() <= tolerance
    assert np.abs(image.astype(int) - colours())[inside].mean() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.webp"])
def test_turned_as_exif_says(tmp_path, limits, orientation, name):
    exif = Pil.Exif()
    exif[0x0112] = orientation
    save(colours(), tmp_path / name, exif=exif, **({"quality": 100} if name != "a.png" else {}))
    expected = cv2.imread(str(save(colours(), tmp_path / "plain.png")))
    upright = {
        1: expected,
        2: expected[:, ::-1],
        3: expected[::-1, ::-1],
        4: expected[::-1],
        5: expected.transpose(1, 0, 2),
        6: np.rot90(expected, -1),
        7: expected[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(expected, 1),
    }[orientation]
    image = read_image(tmp_path / name, limits)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_nonsense_in_exif_is_upright(tmp_path, limits, orientation):
    exif = Pil.Exif()
    exif[0x0112] = orientation
    image = read_image(save(colours(), tmp_path / "a.png", exif=exif), limits)
    np.testing.assert_array_equal(image, colours())


def test_transparency_is_over_white(tmp_path, limits):
    bgra = np.zeros((10, 12, 4), np.uint8)
    bgra[:, :6] = (10, 20, 200, 255)
    bgra[:, 9:] = (0, 0, 0, 128)
    for name in ("a.png", "a.webp"):
        Pil.fromarray(np.ascontiguousarray(bgra[..., [2, 1, 0, 3]])).save(tmp_path / name, lossless=True)
        image = read_image(tmp_path / name, limits)
        assert image[5, 2].tolist() == [10, 20, 200]
        assert image[5, 7].tolist() == [255, 255, 255]
        assert abs(int(image[5, 11, 0]) - 127) <= 1


def test_palettes_with_transparency(tmp_path, limits):
    picture = Pil.fromarray(colours()[..., ::-1].copy()).convert("P", palette=Pil.Palette.ADAPTIVE, colors=8)
    see_through = picture.getpixel((0, 0))
    picture.save(tmp_path / "a.png", transparency=see_through)
    image = read_image(tmp_path / "a.png", limits)
    assert image[5, 5].tolist() == [255, 255, 255]
    assert np.abs(image[40, 5].astype(int) - (255, 0, 0)).max() < 6


def test_grey_and_16_bit(tmp_path, limits):
    ramp = np.repeat(np.linspace(0, 1, 64)[None], 8, axis=0)
    expected = np.rint(ramp * 255)
    cv2.imwrite(str(tmp_path / "g.png"), expected.astype(np.uint8))
    cv2.imwrite(str(tmp_path / "g16.png"), np.rint(ramp * 65535).astype(np.uint16))
    cv2.imwrite(str(tmp_path / "g16.tiff"), np.rint(ramp * 65535).astype(np.uint16))
    cv2.imwrite(str(tmp_path / "c16.png"), np.repeat(np.rint(ramp * 65535).astype(np.uint16)[..., None], 3, 2))
    cv2.imwrite(str(tmp_path / "c16.tiff"), np.repeat(np.rint(ramp * 65535).astype(np.uint16)[..., None], 3, 2))
    whole = [cv2.IMWRITE_TIFF_COMPRESSION, 1]  # OpenCV 4.9 packs floats wrongly
    cv2.imwrite(str(tmp_path / "f.tiff"), ramp.astype(np.float32), whole)
    cv2.imwrite(str(tmp_path / "fc.tiff"), np.repeat(ramp.astype(np.float32)[..., None], 3, 2), whole)
    for path in sorted(tmp_path.iterdir()):
        image = read_image(path, limits)
        assert image.shape == (8, 64, 3), path
        assert np.abs(image.astype(int) - expected[..., None]).max() <= 1, path


@pytest.mark.parametrize("name", ["a.tiff", "colour.tiff"])
def test_floats_that_are_no_numbers(tmp_path, limits, name):
    values = np.full((16, 16) if name == "a.tiff" else (16, 16, 3), 0.5, np.float32)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, -np.inf
    cv2.imwrite(str(tmp_path / name), values, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    image = read_image(tmp_path / name, limits)
    assert image[0, :4, 0].tolist() == [0, 255, 0, 128]


def test_cmyk(tmp_path, limits):
    Pil.fromarray(colours()[..., ::-1].copy()).convert("CMYK").save(tmp_path / "a.jpg", quality=98, subsampling=0)
    image = read_image(tmp_path / "a.jpg", limits)
    assert np.abs(image[10, 10].astype(int) - (0, 0, 255)).max() < 20


def test_the_first_of_several(tmp_path, limits):
    first, second = (Pil.new("RGB", (20, 20), c) for c in ("red", "blue"))
    for name in ("a.gif", "a.webp", "a.tiff", "a.png"):
        options = {} if name == "a.tiff" else {"duration": 100}
        first.save(tmp_path / name, save_all=True, append_images=[second], **options)
        image = read_image(tmp_path / name, limits)
        assert image[10, 10, 2] > 240
        assert image[10, 10, 0] < 15


def test_one_pixel(tmp_path, limits, finder):
    image = read_image(save(np.full((1, 1, 3), 7, np.uint8), tmp_path / "dot.png"), limits)
    assert image.tolist() == [[[7, 7, 7]]]
    with pytest.raises(RequestError, match=r"dot.png: no face found in 1x1 pixels"):
        make_portrait(image, finder, Controls(), "dot.png")


def test_the_name_may_lie_and_be_chinese(tmp_path, limits):
    save(colours(), tmp_path / "a.png")
    shutil.move(tmp_path / "a.png", tmp_path / "照片 一.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "照片 一.jpg", limits), colours())


def test_missing_empty_folder(tmp_path, limits):
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    assert "is not there" in refused(tmp_path / "nothing.png", limits)
    assert "is empty (0 bytes)" in refused(tmp_path / "empty.png", limits)
    assert "is a folder" in refused(tmp_path / "folder.png", limits)


@pytest.mark.parametrize(
    "content", [b"dear diary\n" * 50, bytes(range(256)) * 20, b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF89a"]
)
def test_no_picture(tmp_path, limits, content):
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", limits)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_cut_off(tmp_path, limits, suffix, part):
    path = save(photo(200), tmp_path / f"a.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refused(path, limits)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif"])
def test_any_damage_gives_a_picture_or_an_error(tmp_path, limits, suffix):
    path = save(photo(80), tmp_path / f"a.{suffix}")
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for at in rng.integers(0, min(len(data), 2000), 6):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            image = read_image(path, LimitSettings(portrait_pixels=10**6))
        except RequestError as e:
            assert str(e).startswith(path.name)
        else:
            assert image.ndim == 3
            assert image.dtype == np.uint8


def test_a_recording_is_no_picture(tmp_path, limits, short_speech):
    shutil.copy(short_speech, tmp_path / "me.jpg")
    assert "is not a picture that can be read" in refused(tmp_path / "me.jpg", limits)


def test_postscript_and_the_like_are_not_run(tmp_path, limits):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    assert "is not a picture that can be read" in refused(tmp_path / "a.jpg", limits)


def test_too_many_bytes(limits):
    small = LimitSettings(portrait_bytes=1000)
    n_bytes = SAMPLE_PHOTO.stat().st_size
    assert refused(SAMPLE_PHOTO, small) == f"portrait.jpg: {n_bytes} bytes; a photo may have at most 1000"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff", "a.gif"])
def test_too_many_pixels(tmp_path, name):
    words = refused(save(colours(), tmp_path / name), LimitSettings(portrait_pixels=3000))
    assert words == f"{name}: 64x48 is 3072 pixels; a photo may have at most 3000"


def test_float_pictures_are_bounded_too(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.zeros((48, 64, 3), np.float32))
    assert "64x48 is 3072 pixels" in refused(tmp_path / "a.tiff", LimitSettings(portrait_pixels=3000))


def test_a_bomb_is_not_opened(tmp_path, alone):
    path = huge_png(tmp_path / "bomb.png", 20000, 20000)
    assert path.stat().st_size < 500_000
    code = """
from pathlib import Path
from sonic_edge.config import LimitSettings
from sonic_edge.errors import RequestError
from sonic_edge.engine.portrait import read_image
try:
    read_image(Path({!r}), LimitSettings())
except RequestError as e:
    print(e)
"""
    printed, peak_mb, seconds = alone(code.format(str(path)))
    assert printed == "bomb.png: 20000x20000 is 400000000 pixels; a photo may have at most 64000000"
    assert peak_mb < 150
    assert seconds < 20


def test_a_webp_bomb_is_not_opened(tmp_path, alone):
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16382).to_bytes(3, "little") * 2
    (tmp_path / "b.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(head)) + b"WEBP" + head)
    assert "b.webp: 16383x16383 is 268402689 pixels" in refused(tmp_path / "b.webp", LimitSettings())


def test_the_largest_photo_fits_the_memory(tmp_path, alone):
    code = """
from pathlib import Path
from sonic_edge.config import LimitSettings
from sonic_edge.engine.portrait import read_image
print(read_image(Path({!r}), LimitSettings()).shape)
"""
    printed, peak_mb, _ = alone(code.format(str(huge_png(tmp_path / "large.png", 8000, 8000))))
    assert printed == "(8000, 8000, 3)"
    assert peak_mb < 600


# ------------------------------------------------------------------------------------------------------- finding faces


def test_missing_models_say_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"face_detection_short_range.tflite: is missing; `make setup`"):
        FaceFinder(tmp_path)


def test_damaged_models_say_what_to_do(tmp_path):
    for name in ("face_detection_short_range.tflite", "face_landmark.tflite"):
        (tmp_path / name).write_bytes(b"nonsense" * 100)
    with pytest.raises(ConfigError, match=r"cannot be loaded"):
        FaceFinder(tmp_path)


NETWORKS = (
    "face_detection_short_range.tflite",
    "face_landmark.tflite",
    "iris_landmark.tflite",
    "selfie_segmentation.tflite",
)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_one_model_that_is_missing_or_broken_is_named(tmp_path, name):
    for other in NETWORKS:
        if other != name:
            (tmp_path / other).symlink_to(share_dir() / "face" / other)
    with pytest.raises(ConfigError) as missing:
        FaceFinder(tmp_path)
    assert str(missing.value) == f"{tmp_path / name}: is missing; `make setup` puts it there"
    whole = (share_dir() / "face" / name).read_bytes()
    for broken in (b"nonsense" * 100, b"", whole[: len(whole) // 3]):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(ConfigError) as damaged:
            FaceFinder(tmp_path)
        words = str(damaged.value)
        assert words.startswith(f"{tmp_path / name}: cannot be loaded (")
        assert words.endswith("; `make setup` fetches it anew")
        assert "\n" not in words


def test_the_sample(finder):
    (face,) = finder.faces(photo())
    assert face.score > 0.75
    assert 80 < face.interocular < 100
    right_eye, left_eye, nose, chin = (face.landmarks[i, :2] for i in (33, 263, 1, 152))
    assert right_eye[0] < nose[0] < left_eye[0]  # the person's right eye is on the left of the picture
    assert right_eye[1] < nose[1] < chin[1]
    assert face.landmarks[1, 2] < face.landmarks[234, 2]  # the nose is nearer than the cheek


@pytest.mark.parametrize("width", [60, 100, 150, 250, 1024, 3000])
def test_sizes(finder, width):
    (face,) = finder.faces(cv2.resize(photo(), (width, width * 600 // 512), interpolation=cv2.INTER_AREA))
    assert face.interocular == pytest.approx(88 * width / 512, rel=0.08)


@pytest.mark.parametrize("at", [(0, 0), (3300, 100), (100, 2200), (3400, 2300), (1700, 1200)])
def test_a_small_face_anywhere_in_a_large_photo(finder, at):
    canvas = pasted((4000, 3000), (photo(400), *at))
    (face,) = finder.faces(canvas)
    assert face.interocular == pytest.approx(69, rel=0.1)
    assert abs(face.landmarks[1, 0] - at[0] - 190) < 40


@pytest.mark.parametrize("angle", [-150, -120, -90, -60, -30, 30, 60, 90, 120, 150, 180])
def test_tilted(finder, angle):
    face = photo()[40:400, 80:440]
    turned = cv2.warpAffine(
        face, cv2.getRotationMatrix2D((180, 180), angle, 1), (360, 360), borderMode=cv2.BORDER_REFLECT
    )
    found = finder.faces(pasted((700, 600), (turned, 170, 120)))
    assert len(found) == 1
    eyes = found[0].landmarks[[33, 263], :2]
    roll = np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    assert abs((roll + angle + 180) % 360 - 180) < 12


NO_FACES = {
    "blank": lambda: np.full((300, 400, 3), 200, np.uint8),
    "black": lambda: np.zeros((300, 400, 3), np.uint8),
    "noise": lambda: np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8),
    "blurred noise": lambda: cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8), (0, 0), 9
    ),
    "gradient": lambda: np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[None], 200, 0)[..., None], 3, 2),
    "dog": dog,
    "cat": cat,
    "stripes": lambda: np.repeat(((np.arange(400) // 20 % 2) * 255).astype(np.uint8)[:, None, None], 300, 1).repeat(
        3, 2
    ),
    "one row": lambda: np.zeros((1, 500, 3), np.uint8),
    "hair and a hat": lambda: np.ascontiguousarray(photo()[:130]),
    "a coat": lambda: np.ascontiguousarray(photo()[400:]),
}


@pytest.mark.parametrize("name", NO_FACES)
def test_no_face(finder, name):
    with pytest.raises(RequestError, match=rf"{name}.png: no face found in \d+x\d+ pixels; a photo of a person"):
        make_portrait(NO_FACES[name](), finder, Controls(), f"{name}.png")


# ---------------------------------------------------------------------------------------------------- making portraits


def make(image: np.ndarray, finder: FaceFinder, **controls: object):
    return make_portrait(image, finder, Controls(**controls), "me.jpg")


@pytest.mark.parametrize("resolution", [128, 256, 512, 1024])
def test_the_crop_is_a_square_of_the_size_asked_for(finder, resolution):
    portrait = make(photo(), finder, min_resolution=resolution)
    assert portrait.image.shape == (resolution, resolution, 3)
    oval = np.ptp(portrait.landmarks[:, :2], axis=0)
    assert resolution / oval.max() == pytest.approx(2.1, rel=0.07)
    middle = (portrait.landmarks[:, :2].max(axis=0) + portrait.landmarks[:, :2].min(axis=0)) / 2
    assert middle[0] == pytest.approx(resolution / 2, rel=0.1)
    assert 0.48 * resolution < middle[1] < 0.62 * resolution


def test_more_room_when_asked_for(finder):
    sizes = [make(pasted((1400, 1400), (photo(), 400, 400)), finder, expand_ratio=r).interocular for r in (0, 0.2, 1.0)]
    assert sizes[0] / sizes[1] == pytest.approx(1.4, rel=0.03)
    assert sizes[0] / sizes[2] == pytest.approx(3.0, rel=0.03)


@pytest.mark.parametrize("cut", [(0, 70, 512, 440), (120, 0, 400, 600), (140, 90, 380, 380), (0, 0, 330, 420)])
@pytest.mark.parametrize("ratio", [0.0, 0.15, 1.0])
def test_the_crop_never_leaves_the_photo(finder, cut, ratio):
    x0, y0, x1, y1 = cut
    image = np.ascontiguousarray(photo()[y0:y1, x0:x1])
    portrait = make(image, finder, expand_ratio=ratio, min_resolution=256)
    height, width = portrait.image.shape[:2]
    assert min(height, width) == 256
    assert height % 2 == width % 2 == 0
    assert max(height, width) <= 512
    # every line of the canvas comes from the photo: none is repeated as borders are
    assert (np.abs(np.diff(portrait.image.astype(int), axis=0)).max(axis=(1, 2)) > 0).all()
    assert (np.abs(np.diff(portrait.image.astype(int), axis=1)).max(axis=(0, 2)) > 0).all()


def test_a_narrow_strip_is_at_most_twice_as_long(finder):
    image = np.ascontiguousarray(photo()[:, 170:350])
    portrait = make(image, finder, expand_ratio=1.0)
    assert portrait.image.shape == (1024, 512, 3)


def test_landmarks_lie_on_the_canvas(finder):
    image = photo()
    portrait = make(image, finder)
    again = finder.faces(portrait.image)[0]
    error = np.linalg.norm(again.landmarks[:, :2] - portrait.landmarks[:, :2], axis=1)
    assert error.mean() < 0.03 * portrait.interocular
    assert portrait.landmarks.shape == (468, 3)
    assert portrait.landmarks.dtype == np.float32


@pytest.mark.parametrize(
    "options", [{}, {"keep_resolution": True}, {"expand_ratio": 0.0, "min_resolution": 256}], ids=str
)
def test_irises_and_the_person_lie_on_the_canvas(finder, options):
    portrait = make(photo(), finder, **options)
    height, width = portrait.image.shape[:2]
    unit = portrait.interocular
    assert portrait.irises.shape == (2, 3)
    assert portrait.irises.dtype == np.float32
    for (x, y, radius), corners in zip(portrait.irises, ((33, 133), (362, 263))):
        ends = portrait.landmarks[list(corners), :2]
        assert ends[:, 0].min() < x < ends[:, 0].max()
        assert abs(y - ends[:, 1].mean()) < 0.1 * unit
        assert 0.07 < radius / unit < 0.13
    assert portrait.matte.shape == (height, width)
    assert portrait.matte.dtype == np.uint8
    face = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(face, cv2.convexHull(np.rint(portrait.landmarks[:, :2]).astype(np.int32)), (1,))
    assert portrait.matte[face > 0].mean() > 0.95 * 255
    assert portrait.matte[: height // 4, -width // 12 :].mean() < 0.05 * 255


def test_eyes_are_read_from_the_canvas(finder):
    """They are those of the face that is animated, also in a photo that lay on its side."""
    upright, turned = make(photo(), finder), make(np.ascontiguousarray(np.rot90(photo())), finder)
    assert np.abs(turned.irises[:, :2] - upright.irises[:, :2]).max() < 0.06 * upright.interocular
    assert np.abs(turned.matte.astype(int) - upright.matte).mean() < 12


def test_a_person_who_cannot_be_separated_is_reported(finder, monkeypatch):
    monkeypatch.setattr(finder.matting, "person", lambda *_: None)
    portrait = make(photo(), finder)
    assert portrait.matte is None
    assert portrait.irises is not None
    assert any(w.startswith("me.jpg: head and background could not be separated") for w in portrait.warnings)


def test_keep_resolution_keeps_every_pixel(finder):
    image = photo()
    portrait = make(image, finder, keep_resolution=True)
    np.testing.assert_array_equal(portrait.image, image)
    odd = np.ascontiguousarray(image[:599, :511])
    np.testing.assert_array_equal(make(odd, finder, keep_resolution=True, min_resolution=256).image, odd[:598, :510])


def test_keep_resolution_enlarges_a_small_photo(finder):
    portrait = make(photo(150), finder, keep_resolution=True, min_resolution=256)
    assert portrait.image.shape == (300, 256, 3)


def test_keep_resolution_has_an_upper_end(finder):
    portrait = make(pasted((6000, 2500), (photo(), 2000, 900)), finder, keep_resolution=True)
    height, width = portrait.image.shape[:2]
    assert width == 4096
    assert height % 2 == 0
    assert height / width == pytest.approx(2500 / 6000, rel=0.01)
    assert any("was reduced to 4096x" in w for w in portrait.warnings)


def test_the_larger_of_two(finder):
    image = pasted((1100, 700), (photo(), 20, 50), (photo(300), 700, 200))
    portrait = make(image, finder)
    assert portrait.warnings == ("me.jpg: 2 faces found; the largest is used",)
    mirrored = make(np.ascontiguousarray(image[:, ::-1]), finder)
    assert mirrored.interocular == pytest.approx(portrait.interocular, rel=0.05)
    assert "2 faces found" in mirrored.warnings[0]


def test_a_face_too_small(finder):
    with pytest.raises(
        RequestError, match=r"me.jpg: the face is too small: 1[0-3] pixels from eye to eye; at least 14"
    ):
        make(photo(72), finder)


def test_a_small_face_is_reported(finder):
    portrait = make(photo(120), finder)
    assert any("was enlarged 5." in w for w in portrait.warnings)


def test_a_photo_on_its_side_is_turned(finder):
    upright = make(photo(), finder)
    for quarters in (1, 2, 3):
        portrait = make(np.ascontiguousarray(np.rot90(photo(), quarters)), finder)
        degrees = {1: 90, 2: 180, 3: 90}[quarters]
        assert f"was rotated by {degrees} degrees" in portrait.warnings[0]
        assert np.abs(portrait.landmarks[:, :2] - upright.landmarks[:, :2]).mean() < 0.06 * upright.interocular
        assert np.abs(portrait.image.astype(int) - upright.image).mean() < 25


def test_a_tilted_head_is_reported(finder):
    turned = cv2.warpAffine(photo(), cv2.getRotationMatrix2D((250, 220), 40, 1), (512, 600))
    assert any("tilted by 4" in w or "tilted by 3" in w for w in make(turned, finder).warnings)


def test_a_blurred_face_is_reported(finder):
    assert make(photo(), finder).warnings == ()
    blurred = cv2.GaussianBlur(photo(), (0, 0), 5)
    assert any("blurred" in w for w in make(blurred, finder).warnings)


@pytest.mark.parametrize("thing", ["microphone", "cup", "mask"])
def test_something_in_front_of_the_mouth_is_reported(finder, thing):
    image = photo()
    landmarks = finder.faces(image)[0].landmarks
    x, y = (int(v) for v in landmarks[[13, 14], :2].mean(axis=0))
    unit = int(finder.faces(image)[0].interocular)
    if thing == "microphone":
        cv2.ellipse(image, (x + unit // 6, y + unit // 2), (unit // 3, unit // 2), 20, 0, 360, (35, 35, 38), -1)
    elif thing == "cup":
        cv2.rectangle(image, (x - unit // 10, y - unit // 10), (x + unit, y + unit), (225, 220, 220), -1)
    else:
        cv2.rectangle(image, (x - unit, y - unit // 2), (x + unit, y + unit), (220, 200, 180), -1)
    assert any("in front of the mouth" in w for w in make(image, finder).warnings)


def test_shut_eyes_are_reported(finder):
    portrait = make(photo(), finder)
    marks = portrait.landmarks.copy()
    for upper, lower in ((159, 145), (386, 374)):
        marks[upper] = marks[lower]
    assert any("nearly shut" in w for w in hard_parts(portrait.image, marks, True, True, "me.jpg"))
    assert hard_parts(portrait.image, portrait.landmarks, True, True, "me.jpg") == []


def test_a_face_cut_by_the_edge_is_reported_or_refused(finder):
    image = photo()
    landmarks = finder.faces(image)[0].landmarks
    cheek, mouth = int(landmarks[234, 0]), int(landmarks[13, 1])
    portrait = make(np.ascontiguousarray(image[:, cheek + 25 :]), finder)
    assert any("cut by the edge" in w for w in portrait.warnings)
    with pytest.raises(RequestError, match=r"me.jpg: "):
        make(np.ascontiguousarray(image[: mouth - 2]), finder)


def test_the_same_photo_gives_the_same_portrait(finder):
    one, two = make(photo(), finder), make(photo(), finder)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.landmarks, two.landmarks)


def test_grey_photos_work(finder):
    grey = np.repeat(cv2.cvtColor(photo(), cv2.COLOR_BGR2GRAY)[..., None], 3, 2)
    assert make(grey, finder).warnings == ()


def test_a_jpeg_that_pillow_has_opinions_on(tmp_path, limits):
    """Metadata that makes Pillow warn is no error, also where warnings are errors."""
    data = io.BytesIO()
    Pil.fromarray(photo(64)).save(data, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\0\0\0")
    (tmp_path / "a.jpg").write_bytes(data.getvalue())
    assert read_image(tmp_path / "a.jpg", limits).shape == (75, 64, 3)


# ------------------------------------------------------------------------------------------------ before the camera


def test_one_person_close_by(finder):
    one = cv2.imread(str(share_dir() / "samples" / "portrait.jpg"))
    assert is_single_frontal_face(finder.near_faces(one))
    behind = cv2.resize(one, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    behind = cv2.copyMakeBorder(behind, one.shape[0] - behind.shape[0], 0, 0, 0, cv2.BORDER_REPLICATE)
    assert is_single_frontal_face(finder.near_faces(np.hstack([one, behind]))), "people in the background do not count"


def test_nobody_two_people_or_somebody_far_away(finder):
    one = cv2.imread(str(share_dir() / "samples" / "portrait.jpg"))
    assert not is_single_frontal_face([])
    assert not is_single_frontal_face(finder.near_faces(np.hstack([one, one])))
    assert not is_single_frontal_face(
        finder.near_faces(cv2.resize(one, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA))
    )


def test_somebody_who_looks_away(finder):
    (face, *_) = finder.faces(cv2.imread(str(share_dir() / "samples" / "portrait.jpg")))
    assert is_single_frontal_face([face])
    away = face.landmarks.copy()
    away[1, 0] += 0.4 * face.interocular  # the nose goes to one side
    assert not is_single_frontal_face([type(face)(face.score, away)])
