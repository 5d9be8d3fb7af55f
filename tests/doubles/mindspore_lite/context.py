"""python/api/context.py: where a model runs."""

from typing import List

from ._call import check_isinstance, check_list, function

PRECISIONS = ["enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin", "preferred_optimal"]


class _Cpu:
    """`Context.cpu`."""

    def __init__(self) -> None:
        self._thread_num = 2

    @property
    def thread_num(self) -> int:
        return self._thread_num

    @thread_num.setter
    def thread_num(self, cpu_thread_num: int) -> None:
        check_isinstance("cpu_thread_num", cpu_thread_num, int)
        if cpu_thread_num < 0:
            raise ValueError("cpu_thread_num must be a non-negative int.")
        self._thread_num = cpu_thread_num


class _Ascend:
    """`Context.ascend`."""

    def __init__(self) -> None:
        self._device_id, self._precision, self._provider = 0, "enforce_fp16", ""

    @property
    def device_id(self) -> int:
        return self._device_id

    @device_id.setter
    def device_id(self, ascend_device_id: int) -> None:
        check_isinstance("ascend_device_id", ascend_device_id, int)
        if ascend_device_id < 0:
            raise ValueError("ascend_device_id must be a non-negative int.")
        self._device_id = ascend_device_id

    @property
    def precision_mode(self) -> str:
        return self._precision

    @precision_mode.setter
    def precision_mode(self, ascend_precision_mode: str) -> None:
        check_isinstance("ascend_precision_mode", ascend_precision_mode, str)
        if ascend_precision_mode not in PRECISIONS:
            raise ValueError(
                f"ascend_precision_mode must be in [{', '.join(PRECISIONS)}], but got {ascend_precision_mode}."
            )
        self._precision = ascend_precision_mode

    @property
    def provider(self) -> str:
        return self._provider

    @provider.setter
    def provider(self, ascend_provider: str) -> None:
        check_isinstance("ascend_provider", ascend_provider, str)
        self._provider = ascend_provider


class Context:
    """`mindspore_lite.Context()`: the CPU, unless `target` says otherwise."""

    @function
    def __init__(self) -> None:
        self.cpu, self.ascend = _Cpu(), _Ascend()
        self._target = ["cpu"]

    @property
    def target(self) -> List[str]:
        return self._target

    @target.setter
    def target(self, target: List[str]) -> None:
        target = target or ["cpu"]
        check_list("target", target, str)
        for one in target:
            if one.lower() not in ("cpu", "gpu", "ascend"):
                raise ValueError(f"target elements must be in ['cpu', 'gpu', 'ascend'], but got {one.lower()}.")
        self._target = target
