"""Poses: what the renderer is asked for, held within what a photo can bear."""

import math
from typing import Dict, Mapping

from ...media import CHANNELS

MOST_SHIFT = math.hypot(CHANNELS["tx"][1], CHANNELS["ty"][1])
"""Furthest that a head is moved across the picture, interoculars."""


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
        if not low <= value <= high:  # seldom
            if math.isnan(value):
                raise ValueError(f"pose channel {name} is nan; a number is needed")
            value = min(max(value, low), high)
        values[name] = value
    # A head may go to the end of its ways, not of all of them at once: the neck would be torn.
    roll, shift = values["roll"] / CHANNELS["roll"][1], math.hypot(values["tx"], values["ty"]) / MOST_SHIFT
    together = max(1.0, abs(roll) + shift)
    for name in ("roll", "tx", "ty"):
        values[name] /= together
    return values
