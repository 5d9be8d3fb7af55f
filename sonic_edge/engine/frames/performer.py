"""Bundles of kind frames: the model paints the face of every moment, and it is pasted back into the photo."""

from itertools import repeat
from typing import Iterator

import numpy as np

from ...config import Controls
from ...media import FloatArray, Image, Portrait, Speech
from ...model.backends.base import Session
from ...model.bundle import Bundle
from ...model.mel import VAD_MEL, MelStream, SpeechTracker
from ..motion.idle import LENGTH_S
from ..performer.base import Played, Tell
from ..sheet import Seen
from .network import Painter, PainterStream
from .paste import Paste


class FramesPerformer:
    """See `base.Performer`.

    Args:
        bundle: What the model says of itself.
        painter: Its stage of this name.
    """

    ignores = frozenset({"inference_steps", "dynamic_scale", "motion_scale", "smooth", "seed"})

    def __init__(self, bundle: Bundle, painter: Session) -> None:
        self.bundle = bundle
        self._painter = Painter(bundle, painter)
        self.window_s = 1 / bundle.frames.window.fps

    def warm_up(self) -> None:
        """See `base.Performer`."""
        self._painter.warm_up()

    def perform(self, portrait: Portrait, speech: Speech, controls: Controls, n_frames: int, tell: Tell) -> "Painted":
        """See `base.Performer`. Nothing is painted before `Painted.frames` is asked for it."""
        paste = self._paste(portrait)
        # the model's lips lead the sound as those it has learnt from; the control says by how much
        heard = np.arange(n_frames) / controls.fps + controls.align_offset - self.bundle.frames.window.lead_s
        tell(1, 1)
        return Painted(portrait, paste, self._painter.pictures(speech, paste.crop, heard), n_frames, controls.fps)

    def idle(self, portrait: Portrait, controls: Controls, tell: Tell) -> "Painted":
        """See `base.Performer`: the face of somebody who says nothing, and does not move."""
        paste, n_frames = self._paste(portrait), round(LENGTH_S * controls.fps)
        silent = self._painter.silent(paste.crop)
        tell(1, 1)
        return Painted(portrait, paste, repeat(silent, n_frames), n_frames, controls.fps)

    def live(self, portrait: Portrait, controls: Controls) -> "PaintedLive":
        """See `base.Performer`."""
        return PaintedLive(self._painter, self._paste(portrait))

    def _paste(self, portrait: Portrait) -> Paste:
        return Paste(portrait, self.bundle.frames.crop, self.bundle.frames.paste)


class Painted:
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
        return map(self._paste.onto, self._pictures)

    def chooser(self, level: FloatArray, rate: float) -> Seen:
        """See `base.Performance`: nothing is known of the frames before they are seen."""
        return Seen(self._portrait, self._n_frames, self._fps, level, rate)


class PaintedLive:
    """See `base.Live`; a pose is the painted face, [size, size, 3]."""

    def __init__(self, painter: Painter, paste: Paste) -> None:
        window = painter.spec.window
        self._mel = MelStream(painter.bundle.mel)
        self._stream = PainterStream(painter, paste.crop)
        self._ears = MelStream(VAD_MEL)  # the model's own mel need not tell speech from silence
        self._tracker = SpeechTracker(VAD_MEL, np.zeros(VAD_MEL.n_mels, np.float32))
        self._paste = paste
        self.fps = window.fps
        self.lead_s = window.lead_s
        self.look_ahead_s = self._stream.look_ahead_s

    def push(self, samples: FloatArray) -> Played:
        """See `base.Live`."""
        begins_s, pictures = self._stream.push(self._mel.push(samples))
        silent = self._tracker.push(self._ears.push(samples))
        return Played(begins_s, pictures, not bool(silent.all()))

    def draw(self, pose: FloatArray) -> Image:
        """See `base.Live`."""
        return self._paste.onto(pose)
