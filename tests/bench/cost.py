"""Processor time, turn by turn."""

import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping

import numpy as np


def cpu_s() -> float:
    """Processor time of this process up to now, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def turn(work: Callable[[], int]) -> float:
    """Processor time of one piece of work, of the many that it does, ms."""
    before = cpu_s()
    n = work()
    return 1e3 * (cpu_s() - before) / n


def turn_by_turn(cases: Mapping[str, Callable[[], int]], rounds: int) -> Dict[str, float]:
    """Median processor time of one piece of each case, ms.

    Args:
        cases: Name -> function that does some pieces of work and returns how many.
        rounds: Each case runs once in each; one more round warms up.
    """
    times: Dict[str, List[float]] = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, work in cases.items():
            times[name].append(turn(work))
    return {name: float(np.median(values[1:])) for name, values in times.items()}


@dataclass(frozen=True)
class Spent:
    """What a process took."""

    reported: Dict[str, Any]
    """The last line that it printed, JSON; empty if it is not asked to."""
    cpu_s: float
    wall_s: float
    peak_mb: float


_RUN = """
import json, resource, subprocess, sys, time
since = time.monotonic()
process = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"rc": process.returncode, "out": process.stdout.decode(), "wall": time.monotonic() - since,
                  "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}))
"""


def run(*command: str) -> Spent:
    """Run a command and its children to their end; of the memory, the largest of them counts.

    Raises:
        SystemExit: If it fails.
    """
    # in a process of its own, because the cost of children is known only as a sum over all of them
    done = subprocess.run([sys.executable, "-c", _RUN, *command], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    if found["rc"]:
        raise SystemExit(f"{' '.join(command)} failed ({found['rc']}): {found['out'][-2000:]}")
    lines = found["out"].strip().splitlines()
    reported = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Spent(reported, found["cpu"], found["wall"], found["peak"])
