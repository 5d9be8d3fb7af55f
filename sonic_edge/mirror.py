"""The portrait speaks while a person does: sound in, poses and pictures out, each with the moment it belongs to."""

import time
from dataclasses import dataclass
from typing import List, Mapping

import numpy as np

from .config import Controls
from .label import Label
from .media import QUIET, Heard, Image, Portrait
from .mel import MelStream
from .motion import MotionShaper
from .renderer import Renderer
from .sonic import SonicNet, face_image
from .stream import SonicStream

BEHIND_S = 0.4
"""Sound that waited this long is not worth thinking about any more: what is newer is."""


@dataclass(frozen=True)
class Cue:
    """A picture to be made. All moments are of `time.monotonic`, seconds."""

    at_s: float
    """When the sound it belongs to was at the microphone."""
    needed_s: float
    """When the last sound it depends on was at the microphone."""
    heard_s: float
    """When that sound had come to us."""
    made_s: float
    """When its pose was known."""
    pose: Mapping[str, float]


class Mirror:
    """Sound that arrives becomes cues. Memory does not grow; nothing of a person stays when it is dropped.

    Args:
        net: The model.
        portrait: Who speaks.
        label: The visible mark, made for the portrait's size.
        controls: inference_steps, seed, dynamic_scale, motion_scale and smooth are used.
    """

    def __init__(self, net: SonicNet, portrait: Portrait, label: Label, controls: Controls) -> None:
        self._spec = net.bundle.spec
        self._mel_settings = net.bundle.mel
        self._mel = MelStream(self._mel_settings)
        self._stream = SonicStream(net, face_image(portrait, net.bundle), controls.inference_steps, controls.seed)
        self._shaper = MotionShaper(net.bundle.spec.closure, controls)
        self._renderer = Renderer(portrait)
        self._label = label
        self._n_heard = 0  # samples given to the model
        self.fps = net.bundle.spec.window.fps
        """Frames a second: the model's own rate."""
        self.lead_s = controls.align_offset - net.bundle.spec.lips.lead_s
        """How much more the lips are to lead the sound than the model's do, seconds: the sound waits that long."""
        height, width = portrait.image.shape[:2]
        self.size = (width, height)
        """Of the pictures, pixels."""
        self.n_skipped_s = 0.0
        """Sound that was not thought about, because it came too late, seconds."""
        self.level = 0.0
        """Peak of the last sound, 0..1."""
        self.spoken_s = time.monotonic()
        """When somebody last spoke."""

    def hear(self, heard: Heard) -> List[Cue]:
        """Take sound.

        Args:
            heard: What the microphone gave, going on from the last.

        Returns:
            Cues of the frames that are known now, in order.

        Raises:
            DeviceError: If the backend fails.
        """
        arrived = time.monotonic()
        rate = self._mel_settings.sample_rate
        self.level = float(np.max(np.abs(heard.samples), initial=0.0))
        if arrived - heard.at_s > BEHIND_S:
            self.n_skipped_s += len(heard.samples) / rate
            return []
        raw = self._stream.push(self._mel.push(heard.samples))
        self._n_heard += len(heard.samples)
        motion = self._shaper.push(raw)
        made = time.monotonic()
        if any(row[QUIET] < 0.5 for row in map(raw.frame, range(len(raw)))):
            self.spoken_s = made
        # frame i is at start_s + i / fps of the sound given; its last sample was at the microphone at at_s
        behind = self._n_heard / rate - motion.start_s
        cues = []
        for i in range(len(motion)):
            at = heard.at_s - (behind - i / motion.fps)
            cues.append(Cue(at, min(at + self.look_ahead_s, heard.at_s), arrived, made, motion.frame(i)))
        return cues

    @property
    def look_ahead_s(self) -> float:
        """How much sound after its moment a frame depends on: the model's look-ahead and half a mel window."""
        s, frames = self._mel_settings, self._spec.stream.look_ahead_frames + 1
        return frames / self.fps - self._spec.window.offset_s + (s.n_fft / 2 - s.hop) / s.sample_rate

    def draw(self, pose: Mapping[str, float]) -> Image:
        """The labelled picture of a pose, BGR, a fresh array."""
        image = self._renderer.frame(pose)
        self._label.draw(image)
        return image
