"""Compute a bundle's graphs on this processor: ``measure.py FOLDER``.

FOLDER holds ``features.so`` (x86), ``<form>/<stage>.onnx``, ``<stage>.npz`` with inputs, and ``options.json``; the
results are ``made.npz`` and ``reported.json``. Needs only onnxruntime, numpy and the product's backend.
"""

import ctypes
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import numpy as np
from numpy.typing import NDArray

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as sonic_edge does, which is imported later

import onnxruntime as ort

from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle

_HWCAP, _HWCAP2 = 16, 26
_ARM = (("dotprod", _HWCAP, 20), ("sve", _HWCAP, 22), ("i8mm", _HWCAP2, 13))
"""arch/arm64/include/uapi/asm/hwcap.h"""


class Measured(NamedTuple):
    """What ``reported.json`` says."""

    features: List[str]
    """What the processor has, of what decides which kernels run."""
    onnxruntime: str
    machine: str
    saturates: bool
    """Whether sums of eight-bit products stop at 16 bits."""
    ms: Dict[str, Dict[str, float]]
    """Stage -> form -> milliseconds a call."""


def features(folder: Path) -> List[str]:
    """Those features of the processor that decide which kernels run."""
    if platform.machine() == "aarch64":
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.restype = ctypes.c_ulong
        return ["neon", *(name for name, word, bit in _ARM if getauxval(word) >> bit & 1)]
    words = ctypes.create_string_buffer(200)
    ctypes.CDLL(str(folder / "features.so")).processor_features(words, ctypes.c_size_t(len(words)))
    return words.value.decode().split()


def session(content: bytes, entries: Dict[str, str]) -> ort.InferenceSession:
    """A session as the product opens it, but not cut in two."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return ort.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], disabled_optimizers=["QDQPropagationTransformer"]
    )


def saturates(probe: bytes) -> bool:
    """Whether sums of eight-bit products saturate at 16 bits: 255 x 127 twice, and twice again."""
    full = np.full((1, 4, 1, 1), 255, np.float32)
    return bool(session(probe, {}).run(None, {"x": full})[0].ravel()[0] < 4 * 255 * 127)


def main() -> None:
    """Run all forms in turns, so that other load on the machine affects all of them alike."""
    folder = Path(sys.argv[1])
    asked = json.loads((folder / "options.json").read_text())
    stops = saturates((folder / "probe.onnx").read_bytes())
    reported = Measured(features(folder), ort.__version__, platform.machine(), stops, {})
    made: Dict[str, NDArray[Any]] = {}
    bundle = Bundle(folder / "bundle")
    for stage in bundle.spec.stages:
        calls = dict(np.load(folder / f"{stage}.npz"))
        n_calls = len(next(iter(calls.values())))
        product = CpuBackend(1).open(bundle.stage(stage, "cpu"))
        opened = {
            form: session((folder / form / f"{stage}.onnx").read_bytes(), entries)
            for form, entries in asked["forms"].items()
        }
        names = list(bundle.spec.stages[stage].outputs)
        outputs: Dict[str, List[List[NDArray[Any]]]] = {form: [] for form in ("product", *opened)}
        times: Dict[str, List[float]] = {form: [] for form in opened}
        for i in range(n_calls):
            feeds = {name: array[i] for name, array in calls.items()}
            outputs["product"].append([product.run(feeds)[name] for name in names])
            for form, graph in opened.items():
                began = time.perf_counter()
                outputs[form].append(graph.run(names, feeds))
                times[form].append(time.perf_counter() - began)
        product.close()
        for form, found in outputs.items():
            for k, name in enumerate(names):
                made[f"{form}/{stage}/{name}"] = np.concatenate([call[k] for call in found])
        reported.ms[stage] = {form: 1000 * float(np.median(spent)) for form, spent in times.items()}
    np.savez(folder / "made.npz", **made)  # type: ignore[arg-type]  # numpy: a ** might hold its own allow_pickle
    (folder / "reported.json").write_text(json.dumps(reported._asdict()))


if __name__ == "__main__":
    main()
