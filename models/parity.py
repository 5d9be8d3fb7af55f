"""Compares the bundle's fp32 network in MindSpore with the CPU backend's INT8, on voices held out of training.

    python -m models.parity [--corpus models/build/corpus.npz] [--bundle models/bundles/sonic-net]

Prints the agreement of every output and the time of a window and of a denoising step on one thread. Other processors
compute the same: `make processors` shows it.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
from numpy.typing import NDArray

from models import BUILD, BUNDLE
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle

LIPS_R, CLOSURE_AGREEMENT = 0.99, 0.98
"""Thresholds for the bundle."""


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Pearson's r of two arrays of one shape; 1 where both are constant."""
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 1e-12 else 1.0


def agreement(a: NDArray[Any], b: NDArray[Any], limit: float) -> float:
    """Share of places where both are over the limit or both are not."""
    return float(((a > limit) == (b > limit)).mean())


def median_ms(call: Callable[[], object], n_calls: int = 60) -> float:
    """Median time of a call, ms."""
    times: List[float] = []
    for _ in range(n_calls):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times) * 1e3)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="MindSpore fp32 beside INT8 ONNX.")
    parser.add_argument("--corpus", type=Path, default=BUILD / "corpus.npz")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--windows", type=int, default=96)
    args = parser.parse_args()

    import mindspore as ms
    import onnx

    from models.batches import Corpus
    from models.chip.graphs import rewritten
    from models.export import run_cell
    from models.quantize import denoiser_feeds, encoder_feeds

    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    bundle = Bundle(args.bundle)
    spec = bundle.motion
    corpus = Corpus(args.corpus, held_out=True)
    statistics = {"mean": spec.life.mean, "std": spec.life.std}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "encoder.onnx")
        onnx.save(rewritten(onnx.load(str(bundle.stage("encoder", "cpu").path)), False), str(path))
        feeds = {
            "encoder": list(encoder_feeds(corpus, args.windows, seed=21)),
            "denoiser": list(denoiser_feeds(corpus, path, statistics, args.windows, seed=22)),
        }
    good = True
    for stage, windows in feeds.items():
        cell = ms.nn.GraphCell(ms.load(str(bundle.stage(stage, "mindspore_lite").path)))
        session = CpuBackend(1).open(bundle.stage(stage, "cpu"))
        exact = [run_cell(cell, window) for window in windows]
        names = list(spec.stages[stage].outputs)
        results = [session.run(window) for window in windows]
        quantised = [[result[name] for name in names] for result in results]
        for i, name in enumerate(names):
            a, b = np.concatenate([out[i] for out in exact]), np.concatenate([out[i] for out in quantised])
            if name == "lips":
                channels: Dict[str, float] = {
                    c: correlation(a[:, k], b[:, k]) for k, c in enumerate(spec.lips.channels)
                }
                good &= min(channels.values()) >= LIPS_R
                print("encoder lips: r " + ", ".join(f"{channel} {r:.4f}" for channel, r in channels.items()))
            elif name == "closure":
                same = agreement(a, b, spec.closure.enter)
                good &= same >= CLOSURE_AGREEMENT
                print(f"encoder closure: r {correlation(a, b):.4f}, decisions agree {100 * same:.2f} %")
            elif name == "visemes":
                same = float((a.argmax(1) == b.argmax(1)).mean())
                print(f"encoder visemes: r {correlation(a, b):.4f}, same class {100 * same:.1f} %")
            elif name == "face":
                print("encoder face: r " + ", ".join(f"{correlation(a[:, k], b[:, k]):.4f}" for k in range(a.shape[1])))
            else:
                print(f"{stage} {name}: r {correlation(a, b):.4f}")
        print(f"{stage}: {median_ms(partial(session.run, windows[0])):.2f} ms INT8 on one thread")
    print(f"lips r >= {LIPS_R} and closures >= {CLOSURE_AGREEMENT}: {'met' if good else 'NOT met'}")
    if not good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
