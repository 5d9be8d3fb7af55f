"""Poses: what the renderer is asked for, held within what a photo can bear."""

import math
from typing import Dict, Mapping, Tuple

LIMITS: Dict[str, Tuple[float, float]] = {
    "jaw": (0.0, 1.4),
    "width": (-1.2, 1.2),
    "round": (0.0, 1.2),
    "close": (0.0, 1.0),
    "tuck": (0.0, 1.0),
    "blink": (0.0, 1.0),
    "brow": (-1.5, 1.5),
    "gaze_x": (-1.0, 1.0),
    "gaze_y": (-1.0, 1.0),
    "yaw": (-0.4, 0.4),
    "pitch": (-0.3, 0.3),
    "roll": (-0.35, 0.35),
    "tx": (-0.35, 0.35),
    "ty": (-0.35, 0.35),
}
"""Channels of `media.Motion` and the furthest each is followed; a warped photo breaks beyond."""


def held(pose: Mapping[str, float]) -> Dict[str, float]:
    """Every channel of a pose, within its limits; channels that are missing rest at 0.

    Raises:
        ValueError: A channel is not a number, or is unknown.
    """
    unknown = sorted(set(pose) - set(LIMITS))
    if unknown:
        raise ValueError(f"pose channel {unknown[0]!r} is unknown; the renderer has {', '.join(LIMITS)}")
    values = {}
    for name, (low, high) in LIMITS.items():
        value = float(pose.get(name, 0.0))
        if math.isnan(value):
            raise ValueError(f"pose channel {name} is nan; a number is needed")
        values[name] = min(max(value, low), high)
    return values
