"""What bundle.yaml may say, and what of it does not fit together.

`base` has what every bundle says, `motion` and `frames` the two kinds of model: one makes facial motion, the other
paints the face.
"""

from typing import Dict, Type, Union

from ..config import check
from ..errors import ConfigError
from .base import BundleSpec
from .frames import CropSpec, FramesSpec, PasteSpec
from .motion import ClosureSpec, MotionSpec

__all__ = ["BundleSpec", "ClosureSpec", "CropSpec", "FramesSpec", "MotionSpec", "PasteSpec", "read_spec"]

_KINDS: Dict[str, Type[Union[MotionSpec, FramesSpec]]] = {"motion": MotionSpec, "frames": FramesSpec}


def read_spec(data: object, source: str) -> Union[MotionSpec, FramesSpec]:
    """What a bundle.yaml says.

    Args:
        data: As YAML gives it.
        source: What to call it in messages.

    Raises:
        ConfigError: With every mistake in it, each on a line of its own.
    """
    kind = data.get("kind") if isinstance(data, dict) else "motion"
    if not isinstance(kind, str) or kind not in _KINDS:
        has = "is missing; it must be" if kind is None else f"= {kind!r}: must be"
        raise ConfigError(f"{source}: kind {has} {' or '.join(_KINDS)}")
    spec = check(_KINDS[kind], data, source)
    wrong = spec.mistakes()
    if wrong:
        raise ConfigError("\n".join(f"{source}: {w}" for w in wrong))
    return spec
