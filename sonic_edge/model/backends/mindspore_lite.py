"""Runs an `.om` wrapped as `.mindir`, or any MindIR, on an Ascend chip by MindSpore Lite. Untested on a real chip.

Written from its Python API (github mindspore-ai/mindspore-lite 2b28870, of 2.7: mindspore-lite/python/api/context.py,
model.py, base_model.py, tensor.py, and python/src/*_pybind.cc below them). Undocumented behaviour that matters here:

- `Tensor.set_data_from_numpy` silently ignores an array in Fortran order (the C++ rejects it, the Python above does not
  check) and keeps no copy; shapes are not compared at all;
- `Model.predict` takes tensors by position, and its results are in the model's own memory;
- a failure is just `Common error code.` or `predict failed!`: the reason is only in its lines on standard error;
- a missing device becomes device 0 with just a warning (extendrt/kernel/ascend/src/custom_ascend_kernel.cc).
"""

import platform
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, DeviceError
from ..bundle import Stage
from .base import Tensors, check_inputs
from .om_config import how_to_wrap
from .tensors import RuntimeTensor, match_inputs, match_outputs

_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, OSError, ImportError)
"""What pybind11 and the Python above it raise; MemoryError concerns this process and passes through."""

_LOG = "its [ERROR] lines in the log just above say why"
_ENVIRONMENT = (
    "install the driver and CANN, take the environment from CANN's set_env.sh (LD_LIBRARY_PATH, ASCEND_OPP_PATH), and "
    "check that `npu-smi info` works for this user (group HwHiAiUser)"
)
_REMEDIES: Tuple[Tuple[str, str], ...] = (
    (r"GLIBC|invalid ELF|wrong ELF|undefined symbol", "its wheel is for another system: take the one for this machine"),
    (r"lib\w+\.so|shared object|set_env|ascend home path|driver", _ENVIRONMENT),
    (
        r"memory|207001|207018|245000|\boom\b",
        "no memory left: on the chip (`npu-smi info` shows what else uses it), or worker.memory_mb is too small",
    ),
    (
        r"\bsoc|\bchip|507008|545004|545005",
        "the file is for another chip: convert the model again for this one (`npu-smi info` names it)",
    ),
    (r"version|CANN|not match", "MindSpore Lite, CANN and driver must be of compatible releases: see docs/CHIP.md"),
    (r"device", "`npu-smi info` lists the chips; correct model.device_id"),
    (r"does not exist|permission|verify graph file|Invalid file", "check that the file exists, is whole and readable"),
)


def _remedy(error: object) -> str:
    """What to do about an error of the vendor's library, judging by its message; empty if unknown."""
    return next((do for pattern, do in _REMEDIES if re.search(pattern, str(error), re.IGNORECASE)), "")


class MindSporeLiteSession:
    """A model in MindSpore Lite.

    Args:
        lite: The module `mindspore_lite`.
        stage: What to load.
        context: The device to run on, as a `mindspore_lite.Context`.

    Raises:
        DeviceError: If it cannot be loaded, or does not match the bundle.
    """

    def __init__(self, lite: Any, stage: Stage, context: Any) -> None:
        self._stage = stage
        try:
            model = lite.Model()
            model.build_from_file(str(stage.path), lite.ModelType.MINDIR, context)
            inputs, outputs = model.get_inputs(), model.get_outputs()
            has_in, has_out = _described(inputs), _described(outputs)
        except _ERRORS as e:
            soc = f"compiled for {stage.soc}" if stage.soc else "for any chip"
            do = _remedy(e) or (
                f"{_LOG}; most often the file is for another chip (`npu-smi info` names this one), CANN is not in the "
                "environment (set_env.sh), or it does not fit this MindSpore Lite (docs/CHIP.md)"
            )
            raise DeviceError(f"{stage.path} ({soc}): MindSpore Lite cannot load it: {e} {do}") from e
        self._names = match_inputs(stage, has_in)
        self._results = match_outputs(stage, has_out)
        self._inputs: List[Any] = inputs
        self._model: Optional[Any] = model

    def run(self, inputs: Tensors) -> Dict[str, NDArray[np.float32]]:
        """See `backends.base.Session.run`."""
        stage = self._stage
        if self._model is None:
            raise DeviceError(f"{stage.name}: the session is closed")
        check_inputs(stage, inputs)
        try:
            for name, tensor in zip(self._names, self._inputs):
                tensor.set_data_from_numpy(np.ascontiguousarray(inputs[name]))
            made = self._model.predict(self._inputs)
            # copied: they are in the model's memory, which the next call overwrites
            arrays = [np.array(tensor.get_data_to_numpy()) for tensor in made]
        except _ERRORS as e:
            raise DeviceError(f"{stage.name}: MindSpore Lite failed: {e} {_remedy(e) or _LOG}") from e
        result = dict(zip(self._results, arrays))
        has = {name: (array.shape, array.dtype) for name, array in result.items()}
        if len(arrays) != len(self._results) or has != {
            name: (shape, np.dtype(np.float32)) for name, shape in stage.outputs.items()
        }:
            raise DeviceError(
                f"{stage.name}: MindSpore Lite gave {[f'{a.dtype} {list(a.shape)}' for a in arrays]}; must be float32 "
                f"{[list(stage.outputs[name]) for name in self._results]}; {_LOG}"
            )
        return result

    def close(self) -> None:
        """See `backends.base.Session.close`."""
        self._inputs = []
        self._model = None  # dropping the reference is the only way to release it


