"""Recordings and pictures of every kind, made on the spot."""

import io
import struct
import wave
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Optional, Tuple

import av
import cv2
import numpy as np

from sonic_edge.config import share_dir

SAMPLE_PHOTO = share_dir() / "samples" / "portrait.jpg"

# ------------------------------------------------------------------------------------------------------ recordings


def speech_like(seconds: float, sample_rate: int = 16000) -> np.ndarray:
    """Something with the rhythm of speech: a buzz with formants, four syllables a second; [n], -1..1."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20))
    vowel = np.sin(2 * np.pi * 0.7 * t) * 0.5 + 0.5
    formants = vowel * np.sin(2 * np.pi * 700 * t) + (1 - vowel) * np.sin(2 * np.pi * 300 * t)
    syllables = np.clip(np.sin(2 * np.pi * 4 * t), 0, 1)
    return (0.25 * syllables * (buzz + formants)).clip(-1, 1).astype(np.float32)


def channels(seconds: float, sample_rate: int, n_channels: int) -> np.ndarray:
    """Speech in each channel, each a little softer than the one before; [n_channels, n]."""
    gains = 0.9 ** np.arange(n_channels, dtype=np.float32)
    return gains[:, None] * speech_like(seconds, sample_rate)


def write_wav(path: Path, seconds: float) -> Path:
    """A 16-bit mono WAV at 16 kHz, written piece by piece."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        minute = (speech_like(min(seconds, 10)) * 32767).astype("<i2").tobytes()
        n_bytes = 2 * round(seconds * 16000)
        while n_bytes > 0:
            file.writeframes(minute[:n_bytes])
            n_bytes -= len(minute)
    return path


_PCM = {"u8": 1, "s16": 2, "s24": 3, "s32": 4, "f32": 4, "f64": 8}


