"""Parses the table that the vendor's `npu-smi info` prints.

From the vendor's manual ("npu-smi info", Atlas 200I A2 25.2.0, hiascend.com re/npu/npusmi_007) and output that people
have posted (tests/npu_smi/README.md): two header lines with the column names, then two lines for each chip. The
columns differ by product and version, so they are found by name:

    | NPU     Name       | Health     | Power(W)     Temp(C)           Hugepages-Usage(page) |
    | Chip    Device     | Bus-Id     | AICore(%)    Memory-Usage(MB)                        |
    +====================+============+======================================================+
    | 0       310B4      | OK         | 8.1          51                15    / 15            |
    | 0       0          | NA         | 0            2040 / 3513                             |
"""

import re
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

from ...process.messages import Text

HEALTHY = "OK"
"""The other values are Warning, Alarm, Critical and UNKNOWN (absent or not started; re/npu/npusmi_028)."""

_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Npu:
    """The state of one chip. What npu-smi does not report is None."""

    npu: int = 0
    """The card's number."""
    chip: int = 0
    """The chip's number on its card."""
    device: int = 0
    """The number by which programs address it, as in `model.device_id`."""
    name: Text = ""
    """310, 310B4, 310P3, 910B3..."""
    health: Text = ""
    """See `HEALTHY`."""
    power_w: Optional[float] = None
    temperature_c: Optional[float] = None
    aicore_percent: Optional[float] = None
    memory_used_mb: Optional[float] = None
    """On a 310 or 310B the chip shares the board's memory: programs and cached files count too."""
    memory_total_mb: Optional[float] = None
    hugepages_used: Optional[float] = None
    """Pages of 2 MB each."""
    hugepages_total: Optional[float] = None

    soc: str = field(init=False, default="")
    """As ATC's ``--soc_version`` calls it."""

    def __post_init__(self) -> None:
        is_whole = self.name.startswith("Ascend")
        object.__setattr__(self, "soc", self.name if is_whole else f"Ascend{self.name}")


@dataclass(frozen=True)
class Report:
    """What `npu-smi` reported."""

    chips: Tuple[Npu, ...] = ()
    driver: str = ""
    """The driver's version."""
    error: str = ""
    """Why nothing is known about any chip."""
    todo: str = ""
    """The remedy for that error."""


def needs_chip(backend: str) -> bool:
    """Whether a backend runs on the chip."""
    return backend != "cpu"


def fits(soc: str, chip: Npu) -> bool:
    """Whether a model compiled for `soc` runs on a chip. Names must match: a 310B1 model does not run on a 310B4.

    Args:
        soc: The target's ATC name; empty: any chip.
        chip: The chip. If its driver reports only the family (310B), any target in the family fits.
    """
    wanted, there = soc.lower(), chip.soc.lower()
    of_family = re.fullmatch(r"ascend\d+[a-z]", there) is not None and wanted.startswith(there)
    return not soc or wanted == there or of_family


# ---- the table ----------------------------------------------------------------------------------------------------


def parse(text: str) -> Report:
    """Parse the output of `npu-smi info`."""
    rows = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in text.splitlines() if _is_row(line)]
    version = re.search(r"Version:\s*([\w.-]+)", text)
    driver = version[1] if version else ""
    head = next((i for i, row in enumerate(rows) if len(row) == 3 and row[0].split()[:1] == ["NPU"]), None)
    if head is None or head + 1 >= len(rows) or len(rows[head + 1]) != 3:
        return _no_table(text, driver)
    names = [*rows[head][2].split(), *rows[head + 1][2].split()]
    has_device = len(rows[head + 1][0].split()) > 1
    chips: List[Npu] = []
    of_chip: List[List[str]] = []
    for row in rows[head + 2 :]:
        if len(row) == 4:  # the table of processes
            break
        if len(row) == 3:
            of_chip.append(row)
        if len(of_chip) == 2:
            chips += _chip(of_chip[0], of_chip[1], names, has_device, len(chips))
            of_chip = []
    if not chips:
        return Report((), driver, "npu-smi lists no chip", "the driver sees none: dmesg | grep -i -e davinci -e devdrv")
    return Report(tuple(chips), driver)


def _is_row(line: str) -> bool:
    line = line.strip()
    return len(line) > 2 and line[0] == line[-1] == "|"


def _chip(first: List[str], second: List[str], names: Sequence[str], has_device: bool, position: int) -> List[Npu]:
    """One chip from its two lines; an empty list if they cannot be parsed."""
    npu, _, name = first[0].partition(" ")
    numbers = second[0].split()
    if not npu.isdigit() or not name.strip() or not numbers or not all(n.isdigit() for n in numbers):
        return []
    values = dict(zip(names, [*_values(first[2]), *_values(second[2])]))
    memory = _pair(values.get("Memory-Usage(MB)", ""))
    on_chip = _pair(values.get("HBM-Usage(MB)", ""))
    if on_chip[1]:  # a training chip: this is the memory that holds the models
        memory = on_chip
    pages = _pair(values.get("Hugepages-Usage(page)", ""))
    device = int(numbers[1]) if has_device and len(numbers) > 1 else position
    return [
        Npu(
            int(npu),
            int(numbers[0]),
            device,
            name.strip(),
            first[1] or "UNKNOWN",
            _figure(values.get("Power(W)", "")),
            _figure(values.get("Temp(C)", "")),
            _figure(values.get("AICore(%)", "")),
            *memory,
            *pages,
        )
    ]


def _values(cell: str) -> List[str]:
    """``8.1  51  15 / 15`` as one word for each column."""
    return re.sub(r"\s*/\s*", "/", cell).split()


def _figure(word: str) -> Optional[float]:
    """A number; None for NA, a dash, or anything else."""
    return float(word) if _NUMBER.fullmatch(word) else None


def _pair(word: str) -> Tuple[Optional[float], Optional[float]]:
    used, _, total = word.partition("/")
    return _figure(used), _figure(total)


_KNOWN_ERRORS: Tuple[Tuple[str, str], ...] = (
    ("-8020", "another program or container holds the chip: stop it"),
    (
        "dcmi module initialize failed",
        "the driver is not loaded, was updated without a restart, or this user may not use it: restart the box; check "
        "that the user is in the group HwHiAiUser; lsmod | grep drv",
    ),
    (
        "ermission denied",
        "this user may not use the chip: as root, usermod -aG HwHiAiUser USER (for the service: ascend.conf)",
    ),
    (
        "error while loading shared libraries",
        "the driver's libraries are not found: /usr/local/Ascend/driver/lib64 must exist and be in LD_LIBRARY_PATH",
    ),
)
"""Part of an error message of `npu-smi`, and its remedy. -8005: mind-cluster's FAQ (github Ascend/mind-cluster),
vllm-ascend issue 2698; -8020: Ascend/cann-container-image issue 46."""


def _no_table(text: str, driver: str) -> Report:
    said = " ".join(text.split())
    if not said:
        return Report((), driver, "npu-smi printed nothing", "run `npu-smi info` by hand; restart the box")
    for words, todo in _KNOWN_ERRORS:
        if words in said:
            return Report((), driver, f"npu-smi: {said[:200]}", todo)
    return Report(
        (),
        driver,
        f"the output of npu-smi is not understood: {said[:200]}",
        "report this with the output of `npu-smi info`",
    )
