"""Drawing on a white page: text, pictures, numbered spots."""

from functools import lru_cache
from typing import Tuple

import cv2
import numpy as np
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from ...media import Image
from ..fonts import FONT

Colour = Tuple[int, int, int]
"""BGR."""

INK: Colour = (45, 45, 45)
PALE: Colour = (120, 120, 120)
LINE: Colour = (226, 226, 226)


def blank(width: int, height: int) -> Image:
    """A white page."""
    return np.full((height, width, 3), 255, np.uint8)


def write(page: Image, at: Tuple[int, int], words: str, size: int, colour: Colour = INK, anchor: str = "ls") -> None:
    """Write a line of text; what is outside the page is clipped.

    Args:
        page: Changed in place.
        at: Column and row of the anchor.
        words: The text, one line.
        size: Font size, pixels.
        colour: Colour of the letters.
        anchor: Which point of the text is at `at`, in Pillow's notation: `ls` start, `ms` middle, `rs` end of the
            baseline.
    """
    top, bottom = max(0, at[1] - 2 * size), min(len(page), at[1] + size)
    mask = Pil.new("L", (page.shape[1], bottom - top))
    ImageDraw.Draw(mask).text((at[0], at[1] - top), words, fill=255, font=_font(size), anchor=anchor)
    cover = np.asarray(mask, np.float32)[..., None] / 255
    part = page[top:bottom]
    part[...] = np.rint(part + cover * (np.array(colour, np.float32) - part))


def length(words: str, size: int) -> int:
    """Width of a text, pixels."""
    return round(_font(size).getlength(words))


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The label's font, which is always available and has all of ASCII."""
    return ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)


def put(page: Image, at: Tuple[int, int], picture: Image) -> None:
    """Put a picture on a page, its top left corner at `at`, with a thin frame so that white pictures show too."""
    (x, y), (height, width) = at, picture.shape[:2]
    page[y : y + height, x : x + width] = picture
    cv2.rectangle(page, (x - 1, y - 1), (x + width, y + height), LINE)


def spot(page: Image, at: Tuple[int, int], number: int) -> None:
    """Draw a number in a dark disc around a point."""
    cv2.circle(page, at, 10, INK, cv2.FILLED, cv2.LINE_AA)
    write(page, (at[0], at[1] + 5), str(number), 14, (255, 255, 255), "ms")


def resized(picture: Image, width: int, height: int) -> Image:
    """A resized copy of a picture; a copy even if the size is the same."""
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)
