"""The interface to a loaded model of either kind: speaking in a video, speaking live, and idling in silence."""

from .base import LivePerformance, LivePoses, Performance, Performer, Pose

__all__ = ["LivePerformance", "LivePoses", "Performance", "Performer", "Pose"]
