"""The wall clock jumps while jobs flow: a board whose clock has no battery starts in 1970, then somebody sets it."""

import time
from pathlib import Path
from typing import List, Optional

from .box import Box
from .jobs import Given, Giver, audit
from .result import Result
from .watch import Watch

DAY_S = 86400
JUMPS = (0, DAY_S, -DAY_S, "1970-01-01 00:00:10", "2040-01-19 03:14:08", "2000-02-29 12:00:00", 3600, -3600, 0)
"""Seconds from the true time, or a date."""
JOBS_A_JUMP = 8
LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")


def run(folder: Path, seed: int) -> Result:
    result = Result("clock")
    library = next((str(p) for pattern in LIBRARIES for p in Path("/").glob(pattern[1:])), None)
    if library is None:
        result.not_run.append(
            "a clock that jumps under the daemon: there is no libfaketime here (apt-get install faketime)"
        )
    given = _flow(folder, seed, result, library)
    result.row("jumps / jobs", f"{len(JUMPS)} / {len(given)}")
    return result


def _flow(folder: Path, seed: int, result: Result, library: Optional[str]) -> List[Given]:
    """Jobs before, at and after each jump; what is given in has the time of the box."""
    now = folder / "now"
    faked = {
        "LD_PRELOAD": library or "",
        "FAKETIME_TIMESTAMP_FILE": str(now),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # nothing turns that one
        "NO_FAKE_STAT": "1",  # a clock that jumps takes no file with it
    }
    box = Box(folder, environment=faked if library else None)
    _turn(now, 0)
    giver, given, years = Giver(box.spool, seed), [], set()
    with Watch(box.spool) as watch:
        box.start()
        box.until_ready()
        for i, jump in enumerate(JUMPS):
            for n in range(JOBS_A_JUMP):
                if n == JOBS_A_JUMP // 2:
                    _turn(now, jump)
                giver.at_s = _in_box(jump)
                given.append(giver.give("slow" if n == JOBS_A_JUMP // 2 - 1 else None))
            if i % 3 == 2:  # and a start in the new time, with work left over
                box.kill()
                box.start()
            box.until_idle()
            years.add(box.last_words(1)[:4])
            result.progress(f"{i + 1} of {len(JUMPS)} jumps, {len(given)} jobs")
        result.expect(box.stop() == 0, "the daemon did not end well")
        told = audit(box.spool, given)
    if library:
        result.row("years the daemon's log knows", ", ".join(sorted(years)))
        result.expect({"1970", "2040"} <= years, f"the clock did not jump: {sorted(years)}")
    result.row("of the jobs", told)
    for words in told.broken + watch.broken:
        result.expect(False, words)
    return given


def _turn(now: Path, jump: object) -> None:
    """Set the box's clock."""
    draft = now.with_suffix(".new")
    draft.write_text(f"@{jump}\n" if isinstance(jump, str) else f"{jump:+d}\n")
    draft.replace(now)


def _in_box(jump: object) -> float:
    """The time of the box."""
    if isinstance(jump, str):
        return time.mktime(time.strptime(jump, "%Y-%m-%d %H:%M:%S"))
    return time.time() + int(str(jump))
