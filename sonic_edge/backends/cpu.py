"""The simulated backend: the same INT8 weights on the CPU, by onnxruntime."""

from typing import Dict, Optional, Tuple, Type

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from ..bundle import Stage
from ..errors import DeviceError
from .base import Tensors, check_inputs

# onnxruntime has an exception for each of its statuses, with no base of their own
_ORT_ERRORS: Tuple[Type[Exception], ...] = (
    RuntimeError,
    ValueError,
    TypeError,
    OSError,
    *(e for e in vars(onnxruntime_pybind11_state).values() if isinstance(e, type) and issubclass(e, Exception)),
)

_DISABLED = ["QDQPropagationTransformer"]
"""Optimisations that cost: this one quantises each part that a tensor is cut into, only to undo it at once."""


class CpuSession:
    """A graph in onnxruntime."""

    def __init__(self, stage: Stage, session: ort.InferenceSession) -> None:
        self._stage = stage
        self._session: Optional[ort.InferenceSession] = session

    def run(self, inputs: Tensors) -> Dict[str, NDArray[np.float32]]:
        """See `backends.base.Session.run`."""
        if self._session is None:
            raise DeviceError(f"{self._stage.name}: the session is closed")
        check_inputs(self._stage, inputs)
        names = list(self._stage.outputs)
        try:
            outputs = self._session.run(names, dict(inputs))
        except _ORT_ERRORS as e:
            raise DeviceError(f"{self._stage.name}: onnxruntime failed: {e}") from e
        return dict(zip(names, outputs))

    def close(self) -> None:
        """See `backends.base.Session.close`."""
        self._session = None


class CpuBackend:
    """Opens `.onnx` files on the CPU.

    Args:
        threads: Threads one graph may use.
    """

    name = "cpu"

    def __init__(self, threads: int) -> None:
        self._options = ort.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3
        # spinning threads would take cores from the renderer between two windows
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def open(self, stage: Stage) -> CpuSession:
        """See `backends.base.Backend.open`."""
        try:
            session = ort.InferenceSession(
                str(stage.path), self._options, providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED
            )
        except _ORT_ERRORS as e:
            raise DeviceError(f"{stage.path}: onnxruntime cannot load it: {e}") from e
        has_in, has_out = (
            {t.name: tuple(t.shape) for t in side} for side in (session.get_inputs(), session.get_outputs())
        )
        for name, shape in stage.inputs.items():
            if has_in.get(name) != shape:
                raise DeviceError(f"{stage.path}: input {name} is {has_in.get(name)}; bundle.yaml says {shape}")
        for name, shape in stage.outputs.items():
            if has_out.get(name) != shape:
                raise DeviceError(f"{stage.path}: output {name} is {has_out.get(name)}; bundle.yaml says {shape}")
        return CpuSession(stage, session)
