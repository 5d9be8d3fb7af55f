"""The wall clock jumps while jobs flow: a board whose clock has no battery starts in 1970, then somebody sets it.

Only the daemon's and the worker's clock is turned (`clock.c`): libfaketime 0.9.10 makes every `time.sleep` of Python
3.11 fail. The monotonic clock goes on as ever, as on a real box, and files keep the times they have.
"""

import shutil
import struct
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path

from .box import Box
from .jobs import Giver, audit
from .result import Result
from .watch import Watch

DAY_S = 86400.0
JUMPS = (0.0, DAY_S, -DAY_S, 1970, 2040, 2000, 3600.0, -3600.0, 0.0)
"""Seconds from the true time, or the beginning of a year."""
JOBS_A_JUMP = 8


def run(folder: Path, seed: int) -> Result:
    result = Result("clock")
    compiler = shutil.which("cc")
    if compiler is None:
        result.not_run.append(
            "a clock that jumps: there is no C compiler here to build its hands (apt-get install gcc)"
        )
        return result
    library, offset = folder / "clock.so", folder / "offset"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    offset.write_bytes(bytes(8))
    box = Box(folder, environment={"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)})
    giver, given, years = Giver(box.spool, seed), [], set()
    with Watch(box.spool) as watch:
        box.start()
        box.until_ready()
        for i, jump in enumerate(JUMPS):
            for n in range(JOBS_A_JUMP):
                if n == JOBS_A_JUMP // 2:
                    with offset.open("r+b") as file:
                        file.write(struct.pack("q", _seconds(jump)))
                giver.at_s = time.time() + _seconds(jump)
                given.append(giver.give("slow" if n == JOBS_A_JUMP // 2 - 1 else None))
            if i % 3 == 2:  # and a start in the new time, with work left over
                box.kill()
                box.start()
            box.until_idle()
            years.add(box.last_words(1)[:4])
            result.progress(f"{i + 1} of {len(JUMPS)} jumps, {len(given)} jobs")
        result.expect(box.stop() == 0, "the daemon did not end well")
        reported = audit(box.spool, given)
    result.row("jumps / jobs / looks at outbox and failed", f"{len(JUMPS)} / {len(given)} / {watch.n_looks}")
    result.row("years the daemon's log knows", ", ".join(sorted(years)))
    result.expect({"1970", "2040"} <= years, f"the clock did not jump: {sorted(years)}")
    result.row("of the jobs", reported)
    for words in reported.broken + watch.broken:
        result.expect(False, words)
    return result


def _seconds(jump: float) -> int:
    """From the true time."""
    if isinstance(jump, float):
        return int(jump)
    return int(datetime(jump, 1, 2, tzinfo=timezone.utc).timestamp() - time.time())
