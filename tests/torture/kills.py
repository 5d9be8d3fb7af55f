"""SIGKILL before every step of a job's life, then at any moment, of the daemon, of the worker, of both."""

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import List, Sequence, Tuple

from . import real
from .box import Box, Broken
from .jobs import Given, Giver, MarkOf, audit, stub_mark
from .people import People
from .result import Result
from .watch import Watch

STEPPED = ("pair", "folder", "refuse", "once", "two photos")
"""Kinds of jobs that go different ways."""
N_RANDOM, N_RANDOM_JOBS, N_WRITERS, N_REAL = 150, 240, 4, 20


def run(folder: Path, seed: int) -> Result:
    result = Result("kills")
    totals = [0, 0]
    for part in (_at_each_step, _at_random, _real):
        kills, jobs = part(folder / part.__name__.strip("_"), seed, result)
        totals = [totals[0] + kills, totals[1] + jobs]
    result.row("in all: kills / jobs", f"{totals[0]} / {totals[1]}")
    result.expect(totals[0] >= 300 and totals[1] >= 300, f"only {totals[0]} kills over {totals[1]} jobs")
    return result


def _at_each_step(folder: Path, seed: int, result: Result) -> Tuple[int, int]:
    box, rng = Box(folder), random.Random(seed)
    giver, given, n_kills, n_again = Giver(box.spool, seed), [], 0, 0
    with Watch(box.spool) as watch:
        for kind in STEPPED:
            n_steps = 0
            while True:  # until a job lives through all its steps
                name = f"{kind}~{n_steps + 1}"
                given.append(giver.give(kind, name))
                log = folder / "steps"
                log.unlink(missing_ok=True)
                box.start(name, str(n_steps + 1), str(log))
                if not _died(box, name):
                    break
                n_steps += 1
                if rng.random() < 0.4:  # and once more while it is carried on
                    n_again += 1
                    box.start(name, str(rng.randint(1, 30)), str(log))
                    n_kills += _died(box, name)
                result.progress(f"{kind}: killed before step {n_steps}: {_last_line(log)}")
            n_kills += n_steps
            result.row(f"steps in the life of a job: {kind}", n_steps)
            result.expect(n_steps > 20, f"{kind}: only {n_steps} steps were seen")
        box.start()
        box.until_ready()
        box.until_idle()
        _close(box, watch, given, result, "killed before every step")
    result.row("before every step: kills / jobs", f"{n_kills} / {len(given)}")
    return n_kills, len(given)


def _died(box: Box, name: str) -> bool:
    """Wait until the daemon has killed itself, or the job is over, and kill it then; which it was."""
    end = time.monotonic() + 60
    while box.is_alive():
        is_over = (box.spool / "outbox" / f"{name}.json").exists() or (box.spool / "failed" / name).exists()
        if is_over and not box.names("work"):  # its last steps come after its end is visible
            box.kill()
            return False
        if time.monotonic() > end:
            raise Broken(f"{name}: neither over nor killed: {box.last_words()}")
        time.sleep(0.01)
    if box.wait() != -signal.SIGKILL:
        raise Broken(f"{name}: the daemon ended with {box.wait()}: {box.last_words()}")
    return True


