"""The protocol that every backend implements."""

from typing import Dict, Mapping, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import DeviceError
from ..bundle import Stage

Tensors = Mapping[str, NDArray[np.float32]]


class Session(Protocol):
    """One loaded graph."""

    def run(self, inputs: Tensors) -> Dict[str, NDArray[np.float32]]:
        """Compute every output of the graph.

        Args:
            inputs: Name -> array, float32, with exactly the names and shapes of the stage.

        Returns:
            Output name -> array, float32, owned by the caller.

        Raises:
            DeviceError: If the inputs do not fit or the runtime fails.
        """

    def close(self) -> None:
        """Release all resources; a second call does nothing.

        Raises:
            DeviceError: If something could not be released; everything else has been.
        """


class Backend(Protocol):
    """A runtime for models."""

    name: str

    def open(self, stage: Stage) -> Session:
        """Load a graph.

        Raises:
            ConfigError: If the runtime does not load files of this type.
            DeviceError: If the runtime cannot load it.
        """


def check_inputs(stage: Stage, inputs: Tensors) -> None:
    """Check names, shapes and types before they reach a runtime.

    Raises:
        DeviceError: With the tensor's name, what it is and what it must be.
    """
    if set(inputs) != set(stage.inputs):
        raise DeviceError(f"{stage.name}: inputs are {sorted(inputs)}; must be {sorted(stage.inputs)}")
    for name, shape in stage.inputs.items():
        array = inputs[name]
        if array.shape != shape or array.dtype != np.float32:
            raise DeviceError(
                f"{stage.name}: {name} is {array.dtype} {list(array.shape)}; must be float32 {list(shape)}"
            )
