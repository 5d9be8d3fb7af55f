"""A talking video as a moving picture with captions, for a page that plays no video.

    python board/moving_picture.py TALKING.mp4 CAPTIONS.vtt OUT.webp

The captions are WebVTT; they stand below the picture, so that they cover neither the face nor the label.
"""

import re
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple

import av
from PIL import Image, ImageDraw, ImageFont

from sonic_edge.engine.fonts import FONT

_SIDE = 320
"""Of the picture, pixels."""
_STRIP = 70
"""Height of what the captions stand on, pixels."""
_BACKGROUND = (22, 27, 34)
_COLOURS = ((255, 255, 255), (158, 167, 179))
"""Of a caption's first and second line."""
_LETTERS = 18
"""Height of the captions, pixels."""
_QUALITY = 44
_MOST_BYTES = 2_500_000
_CUE = re.compile(r"(\d+):(\d+\.\d+) --> (\d+):(\d+\.\d+)\n((?:.+\n?)+)")


class Caption(NamedTuple):
    """What is said in a stretch of the recording."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    lines: List[str]
    """At most two."""


def main() -> int:
    """Make the picture; 1 if it is larger than a page should carry."""
    video, captions, out = (Path(name) for name in sys.argv[1:])
    make_picture(video, read_captions(captions), out)
    size = out.stat().st_size
    print(f"{out}: {size / 1e6:.2f} MB")
    if size > _MOST_BYTES:
        print(f"{out}: {size} bytes; at most {_MOST_BYTES} are wanted: lower _QUALITY or _SIDE", file=sys.stderr)
        return 1
    return 0


def read_captions(path: Path) -> List[Caption]:
    """The captions of a WebVTT file, in its order.

    Raises:
        ValueError: If there are none.
    """
    found = [
        Caption(60 * int(m[1]) + float(m[2]), 60 * int(m[3]) + float(m[4]), m[5].splitlines())
        for m in _CUE.finditer(path.read_text(encoding="utf-8"))
    ]
    if not found:
        raise ValueError(f"{path}: no captions; lines like 00:01.500 --> 00:02.750 with text below are needed")
    return found


def make_picture(video: Path, captions: List[Caption], out: Path) -> None:
    """Write the video, every frame of it, as an animated WebP that starts again when it ends."""
    frames = list(_frames(video, captions))
    ends = [round(1000 * (i + 1) / _rate(video)) for i in range(len(frames))]
    durations = [end - start for start, end in zip([0, *ends], ends)]
    key = len(frames)  # it is played from its start: further key frames would only add to its size
    frames[0].save(
        out,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        quality=_QUALITY,
        method=4,
        kmin=key,
        kmax=key + 1,
    )


def _rate(video: Path) -> float:
    with av.open(str(video)) as file:
        rate = file.streams.video[0].average_rate
        if rate is None:
            raise ValueError(f"{video}: it names no frame rate")
        return float(rate)


def _frames(video: Path, captions: List[Caption]) -> Iterator[Image.Image]:
    font = ImageFont.truetype(str(FONT), _LETTERS)
    with av.open(str(video)) as file:
        for frame in file.decode(video=0):
            page = Image.new("RGB", (_SIDE, _SIDE + _STRIP), _BACKGROUND)
            page.paste(
                Image.fromarray(frame.to_ndarray(format="rgb24")).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            )
            for caption in captions:
                if caption.start <= frame.time < caption.end:
                    _write(page, caption.lines, font)
            yield page


def _write(page: Image.Image, lines: List[str], font: ImageFont.FreeTypeFont) -> None:
    pen = ImageDraw.Draw(page)
    for i, (line, colour) in enumerate(zip(lines, _COLOURS)):
        middle = _SIDE + _STRIP * (2 * i + 1.2) / 4.4
        pen.text((_SIDE / 2, middle), line, font=font, fill=colour, anchor="mm")


if __name__ == "__main__":
    sys.exit(main())
