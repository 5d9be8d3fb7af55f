"""The program: Python and its packages, and what the settings leave to be said."""

import importlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Iterator, Tuple

from .finding import Case, Finding, failed, ok, warning

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
"""What is imported, and the package it comes from."""


def python(_: Case) -> Iterator[Finding]:
    """The interpreter and what must be there with it."""
    here = sys.version_info[:2]
    told = f"sonic-edge {version('sonic-edge')} on Python {platform.python_version()}, {platform.machine()}"
    if here < OLDEST or here > NEWEST:
        yield warning(f"{told}: not tried with it", f"use Python {_dotted(OLDEST)} to {_dotted(NEWEST)}")
    else:
        yield ok(told)
    found = []
    for module, package in _PACKAGES:
        try:
            importlib.import_module(module)
            found.append(f"{package} {_version(package)}")
        except Exception as e:  # a library under it may be missing: OSError, and worse
            again = f"{sys.executable} -m pip install --force-reinstall {package}"
            yield failed(f"{package} cannot be loaded ({type(e).__name__}: {e})", f"install it again: {again}")
    yield ok(", ".join(found))


def _dotted(pair: Tuple[int, int]) -> str:
    return ".".join(map(str, pair))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # another package gives the same module
        return "(of another package)"
