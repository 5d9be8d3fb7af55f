"""The two forms in which Ascend's tools accept our INT8 graphs, with the quantised values unchanged.

    python models/chip/graphs.py qat|float IN.onnx OUT.onnx

onnxruntime's quantiser writes a graph that AMCT and ATC refuse or would read otherwise; what is changed, and why:

* Domains that no node uses leave the model: ATC documents an error for more than one (E16005), and the onnxruntime
  1.6 to 1.9 of older AMCT does not open a model that names newer versions of them than it knows.
* Only the inputs of INT8 layers are quantised (Q/DQ pairs elsewhere have no layer that AMCT could match them to), each
  by a pair of its own; what stays float reads the float tensor.
* Weights are float with a Q/DQ pair, as quantisation-aware training leaves them; biases are float, already rounded to
  their scale as the AMCT guide asks ("QAT Model Adaptation to CANN Format", CANN 8.0).
* A `Gemm` with a scale for each output becomes a 1x1 `Conv`: AMCT takes such scales of Conv and ConvTranspose only
  (the same page, CANN 8.5; `CHANNEL_WISE_ONNX_TYPES` in github hicann/amct 2be20da, capacity_config.csv). The numbers
  are the same.

`float` leaves every pair out: what calibration begins with. Needs `onnx` and `onnxruntime`.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

AGREEMENT = 0.95
"""Least correlation of an output with that of the original graph, for the new one to be accepted: on random input,
which is unlike speech; on speech it is over .999."""
_PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}


Whole = NDArray[np.integer[Any]]
"""INT8 or unsigned eight bits."""


class Scaled(NamedTuple):
    """A constant as it was quantised: value = (quantised - zero point) x scale."""

    quantised: Whole
    scale: NDArray[np.float32]
    zero: Whole


class Pair(NamedTuple):
    """A Q/DQ pair on a tensor that is computed."""

    source: str
    scale: NDArray[np.float32]
    zero: Whole


class _Quantised:
    """A QDQ model taken apart: what was quantised, and the nodes without it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.constants: Dict[str, NDArray[Any]] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.scaled: Dict[str, Scaled] = {}
        self.pairs: Dict[str, Pair] = {}
        self.nodes: List[onnx.NodeProto] = []
        quantisers = {n.output[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}
        for node in graph.node:
            if node.op_type == "QuantizeLinear":
                continue
            if node.op_type != "DequantizeLinear":
                self.nodes.append(node)
                continue
            scale, zero = self._parameters(node)
            if node.input[0] in self.constants:
                self.scaled[node.output[0]] = Scaled(self.constants[node.input[0]], scale, zero)
                self.constants[node.output[0]] = _dequantised(self.scaled[node.output[0]])
                continue
            quantiser = quantisers.get(node.input[0])
            if quantiser is None or not self._are_parameters(quantiser, scale, zero):
                raise ValueError(f"{node.name}: its QuantizeLinear is missing or has another scale; AMCT needs a pair")
            self.pairs[node.output[0]] = Pair(quantiser.input[0], scale, zero)

    def _parameters(self, node: onnx.NodeProto) -> Tuple[NDArray[np.float32], Whole]:
        scale = self.constants[node.input[1]]
        return scale, (self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(scale.shape, np.uint8))

    def _are_parameters(self, node: onnx.NodeProto, scale: NDArray[np.float32], zero: Whole) -> bool:
        own_scale, own_zero = self._parameters(node)
        return np.array_equal(own_scale, scale) and np.array_equal(own_zero, zero)

    def float_name(self, name: str) -> str:
        """The tensor as it is before any pair on it."""
        while name in self.pairs:
            name = self.pairs[name].source
        return name


def _dequantised(value: Scaled) -> NDArray[np.float32]:
    wide = (-1,) + (1,) * (value.quantised.ndim - 1) if value.scale.ndim else ()
    whole = value.quantised.astype(np.int64) - value.zero.astype(np.int64).reshape(wide)
    return (whole * value.scale.astype(np.float64).reshape(wide)).astype(np.float32)


def rewritten(model: onnx.ModelProto, quantised: bool) -> onnx.ModelProto:
    """The same computation in the form that AMCT (`quantised`) or a calibration (not) begins with.

    Args:
        model: As onnxruntime's static quantisation writes it: QDQ, per-channel INT8 weights.
        quantised: Whether the layers that are INT8 in `model` stay so.

    Returns:
        Another model with the inputs and outputs of `model`; its nodes are of ai.onnx, each with a name of its own.

    Raises:
        ValueError: If a Q/DQ pair does not share its scale, or a node is of another domain.
    """
    parts = _Quantised(model)
    # a graph output that a pair stands before takes its name from the pair
    renamed = {parts.float_name(o.name): o.name for o in model.graph.output if o.name in parts.pairs}
    nodes: List[onnx.NodeProto] = []
    constants = dict(parts.constants)
    names: Set[str] = set()
    for i, original in enumerate(parts.nodes):
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if not node.name or node.name in names:
            node.name = f"{node.name or node.op_type}_{i}"
        names.add(node.name)
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"{node.name}: operator {node.domain}::{node.op_type}; only those of ai.onnx can be used")
        node.output[:] = [renamed.get(name, name) for name in node.output]
        plain = [parts.float_name(name) for name in node.input]
        node.input[:] = [renamed.get(name, name) for name in plain]
        pair = parts.pairs.get(original.input[0]) if original.input else None
        weight = parts.scaled.get(original.input[1]) if len(original.input) > 1 else None
        if quantised and pair and weight:
            nodes += _int8_layer(node, pair, weight, constants)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        model.graph.name,
        model.graph.input,
        model.graph.output,
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items() if name in used],
    )
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="sonic-edge")
    made.ir_version = min(model.ir_version, 7)  # onnxruntime 1.6, the oldest that AMCT comes with, opens no newer one
    onnx.checker.check_model(made)
    return made


