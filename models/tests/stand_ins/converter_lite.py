"""Stands in for MindSpore Lite's converter. Flags, sections, keys, their checks and words: github
mindspore-ai/mindspore-lite 2b28870, tools/converter: converter_lite/converter_flags.cc, converter.cc, config_parser/
config_file_parser.cc, quant_param_parser.cc, preprocess_parser.cc and parser/om/om_model_parser.cc. For an ONNX the
stand-in runs the graph on the calibration data and keeps it float.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
from carried import read_om, write_mindir

FLAGS = {
    *("fmk", "modelFile", "outputFile", "weightFile", "inputDataType", "outputDataType", "configFile", "fp16"),
    *("inputShape", "inputDataFormat", "outputDataFormat", "infer", "device", "saveType", "optimize"),
    "optimizeTransformer",
}
SECTIONS = {
    "om_converter": {f"{k}_{what}_vector" for k in ("input", "output") for what in ("name", "shape", "data_type")},
    "common_quant_param": {
        *("quant_type", "bit_num", "min_quant_weight_size", "min_quant_weight_channel", "skip_quant_node"),
        *("debug_info_save_path", "enable_encode", "workspace"),
    },
    "data_preprocess_param": {
        *("calibrate_path", "calibrate_size", "input_type", "image_to_format", "normalize_mean", "normalize_std"),
        *("resize_width", "resize_height", "resize_method", "center_crop_width", "center_crop_height"),
    },
    "full_quant_param": {
        *("activation_quant_method", "bias_correction", "target_device", "per_channel", "smooth_alpha"),
        "enable_smooth_shift",
    },
    "acl_init_options": {"ge.socVersion"},
}
ALLOWED = {
    "quant_type": {"WEIGHT_QUANT", "FULL_QUANT", "DYNAMIC_QUANT"},
    "bit_num": {"8"},
    "input_type": {"IMAGE", "BIN"},
    "activation_quant_method": {"MAX_MIN", "KL", "REMOVAL_OUTLIER"},
    "bias_correction": {"true", "false"},
    "per_channel": {"true", "false"},
    "target_device": {"KIRIN", "NVGPU", "DSP", "ASCEND"},
}
TYPES = {"FLOAT16", "FLOAT32", "FLOAT64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
OPERATORS = {
    *("Add", "Clip", "Concat", "Conv", "Cos", "Div", "Gemm", "Log", "MatMul", "Mul", "Neg", "Pad", "ReduceMean"),
    *("ReduceSum", "Relu", "Reshape", "Sigmoid", "Sin", "Slice", "Softmax", "Sqrt", "Sub", "Transpose"),
}


def fail(words: str) -> NoReturn:
    print(words, file=sys.stderr)
    print("CONVERT RESULT FAILED:-1", file=sys.stderr)
    raise SystemExit(1)


def flags_of(argv):
    found = {}
    for word in argv:
        name, equals, value = word[2:].partition("=")
        if not word.startswith("--") or not equals or name not in FLAGS:
            fail(f"Unknown flag: {word}")
        found[name] = value
    for name in ("fmk", "modelFile", "outputFile"):
        if not found.get(name):
            fail(f"INPUT MISSING: {name} is necessary")
    if found["fmk"] not in ("TF", "TFLITE", "CAFFE", "MINDIR", "ONNX", "OM", "PYTORCH", "MSLITE"):
        fail("INPUT ILLEGAL: fmk must be TF|TFLITE|CAFFE|MINDIR|ONNX")
    if found.get("saveType", "MINDIR") not in ("MINDIR", "MINDIR_LITE"):
        fail("INPUT ILLEGAL: saveType must be MINDIR|MINDIR_LITE")
    if found.get("optimize", "general").split(":")[0] not in ("none", "general", "gpu_oriented", "ascend_oriented"):
        fail("INPUT ILLEGAL: optimize must be none|general|gpu_oriented|ascend_oriented")
    if not Path(found["modelFile"]).is_file():
        fail(f"The file {found['modelFile']} is not exist")
    return found


def sections_of(path):
    sections, current = {}, None
    for line in Path(path).read_text().splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("["):
            current = text.strip("[]")
            if current not in SECTIONS:
                fail(f"unknown section {current}")  # the real one ignores it: nothing of ours may be ignored
            sections[current] = {}
            continue
        name, equals, value = text.partition("=")
        if not equals or current is None or name not in SECTIONS[current]:
            fail(f"INPUT ILLEGAL: `{name}` is not supported in [{current}]")
        if name in ALLOWED and value not in ALLOWED[name]:
            fail(f"INPUT ILLEGAL: {name} must be {'|'.join(sorted(ALLOWED[name]))}.")
        sections[current][name] = value
    return sections


def wrap(flags, sections):
    if flags.get("device") != "Ascend":
        fail("When set OM, device must be set to Ascend.")
    reported = sections.get("om_converter")
    if not reported:
        fail("Can not find info.")
    model, soc = read_om(Path(flags["modelFile"]))
    for kind, tensors in (("input", model.graph.input), ("output", model.graph.output)):
        names, dims, types = (
            reported.get(f"{kind}_{what}_vector", "").split(":") for what in ("name", "shape", "data_type")
        )
        if not names[0] or len(dims) != len(names) or len(types) != len(names):
            fail(f"Invalid {kind}s info.")
        if not set(types) <= TYPES:
            fail(f"map::at: {types}")
        # the real one accepts any name and fails when the model is loaded
        has = [",".join(str(d.dim_value) for d in t.type.tensor_type.shape.dim) for t in tensors]
        if dims != has or set(types) != {"FLOAT32"}:
            fail(f"{kind}s: reported {dims} {types}, the .om has {has}")
    return model, soc, *(reported[f"{kind}_name_vector"].split(":") for kind in ("input", "output"))


def quantise(flags, sections):
    if flags.get("optimize", "").split(":")[0] != "ascend_oriented":
        fail("optimize must be ascend_oriented for Ascend")
    try:
        model = onnx.load(flags["modelFile"])
    except Exception:
        fail(f"Read onnx model file failed, model path: {flags['modelFile']}")
    for node in model.graph.node:
        if node.op_type not in OPERATORS:
            fail(f"UNSUPPORTED OP LIST: FMKTYPE: ONNX, OP TYPE: {node.op_type}")
    if sections["common_quant_param"]["quant_type"] != "FULL_QUANT" or "full_quant_param" not in sections:
        fail("full quantization is expected here")
    data = sections["data_preprocess_param"]
    folders = dict(part.split(":") for part in data["calibrate_path"].split(","))
    session = ort.InferenceSession(flags["modelFile"], providers=["CPUExecutionProvider"])
    if set(folders) != {i.name for i in session.get_inputs()}:
        fail(f"calibrate_path names {sorted(folders)}")
    count = int(data["calibrate_size"])
    files = {name: sorted(Path(folder).iterdir()) for name, folder in folders.items()}
    if min(len(found) for found in files.values()) < count:
        fail(f"file count less than calibrate size, limited_count: {count}")
    for i in range(count):
        feeds = {}
        for tensor in session.get_inputs():
            raw = files[tensor.name][i].read_bytes()
            if len(raw) != 4 * int(np.prod(tensor.shape)):
                fail(f"Input size:{len(raw)} is not equal to tensor size")
            feeds[tensor.name] = np.frombuffer(raw, np.float32).reshape(tensor.shape)
        session.run(None, feeds)
    names = ([t.name for t in tensors] for tensors in (model.graph.input, model.graph.output))
    return model, sections["acl_init_options"]["ge.socVersion"], *names


def main():
    flags = flags_of(sys.argv[1:])
    sections = sections_of(flags["configFile"])
    made = (wrap if flags["fmk"] == "OM" else quantise)(flags, sections)
    write_mindir(Path(flags["outputFile"] + ".mindir"), *made)
    print("CONVERT RESULT SUCCESS:0")


if __name__ == "__main__":
    main()
