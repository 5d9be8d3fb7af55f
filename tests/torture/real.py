"""Real recordings and photos for the real worker, each one of its kind."""

import hashlib
import io
import random
import wave
from pathlib import Path
from typing import Dict, Mapping

import av
import numpy as np

from .box import SAMPLES
from .jobs import Given, until_free


def speech(seconds: float, start_s: float = 1.0) -> np.ndarray:
    """A piece of the sample recording, 16 kHz, 16 bits."""
    with av.open(str(SAMPLES / "speech.flac")) as file:
        resampler = av.AudioResampler("s16", "mono", 16000)
        frames = [f.to_ndarray()[0] for frame in file.decode(audio=0) for f in resampler.resample(frame)]
    whole = np.concatenate(frames)
    return whole[round(start_s * 16000) : round((start_s + seconds) * 16000)]


def wav(samples: np.ndarray) -> bytes:
    """As a file."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.astype("<i2").tobytes())
    return data.getvalue()


class Giver:
    """Puts pairs into the inbox that the real worker can do.

    Args:
        spool: The spool.
        seed: Makes one recording differ from another.
        seconds: How long they are.
    """

    def __init__(self, spool: Path, seed: int, seconds: float = 1.0) -> None:
        self._inbox = spool / "inbox"
        self._staging = spool.parent / "staging"
        self._staging.mkdir(exist_ok=True)
        self._rng = random.Random(seed)
        self._speech = speech(seconds)
        self._photo = (SAMPLES / "portrait.jpg").read_bytes()
        self._marks: Dict[str, str] = {}
        self._n = 0

    def give(self) -> Given:
        """One more."""
        self._n += 1
        mark = f"real {self._n}"
        noise = np.random.default_rng(self._rng.getrandbits(32)).integers(-3, 4, len(self._speech))
        recording = wav(np.clip(self._speech + noise, -32768, 32767))
        photo = self._photo + mark.encode()  # data after the end of a JPEG is not read
        self._marks[hashlib.sha256(recording).hexdigest()] = mark
        for suffix, content in ((".jpg", photo), (".wav", recording)):
            made = self._staging / f"{mark}{suffix}"
            made.write_bytes(content)
            until_free(lambda m=made: m.rename(self._inbox / m.name))
        return Given(mark, "pair", (recording, photo))

    def mark_of(self, report: Mapping[str, object], video: bytes) -> str:
        """For `jobs.audit`."""
        check_whole(video)
        return self._marks[report["inputs"]["speech"]["sha256"]]  # type: ignore[index]


def check_whole(video: bytes) -> None:
    """Check that a video has all its declared pictures, and its sound.

    Raises:
        ValueError: If not.
    """
    try:
        with av.open(io.BytesIO(video)) as file:
            n_said, n_heard = file.streams.video[0].frames, 0
            n_seen = sum(1 for _ in file.decode(video=0))
            file.seek(0)
            n_heard = sum(frame.samples for frame in file.decode(audio=0))
    except (av.error.FFmpegError, IndexError) as e:
        raise ValueError(f"no video: {e}") from e
    if n_seen != n_said or not n_seen or not n_heard:
        raise ValueError(f"{n_seen} pictures of {n_said}, {n_heard} samples of sound")
