"""Ears, voice and eyes: `microphone` hears, `speaker` says it again a little later, `camera` takes a snapshot.

`portaudio` is what the first two share: devices come and go, and closing one that is gone may take for ever.
"""

from .camera import cameras, snapshot
from .microphone import Microphone, input_devices
from .speaker import DelayLine, Speaker, output_devices

__all__ = ["DelayLine", "Microphone", "Speaker", "cameras", "input_devices", "output_devices", "snapshot"]
