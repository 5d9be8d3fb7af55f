"""Compare screen and sound with the videos made: pictures by mean difference, sound by correlation."""

import struct
from pathlib import Path
from typing import List, Tuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Sound = NDArray[np.float64]

RATE = 44100
_WINDOW = RATE // 10
_LOUD = 200.0  # of 32768


def frames(video: Path) -> List[Image]:
    """All pictures of a video, BGR."""
    with av.open(str(video)) as film:
        return [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in film.decode(video=0)]


def as_large_as(seen: Image, made: Image) -> Image:
    """The second picture, resized to the first."""
    return np.asarray(cv2.resize(made, (seen.shape[1], seen.shape[0])), np.uint8)


def difference(seen: Image, made: Image) -> float:
    """Mean absolute difference of two pictures, 0..255, the second resized to the first."""
    return float(np.abs(as_large_as(seen, made).astype(np.float32) - seen.astype(np.float32)).mean())


def of_screen(picture: Path, shape: Tuple[int, ...]) -> Image:
    """The part of the screen that a picture of this shape fills at its largest.

    Raises:
        ValueError: If there is no picture of the screen.
    """
    screen = cv2.imread(str(picture))
    if screen is None:
        raise ValueError(f"{picture}: {'is no picture' if picture.exists() else 'is not there'}")
    height, width = screen.shape[:2]
    scale = min(width / shape[1], height / shape[0])
    w, h = round(shape[1] * scale), round(shape[0] * scale)
    top, left = (height - h) // 2, (width - w) // 2
    return np.asarray(screen[top : top + h, left : left + w], np.uint8)


def nearest(seen: Image, made: List[Image]) -> Tuple[int, float, float]:
    """The most similar picture: its number, its difference, and the largest difference of all."""
    small, look = [_thumbnail(m) for m in made], _thumbnail(seen)
    rough = [difference(look, s) for s in small]
    number = int(np.argmin(rough))
    return number, difference(seen, made[number]), difference(seen, made[int(np.argmax(rough))])


def _thumbnail(picture: Image) -> Image:
    return np.asarray(cv2.resize(picture, (96, 96), interpolation=cv2.INTER_AREA), np.uint8)


def label_of(picture: Image) -> Image:
    """The corner with the label."""
    height, width = picture.shape[:2]
    return picture[round(height * 0.865) : round(height * 0.97), round(width * 0.72) : round(width * 0.955)]


def sound_of(file: Path) -> Sound:
    """The sound of a film or recording, [n] mono at `RATE`."""
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(file)) as film:
        pieces = [p.to_ndarray().ravel() for f in film.decode(audio=0) for p in resampler.resample(f)]
    return np.concatenate(pieces).astype(np.float64)


def played(file: Path, since_byte: int) -> Sound:
    """Sound card output since then, [n] mono at `RATE`; the file is still being written."""
    data = file.read_bytes()
    channels, rate = struct.unpack_from("<HI", data, 22)
    assert (channels, rate) == (2, RATE), (channels, rate)
    data = data[max(44, since_byte) :]
    out: Sound = np.frombuffer(data[: len(data) // 4 * 4], np.int16).reshape(-1, 2).mean(axis=1)
    return out


def share_heard(made: Sound, heard: Sound, least: float) -> Tuple[float, int]:
    """How much of the sound is found in the recording, in order.

    Args:
        made: The expected sound.
        heard: The recording to search; there may be gaps between tenths of a second.
        least: Smallest correlation at which a tenth of a second counts as found.

    Returns:
        The share of the loud tenths that are found, and how many loud ones there are.
    """
    n_loud, places = 0, []
    size = 1 << (len(heard) + _WINDOW).bit_length()
    spectrum = np.fft.rfft(heard, size)
    sums = np.cumsum(np.concatenate([[0.0], heard**2]))
    energy = np.maximum(sums[_WINDOW:] - sums[:-_WINDOW], 1.0)
    for at in range(0, len(made) - _WINDOW, _WINDOW):
        window = made[at : at + _WINDOW]
        if np.sqrt((window**2).mean()) < _LOUD:
            continue
        n_loud += 1
        products = np.fft.irfft(spectrum * np.conj(np.fft.rfft(window, size)), size)[: len(energy)]
        likeness = products / np.sqrt(energy * (window**2).sum())
        best = int(np.argmax(likeness))
        if likeness[best] >= least:
            places.append(best)
    in_order = sum(1 for i, place in enumerate(places) if i == 0 or place >= places[i - 1])
    return in_order / max(1, n_loud), n_loud
