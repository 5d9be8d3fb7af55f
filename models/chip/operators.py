"""Whether Ascend's tools accept a graph: its operators, opset and quantisation. Checked before any tool is run."""

from collections import Counter
from dataclasses import replace
from typing import Any, Dict, List, Tuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from models.chip.operator_lists import AMCT_OPSETS, AMCT_PER_CHANNEL, AMCT_QAT, ATC, LITE, folded
from sonic_edge.model.bundle import Stage

Constants = Dict[str, NDArray[Any]]
_PAIR = {"QuantizeLinear", "DequantizeLinear"}


def opset(model: onnx.ModelProto) -> int:
    """The version of ai.onnx that a model names; 0 if it names none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def problems(model: onnx.ModelProto, route: str) -> List[str]:
    """What the tools of a route would refuse in a graph in that route's form (see `graphs`).

    Args:
        model: What the first vendor tool of the route gets.
        route: qat, calibrate, lite or float.

    Returns:
        One sentence per problem, naming the node or operator and the source of the rule; empty if none is known.
    """
    found = []
    domains = sorted({o.domain for o in model.opset_import} - {"", "ai.onnx"})
    if domains:
        found.append(f"the model names the domains {', '.join(domains)}; ATC may refuse all but ai.onnx (E16005)")
    counted = Counter(n.op_type for n in model.graph.node)
    has = set(counted)
    lists = {"MindSpore Lite's converter": LITE} if route == "lite" else {f"ATC of {k}": v for k, v in ATC.items()}
    for tool, known in lists.items():
        for name in sorted(has - (_PAIR if route == "qat" else set())):
            if folded(name) in known.operators:
                continue
            found.append(f"operator {name} ({counted[name]}x) is not on the list of {tool} [{known.source}]")
    for tool, (low, high) in _limits(route).items():
        if not low <= opset(model) <= high:
            found.append(f"opset {opset(model)}: {tool} takes {low} to {high}")
    names = Counter(n.name for n in model.graph.node)
    for name in sorted(name for name, n in names.items() if n > 1 or not name):
        found.append(f"{names[name]} nodes are called '{name}'; ATC (E13009) and AMCT need a name for each")
    if route == "qat":
        found += _pair_problems(model)
    elif has & _PAIR:
        found.append(f"{counted['QuantizeLinear']} QuantizeLinear are left; route {route} begins with a float graph")
    return found


def remarks(model: onnx.ModelProto) -> List[str]:
    """Remarks that apply to some releases only."""
    old = ATC["CANN 5 and 6"].opsets[1]
    return [f"opset {opset(model)}: CANN 5 and 6 (Atlas 200 DK) take {old} at most"] if opset(model) > old else []


def _limits(route: str) -> Dict[str, Tuple[int, int]]:
    """The widest opsets of the tools that a route goes through."""
    if route == "lite":
        return {"MindSpore Lite's converter": LITE.opsets}
    newest = {"ATC of CANN 7 and later": ATC["CANN 7 and later"].opsets}
    return newest if route == "float" else {"AMCT": AMCT_OPSETS, **newest}


def _pair_problems(model: onnx.ModelProto) -> List[str]:
    """The rules of `amct_onnx.convert_qat_model` for Q/DQ pairs (see `operator_lists.AMCT_QAT`)."""
    found: List[str] = []
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    users: Dict[str, List[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    outputs = {o.name for o in model.graph.output}
    n_pairs = 0
    for node in model.graph.node:
        after = users.get(node.output[0], [])
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            found.append(f"{node.name}: dequantises a constant; AMCT pairs it with a QuantizeLinear on float weights")
            found += _weight_problems(node, [x for x in after if node.output[0] == x.input[1]], constants)
        if node.op_type != "QuantizeLinear":
            continue
        n_pairs += 1
        if len(after) != 1 or after[0].op_type != "DequantizeLinear":
            found.append(f"{node.name}: goes to {[a.op_type for a in after]}; AMCT wants one DequantizeLinear")
            continue
        if not all(_is_same(a, b, constants) for a, b in zip(node.input[1:], after[0].input[1:])):
            found.append(f"{node.name}: its DequantizeLinear has another scale or zero point; AMCT wants the same")
        layers = users.get(after[0].output[0], [])
        if len(layers) != 1 or after[0].output[0] in outputs or layers[0].op_type not in AMCT_QAT:
            takers = [x.op_type for x in layers] or ["an output"]
            found.append(f"{node.name}: its pair feeds {takers}; AMCT matches it to one of {sorted(AMCT_QAT)}")
            continue
        if constants[node.input[2]].dtype != np.int8:
            found.append(f"{node.name}: is {constants[node.input[2]].dtype}; INT8 is wanted")
        if node.input[0] not in constants:
            if constants[node.input[1]].ndim:
                found.append(f"{node.name}: data with a scale for each channel; AMCT takes that of weights only")
            continue
        found += _weight_problems(node, layers, constants)
        found += _layer_problems(layers[0], constants)
    if not n_pairs:
        found.append("there is no QuantizeLinear: route qat needs an INT8 model; route calibrate takes a float one")
    return found


def _is_same(a: str, b: str, constants: Constants) -> bool:
    """Whether two tensors hold the same; of two that are computed nobody knows before, and they pass."""
    one, other = constants.get(a), constants.get(b)
    return one is other if one is None or other is None else np.array_equal(one, other)


def _weight_problems(node: onnx.NodeProto, layers: List[onnx.NodeProto], constants: Constants) -> List[str]:
    found = []
    for layer in layers:
        if constants[node.input[1]].ndim and layer.op_type not in AMCT_PER_CHANNEL:
            found.append(f"{layer.name}: {layer.op_type} with a scale for each channel; AMCT takes one for all")
        if constants[node.input[2]].any():
            found.append(f"{node.name}: weights with a zero point; AMCT takes 0 only")
    return found


def _layer_problems(layer: onnx.NodeProto, constants: Constants) -> List[str]:
    found = []
    if len(layer.input) > 2 and layer.input[2] not in constants:
        found.append(f"{layer.name}: its bias is computed; AMCT quantises a constant one")
    if layer.op_type == "Gemm" and any(a.name == "transA" and a.i for a in layer.attribute):
        found.append(f"{layer.name}: Gemm with transA; AMCT takes it without")
    return found


def in_graph_order(model: onnx.ModelProto, stage: Stage) -> Stage:
    """The stage with its tensors in the order of the graph: an `.om` knows them by their place.

    Raises:
        ValueError: If the graph has not just the tensors that the bundle names.
    """
    constants = {i.name for i in model.graph.initializer}
    ordered = []
    for kind, tensors, want in (
        ("inputs", model.graph.input, stage.inputs),
        ("outputs", model.graph.output, stage.outputs),
    ):
        has = {
            t.name: tuple(d.dim_value for d in t.type.tensor_type.shape.dim) for t in tensors if t.name not in constants
        }
        if has != want:
            raise ValueError(f"its {kind} are {has}; bundle.yaml says {want}")
        ordered.append(has)
    return replace(stage, inputs=ordered[0], outputs=ordered[1])
