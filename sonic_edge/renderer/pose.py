"""Poses: what the renderer is asked for, held within what a photo can bear."""

import math
from typing import Dict, Mapping

from ..media import CHANNELS


def held(pose: Mapping[str, float]) -> Dict[str, float]:
    """Every channel of a pose, within its limits; channels that are missing rest at 0.

    Raises:
        ValueError: A channel is not a number, or is unknown.
    """
    unknown = sorted(set(pose) - set(CHANNELS))
    if unknown:
        raise ValueError(f"pose channel {unknown[0]!r} is unknown; the renderer has {', '.join(CHANNELS)}")
    values = {}
    for name, (low, high) in CHANNELS.items():
        value = float(pose.get(name, 0.0))
        if math.isnan(value):
            raise ValueError(f"pose channel {name} is nan; a number is needed")
        values[name] = min(max(value, low), high)
    return values
