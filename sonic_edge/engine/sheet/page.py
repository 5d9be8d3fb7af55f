"""The sheet itself: collects what it needs from the frames as they pass, and is laid out at the end."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

import cv2

from ...errors import DeviceError
from ...media import FloatArray, Image, Portrait
from .chooser import Chooser
from .moments import close_ups
from .paper import INK, PALE, blank, put, resized, spot, write
from .strip import HEIGHT, Track, draw_key, draw_strip, relative

_WIDTH, _MARGIN, _GAP = 1800, 36, 14
"""Width of the page, its margin and the gap between pictures, pixels."""
_TALLEST = 520
"""Largest height of a still, pixels."""
_WIDE = 1.5
"""Pictures with a larger aspect ratio than this are laid out in two rows of three, or they would be too small."""
_A_ROW = 10
"""Close-ups in a row."""
_HEADING = 54
"""Space for a heading, including that above it, pixels."""


class Sheet:
    """A contact sheet of one clip. Keeps only a few small pictures, however long the clip is.

    Args:
        path: The PNG to be written.
        portrait: The portrait that the frames are rendered from.
        chooser: Selects the frames.
        level: Loudness of the sound, log10 power, [n], the first at 0 s.
        level_rate: Values of `level` per second.
        loud: Loudness of the loud parts, log10 power.
    """

    def __init__(
        self, path: Path, portrait: Portrait, chooser: Chooser, level: FloatArray, level_rate: float, loud: float
    ) -> None:
        self._path = path
        self._portrait = portrait
        self._chooser = chooser
        self._loudness = Track(relative(level, loud), level_rate)
        self._close_ups = close_ups(chooser.n_frames)
        height, width = portrait.image.shape[:2]
        self._a_row = 3 if width > _WIDE * height else chooser.n_stills
        self._still_size = _fitted(width, height, _cell(self._a_row), _TALLEST)
        rows, columns = chooser.part(0)
        self._crop_size = _fitted(columns.stop - columns.start, rows.stop - rows.start, _cell(_A_ROW), _TALLEST)
        self._stills: Dict[int, Image] = {}
        self._crops: Dict[int, Image] = {}
        self._fault: Optional[Exception] = None

    def watch(self, frames: Iterator[Image]) -> Iterator[Image]:
        """Pass the frames through and examine them. An error in examining is raised later, by `write`."""
        for index, image in enumerate(frames):
            if self._fault is None:
                try:
                    self._keep(index, image)
                except Exception as e:  # whatever it is, it must not cost the video
                    self._fault = e
            yield image

    def _keep(self, index: int, image: Image) -> None:
        for still in self._chooser.look(index, image):
            self._stills[still] = resized(image, *self._still_size)
        if index in self._close_ups:
            self._crops[index] = resized(image[self._chooser.part(index)], *self._crop_size)

    def write(self) -> None:
        """Write the PNG, completely or not at all. The same clip gives the same bytes.

        Raises:
            DeviceError: If it cannot be written.
        """
        if self._fault is not None:
            raise self._fault
        _, png = cv2.imencode(".png", self.drawn())
        part = self._path.absolute().with_name(f".{self._path.name[:60]}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(png.tobytes())
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as e:
            raise DeviceError(f"{self._path}: cannot be written: {e.strerror}") from e
        finally:
            with suppress(OSError):
                part.unlink()

    def drawn(self) -> Image:
        """The page as a picture; only after the last frame."""
        moments = self._chooser.moments()
        still_height, crop_height = self._still_size[1] + 64, self._crop_size[1] + 34
        stills_top = _MARGIN + 68
        crops_top = stills_top + _rows(len(moments), self._a_row) * still_height + _HEADING
        strip_top = crops_top + _rows(len(self._close_ups), _A_ROW) * crop_height + _HEADING
        page = blank(_WIDTH, strip_top + HEIGHT)

        self._draw_head(page)
        for i, moment in enumerate(moments):
            x, y = _place(i, self._a_row, stills_top, still_height)
            put(page, (x, y), self._stills[i])
            base = y + self._still_size[1] + 24
            spot(page, (x + 10, base - 5), i + 1)
            write(page, (x + 28, base), moment.what, 17)
            write(page, (x + 28, base + 22), f"{self._seconds(moment.index):.2f} s, {moment.value}", 14, PALE)

        write(page, (_MARGIN, crops_top - 14), "The mouth, evenly over the clip", 17)
        for i, index in enumerate(self._close_ups):
            x, y = _place(i, _A_ROW, crops_top, crop_height)
            put(page, (x, y), self._crops[index])
            middle = x + self._crop_size[0] // 2
            write(page, (middle, y + self._crop_size[1] + 18), f"{self._seconds(index):.2f} s", 14, PALE, "ms")

        write(page, (_MARGIN, strip_top - 14), "Mouth and sound", 17)
        draw_key(page, (_WIDTH - _MARGIN, strip_top - 14), self._chooser.opening_words)
        draw_strip(
            page,
            (_MARGIN, strip_top, _WIDTH - 2 * _MARGIN),
            self._chooser.opening(),
            self._loudness,
            self._seconds(self._chooser.n_frames),
            [self._seconds(moment.index) for moment in moments],
            [self._seconds(index) for index in self._close_ups],
        )
        return page

    def _draw_head(self, page: Image) -> None:
        height, width = self._portrait.image.shape[:2]
        n, fps = self._chooser.n_frames, self._chooser.fps
        facts = f"{width} x {height} pixels, {n} frame{'s' * (n > 1)}, {fps:g} a second, {self._seconds(n):.2f} s"
        write(page, (_MARGIN, _MARGIN + 24), "Contact sheet", 26, INK)
        write(page, (_WIDTH - _MARGIN, _MARGIN + 24), facts, 17, PALE, "rs")
        row = _MARGIN + 44
        cv2.line(page, (_MARGIN, row), (_WIDTH - _MARGIN, row), PALE)

    def _seconds(self, index: int) -> float:
        """Time of a frame, seconds."""
        return index / self._chooser.fps


def _cell(a_row: int) -> int:
    """Width of a picture if there are `a_row` in a row, pixels."""
    return (_WIDTH - 2 * _MARGIN + _GAP) // a_row - _GAP


def _rows(n: int, a_row: int) -> int:
    return -(-n // a_row)


def _place(i: int, a_row: int, top: int, row_height: int) -> Tuple[int, int]:
    """Left and top of picture i."""
    return _MARGIN + i % a_row * (_cell(a_row) + _GAP), top + i // a_row * row_height


def _fitted(width: int, height: int, widest: int, tallest: int) -> Tuple[int, int]:
    """Width and height of a picture scaled to fit, pixels."""
    scale = min(widest / width, tallest / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
