"""What bundle.yaml may say, and what of it does not fit together.

`base` has what every bundle says, `motion` and `frames` the two kinds of model: one makes facial motion, the other
paints the face.
"""

from typing import Dict, Literal, Type, Union

from pydantic import ConfigDict

from ...config import check
from ...errors import ConfigError
from .base import BundleSpec
from .frames import CropSpec, FramesSpec, PasteSpec
from .motion import ClosureSpec, MotionSpec

__all__ = ["BundleSpec", "ClosureSpec", "CropSpec", "FramesSpec", "MotionSpec", "PasteSpec", "read_spec"]

_KINDS: Dict[str, Type[Union[MotionSpec, FramesSpec]]] = {"motion": MotionSpec, "frames": FramesSpec}


class _OfAnyKind(BundleSpec):
    """Enough of a bundle.yaml to know its kind."""

    model_config = ConfigDict(extra="ignore")

    kind: Literal["motion", "frames"]


def read_spec(data: object, source: str) -> Union[MotionSpec, FramesSpec]:
    """What a bundle.yaml says.

    Args:
        data: As YAML gives it.
        source: What to call it in messages.

    Raises:
        ConfigError: With every mistake in it, each on a line of its own.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in list(_KINDS):
        kind = check(_OfAnyKind, data, source).kind  # which says so, beside what else is wrong
    spec = check(_KINDS[kind], data, source)
    wrong = spec.mistakes()
    if wrong:
        raise ConfigError("\n".join(f"{source}: {w}" for w in wrong))
    return spec
