"""A graph cut at what depends on some inputs alone: the two parts together give what the whole gives."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.backends.onnx_cut import Cut
from sonic_edge.model.backends.onnx_model import TYPES, read_model
from sonic_edge.model.backends.onnx_narrow import narrow
from sonic_edge.model.bundle import Stage
from sonic_edge.model.store import find_bundle

FLOAT = TensorProto.FLOAT
FACE = frozenset({"face"})


def node(kind, inputs, *outputs, **options):
    return helper.make_node(kind, inputs, outputs, **options)


def model(nodes, outputs, constants=()):
    """A graph of sound [1, 4] and face [1, 4]."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, [1, 4]) for name in ("sound", "face")],
        [helper.make_tensor_value_info(name, FLOAT, [1, 4]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return made.SerializeToString()


SIMPLE = model([node("Exp", ["face"], "e"), node("Sin", ["e"], "s"), node("Add", ["s", "sound"], "y")], ["y"])


def session(content):
    return ort.InferenceSession(content, providers=["CPUExecutionProvider"])


def run(content, inputs):
    part = session(content)
    names = [t.name for t in part.get_outputs()]
    return dict(zip(names, part.run(names, {t.name: inputs[t.name] for t in part.get_inputs()})))


def run_parts(content, inputs):
    """Everything that the two parts make, and what they take."""
    cut = Cut(read_model(content), FACE)
    held = run(cut.cached(), inputs)
    types = {t.name: (t.type, t.shape) for t in session(cut.cached()).get_outputs()}
    assert set(held) == set(cut.between)
    rest = cut.rest(types)
    return {**held, **run(rest, {**inputs, **held})}, [t.name for t in session(rest).get_inputs()]


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((1, 4)).astype(np.float32) for name in ("sound", "face")}


def test_what_depends_on_a_steady_input_alone_is_a_part(inputs):
    assert Cut(read_model(SIMPLE), FACE).between == ["s"]
    made, taken = run_parts(SIMPLE, inputs)
    assert sorted(taken) == ["s", "sound"]
    np.testing.assert_array_equal(made["y"], run(SIMPLE, inputs)["y"])


def test_an_output_may_be_of_the_steady_part_and_the_face_be_read_in_both(inputs):
    nodes = [node("Exp", ["face"], "z"), node("Mul", ["sound", "face"], "m"), node("Add", ["m", "z"], "y")]
    whole = model(nodes, ["y", "z"])
    made, taken = run_parts(whole, inputs)
    assert sorted(taken) == ["face", "sound", "z"]
    for name, expected in run(whole, inputs).items():
        np.testing.assert_array_equal(made[name], expected)


def test_a_tensor_is_cut_while_it_is_int8(inputs):
    """Its DequantizeLinear and the operation behind it are one to onnxruntime, whose sums are then whole numbers."""
    nodes = [
        node("Exp", ["face"], "e"),
        node("QuantizeLinear", ["e", "scale", "zero"], "q"),
        node("DequantizeLinear", ["q", "scale", "zero"], "d"),
        node("QuantizeLinear", ["sound", "scale", "zero"], "sq"),
        node("DequantizeLinear", ["sq", "scale", "zero"], "sd"),
        node("Add", ["d", "sd"], "a"),
        node("QuantizeLinear", ["a", "scale", "zero"], "aq"),
        node("DequantizeLinear", ["aq", "scale", "zero"], "y"),
    ]
    whole = model(nodes, ["y"], {"scale": np.float32(0.05), "zero": np.int8(3)})
    assert Cut(read_model(whole), FACE).between == ["q"]
    made, _ = run_parts(whole, inputs)
    np.testing.assert_array_equal(made["y"], run(whole, inputs)["y"])


def elsewhere(content):
    """The same model with its constants in another file."""
    made = onnx.load_from_string(content)
    for tensor in made.graph.initializer:
        tensor.data_location = TensorProto.EXTERNAL
    return made.SerializeToString()


def branch(name, source):
    made = helper.make_tensor_value_info(name, FLOAT, [1, 4])
    return helper.make_graph([node("Identity", [source], name)], name, [], [made])


@pytest.mark.parametrize(
    "content",
    [
        model([node("Add", ["sound", "face"], "y")], ["y"]),
        model([node("Exp", ["face"], "y"), node("Exp", ["face"], "z")], ["y", "z"]),
        model(
            [
                node("Exp", ["face"], "e"),
                node("If", ["yes"], "i", then_branch=branch("t", "e"), else_branch=branch("f", "sound")),
                node("Add", ["i", "e"], "y"),
            ],
            ["y"],
            {"yes": np.array(True)},
        ),
        elsewhere(model([node("Mul", ["face", "two"], "s"), node("Add", ["s", "sound"], "y")], ["y"], {"two": [2.0]})),
        b"",
    ],
)
def test_where_a_cut_is_of_no_use_or_not_safe_there_is_none(content):
    assert Cut(read_model(content), FACE).between == []
    assert Cut(read_model(SIMPLE), frozenset()).between == []


def test_what_is_no_model_is_said():
    with pytest.raises(ValueError, match="not an ONNX model"):
        read_model(b"\x3a\xff\xff\xff\xff\x0frubbish")


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_types_are_those_of_onnx(kind):
    plain = kind[len("tensor(") : -1]
    assert TYPES[kind] == TensorProto.DataType.Value(plain.upper())


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """The backend's session of SIMPLE, and how often each part ran."""
    ran = []

    class Counted(ort.InferenceSession):
        def run(self, names, feeds, *more):
            ran.append(names)
            return super().run(names, feeds, *more)

    monkeypatch.setattr(ort, "InferenceSession", Counted)
    path = tmp_path / "m.onnx"
    path.write_bytes(model([node("Exp", ["face"], "z"), node("Add", ["z", "sound"], "y")], ["y", "z"]))
    shapes = {"sound": (1, 4), "face": (1, 4)}
    stage = Stage("painter", path, shapes, {"y": (1, 4), "z": (1, 4)}, steady=FACE)
    return CpuBackend(1).open(stage), ran


def test_the_steady_part_runs_when_its_input_changes(opened, inputs):
    painter, ran = opened
    for _ in range(3):
        made = painter.run(inputs)
        np.testing.assert_allclose(made["y"], np.exp(inputs["face"]) + inputs["sound"], atol=1e-5)
        inputs["sound"] = inputs["sound"] + 1
        made["z"][:] = 0  # it is the caller's
    assert ran == [["z"], ["y"], ["y"], ["y"]]
    inputs["face"][0, 2] += 1  # in place
    made = painter.run(inputs)
    np.testing.assert_allclose(made["z"], np.exp(inputs["face"]), rtol=1e-6)
    np.testing.assert_array_equal(made["y"], made["z"] + inputs["sound"])
    assert ran[4:] == [["z"], ["y"]]


def test_a_steady_input_that_cannot_be_written_to_is_known_by_itself_alone(opened, inputs):
    painter, ran = opened
    face = inputs["face"].copy()
    whole, view = face.copy(), face[:]
    for fixed in (whole, view):
        fixed.flags.writeable = False
    for given in (whole, view):
        for _ in range(2):
            painter.run({**inputs, "face": given})
    face += 1  # what the view shows, too
    np.testing.assert_allclose(painter.run({**inputs, "face": view})["z"], np.exp(face), rtol=1e-6)
    np.testing.assert_allclose(painter.run({**inputs, "face": whole})["z"], np.exp(whole), rtol=1e-6)
    assert ran == [["z"], *[["y"]] * 4, ["z"], ["y"], ["z"], ["y"]]


@pytest.mark.parametrize("seed", range(3))
def test_the_shipped_encoder_gives_the_same_in_parts(seed):
    stage = find_bundle("sonic-net").stage("encoder", "cpu")
    rng = np.random.default_rng(seed)
    feeds = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in stage.inputs.items()}
    whole = read_model(stage.path.read_bytes())
    narrow(whole)  # as the backend does
    cut = Cut(whole, stage.steady)
    assert stage.steady == {"image_input"} and "face" in cut.between
    made = CpuBackend(1).open(stage).run(feeds)
    for name, expected in run(whole.SerializeToString(), feeds).items():
        np.testing.assert_array_equal(made[name], expected)
