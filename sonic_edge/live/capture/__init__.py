"""Microphone, loudspeaker and camera: `microphone` records, `speaker` plays that sound later, `camera` takes a photo.

`portaudio`, `clock` and `resample` serve the first two: devices come and go, and closing one that is gone may hang.
`delay`, the delay line between the two, needs no device.
"""

from .camera import cameras, snapshot
from .delay import DelayLine
from .microphone import Microphone, input_devices
from .speaker import Speaker, output_devices

__all__ = ["DelayLine", "Microphone", "Speaker", "cameras", "input_devices", "output_devices", "snapshot"]
