"""The forms that Ascend's tools get: the same numbers, nothing that a tool is known to refuse."""

from dataclasses import replace
from typing import Dict

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models import BUNDLE
from models.chip import operators
from models.chip.calibration import collect
from models.chip.graphs import literal_session, rewritten
from models.chip.plan import float_layers
from sonic_edge.config import LimitSettings, share_dir
from sonic_edge.engine.speech import read_speech
from sonic_edge.model.bundle import Bundle

SHIPPED = Bundle(BUNDLE)
STAGES = ["encoder", "denoiser"]
ROUTES = [("qat", "qat"), ("float", "calibrate"), ("float", "lite"), ("float", "float")]


def shipped(stage: str) -> onnx.ModelProto:
    return onnx.load(str(SHIPPED.stage(stage, "cpu").path))


def of_form(stage: str, form: str) -> onnx.ModelProto:
    return rewritten(shipped(stage), form == "qat")


@pytest.fixture(scope="module")
def heard():
    """What the graphs see in the sample recording, with a drawn face's worth of colours."""
    speech = read_speech(share_dir() / "samples" / "speech.flac", SHIPPED.mel, LimitSettings())
    rng = np.random.default_rng(3)
    faces = [rng.uniform(0, 1, (1, 3, 7, 7)).repeat(32, 2).repeat(32, 3).astype(np.float32) for _ in range(4)]
    return collect(SHIPPED, [speech], faces, 24, 5)


def outputs(model: onnx.ModelProto, calls) -> Dict[str, np.ndarray]:
    session = literal_session(model.SerializeToString())
    names = [o.name for o in session.get_outputs()]
    results = [session.run(names, call) for call in calls]
    return {name: np.concatenate([r[i].ravel() for r in results]) for i, name in enumerate(names)}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("form", ["qat", "float"])
def test_the_numbers_are_those_of_the_bundle(stage, form, heard):
    before, after = outputs(shipped(stage), heard[stage]), outputs(of_form(stage, form), heard[stage])
    assert list(before) == list(after) == list(SHIPPED.stage(stage, "cpu").outputs)
    for name in before:
        assert np.corrcoef(before[name], after[name])[0, 1] > 0.998, name


@pytest.mark.parametrize("stage", STAGES)
def test_int8_layers_keep_their_weights_and_scales(stage):
    """Each layer's INT8 weights, found again by quantising what the new graph holds."""
    old, new = shipped(stage), of_form(stage, "qat")
    held = [{i.name: numpy_helper.to_array(i) for i in m.graph.initializer} for m in (old, new)]
    was = [
        (held[0][n.input[0]], held[0][n.input[1]])
        for n in old.graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in held[0] and held[0][n.input[0]].dtype == np.int8
    ]
    found = [
        (np.rint(held[1][n.input[0]] / held[1][n.input[1]].reshape(-1, 1, 1, 1)).astype(int), held[1][n.input[1]])
        for n in new.graph.node
        if n.op_type == "QuantizeLinear" and n.input[0] in held[1]
    ]
    assert len(was) == len(found) == {"encoder": 18, "denoiser": 11}[stage]
    for weight, scale in was:
        assert any(
            w.size == weight.size and np.array_equal(w.ravel(), weight.ravel()) and np.array_equal(s, scale)
            for w, s in found
        )


@pytest.mark.parametrize("stage", STAGES)
def test_a_calibration_keeps_the_same_layers_float(stage):
    model = shipped(stage)
    names = float_layers(model, of_form(stage, "float"))
    assert names == float_layers(model, model)
    assert len(names) == {"encoder": 2, "denoiser": 1}[stage]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("form", "route"), ROUTES)
def test_every_operator_is_on_every_list(stage, form, route):
    model = of_form(stage, form)
    assert operators.problems(model, route) == []
    assert operators.remarks(model) == []  # opset 13: CANN 5 and 6 take it too


@pytest.mark.parametrize("stage", STAGES)
def test_the_bundles_own_form_would_be_refused(stage):
    """Why the graphs are rewritten: if this list is ever empty, the rewriting is no longer needed."""
    found = "\n".join(operators.problems(shipped(stage), "qat"))
    assert "com.microsoft" in found and "E16005" in found
    assert "Gemm with a scale for each channel" in found
    assert "AMCT matches it to one of" in found
    assert "dequantises a constant" in found


def test_a_route_that_calibrates_wants_a_float_graph_and_qat_an_int8_one():
    assert "QuantizeLinear are left" in "\n".join(operators.problems(of_form("denoiser", "qat"), "calibrate"))
    assert "no QuantizeLinear" in "\n".join(operators.problems(of_form("denoiser", "float"), "qat"))


@pytest.mark.parametrize(("opset", "route", "said"), [
    (7, "qat", "AMCT takes 8 to 14"), (15, "calibrate", "AMCT takes 8 to 14"), (19, "lite", "takes 11 to 18"),
    (19, "qat", "ATC of CANN 7 and later takes 9 to 18"),
])  # fmt: skip
def test_an_opset_outside_the_limits_is_named(opset, route, said):
    model = of_form("denoiser", "qat" if route == "qat" else "float")
    model.opset_import[0].version = opset
    assert said in "\n".join(operators.problems(model, route))


