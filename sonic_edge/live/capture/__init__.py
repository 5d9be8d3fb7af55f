"""Ears, voice and eyes: `microphone` hears, `speaker` says it again a little later, `camera` takes a snapshot.

`portaudio`, `clock` and `resample` are what the first two share: devices come and go, and closing one that is gone may
take for ever. `delay` needs no device.
"""

from .camera import cameras, snapshot
from .delay import DelayLine
from .microphone import Microphone, input_devices
from .speaker import Speaker, output_devices

__all__ = ["DelayLine", "Microphone", "Speaker", "cameras", "input_devices", "output_devices", "snapshot"]
