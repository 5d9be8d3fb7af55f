"""The error codes of pyACL: their meanings and remedies.

From the table aclError of the vendor's documentation (Atlas 200I DK A2 23.0.RC2, aclcppdevg_03_1652; CANN commercial
8.0, aclpythondevg_01_0921) and the headers it is generated from (hicann/runtime 681ef76,
include/external/acl/error_codes/rt_error_codes.h; hicann/ge ffdcbc9, inc/external/ge/ge_error_codes.h).
"""

from typing import Dict, Tuple

ACL_ERROR_REPEAT_INITIALIZE = 100002

_MODEL = "convert the model again for this chip and this CANN (models/README.md); `npu-smi info` names the chip"
_CANN = (
    "driver, firmware and CANN must be of the same release: install them again together; for details see /var/log/npu "
    "and ~/ascend/log"
)
_DRIVER = (
    "`npu-smi info` must show the chip, and this user must be allowed to use it (group HwHiAiUser, /dev/davinci*); "
    "then restart the board"
)
_MEMORY = "stop other programs that use the chip (`npu-smi info` lists them); see model.device_id"
_HOST_MEMORY = (
    "raise worker.memory_mb, the limit of this program, or stop other programs that fill the board's memory; "
    "`npu-smi info` shows the chip's"
)
_DEVICE = "`npu-smi info` lists the chips; correct model.device_id"
_CHIP = "try again; if it persists, restart the board and read /var/log/npu and ~/ascend/log"
_OURS = "this is a bug in Sonic Edge: keep the log (`sonic-edge doctor --bundle`) and report it"

_MEANINGS: Dict[int, Tuple[str, str]] = {
    100000: ("an argument was refused", _OURS),
    100001: ("not initialised", _OURS),
    ACL_ERROR_REPEAT_INITIALIZE: ("already initialised", _OURS),
    100003: ("the file cannot be used", "check that it exists and this user may read it"),
    100006: ("the file cannot be parsed", _MODEL),
    100007: ("the file lacks something", _MODEL),
    100008: ("the file holds a wrong value", _MODEL),
    100011: ("no such model", _OURS),
    100012: ("the model cannot be deserialised", _MODEL),
    100013: ("the model cannot be parsed", _MODEL),
    100014: ("the model cannot be read", _MODEL),
    100015: ("the model's size is wrong", _MODEL),
    100016: ("the model lacks something", _MODEL),
    100017: ("the inputs do not match the model", _MODEL),
    100018: ("the outputs do not match the model", _MODEL),
    100026: ("a type is not supported", _MODEL),
    100027: ("a layout does not match the model", _MODEL),
    100037: ("already finalised", _OURS),
    107000: ("an argument was refused by the runtime", _OURS),
    107001: ("there is no chip with this number", _DEVICE),
    107002: ("this thread has no context", _OURS),
    107003: ("a stream of another context", _OURS),
    107004: ("a model of another context", _OURS),
    107017: ("an invalid handle", _OURS),
    107019: ("a wait timed out", _CHIP),
    107020: ("a task timed out", _CHIP),
    145000: ("an argument was refused by the graph engine", _MODEL),
    145001: ("the graph engine is not initialised", _CANN),
    145002: ("there is no such model file", "check that it exists and this user may read it"),
    145003: ("no such model", _OURS),
    145006: ("the model's size is wrong: the file is damaged, or is not an .om", _MODEL),
    145007: ("the model's address is wrong", _OURS),
    145009: ("the model is already loaded", _OURS),
    145011: ("an input's address is wrong", _OURS),
    145012: ("an input's length is wrong", _OURS),
    145018: ("an operator for another kind of kernel", _MODEL),
    145019: ("the graph engine's plug-ins are not found", _CANN),
    145020: ("a layout is wrong", _MODEL),
    145021: ("a shape is wrong", _MODEL),
    145022: ("a type is wrong", _MODEL),
    200000: ("out of memory", _HOST_MEMORY),
    200001: ("not supported by this chip", _CANN),
    200002: ("the chip is not usable", _DRIVER),
    200005: ("an invalid handle", _OURS),
    207000: ("not supported by this chip", _CANN),
    207001: ("no memory left on the chip", _MEMORY),
    207002: ("memory cannot be released", _CHIP),
    207003: ("numeric overflow on the chip", _MODEL),
    207004: ("there is no chip", _DRIVER),
    207005: ("the chip has no resources left", _MEMORY),
    207006: ("this user may not use the chip", "add the user to the group HwHiAiUser and start the service again"),
    207008: ("no streams left on the chip", _MEMORY),
    207010: ("no room for another model on the chip", _MEMORY),
    207018: ("no memory left on the chip", _MEMORY),
    245000: ("out of memory for the model", _HOST_MEMORY),
    245001: ("memory cannot be used by the graph engine", _MEMORY),
    245002: ("memory of the chip cannot be used by the graph engine", _MEMORY),
    500000: ("an error CANN has no name for", _CANN),
    500001: ("an internal error", _CANN),
    500002: ("the graph engine failed", _CANN),
    500003: ("the runtime failed", _CANN),
    500004: ("the driver failed", _DRIVER),
    500005: ("profiling failed", _CANN),
    507000: ("the runtime failed", _CANN),
    507001: ("the chip's task scheduler failed", _CHIP),
    507008: ("the model is for another chip", _MODEL),
    507010: ("the chip no longer answers", _CHIP),
    507011: ("the model failed on the chip", _CHIP),
    507012: ("the chip did not report in time", _CHIP),
    507013: ("copying to or from the chip failed", _CHIP),
    507014: ("a core of the chip timed out", _CHIP),
    507015: ("a core of the chip failed", _CHIP),
    507016: ("a core of the chip trapped", _CHIP),
    507017: ("the chip's CPU timed out", _CHIP),
    507018: ("the chip's CPU failed", _CHIP),
    507033: ("the chip cannot be started", _DRIVER),
    507053: ("the chip's memory is faulty", "restart the board; if it happens again, the board is broken"),
    507899: ("the driver failed", _DRIVER),
    507900: ("the chip's CPU software failed", _CANN),
    507901: ("the connection to the chip was closed", _DRIVER),
    545000: ("the graph engine failed", _CANN),
    545001: ("the model cannot be loaded", _MODEL),
    545002: ("the model's graph cannot be loaded", _MODEL),
    545003: ("the model's weights cannot be loaded", _MODEL),
    545004: ("the model's tasks cannot be loaded: it is for another chip or another CANN", _MODEL),
    545005: ("the model's kernels cannot be loaded: it is for another chip or another CANN", _MODEL),
    545601: ("the model timed out", _CHIP),
}
_CLASSES: Dict[int, Tuple[str, str]] = {
    1: ("invalid use", _OURS),
    2: ("a missing resource", _MEMORY),
    3: ("a failed service", _CHIP),
    5: ("an internal error", _CANN),
}
"""By the hundred thousands digit, for codes not in the table, following the vendor's rules 1 to 4."""


def explain(code: int) -> str:
    """The meaning and remedy of a code: ``507008 (the model is for another chip): convert the model again ...``."""
    meaning, remedy = _MEANINGS.get(code) or _CLASSES.get(code // 100000, _CLASSES[5])
    return f"{code} ({meaning}): {remedy}"
