"""The two labels that the rules require: visible text on the picture, and metadata in the file (GB 45438-2025)."""

import json
from pathlib import Path
from typing import Iterator, List, Tuple

import cv2
import numpy as np
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from ..config import LabelSettings
from ..errors import ConfigError
from ..media import Image
from .fonts import FONT

_SYSTEM_FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
_CJK_FILES = (
    "NotoSansCJK*",
    "NotoSansSC*",
    "NotoSansTC*",
    "SourceHanSans*",
    "wqy*",
    "DroidSansFallback*",
    "NotoSerifCJK*",
)
_PLATE_OPACITY = 0.45
_RECOGNISED = 0.4
"""Correlation with the letters from which a decoded picture counts as labelled. Measured: .58 and more with the label
(worst on white, at 128 pixels), .2 and less without it."""


class Label:
    """The visible label, drawn once and then blended over every frame."""

    def __init__(self, width: int, height: int, settings: LabelSettings) -> None:
        """Draw the label for pictures of one size.

        Args:
            width: Width of the pictures, pixels.
            height: Height of the pictures, pixels.
            settings: Text, corner and size.

        Raises:
            ConfigError: If the text does not fit the picture, or no font has its characters.
        """
        wanted = settings.height * min(width, height)
        plate = _draw(settings.text, _font(settings.text, wanted))
        plate_height, plate_width = plate.shape[:2]
        margin = max(2, round(wanted / 2))
        if plate_width + 2 * margin > width or plate_height + 2 * margin > height:
            raise ConfigError(
                f"label.text = {settings.text!r}: {plate_width}x{plate_height} pixels at the height of {wanted:.0f}; "
                f"at most {width - 2 * margin}x{height - 2 * margin} fit a picture of {width}x{height}: "
                "shorten it or lower label.height"
            )
        vertical, horizontal = settings.position.split("-")
        top = margin if vertical == "top" else height - margin - plate_height
        left = margin if horizontal == "left" else width - margin - plate_width
        self._region = slice(top, top + plate_height), slice(left, left + plate_width)
        alpha = plate[..., 3:]
        self._through = np.repeat(255 - alpha, 3, axis=2)
        """How much of the picture shows through, [h, w, 3], 0..255."""
        self._ink = np.rint(plate[..., :3] * (alpha / 255.0)).astype(np.uint8)
        """The premultiplied label, which is added, [h, w, 3]."""

    def draw(self, image: Image) -> None:
        """Blend the label over a picture of the size it was made for, in place."""
        part = image[self._region]
        part[...] = cv2.add(cv2.multiply(part, self._through, scale=1 / 255), self._ink)

    def is_on(self, image: Image) -> bool:
        """Whether a decoded picture carries the label, and it is legible."""
        seen = image[self._region].mean(axis=2).ravel()
        letters = self._ink.mean(axis=2).ravel()
        if float(seen.std()) < 1:
            return False
        return float(np.corrcoef(seen, letters)[0, 1]) > _RECOGNISED


def _font(text: str, height: float) -> ImageFont.FreeTypeFont:
    """A font with all characters of the text, large enough that capitals and Chinese characters are `height` pixels."""
    blank = [c for c in text if not c.isprintable()]
    if blank or not text.strip():
        raise ConfigError(f"label.text = {text!r}: must be visible characters on one line")
    for path, index in [(FONT, 0), *_system_fonts()]:
        try:
            font = ImageFont.truetype(str(path), 200, index=index, layout_engine=ImageFont.Layout.BASIC)
        except OSError as e:
            if path == FONT:
                raise ConfigError(f"{path}: the label's font cannot be read ({e}); install the product again") from e
            continue
        lacking = _lacking(font, text)
        if not lacking:
            lowest = min(_ink_height(font, c) for c in _reference_characters(text))
            size = int(np.ceil(200 * height / lowest))
            while min(_ink_height(font.font_variant(size=size), c) for c in _reference_characters(text)) < height:
                size += 1
            return font.font_variant(size=size)
        if path == FONT:
            missing = lacking
    raise ConfigError(
        f"label.text = {text!r}: no font here has {''.join(missing)}; install one that does (fonts-noto-cjk), "
        "or choose other words"
    )


def _system_fonts() -> Iterator[Tuple[Path, int]]:
    """Font files with Chinese characters, and the index of the face in the file."""
    for folder in _SYSTEM_FONTS:
        for pattern in _CJK_FILES:
            for path in sorted(Path(folder).expanduser().rglob(pattern)):
                yield path, 2 if path.name.startswith("NotoSansCJK") else 0  # its third face is Simplified Chinese


def _lacking(font: ImageFont.FreeTypeFont, text: str) -> List[str]:
    """Characters of the text that the font does not have: it draws its missing-glyph sign for them."""
    missing = bytes(font.getmask("\U0010fffd"))
    return sorted({c for c in text if not c.isspace() and bytes(font.getmask(c)) == missing})


def _reference_characters(text: str) -> str:
    """Characters whose height is measured for the text's: a capital for Latin letters, a full one for Chinese."""
    latin = any(c.isascii() and c.isalnum() for c in text)
    chinese = any(not c.isascii() and c.isalnum() for c in text)
    return ("H" if latin or not chinese else "") + ("生" if chinese else "")


def _ink_height(font: ImageFont.FreeTypeFont, character: str) -> float:
    _, top, _, bottom = font.getbbox(character)
    return float(bottom - top)


def _draw(text: str, font: ImageFont.FreeTypeFont) -> Image:
    """White letters with a dark edge on a translucent dark plate, [height, width, 4], BGR and opacity."""
    edge = max(1, round(font.size / 20))
    left, top, right, bottom = (int(v) for v in font.getbbox(text, stroke_width=edge))
    pad = max(2, round(font.size / 6))
    size = (right - left + 2 * pad, bottom - top + 2 * pad)
    at = (pad - left, pad - top)
    letters, edged = Pil.new("L", size), Pil.new("L", size)
    ImageDraw.Draw(letters).text(at, text, fill=255, font=font)
    ImageDraw.Draw(edged).text(at, text, fill=255, font=font, stroke_width=edge)
    white = np.asarray(letters)
    opacity = np.maximum(np.maximum(white, np.asarray(edged)), np.uint8(_PLATE_OPACITY * 255))
    grey = (white.astype(np.uint16) * 255 // np.maximum(opacity, 1)).astype(np.uint8)
    return np.dstack([grey, grey, grey, opacity])


def aigc_metadata(producer: str, produce_id: str) -> str:
    """The JSON of the file's AIGC metadata (GB 45438-2025, annex E), as the producer of the content writes it.

    Args:
        producer: The provider's code; may be empty.
        produce_id: An id that is unique among the provider's content.

    Raises:
        ConfigError: If a value has a quotation mark, a backslash or a control character, which the rules forbid.
    """
    for name, value in (("producer", producer), ("produce id", produce_id)):
        if any(c in '"\\' or not c.isprintable() for c in value):
            raise ConfigError(f"{name} {value!r}: must be without quotation marks, backslashes and control characters")
    fields = {
        "Label": "1",  # certainly generated, not just possibly
        "ContentProducer": producer,
        "ProduceID": produce_id,
        "ReservedCode1": "",
        "ContentPropagator": producer,
        "PropagateID": produce_id,
        "ReservedCode2": "",
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
