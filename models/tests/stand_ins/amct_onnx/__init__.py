"""Stands in for AMCT's package for ONNX: signatures, outputs and constraints of the AMCT guide, hiascend.com:

* convert_qat_model: CANN 8.1, atlasamct_16_0160; its rules: "QAT Model Adaptation to CANN Format", CANN 8.5, _0148.
* create_quant_config: CANN 8.0, atlasamct_16_0153. quantize_model: _0154. save_model: CANN 8.0, _0155.
* AMCT_SO: the session options with which a calibration model must be run (the examples on those pages).

The guide shows no error messages; those here are this stand-in's own. Where AMCT records ranges by an operator of its
own in the graph, the stand-in watches the session.
"""

import json
import os

import numpy as np
import onnx

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
from deploy import constants_of, deployed, rebuilt
from onnx import helper

AMCT_SO = ort.SessionOptions()
AMCT_SO.log_severity_level = 3

_LAYERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
_PER_CHANNEL = ("Conv", "ConvTranspose")
_OPSETS = range(8, 15)
_seen = {}
"""Modified model -> number of runs and tensor -> lowest and highest value; in memory, as AMCT has it."""


def _load(path, name):
    if not isinstance(path, str):
        raise TypeError(f"{name} must be str, got {type(path).__name__}")
    model = onnx.load(path)
    domains = {o.domain or "ai.onnx": o.version for o in model.opset_import}
    if domains.get("ai.onnx") not in _OPSETS:
        raise RuntimeError(f"ai.onnx opset {domains.get('ai.onnx')} is not supported: v8 to v14")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise RuntimeError(f"node {node.name}: domain {node.domain} is not supported")
    return model


