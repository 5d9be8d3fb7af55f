import json
import time

import numpy as np
import pytest
from PIL import ImageFont

from sonic_edge.config import LabelSettings
from sonic_edge.engine import label as label_module
from sonic_edge.engine.label import Label, aigc_metadata
from sonic_edge.errors import ConfigError

CORNERS = ["top-left", "top-right", "bottom-left", "bottom-right"]


def drawn(size, background, **settings):
    """The picture with its label, and where it differs from the picture without: (top, bottom, left, right)."""
    image = np.full((size[1], size[0], 3), background, np.uint8)
    before = image.copy()
    Label(*size, LabelSettings(**settings)).draw(image)
    changed = np.any(image != before, axis=2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    return image, (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)


def letters(image):
    """Where it is white: one (height, width) for each letter, from the left."""
    white = image.min(axis=2) > 200
    columns = np.flatnonzero(white.any(0))
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    out = []
    for group in groups:
        rows = np.flatnonzero(white[:, group].any(1))
        out.append((rows[-1] + 1 - rows[0], len(group)))
    return out


@pytest.mark.parametrize(
    "size", [(128, 128), (256, 256), (512, 512), (512, 768), (1024, 512), (1024, 1024), (4096, 2160)]
)
def test_letters_are_as_high_as_the_rules_ask(size):
    image, _ = drawn(size, 0)
    heights = [height for height, _ in letters(image)]
    assert heights[0] >= 0.05 * min(size)  # A: the capitals are the lowest
    assert max(heights) >= 0.055 * min(size)
    assert max(heights) <= 0.09 * min(size)


def test_lowest_height_allowed_is_enough():
    for size in range(128, 1025, 64):
        image, _ = drawn((size, size), 0, height=0.05)
        assert letters(image)[0][0] >= 0.05 * size - 1  # the threshold of `letters` may take the softest line


@pytest.mark.parametrize("background", [0, 40, 128, 200, 255])
def test_legible_on_light_and_dark(background):
    image, (top, bottom, left, right) = drawn((512, 512), background)
    part = image[top:bottom, left:right].astype(float).mean(axis=2)
    ink = part > 250
    assert 0.1 < ink.mean() < 0.6
    near = part[~ink]
    assert 255 - np.median(near) > 100  # a contrast of more than 4.5 to the plate


@pytest.mark.parametrize("position", CORNERS)
def test_corners(position):
    _, (top, bottom, left, right) = drawn((640, 512), 128, position=position)
    middle = ((top + bottom) / 2 < 256, (left + right) / 2 < 320)
    assert middle == ("top" in position, "left" in position)
    assert min(top, 512 - bottom, left, 640 - right) > 5


def test_only_its_own_rectangle_in_place():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (512, 512, 3), np.uint8)
    before = image.copy()
    made = Label(512, 512, LabelSettings())
    made.draw(image)
    outside = np.ones((512, 512), bool)
    outside[made._region] = False
    np.testing.assert_array_equal(image[outside], before[outside])
    assert np.any(image[made._region] != before[made._region])


def test_the_plate_lets_the_picture_through():
    image, (top, _, left, _) = drawn((512, 512), 200)
    assert image[top + 2, left + 2].tolist() == pytest.approx([110] * 3, abs=3)


def test_cheap():
    made, image = Label(512, 512, LabelSettings()), np.zeros((512, 512, 3), np.uint8)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        made.draw(image)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.0002


@pytest.mark.parametrize(
    "text", ["AI生成", "人工智能合成", "AI-generated", "AI生成 · 数字人", "由AI生成的视频，仅供参考"]
)
def test_words_of_the_bundled_font(text, monkeypatch):
    monkeypatch.setattr(label_module, "_SYSTEM_FONTS", ())
    image, _ = drawn((1024, 1024), 0, text=text, height=0.05)
    assert len(letters(image)) >= len(text) - 3


def test_bundled_font_has_what_its_list_says():
    font = ImageFont.truetype(str(label_module.FONT), 100)
    listed = (label_module.FONT.parent / "characters.txt").read_text(encoding="utf-8").strip()
    assert label_module._lacking(font, listed) == []
    assert label_module.FONT.stat().st_size < 1_000_000
    assert "SIL OPEN FONT LICENSE" in (label_module.FONT.parent / "OFL.txt").read_text()


