"""The deploy model that AMCT leaves for ATC, and how it computes.

Its form: "save_model" in the AMCT guide (hiascend.com, CANN 6.0.1, atlasamctonnx_16_0061): AscendQuant makes INT8 of a
layer's data, the layer has INT8 weights and an INT32 bias, AscendDequant makes float of the INT32 sum. Attributes and
the packing of a dequantisation scale into uint64: github hicann/amct 2be20da, graph_based/amct_pytorch/optimizer/
replace_quant_pass.py and replace_dequant_pass.py; hicann/ops-nn e5c3fa9, quant/ascend_quant/framework.
"""

from typing import Dict, List

import numpy as np
import onnx
from onnx import helper, numpy_helper


def constants_of(model: onnx.ModelProto) -> Dict[str, np.ndarray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def rebuilt(model: onnx.ModelProto, nodes: List[onnx.NodeProto], constants: Dict[str, np.ndarray]) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    kept = [numpy_helper.from_array(array, name) for name, array in constants.items() if name in used]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, kept)
    made = helper.make_model(graph, opset_imports=model.opset_import)
    made.ir_version = model.ir_version
    return made


def _wide(array: np.ndarray, n_dims: int) -> np.ndarray:
    return array.reshape((-1,) + (1,) * (n_dims - 1)) if array.ndim else array


def deployed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph with Q/DQ pairs before the data and the weights of its INT8 layers, as ATC gets it."""
    constants = constants_of(model)
    made_by = {output: node for node in model.graph.node for output in node.output}
    nodes = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        pairs = [made_by[made_by[n].input[0]] for n in node.input if _is_pair(n, made_by)]
        if not pairs:
            nodes.append(node)
            continue
        data, weight = pairs
        scale_d, zero_d = (constants[name] for name in data.input[1:])
        scale_w = constants[weight.input[1]]
        values = constants[weight.input[0]]
        layer = node.name
        int8 = np.clip(np.rint(values / _wide(scale_w, values.ndim)), -128, 127).astype(np.int8)
        deq = np.atleast_1d((scale_d * scale_w).astype(np.float32))
        constants[f"{layer}_w8"] = int8
        constants[f"{layer}_deq"] = deq.view(np.uint32).astype(np.uint64)
        inputs = [f"{layer}_x8", f"{layer}_w8"]
        if len(node.input) > 2:
            constants[f"{layer}_b32"] = np.rint(constants[node.input[2]] / deq).astype(np.int32)
            inputs.append(f"{layer}_b32")
        nodes.append(
            helper.make_node("AscendQuant", [data.input[0]], [f"{layer}_x8"], name=f"{layer}.quant",
                             scale=float(1 / scale_d), offset=float(zero_d), quant_bit=8)
        )  # fmt: skip
        layer_node = onnx.NodeProto()
        layer_node.CopyFrom(node)
        layer_node.input[:], layer_node.output[:] = inputs, [f"{layer}_sum"]
        nodes.append(layer_node)
        nodes.append(
            helper.make_node(
                "AscendDequant", [f"{layer}_sum", f"{layer}_deq"], [node.output[0]], name=f"{layer}.dequant"
            )
        )
    return rebuilt(model, nodes, constants)


def _is_pair(name: str, made_by: Dict[str, onnx.NodeProto]) -> bool:
    return name in made_by and made_by[name].op_type == "DequantizeLinear" and made_by[name].input[0] in made_by


def runnable(model: onnx.ModelProto) -> onnx.ModelProto:
    """What a deploy model computes, in operators that onnxruntime has."""
    constants = constants_of(model)
    nodes, scales, sums = [], {}, {}
    for node in model.graph.node:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "AscendQuant":
            layer = node.output[0]
            scales[layer] = np.float32(1 / options["scale"])
            constants[f"{layer}_s"] = np.array(scales[layer], np.float32)
            constants[f"{layer}_z"] = np.array(options["offset"], np.int8)
            numbers = [f"{layer}_s", f"{layer}_z"]
            nodes.append(helper.make_node("QuantizeLinear", [node.input[0], *numbers], [f"{layer}_q"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{layer}_q", *numbers], [layer]))
        elif node.input and node.input[0] in scales:
            sums[node.output[0]] = node
        elif node.op_type == "AscendDequant":
            layer = sums[node.input[0]]
            deq = constants[node.input[1]].astype(np.uint32).view(np.float32)
            weight = constants[layer.input[1]].astype(np.float32)
            per = deq if len(deq) > 1 else deq.reshape(())
            constants[f"{layer.name}_wf"] = (weight * _wide(per / scales[layer.input[0]], weight.ndim)).astype(
                np.float32
            )
            inputs = [layer.input[0], f"{layer.name}_wf"]
            if len(layer.input) > 2:
                constants[f"{layer.name}_bf"] = (constants[layer.input[2]] * deq).astype(np.float32)
                inputs.append(f"{layer.name}_bf")
            made = onnx.NodeProto()
            made.CopyFrom(layer)
            made.input[:], made.output[:] = inputs, node.output
            nodes.append(made)
        else:
            nodes.append(node)
    return rebuilt(model, nodes, constants)
