"""The graph inside a model file, computed with the same INT8 weights by onnxruntime."""

from functools import lru_cache
from typing import List, Tuple

import numpy as np
import onnxruntime as ort

from .file import Description


class Tensor:
    """One input or output as the runtime presents it."""

    def __init__(self, name: str, graph_name: str, shape: Tuple[int, ...], dtype: str) -> None:
        self.name, self.graph_name, self.shape, self.dtype = name, graph_name, shape, dtype
        self.n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize


@lru_cache(maxsize=4)  # a session keeps nothing from one run to the next, and takes long to make
def _session(onnx: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # a converted graph's float weights stay so: onnxruntime would make INT8 of them, whose sums are not whole
    # on every processor
    return ort.InferenceSession(
        onnx,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["WeightBiasQuantization"],
    )


class Graph:
    """A graph that was loaded.

    Raises:
        ValueError: If the bytes are no ONNX.
    """

    def __init__(self, description: Description, onnx: bytes) -> None:
        try:
            self._session = _session(onnx)
        except Exception as e:
            raise ValueError(str(e)) from e
        d = description
        self.inputs = self._tensors(self._session.get_inputs(), d.inputs, d.input_names, d.dtype)
        self.outputs = self._tensors(self._session.get_outputs(), d.outputs, d.output_names, d.dtype)
        self.n_bytes = len(onnx)

    @staticmethod
    def _tensors(of_graph: list, order: List[str], names: List[str], dtype: str) -> List[Tensor]:
        shapes = {t.name: tuple(t.shape) for t in of_graph}
        order = order or list(shapes)
        return [Tensor(name, own, shapes[own], dtype) for name, own in zip(names or order, order)]

    def run(self, inputs: List[np.ndarray]) -> List[np.ndarray]:
        """Outputs in the runtime's order, from inputs in the runtime's order."""
        feeds = {t.graph_name: a.reshape(t.shape) for t, a in zip(self.inputs, inputs)}
        return self._session.run([t.graph_name for t in self.outputs], feeds)
