"""Checks of the program: Python and the packages it needs."""

import importlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Iterator, Tuple

from .finding import Context, Finding, failed, ok, warning

OLDEST, NEWEST = (3, 9), (3, 12)

_PACKAGES = (
    ("numpy", "numpy"),
    ("cv2", "opencv-python-headless"),
    ("av", "av"),
    ("PIL", "Pillow"),
    ("yaml", "PyYAML"),
    ("pydantic", "pydantic"),
    ("tqdm", "tqdm"),
)
"""Module, and the package that provides it."""


def python(_: Context) -> Iterator[Finding]:
    """The Python version, and whether each package can be imported."""
    here = sys.version_info[:2]
    summary = f"sonic-edge {version('sonic-edge')} on Python {platform.python_version()}, {platform.machine()}"
    if here < OLDEST or here > NEWEST:
        yield warning(f"{summary}: this Python is untested", f"use Python {_dotted(OLDEST)} to {_dotted(NEWEST)}")
    else:
        yield ok(summary)
    found = []
    for module, package in _PACKAGES:
        try:
            importlib.import_module(module)
            found.append(f"{package} {_version(package)}")
        except Exception as e:  # a shared library may be missing (OSError), or worse
            again = f"{sys.executable} -m pip install --force-reinstall {package}"
            yield failed(f"{package} cannot be loaded ({type(e).__name__}: {e})", f"install it again: {again}")
    yield ok(", ".join(found))


def _dotted(pair: Tuple[int, int]) -> str:
    return ".".join(map(str, pair))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # another package provides the same module
        return "(from another package)"
