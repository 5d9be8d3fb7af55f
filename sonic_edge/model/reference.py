"""Reference outputs that come with a bundle, compared with what this machine computes.

A processor or chip that computes something else fails silently: a video is made, and its mouth mumbles. The reference
is an ``.npz`` beside bundle.yaml, made by ``models/reference.py``: inputs for a few calls of each stage, and what the
floating-point model computed from them. Arrays are ``<stage>/in/<tensor>`` and ``<stage>/out/<tensor>``, [n, ...]; an
input with n = 1 is the same in every call. Values are float32, float16, or uint8 with 255 for 1.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..errors import ConfigError
from ..media import FloatArray
from .backends.base import Session
from .bundle import Bundle

MOST_CALLS = 16
GAINS = (0.9, 1.1)
"""Allowed range of `Agreement.gain`. INT8 gives .98 to 1.02; a single wrong scale is further off."""
_TYPES = {"float32", "float16", "uint8"}


class Agreement(NamedTuple):
    """How well one output agrees with the reference."""

    stage: str
    output: str
    r: float
    """Pearson's correlation over all values of all calls; 1 if both are constant, 0 if only one is or any is NaN."""
    gain: float
    """Slope of the regression line of the output on the reference: r is blind to a wrong scale."""

    def holds(self, least_r: float) -> bool:
        """Whether the agreement is good enough."""
        return self.r >= least_r and GAINS[0] <= self.gain <= GAINS[1]


def agreement(made: NDArray[Any], wanted: NDArray[Any]) -> Tuple[float, float]:
    """r and gain, as in `Agreement`, of two arrays of the same shape."""
    x, y = (array.astype(np.float64).ravel() for array in (made, wanted))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 0.0, 0.0
    x, y = x - x.mean(), y - y.mean()
    sizes = float((x * x).sum()), float((y * y).sum())
    if min(sizes) < 1e-12:
        same = float(max(sizes) < 1e-12)
        return same, same
    both = float((x * y).sum())
    return both / float(np.sqrt(sizes[0] * sizes[1])), both / sizes[1]


def compare(bundle: Bundle, opened: Callable[[str], Session]) -> List[Agreement]:
    """Run the bundle's reference calls and compare.

    Args:
        bundle: A bundle with a reference.
        opened: Returns the open session of a stage; the caller closes it.

    Returns:
        One agreement for each output in the reference.

    Raises:
        ConfigError: If the file is missing, damaged or does not fit the bundle.
        DeviceError: If the model cannot be run.
    """
    found: List[Agreement] = []
    for stage, (calls, expected) in read_case(bundle).items():
        session = opened(stage)
        made = [session.run(call) for call in calls]
        for name, wanted in expected.items():
            found.append(Agreement(stage, name, *agreement(np.concatenate([m[name] for m in made]), wanted)))
    return found


Case = Dict[str, Tuple[List[Dict[str, FloatArray]], Dict[str, FloatArray]]]
"""Stage -> (one dict of input name -> array for each call, output name -> expected values [n, ...])."""


def read_case(bundle: Bundle) -> Case:
    """Read the bundle's reference.

    Raises:
        ConfigError: As `compare`.
    """
    path = bundle.reference()
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _stage_case(bundle, name, archive, path) for name in bundle.spec.stages}
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as e:
        raise ConfigError(f"{path}: cannot be read as a reference: {e}") from e


def _stage_case(
    bundle: Bundle, stage: str, archive: zipfile.ZipFile, path: Path
) -> Tuple[List[Dict[str, FloatArray]], Dict[str, FloatArray]]:
    spec = bundle.spec.stages[stage]
    inputs = {name: _read(archive, f"{stage}/in/{name}", t.shape, path) for name, t in spec.inputs.items()}
    n_calls = max(len(array) for array in inputs.values())
    wrong = [f"{stage}/in/{name}" for name, array in inputs.items() if len(array) not in (1, n_calls)]
    there = set(archive.namelist())
    outputs = {
        name: _read(archive, f"{stage}/out/{name}", t.shape, path)
        for name, t in spec.outputs.items()
        if f"{stage}/out/{name}.npy" in there
    }
    wrong += [f"{stage}/out/{name}" for name, array in outputs.items() if len(array) != n_calls]
    if wrong or not outputs:
        raise ConfigError(f"{path}: {', '.join(wrong) or f'{stage}/out'}: must have {n_calls} calls, like the inputs")
    calls = [
        {name: np.ascontiguousarray(array[i % len(array)][None]) for name, array in inputs.items()}
        for i in range(n_calls)
    ]
    return calls, outputs


def _read(archive: zipfile.ZipFile, name: str, shape: List[int], path: Path) -> FloatArray:
    """Read one array. Its header is checked first: a small compressed file may expand to a large array."""
    try:
        file = archive.open(f"{name}.npy")
    except KeyError as e:
        raise ConfigError(f"{path}: has no {name}") from e
    with file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        found, is_fortran, dtype = read_header(file)
        if found[1:] != tuple(shape[1:]) or not 1 <= found[0] <= MOST_CALLS or dtype.name not in _TYPES or is_fortran:
            raise ConfigError(
                f"{path}: {name} is {dtype} {list(found)}; must be float32, float16 or uint8 of 1 to {MOST_CALLS} "
                f"times {shape[1:]}"
            )
        n_bytes = int(np.prod(found)) * dtype.itemsize
        data = file.read(n_bytes)
        if len(data) != n_bytes:
            raise ConfigError(f"{path}: {name} ends early")
    array = np.frombuffer(data, dtype).reshape(found).astype(np.float32)
    return array / np.float32(255) if dtype == np.uint8 else array
