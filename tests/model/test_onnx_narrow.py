"""INT8 weights are narrowed so that sums overflow on no processor, with almost the same results."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.backends.onnx_model import read_model
from sonic_edge.model.backends.onnx_narrow import has_other_sums, narrow
from sonic_edge.model.bundle import Stage
from sonic_edge.model.store import find_bundle

FLOAT = TensorProto.FLOAT
N_OUT, N_IN = 5, 12


def node(kind, inputs, output, **options):
    return helper.make_node(kind, inputs, [output], name=output, **options)


def model(nodes, constants, shape, out, raw=True):
    """A graph from x to y."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    if not raw:
        tensors = [
            helper.make_tensor(t.name, t.data_type, t.dims, numpy_helper.to_array(t).ravel().tolist()) for t in tensors
        ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", FLOAT, shape)], [info("y", FLOAT, out)], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def layer(kind, per_channel=True, quantised=False, bias=True, zero=0, raw=True, weights=None):
    """A layer with the largest possible weights, and its exact result in integers."""
    rng = np.random.default_rng(7)
    if weights is None:
        weights = rng.integers(-127 + max(zero, 0), 128 + min(zero, 0), (N_OUT, N_IN))
        weights[0, :4] = 127, -127, 127, -127  # the most that can come together
        weights[1] = weights[1] // 4
    rows = weights.astype(int)
    n = N_OUT if per_channel else 1
    scale = rng.uniform(0.01, 0.02, n).astype(np.float32)
    shape, out, axis = (1, N_IN, 2, 3), (1, N_OUT, 2, 3), 0
    weights = weights.astype(np.int8)
    if kind == "Conv":
        weights, options = weights[:, :, None, None], {}
    else:
        shape, out = (4, N_IN), (4, N_OUT)
        options = {"transB": 1} if kind == "GemmT" else {}
        if kind != "GemmT":
            weights, axis = np.ascontiguousarray(weights.T), 1
    x_scale, x_zero = np.float32(0.02), np.int8(-11)
    bias_int = rng.integers(-9000, 9000, N_OUT).astype(np.int32)
    value = scale if per_channel else scale.reshape(())
    zeros = np.full(value.shape, zero, np.int8)
    constants = {"w": weights, "ws": value, "wz": zeros, "xs": x_scale, "xz": x_zero, "ys": np.float32(0.2)}
    constants["b"], constants["bs"] = bias_int, (value * x_scale).astype(np.float32)
    constants["bz"] = np.zeros(value.shape, np.int32)
    along = {"axis": axis} if per_channel else {}
    if quantised:
        name = {"Conv": "QLinearConv", "MatMul": "QLinearMatMul"}[kind]
        last = ["b"] if kind == "Conv" and bias else []
        nodes = [
            node("QuantizeLinear", ["x", "xs", "xz"], "q"),
            node(name, ["q", "xs", "xz", "w", "ws", "wz", "ys", "xz", *last], "p"),
            node("DequantizeLinear", ["p", "ys", "xz"], "y"),
        ]
    else:
        nodes = [
            node("QuantizeLinear", ["x", "xs", "xz"], "q"),
            node("DequantizeLinear", ["q", "xs", "xz"], "f"),
            node("DequantizeLinear", ["w", "ws", "wz"], "wf", **along),
        ]
        inputs = ["f", "wf"]
        if bias and kind != "MatMul":
            nodes.append(node("DequantizeLinear", ["b", "bs", "bz"], "bf", **({"axis": 0} if per_channel else {})))
            inputs.append("bf")
        nodes.append(node(kind.rstrip("T"), inputs, "s", **options))
        nodes += [node("QuantizeLinear", ["s", "ys", "xz"], "p"), node("DequantizeLinear", ["p", "ys", "xz"], "y")]
    used = {name for n in nodes for name in n.input}

    def compute(x):
        q = np.clip(np.rint(x / x_scale) + x_zero, -128, 127) - x_zero
        along = (-1,) + (1,) * (x.ndim - 2)
        sums = np.einsum("oi,bi...->bo...", rows - zero, q) + ("b" in used) * bias_int.reshape(along)
        y = sums * (scale.astype(float) * x_scale).reshape(along if per_channel else ())
        return (np.clip(np.rint(y / constants["ys"]) + x_zero, -128, 127) - x_zero) * constants["ys"]

    return model(nodes, {k: v for k, v in constants.items() if k in used}, shape, out, raw), compute


def narrowed(made):
    """The model after, and how many layers were narrowed."""
    whole = read_model(made.SerializeToString())
    n = narrow(whole)
    after = onnx.load_from_string(whole.SerializeToString())
    onnx.checker.check_model(after)
    return after, n


def widest(made):
    """The most that two weights of one output come to, of every layer."""
    held = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    found = []
    for n in made.graph.node:
        for name in n.input:
            w = held.get(name)
            if w is None or w.dtype != np.int8 or w.ndim < 2:
                continue
            rows = w.reshape(len(w), -1) if w.ndim == 4 or w.shape == (N_OUT, N_IN) else w.T
            rows = np.sort(rows.astype(int), axis=1)
            found += [rows[:, -2:].clip(0).sum(1).max(), -(rows[:, :2].clip(None, 0).sum(1).min())]
    return max(found)


CASES = {
    "a convolution": {"kind": "Conv"},
    "one scale for all": {"kind": "Conv", "per_channel": False},
    "no bias": {"kind": "Conv", "bias": False},
    "weights with a zero point": {"kind": "Conv", "zero": 9},
    "values that are not raw": {"kind": "Conv", "raw": False},
    "a dense layer": {"kind": "GemmT"},
    "a dense layer, turned": {"kind": "Gemm"},
    "a product": {"kind": "MatMul"},
    "a product with one scale": {"kind": "MatMul", "per_channel": False},
    "QLinearConv": {"kind": "Conv", "quantised": True},
    "QLinearConv with one scale, no bias": {"kind": "Conv", "quantised": True, "per_channel": False, "bias": False},
    "QLinearMatMul": {"kind": "MatMul", "quantised": True, "per_channel": False},
}


@pytest.mark.parametrize("what", sorted(CASES))
def test_the_backend_computes_what_the_file_says(what, tmp_path):
    """On whatever processor this is: where sums stop at 16 bits, it would be off by half the range without."""
    made, compute = layer(**CASES[what])
    after, n = narrowed(made)
    assert n == 1 and widest(made) > 200 and widest(after) <= 128
    path = tmp_path / "m.onnx"
    onnx.save(made, str(path))
    shape, out = (
        tuple(d.dim_value for d in t.type.tensor_type.shape.dim) for t in (made.graph.input[0], made.graph.output[0])
    )
    session = CpuBackend(1).open(Stage("painter", path, {"x": shape}, {"y": out}))
    full = np.full(shape, 2.7, np.float32)  # the highest that the data's eight bits say
    for x in (full, -full, *np.random.default_rng(1).uniform(-2, 2, (4, *shape)).astype(np.float32)):
        expected = compute(x)
        # half a step of the seven bits for each of twelve products, at the worst, and a step of the output
        np.testing.assert_allclose(session.run({"x": x})["y"], expected, atol=12 * 0.02 * np.abs(x).max() + 0.2)
    assert np.ptp(expected) > 10


def test_weights_that_are_narrow_enough_stay_to_the_last_bit():
    rng = np.random.default_rng(0)
    made, _ = layer("Conv", weights=rng.integers(-63, 64, (N_OUT, N_IN)))
    content = made.SerializeToString()
    whole = read_model(content)
    assert narrow(whole) == 0 and whole.SerializeToString() == read_model(content).SerializeToString()


def test_each_output_keeps_the_bits_that_it_can():
    weights = np.zeros((N_OUT, N_IN), int)
    weights[0, :2], weights[1, :2], weights[2, 0], weights[3, :2] = (127, 127), (100, 20), 127, (-120, 120)
    after, _ = narrowed(layer("Conv", weights=weights)[0])
    held = {t.name: numpy_helper.to_array(t) for t in after.graph.initializer}
    (name,) = (name for name, value in held.items() if value.dtype == np.int8 and value.ndim == 4)
    assert held[name][:, :2, 0, 0].tolist() == [[64, 64], [100, 20], [127, 0], [-120, 120], [0, 0]]


def test_unsigned_weights_and_floats_are_left():
    made, _ = layer("Conv")
    for t in made.graph.initializer:
        if t.name in ("w", "wz"):
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(np.uint8), t.name))
    assert narrowed(made)[1] == 0
    relu = model([node("Relu", ["x"], "y")], {}, (1, 4), (1, 4))
    assert narrowed(relu)[1] == 0


