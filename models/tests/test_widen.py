"""Copies and a 1x1 convolution become a whole convolution that gives the same."""

from typing import Dict, List

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import BUNDLE
from models.widen import widened
from sonic_edge.model.bundle import Bundle

RNG = np.random.default_rng(0)
SHAPE = (1, 4, 6, 8)
I64: Dict[str, List[int]] = {
    "sides": [0, 0, 0, 2, 0, 0, 0, 2], "0": [0], "4": [4], "8": [8], "12": [12], "axis": [3],
    "cut": [1, 4, 3, 2, 4, 2], "flat": [1, 16, 3, 4], "2": [2], "6": [6], "channels": [1], "last": [-1],
    "before": [-100], "back": [-1],
}  # fmt: skip


def node(kind, inputs, output, **options):
    return helper.make_node(kind, inputs, [output], name=output, **options)


def splice(source="x"):
    """Each column beside those two to its left and right: 12 channels."""
    return [
        node("Pad", [source, "sides"], "wide"),
        node("Slice", ["wide", "0", "8", "axis"], "left"),
        node("Slice", ["wide", "4", "12", "axis"], "right"),
        node("Concat", ["left", source, "right"], "moved", axis=1),
    ]


def patches():
    """Squares of 2 x 2: 16 channels, [3, 4]."""
    return [
        node("Reshape", ["x", "cut"], "six"),
        node("Transpose", ["six"], "turned", perm=[0, 1, 3, 5, 2, 4]),
        node("Reshape", ["turned", "flat"], "moved"),
    ]


def model(before, n_in, out, quantised, after=()):
    """`before`, which makes `moved` of x, and a convolution of it."""
    constants = {name: np.array(value, np.int64) for name, value in I64.items()}
    weights = RNG.integers(-64, 65, (3, n_in, 1, 1)).astype(np.int8)  # exact on every processor
    scales = RNG.uniform(0.01, 0.02, 3).astype(np.float32)
    nodes = list(before)
    if quantised:
        constants.update(w_int=weights, w_scale=scales, w_zero=np.zeros(3, np.int8))
        constants.update(scale=np.float32(0.03), zero=np.int8(-17))
        nodes += [
            node("QuantizeLinear", ["moved", "scale", "zero"], "int"),
            node("DequantizeLinear", ["int", "scale", "zero"], "data"),
            node("DequantizeLinear", ["w_int", "w_scale", "w_zero"], "w", axis=0),
            node("Conv", ["data", "w"], "made"),
            node("QuantizeLinear", ["made", "scale", "zero"], "made_int"),
            node("DequantizeLinear", ["made_int", "scale", "zero"], "y"),
        ]
    else:
        constants["w"] = (weights * scales[:, None, None, None]).astype(np.float32)
        nodes.append(node("Conv", ["moved", "w"], "y"))
    graph = helper.make_graph(
        [*nodes, *after],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def kinds(made):
    return [n.op_type for n in made.graph.node]


def conv(made):
    (found,) = (n for n in made.graph.node if n.op_type == "Conv")
    return {a.name: list(a.ints) for a in found.attribute}


def run(made, x):
    return ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("quantised", [True, False])
@pytest.mark.parametrize(
    "before, n_in, out, kernel, strides, dilations, pads",
    [
        (splice(), 12, (1, 3, 6, 8), [1, 3], [1, 1], [1, 2], [0, 2, 0, 2]),
        (patches(), 16, (1, 3, 3, 4), [2, 2], [2, 2], [1, 1], [0, 0, 0, 0]),
    ],
)
def test_a_splice_and_patches_become_one_convolution(quantised, before, n_in, out, kernel, strides, dilations, pads):
    old = model(before, n_in, out, quantised)
    new = widened(old)
    assert conv(new) == {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    assert not {"Pad", "Slice", "Concat", "Reshape", "Transpose"}.intersection(kinds(new))
    for scale in (0.5, 3):
        x = (scale * RNG.standard_normal(SHAPE)).astype(np.float32)
        a, b = run(old, x), run(new, x)
        assert np.ptp(a) > 0.5
        if quantised:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_what_else_reads_the_copies_keeps_them():
    old = model(splice(), 12, (1, 3, 6, 8), True, [node("Relu", ["moved"], "z")])
    old.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 12, 6, 8)))
    new = widened(old)
    assert conv(new)["kernel_shape"] == [1, 3] and "Concat" in kinds(new)
    x = RNG.standard_normal(SHAPE).astype(np.float32)
    np.testing.assert_array_equal(run(old, x), run(new, x))


@pytest.mark.parametrize(
    "before, n_in",
    [
        # half of the channels moved to the right: a 1x2 kernel would be half zeros
        ([node("Pad", ["x", "sides"], "wide"), node("Slice", ["wide", "0", "8", "axis"], "left"),
          node("Concat", ["left", "x"], "both", axis=1), node("Slice", ["both", "2", "6", "channels"], "moved")], 4),
        # the columns turned round
        ([node("Slice", ["x", "last", "before", "axis", "back"], "moved")], 4),
        ([node("Relu", ["x"], "moved")], 4),
    ],
)  # fmt: skip
def test_what_no_convolution_reads_is_left(before, n_in):
    old = model(before, n_in, (1, 3, 6, 8), True)
    new = widened(old)
    assert sorted(kinds(new)) == sorted(kinds(old)) and conv(new).get("kernel_shape", [1, 1]) == [1, 1]
    x = RNG.standard_normal(SHAPE).astype(np.float32)
    np.testing.assert_array_equal(run(old, x), run(new, x))


@pytest.mark.parametrize("stage, n_wide", [("encoder", 16), ("denoiser", 10)])
def test_the_shipped_graphs_are_whole(stage, n_wide):
    shipped = onnx.load(str(Bundle(BUNDLE).stage(stage, "cpu").path))
    kernels = [list(a.ints) for n in shipped.graph.node for a in n.attribute if a.name == "kernel_shape"]
    assert sum(kernel != [1, 1] for kernel in kernels) == n_wide
    assert kinds(widened(shipped)) == kinds(shipped)
