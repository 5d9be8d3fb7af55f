"""Turns a spoken passage, from its first word to the silence after its last, into a job in the inbox."""

import contextlib
import io
import wave
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import Deque, Dict, List, Optional, Union

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config import LiveSettings
from ..errors import DeviceError, RequestError
from ..media import FloatArray, Image
from ..model.mel import VAD_MEL, MelStream, SpeechTracker
from ..spool.submit import Source, submit

PRE_ROLL_S = 0.4
"""Kept before the first word and after the last, seconds: breath, and consonants too soft to tell from silence."""
ONSET_S = 0.12, 0.3
"""This much speech within this time, both in seconds, is somebody speaking, not a door or a click."""
PATIENCE_S = 15.0
"""If nobody says anything for this long after `talk start`, the recording ends empty, seconds."""


class Passage:
    """Records one spoken passage.

    Args:
        settings: Of them, pause_s, longest_s and trigger are used.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._rate = VAD_MEL.sample_rate
        self._hop = VAD_MEL.hop
        self._mel = MelStream(VAD_MEL)
        self._tracker = SpeechTracker(VAD_MEL, np.zeros(VAD_MEL.n_mels, np.float32))  # its mean is not used here
        self._recent: Deque[bool] = deque(maxlen=round(ONSET_S[1] * VAD_MEL.frames_per_s))
        self._kept: List[NDArray[np.int16]] = []
        self._n_kept = 0
        self._n_waited = 0
        self._n_silent = 0  # mel frames since the last speech
        self.is_speaking = False
        """Whether the passage has begun."""
        self.is_over = False
        """Whether it has ended by itself: by silence, by its length, or because nobody spoke."""
        self.level = 0.0
        """Peak of the last block of sound, 0..1."""

    def push(self, samples: FloatArray) -> None:
        """Add sound, [n] mono -1..1; then see `is_over`."""
        self.level = float(np.max(np.abs(samples), initial=0.0))
        self._kept.append(np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16))
        self._n_kept += len(samples)
        for silent in self._tracker.push(self._mel.push(samples)).tolist():
            self._recent.append(not silent)
            self._n_silent = self._n_silent + 1 if silent else 0
        frames_per_s = self._rate / self._hop
        if not self.is_speaking:
            self.is_speaking = sum(self._recent) >= ONSET_S[0] * frames_per_s
            self._n_waited += len(samples)
            if not self.is_speaking:
                self._trim()
                by_command = self._settings.trigger == "command"
                self.is_over = by_command and self._n_waited > PATIENCE_S * self._rate
        else:
            self.is_over = (
                self._n_silent >= self._settings.pause_s * frames_per_s
                or self._n_kept >= self._settings.longest_s * self._rate
            )

    def take(self) -> Optional[NDArray[np.int16]]:
        """The speech, [n], without the silence after it; None if nobody spoke."""
        if not self.is_speaking:
            return None
        speech = np.concatenate(self._kept)
        end = len(speech) - self._n_silent * self._hop + round(PRE_ROLL_S * self._rate)
        return speech[: min(end, round(self._settings.longest_s * self._rate))]

    def _trim(self) -> None:
        """Drop sound that is too old to belong to speech that begins now."""
        kept = round((PRE_ROLL_S + ONSET_S[1]) * self._rate)
        while self._kept and self._n_kept - len(self._kept[0]) >= kept:
            self._n_kept -= len(self._kept.pop(0))


def put_job(root: Path, speech: NDArray[np.int16], sample_rate: int, face: Union[Image, Path]) -> str:
    """Put a passage into the inbox, all of it or nothing.

    Args:
        root: The spool.
        speech: The speech, [n], mono.
        sample_rate: Hz.
        face: The snapshot, or the configured photo.

    Returns:
        The job's name.

    Raises:
        DeviceError: If the photo cannot be read, or the job cannot be written.
    """
    spoken = io.BytesIO()
    with wave.open(spoken, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(speech.tobytes())
    with contextlib.ExitStack() as opened:
        files: Dict[str, Source] = {"speech.wav": spoken.getvalue()}
        if isinstance(face, Path):
            try:
                files[f"portrait{face.suffix}"] = opened.enter_context(face.open("rb"))
            except OSError as e:
                raise DeviceError(f"{face}: the photo cannot be read: {e.strerror}") from e
        else:
            is_encoded, data = cv2.imencode(".png", face)
            if not is_encoded:
                raise DeviceError("the snapshot cannot be encoded as PNG")
            files["portrait.png"] = data.tobytes()
        try:
            return submit(root, datetime.now().strftime("talk-%Y%m%d-%H%M%S-%f")[:-3], files, is_private=True)
        except RequestError as e:  # not a mistake in a request: the box itself is not set up right
            raise DeviceError(str(e)) from e
