"""Narrows the range of INT8 weights just enough that no processor's sums saturate and all compute the same.

On x86 without VNNI, onnxruntime multiplies 8-bit data by signed 8-bit weights with `vpmaddubsw`, which adds two
products at a time and saturates at +-32767 (Intel's manual, PMADDUBSW). The data are 0 to 255 there, so if two weights
in one sum exceed 128 together, the result can silently be wrong. Which two are added depends on the kernel. So each
output's weights are scaled until the two largest of either sign add up to at most 128, in any order: depending on the
weights, that leaves between seven and eight bits. It costs no time on other processors.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np
from numpy.typing import NDArray

from .onnx_model import add_constant, constants, to_array

_MOST = 127
"""Largest sum of two weights of the same sign before rounding, which can add .5 to each."""
_DEQUANTISED = {"Conv": 1, "Gemm": 1, "MatMul": 1}
"""Operators that sum products with weights -> index of their weights input, which comes from a DequantizeLinear."""
_QUANTISED = {"QLinearConv": 3, "QLinearMatMul": 3}
"""The same for operators with quantised weights; the inputs for scale and zero point follow."""


class _Weights(NamedTuple):
    """Narrowed weights of one layer."""

    narrow: NDArray[np.int8]
    scale: NDArray[np.float32]
    zero: NDArray[np.int8]
    factor: NDArray[np.float64]
    """What the original weights were multiplied by: one factor for each output, or one for all."""


def narrow(model: Any) -> int:
    """Narrow the weights of a model, in place; the outputs stay the same except for rounding.

    Args:
        model: From `onnx_model.read_model`, quantised with pairs of QuantizeLinear and DequantizeLinear, or with
            QLinearConv and QLinearMatMul.

    Returns:
        How many layers have been narrowed.
    """
    graph = model.graph
    if any(tensor.data_location for tensor in graph.initializer):
        return 0  # constants in other files need the original file
    known = constants(graph)
    dequantisers = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    nodes: List[Any] = []
    n_narrowed = 0
    for i, node in enumerate(graph.node):
        made = [node]
        if node.op_type in _DEQUANTISED:
            made = _narrow_dequantised(graph, node, f"narrow{i}", known, dequantisers)
        elif node.op_type in _QUANTISED:
            made = _narrow_quantised(graph, node, f"narrow{i}", known)
        n_narrowed += made != [node]
        nodes += made
    if n_narrowed:
        kept = type(graph)()
        kept.node.extend(nodes)
        graph.ClearField("node")
        graph.node.extend(kept.node)
        _drop_unused(graph)
    return n_narrowed


def has_other_sums(model: Any) -> bool:
    """Whether a model has integer sums that `narrow` does not handle, as from dynamic quantisation."""
    known = {*_QUANTISED, "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
    kinds: Set[str] = {node.op_type for node in model.graph.node} - known
    return any("Integer" in kind or "Quant" in kind or kind.startswith("QLinear") for kind in kinds)


def _narrow_dequantised(
    graph: Any, node: Any, name: str, known: Dict[str, Any], dequantisers: Dict[str, Any]
) -> List[Any]:
    """Narrow a layer whose weights and bias come from DequantizeLinear nodes; the nodes that replace it."""
    maker = dequantisers.get(node.input[_DEQUANTISED[node.op_type]])
    found = maker and _weights(known, list(maker.input), _output_axis(node), _attribute(maker, "axis", 1))
    if not found:
        return [node]
    bias = dequantisers.get(node.input[2]) if len(node.input) > 2 else None
    made = [_copy(maker, f"{name}_weight", _constants(graph, f"{name}_weight", found))]
    new = _copy(node, node.output[0], list(node.input))
    new.input[_DEQUANTISED[node.op_type]] = made[0].output[0]
    if bias is not None:
        values, scale = (to_array(known[n]) if n in known else None for n in bias.input[:2])
        if values is None or scale is None:
            return [node]
        inputs = [
            add_constant(graph, f"{name}_bias", np.rint(values * found.factor).astype(np.int32)),
            add_constant(graph, f"{name}_bias_scale", (scale / found.factor).astype(np.float32)),
        ]
        made.append(_copy(bias, f"{name}_bias_float", [*inputs, *bias.input[2:]]))
        new.input[2] = made[-1].output[0]
    return [*made, new]


def _narrow_quantised(graph: Any, node: Any, name: str, known: Dict[str, Any]) -> List[Any]:
    """Narrow a layer with quantised weights, and its bias, which has the same scale."""
    at = _QUANTISED[node.op_type]
    axis = _output_axis(node)
    found = _weights(known, list(node.input[at : at + 3]), axis, axis)
    if not found:
        return [node]
    inputs = list(node.input)
    inputs[at : at + 3] = _constants(graph, name, found)
    if len(inputs) > 8:
        bias = to_array(known[inputs[8]]) if inputs[8] in known else None
        if bias is None:
            return [node]
        inputs[8] = add_constant(graph, f"{name}_bias", np.rint(bias * found.factor).astype(np.int32))
    return [_copy(node, node.output[0], inputs)]


def _weights(known: Dict[str, Any], names: List[str], out: int, scaled: int) -> Optional[_Weights]:
    """Narrow a layer's weights; None if they are unsigned, not constant, or already narrow enough.

    Args:
        known: The constants.
        names: Names of the weights, their scale and, optionally, their zero point.
        out: The weights' axis for the layer's outputs.
        scaled: The axis of the scales, if there are several.
    """
    arrays = [to_array(known[name]) if name in known else None for name in names]
    if len(arrays) < 2 or any(array is None for array in arrays):
        return None
    values, scale, *zeros = (np.asarray(array) for array in arrays)
    if values.dtype != np.int8 or values.ndim < 2:
        return None
    axis = out % values.ndim
    if scale.size > 1 and scaled % values.ndim != axis:
        return None
    zero = zeros[0] if zeros else np.zeros(scale.shape, np.int8)
    along = (-1,) + (1,) * (values.ndim - 1)
    moved = np.moveaxis(values, axis, 0).astype(np.float64)
    moved = moved - zero.astype(np.float64).reshape(along if zero.size > 1 else ())
    most = np.maximum(*(_two_largest(sign * moved.reshape(len(moved), -1)) for sign in (1, -1)))
    if scale.size == 1:
        most = most.max(keepdims=True)
    factor = np.minimum(1.0, _MOST / np.maximum(most, 1.0))
    if factor.min() == 1 and not zero.any():
        return None
    fitted = np.moveaxis(np.rint(moved * factor.reshape(along)), 0, axis).astype(np.int8)
    factor = factor.reshape(scale.shape)
    return _Weights(fitted, (scale / factor).astype(np.float32), np.zeros(scale.shape, np.int8), factor)


def _two_largest(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row, the sum of its two largest positive numbers."""
    n = min(2, rows.shape[1])
    largest = np.partition(rows, rows.shape[1] - n, axis=1)[:, -n:]
    return np.asarray(np.maximum(largest, 0).sum(axis=1))


