"""What the Ascend chip says of itself, through the vendor's `npu-smi info`. Nothing here raises, nothing here waits.

A driver that hangs takes `npu-smi` with it, beyond the reach of SIGKILL: it is run beside us, looked at now and then
and given up after a while; while one hangs no other is started.

The table, from the vendor's manual ("npu-smi info", Atlas 200I A2 25.2.0, hiascend.com re/npu/npusmi_007) and from what
people have posted (tests/npu_smi/README.md): a head of two lines that names the columns, then two lines for each chip.
Which columns there are differs by product and version, so they are found by their names:

    | NPU     Name       | Health     | Power(W)     Temp(C)           Hugepages-Usage(page) |
    | Chip    Device     | Bus-Id     | AICore(%)    Memory-Usage(MB)                        |
    +====================+============+======================================================+
    | 0       310B4      | OK         | 8.1          51                15    / 15            |
    | 0       0          | NA         | 0            2040 / 3513                             |
"""

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import Container, Dict, List, Optional, Sequence, Tuple

log = logging.getLogger(__name__)

EVERY_S = 30.0
PATIENCE_S = 20.0
"""A healthy driver answers within a second or two, a busy one may take longer."""

HOT_C = 90.0
"""Ours: ten degrees before it is too hot. The vendor's examples show 40 to 66."""
TOO_HOT_C = 100.0
"""No Ascend 310 may report more (thermal design of the Atlas 200 module, support.huawei.com EDOC1100223191: 100 °C at
any time, 105 °C is the end); a 310B takes up to 105 °C as well (Atlas 200I A2 24.1.RC3, har/3d/atlas3d_11_0006)."""

HEALTHY = "OK"
"""The others are Warning, Alarm, Critical and UNKNOWN: not there, or not started (re/npu/npusmi_028)."""

_PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/local/Ascend/driver/tools")
_MOST_BYTES = 1 << 18
_COOLED_C = 5.0
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True)
class Npu:
    """A chip. What it does not tell is None."""

    npu: int
    """The card's number."""
    chip: int
    """The chip's number on its card."""
    device: int
    """What programs call it, and `model.device_id`."""
    name: str
    """310, 310B4, 310P3, 910B3..."""
    health: str
    """See `HEALTHY`."""
    power_w: Optional[float] = None
    temperature_c: Optional[float] = None
    aicore_percent: Optional[float] = None
    memory_used_mb: Optional[float] = None
    """On a 310 or 310B the chip's memory is that of the whole board: programs and files are in it."""
    memory_total_mb: Optional[float] = None
    hugepages_used: Optional[float] = None
    """Of 2 MB each."""
    hugepages_total: Optional[float] = None

    @property
    def soc(self) -> str:
        """As ATC's ``--soc_version`` calls it."""
        return self.name if self.name.startswith("Ascend") else f"Ascend{self.name}"


@dataclass(frozen=True)
class Report:
    """What `npu-smi` said."""

    chips: Tuple[Npu, ...] = ()
    driver: str = ""
    """The driver's version."""
    error: str = ""
    """Why nothing is known of any chip."""
    todo: str = ""
    """What to do about that."""


def needs_chip(backend: str) -> bool:
    """Whether a backend works on the chip."""
    return backend != "cpu"


def fits(soc: str, chip: Npu) -> bool:
    """Whether what was compiled for `soc` runs on a chip: its own name only, a 310B1 is no 310B4.

    Args:
        soc: As ATC calls it; empty: any.
        chip: Some drivers name the family alone (310B): then any of it will do.
    """
    wanted, there = soc.lower(), chip.soc.lower()
    of_family = re.fullmatch(r"ascend\d+[a-z]", there) is not None and wanted.startswith(there)
    return not soc or wanted == there or of_family


# ---- the table ----------------------------------------------------------------------------------------------------


def parse(text: str) -> Report:
    """What the words of `npu-smi info` mean."""
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
    """One chip of its two lines; none if they make no sense."""
    npu, _, name = first[0].partition(" ")
    numbers = second[0].split()
    if not npu.isdigit() or not name.strip() or not numbers or not all(n.isdigit() for n in numbers):
        return []
    values = dict(zip(names, [*_values(first[2]), *_values(second[2])]))
    memory = _pair(values.get("Memory-Usage(MB)", ""))
    on_chip = _pair(values.get("HBM-Usage(MB)", ""))
    if on_chip[1]:  # a training chip: what models lie in
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
    """``8.1  51  15 / 15``: one word for each column."""
    return re.sub(r"\s*/\s*", "/", cell).split()


def _figure(word: str) -> Optional[float]:
    """None for NA, a dash, or anything else that is no number."""
    return float(word) if _NUMBER.fullmatch(word) else None


def _pair(word: str) -> Tuple[Optional[float], Optional[float]]:
    used, _, total = word.partition("/")
    return _figure(used), _figure(total)


_KNOWN_ERRORS: Tuple[Tuple[str, str], ...] = (
    ("-8020", "another program or container holds the chip: end it"),
    (
        "dcmi module initialize failed",
        "the driver is not loaded, was updated without a restart, or this user may not use it: restart the box; see "
        "that the user is in the group HwHiAiUser; lsmod | grep drv",
    ),
    (
        "ermission denied",
        "this user may not use the chip: as root, usermod -aG HwHiAiUser USER (for the service: ascend.conf)",
    ),
    (
        "error while loading shared libraries",
        "the driver's libraries are not found: /usr/local/Ascend/driver/lib64 must be there, and in LD_LIBRARY_PATH",
    ),
)
"""Words of `npu-smi`, and what to do. -8005: mind-cluster's FAQ (github Ascend/mind-cluster), vllm-ascend issue 2698;
-8020: Ascend/cann-container-image issue 46."""


