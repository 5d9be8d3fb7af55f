"""Stands in for ATC. Parameters: `atc --help` in github hicann/ge ffdcbc9, api/atc/main_impl.cc and atc_flags.cc, and
"ATC Instructions" (hiascend.com, CANN 8.0). Error codes and their words: hicann/ge, docs/en/user_guides/error_codes/,
except EE1000 ("Command Line Errors", CANN 5.0.4). Operators registered for opsets 8 to 18: `*_onnx_plugin.cpp` of
hicann/ops-nn e5c3fa9 and hicann/ops-math c419332, here those that the tests meet.
"""

import sys
from pathlib import Path
from typing import NoReturn

import onnx
from carried import write_om
from deploy import runnable

FLAGS = {
    "mode": "0",
    "model": "",
    "output": "",
    "framework": "-1",
    "input_format": "NCHW",
    "input_shape": "",
    "output_type": "",
    "soc_version": "",
    "log": "null",
    "precision_mode": "",
    "out_nodes": "",
    "insert_op_conf": "",
}
ALLOWED = {
    "mode": {"0"},
    "framework": {"5"},
    "input_format": {"NCHW", "ND", "NCDHW"},
    "output_type": {"", "FP32", "FP16", "UINT8", "INT8"},
    "log": {"debug", "info", "warning", "error", "null"},
}
CHIPS = {"Ascend310", "Ascend310B1", "Ascend310B4", "Ascend310P3", "Ascend910B4"}
OPERATORS = {
    *(
        "Add",
        "AscendDequant",
        "AscendQuant",
        "Clip",
        "Concat",
        "Conv",
        "Cos",
        "Div",
        "Gemm",
        "Log",
        "MatMul",
        "Mul",
        "Neg",
    ),
    *("Pad", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Sigmoid", "Sin", "Slice", "Softmax", "Sqrt", "Sub"),
    *("Identity", "Resize", "Tanh", "Transpose"),
}
OPSETS = range(8, 19)


def fail(code: str, words: str) -> NoReturn:
    print(f"ATC run failed, Please check the detail log, Try 'atc --help' for more information\n{code}: {words}")
    raise SystemExit(1)


def parse(argv):
    flags = dict(FLAGS)
    for word in argv:
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if not word.startswith("-") or not equals or name not in FLAGS:
            fail("E10014", f"Value {value} for parameter --{name} is invalid.")
        flags[name] = value
    for name, allowed in ALLOWED.items():
        if name == "framework" and flags[name] == "-1":
            fail(
                "E10007",
                "--framework is required. The value must be 0(Caffe) or ... or 5(Onnx).",
            )
        if flags[name] not in allowed:
            why = "The current value is not within the valid range."
            fail("E10001", f"Value {flags[name]} for parameter --{name} is invalid. Reason: {why}")
    for name in ("model", "output", "soc_version"):
        if not flags[name]:
            fail("E10007", f"--{name} is required. The value must be given.")
    if flags["soc_version"] not in CHIPS:
        fail(
            "EE1000", f"Value {flags['soc_version']} is invalid for the SoC version. Valid values are: {sorted(CHIPS)}"
        )
    return flags


def shapes(text):
    found = {}
    for part in text.split(";"):
        name, colon, dims = part.rpartition(":")
        try:
            found[name] = tuple(int(d) for d in dims.split(","))
        except ValueError:
            colon = ""
        if not colon or not name:
            why = 'The shape must contain two parts: name and value. The value must be formatted as "name:n1,c1,h1,w1".'
            fail("E10002", f"Value {text} for parameter --input_shape is invalid. Reason: {why}")
    return found


def main():
    print("ATC start working now, please wait for a moment.")
    flags = parse(sys.argv[1:])
    path = Path(flags["model"])
    if not path.is_file():
        fail("E13000", f"Path {path} is empty. Reason: [Error 2] No such file or directory.")
    try:
        model = onnx.load(str(path))
    except Exception:
        fail("E13005", f"Failed to parse file {path}.")
    if len(model.opset_import) > 1:
        fail("E16005", f"The model has {len(model.opset_import)} --domain_version fields, but only one is allowed.")
    version = model.opset_import[0].version
    for node in model.graph.node:
        if node.op_type not in OPERATORS or version not in OPSETS or node.domain not in ("", "ai.onnx"):
            fail(
                "E16002",
                f"No ONNX parser is registered for optype {node.domain or 'ai.onnx'}::{version}::{node.op_type}.",
            )
    names = [n.name for n in model.graph.node]
    for name in names:
        if names.count(name) > 1:
            fail("E13009", f"There are more than one operator named {name}.")
    if any(n.op_type == "AscendQuant" for n in model.graph.node) and flags["precision_mode"]:
        fail("E10055", "After AMCT no --precision_mode is to be given (ATC Instructions, General Restrictions).")
    given = shapes(flags["input_shape"])
    inputs = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
    for name, shape in given.items():
        if name not in inputs:
            fail("E10016", f"Op name {name} specified in --input_shape is not found in the model.")
        if shape != inputs[name]:
            fail(
                "E10001", f"Value {shape} for parameter --input_shape is invalid. Reason: the model has {inputs[name]}"
            )
    if flags["input_format"] == "NCHW" and any(len(shape) != 4 for shape in inputs.values()):
        fail("E10001", "Value NCHW for parameter --input_format is invalid. Reason: an input has not 4 dimensions")
    Path("fusion_result.json").write_text("[]")  # as ATC does, where it is run
    Path("kernel_meta").mkdir(exist_ok=True)
    write_om(Path(flags["output"] + ".om"), runnable(model), flags["soc_version"])
    print("ATC run success, welcome to the next use.")


if __name__ == "__main__":
    main()
