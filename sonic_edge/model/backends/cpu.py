"""The CPU backend: the same INT8 weights as on a chip, run by onnxruntime."""

from typing import Any, Dict, Optional, Tuple, Type, Union

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from ...errors import DeviceError
from ..bundle import Stage
from .base import Tensors, check_inputs
from .onnx_cut import Cut
from .onnx_model import TYPES, read_model
from .onnx_narrow import has_other_sums, narrow

# onnxruntime has an exception class for each status code, without a common base class
_ORT_ERRORS: Tuple[Type[Exception], ...] = (
    RuntimeError,
    ValueError,
    TypeError,
    OSError,
    *(e for e in vars(onnxruntime_pybind11_state).values() if isinstance(e, type) and issubclass(e, Exception)),
)

_DISABLED = ["QDQPropagationTransformer"]
"""Harmful optimisations: this one quantises each part of a split tensor, only to dequantise it at once."""

_EXACT_SUMS = "session.x64quantprecision"
"""onnxruntime's own protection against overflowing sums: it makes constant signed weights unsigned; those kernels are
exact on every x86, and a fifth slower. Used where `narrow` does not apply
(onnxruntime_session_options_config_keys.h)."""


class CpuSession:
    """A graph in onnxruntime. What depends only on steady inputs is cached, and recomputed only when they change.

    Args:
        stage: The stage that this graph belongs to.
        rest: The graph without its cached part.
        cached: The part that depends only on steady inputs, if there is one.
    """

    def __init__(self, stage: Stage, rest: ort.InferenceSession, cached: Optional[ort.InferenceSession]) -> None:
        self._stage = stage
        self._rest: Optional[ort.InferenceSession] = rest
        self._cached = cached
        self._takes = [t.name for t in rest.get_inputs()]
        self._gives = [t.name for t in rest.get_outputs()]
        self._seen: Dict[str, NDArray[np.float32]] = {}
        self._between: Dict[str, NDArray[Any]] = {}

    def run(self, inputs: Tensors) -> Dict[str, NDArray[np.float32]]:
        """See `backends.base.Session.run`."""
        if self._rest is None:
            raise DeviceError(f"{self._stage.name}: the session is closed")
        check_inputs(self._stage, inputs)
        try:
            if self._cached is not None:
                self._update(self._cached, inputs)
            given = {**self._between, **inputs}
            made = dict(zip(self._gives, self._rest.run(self._gives, {name: given[name] for name in self._takes})))
        except _ORT_ERRORS as e:
            raise DeviceError(f"{self._stage.name}: onnxruntime failed: {e}") from e
        return {name: made[name] if name in made else self._between[name].copy() for name in self._stage.outputs}

    def _update(self, cached: ort.InferenceSession, inputs: Tensors) -> None:
        """Recompute the tensors between the two parts if the steady inputs have changed."""
        steady = {t.name: inputs[t.name] for t in cached.get_inputs()}
        if self._seen and all(_is_unchanged(array, self._seen[name]) for name, array in steady.items()):
            return
        names = [t.name for t in cached.get_outputs()]
        self._between = dict(zip(names, cached.run(names, steady)))
        # a read-only array need not be copied, nor compared again
        self._seen = {name: array if _is_fixed(array) else array.copy() for name, array in steady.items()}

    def close(self) -> None:
        """See `backends.base.Session.close`."""
        self._rest = self._cached = None


def _is_fixed(array: NDArray[Any]) -> bool:
    return array.flags.owndata and not array.flags.writeable


def _is_unchanged(array: NDArray[Any], before: NDArray[Any]) -> bool:
    return array is before or np.array_equal(array, before)


class CpuBackend:
    """Opens `.onnx` files on the CPU.

    Args:
        threads: Number of threads for each graph.
    """

    name = "cpu"

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def open(self, stage: Stage) -> CpuSession:
        """See `backends.base.Backend.open`."""
        try:
            rest, cached = self._parts(stage)
        except _ORT_ERRORS as e:
            raise DeviceError(f"{stage.path}: onnxruntime cannot load it: {e}") from e
        sessions = [rest] if cached is None else [rest, cached]
        has_in = {t.name: tuple(t.shape) for session in sessions for t in session.get_inputs()}
        has_out = {t.name: tuple(t.shape) for session in sessions for t in session.get_outputs()}
        for name, shape in stage.inputs.items():
            if has_in.get(name) != shape:
                raise DeviceError(f"{stage.path}: input {name} is {has_in.get(name)}; bundle.yaml says {shape}")
        for name, shape in stage.outputs.items():
            if has_out.get(name) != shape:
                raise DeviceError(f"{stage.path}: output {name} is {has_out.get(name)}; bundle.yaml says {shape}")
        return CpuSession(stage, rest, cached)

    def _parts(self, stage: Stage) -> Tuple[ort.InferenceSession, Optional[ort.InferenceSession]]:
        """The graph without the part that depends only on steady inputs, and that part, if there is one."""
        model = read_model(stage.path.read_bytes())
        options = self._session_options()
        if has_other_sums(model):
            options.add_session_config_entry(_EXACT_SUMS, "1")
        is_narrowed = narrow(model) > 0
        cut = Cut(model, stage.steady)
        if cut.between:
            cached = _load(cut.cached(), options)
            types = {t.name: (t.type, t.shape) for t in cached.get_outputs()}
            if {kind for kind, _ in types.values()} <= set(TYPES):
                return _load(cut.rest(types), options), cached
        return _load(bytes(model.SerializeToString()) if is_narrowed else str(stage.path), options), None

    def _session_options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # spinning threads would take CPU time from the renderer between two windows
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options


def _load(model: Union[str, bytes], options: ort.SessionOptions) -> ort.InferenceSession:
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED)
