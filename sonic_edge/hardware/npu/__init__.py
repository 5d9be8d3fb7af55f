"""What an Ascend chip says of itself, through the vendor's `npu-smi info`. Nothing here raises, nothing here waits."""

from .status import ChipStatus, NpuStatus
from .table import HEALTHY, Npu, Report, fits, needs_chip, parse
from .watch import HOT_C, TOO_HOT_C, Watch, ask, find_command, troubles

__all__ = [
    "HEALTHY",
    "HOT_C",
    "TOO_HOT_C",
    "ChipStatus",
    "Npu",
    "NpuStatus",
    "Report",
    "Watch",
    "ask",
    "find_command",
    "fits",
    "needs_chip",
    "parse",
    "troubles",
]
