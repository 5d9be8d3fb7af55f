"""The protocol every backend keeps."""

from typing import Dict, Mapping, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import DeviceError
from ..bundle import Stage

Tensors = Mapping[str, NDArray[np.float32]]


class Session(Protocol):
    """One opened graph."""

    def run(self, inputs: Tensors) -> Dict[str, NDArray[np.float32]]:
        """Compute every output of the graph.

        Args:
            inputs: Name -> array, just the names and shapes of the stage, float32.

        Returns:
            Output name -> array, float32, owned by the caller.

        Raises:
            DeviceError: If the inputs do not fit or the runtime fails.
        """

    def close(self) -> None:
        """Give everything back; calling it again does nothing.

        Raises:
            DeviceError: If something could not be given back; all the rest is.
        """


class Backend(Protocol):
    """A runtime for models."""

    name: str

    def open(self, stage: Stage) -> Session:
        """Load a graph.

        Raises:
            ConfigError: If the file is of a kind this runtime does not load.
            DeviceError: If the runtime cannot load it.
        """


def check_inputs(stage: Stage, inputs: Tensors) -> None:
    """Names, shapes and types, before a runtime sees them.

    Raises:
        DeviceError: Naming the tensor, what it is and what it must be.
    """
    if set(inputs) != set(stage.inputs):
        raise DeviceError(f"{stage.name}: inputs are {sorted(inputs)}; must be {sorted(stage.inputs)}")
    for name, shape in stage.inputs.items():
        array = inputs[name]
        if array.shape != shape or array.dtype != np.float32:
            raise DeviceError(
                f"{stage.name}: {name} is {array.dtype} {list(array.shape)}; must be float32 {list(shape)}"
            )
