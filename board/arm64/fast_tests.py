"""The project's own tests on the board: those that are done in reasonable time when everything is translated."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pieces
from debian import CACHE, PYTHON, ROOT, Wrong, inside
from pieces import CHECKOUT
from product import CURRENT

_MODULES = ("backends", "bundle", "control", "geometry", "machine", "mel", "metrics", "motion")
"""Of tests/: model, sound front end, motion, geometry, orders over a socket. The others take too long there, or need a
screen, a sound server or a service manager."""
_NEEDS = ("pytest", "scipy", "prometheus_client", "exceptiongroup", "tomli")
"""The last two pytest needs on Python before 3.11, and pip asks the Python that runs it, not the board's."""
_BESIDE = "/opt/tests"
"""Where they are put: the product's own environment stays as it was installed."""


def wheels() -> Path:
    """What the tests need and the product does not; the bundle has none of it."""
    command = ["download", "--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    command += ["--platform", "manylinux_2_28_aarch64", "--platform", "manylinux2014_aarch64"]

    def make(part: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *command, "--dest", str(part), *_NEEDS], check=True, stdin=subprocess.DEVNULL)
        for numpy in part.glob("numpy-*"):
            numpy.unlink()  # the product's is the one that counts

    return pieces.piece("test-wheels", [*command, *_NEEDS], make, CACHE)


def run() -> str:
    """The fast tests."""
    source = ROOT / "src"
    source.mkdir()
    for name in ("tests", "models", "board", "systemd"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns(".venv", "build", "__pycache__"))
    for name in ("setup.cfg", "README.md"):
        shutil.copy(CHECKOUT / name, source)
    shutil.copytree(wheels(), source / "wheels")
    python = f"{CURRENT}/bin/python"
    put = f"{python} -m pip install --quiet --no-index --no-deps --target {_BESIDE} /src/wheels/*.whl"
    inside("sh", "-c", put, limit_s=600)
    modules = " ".join(f"tests/test_{name}.py" for name in _MODULES)
    test = f"cd /src && exec {python} -m pytest -q -p no:cacheprovider --durations=15 {modules}"
    said = inside("sh", "-c", test, limit_s=3600, PYTHONPATH=_BESIDE)
    return counted(said)


def counted(said: str) -> str:
    """What pytest says at its end.

    Raises:
        Wrong: If tests did not pass, or none ran.
    """
    ends = re.findall(r"^=*\s*((?:\d+ \w+(?:, )?)+) in [\d.]+s", said, re.MULTILINE)
    if not ends:
        raise Wrong(f"pytest told no result: {said[-300:]!r}")
    if not re.fullmatch(r"\d+ passed", ends[-1]):
        raise Wrong(f"{ends[-1]}; all must pass, none be skipped")
    return str(ends[-1])
