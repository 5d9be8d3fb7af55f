"""Runs `npu-smi`, once or periodically, without blocking on it, and finds what is wrong with a chip.

A hung driver hangs `npu-smi` too, beyond the reach of SIGKILL: so it runs as a child that is polled and abandoned at a
deadline, and no second one is started while one hangs.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time
from typing import Container, Dict, Optional

from .status import NpuStatus
from .table import HEALTHY, Report, parse

log = logging.getLogger(__name__)

EVERY_S = 30.0
TIMEOUT_S = 20.0
"""A healthy driver answers within a second or two; a busy one may take longer."""

HOT_C = 90.0
"""Our own limit, ten degrees below `TOO_HOT_C`. The vendor's examples show 40 to 66."""
TOO_HOT_C = 100.0
"""The limit of an Ascend 310 (thermal design of the Atlas 200 module, support.huawei.com EDOC1100223191: 100 °C at any
time, shutdown at 105 °C); a 310B also shuts down at 105 °C (Atlas 200I A2 24.1.RC3, har/3d/atlas3d_11_0006)."""

_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/local/Ascend/driver/tools")
_MOST_BYTES = 1 << 18
_COOLED_C = 5.0
"""Hysteresis: a chip counts as too hot until it is this far below the limit."""


def find_command() -> Optional[str]:
    """The path of `npu-smi`: on PATH or in the folders that drivers use; None if there is none."""
    return shutil.which("npu-smi", path=os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS]))


class Query:
    """One run of `npu-smi info`.

    Args:
        timeout_s: Deadline for its answer.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._since = time.monotonic()
        self._said = b""
        self._answer: Optional[Report] = None
        self._process: Optional[subprocess.Popen[bytes]] = None
        command = find_command()
        if command is None:
            self._answer = Report((), "", "there is no npu-smi", "install the chip's driver, which includes it")
            return
        try:
            self._process = subprocess.Popen(
                [command, "info"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,  # so that what it starts can be killed with it
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as e:
            error = f"{command} cannot be started: {e.strerror}"
            self._answer = Report((), "", error, "install the chip's driver again")
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def answer(self) -> Optional[Report]:
        """The report; None while the answer is outstanding. Never blocks."""
        if self._answer is None and self._has_said_all():
            self._answer = parse(self._said.decode(errors="replace"))
        elif self._answer is None and time.monotonic() - self._since > self._timeout_s:
            self._end()
            error = f"npu-smi gave no answer within {self._timeout_s:g} s"
            self._answer = Report((), "", error, "the driver hangs: restart the box; if it happens again, see dmesg")
        return self._answer

    def is_over(self) -> bool:
        """Whether the process has exited: one that hangs in the kernel has not, even after the deadline."""
        return self._process is None or self._process.poll() is not None

    def close(self) -> None:
        """Kill the process; one that hangs in the kernel is left behind."""
        if self._process is not None:
            self._end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)

    def _has_said_all(self) -> bool:
        assert self._process is not None and self._process.stdout is not None
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


class Monitor:
    """Runs `npu-smi` periodically and logs each new problem with a chip once.

    Args:
        every_s: Interval between two runs.
        timeout_s: See `Query`.
    """

    def __init__(self, every_s: float = EVERY_S, timeout_s: float = TIMEOUT_S) -> None:
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._query: Optional[Query] = None
        self._ask_at = 0.0
        self._known: Dict[str, str] = {}
        self.report: Optional[Report] = None
        """The latest report; None before the first answer."""

    def tick(self) -> None:
        """Start a run if it is time, and collect its answer. Never blocks."""
        if self._query is None:
            if time.monotonic() < self._ask_at:
                return
            self._ask_at = time.monotonic() + self._every_s
            self._query = Query(self._timeout_s)
        answer = self._query.answer()
        if answer is not None and answer is not self.report:
            self._take(answer)
        if answer is not None and self._query.is_over():
            self._query = None

    def close(self) -> None:
        """Stop the current run, if any."""
        if self._query is not None:
            self._query.close()
            self._query = None

    def status(self) -> Optional[NpuStatus]:
        """The latest report for `sonic-edge status`; None before the first answer."""
        return None if self.report is None else NpuStatus.of(self.report)

    def _take(self, report: Report) -> None:
        self.report = report
        wrong = troubles(report, self._known)
        for key, words in wrong.items():
            if key not in self._known:
                log.error("%s", words)
        for key in self._known:
            if key not in wrong:
                log.info("%s: resolved", self._known[key])
        self._known = wrong


def ask(timeout_s: float = TIMEOUT_S) -> Report:
    """Run `npu-smi` once and wait for the answer."""
    query = Query(timeout_s)
    try:
        while True:
            answer = query.answer()
            if answer is not None:
                return answer
            time.sleep(0.02)
    finally:
        query.close()


def troubles(report: Report, known: Container[str] = ()) -> Dict[str, str]:
    """What is wrong: a key for each problem -> a message.

    Args:
        report: The latest report.
        known: Keys of earlier problems: a chip that was too hot must cool down by some degrees first.
    """
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
            found[key] = f"{who}: {chip.temperature_c:g} °C; at most {TOO_HOT_C:g}: clean the fan and the air path"
    return found
