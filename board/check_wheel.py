"""Does a built wheel hold everything the installed product needs? ``python board/check_wheel.py WHEEL [--same OTHER]``.

With ``--same``, whether another wheel holds the same files; what is compiled, and the list of hashes, by name alone.
"""

import argparse
import sys
import zipfile
from pathlib import Path
from typing import List

from packaging.utils import parse_wheel_filename

sys.path.append(str(Path(__file__).resolve().parents[1]))

from board.wheelhouse import extensions

NEEDED = (
    "sonic_edge/py.typed",
    "sonic_edge/cli/__init__.py",
    "sonic_edge/engine/renderer/__init__.py",
    "sonic_edge/model/backends/cpu.py",
    "sonic_edge/model/backends/mindspore_lite.py",
    "sonic_edge/model/backends/acl.py",
    "sonic_edge/engine/fonts/label.otf",
    "data/share/sonic-edge/bundles/sonic-net/bundle.yaml",
    "data/share/sonic-edge/bundles/sonic-net/encoder.int8.onnx",
    "data/share/sonic-edge/bundles/sonic-net/denoiser.int8.onnx",
    "data/share/bash-completion/completions/sonic-edge",
    "data/share/zsh/site-functions/_sonic-edge",
    "data/share/man/man1/sonic-edge.1",
    "entry_points.txt",
    "LICENSE",
)


def check(wheel: Path) -> List[str]:
    """List missing and unwanted files, and compiled parts that do not match the wheel's name."""
    names = zipfile.ZipFile(wheel).namelist()
    wrong = [f"{n} is missing" for n in NEEDED if not any(n in name for name in names)]
    wrong += [f"{n} should not be there" for n in names if n.startswith(("tests/", "models/", "board/"))]
    _, _, _, tags = parse_wheel_filename(wheel.name)
    tag = sorted(tags, key=str)[0]
    if tag.abi == "none" or tag.platform == "any":
        return [*wrong, f"{tag} is for any Python and processor; its compiled part is for one"]
    arch = tag.platform.partition("_")[2]
    compiled = f"sonic_edge/engine/renderer/_pixels.cpython-{tag.interpreter[2:]}-{arch}-linux-gnu.so"
    wrong += [f"{n} should not be there" for n in names if n.endswith(".so") and n != compiled]
    machine = extensions(wheel).get(compiled)
    if machine is None:
        wrong.append(f"{compiled} is missing")
    elif machine != arch:
        wrong.append(f"{compiled} is for {machine}; {arch} is needed")
    return wrong


def differences(wheel: Path, other: Path) -> List[str]:
    """What is in one wheel and not, or not the same, in another."""
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(other) as two:
        names, others = set(one.namelist()), set(two.namelist())
        wrong = [f"{n} is not in {other}" for n in sorted(names - others)]
        wrong += [f"{n} is missing, which is in {other}" for n in sorted(others - names)]
        whole = (n for n in sorted(names & others) if not n.endswith((".so", ".dist-info/RECORD")))
        return wrong + [f"{n} is not as in {other}" for n in whole if one.read(n) != two.read(n)]


def main() -> int:
    """Print what is wrong with the wheel."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path, metavar="WHEEL")
    parser.add_argument("--same", type=Path, metavar="OTHER")
    args = parser.parse_args()
    wheel: Path = args.wheel
    wrong = check(wheel)
    if args.same is not None:
        wrong += differences(wheel, args.same)
    for line in wrong:
        print(f"{wheel}: {line}", file=sys.stderr)
    print(f"{wheel}: {len(zipfile.ZipFile(wheel).namelist())} files")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
