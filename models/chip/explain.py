"""The meaning of a vendor tool's failure, and what to do.

ATC's codes and their meaning: github hicann/ge ffdcbc9, docs/en/user_guides/error_codes/, and "Public Operator Errors"
and "Command Line Errors" on hiascend.com (CANN 5.0.4 and 8.0). Where the vendor's remedy says nothing, ours is given.
"""

import re
from typing import Dict

SET_ENV = "source /usr/local/Ascend/ascend-toolkit/set_env.sh (or $HOME/Ascend/ascend-toolkit/set_env.sh)"

MISSING: Dict[str, str] = {
    "atc": f"atc is not on the PATH. It comes with the CANN toolkit; {SET_ENV}, in this shell",
    "converter_lite": (
        "converter_lite is not on the PATH. It comes in MindSpore Lite's archive: with PACKAGE=its unpacked folder, "
        "export PATH=$PACKAGE/tools/converter/converter:$PATH "
        "LD_LIBRARY_PATH=$PACKAGE/tools/converter/lib:$PACKAGE/runtime/lib:$LD_LIBRARY_PATH"
    ),
    "amct": (
        "AMCT for ONNX is not in this Python. It is a package beside CANN (amct_onnx-*.whl and amct_onnx_op, "
        "with the onnx and onnxruntime that its guide names); say which Python has it with --amct-python; "
        "--route float does without, in fp16"
    ),
    "ours": "this Python needs the extra [convert]: pip install 'sonic-edge[cpu,convert]'",
}

CODES: Dict[str, str] = {
    "E10001": "a parameter has a value that is not allowed; the reason is in the line with the code",
    "E10002": "--input_shape is not name:n,c,h,w;name:...",
    "E10003": "a parameter has a value that is not allowed; the reason is in the line with the code",
    "E10007": "a parameter is missing",
    "E10014": "a parameter has a value that is not allowed; `atc -h` says which are",
    "E10016": "a name in a parameter is not in the model",
    "E10041": "the model file is not valid, or not of the kind that --framework says",
    "E10055": "this installation does not support a parameter or function",
    "E10501": "an operator's prototype is not registered: is ASCEND_OPP_PATH set, the opp package installed?",
    "E11010": "an operator is not supported by this version; a newer operator package may have it",
    "E13000": "a file or folder is not there",
    "E13001": "a file cannot be opened",
    "E13003": "a file cannot be read",
    "E13004": "a file cannot be written: is the disk full, the folder writable?",
    "E13005": "the model file cannot be parsed: another protobuf than CANN's may come first in LD_LIBRARY_PATH",
    "E13009": "two nodes of the model have one name",
    "E13010": "an operator is not supported by this version; a newer operator package may have it",
    "E14001": "an operator does not take its type, input or output as it is here",
    "E16001": "the ONNX model has no input or output node",
    "E16002": "no parser is registered for an operator in this opset: the operator package is older than the model, or "
    "not whole; reinstall or update CANN. CANN 5 and 6 take opset 13 at most",
    "E16004": "the ONNX model has no graph",
    "E16005": "the ONNX model names more than one domain of operators; only ai.onnx is allowed",
    "E19999": "an inner error that ATC does not explain here; the log in ~/ascend/log does (with "
    "ASCEND_SLOG_PRINT_TO_STDOUT=1 it is shown). On a board with little memory export TE_PARALLEL_COMPILER=1 and "
    "MAX_COMPILE_CORE_NUMBER=1, or convert elsewhere",
    "EE1000": "this CANN does not know the chip's name: `npu-smi info` shows the name, and the release must support it",
    "EZ0501": "an operator is not registered in this version",
    "EZ3002": "an operator is on the list but not in this form (type, shape) on this chip",
    "EZ3003": "there is no kernel for an operator: is the opp (kernels) package of this chip installed?",
    "EZ9010": "no parser is registered for an operator",
}
"""Code -> what it means."""

_CODE = re.compile(r"\bE[A-Z0-9]\d{4}\b")


def explain(tool: str, status: int, log: str) -> str:
    """What to do about a failed command.

    Args:
        tool: ours, amct, atc or converter_lite.
        status: Its exit status; 127 if it could not be run, negative if it was killed.
        log: What it said.

    Returns:
        One or more lines.
    """
    if status == 127:
        return MISSING[tool]
    if status in (-9, 137):
        return f"{tool} was killed: most likely the memory was full. Convert on a machine with more"
    lines = []
    for code in dict.fromkeys(_CODE.findall(log)):
        lines.append(f"{code}: {CODES.get(code, 'look it up at hiascend.com, Troubleshooting, Error Codes')}")
    if tool in ("amct", "ours"):
        lines += dict.fromkeys(MISSING[tool] for word in ("ModuleNotFoundError", "ImportError") if word in log)
    if tool == "amct" and not lines:
        lines.append("AMCT refused the model. --route calibrate makes the scales anew and needs no Q/DQ graph")
    if tool == "converter_lite":
        lines += [line.strip() for line in log.splitlines() if "INPUT ILLEGAL" in line or "INPUT INVALID" in line]
        if "libascend" in log or "dlopen" in log or "aclInit" in log:
            lines.append(f"CANN's libraries are missing or do not fit; {SET_ENV}")
        if not lines:
            lines.append(
                "converter_lite says little by itself; GLOG_v=1 in the environment makes it say more. It must be "
                "that of MindSpore Lite's build for Ascend (cloud inference)"
            )
    return "\n".join(lines) or f"{tool} gives no reason that is known here; its log is all there is"
