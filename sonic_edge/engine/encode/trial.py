"""Checks whether the configured encoder works on this machine."""

import tempfile
import time
from pathlib import Path
from typing import Iterator

import av
import cv2
import numpy as np

from ...config import EncodeSettings
from ...errors import DeviceError
from ...media import Image
from .h264 import reason
from .mp4 import Mp4

_N_PICTURES = 5
_MOST_OFF = 8.0
"""Largest mean error, of 255: pictures as simple as these are usually within 4; with misplaced chroma rows the error is
13."""


def try_encoder(settings: EncodeSettings, side: int, fps: int) -> float:
    """Encode a small video and compare the decoded pictures.

    Args:
        settings: The encoder.
        side: Width and height of the pictures, even.
        fps: Frames a second.

    Returns:
        Seconds per picture.

    Raises:
        ConfigError: If there is no such encoder, or it does not have such options.
        DeviceError: If the encoder does not work.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sonic-edge-") as folder:
            path = Path(folder) / "trial.mp4"
            file = Mp4(path, _N_PICTURES, fps, (side, side), 0, "", settings)
            since = time.monotonic()
            try:
                for picture in _pictures(side):
                    file.add_picture(picture)
                file.finish()
            finally:
                file.abandon()
            took_s = time.monotonic() - since
            wrong = _what_is_wrong(path, side)
    except (av.error.FFmpegError, OSError) as e:
        wrong = reason(e)
    if wrong:
        raise DeviceError(f"encode.encoder = {settings.encoder!r}: a trial of {side}x{side}: {wrong}")
    return took_s / _N_PICTURES


def _what_is_wrong(path: Path, side: int) -> str:
    """How the decoded pictures differ from the originals; empty if they do not."""
    n = 0
    with av.open(str(path)) as file:
        for frame, picture in zip(file.decode(video=0), _pictures(side)):
            if (frame.width, frame.height) != (side, side):
                return f"pictures came back as {frame.width}x{frame.height}"
            off = float(cv2.absdiff(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8), picture).mean())
            if off > _MOST_OFF:
                return f"pictures came back changed, by {off:.0f} of 255"
            n += 1
    return "" if n == _N_PICTURES else f"{n} pictures came back, not {_N_PICTURES}"


def _pictures(side: int) -> Iterator[Image]:
    """A colour gradient with a disc that moves across it."""
    line = np.linspace(40, 200, side).astype(np.uint8)
    for i in range(_N_PICTURES):
        picture = np.empty((side, side, 3), np.uint8)
        picture[..., 0], picture[..., 1], picture[..., 2] = line, line[:, None], 255 - line
        cv2.circle(picture, (side // 4 + i * side // 16, side // 2), side // 6, (60, 90, 200), cv2.FILLED)
        yield picture
