"""Whether a model computes the same on every kind of processor: ``python board/processors``. See docs/PROCESSORS.md.

Runs the bundle's graphs as the product does, on inputs from the running product, on this machine's processor and on
those it can emulate. Each output is compared with the graph's own floating-point form.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional

sys.path.append(str(Path(__file__).resolve().parents[2]))

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from board.processors.inside.measure import Measured
from board.processors.kinds import ARM, X86, arm64, as_it_is, build, features, hiding, measured_on_arm, played
from board.virtual.pieces import CHECKOUT, NotRun
from models.chip.calibration import collect, material
from models.chip.graphs import literal_session, rewritten
from sonic_edge.errors import SonicEdgeError
from sonic_edge.model.backends.onnx_model import read_model
from sonic_edge.model.backends.onnx_narrow import narrow
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.reference import agreement

BUILD = CHECKOUT / "build" / "processors"
LEAST_R = 0.995
"""Lowest agreement, r, of every output with the floating-point form."""
NOT_RUN = 3
"""Exit status of --on if this machine cannot emulate the kind."""
FORMS: Dict[str, Dict[str, str]] = {
    "as the file": {},
    "unsigned": {"session.x64quantprecision": "1"},
    "narrow": {},
    "float": {},
}
"""Ways to run an INT8 graph, with onnxruntime's settings: its signed weights as they are; as unsigned ones where that
is needed; narrowed, as the product does; and not at all."""


def main() -> int:
    """Make the inputs, run them on every kind, print a table; 0 if the product agrees to `LEAST_R` wherever it ran."""
    parser = argparse.ArgumentParser(description="Run a model on every kind of processor to be had here.")
    parser.add_argument("--bundle", type=Path, default=CHECKOUT / "models/bundles/sonic-net")
    parser.add_argument("--speech", type=Path, help="folder of recordings (default: the sample)")
    parser.add_argument("--portraits", type=Path, help="folder of photos (default: the sample)")
    parser.add_argument("--samples", type=int, default=60, help="calls of each graph (default: %(default)s)")
    parser.add_argument("--no-arm64", action="store_true", help="leave out arm64, which takes root and minutes")
    parser.add_argument("--forms", action="store_true", help="tell of the other ways to run an INT8 graph, too")
    kinds = "; ".join(kind.name for kind in X86)
    parser.add_argument("--on", metavar="KIND", help=f"run COMMAND's Python programs as on this kind instead: {kinds}")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="for --on, after --")
    args = parser.parse_args()
    if args.on:
        return run_on(args.on, args.command)
    shutil.rmtree(BUILD, ignore_errors=True)
    case = BUILD / "case"
    try:
        expected = make_case(Bundle(args.bundle), case, args)
    except SonicEdgeError as e:
        print(e, file=sys.stderr)
        return 1
    build(case)
    good = True

    def run(name: str, measure: Callable[[Path], str]) -> Optional[List[str]]:
        nonlocal good
        folder = BUILD / name.replace(" ", "-").replace(",", "")
        shutil.copytree(case, folder)
        try:
            how = measure(folder)
        except NotRun as e:
            print(f"NOT RUN {name}: {e}", flush=True)
            return None
        reported = Measured(**json.loads((folder / "reported.json").read_text()))
        made = dict(np.load(folder / "made.npz"))
        good = report(name, how, reported, made, expected, args.forms) and good
        return reported.features

    has = run("this machine", as_it_is) or []
    for kind in X86:
        run(kind.name, partial(played, kind, has=has))
    if args.no_arm64:
        print("NOT RUN arm64: left out by --no-arm64")
    else:
        _on_arm(case, run)
    print(
        f"every output of the product r >= {LEAST_R} with floating point, wherever it ran: "
        f"{'held' if good else 'NOT HELD'}"
    )
    return 0 if good else 1


def run_on(name: str, command: List[str]) -> int:
    """Run a command as on another kind of processor, by hiding features; its exit status, or `NOT_RUN`."""
    kind = next((kind for kind in X86 if kind.name == name), None)
    BUILD.mkdir(parents=True, exist_ok=True)
    build(BUILD)
    hidden = hiding(kind, BUILD, features(BUILD)) if kind else None
    if hidden is None:
        print(f"NOT RUN on {name}: {'this machine cannot emulate it' if kind else 'there is no such kind'}")
        return NOT_RUN
    return subprocess.run(command, env={**os.environ, **hidden}, check=False).returncode


def _on_arm(case: Path, run: Callable[[str, Callable[[Path], str]], object]) -> None:
    try:
        with arm64(case):
            for kind in ARM:
                run(kind.name, partial(measured_on_arm, kind))
    except NotRun as e:
        print(f"NOT RUN arm64: {e}")


def make_case(bundle: Bundle, case: Path, args: argparse.Namespace) -> Dict[str, NDArray[np.float32]]:
    """Write everything that ``inside/measure.py`` needs.

    Returns:
        ``stage/output`` -> result of the floating-point form, [n, ...].

    Raises:
        SonicEdgeError: If the bundle, or what it is to be run on, cannot be used.
    """
    for form in FORMS:
        (case / form).mkdir(parents=True)
    shutil.copytree(bundle.folder, case / "bundle", ignore=shutil.ignore_patterns("*.mindir", "*.om"))
    recordings, faces, _ = material(bundle, args.speech, args.portraits)
    calls = collect(bundle, recordings, faces, args.samples, seed=0)
    expected = {}
    for stage, kept in calls.items():
        inputs = {name: np.stack([call[name] for call in kept]) for name in kept[0]}
        np.savez(case / f"{stage}.npz", **inputs)  # type: ignore[arg-type]  # numpy: a ** might hold its own allow_pickle
        content = bundle.stage(stage, "cpu").path.read_bytes()
        in_floats = rewritten(onnx.load_from_string(content), False).SerializeToString()
        narrowed = read_model(content)
        narrow(narrowed)
        contents = (content, content, bytes(narrowed.SerializeToString()), in_floats)
        for form, what in zip(FORMS, contents):
            (case / form / f"{stage}.onnx").write_bytes(what)
        session = literal_session(in_floats)
        names = list(bundle.spec.stages[stage].outputs)
        made = [session.run(names, call) for call in kept]
        expected.update({f"{stage}/{n}": np.concatenate([m[k] for m in made]) for k, n in enumerate(names)})
    (case / "probe.onnx").write_bytes(_probe())
    (case / "options.json").write_text(json.dumps({"forms": FORMS if args.forms else {}}))
    return expected


def _probe() -> bytes:
    """A convolution with the largest possible products."""
    values = {
        "w": np.full((1, 4, 1, 1), 127, np.int8), "ws": np.ones(1, np.float32), "wz": np.zeros(1, np.int8),
        "s": np.float32(1), "z": np.uint8(0), "S": np.float32(1000),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "S", "z"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "S", "z"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "probe",
        [info("x", TensorProto.FLOAT, [1, 4, 1, 1])],
        [info("y", TensorProto.FLOAT, [1, 1, 1, 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(made.SerializeToString())


def report(
    name: str,
    how: str,
    reported: Measured,
    made: Dict[str, NDArray[np.float32]],
    expected: Dict[str, NDArray[np.float32]],
    all_forms: bool,
) -> bool:
    """Print one processor's line; whether the product agrees."""
    sums = "integer sums stop at 16 bits" if reported.saturates else "integer sums are whole"
    print(
        f"== {name} ({how}): onnxruntime {reported.onnxruntime}, {' '.join(reported.features)}; its kernels "
        f"{kernels(reported.features)}; {sums}"
    )
    forms = ("product", *FORMS) if all_forms else ("product",)
    good = True
    for form in forms:
        agreed = {key: least_r(made[f"{form}/{key}"], wanted) for key, wanted in expected.items()}
        if form == "product":
            good = min(agreed.values()) >= LEAST_R
        spent = ""
        if form != "product" and not how.startswith("QEMU"):
            spent = "; ms a call: " + ", ".join(f"{stage} {ms[form]:.2f}" for stage, ms in reported.ms.items())
        print(f"   {form:<12} r " + ", ".join(f"{key.split('/')[1]} {r:.4f}" for key, r in agreed.items()) + spent)
    sys.stdout.flush()
    return good


def kernels(features: List[str]) -> str:
    """The integer kernels that onnxruntime uses on such a processor (its platform.cpp, onnxruntime/core/mlas/lib)."""
    order = (
        *(("i8mm", "NEON i8mm"), ("dotprod", "NEON dot product"), ("neon", "NEON"), ("avx512_vnni", "AVX-512 VNNI")),
        *(("avx_vnni", "AVX-VNNI"), ("avx512", "AVX-512 vpmaddubsw"), ("avx2", "AVX2 vpmaddubsw")),
    )
    return next((kernel for feature, kernel in order if feature in features), "SSE")


def least_r(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson's r of two results, [n, channels, ...]; for few channels, which differ in kind, the lowest."""
    if a.shape[1] > 10:
        return agreement(a, b)[0]
    return min(agreement(a[:, k], b[:, k])[0] for k in range(a.shape[1]))


if __name__ == "__main__":
    sys.exit(main())
