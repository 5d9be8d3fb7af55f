"""``python -m tests.torture [--only kills,power] [--seed N] [--minutes N]``."""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

from . import clock, disk, fuzz, held, junk, kills, memory, orders, power, two
from .box import end_all
from .result import Result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=sys.modules[__package__].__doc__)
    parser.add_argument("--only", default="", help="parts, with commas between them")
    parser.add_argument("--seed", type=int, default=1, help="the same seed does the same, save for the moment")
    parser.add_argument("--minutes", type=float, default=20.0, help="the fuzzer ends then at the latest")
    parser.add_argument("--files", type=int, default=1000, help="so many broken files the fuzzer gives in")
    parser.add_argument("--folder", type=Path, help="work here, and leave all of it")
    args = parser.parse_args()
    parts = {
        "power": power.run,
        "kills": kills.run,
        "two": two.run,
        "orders": orders.run,
        "disk": disk.run,
        "clock": clock.run,
        "junk": junk.run,
        "memory": memory.run,
        "held": held.run,
        "fuzz": partial(fuzz.run, minutes=args.minutes, n_files=args.files),
    }
    wanted = args.only.split(",") if args.only else list(parts)
    if not set(wanted) <= set(parts):
        parser.error(f"--only {args.only}: the parts are {', '.join(parts)}")
    base = args.folder or Path(tempfile.mkdtemp(prefix="sonic-edge-torture-"))
    print(f"torture: seed {args.seed}, {', '.join(wanted)}, in {base}", file=sys.stderr)
    results = []
    for name in wanted:
        since = time.monotonic()
        try:
            (base / name).mkdir(parents=True)
            result = parts[name](base / name, args.seed)
        except Exception as e:
            traceback.print_exc()
            result = Result(name, broken=[f"{type(e).__name__}: {e}"])
        finally:
            end_all()
        result.row("minutes", f"{(time.monotonic() - since) / 60:.1f}")
        results.append(result)
        print(f"{result}\n", flush=True)
    n_broken = sum(len(result.broken) for result in results)
    print("\n".join(map(str, results)) if len(results) > 1 else "", flush=True)
    print(f"torture: {n_broken} broken promises{f'; see {base}' if n_broken else ''}")
    if not n_broken and args.folder is None:
        shutil.rmtree(base)
    return 1 if n_broken else 0


if __name__ == "__main__":
    sys.exit(main())
