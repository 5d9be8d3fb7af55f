"""Restores the convolutions that training had to write as shifted copies followed by a 1x1 convolution.

    python -m models.widen IN.onnx OUT.onnx

`network.py` says why they were cut. A splice of a frame and its neighbours is a 3-wide (dilated) convolution, a picture
cut into patches a strided one. What a 1x1 convolution reads is found by passing numbered elements through the
graph, so that no particular way of writing it is assumed. Quantised sums are the same to the last bit: the same
integers are added (a padded 0 is the zero point), and what is quantised is not first copied three times over. Sums in
floating point come in another order.
"""

import argparse
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

_MOVES = {"Concat", "Pad", "Reshape", "Slice", "Transpose"}
"""Operators that only move elements, or put zeros beside them."""


class Reach(NamedTuple):
    """What a convolution reads, rows first."""

    kernel: List[int]
    strides: List[int]
    dilations: List[int]
    pads: List[int]
    """Top, left, bottom, right."""
    taps: List[Tuple[int, ...]]
    """Channel, row and column of the kernel for each input channel of the 1x1 convolution."""


class _Graph:
    """A model's graph with frequently used look-ups."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes: List[onnx.NodeProto] = list(model.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output}
        self.constants: Dict[str, onnx.TensorProto] = {i.name: i for i in model.graph.initializer}
        inferred = shape_inference.infer_shapes(model).graph
        self.shapes = {
            value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in (*inferred.input, *inferred.value_info)
        }

    def moved(self, end: str, start: Optional[str]) -> Tuple[Set[str], Set[str]]:
        """The tensors on the way to `end` that are made by moving alone, from `start` on; and where they begin."""
        between: Set[str] = set()
        origins: Set[str] = set()
        ahead = [end]
        while ahead:
            name = ahead.pop()
            node = self.makers.get(name)
            if name == start or node is None or node.op_type not in _MOVES:
                origins.add(name)
            elif name not in between:
                between.add(name)
                ahead += node.input if node.op_type == "Concat" else node.input[:1]
        return between, origins

    def source(self, end: str) -> Optional[str]:
        """The first picture [1, C, H, W] of which alone `end` is made by moving; None if there is none."""
        between, origins = self.moved(end, None)
        in_order = [*origins, *(name for node in self.nodes for name in node.output if name in between - {end})]
        pictures = (name for name in in_order if len(self.shapes.get(name, ())) == 4)
        return next((name for name in pictures if self.moved(end, name)[1] == {name}), None)

    def positions(self, source: str, end: str) -> NDArray[np.int64]:
        """Which element of `source` comes to each place of `end`, [C, H, W], from 1; 0 where there is padding."""
        between, _ = self.moved(end, source)
        nodes = [node for node in self.nodes if node.output[0] in between]
        constants = [self.constants[name] for name in {i for node in nodes for i in node.input if i in self.constants}]
        shape = self.shapes[source]
        before, after = (helper.make_tensor_value_info(n, onnx.TensorProto.DOUBLE, None) for n in (source, end))
        part = helper.make_model(helper.make_graph(nodes, "moves", [before], [after], constants))
        numbers = np.arange(1, np.prod(shape) + 1, dtype=np.float64).reshape(shape)
        results = ReferenceEvaluator(part).run(None, {source: numbers})
        assert isinstance(results, list)  # a dictionary if what is between were asked for
        made: NDArray[np.int64] = np.asarray(results[0])[0].astype(np.int64)
        return made


def _line(at: NDArray[np.int64], known: NDArray[np.bool_]) -> Optional[Tuple[int, NDArray[np.int64]]]:
    """Of places along one axis of the source, [C, n]: the stride, and each channel's offset; None if there is none."""
    both = known[:, 1:] & known[:, :-1]
    steps = np.unique(np.diff(at, axis=1)[both])
    if len(steps) > 1 or not known.any(axis=1).all():
        return None
    stride = int(steps[0]) if len(steps) else 1
    offsets = np.where(known, at - stride * np.arange(at.shape[1]), np.iinfo(np.int64).min).max(axis=1)
    same = (at == offsets[:, None] + stride * np.arange(at.shape[1])) | ~known
    return (stride, offsets) if stride > 0 and same.all() else None


