"""Asking `npu-smi`, now and then or once, without ever waiting for it; and what is wrong with a chip.

A driver that hangs takes `npu-smi` with it, beyond the reach of SIGKILL: it is run beside us, looked at now and then
and given up after a while; while one hangs no other is started.
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
PATIENCE_S = 20.0
"""A healthy driver answers within a second or two, a busy one may take longer."""

HOT_C = 90.0
"""Ours: ten degrees before it is too hot. The vendor's examples show 40 to 66."""
TOO_HOT_C = 100.0
"""No Ascend 310 may report more (thermal design of the Atlas 200 module, support.huawei.com EDOC1100223191: 100 °C at
any time, 105 °C is the end); a 310B takes up to 105 °C as well (Atlas 200I A2 24.1.RC3, har/3d/atlas3d_11_0006)."""

_PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/local/Ascend/driver/tools")
_MOST_BYTES = 1 << 18
_COOLED_C = 5.0


def find_command() -> Optional[str]:
    """Where `npu-smi` is: on the path, or where drivers put it; None if there is none."""
    return shutil.which("npu-smi", path=os.pathsep.join([os.environ.get("PATH", ""), *_PLACES]))


class Question:
    """`npu-smi info`, run once.

    Args:
        patience_s: The answer may take this long.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._since = time.monotonic()
        self._said = b""
        self._answer: Optional[Report] = None
        self._process: Optional[subprocess.Popen[bytes]] = None
        command = find_command()
        if command is None:
            self._answer = Report((), "", "there is no npu-smi", "install the chip's driver: npu-smi comes with it")
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
            error = f"{command} cannot be started: {e.strerror}"
            self._answer = Report((), "", error, "install the chip's driver again")
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def answer(self) -> Optional[Report]:
        """What was said; None as long as that is not known. Quick, whatever becomes of it."""
        if self._answer is None and self._has_said_all():
            self._answer = parse(self._said.decode(errors="replace"))
        elif self._answer is None and time.monotonic() - self._since > self._patience_s:
            self._end()
            error = f"npu-smi gave no answer within {self._patience_s:g} s"
            self._answer = Report((), "", error, "the driver hangs: restart the box; if it does so again, see dmesg")
        return self._answer

    def is_over(self) -> bool:
        """Whether the process is gone: one that hangs in the kernel stays, given up or not."""
        return self._process is None or self._process.poll() is not None

    def close(self) -> None:
        """End it; one that hangs in the kernel is left behind."""
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


class Watch:
    """Asks now and then. What is wrong with a chip is logged, once.

    Args:
        every_s: From one question to the next.
        patience_s: See `Question`.
    """

    def __init__(self, every_s: float = EVERY_S, patience_s: float = PATIENCE_S) -> None:
        self._every_s = every_s
        self._patience_s = patience_s
        self._question: Optional[Question] = None
        self._ask_at = 0.0
        self._known: Dict[str, str] = {}
        self.report: Optional[Report] = None
        """What was said last; None before the first answer."""

    def tick(self) -> None:
        """Ask if it is time, take what was answered."""
        if self._question is None:
            if time.monotonic() < self._ask_at:
                return
            self._ask_at = time.monotonic() + self._every_s
            self._question = Question(self._patience_s)
        answer = self._question.answer()
        if answer is not None and answer is not self.report:
            self._take(answer)
        if answer is not None and self._question.is_over():
            self._question = None

    def close(self) -> None:
        """End what is under way."""
        if self._question is not None:
            self._question.close()
            self._question = None

    def status(self) -> Optional[NpuStatus]:
        """For `sonic-edge status`; None before the first answer."""
        return None if self.report is None else NpuStatus.of(self.report)

    def _take(self, report: Report) -> None:
        self.report = report
        wrong = troubles(report, self._known)
        for key, words in wrong.items():
            if key not in self._known:
                log.error("%s", words)
        for key in self._known:
            if key not in wrong:
                log.info("%s: is over", self._known[key])
        self._known = wrong


def ask(patience_s: float = PATIENCE_S) -> Report:
    """Ask once and wait for the answer; for who has nothing else to do."""
    question = Question(patience_s)
    try:
        while True:
            answer = question.answer()
            if answer is not None:
                return answer
            time.sleep(0.02)
    finally:
        question.close()


def troubles(report: Report, known: Container[str] = ()) -> Dict[str, str]:
    """What is wrong, in words, by what it is called.

    Args:
        report: What was said.
        known: What was wrong before: heat is not over at once.
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
            found[key] = f"{who}: {chip.temperature_c:g} °C; it may have {TOO_HOT_C:g}: clean the fan, give the box air"
    return found
