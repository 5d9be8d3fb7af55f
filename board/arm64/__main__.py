"""The arm64 board: ``python board/arm64``. What it proves and what it does not: docs/ARM64.md."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Sequence

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parents[1] / "virtual" / "inside"))

from board.arm64 import debian, fast_tests, product
from board.arm64.debian import BUILD, RESULT, Wrong
from board.virtual.pieces import NotRun

Tell = Callable[[str], None]
Step = Callable[[], str]

FIRST: Sequence[Step] = (debian.make_root, debian.is_as_asked, product.bundle, product.install)
"""The rest depends on these. Each returns what was seen, as text; its docstring begins with its name."""
THEN: Sequence[Step] = (product.doctor, product.demo, product.same_here, fast_tests.run)


def main() -> int:
    """Run all steps and print a line for each; 0 if none failed."""
    os.nice(10)
    shutil.rmtree(BUILD, ignore_errors=True)
    RESULT.mkdir(parents=True)
    with (BUILD / "report.txt").open("w") as report:

        def tell(line: str) -> None:
            for out in (sys.stdout, report):
                print(line, file=out, flush=True)

        began = time.monotonic()
        try:
            with debian.translated() as how:
                tell(f"== an arm64 {debian.SUITE} on this machine: {how}")
                passed = _steps(tell)
        except NotRun as e:
            tell(f"NOT RUN arm64: {e}")
            return 0
        tell(f"== arm64 {'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s")
    if passed:
        shutil.rmtree(debian.ROOT)
    return 0 if passed else 1


def _steps(tell: Tell) -> bool:
    """Run steps in order; whether all passed."""
    for number, step in enumerate(FIRST):
        if not _passes(step, tell):
            for rest in (*FIRST[number + 1 :], *THEN):
                tell(f"NOT RUN {_name(rest)}: it needs what failed before")
            return False
    passed = [_passes(step, tell) for step in THEN]
    return all(passed)


def _passes(step: Step, tell: Tell) -> bool:
    began = time.monotonic()
    try:
        word, seen = "ok", step()
    except (Wrong, subprocess.SubprocessError, OSError, ValueError) as e:
        word, seen = "FAILED", str(e)
    tell(f"{word:<7} {_name(step)}: {' '.join(seen.split())} [{time.monotonic() - began:.0f} s]")
    return word == "ok"


def _name(step: Step) -> str:
    return (step.__doc__ or "").strip().splitlines()[0].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
