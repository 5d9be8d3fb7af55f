"""The state of an Ascend chip, from the vendor's `npu-smi info`. Nothing here raises; only `ask` waits."""

from .status import NpuStatus
from .table import HEALTHY, Npu, Report, fits, needs_chip, parse
from .watch import HOT_C, TOO_HOT_C, Monitor, ask, find_command, troubles

__all__ = [
    "HEALTHY",
    "HOT_C",
    "TOO_HOT_C",
    "Monitor",
    "Npu",
    "NpuStatus",
    "Report",
    "ask",
    "find_command",
    "fits",
    "needs_chip",
    "parse",
    "troubles",
]