def _no_table(text: str, driver: str) -> Report:
    said = " ".join(text.split())
    if not said:
        return Report((), driver, "npu-smi said nothing", "run `npu-smi info` by hand; restart the box")
    for words, todo in _KNOWN_ERRORS:
        if words in said:
            return Report((), driver, f"npu-smi: {said[:200]}", todo)
    return Report(
        (),
        driver,
        f"npu-smi said something that is not understood: {said[:200]}",
        "send what `npu-smi info` prints to whoever keeps this program",
    )


# ---- asking -------------------------------------------------------------------------------------------------------


def find_command() -> Optional[str]:
    """Where `npu-smi` is: on the path, or where drivers put it; None if there is none."""
    return shutil.which("npu-smi", path=os.pathsep.join([os.environ.get("PATH", ""), *_PLACES]))


class Watch:
    """Asks now and then; `tick` is quick whatever becomes of it. What is wrong with a chip is logged, once.

    Args:
        every_s: From one question to the next.
        patience_s: An answer may take this long.
    """

    def __init__(self, every_s: float = EVERY_S, patience_s: float = PATIENCE_S) -> None:
        self._every_s = every_s
        self._patience_s = patience_s
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._said = b""
        self._ask_at = 0.0
        self._since = 0.0
        self._given_up = False
        self._known: Dict[str, str] = {}
        self.report: Optional[Report] = None
        """What was said last; None before the first answer."""

    def tick(self) -> None:
        """Ask if it is time, take what was answered, give up what takes too long."""
        if self._process is None:
            if time.monotonic() >= self._ask_at:
                self._ask()
            return
        if self._listen() or self._given_up:
            if self._process.poll() is not None:
                self._process = None
                if not self._given_up:
                    self._take(parse(self._said.decode(errors="replace")))
            return
        if time.monotonic() - self._since > self._patience_s:
            self._end()
            self._given_up = True
            error = f"npu-smi gave no answer within {self._patience_s:g} s"
            self._take(Report((), "", error, "the driver hangs: restart the box; if it does so again, see dmesg"))

    def close(self) -> None:
        """End what is under way; one that hangs in the kernel is left behind."""
        if self._process is not None:
            self._end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
            self._process = None

    def status(self) -> Dict[str, object]:
        """For `sonic-edge status`; empty before the first answer."""
        if self.report is None:
            return {}
        chips = [{"soc": chip.soc, **asdict(chip)} for chip in self.report.chips]
        return {"error": self.report.error, "driver": self.report.driver, "chips": chips}

    def _ask(self) -> None:
        self._ask_at = time.monotonic() + self._every_s
        command = find_command()
        if command is None:
            self._take(Report((), "", "there is no npu-smi", "install the chip's driver: npu-smi comes with it"))
            return
        try:
            self._process = subprocess.Popen(
                [command, "info"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,  # what it starts is ended with it
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as e:
            self._take(Report((), "", f"{command} cannot be started: {e.strerror}", "install the chip's driver again"))
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._since, self._said, self._given_up = time.monotonic(), b"", False

    def _listen(self) -> bool:
        """Whether it has said everything."""
        assert self._process is not None and self._process.stdout is not None
        if self._process.stdout.closed:
            return True
        while len(self._said) < _MOST_BYTES:
            try:
                piece = os.read(self._process.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                return False
            if not piece:
                break
            self._said += piece
        self._end()
        return True

    def _end(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        self._process.stdout.close()
        with contextlib.suppress(OSError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _take(self, report: Report) -> None:
        """Keep what was said; log what is newly wrong, and what is right again."""
        self.report = report
        wrong = troubles(report, self._known)
        for key, words in wrong.items():
            if key not in self._known:
                log.error("%s", words)
        for key in self._known:
            if key not in wrong:
                log.info("%s: is over", self._known[key])
        self._known = wrong


def troubles(report: Report, known: Container[str] = ()) -> Dict[str, str]:
    """What is wrong, in words, by what it is called; `known`: what was wrong before, for it is not over at once."""
    if report.error:
        return {"npu-smi": f"{report.error}: {report.todo}"}
    found: Dict[str, str] = {}
    for chip in report.chips:
        who = f"chip {chip.device} ({chip.name})"
        if chip.health != HEALTHY:
            found[f"health {chip.device} {chip.health}"] = (
                f"{who}: its health is {chip.health}; `npu-smi info -t health -i {chip.npu} -c {chip.chip}` says why"
            )
        key = f"hot {chip.device}"
        limit_c = TOO_HOT_C - (_COOLED_C if key in known else 0)
        if chip.temperature_c is not None and chip.temperature_c >= limit_c:
            found[key] = f"{who}: {chip.temperature_c:g} °C; it may have {TOO_HOT_C:g}: clean the fan, give the box air"
    return found


def ask(patience_s: float = PATIENCE_S) -> Report:
    """Ask once and wait for the answer; for who has nothing else to do."""
    watch = Watch(patience_s=patience_s)
    try:
        while watch.report is None:
            watch.tick()
            time.sleep(0.02)
        return watch.report
    finally:
        watch.close()
