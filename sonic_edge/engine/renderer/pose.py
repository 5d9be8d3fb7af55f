"""Poses, limited to what a warped photo can take."""

import math
from typing import Dict, Mapping

from ...media import CHANNELS

MOST_SHIFT = math.hypot(CHANNELS["tx"][1], CHANNELS["ty"][1])
"""Largest shift of the head across the picture, interoculars."""


def clamped(pose: Mapping[str, float]) -> Dict[str, float]:
    """A pose with all channels, clamped to their limits; missing channels are 0.

    Raises:
        ValueError: A channel is unknown or NaN.
    """
    unknown = sorted(set(pose) - set(CHANNELS))
    if unknown:
        raise ValueError(f"pose channel {unknown[0]!r} is unknown; the renderer has {', '.join(CHANNELS)}")
    values = {}
    for name, (low, high) in CHANNELS.items():
        value = float(pose.get(name, 0.0))
        if not low <= value <= high:  # rare
            if math.isnan(value):
                raise ValueError(f"pose channel {name} is nan; a number is needed")
            value = min(max(value, low), high)
        values[name] = value
    # Roll and shift may not both reach their limits at once: the neck would be torn.
    roll, shift = values["roll"] / CHANNELS["roll"][1], math.hypot(values["tx"], values["ty"]) / MOST_SHIFT
    together = max(1.0, abs(roll) + shift)
    for name in ("roll", "tx", "ty"):
        values[name] /= together
    return values
