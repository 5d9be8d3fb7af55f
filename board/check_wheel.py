"""Does a built wheel hold everything the installed product needs? ``python board/check_wheel.py WHEEL``."""

import sys
import zipfile

NEEDED = (
    "sonic_edge/py.typed",
    "sonic_edge/cli/__init__.py",
    "sonic_edge/renderer/__init__.py",
    "sonic_edge/backends/cpu.py",
    "sonic_edge/backends/mindspore_lite.py",
    "sonic_edge/backends/acl.py",
    "sonic_edge/fonts/",
    "data/share/sonic-edge/bundles/sonic-net/bundle.yaml",
    "data/share/sonic-edge/bundles/sonic-net/encoder.int8.onnx",
    "data/share/sonic-edge/bundles/sonic-net/denoiser.int8.onnx",
    "entry_points.txt",
    "LICENSE",
)


def main() -> int:
    """Name what is missing, or what should not be there."""
    names = zipfile.ZipFile(sys.argv[1]).namelist()
    missing = [n for n in NEEDED if not any(n in name for name in names)]
    strange = [n for n in names if n.startswith(("tests/", "models/", "board/"))]
    for name in missing:
        print(f"{sys.argv[1]}: {name} is missing", file=sys.stderr)
    for name in strange:
        print(f"{sys.argv[1]}: {name} should not be there", file=sys.stderr)
    print(f"{sys.argv[1]}: {len(names)} files")
    return 1 if missing or strange else 0


if __name__ == "__main__":
    sys.exit(main())
