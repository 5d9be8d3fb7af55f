"""Everything the double of pyACL holds, and the rules all its functions keep.

Sources. The functions' arguments and results: pyACL's own source (gitcode runtime, python/pyACL, 2026: PyArg_ParseTuple
formats; "k" takes an int and nothing else) and the vendor's documentation (Atlas 200I DK A2 23.0.RC2, "aadgp";
CANN commercial 8.0, "appdevgapi"). Codes: aclError there, and rt_error_codes.h (github hicann/runtime 681ef76),
ge_error_codes.h (github hicann/ge ffdcbc9).
"""

import ctypes
import functools
import itertools
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple

from chip_double import Misuse, faults
from chip_double.graph import Graph

INVALID_PARAM, UNINITIALIZE, REPEAT_INITIALIZE, REPEAT_FINALIZE = 100000, 100001, 100002, 100037
RT_PARAM, RT_DEVICE, RT_CONTEXT_NULL, RT_MODEL_CONTEXT = 107000, 107001, 107002, 107004
GE_PARAM, GE_PATH, GE_MODEL_ID, GE_DATA_SIZE = 145000, 145002, 145003, 145006
RT_MEMORY, RT_SOC = 207001, 507008


@dataclass
class Block:
    """Memory on the host or on the chip."""

    memory: Any
    size: int
    is_device: bool


@dataclass
class Model:
    graph: Graph
    context: int


@dataclass
class State:
    """Of one process."""

    n_init: int = 0
    was_finalized: bool = False
    devices: Counter = field(default_factory=Counter)  # type: ignore[type-arg]
    contexts: Dict[int, int] = field(default_factory=dict)
    models: Dict[int, Model] = field(default_factory=dict)
    descs: Dict[int, Optional[Graph]] = field(default_factory=dict)
    datasets: Dict[int, List[int]] = field(default_factory=dict)
    buffers: Dict[int, Tuple[int, int]] = field(default_factory=dict)
    blocks: Dict[int, Block] = field(default_factory=dict)
    gone: Dict[int, object] = field(default_factory=dict)
    """Handles and addresses given back, with their memory, so that none is used twice."""
    recent: List[str] = field(default_factory=list)


state = State()
current = threading.local()
"""`context`: that of this thread."""
settings: Dict[str, Any] = {
    "soc": "Ascend310B4",
    "n_devices": 1,
    "run_mode": 0,  # ACL_DEVICE: both boards run programs on the chip's own CPUs
    "memory_bytes": 1 << 30,
}
_handles = itertools.count(0x7F0000001000, 0x40)


def held() -> Dict[str, int]:
    """What is open now; after the last session it must be nothing. `acl.init` stays for the process."""
    s = state
    counted = {
        "devices": sum(s.devices.values()),
        "contexts": len(s.contexts),
        "models": len(s.models),
        "descs": len(s.descs),
        "datasets": len(s.datasets),
        "data buffers": len(s.buffers),
        "device memory": sum(b.size for b in s.blocks.values() if b.is_device),
        "host memory": sum(b.size for b in s.blocks.values() if not b.is_device),
    }
    return {name: n for name, n in counted.items() if n}


def forget() -> None:
    """As a fresh process after `acl.init`: for a test that leaked on purpose, or follows one that failed."""
    n_init = state.n_init
    state.__init__()  # type: ignore[misc]
    state.n_init = n_init
    current.__dict__.clear()
    faults.clear()


def function(failed: Callable[[int], Any], needs_context: bool = False, gives_back: bool = False) -> Callable[..., Any]:
    """A function of pyACL: counted, failing on order, and only after `acl.init`.

    Args:
        failed: What it gives back for a code.
        needs_context: Without one it gives 107002.
        gives_back: A failure on order gives back all the same, and only says that it failed: what is then open in a
            real one nobody knows.
    """

    def wrap(body: Callable[..., Any]) -> Callable[..., Any]:
        name = f"{body.__module__}.{body.__name__}"

        @functools.wraps(body)
        def call(*args: Any) -> Any:  # no keywords: METH_VARARGS
            what = faults.due(name)
            if what is not None:
                state.recent[:] = [f"EZ9999: Inner Error! {name} was told to fail"]
                if gives_back:
                    body(*args)
                return failed(int(what))
            if not state.n_init and name != "acl.init":
                return failed(UNINITIALIZE)
            if needs_context and context() is None:
                return failed(RT_CONTEXT_NULL)
            return body(*args)

        return call

    return wrap


def context() -> Optional[int]:
    """This thread's context, if it still is."""
    one: Optional[int] = getattr(current, "context", None)
    return one if one in state.contexts else None


def only_code(code: int) -> int:
    return code


def zero_and_code(code: int) -> Tuple[int, int]:
    return 0, code


def nothing(_: int) -> int:
    return 0


def whole(value: object) -> int:
    """Format "k": an int, and no numpy integer."""
    if not isinstance(value, int):
        raise TypeError(f"argument must be int, not {type(value).__name__}")
    return value


def text(value: object) -> str:
    """Format "s"."""
    if not isinstance(value, str):
        raise TypeError(f"argument must be str, not {type(value).__name__}")
    if "\0" in value:
        raise ValueError("embedded null character")
    return value


def handle() -> int:
    return next(_handles)


def alive(kind: Dict[int, Any], one: object, what: str) -> bool:
    """Whether this is a handle of this kind; 0 is none."""
    number = whole(one)
    if number in state.gone:
        raise Misuse(f"{what} {number:#x} is used after it was given back")
    if number and number not in kind:
        raise Misuse(f"{number:#x} is no {what}")
    return bool(number)


def allocate(size: int, is_device: bool) -> int:
    """Memory with an address of its own."""
    memory = ctypes.create_string_buffer(b"\xff" * size, size)  # not zeros: what is read unwritten must show
    address = ctypes.addressof(memory)
    state.blocks[address] = Block(memory, size, is_device)
    return address


def used_bytes() -> int:
    """Of the chip's memory."""
    blocks = sum(b.size for b in state.blocks.values() if b.is_device)
    return blocks + sum(m.graph.n_bytes for m in state.models.values())
