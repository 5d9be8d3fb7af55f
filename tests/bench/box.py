"""The idle box: time until it is ready, what it uses while nothing happens, time of the command line."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict

import numpy as np

from .cost import run

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def at_rest(folder: Path, seconds: float) -> Dict[str, float]:
    """The daemon with its worker, without a screen.

    Returns:
        `ready_s`: from its start to READY=1. `daemon_mb`, `worker_mb`: resident then. `share`: of a core, both
        together, while nothing happens.
    """
    config = folder / "box.yaml"
    config.write_text(f"spool: {{root: {folder / 'spool'}}}\n", "utf8")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(folder / "notify"))
        ear.settimeout(120)
        since = time.monotonic()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "sonic_edge", "run", "--config", str(config)],
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in ear.recv(4096):
                pass
            ready_s = time.monotonic() - since
            time.sleep(2)
            (worker,) = (int(w) for w in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split())
            before, since = _ticks(daemon.pid) + _ticks(worker), time.monotonic()
            time.sleep(seconds)
            used = (_ticks(daemon.pid) + _ticks(worker) - before) * _TICK_S
            share = used / (time.monotonic() - since)
            return {
                "ready_s": ready_s,
                "daemon_mb": _resident_mb(daemon.pid),
                "worker_mb": _resident_mb(worker),
                "share": share,
            }
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


def help_s(rounds: int) -> float:
    """Until `sonic-edge --help` has answered: processor time, s, median."""
    command = str(Path(sys.executable).with_name("sonic-edge"))
    return float(np.median([run(command, "--help").cpu_s for _ in range(rounds)]))


def _ticks(pid: int) -> int:
    """User and system time of a process (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