def test_a_model_with_constants_in_other_files_is_left():
    made, _ = layer("Conv")
    whole = read_model(made.SerializeToString())
    whole.graph.initializer[0].data_location = 1
    assert narrow(whole) == 0


def test_weights_that_two_layers_share_and_what_nobody_reads():
    """Each gets its own; nothing is carried twice."""
    made, _ = layer("Conv")
    shared = model(
        [*made.graph.node[:-2], node("Conv", ["f", "wf"], "t"), node("Add", ["s", "t"], "y")],
        {t.name: numpy_helper.to_array(t) for t in made.graph.initializer if t.name != "ys"},
        (1, N_IN, 2, 3),
        (1, N_OUT, 2, 3),
    )
    after, n = narrowed(shared)
    assert n == 2 and widest(after) <= 128
    read = {name for x in after.graph.node for name in x.input}
    assert {t.name for t in after.graph.initializer} <= read


def test_a_constant_of_the_graph_counts_as_an_input():
    made, _ = layer("Conv", bias=False)
    (weight,) = (t for t in made.graph.initializer if t.name == "w")
    made.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    made.graph.initializer.remove(weight)
    after, n = narrowed(made)
    assert n == 1 and widest(after) <= 128


def test_other_integer_sums_are_known():
    kinds = {"MatMulInteger": True, "ConvInteger": True, "QLinearConv": False, "QuantizeLinear": False, "Conv": False}
    for kind, other in kinds.items():
        whole = read_model(layer("Conv")[0].SerializeToString())
        whole.graph.node[0].op_type = kind
        assert has_other_sums(whole) is other, kind


@pytest.mark.parametrize("name, n_layers", [("encoder", 18), ("denoiser", 11)])
def test_the_shipped_graphs(name, n_layers):
    """Eight bits on the disk, for the chip; the model that runs here cannot overflow."""
    path = find_bundle("sonic-net").stage(name, "cpu").path
    made = onnx.load(str(path))
    held = [numpy_helper.to_array(t) for t in made.graph.initializer]
    weights = [w for w in held if w.dtype == np.int8 and w.ndim >= 2]
    assert max(np.abs(w.astype(int)).max() for w in weights) == 127
    assert narrowed(made)[1] == n_layers
