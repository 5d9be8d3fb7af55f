"""The daemon, with faults injected from inside: ``python boxed.py CONFIG WORKER [ID STEP LOG]``.

WORKER is ``stub`` or ``real``. With ID and STEP it kills itself with SIGKILL just before step STEP of the life of job
ID, counted from the first step that names it. Each step counted goes to LOG, a line each.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sonic_edge import config
from sonic_edge.service import daemon
from sonic_edge.service.daemon import service
from sonic_edge.service.worker import COMMAND
from tests.torture.steps import Step, Steps

STUB = (sys.executable, str(Path(__file__).with_name("stub.py")))


def die_at(root: Path, job: str, number: int, log: Path) -> None:
    """Kill this process before step `number` of a job."""
    reported = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    n_seen = 0

    def each(step: Step) -> None:
        nonlocal n_seen
        named = {part for path in (step.path, step.target) for part in path.split("/")}
        if n_seen == 0 and job not in named:
            return
        n_seen += 1
        os.write(reported, f"{n_seen} {step.kind} {step.path} {step.target}\n".encode(errors="replace"))
        if n_seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    root.mkdir(parents=True, exist_ok=True)
    Steps(root, each).on = True


def main() -> int:
    path = Path(sys.argv[1])
    settings = config.load_config(path)
    if len(sys.argv) > 3:
        die_at(Path(settings.spool.root), sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
    if sys.argv[2] == "stub":
        service.LONGEST_WAIT_S = 0.2  # thousands of mishaps in minutes instead of months
    return daemon.run(settings, path, command=STUB if sys.argv[2] == "stub" else COMMAND)


if __name__ == "__main__":
    sys.exit(main())