def _output_axis(node: Any) -> int:
    """The axis of a layer's weights for its outputs."""
    if node.op_type.endswith("Conv") or (node.op_type == "Gemm" and _attribute(node, "transB", 0)):
        return 0
    return -1


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _constants(graph: Any, name: str, weights: _Weights) -> List[str]:
    return [
        add_constant(graph, f"{name}_int8", weights.narrow),
        add_constant(graph, f"{name}_scale", weights.scale),
        add_constant(graph, f"{name}_zero", weights.zero),
    ]


def _copy(node: Any, output: str, inputs: List[str]) -> Any:
    """A copy of a node with other inputs and another output."""
    made = type(node)()
    made.CopyFrom(node)
    del made.input[:], made.output[:]
    made.input.extend(inputs)
    made.output.append(output)
    return made


def _drop_unused(graph: Any) -> None:
    """Remove nodes and constants that are no longer used: a runtime would warn, and keep the weights twice."""
    wanted = {value.name for value in graph.output}
    kept: List[Tuple[int, Any]] = []
    for i in reversed(range(len(graph.node))):
        node = graph.node[i]
        inner = any(a.HasField("g") or a.graphs for a in node.attribute)
        if inner:
            return  # nested graphs read tensors that their node does not list
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append((i, node))
    part = type(graph)()
    part.node.extend(node for _, node in reversed(kept))
    part.initializer.extend(tensor for tensor in graph.initializer if tensor.name in wanted)
    for field in ("node", "initializer"):
        graph.ClearField(field)
        getattr(graph, field).extend(getattr(part, field))
