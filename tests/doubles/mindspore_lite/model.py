"""python/api/model.py and base_model.py: a model that is built once and then predicts."""

import gc
import os
import sys
import weakref
from enum import Enum
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from chip_double import file
from chip_double.graph import Graph

from ._call import check_isinstance, function
from .context import Context
from .tensor import OF_NUMPY, Tensor, TensorMeta

settings: Dict[str, Any] = {
    "soc": "Ascend310B4",
    "n_devices": 1,
    "memory_bytes": 1 << 30,
}
_built: "weakref.WeakSet[Graph]" = weakref.WeakSet()


def alive() -> int:
    """How many built models are still referenced."""
    gc.collect()
    return len(_built)


class ModelType(Enum):
    """The kinds of file there are; none of them is OM."""

    MINDIR = 0
    MINDIR_LITE = 4


class Model:
    """`mindspore_lite.Model()`."""

    @function
    def __init__(self) -> None:
        self._graph: Optional[Graph] = None
        self._results: List[np.ndarray] = []

    @function
    def build_from_file(
        self,
        model_path: str,
        model_type: ModelType,
        context: Optional[Context] = None,
        config_path: str = "",
        config_dict: Optional[Dict[str, Any]] = None,
    ) -> None:
        """Load it. Why it fails the real one writes to standard error; the exception knows only a status.

        A chip that is not there becomes chip 0 with a warning (custom_ascend_kernel.cc, GenAclOptions).
        """
        check_isinstance("model_path", model_path, str)
        check_isinstance("model_type", model_type, ModelType)
        context = Context() if context is None else context
        check_isinstance("context", context, Context)
        check_isinstance("config_path", config_path, str)
        if not os.path.exists(model_path):  # noqa: PTH110
            raise RuntimeError("build_from_file failed, model_path does not exist!")
        if self._graph is not None:
            raise _failed("Model has been called Build!")
        if model_type is not ModelType.MINDIR or context.target != ["ascend"]:
            raise _failed("this double stands for an Ascend and a MindIR")
        if context.ascend.device_id >= settings["n_devices"]:
            print(
                f"[WARNING] Current device id {context.ascend.device_id} is larger than max count "
                f"{settings['n_devices']}, please check the device info of context and set the default device id 0.",
                file=sys.stderr,
            )
        try:
            description, onnx = file.read(model_path, file.MINDIR)
            graph = Graph(description, onnx)
        except ValueError as e:
            raise _failed(f"Failed to load MindIR model, please check the validity of the model: {e}") from e
        if description.soc not in ("", settings["soc"]):
            raise _failed(f"Load om data failed: {description.soc} is not {settings['soc']}")
        if graph.n_bytes + sum(g.n_bytes for g in _built) > settings["memory_bytes"]:
            raise _failed("aclrtMalloc failed, ret 207001")
        self._graph = graph
        _built.add(graph)
        self._results = [np.full(t.shape, np.nan, t.dtype) for t in graph.outputs]

    @function
    def get_inputs(self) -> List[Tensor]:
        """A list of new tensors, in the model's order."""
        graph = self._graph
        return [] if graph is None else [Tensor._make(t.name, list(t.shape), _type(t.dtype)) for t in graph.inputs]

    @function
    def get_outputs(self) -> Tuple[TensorMeta, ...]:
        """A tuple of descriptions, in the model's order."""
        made = []
        for t in self._graph.outputs if self._graph is not None else []:
            meta = TensorMeta()
            meta.name, meta.dtype, meta.shape = t.name, _type(t.dtype), list(t.shape)
            meta.element_num, meta.data_size = int(np.prod(t.shape)), t.n_bytes
            made.append(meta)
        return tuple(made)

    @function
    def predict(self, inputs: List[Tensor], outputs: Optional[List[Tensor]] = None) -> List[Tensor]:
        """By position; whatever goes wrong is `predict failed!`. The results lie in memory that the next call uses."""
        if not isinstance(inputs, list):
            raise TypeError(f"inputs must be list, but got {type(inputs)}.")
        for i, element in enumerate(inputs):
            if not isinstance(element, Tensor):
                raise TypeError(f"inputs element must be Tensor, but got {type(element)} at index {i}.")
        graph = self._graph
        if graph is None or outputs is not None or len(inputs) != len(graph.inputs):
            raise RuntimeError("predict failed!")
        arrays = []
        for tensor, wanted in zip(inputs, graph.inputs):
            if tensor._data is None or tensor._data.nbytes != wanted.n_bytes:
                raise RuntimeError("predict failed!")
            arrays.append(tensor._data)
        for into, result in zip(self._results, graph.run(arrays)):
            into[...] = result
        return [
            Tensor._make(t.name, list(t.shape), _type(t.dtype), data) for t, data in zip(graph.outputs, self._results)
        ]


def _type(dtype: str) -> Any:
    return OF_NUMPY[np.dtype(dtype)]


def _failed(why: str) -> RuntimeError:
    """ModelImpl::Build logs and gives kLiteError, whose words are `Common error code.` (cxx_api/status.cc)."""
    print(f"[ERROR] LITE: {why}", file=sys.stderr)
    return RuntimeError("build_from_file failed! Error is Common error code.")