def _at_random(folder: Path, seed: int, result: Result) -> Tuple[int, int]:
    box, rng = Box(folder), random.Random(seed)
    given: List[Given] = []
    n_kills = {"daemon": 0, "worker": 0, "both": 0}

    def write(number: int) -> None:
        giver, pace = Giver(box.spool, seed, "abcdefgh"[number]), random.Random(f"{seed} {number}")
        for _ in range(N_RANDOM_JOBS // N_WRITERS):
            given.append(giver.give())
            time.sleep(pace.expovariate(1 / 2.5))

    writers = [threading.Thread(target=write, args=(i,)) for i in range(N_WRITERS)]
    with Watch(box.spool) as watch, People(box, seed) as people:
        for writer in writers:
            writer.start()
        box.start()
        while sum(n_kills.values()) < N_RANDOM:
            if rng.random() < 0.8:  # the others fall into its start
                box.until_ready()
                time.sleep(rng.choice((0.1, 0.5, 1.5)) * rng.random())
                if len(given) * N_RANDOM < sum(n_kills.values()) * N_RANDOM_JOBS:  # let the jobs keep up
                    time.sleep(1.0)
            time.sleep(0.3 * rng.random())
            if not box.is_alive():
                raise Broken(f"the daemon ended by itself: {box.last_words()}")
            which, workers = rng.choice(("daemon", "daemon", "daemon", "worker", "both")), box.workers()
            if which != "daemon" and workers:
                for pid in workers:
                    _kill(pid)
                n_kills[which] += 1
            if which != "worker":
                box.kill()
                n_kills["daemon"] += which == "daemon"
                n_kills["both"] += which == "both" and not workers
                box.start()
            result.progress(f"{sum(n_kills.values())} of {N_RANDOM} kills, {len(given)} of {N_RANDOM_JOBS} jobs given")
        for writer in writers:
            writer.join()
        box.until_ready()
        box.until_idle(300)
        _close(box, watch, given, result, "killed at random", excuses=("cancelled by order", "killed by SIG"))
    n_cancelled = sum("cancelled by order" in p.read_text() for p in (box.spool / "failed").glob("*/reason.json"))
    result.row(
        "meanwhile: status asked / settings read again / cancelled",
        f"{people.n_asked} / {people.n_hangups} / {people.n_cancelled}",
    )
    result.row("the slowest cancelling of a job, s", f"{people.slowest_s:.2f}")
    result.expect(people.slowest_s <= 2.0, f"a job was cancelled only after {people.slowest_s:.1f} s")
    result.expect(n_cancelled >= people.n_cancelled > 0, f"{people.n_cancelled} cancelled, {n_cancelled} are in failed")
    words = ", ".join(f"{which} {n}" for which, n in n_kills.items())
    result.row("at random: kills / jobs", f"{sum(n_kills.values())} ({words}) / {len(given)}")
    result.expect(len(given) == N_RANDOM_JOBS, f"a writer gave up: {len(given)} jobs given")
    return sum(n_kills.values()), len(given)


def _real(folder: Path, seed: int, result: Result) -> Tuple[int, int]:
    box, rng = Box(folder, "real"), random.Random(seed)
    giver, given, n_kills = real.Giver(box.spool, seed), [], 0
    with Watch(box.spool, real.check_whole) as watch:
        while n_kills < N_REAL:
            given.append(giver.give())
            n_started = box.text().count(": started")
            box.start()
            box.until(lambda n=n_started: box.text().count(": started") > n, "a job started")
            time.sleep(rng.uniform(0, 0.8))
            if rng.random() < 0.3:
                for pid in box.workers():
                    _kill(pid)
            box.kill()
            n_kills += 1
            result.progress(f"real worker: {n_kills} of {N_REAL} kills")
        box.start()
        box.until_ready()
        box.until_idle()
        _close(box, watch, given, result, "real worker", giver.mark_of)
    result.row("real worker and video: kills / jobs", f"{n_kills} / {len(given)}")
    return n_kills, len(given)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _close(
    box: Box,
    watch: Watch,
    given: List[Given],
    result: Result,
    what: str,
    mark_of: MarkOf = stub_mark,
    excuses: Sequence[str] = (),
) -> None:
    status = box.stop()
    result.expect(status == 0, f"{what}: the last daemon ended with {status}")
    reported = audit(box.spool, given, mark_of, excuses)
    result.row(f"{what}: of {len(given)} jobs", reported)
    result.row(f"{what}: looks at outbox and failed, broken", f"{watch.n_looks}, {len(watch.broken)}")
    for words in reported.broken + watch.broken:
        result.expect(False, f"{what}: {words}")


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return lines[-1] if lines else "nothing"