def test_an_opset_that_only_newer_releases_take_is_remarked():
    model = of_form("denoiser", "float")
    model.opset_import[0].version = 14
    assert operators.problems(model, "calibrate") == []
    assert operators.remarks(model) == ["opset 14: CANN 5 and 6 (Atlas 200 DK) take 13 at most"]


@pytest.mark.parametrize(("name", "route", "said"), [
    ("GridSample", "calibrate", "GridSample (1x) is not on the list of ATC of CANN 5 and 6"),
    ("Bernoulli", "calibrate", "Bernoulli (1x) is not on the list of ATC of CANN 7 and later"),
    ("Bernoulli", "lite", "Bernoulli (1x) is not on the list of MindSpore Lite's converter"),
])  # fmt: skip
def test_an_operator_that_a_tool_does_not_have_is_named_with_the_source(name, route, said):
    model = of_form("denoiser", "float")
    model.graph.node.append(helper.make_node(name, ["velocity"], ["more"], name="extra"))
    found = "\n".join(operators.problems(model, route))
    assert said in found and ("hiascend.com" in found or "mindspore-lite" in found)


def test_two_nodes_of_one_name_are_named():
    model = of_form("denoiser", "float")
    model.graph.node[1].name = model.graph.node[0].name
    assert "2 nodes are called" in "\n".join(operators.problems(model, "lite"))


def pairs(model):
    return [n for n in model.graph.node if n.op_type == "QuantizeLinear"]


def set_constant(model, name, array):
    for i in model.graph.initializer:
        if i.name == name:
            i.CopyFrom(numpy_helper.from_array(array, name))


def data_pair(model):
    held = {i.name for i in model.graph.initializer}
    return next(n for n in pairs(model) if n.input[0] not in held)


@pytest.mark.parametrize("what", ["zero", "channels", "unshared", "unsigned", "shared", "bias"])
def test_each_rule_for_pairs_is_asked(what):
    model = of_form("denoiser", "qat")
    held = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    weight = next(n for n in pairs(model) if n.input[0] in held)
    data = data_pair(model)
    after = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == data.output[0])
    if what == "zero":
        set_constant(model, weight.input[2], held[weight.input[2]] + np.int8(1))
        said = "weights with a zero point"
    elif what == "channels":
        set_constant(model, data.input[1], np.ones(64, np.float32))
        said = "data with a scale for each channel"
    elif what == "unshared":
        model.graph.initializer.append(numpy_helper.from_array(np.float32(7), "other"))
        after.input[1] = "other"
        said = "another scale"
    elif what == "unsigned":
        set_constant(model, data.input[2], np.uint8(128))
        said = "is uint8; INT8 is wanted"
    elif what == "shared":
        model.graph.node.append(helper.make_node("Relu", [after.output[0]], ["more"], name="extra"))
        said = "AMCT matches it to one of"
    else:
        layer = next(n for n in model.graph.node if n.op_type == "Conv" and len(n.input) > 2 and "_float" in n.input[0])
        layer.input[2] = model.graph.input[0].name
        said = "its bias is computed"
    assert said in "\n".join(operators.problems(model, "qat"))


def test_pairs_that_do_not_share_their_scale_are_refused():
    model = shipped("denoiser")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(7), "other"))
    data_pair(model).input[1] = "other"
    with pytest.raises(ValueError, match="its QuantizeLinear is missing or has another scale"):
        rewritten(model, True)


def test_a_gemm_that_is_more_than_a_dense_layer_is_refused():
    model = shipped("denoiser")
    gemm = next(n for n in model.graph.node if n.op_type == "Gemm")
    next(a for a in gemm.attribute if a.name == "alpha").f = 2
    with pytest.raises(ValueError, match="Gemm with"):
        rewritten(model, True)


def test_an_operator_of_another_domain_is_refused():
    model = shipped("denoiser")
    model.graph.node.append(helper.make_node("Gelu", ["velocity"], ["more"], name="extra", domain="com.microsoft"))
    with pytest.raises(ValueError, match="com.microsoft::Gelu"):
        rewritten(model, False)


def test_other_tensors_than_the_bundles_are_refused():
    stage, model = SHIPPED.stage("encoder", "cpu"), shipped("encoder")
    turned = replace(stage, outputs=dict(reversed(list(stage.outputs.items()))))
    assert list(operators.in_graph_order(model, turned).outputs) == list(stage.outputs)
    with pytest.raises(ValueError, match="its outputs are .* bundle.yaml says"):
        operators.in_graph_order(model, replace(stage, outputs={"lips": (1, 5, 40)}))
    with pytest.raises(ValueError, match="its inputs are"):
        operators.in_graph_order(model, replace(stage, inputs={**stage.inputs, "image_input": (1, 3, 96, 96)}))


def test_nodes_without_a_name_of_their_own_get_one():
    model = shipped("denoiser")
    for node in model.graph.node[:30]:
        node.name = "" if node.op_type == "Slice" else "same"
    assert operators.problems(rewritten(model, False), "calibrate") == []
