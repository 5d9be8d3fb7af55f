"""Writes frames and sound to an MP4, which is published only if it is complete, labelled and safely on the disk.

mp4.py writes and verifies the file; h264.py opens the configured encoder; trial.py tests it.
"""

from .mp4 import write_video
from .trial import try_encoder

__all__ = ["try_encoder", "write_video"]
