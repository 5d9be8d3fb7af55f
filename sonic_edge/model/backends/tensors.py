"""Matches a runtime's tensors with those of the bundle: by name, never by guessing."""

from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence, Tuple

from ...errors import DeviceError
from ..bundle import Stage

Shapes = Mapping[str, Tuple[int, ...]]


@dataclass(frozen=True)
class RuntimeTensor:
    """A tensor as the runtime describes it."""

    name: str
    shape: Tuple[int, ...]
    dtype: str
    """numpy's name for it, or the runtime's."""

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {list(self.shape)}"


def match_inputs(stage: Stage, found: Sequence[RuntimeTensor]) -> List[str]:
    """The bundle's name for each input of the runtime, in the runtime's order.

    Raises:
        DeviceError: If names, shapes or types differ from the bundle.
    """
    names = _by_name(stage.inputs, found)
    if names is None:
        raise _mismatch(stage, "inputs", stage.inputs, found)
    _check(stage, "input", stage.inputs, names, found)
    return names


def match_outputs(stage: Stage, found: Sequence[RuntimeTensor]) -> List[str]:
    """The bundle's name for each output of the runtime, in the runtime's order.

    A MindIR exported by MindSpore names its outputs after the operators that compute them. If no name is known and no
    two outputs have the same shape, they are matched by shape.

    Raises:
        DeviceError: If names, shapes or types differ from the bundle.
    """
    names = _by_name(stage.outputs, found)
    if names is None and not any(_plain(t.name) in stage.outputs for t in found):
        names = _by_shape(stage.outputs, found)
    if names is None:
        raise _mismatch(stage, "outputs", stage.outputs, found)
    _check(stage, "output", stage.outputs, names, found)
    return names


def _plain(name: str) -> str:
    """The tensor's own name: an .om puts the operator in front, `Conv_12:0:lips`."""
    return name.rsplit(":", 1)[-1]


def _by_name(wanted: Shapes, found: Sequence[RuntimeTensor]) -> Optional[List[str]]:
    names = [t.name if t.name in wanted else _plain(t.name) for t in found]
    return names if len(names) == len(wanted) and set(names) == set(wanted) else None


def _by_shape(wanted: Shapes, found: Sequence[RuntimeTensor]) -> Optional[List[str]]:
    of_shape = {shape: name for name, shape in wanted.items()}
    names = [of_shape.get(t.shape, "") for t in found]
    is_plain = len(of_shape) == len(wanted) == len(names) and set(names) == set(wanted)
    return names if is_plain else None


def _check(stage: Stage, kind: str, wanted: Shapes, names: Sequence[str], found: Sequence[RuntimeTensor]) -> None:
    for name, tensor in zip(names, found):
        if tensor.shape != wanted[name] or tensor.dtype != "float32":
            raise DeviceError(
                f"{stage.path}: {kind} {name} is {tensor.dtype} {list(tensor.shape)}; bundle.yaml says float32 "
                f"{list(wanted[name])}: convert the model again with fixed shapes and float32 inputs and outputs"
            )


def _mismatch(stage: Stage, kind: str, wanted: Shapes, found: Sequence[RuntimeTensor]) -> DeviceError:
    has = ", ".join(map(str, found)) or "none"
    wants = ", ".join(f"{name} {list(shape)}" for name, shape in wanted.items())
    return DeviceError(
        f"{stage.path}: its {kind} are {has}; bundle.yaml says {wants}: convert the model again with these names"
    )
