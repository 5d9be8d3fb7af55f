"""The tests themselves on a slow machine: a random process of theirs is paused, again and again.

A test that fails then judged how busy the machine is, or found something in the product that does not bear it.
"""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from .result import Result

EVERY_S = 1.0
LONGEST_S = 0.8
_ROOT = Path(__file__).parent.parent.parent


def run(folder: Path, seed: int) -> Result:
    result = Result("held")
    luck, n_stops = random.Random(seed), 0
    log = folder / "pytest.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        tests = subprocess.Popen(command, cwd=_ROOT, stdout=out, stderr=subprocess.STDOUT)
        while tests.poll() is None:
            time.sleep(luck.expovariate(1 / EVERY_S))
            n_stops += _hold_up(luck.choice(_family(tests.pid)), luck.uniform(0.02, LONGEST_S))
            result.progress(f"{n_stops} stops")
    said = log.read_text(errors="replace")
    result.row(f"stops of up to {LONGEST_S:g} s", n_stops)
    result.row("tests", said.strip().rpartition("\n")[2])
    result.expect(tests.returncode in (0, 1), f"pytest ended with status {tests.returncode}; see {log}")
    for test in re.findall(r"^(?:FAILED|ERROR) (.*)", said, re.MULTILINE):
        result.expect(False, test)
    return result


def _hold_up(pid: int, seconds: float) -> bool:
    """Whether it was there to be stopped; one that a test itself has stopped is left alone."""
    found = _state_and_parent(pid)
    if found is None or found[0] in "TZ":
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
    return True


def _family(pid: int) -> List[int]:
    """A process and all under it."""
    children: Dict[int, List[int]] = {}
    for one in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        found = _state_and_parent(one)
        if found is not None:
            children.setdefault(found[1], []).append(one)
    family, todo = [], [pid]
    while todo:
        family.append(todo.pop())
        todo += children.get(family[-1], [])
    return family


def _state_and_parent(pid: int) -> Optional[Tuple[str, int]]:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return state, int(parent)