def _int8_layer(
    node: onnx.NodeProto, pair: Pair, weight: Scaled, constants: Dict[str, NDArray[Any]]
) -> List[onnx.NodeProto]:
    """A layer with a pair of its own on its data and one on its weights; `constants` gets what they need."""
    before: List[onnx.NodeProto] = []
    after: List[onnx.NodeProto] = []
    value = constants[node.input[1]]
    quantised = weight.quantised
    layer, data = node.name, node.input[0]
    if node.op_type == "Gemm" and weight.scale.ndim:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if {**_PLAIN_GEMM, "transB": 0, **options} != _PLAIN_GEMM:
            raise ValueError(f"{layer}: Gemm with {options}; one with a scale for each output needs transB=1 alone")
        n_out, n_in = value.shape
        constants[f"{layer}_square"] = np.array([-1, n_in, 1, 1], np.int64)
        constants[f"{layer}_flat"] = np.array([-1, n_out], np.int64)
        before.append(
            helper.make_node("Reshape", [data, f"{layer}_square"], [f"{layer}_image"], name=f"{layer}_to_image")
        )
        result = node.output[0]
        after.append(helper.make_node("Reshape", [f"{layer}_made", f"{layer}_flat"], [result], name=f"{layer}_to_row"))
        data, value = f"{layer}_image", value.reshape(n_out, n_in, 1, 1)
        quantised = quantised.reshape(value.shape)
        node = helper.make_node("Conv", list(node.input), [f"{layer}_made"], name=layer, kernel_shape=[1, 1])
    for kind, source, scale, zero in (
        ("data", data, pair.scale, pair.zero),
        ("weight", f"{layer}_weight", weight.scale, weight.zero),
    ):
        name = f"{layer}_{kind}"
        constants[f"{name}_scale"], constants[f"{name}_zero"] = scale, zero
        options = {"axis": 0} if scale.ndim else {}
        numbers = [f"{name}_scale", f"{name}_zero"]
        before.append(
            helper.make_node("QuantizeLinear", [source, *numbers], [f"{name}_int8"], name=f"{name}_quantize", **options)
        )
        before.append(
            helper.make_node(
                "DequantizeLinear", [f"{name}_int8", *numbers], [f"{name}_float"], name=f"{name}_dequantize", **options
            )
        )
    constants[f"{layer}_weight"] = value
    node.input[0], node.input[1] = f"{layer}_data_float", f"{layer}_weight_float"
    return [*before, node, *after]


def literal_session(content: bytes) -> Any:
    """onnxruntime's session of a model that computes what its file says, node by node, on every processor.

    With optimisations on, onnxruntime fuses Q/DQ pairs and the nodes between them into integer kernels; on x86
    without VNNI their sums saturate at 16 bits (`sonic_edge.model.backends.onnx_narrow`), as no chip's do.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as sonic_edge does, which need not be there
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def agreement(a: Path, b: Path, seed: int = 0) -> Dict[str, float]:
    """Correlation of every output of two graphs with the same inputs, over four random inputs.

    Returns:
        Output name -> r; 1 where both are constant.
    """
    first, second = (literal_session(path.read_bytes()) for path in (a, b))
    rng = np.random.default_rng(seed)
    names = [o.name for o in first.get_outputs()]
    seen: List[List[List[NDArray[np.float32]]]] = [[], []]
    for _ in range(4):
        feeds = {i.name: rng.uniform(-1, 1, i.shape).astype(np.float32) for i in first.get_inputs()}
        for session, outputs in zip((first, second), seen):
            outputs.append(session.run(names, feeds))
    return {
        name: _correlation(*(np.concatenate([out[k].ravel() for out in outputs]) for outputs in seen))
        for k, name in enumerate(names)
    }


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-12 else 1.0


def main(argv: Optional[List[str]] = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rewrite a QDQ graph into a form that Ascend's tools take.")
    parser.add_argument("form", choices=["qat", "float"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args(argv)
    try:
        onnx.save(rewritten(onnx.load(str(args.source)), args.form == "qat"), str(args.target))
    except ValueError as e:
        print(f"{args.source}: {e}", file=sys.stderr)
        return 1
    found = agreement(args.source, args.target)
    print(f"{args.target.name} beside {args.source.name}: " + ", ".join(f"{k} r {r:.4f}" for k, r in found.items()))
    worst = min(found, key=lambda name: found[name])
    if not found[worst] >= AGREEMENT:
        print(f"{args.target}: output {worst} agrees to r {found[worst]:.3f}; {AGREEMENT} is needed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
