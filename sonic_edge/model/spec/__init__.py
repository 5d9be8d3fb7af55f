"""The schema of bundle.yaml, and checks that it is consistent.

`base` has what all bundles share, `motion` and `frames` the two kinds of model: one predicts facial motion, the other
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
    """Validate the content of a bundle.yaml.

    Args:
        data: The parsed YAML.
        source: Its name in messages.

    Raises:
        ConfigError: Lists every mistake, one per line.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in list(_KINDS):
        kind = check(_OfAnyKind, data, source).kind  # raises, and lists the other mistakes too
    spec = check(_KINDS[kind], data, source)
    wrong = spec.mistakes()
    if wrong:
        raise ConfigError("\n".join(f"{source}: {w}" for w in wrong))
    return spec
