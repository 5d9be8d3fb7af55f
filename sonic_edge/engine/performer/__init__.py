"""A loaded model and how it makes a portrait speak: in a video, live, and while nobody says anything.

`base` says what the rest of the product needs of it. The two kinds of bundle each have a way to do it: `motion` moves
the photo, `frames` pastes painted faces into it.
"""

from ..frames.performer import FramesPerformer
from ..motion.performer import MotionPerformer
from .base import Live, Performance, Performer, Played, Pose

__all__ = ["FramesPerformer", "Live", "MotionPerformer", "Performance", "Performer", "Played", "Pose"]
