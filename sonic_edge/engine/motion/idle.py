"""Motion for the idle scene: the portrait breathes, blinks and looks about while nobody speaks, in a seamless loop."""

from pathlib import Path
from typing import Callable

import numpy as np

from ...config import Controls
from ...media import FloatArray, Motion, Speech
from .network import SonicNet
from .shape import shape_motion

LENGTH_S = 24.0
"""Length of the loop, seconds: long enough that the repetition goes unnoticed."""
_OVERLAP_S = 2.0
_BREATH_S = 4.0
"""A calm breath, seconds; the loop has a whole number of them."""
_BREATH_PITCH, _BREATH_TY = 0.006, -0.006
"""How far the head follows the breathing, radians and interoculars: noticed only when it is missing."""


def idle_motion(net: SonicNet, face: FloatArray, controls: Controls, progress: Callable[[int, int], None]) -> Motion:
    """Motion of breathing, blinking and looking about, with the lips shut.

    Args:
        net: The model.
        face: The face, from `face_image`, [1, 3, size, size].
        controls: As for a video.
        progress: Called with (windows done, total windows).

    Returns:
        `LENGTH_S` seconds at controls.fps; the first frame continues from the last.

    Raises:
        DeviceError: If the backend fails.
    """
    settings, fps = net.bundle.mel, controls.fps
    n_loop, n_over = round(LENGTH_S * fps), round(_OVERLAP_S * fps)
    duration_s = (n_loop + n_over) / fps
    silence = np.full((settings.n_mels, int(duration_s * settings.frames_per_s) + 1), np.log10(settings.floor))
    speech = Speech(Path("silence"), duration_s, settings.sample_rate, 1, silence.astype(np.float16))
    raw = net.motion(speech, face, controls.inference_steps, controls.seed, progress)
    shaped = shape_motion(raw, net.bundle.motion.closure, controls, n_loop + n_over, duration_s)
    values = shaped.values[:n_loop].copy()
    # what would follow the end is blended into the beginning
    share = (np.arange(n_over, dtype=np.float32) / n_over)[:, None]
    values[:n_over] = (1 - share) * shaped.values[n_loop:] + share * values[:n_over]
    breath = np.sin(2 * np.pi * np.arange(n_loop) / fps / _BREATH_S).astype(np.float32)
    for name, amplitude in (("pitch", _BREATH_PITCH), ("ty", _BREATH_TY)):
        values[:, shaped.channels.index(name)] += np.float32(amplitude) * breath
    return Motion(shaped.channels, values, shaped.fps)
