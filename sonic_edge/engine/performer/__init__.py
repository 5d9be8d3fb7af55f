"""What the product needs of a loaded model, of either kind: to speak in a video, live, and to be alive in silence."""

from .base import Live, Performance, Performer, Played, Pose

__all__ = ["Live", "Performance", "Performer", "Played", "Pose"]
