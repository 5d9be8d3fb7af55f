"""Exports the trained network: MINDIR for the board, ONNX (opset 13, fp32) for everything else.

    python -m models.export [--trained models/build/trained]

Each graph is exported by a process of its own (the exporter keeps names from one graph to the next), and the ONNX is
compared with the MindSpore cell before it is accepted.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import mindspore as ms
import numpy as np
import onnx
import onnxruntime as ort
from mindspore import Tensor, nn
from numpy.typing import NDArray
from onnx import version_converter

from models import BUILD
from models.life import FACE
from models.network import (
    CONDITION,
    FRAMES,
    IMAGE,
    MEL_FRAMES,
    N_BANDS,
    N_LIFE,
    N_LIPS,
    N_MELS,
    N_OCTAVES,
    N_VISEMES,
    Denoiser,
    Encoder,
)
from models.train import load

OPSET = 13
TOLERANCE = 1e-3
"""Largest difference between MindSpore and its ONNX on random input."""

INPUTS: Dict[str, Dict[str, Tuple[int, ...]]] = {
    "encoder": {"audio_input": (1, 1, N_MELS, MEL_FRAMES), "image_input": (1, 3, IMAGE, IMAGE)},
    "denoiser": {
        "condition": (1, CONDITION, FRAMES), "noisy_motion": (1, N_LIFE, FRAMES),
        "past_motion": (1, N_LIFE + 1, FRAMES), "step": (1, 1),
    },
}  # fmt: skip
OUTPUTS: Dict[str, Dict[str, Tuple[int, ...]]] = {
    "encoder": {
        "lips": (1, N_LIPS, FRAMES), "closure": (1, 1, FRAMES), "visemes": (1, N_VISEMES, FRAMES),
        "condition": (1, CONDITION, FRAMES), "face": (1, len(FACE)),
    },
    "denoiser": {"velocity": (1, N_LIFE, FRAMES)},
}  # fmt: skip


def n_parameters(cell: nn.Cell) -> int:
    """Number of trained values of a cell."""
    return sum(int(np.prod(parameter.shape)) for parameter in cell.get_parameters())


PLACES = {
    "bands.": N_BANDS * FRAMES,
    "octaves.": N_OCTAVES * FRAMES,
    "patch.": 56 * 56,
    "fine.": 28 * 28,
    "middle.": 14 * 14,
    "middle_mix.": 14 * 14,
    "coarse.": 7 * 7,
    "hidden.": 1,
    "out.": 1,
    "step_": 1,
}
"""How often a layer is applied in a window, by its name; the others work on every frame."""


def multiplications(cell: nn.Cell) -> int:
    """Multiply-adds of a cell's convolutions and dense layers for one window."""
    total = 0
    for name, parameter in cell.parameters_and_names():
        if name.endswith("weight"):
            at = next((places for part, places in PLACES.items() if f".{name}".find(f".{part}") >= 0), FRAMES)
            total += int(np.prod(parameter.shape)) * at
    return total


def load_cell(stage: str, trained: Path) -> nn.Cell:
    """A stage's MindSpore cell with its trained weights, in inference mode."""
    cell = Encoder(np.zeros((N_VISEMES, N_LIPS), np.float32)) if stage == "encoder" else Denoiser()
    load(trained, {stage: cell})
    cell.set_train(False)
    return cell


def run_cell(cell: nn.Cell, feeds: Dict[str, NDArray[np.float32]]) -> List[NDArray[np.float32]]:
    """A cell's outputs in order."""
    outputs = cell(*(Tensor(array) for array in feeds.values()))
    return [output.asnumpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def export_stage(stage: str, trained: Path) -> None:
    """Write stage.mindir and stage.onnx beside the checkpoint."""
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    cell = load_cell(stage, trained)
    print(f"{stage}: {n_parameters(cell) / 1e3:.0f}k parameters, {multiplications(cell) / 1e6:.1f}M multiply-adds")
    rng = np.random.default_rng(0)
    feeds = {name: rng.uniform(0, 1, shape).astype(np.float32) for name, shape in INPUTS[stage].items()}
    tensors = [Tensor(array) for array in feeds.values()]
    path = trained / f"{stage}.onnx"
    names = {"input_names": list(INPUTS[stage]), "output_names": list(OUTPUTS[stage])}
    ms.onnx.export(cell, *tensors, file_name=str(path), **names)
    ms.export(cell, *tensors, file_name=str(trained / f"{stage}.mindir"), file_format="MINDIR")
    onnx.save(version_converter.convert_version(onnx.load(str(path)), OPSET), str(path))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for name, expected, got in zip(OUTPUTS[stage], run_cell(cell, feeds), session.run(list(OUTPUTS[stage]), feeds)):
        worst = float(np.abs(expected - got).max())
        print(f"{stage} {name}: ONNX differs from MindSpore by {worst:.1e} at most")
        if expected.shape != OUTPUTS[stage][name] or got.shape != expected.shape or worst > TOLERANCE:
            raise ValueError(f"{path}: {name} came out wrong: {got.shape}, off by {worst}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Export the trained network to MINDIR and ONNX.")
    parser.add_argument("--trained", type=Path, default=BUILD / "trained", help="folder that models.train wrote")
    parser.add_argument("--stage", choices=list(INPUTS), help="this graph only, in this process")
    args = parser.parse_args()
    if args.stage:
        export_stage(args.stage, args.trained)
        return
    for stage in INPUTS:
        subprocess.run(
            [sys.executable, "-m", "models.export", "--trained", str(args.trained), "--stage", stage], check=True
        )
    sizes = {
        path.name: path.stat().st_size
        for path in sorted(args.trained.glob("*.*i*r")) + sorted(args.trained.glob("*.onnx"))
    }
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
