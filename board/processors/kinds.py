"""Kinds of processor, and how a program is run on each of them here.

On x86 the processor itself runs the program, with features that another kind lacks hidden (`inside/features.c`); if
the processor does not allow that, or for kinds without AVX2, QEMU emulates one. arm64 is always emulated by QEMU.
"""

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from board.arm64 import debian
from board.virtual import nspawn, pieces
from board.virtual.pieces import CHECKOUT, NotRun

_INSIDE = Path(__file__).parent / "inside"
_MEASURE = _INSIDE / "measure.py"
_LIMIT_S = 1200.0


class Kind(NamedTuple):
    """A kind of processor, as far as the integer kernels are concerned."""

    name: str
    needs: Tuple[str, ...] = ()
    """Features that this machine's processor must have to emulate it."""
    hides: Tuple[str, ...] = ()
    """Features to hide from the program."""
    qemu: str = ""
    """The processor for QEMU, if it is needed."""


X86 = (
    Kind("AVX-512 with VNNI", ("avx512", "avx512_vnni"), ("avx_vnni", "amx")),
    Kind("AVX-VNNI", ("avx2", "avx_vnni"), ("avx512", "avx512_vnni", "amx")),
    Kind("AVX-512, no VNNI", ("avx512",), ("avx512_vnni", "avx_vnni", "amx"), "Skylake-Server"),
    Kind("AVX2, no VNNI", ("avx2",), ("avx512", "avx512_vnni", "avx_vnni", "amx"), "Haswell"),
    Kind("SSE4, no AVX", (), ("avx", "avx2", "avx512", "avx512_vnni", "avx_vnni", "amx"), "Nehalem"),
)
ARM = (
    Kind("arm64, no dot product", qemu="cortex-a53"),
    Kind("arm64, dot product", qemu="cortex-a76"),
    Kind("arm64, i8mm and SVE", qemu="max"),
)
NO_AVX512 = {"Skylake-Server"}
"""Features that QEMU cannot emulate: it has no AVX-512."""
_SEEN = """
import ctypes
words = ctypes.create_string_buffer(200)
ctypes.CDLL("features.so").processor_features(words, ctypes.c_size_t(len(words)))
print(words.value.decode())
"""
"""Prints the features that a program sees."""
_WHEELS = ("numpy", "onnxruntime", "protobuf", "pydantic", "PyYAML")
"""Those of the product's packages that the model needs."""


def build(folder: Path) -> None:
    """Compile the library that hides features, on x86."""
    if platform.machine() == "x86_64":
        flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *flags, str(_INSIDE / "features.c"), "-o", str(folder / "features.so")], check=True)


def features(folder: Path) -> List[str]:
    """Features of this machine's x86 processor; empty on others."""
    if platform.machine() != "x86_64":
        return []
    words = ctypes.create_string_buffer(200)
    ctypes.CDLL(str(folder / "features.so")).processor_features(words, ctypes.c_size_t(len(words)))
    return words.value.decode().split()


def as_it_is(folder: Path) -> str:
    """Measure on this machine's processor; returns how it was run.

    Raises:
        NotRun: If it cannot be run.
    """
    _run([sys.executable, str(_MEASURE), str(folder)], _environment())
    return "this processor"


def played(kind: Kind, folder: Path, has: Sequence[str]) -> str:
    """Measure on a kind of x86 processor; returns how it was emulated.

    Args:
        kind: One of `X86`.
        folder: For measure.py.
        has: Features of this machine's processor.

    Raises:
        NotRun: If this machine cannot emulate it.
    """
    command = [sys.executable, str(_MEASURE), str(folder)]
    hidden = hiding(kind, folder, has)
    if hidden is not None:
        _run(command, _environment(**hidden))
        return f"this processor without {', '.join(kind.hides)}"
    if not kind.qemu or kind.qemu in NO_AVX512:
        raise NotRun(f"it needs a processor with {' and '.join(kind.needs)}, some of it to be hidden; QEMU has none")
    if platform.machine() != "x86_64":
        raise NotRun("x86 kinds can be emulated on x86 only: the packages here are for another processor")
    translator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if translator is None:
        pieces.need("qemu-x86_64-static=qemu-user-static")
        translator = "qemu-x86_64-static"
    _run([translator, "-cpu", kind.qemu, *command], _environment())
    return f"QEMU's {kind.qemu}"


def hiding(kind: Kind, folder: Path, has: Sequence[str]) -> Optional[Dict[str, str]]:
    """Environment variables that make Python programs run as on a kind of processor; None if impossible here."""
    if not set(kind.needs) <= set(has):
        return None
    variables = {
        "LD_PRELOAD": "features.so",  # by its name: LD_PRELOAD is split at blanks, which a folder's path may have
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("LD_LIBRARY_PATH")))),
        "PROCESSOR_HIDES": " ".join(kind.hides),
    }
    seen = subprocess.run(
        [sys.executable, "-c", _SEEN], env=_environment(**variables), check=False, capture_output=True, text=True
    )
    hides = seen.returncode == 0 and not seen.stderr and not set(kind.hides) & set(seen.stdout.split())
    return variables if hides else None


def _environment(**more: str) -> Dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **more}


def _run(command: Sequence[str], environment: Dict[str, str]) -> None:
    try:
        subprocess.run(
            command, env=environment, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=_LIMIT_S,
        )  # fmt: skip
    except subprocess.CalledProcessError as e:
        raise RuntimeError(f"`{' '.join(command)}` ended with {e.returncode}: {e.stdout.decode()[-800:]}") from e


@contextlib.contextmanager
def arm64(folder: Path) -> Iterator[None]:
    """A context in which `measured_on_arm` works: a Debian for arm64 with Python, numpy and onnxruntime.

    Args:
        folder: For measure.py, without the results.

    Raises:
        NotRun: If it is not possible here.
    """
    shutil.rmtree(debian.BUILD, ignore_errors=True)
    debian.RESULT.mkdir(parents=True)
    with debian.translated():
        debian.make_root()
        nspawn.must_start(debian.ROOT)
        shutil.copytree(debian.wheels("for-model", _needed()), debian.ROOT / "opt/model")
        source = debian.ROOT / "src/sonic_edge"
        shutil.copytree(CHECKOUT / "sonic_edge", source, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        shutil.copy(_MEASURE, debian.ROOT / "src")
        shutil.copytree(folder, debian.RESULT / "case")
        yield
    shutil.rmtree(debian.ROOT)


def measured_on_arm(kind: Kind, folder: Path) -> str:
    """Measure on a kind of arm64 processor, within `arm64`; its results are put into `folder`.

    Raises:
        debian.Wrong: If it fails there.
    """
    path = "/src:/opt/model"
    debian.inside("python3", "/src/measure.py", "/result/case", limit_s=_LIMIT_S, QEMU_CPU=kind.qemu, PYTHONPATH=path)
    for name in ("made.npz", "reported.json"):
        shutil.copy(debian.RESULT / "case" / name, folder)
    return f"QEMU's {kind.qemu}"


def _needed() -> List[str]:
    """The packages with their versions from setup.cfg."""
    lines = (CHECKOUT / "setup.cfg").read_text().splitlines()
    found: List[str] = []
    for name in _WHEELS:
        wanted: Optional[str] = next((line.strip() for line in lines if line.strip().startswith(name)), None)
        found.append(wanted or name)
    return found
