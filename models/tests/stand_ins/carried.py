"""Compiled models as the doubles of pyACL and MindSpore Lite load them (tests/doubles/chip_double/file.py)."""

import sys
from pathlib import Path
from typing import Sequence, Tuple

import onnx

sys.path.insert(0, str(Path(__file__).parents[3] / "tests" / "doubles"))
from chip_double import file


def write_om(path: Path, model: onnx.ModelProto, soc: str) -> None:
    """ATC calls an output by the operator that makes it, too: Conv_12:0:lips."""
    made_by = {output: (node.name, i) for node in model.graph.node for i, output in enumerate(node.output)}
    names = ["{}:{}:{}".format(*made_by[o.name], o.name) for o in model.graph.output]
    file.write(path, file.OM, model.SerializeToString(), file.Description(soc=soc, output_names=names))


def read_om(path: Path) -> Tuple[onnx.ModelProto, str]:
    description, graph = file.read(str(path), file.OM)
    return onnx.load_from_string(graph), description.soc


def write_mindir(path: Path, model: onnx.ModelProto, soc: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """`inputs` and `outputs` are what the file calls them, in the graph's order."""
    reported = file.Description(soc=soc, input_names=list(inputs), output_names=list(outputs))
    file.write(path, file.MINDIR, model.SerializeToString(), reported)
