"""The portrait speaks while a person does: sound in, poses and pictures out, each with the moment it belongs to."""

import time
from dataclasses import dataclass
from typing import List

import numpy as np

from ..config import Controls
from ..media import Heard, Image, Portrait
from .label import Label
from .performer import Performer, Pose

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
    pose: Pose


class Mirror:
    """Sound that arrives becomes cues. Memory does not grow; nothing of a person stays when it is dropped.

    Args:
        performer: The model.
        portrait: Who speaks.
        label: The visible mark, made for the portrait's size.
        controls: What the model does not ignore is used, but for those of the whole video.
    """

    def __init__(self, performer: Performer, portrait: Portrait, label: Label, controls: Controls) -> None:
        self._live = performer.live(portrait, controls)
        self._rate = performer.bundle.mel.sample_rate
        self._label = label
        self._n_heard = 0  # samples given to the model
        self.fps = self._live.fps
        """Frames a second: the model's own rate."""
        self.lead_s = controls.align_offset - self._live.lead_s
        """How much more the lips are to lead the sound than the model's do, seconds: the sound waits that long."""
        self.look_ahead_s = self._live.look_ahead_s
        """How much sound after its moment a frame depends on."""
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
        self.level = float(np.max(np.abs(heard.samples), initial=0.0))
        if arrived - heard.at_s > BEHIND_S:
            self.n_skipped_s += len(heard.samples) / self._rate
            return []
        played = self._live.push(heard.samples)
        self._n_heard += len(heard.samples)
        made = time.monotonic()
        if played.is_spoken:
            self.spoken_s = made
        # pose i is at begins_s + i / fps of the sound given; its last sample was at the microphone at at_s
        behind = self._n_heard / self._rate - played.begins_s
        cues = []
        for i, pose in enumerate(played.poses):
            at = heard.at_s - (behind - i / self.fps)
            cues.append(Cue(at, min(at + self.look_ahead_s, heard.at_s), arrived, made, pose))
        return cues

    def draw(self, pose: Pose) -> Image:
        """The labelled picture of a pose, BGR, a fresh array."""
        image = self._live.draw(pose)
        self._label.draw(image)
        return image