def reach(positions: NDArray[np.int64], shape: Tuple[int, ...]) -> Optional[Reach]:
    """The convolution over a source of `shape` [1, C, H, W] that reads what `positions` says; None if none does."""
    n_channels, *size = shape[1:]
    out = positions.shape[1:]
    known = positions > 0
    places = np.unravel_index(np.maximum(positions - 1, 0), (n_channels, *size))
    channel = np.where(known, places[0], -1).max(axis=(1, 2))
    kernel, strides, dilations, begins, ends, taps = [], [], [], [], [], [channel]
    for axis, (n_in, n_out) in enumerate(zip(size, out)):
        across = 2 - axis
        somewhere: NDArray[np.bool_] = np.asarray(known.any(axis=across))
        line = _line(np.where(known, places[1 + axis], -1).max(axis=across), somewhere)
        if line is None:
            return None
        stride, offsets = line
        first, between = int(offsets.min()), np.diff(np.unique(offsets))
        dilation = int(np.gcd.reduce(between)) if len(between) else 1
        taps.append((offsets - first) // dilation)
        kernel.append(int(taps[-1].max()) + 1)
        strides.append(stride)
        dilations.append(dilation)
        begins.append(-first)
        ends.append(first + (n_out - 1) * stride + (kernel[-1] - 1) * dilation - (n_in - 1))
    found = Reach(kernel, strides, dilations, begins + ends, list(zip(*(tap.tolist() for tap in taps))))
    # every weight of the kernel must already exist, or the kernel would add work
    n_taps = n_channels * kernel[0] * kernel[1]
    if min(found.pads) < 0 or not len(set(found.taps)) == len(found.taps) == n_taps:
        return None
    return found if np.array_equal(_read(found, shape, out), positions) else None


def _read(found: Reach, shape: Tuple[int, ...], out: Tuple[int, ...]) -> NDArray[np.int64]:
    """The positions that a convolution reads, as `_Graph.positions` has them."""
    numbers = np.arange(1, np.prod(shape) + 1).reshape(shape[1:])
    top, left, bottom, right = found.pads
    padded = np.pad(numbers, ((0, 0), (top, bottom), (left, right)))
    rows, columns = (np.arange(n) * stride for n, stride in zip(out, found.strides))
    return np.stack(
        [padded[c][np.ix_(rows + y * found.dilations[0], columns + x * found.dilations[1])] for c, y, x in found.taps]
    )


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with ordinary convolutions.

    Args:
        model: fp32 or QDQ, shapes fixed, batch 1.

    Returns:
        Another model; weights keep their names.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = _Graph(made)
    pairs: Dict[Tuple[str, ...], str] = {}
    nodes: List[onnx.NodeProto] = []
    for node in graph.nodes:
        if node.op_type == "Conv":
            nodes += _widen(node, graph, pairs)
        nodes.append(node)
    wanted = {output.name for output in made.graph.output}
    kept: List[onnx.NodeProto] = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.insert(0, node)
    constants = [tensor for tensor in graph.constants.values() if tensor.name in wanted]
    for field, values in (("node", kept), ("initializer", constants), ("value_info", [])):
        made.graph.ClearField(field)
        getattr(made.graph, field).extend(values)
    onnx.checker.check_model(made)
    return made


def _widen(conv: onnx.NodeProto, graph: _Graph, pairs: Dict[Tuple[str, ...], str]) -> List[onnx.NodeProto]:
    """Restore one convolution, if possible; returns the Q/DQ pair that it needs before it, if there is none yet."""
    after = graph.makers.get(conv.input[0])
    before = graph.makers.get(after.input[0]) if after is not None and after.op_type == "DequantizeLinear" else None
    end = before.input[0] if before is not None else conv.input[0]
    weight_maker = graph.makers.get(conv.input[1])
    weight = graph.constants[weight_maker.input[0] if weight_maker is not None else conv.input[1]]
    source = graph.source(end)
    if source is None or weight.dims[2:] != [1, 1]:
        return []
    found = reach(graph.positions(source, end), graph.shapes[source])
    if found is None:
        return []
    old = numpy_helper.to_array(weight)
    new = np.zeros((len(old), graph.shapes[source][1], *found.kernel), old.dtype)
    for i, (channel, y, x) in enumerate(found.taps):
        new[:, channel, y, x] = old[:, i, 0, 0]
    weight.CopyFrom(numpy_helper.from_array(new, weight.name))
    options = {"kernel_shape": found.kernel, "strides": found.strides, "dilations": found.dilations, "pads": found.pads}
    conv.ClearField("attribute")
    conv.attribute.extend(helper.make_attribute(name, value) for name, value in options.items())
    if before is None or after is None:
        conv.input[0] = source
        return []
    key = (source, *before.input[1:])
    new_pair = key not in pairs
    name = pairs.setdefault(key, f"{source}/{before.output[0]}")
    conv.input[0] = f"{name}/float"
    if not new_pair:
        return []
    return [
        helper.make_node("QuantizeLinear", [source, *before.input[1:]], [name], name=f"{name}/quantize"),
        helper.make_node("DequantizeLinear", [name, *after.input[1:]], [f"{name}/float"], name=f"{name}/dequantize"),
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make whole convolutions of copies and 1x1 convolutions.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    onnx.save(widened(onnx.load(str(args.source))), str(args.target))


if __name__ == "__main__":
    main()
