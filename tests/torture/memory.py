"""Memory of the daemon and of the real worker after many jobs, against that after a few."""

import time
from pathlib import Path

from . import real
from .box import Box, rss_mb
from .jobs import audit
from .result import Result

N_FEW, N_MANY = 20, 500
AT_A_TIME = 10
MOST_GROWTH = 1.10


def run(folder: Path, seed: int) -> Result:
    result = Result("memory")
    box = Box(folder, "real")
    giver, given = real.Giver(box.spool, seed, seconds=0.5), []
    box.start()
    box.until_ready()
    figures, n_open = {}, {}
    assert box.process is not None
    while len(given) < N_MANY:
        given += [giver.give() for _ in range(AT_A_TIME)]
        box.until_idle()
        workers = box.workers()
        if len(given) in (N_FEW, N_MANY):
            figures[len(given)] = {"daemon": rss_mb(box.process.pid), "worker": sum(map(rss_mb, workers))}
            n_open[len(given)] = [_n_open(pid) for pid in (box.process.pid, *workers)]
        result.progress(f"{len(given)} of {N_MANY} jobs; worker {sum(map(rss_mb, workers)):.1f} MB")
    for who in ("daemon", "worker"):
        few, many = figures[N_FEW][who], figures[N_MANY][who]
        result.row(
            f"{who}: MB after {N_FEW} / {N_MANY} jobs", f"{few:.1f} / {many:.1f} ({100 * (many / few - 1):+.1f} %)"
        )
        result.expect(many <= few * MOST_GROWTH, f"the {who} grew from {few:.1f} to {many:.1f} MB")
    result.row(f"open files of both after {N_FEW} / {N_MANY} jobs", f"{n_open[N_FEW]} / {n_open[N_MANY]}")
    result.expect(n_open[N_FEW] == n_open[N_MANY], f"open files: {n_open[N_FEW]}, then {n_open[N_MANY]}")
    n_workers = box.text().count("the worker is ready")
    result.expect(n_workers == 1, f"{n_workers} workers were needed")
    result.expect(box.stop() == 0, "the daemon did not end well")
    reported = audit(box.spool, given, giver.mark_of)
    result.row("of the jobs", reported)
    result.broken += reported.broken
    return result


def _n_open(pid: int) -> int:
    """Files that stay open: the daemon opens others for a moment, on each pass."""
    seen = []
    for _ in range(50):
        seen.append(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))
        time.sleep(0.02)
    return min(seen)
