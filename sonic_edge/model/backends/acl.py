"""Runs a bare `.om` on an Ascend chip through pyACL, the vendor's "Ascend Inference Runtime". Untested on a real chip.

Written from the vendor's documentation of pyACL (Atlas 200I DK A2 23.0.RC2 and CANN commercial 5.0.4 to 9.0), the
source of pyACL itself (gitcode runtime, python/pyACL, 2026: what each function parses and returns), CANN's
(github hicann/runtime 681ef76, hicann/ge ffdcbc9) and the samples for both boards (github Ascend/samples fc2aea9,
python/common/acllite/acllite_model.py).

Host memory comes from the runtime (`acl.rt.malloc_host`) and numpy uses it through its address. So neither the old
`acl.util.numpy_to_ptr` nor its successor `acl.util.bytes_to_ptr` is needed; no CANN release has both.
"""

import atexit
import contextlib
import ctypes
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import Any, Dict, List, Tuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DeviceError
from ..bundle import Stage
from .acl_errors import ACL_ERROR_REPEAT_INITIALIZE, explain
from .base import Tensors, check_inputs
from .tensors import RuntimeTensor, match_inputs, match_outputs

_DEVICE = 0  # acl.rt.get_run_mode: the program runs on the chip's own CPUs, as on both boards; 1: on a separate host
_NORMAL_ONLY = 2  # ACL_MEM_MALLOC_NORMAL_ONLY: no huge pages
_HOST_TO_DEVICE, _DEVICE_TO_HOST, _DEVICE_TO_DEVICE = 1, 2, 3  # aclrtMemcpyKind
_TYPES = {0: "float32", 1: "float16", 2: "int8", 3: "int32", 4: "uint8", 6: "int16", 9: "int64", 11: "float64"}


class _Calls:
    """Calls pyACL's functions by their names after `acl.`; every failure becomes a DeviceError.

    Args:
        module: The module `acl`.
        stage: The stage that error messages name.
    """

    def __init__(self, module: Any, stage: Stage) -> None:
        self._module = module
        self._stage = stage
        self.unreleased: List[str] = []

    def plain(self, name: str, *args: object) -> Any:
        """Call a function that returns a value and no error code."""
        function = self._module
        try:
            for part in name.split("."):
                function = getattr(function, part)
            return function(*args)
        except (AttributeError, TypeError, ValueError, OverflowError, SystemError, RuntimeError) as e:
            raise self._unexpected(name, e) from e

    def do(self, name: str, *args: object) -> None:
        """Call a function that returns only an error code."""
        code = self.plain(name, *args)
        if code != 0:
            raise self.error(name, code)

    def get(self, name: str, *args: object) -> Any:
        """Call a function that returns (value, error code)."""
        try:
            value, code = self.plain(name, *args)
        except (TypeError, ValueError) as e:
            raise self._unexpected(name, e) from e
        if code != 0:
            raise self.error(name, code)
        return value

    def make(self, name: str, *args: object) -> int:
        """Call a function that returns the address of a new object, or 0 on failure."""
        address: int = self.plain(name, *args)
        if not address:
            raise DeviceError(f"{self._stage.path}: acl.{name} failed: {explain(200000)}")
        return address

    def release(self, name: str, *args: object) -> None:
        """Like `do`, but a failure is only recorded, so that the remaining resources are still released."""
        try:
            self.do(name, *args)
        except DeviceError as e:
            self.unreleased.append(str(e))

    def _unexpected(self, name: str, error: Exception) -> DeviceError:
        return DeviceError(
            f"{self._stage.path}: acl.{name} failed: {error}; is this the pyACL of the installed CANN? Take the "
            "environment from CANN's set_env.sh"
        )

    def error(self, name: str, code: int) -> DeviceError:
        """The error for a code other than 0."""
        message = f"{self._stage.path}: acl.{name} failed: {explain(code)}"
        if name == "mdl.load_from_file":
            soc = self._stage.soc or "a chip that bundle.yaml does not name"
            message = f"{self._stage.path} (compiled for {soc}): acl.{name} cannot load it: {explain(code)}"
        with contextlib.suppress(Exception):  # the function is missing in the oldest CANN; the code is enough
            recent = " ".join(str(self._module.get_recent_err_msg() or "").split())
            message += f" [{recent[:500]}]" if recent else ""
        return DeviceError(message)


