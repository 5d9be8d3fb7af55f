"""The performer for bundles of kind frames: the model paints the face for every frame; it is pasted into the photo."""

from itertools import repeat
from typing import Iterator

import numpy as np

from ...config import Controls
from ...media import FloatArray, Image, Portrait, Speech
from ...model.backends.base import Session
from ...model.bundle import Bundle
from ...model.mel import VAD_MEL, MelStream, SpeechTracker
from ..motion.idle import LENGTH_S
from ..performer.base import LivePoses, OnProgress
from ..sheet import PictureChooser
from .network import Painter, PainterStream
from .paste import Paste


class FramesPerformer:
    """See `base.Performer`.

    Args:
        bundle: The model's bundle.
        painter: Session of its stage `painter`.
    """

    ignores = frozenset({"inference_steps", "dynamic_scale", "motion_scale", "smooth", "seed"})

    def __init__(self, bundle: Bundle, painter: Session) -> None:
        self.bundle = bundle
        self._painter = Painter(bundle, painter)
        self.window_s = 1 / bundle.frames.window.fps

    def warm_up(self) -> None:
        """See `base.Performer`."""
        self._painter.warm_up()

    def perform(
        self, portrait: Portrait, speech: Speech, controls: Controls, n_frames: int, progress: OnProgress
    ) -> "FramesPerformance":
        """See `base.Performer`. Pictures are painted lazily, by `FramesPerformance.frames`."""
        paste = self._paste(portrait)
        # the lips lead the sound as in the training data; the control says by how much they should
        heard = np.arange(n_frames) / controls.fps + controls.align_offset - self.bundle.frames.window.lead_s
        progress(1, 1)
        return FramesPerformance(
            portrait, paste, self._painter.pictures(speech, paste.crop, heard), n_frames, controls.fps
        )

    def idle(self, portrait: Portrait, controls: Controls, progress: OnProgress) -> "FramesPerformance":
        """See `base.Performer`: a silent face that does not move."""
        paste, n_frames = self._paste(portrait), round(LENGTH_S * controls.fps)
        silent = self._painter.silent(paste.crop)
        progress(1, 1)
        return FramesPerformance(portrait, paste, repeat(silent, n_frames), n_frames, controls.fps)

    def live(self, portrait: Portrait, controls: Controls) -> "LiveFrames":
        """See `base.Performer`."""
        return LiveFrames(self._painter, self._paste(portrait))

    def _paste(self, portrait: Portrait) -> Paste:
        return Paste(portrait, self.bundle.frames.crop, self.bundle.frames.paste)


class FramesPerformance:
    """A portrait and its painted faces; see `base.Performance`."""

    def __init__(
        self, portrait: Portrait, paste: Paste, pictures: Iterator[FloatArray], n_frames: int, fps: float
    ) -> None:
        self._portrait = portrait
        self._paste = paste
        self._pictures = pictures
        self._n_frames = n_frames
        self._fps = fps

    def __len__(self) -> int:
        return self._n_frames

    def frames(self) -> Iterator[Image]:
        """See `base.Performance`."""
        return map(self._paste.apply, self._pictures)

    def chooser(self, level: FloatArray, rate: float) -> PictureChooser:
        """See `base.Performance`: frames are chosen by their pixels, since no motion is known."""
        return PictureChooser(self._portrait, self._n_frames, self._fps, level, rate)


class LiveFrames:
    """See `base.LivePerformance`; a pose is the painted face, [size, size, 3]."""

    def __init__(self, painter: Painter, paste: Paste) -> None:
        window = painter.spec.window
        self._mel = MelStream(painter.bundle.mel)
        self._stream = PainterStream(painter, paste.crop)
        self._vad_mel = MelStream(VAD_MEL)  # the model's own mel may not suit voice activity detection
        self._tracker = SpeechTracker(VAD_MEL, np.zeros(VAD_MEL.n_mels, np.float32))
        self._paste = paste
        self.fps = window.fps
        self.lead_s = window.lead_s
        self.look_ahead_s = self._stream.look_ahead_s

    def push(self, samples: FloatArray) -> LivePoses:
        """See `base.LivePerformance`."""
        begins_s, pictures = self._stream.push(self._mel.push(samples))
        silent = self._tracker.push(self._vad_mel.push(samples))
        return LivePoses(begins_s, pictures, not bool(silent.all()))

    def draw(self, pose: FloatArray) -> Image:
        """See `base.LivePerformance`."""
        return self._paste.apply(pose)
