"""The portrait speaks live with a person: sound in, poses and pictures out, each with the time it belongs to."""

import time
from dataclasses import dataclass
from typing import List

import numpy as np

from ..config import Controls
from ..media import Image, Portrait, SoundBlock
from .label import Label
from .performer import Performer, Pose

MAX_DELAY_S = 0.4
"""Sound that has waited longer than this is skipped, to catch up, seconds."""


@dataclass(frozen=True)
class Cue:
    """A picture to be drawn. All times are `time.monotonic`, seconds."""

    at_s: float
    """When the sound that it belongs to reached the microphone."""
    needed_s: float
    """When the last sound that it depends on reached the microphone."""
    heard_s: float
    """When that sound reached this process."""
    made_s: float
    """When its pose had been computed."""
    pose: Pose


class Mirror:
    """Turns arriving sound into cues. Memory does not grow; nothing about the person is kept when this is dropped.

    Args:
        performer: The model.
        portrait: The face that speaks.
        label: The visible label, for the portrait's size.
        controls: Those that the model does not ignore are used, except those that concern a whole video.
    """

    def __init__(self, performer: Performer, portrait: Portrait, label: Label, controls: Controls) -> None:
        self._live = performer.live(portrait, controls)
        self._rate = performer.bundle.mel.sample_rate
        self._label = label
        self._n_heard = 0  # samples given to the model
        self.fps = self._live.fps
        """Frames a second: the model's own rate."""
        self.lead_s = controls.align_offset - self._live.lead_s
        """How much further than the model's the lips should lead the sound, seconds: the sound is delayed by this."""
        self.look_ahead_s = self._live.look_ahead_s
        """How much later sound a frame depends on, seconds."""
        height, width = portrait.image.shape[:2]
        self.size = (width, height)
        """Width and height of the pictures, pixels."""
        self.n_skipped_s = 0.0
        """Sound skipped because it came too late, seconds."""
        self.level = 0.0
        """Peak of the last sound, 0..1."""
        self.spoken_s = time.monotonic()
        """When somebody last spoke."""

    def hear(self, heard: SoundBlock) -> List[Cue]:
        """Process a block of sound.

        Args:
            heard: The microphone's next block.

        Returns:
            Cues for the frames that can be drawn now, in order.

        Raises:
            DeviceError: If the backend fails.
        """
        arrived = time.monotonic()
        self.level = float(np.max(np.abs(heard.samples), initial=0.0))
        if arrived - heard.at_s > MAX_DELAY_S:
            self.n_skipped_s += len(heard.samples) / self._rate
            return []
        played = self._live.push(heard.samples)
        self._n_heard += len(heard.samples)
        made = time.monotonic()
        if played.is_spoken:
            self.spoken_s = made
        # pose i is at begins_s + i / fps of the sound so far; the last sample reached the microphone at at_s
        behind = self._n_heard / self._rate - played.begins_s
        cues = []
        for i, pose in enumerate(played.poses):
            at = heard.at_s - (behind - i / self.fps)
            cues.append(Cue(at, min(at + self.look_ahead_s, heard.at_s), arrived, made, pose))
        return cues

    def draw(self, pose: Pose) -> Image:
        """The labelled picture of a pose, BGR, a new array."""
        image = self._live.draw(pose)
        self._label.draw(image)
        return image
