"""Which of a runtime's tensors is which of the bundle's: by name, never by guess."""

from dataclasses import dataclass
from typing import List, Mapping, Optional, Sequence, Tuple

from ...errors import DeviceError
from ..bundle import Stage

Shapes = Mapping[str, Tuple[int, ...]]


@dataclass(frozen=True)
class Found:
    """A tensor as the runtime tells it."""

    name: str
    shape: Tuple[int, ...]
    dtype: str
    """As numpy calls it, or in the runtime's own words."""

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {list(self.shape)}"


def match_inputs(stage: Stage, found: Sequence[Found]) -> List[str]:
    """For each input of the runtime, in its order, the bundle's name of it.

    Raises:
        DeviceError: If names, shapes or types are not those of the bundle.
    """
    names = _by_name(stage.inputs, found)
    if names is None:
        raise _unlike(stage, "inputs", stage.inputs, found)
    _check(stage, "input", stage.inputs, names, found)
    return names


def match_outputs(stage: Stage, found: Sequence[Found]) -> List[str]:
    """For each output of the runtime, in its order, the bundle's name of it.

    A MindIR that MindSpore exported calls its outputs by the operators that make them. If no name is known, and no two
    outputs have one shape, the shapes tell them apart.

    Raises:
        DeviceError: If names, shapes or types are not those of the bundle.
    """
    names = _by_name(stage.outputs, found)
    if names is None and not any(_plain(t.name) in stage.outputs for t in found):
        names = _by_shape(stage.outputs, found)
    if names is None:
        raise _unlike(stage, "outputs", stage.outputs, found)
    _check(stage, "output", stage.outputs, names, found)
    return names


def _plain(name: str) -> str:
    """An .om calls an output by its operator too: `Conv_12:0:lips`."""
    return name.rsplit(":", 1)[-1]


def _by_name(wanted: Shapes, found: Sequence[Found]) -> Optional[List[str]]:
    names = [t.name if t.name in wanted else _plain(t.name) for t in found]
    return names if len(names) == len(wanted) and set(names) == set(wanted) else None


def _by_shape(wanted: Shapes, found: Sequence[Found]) -> Optional[List[str]]:
    of_shape = {shape: name for name, shape in wanted.items()}
    names = [of_shape.get(t.shape, "") for t in found]
    is_plain = len(of_shape) == len(wanted) == len(names) and set(names) == set(wanted)
    return names if is_plain else None


def _check(stage: Stage, kind: str, wanted: Shapes, names: Sequence[str], found: Sequence[Found]) -> None:
    for name, tensor in zip(names, found):
        if tensor.shape != wanted[name] or tensor.dtype != "float32":
            raise DeviceError(
                f"{stage.path}: {kind} {name} is {tensor.dtype} {list(tensor.shape)}; bundle.yaml says float32 "
                f"{list(wanted[name])}: convert the model again with fixed shapes and float32 inputs and outputs"
            )


def _unlike(stage: Stage, kind: str, wanted: Shapes, found: Sequence[Found]) -> DeviceError:
    has = ", ".join(map(str, found)) or "none"
    wants = ", ".join(f"{name} {list(shape)}" for name, shape in wanted.items())
    return DeviceError(
        f"{stage.path}: its {kind} are {has}; bundle.yaml says {wants}: convert the model again with these names"
    )