def _save(model, save_path):
    os.makedirs(os.path.dirname(save_path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
    onnx.save(model, f"{save_path}_fake_quant_model.onnx")
    onnx.save(deployed(model), f"{save_path}_deploy_model.onnx")


def _check_pairs(model):
    constants = constants_of(model)
    users = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    quantisers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    fed = [users[n.output[0]] for n in quantisers]
    dequantisers = [n.name for n in model.graph.node if n.op_type == "DequantizeLinear"]
    if not quantisers or sorted(dequantisers) != sorted(n.name for [n] in fed):
        raise RuntimeError("QuantizeLinear and DequantizeLinear do not come in pairs")
    for quantiser, [dequantiser] in zip(quantisers, fed):
        if any(
            not np.array_equal(constants[a], constants[b]) for a, b in zip(quantiser.input[1:], dequantiser.input[1:])
        ):
            raise RuntimeError(f"{quantiser.name}: the pair does not have the same quantization factors")
        layers = users.get(dequantiser.output[0], [])
        if [x.op_type in _LAYERS for x in layers] != [True]:
            raise RuntimeError(
                f"{quantiser.name}: no layer matches this fake quant pair: {[x.op_type for x in layers]}"
            )
        per_channel = constants[quantiser.input[1]].ndim > 0
        if per_channel and (quantiser.input[0] not in constants or layers[0].op_type not in _PER_CHANNEL):
            raise RuntimeError(f"{layers[0].name}: only per-tensor quantization is supported here")
        if quantiser.input[0] in constants and constants[quantiser.input[2]].any():
            raise RuntimeError(f"{layers[0].name}: offset_w must be 0")
    for node in model.graph.node:
        made = [dequantisers and name for name in node.input[:2] if any(name == d.output[0] for [d] in fed)]
        if node.op_type in _LAYERS and len(made) == 1:
            raise RuntimeError(f"{node.name}: inputs and weights must be quantized at the same time")


def convert_qat_model(model_file, save_path, record_file=None):
    if record_file is not None and not isinstance(record_file, str):
        raise TypeError("record_file must be str")
    model = _load(model_file, "model_file")
    _check_pairs(model)
    _save(model, save_path)


def create_quant_config(
    config_file,
    model_file,
    skip_layers=None,
    batch_num=1,
    activation_offset=True,
    config_defination=None,
    updated_model=None,
):
    model = _load(model_file, "model_file")
    if type(batch_num) is not int or batch_num < 1:
        raise ValueError(f"batch_num must be an int over 0, got {batch_num}")
    constants = constants_of(model)
    layers = [n.name for n in model.graph.node if n.op_type in _LAYERS and n.input[1] in constants]
    for name in skip_layers or []:
        if name not in layers:
            raise ValueError(f"skip_layers: there is no quantizable layer {name}")
    config = {
        "version": 1, "batch_num": batch_num, "activation_offset": bool(activation_offset),
        **{name: {"quant_enable": name not in (skip_layers or [])} for name in layers},
    }  # fmt: skip
    with open(config_file, "w") as file:  # noqa: PTH123
        json.dump(config, file)


def quantize_model(config_file, model_file, modified_onnx_file, record_file):
    model = _load(model_file, "model_file")
    with open(config_file) as file:  # noqa: PTH123
        config = json.load(file)
    watched = sorted({n.input[0] for n in model.graph.node if config.get(n.name, {}).get("quant_enable")})
    outputs = {o.name for o in model.graph.output}
    modified = onnx.ModelProto()
    modified.CopyFrom(model)
    modified.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in watched if name not in outputs
    )
    onnx.save(modified, modified_onnx_file)
    with open(record_file, "w"):  # noqa: PTH123
        pass
    _seen[modified_onnx_file] = {"config": config, "model": model, "runs": 0, "ranges": {}, "watched": watched}


def save_model(modified_onnx_file, record_file, save_path):
    if modified_onnx_file not in _seen:
        raise RuntimeError(f"{modified_onnx_file} is not from quantize_model of this process")
    seen = _seen[modified_onnx_file]
    config, model = seen["config"], seen["model"]
    if seen["runs"] < config["batch_num"]:
        raise RuntimeError(
            f"{seen['runs']} of {config['batch_num']} batches were run; the quantization factors are not there"
        )
    constants, nodes = constants_of(model), []
    for node in model.graph.node:
        if not config.get(node.name, {}).get("quant_enable"):
            nodes.append(node)
            continue
        low, high = (float(x) for x in seen["ranges"][node.input[0]])
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / 255, 1e-6)
        weight = constants[node.input[1]]
        axes = tuple(range(1, weight.ndim)) if node.op_type in _PER_CHANNEL else None
        scale_w = (np.abs(weight).max(axis=axes) / 127).astype(np.float32) + np.float32(1e-9)
        nodes += _paired(node, "d", node.input[0], np.float32(scale), np.int8(round(-128 - low / scale)), constants)
        nodes += _paired(node, "w", node.input[1], scale_w, np.zeros(np.shape(scale_w), np.int8), constants)
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.input[0], made.input[1] = f"{node.name}_d_f", f"{node.name}_w_f"
        nodes.append(made)
    _save(rebuilt(model, nodes, constants), save_path)


def _paired(node, kind, source, scale, zero, constants):
    name = f"{node.name}_{kind}"
    constants[f"{name}_s"], constants[f"{name}_z"] = np.asarray(scale), np.asarray(zero)
    numbers, options = [f"{name}_s", f"{name}_z"], {"axis": 0} if np.ndim(scale) else {}
    return [
        helper.make_node("QuantizeLinear", [source, *numbers], [f"{name}_q"], name=f"{name}_Q", **options),
        helper.make_node("DequantizeLinear", [f"{name}_q", *numbers], [f"{name}_f"], name=f"{name}_DQ", **options),
    ]


class _Watched(ort.InferenceSession):
    """A session that AMCT's operators would record in, if it was made with AMCT_SO."""

    def __init__(self, path_or_bytes, sess_options=None, **options):
        super().__init__(path_or_bytes, sess_options, **options)
        self._seen = _seen.get(path_or_bytes) if sess_options is AMCT_SO else None

    def run(self, output_names, input_feed, run_options=None):
        results = super().run(output_names, input_feed, run_options)
        if self._seen is not None:
            names = output_names or [o.name for o in self.get_outputs()]
            values = {**dict(zip(names, results)), **input_feed}
            self._seen["runs"] += 1
            for name in self._seen["watched"]:
                low, high = self._seen["ranges"].get(name, (np.inf, -np.inf))
                self._seen["ranges"][name] = min(low, values[name].min()), max(high, values[name].max())
        return results


ort.InferenceSession = _Watched
