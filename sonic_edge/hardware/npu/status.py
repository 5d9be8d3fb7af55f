"""What `sonic-edge status` shows of the Ascend chips."""

from dataclasses import asdict, dataclass, field
from typing import List, Optional

from ...process.messages import Text
from .table import Npu, Report


@dataclass(frozen=True)
class ChipStatus:
    """A chip, as `table.Npu` has it."""

    soc: Text = ""
    npu: int = 0
    chip: int = 0
    device: int = 0
    name: Text = ""
    health: Text = ""
    power_w: Optional[float] = None
    temperature_c: Optional[float] = None
    aicore_percent: Optional[float] = None
    memory_used_mb: Optional[float] = None
    memory_total_mb: Optional[float] = None
    hugepages_used: Optional[float] = None
    hugepages_total: Optional[float] = None

    def as_npu(self) -> Npu:
        """The chip, as `npu-smi` listed it."""
        found = asdict(self)
        del found["soc"]
        return Npu(**found)


@dataclass(frozen=True)
class NpuStatus:
    """What `npu-smi` said last."""

    error: Text = ""
    """Why nothing is known of any chip."""
    driver: Text = ""
    chips: List[ChipStatus] = field(default_factory=list)

    @classmethod
    def of(cls, report: Report) -> "NpuStatus":
        """The status that a report makes."""
        return cls(report.error, report.driver, [ChipStatus(soc=chip.soc, **asdict(chip)) for chip in report.chips])
