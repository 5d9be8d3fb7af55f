"""What `sonic-edge status` shows of the Ascend chips."""

from dataclasses import dataclass, field
from typing import List

from ...process.messages import Text
from .table import Npu, Report


@dataclass(frozen=True)
class NpuStatus:
    """What `npu-smi` said last."""

    error: Text = ""
    """Why nothing is known of any chip."""
    driver: Text = ""
    chips: List[Npu] = field(default_factory=list)

    @classmethod
    def of(cls, report: Report) -> "NpuStatus":
        """The status that a report makes."""
        return cls(report.error, report.driver, list(report.chips))
