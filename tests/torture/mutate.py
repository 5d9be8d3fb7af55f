"""Real recordings and photos in every format, and damaged by bad sticks, bad transfers or attackers."""

import io
import random
import struct
import zlib
from fractions import Fraction
from typing import Callable, Dict, List, Tuple

import av
import numpy as np
from PIL import Image

from . import real
from .box import SAMPLES

_CODECS = {
    "wav": ("pcm_s16le", "wav", 16000),
    "mp3": ("libmp3lame", "mp3", 16000),
    "m4a": ("aac", "mp4", 16000),
    "aac": ("aac", "adts", 16000),
    "ogg": ("libvorbis", "ogg", 16000),
    "opus": ("libopus", "ogg", 48000),
    "flac": ("flac", "flac", 16000),
    "mka": ("flac", "matroska", 16000),
    "webm": ("libopus", "webm", 48000),
    "amr": ("libopencore_amrnb", "amr", 8000),
    "aiff": ("pcm_s16be", "aiff", 16000),
    "mp4": ("aac", "mp4", 16000),  # a film
}


def recordings(seconds: float) -> Dict[str, bytes]:
    """The sample's speech as each kind of file this machine's FFmpeg can write, by suffix."""
    made = {}
    for suffix, (codec, container, rate) in _CODECS.items():
        try:
            made[suffix] = _encoded(real.speech(seconds), codec, container, rate, suffix == "mp4")
        except (av.error.FFmpegError, ValueError):  # a codec that is not built in
            continue
    return made


def photos() -> Dict[str, bytes]:
    """The sample portrait, small, as each kind of file, by suffix."""
    image = Image.open(SAMPLES / "portrait.jpg")
    image.thumbnail((320, 320))
    made = {}
    for suffix, kind in {
        "jpg": "JPEG",
        "png": "PNG",
        "webp": "WEBP",
        "gif": "GIF",
        "bmp": "BMP",
        "tif": "TIFF",
    }.items():
        data = io.BytesIO()
        image.save(data, kind)
        made[suffix] = data.getvalue()
    return made


def _encoded(samples: np.ndarray, codec: str, container: str, rate: int, has_picture: bool) -> bytes:
    data = io.BytesIO()
    with av.open(data, "w", format=container) as file:
        film = file.add_stream("libx264", rate=10) if has_picture else None
        sound = file.add_stream(codec, rate=rate)
        sound.codec_context.layout = "mono"
        if film is not None:
            film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
            for i in range(10 * len(samples) // 16000):
                picture = av.VideoFrame.from_ndarray(np.full((96, 64), 60 + i, np.uint8), format="yuv420p")
                picture.pts, picture.time_base = i, Fraction(1, 10)
                file.mux(film.encode(picture))
            file.mux(film.encode(None))
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        size = sound.codec_context.frame_size or 1024
        fit = av.AudioResampler(sound.codec_context.format, "mono", rate, frame_size=size)
        for piece in (*fit.resample(frame), *fit.resample(None)):
            file.mux(sound.encode(piece))
        file.mux(sound.encode(None))
    return data.getvalue()


# ---- damage done to them ------------------------------------------------------------------------------------------


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 10, 100))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_in_head(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 5))):
        data[rng.randrange(min(128, len(data)))] ^= 1 << rng.randrange(8)


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.choice((rng.randrange(len(data)), rng.randrange(min(64, len(data))), len(data) - 1)) :]


def _cut_head(data: bytearray, rng: random.Random) -> None:
    del data[: rng.randrange(1, min(1000, len(data)))]


def _shuffle(data: bytearray, rng: random.Random) -> None:
    size = max(1, len(data) // rng.choice((4, 16, 64)))
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    rng.shuffle(pieces)
    data[:] = b"".join(pieces)


def _shuffle_tail(data: bytearray, rng: random.Random) -> None:
    tail = data[64:]
    _shuffle(tail, rng)
    data[64:] = tail


def _zeros(data: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(data)), rng.choice((4, 64, 512, 4096))
    data[start : start + size] = bytes(len(data[start : start + size]))


def _huge_numbers(data: bytearray, rng: random.Random) -> None:
    """Sizes, rates and lengths in heads are two and four byte numbers: make some of them absurd."""
    for _ in range(rng.choice((1, 2, 4))):
        form = rng.choice(("<I", ">I", "<H", ">H"))
        number = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 30000, 1_000_000_000))
        at = rng.randrange(min(200, max(1, len(data) - 4)))
        packed = struct.pack(form, number & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))
        data[at : at + len(packed)] = packed


def _repeat(data: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(data)), rng.choice((16, 256, 4096))
    data[start:start] = data[start : start + size] * rng.choice((2, 50))


def _append(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.choice((1, 1000, 100_000)))


def _noise(data: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(data)), rng.choice((16, 256, 4096))
    data[start : start + size] = rng.randbytes(len(data[start : start + size]))


MUTATIONS: Tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits,
    _flip_in_head,
    _truncate,
    _cut_head,
    _shuffle,
    _shuffle_tail,
    _zeros,
    _huge_numbers,
    _huge_numbers,
    _repeat,
    _append,
    _noise,
)


def mutated(data: bytes, others: List[bytes], rng: random.Random) -> Tuple[bytes, str]:
    """A broken file and how it was broken."""
    if rng.random() < 0.08:  # two files in one
        other = rng.choice(others)
        return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :], "splice"
    broken, names = bytearray(data), []
    for _ in range(rng.choice((1, 1, 2, 3))):
        if len(broken) > 8:
            mutation = rng.choice(MUTATIONS)
            mutation(broken, rng)
            names.append(mutation.__name__.strip("_"))
    if rng.random() < 0.7:
        mended = _mend_ogg(_mend_png(bytes(broken)))
        return mended, "+".join(names) + (", mended" if mended != broken else "")
    return bytes(broken), "+".join(names)


# ---- checksums corrected, so that the damage is not rejected at once ----------------------------------------------


def _mend_png(data: bytes) -> bytes:
    if not data.startswith(b"\x89PNG"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended):
        end = at + 8 + int.from_bytes(mended[at : at + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = zlib.crc32(mended[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended)


def _mend_ogg(data: bytes) -> bytes:
    if not data.startswith(b"OggS"):
        return data
    mended, at = bytearray(data), 0
    while at + 27 <= len(mended) and mended[at : at + 4] == b"OggS":
        head = at + 27 + mended[at + 26]
        end = head + sum(mended[at + 27 : head])
        mended[at + 22 : at + 26] = bytes(4)
        mended[at + 22 : at + 26] = _ogg_sum(mended[at:end]).to_bytes(4, "little")
        at = end
    return bytes(mended)


def _ogg_sum(page: bytes) -> int:
    """RFC 3533: CRC-32 of polynomial 0x04c11db7, not reflected, from 0."""
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1 ^ (0x104C11DB7 if total & 0x80000000 else 0)) & 0xFFFFFFFF
    return total
