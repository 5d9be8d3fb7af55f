"""The virtual board: ``python3 board/virtual [1] [2]``. What it is and what it proves: docs/VIRTUAL_BOARD.md."""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict

sys.path.append(str(Path(__file__).resolve().parents[2]))

from board.virtual import nspawn, qemu
from board.virtual.follow import Tell
from board.virtual.pieces import BUILD, NotRun

TIERS: Dict[str, Callable[[Tell], bool]] = {"1": nspawn.run, "2": qemu.run}


def main() -> int:
    """Run tiers; 0 if all checks that ran passed."""
    parser = argparse.ArgumentParser(prog="board/virtual", description=__doc__)
    parser.add_argument("tiers", nargs="*", help=f"of {', '.join(TIERS)}; all when none is named")
    tiers = parser.parse_args().tiers or list(TIERS)
    strange = [tier for tier in tiers if tier not in TIERS]
    if strange:
        parser.error(f"there is no tier {strange[0]}")
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "report.txt").open("w") as report:

        def tell(line: str) -> None:
            for out in (sys.stdout, report):
                print(line, file=out, flush=True)

        return max([_run(tier, tell) for tier in tiers])


def _run(tier: str, tell: Tell) -> int:
    tell(f"== tier {tier}")
    began = time.monotonic()
    try:
        passed = TIERS[tier](tell)
    except NotRun as e:
        tell(f"NOT RUN tier {tier}: {e}")
        return 0
    except subprocess.CalledProcessError as e:
        tell(f"FAIL    tier {tier}: {e}")
        return 1
    tell(f"== tier {tier} {'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