def test_missing_characters_say_which_and_what_to_install(monkeypatch):
    monkeypatch.setattr(label_module, "_SYSTEM_FONTS", ())
    with pytest.raises(ConfigError, match=r"text = 'AI龘生成鑫': no font here has 鑫龘; install .*fonts-noto-cjk"):
        Label(512, 512, LabelSettings(text="AI龘生成鑫"))


def test_a_system_font_helps_out(monkeypatch, tmp_path):
    """The bundled font stands in for a system's; another takes its place as the one that lacks a character."""
    (tmp_path / "fonts" / "deep").mkdir(parents=True)
    bundled = label_module.FONT
    (tmp_path / "fonts" / "deep" / "NotoSansSC-Bold.otf").write_bytes(bundled.read_bytes())
    (tmp_path / "fonts" / "NotoSansSC-Broken.otf").write_bytes(b"no font")
    monkeypatch.setattr(label_module, "_SYSTEM_FONTS", (str(tmp_path / "fonts"),))
    lacking = label_module._lacking
    monkeypatch.setattr(label_module, "_lacking", lambda f, t: ["生"] if f.path == str(bundled) else lacking(f, t))
    image, _ = drawn((512, 512), 0)
    assert letters(image)


@pytest.mark.parametrize("text", [" ", "\u200b", "AI\u200b生成"])
def test_invisible_text_is_refused(text):
    with pytest.raises(ConfigError, match=r"label.text = .*: must be visible characters on one line"):
        Label(512, 512, LabelSettings(text=text))


def test_text_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"at most 242x242 fit a picture of 256x256: shorten it"):
        Label(256, 256, LabelSettings(text="由AI生成的视频，仅供参考，请勿当真"))


def test_metadata_is_that_of_the_standard():
    value = aigc_metadata("001191110108MA01", "7f3a")
    assert json.loads(value) == {
        "Label": "1",
        "ContentProducer": "001191110108MA01",
        "ProduceID": "7f3a",
        "ReservedCode1": "",
        "ContentPropagator": "001191110108MA01",
        "PropagateID": "7f3a",
        "ReservedCode2": "",
    }
    assert list(json.loads(value)) == [
        *("Label", "ContentProducer", "ProduceID", "ReservedCode1"),
        *("ContentPropagator", "PropagateID", "ReservedCode2"),
    ]
    assert "公司" in aigc_metadata("公司", "1")


@pytest.mark.parametrize("bad", ['a"b', "a\\b", "a\nb"])
def test_metadata_without_what_the_rules_forbid(bad):
    with pytest.raises(ConfigError, match="must be without quotation marks"):
        aigc_metadata(bad, "1")
    with pytest.raises(ConfigError, match="must be without quotation marks"):
        aigc_metadata("a", bad)


def backgrounds(size):
    rng = np.random.default_rng(0)
    stripes = np.tile((np.arange(size) // 6 % 2 * 255).astype(np.uint8)[None, :, None], (size, 1, 3))
    noise = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
    ramp = np.repeat(np.linspace(0, 255, size).astype(np.uint8)[None, :, None], size, 0).repeat(3, 2)
    return [np.full((size, size, 3), v, np.uint8) for v in (0, 128, 255)] + [stripes, noise, ramp]


@pytest.mark.parametrize("size", [128, 512])
def test_it_is_recognised_where_it_is_and_only_there(size):
    label = Label(size, size, LabelSettings())
    for image in backgrounds(size):
        assert not label.is_on(image)
        label.draw(image)
        assert label.is_on(image)
        coarse = np.round(image / 32) * 32  # what strong compression leaves of it
        assert label.is_on(np.clip(coarse, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("other", [{"text": "数字人"}, {"position": "top-left"}])
def test_another_label_is_not_taken_for_it(other):
    image = np.full((512, 512, 3), 90, np.uint8)
    Label(512, 512, LabelSettings(**other)).draw(image)
    assert not Label(512, 512, LabelSettings()).is_on(image)
