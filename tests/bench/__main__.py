"""``python -m tests.bench [--rounds N] [--only stages,sharp,whole,long,live,box] [--json FILE]``."""

import argparse
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict

import cv2

from . import box, sharp, whole
from .cost import turn_by_turn
from .floors import neural_proxy, plain_remap
from .stages import FPS, Material
from .table import table

PARTS = ("stages", "sharp", "whole", "long", "live", "box")
SIZES = (512, 1024)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=sys.modules[__package__].__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="medians are of so many")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, with commas between them: {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="all figures")
    args = parser.parse_args()
    wanted = args.only.split(",")
    if not set(wanted) <= set(PARTS):
        parser.error(f"--only {args.only}: the parts are {', '.join(PARTS)}")
    cv2.setNumThreads(1)
    figures: Dict[str, Any] = {"machine": _machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in wanted:
            print(f"bench: {part}", file=sys.stderr, flush=True)
            figures[part] = globals()[f"_{part}"](folder, args.rounds)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(figures, indent=2) + "\n", "utf8")
    print(table(figures))
    print(f"all figures: {args.json}", file=sys.stderr)
    return 0


def _stages(folder: Path, rounds: int) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for size in SIZES:
        material = Material.make(size, folder)
        cases = {"remap": plain_remap(size, 50), "proxy": neural_proxy(folder, 50), **material.pictures_to_file(100)}
        if size == SIZES[0]:
            cases.update(material.before_pictures())
        found[str(size)] = turn_by_turn(cases, rounds)
    return found


def _sharp(folder: Path, rounds: int) -> Dict[str, Any]:
    return {str(size): sharp.routes(size, folder, rounds) for size in SIZES}


def _whole(folder: Path, rounds: int) -> Dict[str, Any]:
    found: Dict[str, Any] = {"second_core": {str(s): whole.second_core(folder, s, min(rounds, 3)) for s in (10, 60)}}
    for size in SIZES:
        cases = Material.make(size, folder).pictures_to_file(100)
        for preset in ("ultrafast", "veryfast"):
            encode = cases[f"encode {preset}"]
            found[f"{size} {preset}"] = {
                str(s): whole.beside(encode, size, preset, folder, s, n) for s, n in ((10, min(rounds, 3)), (60, 2))
            }
    return found


def _long(folder: Path, rounds: int) -> Dict[str, Any]:
    return whole.growth(folder, 600)


def _live(folder: Path, rounds: int) -> Dict[str, Any]:
    return {str(s): turn_by_turn({"mirror": Material.make(s, folder).mirror(10)}, min(rounds, 3)) for s in SIZES}


def _box(folder: Path, rounds: int) -> Dict[str, Any]:
    return {**box.at_rest(folder, 30), "help_s": box.help_s(rounds)}


def _machine() -> Dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    packages = {name: version(name) for name in ("opencv-python-headless", "numpy", "onnxruntime", "av", "sonic-edge")}
    return {"cpu": cpu or platform.machine(), "python": platform.python_version(), "fps": FPS, **packages}


if __name__ == "__main__":
    sys.exit(main())