def wav(path: Path, samples: np.ndarray, sample_rate: int, kind: str = "s16") -> Path:
    """A WAV of any kind of samples; `samples` is [n_channels, n], -1..1."""
    width, interleaved = _PCM[kind], np.ascontiguousarray(samples.T)
    if kind.startswith("f"):
        data = interleaved.astype(f"<f{width}").tobytes()
    elif kind == "u8":
        data = np.rint(interleaved * 127 + 128).astype(np.uint8).tobytes()
    else:
        whole = np.rint(interleaved.astype(np.float64) * (2 ** (8 * width - 1) - 1)).astype("<i8")
        data = whole.view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    n_channels = len(samples)
    tag = 3 if kind.startswith("f") else 1
    block = n_channels * width
    fmt = struct.pack("<HHIIHH", tag, n_channels, sample_rate, sample_rate * block, block, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def encoded(
    path: Path,
    codec: str,
    samples: np.ndarray,
    sample_rate: int,
    container: Optional[str] = None,
    picture: bool = False,
) -> Path:
    """A compressed recording (or a film with that sound); `samples` is [1 or 2, n]."""
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", format=container) as file:
        film = None
        if picture:
            film = file.add_stream("libx264", rate=25)
            film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
        stream = file.add_stream(codec, rate=sample_rate)
        stream.codec_context.layout = layout
        stream.codec_context.bit_rate = 96000
        if film is not None:
            for i in range(25 * samples.shape[1] // sample_rate):
                frame = av.VideoFrame.from_ndarray(np.full((96, 64), 60 + i % 100, np.uint8), format="yuv420p")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                file.mux(film.encode(frame))
            file.mux(film.encode(None))
        for start in range(0, samples.shape[1], 1024):
            piece = np.ascontiguousarray(samples[:, start : start + 1024], np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = sample_rate, start, Fraction(1, sample_rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


# -------------------------------------------------------------------------------------------------------- pictures


def photo(width: Optional[int] = None) -> np.ndarray:
    """The sample photo, BGR; one face, mouth closed."""
    image = cv2.imread(str(SAMPLE_PHOTO))
    assert image is not None, f"{SAMPLE_PHOTO} is missing: run `make setup`"
    if width is None:
        return image
    height = round(image.shape[0] * width / image.shape[1])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def pasted(size: Tuple[int, int], *pieces: Tuple[np.ndarray, int, int]) -> np.ndarray:
    """A grey canvas of `size` (width, height) with pictures at (x, y)."""
    canvas = np.full((size[1], size[0], 3), 110, np.uint8)
    for piece, x, y in pieces:
        canvas[y : y + piece.shape[0], x : x + piece.shape[1]] = piece
    return canvas


def colours() -> np.ndarray:
    """Four quarters: red, green, blue, white, BGR, 64 wide and 48 high."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = (0, 0, 255), (0, 255, 0), (255, 0, 0), 255
    return image


def dog() -> np.ndarray:
    """A drawn dog's head, from the front, BGR."""
    image = np.full((480, 480, 3), (190, 210, 200), np.uint8)
    fur, dark = (60, 110, 160), (30, 50, 80)
    cv2.ellipse(image, (240, 240), (140, 150), 0, 0, 360, fur, -1)
    for side in (-1, 1):
        cv2.ellipse(image, (240 + side * 140, 190), (45, 120), side * -20, 0, 360, dark, -1)
        cv2.circle(image, (240 + side * 55, 200), 22, (20, 20, 20), -1)
        cv2.circle(image, (240 + side * 55 - 6, 193), 6, (255, 255, 255), -1)
    cv2.ellipse(image, (240, 310), (80, 70), 0, 0, 360, (150, 190, 220), -1)
    cv2.ellipse(image, (240, 280), (32, 22), 0, 0, 360, (15, 15, 15), -1)
    cv2.line(image, (240, 300), (240, 335), (15, 15, 15), 4)
    cv2.ellipse(image, (240, 330), (45, 22), 0, 0, 180, (15, 15, 15), 4)
    cv2.ellipse(image, (240, 365), (18, 26), 0, 0, 360, (120, 110, 230), -1)
    noise = np.random.default_rng(0).normal(0, 9, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.5) + noise, 0, 255).astype(np.uint8)


def cat() -> np.ndarray:
    """A drawn cat's head, from the front, BGR."""
    image = np.full((480, 480, 3), (120, 140, 110), np.uint8)
    fur = (90, 120, 150)
    cv2.ellipse(image, (240, 260), (150, 130), 0, 0, 360, fur, -1)
    for side in (-1, 1):
        ear = np.array([(240 + side * 140, 80), (240 + side * 145, 240), (240 + side * 40, 150)])
        cv2.fillPoly(image, [ear], fur)
        cv2.ellipse(image, (240 + side * 62, 240), (36, 28), 0, 0, 360, (60, 200, 190), -1)
        cv2.ellipse(image, (240 + side * 62, 240), (9, 26), 0, 0, 360, (10, 10, 10), -1)
        for i in range(3):
            cv2.line(image, (240 + side * 40, 315 + 8 * i), (240 + side * 170, 295 + 22 * i), (230, 230, 230), 2)
    cv2.fillPoly(image, [np.array([(222, 285), (258, 285), (240, 308)])], (110, 110, 200))
    cv2.ellipse(image, (220, 315), (20, 16), 0, 0, 180, (20, 20, 20), 3)
    cv2.ellipse(image, (260, 315), (20, 16), 0, 0, 180, (20, 20, 20), 3)
    noise = np.random.default_rng(1).normal(0, 9, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.5) + noise, 0, 255).astype(np.uint8)


def huge_png(path: Path, width: int, height: int) -> Path:
    """A real, whole, black PNG of any size, made row by row: 20000x20000 is 400 KB."""
    squeeze = zlib.compressobj(6)
    row = bytes(1 + width)
    data = io.BytesIO()
    for _ in range(height):
        data.write(squeeze.compress(row))
    data.write(squeeze.flush())
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", data.getvalue()),
        (b"IEND", b""),
    ]
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(out)
    return path
