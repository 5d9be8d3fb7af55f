"""Runs the network of a frames bundle: a mel window and the aligned face in, the face at that time out.

Every picture is painted independently: the same sound always gives the same picture, and only the current window of
sound is kept.
"""

from typing import Iterator, List, Tuple

import numpy as np
from numpy.typing import NDArray

from ...media import FloatArray, Image, Speech
from ...model.backends.base import Session
from ...model.bundle import Bundle
from ...model.mel import SILENT_LEVEL, AnyFloatArray, SpeechTracker, cut, loud_level, loudness, normalise, speech_mean


class Painter:
    """The model's one graph.

    Args:
        bundle: The model's bundle.
        session: Session of its stage `painter`.
    """

    def __init__(self, bundle: Bundle, session: Session) -> None:
        self.bundle = bundle
        self.spec = bundle.frames
        self._session = session

    def warm_up(self) -> None:
        """Run the graph once on silence and a grey face.

        Raises:
            DeviceError: If the backend fails.
        """
        self.silent(np.full((self.spec.crop.size, self.spec.crop.size, 3), 128, np.uint8))

    def given(self, crop: Image) -> FloatArray:
        """The model's face input, [1, 3 or 6, size, size], from a crop [size, size, 3]."""
        picture = self.spec.picture
        rows = round(picture.blank_from * len(crop))
        low, high = picture.range
        stacked: List[NDArray[np.float32]] = []
        for kind in picture.given:
            pixels = crop.astype(np.float32)
            if kind == "blanked":
                pixels[rows:] = 0
            if picture.channels == "rgb":
                pixels = pixels[:, :, ::-1]
            stacked.append(pixels.transpose(2, 0, 1))
        out: FloatArray = np.concatenate(stacked)[None] * np.float32((high - low) / 255) + np.float32(low)
        return out

    def paint(self, heard: FloatArray, given: FloatArray) -> FloatArray:
        """Paint one picture.

        Args:
            heard: A window of normalised mel, [n_mels, mel_frames].
            given: The face input, from `given`.

        Returns:
            [size, size, 3], BGR, 0..255.

        Raises:
            DeviceError: If the backend fails.
        """
        names, picture = self.spec.tensors, self.spec.picture
        speech: FloatArray = np.ascontiguousarray(heard[None, None], np.float32)
        made = self._session.run({names.speech: speech, names.face: given})[names.picture][0].transpose(1, 2, 0)
        low, high = picture.range
        pixels = (made[:, :, ::-1] if picture.channels == "rgb" else made) - np.float32(low)
        out: FloatArray = np.clip(pixels * np.float32(255 / (high - low)), 0, 255)
        return out

    def pictures(self, speech: Speech, crop: Image, moments: NDArray[np.float64]) -> Iterator[FloatArray]:
        """The pictures for a recording, painted lazily.

        Args:
            speech: The recording.
            crop: The face, [size, size, 3].
            moments: Time of each picture in the recording, seconds; outside the recording there is silence.

        Raises:
            DeviceError: If the backend fails.
        """
        settings, given = self.bundle.mel, self.given(crop)
        mean = self.tracker().mean
        if settings.normalise == "speech" and loud_level(loudness(speech.mel)) > SILENT_LEVEL:
            mean = speech_mean(speech.mel, settings)
        for moment in moments.tolist():
            yield self.paint(normalise(self.window(speech.mel, self.first(moment)), mean, settings), given)

    def silent(self, crop: Image) -> FloatArray:
        """The picture for silence.

        Raises:
            DeviceError: If the backend fails.
        """
        silence = self.window(np.zeros((self.bundle.mel.n_mels, 0), np.float32), 0)
        return self.paint(normalise(silence, self.tracker().mean, self.bundle.mel), self.given(crop))

    def first(self, moment: float) -> int:
        """The first mel frame of the window for a time in seconds; negative before the recording."""
        return int(np.floor((moment + self.spec.window.start_s) * self.bundle.mel.frames_per_s + 0.5))

    def tracker(self) -> SpeechTracker:
        """A new tracker, before any speech."""
        n_mels, prior = self.bundle.mel.n_mels, self.spec.stream.prior
        return SpeechTracker(self.bundle.mel, np.array(prior or [0.0] * n_mels, np.float32))

    def window(self, mel: AnyFloatArray, first: int) -> FloatArray:
        """Mel frames from `first` on, [n_mels, mel_frames]; padded with silence."""
        return cut(mel, first, self.spec.window.mel_frames, self.bundle.mel)


class PainterStream:
    """Paints pictures for speech that is still arriving. Memory does not grow.

    Args:
        painter: The model.
        crop: The face, [size, size, 3].
    """

    def __init__(self, painter: Painter, crop: Image) -> None:
        self._painter = painter
        self._given = painter.given(crop)
        self._settings = settings = painter.bundle.mel
        self._tracker = painter.tracker()
        self._mel: FloatArray = np.zeros((settings.n_mels, 0), np.float32)
        self._start = 0  # number of the first mel frame that is kept
        self._next = 0  # number of the next picture

    @property
    def look_ahead_s(self) -> float:
        """How much later sound a picture waits for, seconds."""
        window, rate = self._painter.spec.window, self._settings.frames_per_s
        after_s = min(window.start_s + (window.mel_frames - 1) / rate, self._painter.spec.stream.look_ahead_s)
        return after_s + self._settings.n_fft / 2 / self._settings.sample_rate

    def push(self, mel: FloatArray) -> Tuple[float, List[FloatArray]]:
        """Process the next mel frames.

        Args:
            mel: [n_mels, n] log10 power, not normalised, continuing from the previous call; any n.

        Returns:
            The time of the first picture, seconds since the first sound; the pictures that can be painted now (often
            none), as from `Painter.paint`.

        Raises:
            DeviceError: If the backend fails.
        """
        if self._settings.normalise == "speech":
            self._tracker.push(mel)
        self._mel = np.concatenate([self._mel, mel], axis=1)
        window, fps, rate = self._painter.spec.window, self._painter.spec.window.fps, self._settings.frames_per_s
        begins_s, pictures = self._next / fps, []
        while True:
            moment = self._next / fps
            first = self._painter.first(moment)
            # up to the window's end, or as far as the look-ahead allows
            needed = min(
                first + window.mel_frames,
                int(np.floor((moment + self._painter.spec.stream.look_ahead_s) * rate + 0.5)) + 1,
            )
            if self._start + self._mel.shape[1] < needed:
                break
            heard = self._painter.window(self._mel[:, : max(0, needed - self._start)], first - self._start)
            pictures.append(self._painter.paint(normalise(heard, self._tracker.mean, self._settings), self._given))
            self._next += 1
        n_old = max(0, min(self._painter.first(self._next / fps) - self._start, self._mel.shape[1]))
        self._mel = self._mel[:, n_old:].copy()
        self._start += n_old
        return begins_s, pictures
