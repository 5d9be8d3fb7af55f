"""The project's own tests on the board: those that finish in reasonable time under emulation."""

import configparser
import re
import shutil
from pathlib import Path

from board.arm64.debian import ROOT, Wrong, inside, wheels
from board.arm64.product import CURRENT
from board.virtual.pieces import CHECKOUT

_MODULES = "model/backends model/bundle service/control engine/drawn engine/geometry hardware/machine model/mel "
_MODULES += "service/metrics engine/motion engine/pixels engine/renderer"
"""Of tests/: model, sound front end, motion, geometry, renderer (which is compiled in part), orders over a socket. The
others take too long there, or need a screen, a sound server or a service manager."""
_UNTOLD = ("exceptiongroup", "tomli")
"""Needed by pytest on Python before 3.11; pip evaluates markers for this Python, not the board's."""


def packages() -> Path:
    """Packages that only the tests need, put on the board; the bundle has none of them."""
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    needed = [*settings["options.extras_require"]["test"].split(), *_UNTOLD]
    return wheels("for-tests", needed)


def run() -> str:
    """The fast tests."""
    source = ROOT / "src"
    source.mkdir()
    for name in ("tests", "models", "board", "systemd"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns(".venv", "build", "__pycache__"))
    for name in ("setup.cfg", "README.md"):
        shutil.copy(CHECKOUT / name, source)
    shutil.copytree(packages(), ROOT / "opt/tests")
    # last on the path: a package that the product has too must be the product's
    start = "import sys; sys.path.append('/opt/tests'); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    modules = " ".join(f"tests/{wing}/test_{name}.py" for wing, _, name in (m.partition("/") for m in _MODULES.split()))
    test = f'cd /src && exec {CURRENT}/bin/python -c "{start}" -q -p no:cacheprovider --durations=15 {modules}'
    said = inside("sh", "-c", test, limit_s=3600)
    return counted(said)


def counted(said: str) -> str:
    """pytest's summary.

    Raises:
        Wrong: If tests did not pass, or none ran.
    """
    ends = re.findall(r"^=*\s*((?:\d+ \w+(?:, )?)+) in [\d.]+s", said, re.MULTILINE)
    if not ends:
        raise Wrong(f"pytest printed no result: {said[-300:]!r}")
    if not re.fullmatch(r"\d+ passed", ends[-1]):
        raise Wrong(f"{ends[-1]}; all must pass, none be skipped")
    return str(ends[-1])