class MindSporeLiteBackend:
    """Opens `.mindir` files on an Ascend chip.

    Args:
        device_id: Number of the chip, from 0.
        precision: `Context.ascend.precision_mode`.
        provider: `Context.ascend.provider`.
        threads: CPU threads for the operators that the chip leaves to the CPU.

    Raises:
        DeviceError: If MindSpore Lite is not installed.
    """

    name = "mindspore_lite"

    def __init__(self, device_id: int, precision: str, provider: str, threads: int) -> None:
        try:
            import mindspore_lite
        except _ERRORS as e:
            if isinstance(e, ModuleNotFoundError) and e.name == "mindspore_lite":
                do = (
                    "its wheel is the vendor's (www.mindspore.cn/lite, not on the package index): take the one for "
                    f"Ascend, {platform.machine()} and Python {sys.version_info.major}.{sys.version_info.minor}, and "
                    f"install it: {sys.executable} -m pip install WHEEL"
                )
            else:
                do = _remedy(e) or _ENVIRONMENT
            raise DeviceError(f"mindspore_lite cannot be loaded: {e}; {do}") from e
        self._lite: Any = mindspore_lite
        self._device_id, self._precision, self._provider, self._threads = device_id, precision, provider, threads

    def open(self, stage: Stage) -> MindSporeLiteSession:
        """See `backends.base.Backend.open`."""
        if stage.path.suffix == ".om":
            raise ConfigError(how_to_wrap(stage))
        chips = _chips()
        if chips and self._device_id >= len(chips):
            raise DeviceError(
                f"model.device_id = {self._device_id}: there is only {', '.join(chips)}; MindSpore Lite would use "
                "device 0 instead"
            )
        return MindSporeLiteSession(self._lite, stage, self._context())

    def _context(self) -> Any:
        try:
            context = self._lite.Context()
            context.target = ["ascend"]  # it adds the CPU itself, for operators that the chip does not run
            ascend = context.ascend
            ascend.device_id = self._device_id
            ascend.precision_mode = self._precision
            if self._provider:
                if not hasattr(type(ascend), "provider"):  # any attribute can be set, without effect
                    raise AttributeError("this version has no provider")
                ascend.provider = self._provider
            context.cpu.thread_num = self._threads
        except _ERRORS as e:
            do = _remedy(e) or "2.1.1 or newer is needed, for Ascend"
            version = getattr(self._lite, "__version__", "(version unknown)")
            raise DeviceError(f"MindSpore Lite {version} cannot be set up: {e}; {do}") from e
        return context


def _chips() -> List[str]:
    """The chips the driver shows."""
    return sorted(p.name for p in Path("/dev").glob("davinci[0-9]*"))


def _described(tensors: Sequence[Any]) -> List[RuntimeTensor]:
    """Names, shapes and types as MindSpore Lite reports them, for tensors or their descriptions."""
    return [RuntimeTensor(str(t.name), tuple(t.shape), str(getattr(t.dtype, "name", t.dtype)).lower()) for t in tensors]
