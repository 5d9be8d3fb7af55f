"""A loaded model and how it makes a portrait speak: in a video, live, and while nobody says anything.

`base` says what the rest of the product needs of it. The two kinds of bundle each have a way to do it: `motion` moves
the photo, `frames` pastes painted faces into it.
"""

from typing import Callable

from ..backends.base import Session
from ..bundle import Bundle
from ..spec import FramesSpec
from .base import Live, Performance, Performer, Played, Pose
from .frames import FramesPerformer
from .motion import MotionPerformer

__all__ = ["FramesPerformer", "Live", "MotionPerformer", "Performance", "Performer", "Played", "Pose", "open_performer"]


def open_performer(bundle: Bundle, open_stage: Callable[[str], Session]) -> Performer:
    """The performer for a bundle.

    Args:
        bundle: Of either kind.
        open_stage: Opens a stage of it by name; the sessions are the caller's to close.

    Raises:
        ConfigError: If a stage's file is missing or wrong.
        DeviceError: If a stage cannot be opened.
    """
    if isinstance(bundle.spec, FramesSpec):
        return FramesPerformer(bundle, open_stage("painter"))
    return MotionPerformer(bundle, open_stage("encoder"), open_stage("denoiser"))
