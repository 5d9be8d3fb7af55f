"""Frames and sound become an MP4 that is whole, labelled and on the disk, or is not there.

mp4.py writes the file and looks it over; h264.py opens the encoder that the settings name; trial.py tries it.
"""

from .mp4 import write_video
from .trial import try_encoder

__all__ = ["try_encoder", "write_video"]