class _Process:
    """Process-wide state of pyACL: it may be initialised only once, and resetting a device affects all its users."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_initialised = False
        self._users: Dict[int, int] = {}

    def acquire(self, calls: _Calls, module: Any, device_id: int) -> None:
        """Initialise pyACL at the first use, and open the device for its first user."""
        with self._lock:
            if not self._is_initialised:
                code = calls.plain("init")
                if code == 0:
                    # documented: finalize before the process ends, and not in a destructor. A second init in the same
                    # process is not guaranteed to work, so pyACL stays initialised until then.
                    atexit.register(module.finalize)
                elif code != ACL_ERROR_REPEAT_INITIALIZE:  # initialised by other code here, which then finalizes it
                    raise calls.error("init", code)
                self._is_initialised = True
            if not self._users.get(device_id):
                calls.do("rt.set_device", device_id)
            self._users[device_id] = self._users.get(device_id, 0) + 1

    def release(self, calls: _Calls, device_id: int) -> None:
        """Reset the device when its last user releases it."""
        with self._lock:
            self._users[device_id] -= 1
            if not self._users[device_id]:
                calls.release("rt.reset_device", device_id)


_process = _Process()


@dataclass(frozen=True)
class _Slot:
    """The memory of one tensor."""

    name: str
    """Its name in the bundle."""
    device: int
    """Address of its memory on the chip, `size` bytes."""
    size: int
    host: int
    """Address of its memory on the host, `array.nbytes` bytes."""
    array: NDArray[np.float32]
    """The host memory as an array; valid only while the session is open."""


class AclSession:
    """An `.om` loaded on the chip, with all its buffers.

    Args:
        module: The module `acl`.
        stage: What to load.
        device_id: The chip to load it on.

    Raises:
        DeviceError: If it cannot be loaded or does not match the bundle; everything is released then.
    """

    def __init__(self, module: Any, stage: Stage, device_id: int) -> None:
        self._stage = stage
        self._calls = calls = _Calls(module, stage)
        self._has_failed = True
        self._is_open = True
        self._stack = ExitStack()
        try:
            _process.acquire(calls, module, device_id)
            self._stack.callback(_process.release, calls, device_id)
            # Its own context: a model must be loaded, run and unloaded in the same context, by any thread.
            self._context = calls.get("rt.create_context", device_id)
            self._stack.callback(calls.release, "rt.destroy_context", self._context)
            is_on_chip = calls.get("rt.get_run_mode") == _DEVICE
            self._to_chip = _DEVICE_TO_DEVICE if is_on_chip else _HOST_TO_DEVICE
            self._from_chip = _DEVICE_TO_DEVICE if is_on_chip else _DEVICE_TO_HOST
            self._model = calls.get("mdl.load_from_file", str(stage.path))
            self._stack.callback(calls.release, "mdl.unload", self._model)
            desc = calls.make("mdl.create_desc")
            self._stack.callback(calls.release, "mdl.destroy_desc", desc)
            calls.do("mdl.get_desc", desc, self._model)
            inputs = match_inputs(stage, self._tensors(desc, "input"))
            outputs = match_outputs(stage, self._tensors(desc, "output"))
            self._given, self._inputs = self._dataset(desc, "input", inputs, stage.inputs)
            self._made, self._outputs = self._dataset(desc, "output", outputs, stage.outputs)
        except BaseException:
            self.close()
            raise
        self._has_failed = False

    def run(self, inputs: Tensors) -> Dict[str, NDArray[np.float32]]:
        """See `backends.base.Session.run`."""
        if not self._is_open:
            raise DeviceError(f"{self._stage.name}: the session is closed")
        check_inputs(self._stage, inputs)
        calls = self._calls
        self._has_failed = True
        calls.do("rt.set_context", self._context)  # a context is bound to a thread, and this may be another thread
        for slot in self._inputs:
            slot.array[...] = inputs[slot.name]
            calls.do("rt.memcpy", slot.device, slot.size, slot.host, slot.array.nbytes, self._to_chip)
        calls.do("mdl.execute", self._model, self._given, self._made)
        result = {}
        for slot in self._outputs:
            n_bytes = slot.array.nbytes
            calls.do("rt.memcpy", slot.host, n_bytes, slot.device, n_bytes, self._from_chip)
            result[slot.name] = slot.array.copy()
        self._has_failed = False
        return result

    def close(self) -> None:
        """See `backends.base.Session.close`."""
        if not self._is_open:
            return
        self._is_open = False
        if hasattr(self, "_context"):
            self._calls.release("rt.set_context", self._context)
        self._stack.close()
        # after an earlier failure these would only hide its cause
        if self._calls.unreleased and not self._has_failed:
            raise DeviceError("\n".join(self._calls.unreleased))

    def _tensors(self, desc: int, kind: str) -> List[RuntimeTensor]:
        """The model's own description of its inputs or outputs."""
        calls = self._calls
        found = []
        for i in range(calls.plain(f"mdl.get_num_{kind}s", desc)):
            dims = calls.get(f"mdl.get_{kind}_dims", desc, i)["dims"]
            code = calls.plain(f"mdl.get_{kind}_data_type", desc, i)
            name = calls.plain(f"mdl.get_{kind}_name_by_index", desc, i)
            found.append(RuntimeTensor(str(name), tuple(dims), _TYPES.get(code, f"type {code}")))
        return found

    def _dataset(
        self, desc: int, kind: str, names: List[str], shapes: Dict[str, Tuple[int, ...]]
    ) -> Tuple[int, List[_Slot]]:
        """The runtime's dataset for all inputs or all outputs, and its buffers."""
        calls, stack = self._calls, self._stack
        dataset = calls.make("mdl.create_dataset")
        stack.callback(calls.release, "mdl.destroy_dataset", dataset)
        slots = []
        for i, name in enumerate(names):
            n_bytes = 4 * int(np.prod(shapes[name]))
            size = calls.plain(f"mdl.get_{kind}_size_by_index", desc, i)
            if size < n_bytes:
                raise DeviceError(
                    f"{self._stage.path}: {kind} {name} has {size} bytes; {list(shapes[name])} needs {n_bytes}: "
                    "convert the model again with fixed shapes"
                )
            device = calls.get("rt.malloc", size, _NORMAL_ONLY)
            stack.callback(calls.release, "rt.free", device)
            host = calls.get("rt.malloc_host", n_bytes)
            stack.callback(calls.release, "rt.free_host", host)
            buffer = calls.make("create_data_buffer", device, size)
            stack.callback(calls.release, "destroy_data_buffer", buffer)
            calls.get("mdl.add_dataset_buffer", dataset, buffer)
            memory = (ctypes.c_float * (n_bytes // 4)).from_address(host)
            slots.append(_Slot(name, device, size, host, np.ctypeslib.as_array(memory).reshape(shapes[name])))
        return dataset, slots


class AclBackend:
    """Opens `.om` files on an Ascend chip.

    Args:
        device_id: Number of the chip, from 0.

    Raises:
        DeviceError: If pyACL is not installed.
    """

    name = "acl"

    def __init__(self, device_id: int) -> None:
        try:
            import acl
        except ImportError as e:
            raise DeviceError(
                f"pyACL (module acl) cannot be loaded: {e}; install CANN on the board and take the environment from "
                "its set_env.sh (PYTHONPATH, LD_LIBRARY_PATH); `npu-smi info` must work for this user (group "
                "HwHiAiUser)"
            ) from e
        self._acl: Any = acl
        self._device_id = device_id

    def open(self, stage: Stage) -> AclSession:
        """See `backends.base.Backend.open`."""
        return AclSession(self._acl, stage, self._device_id)
