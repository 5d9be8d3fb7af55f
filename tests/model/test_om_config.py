"""The text and the command by which an .om is wrapped, word for word what the converter's source reads."""

from pathlib import Path

import onnxruntime as ort
import pytest

from sonic_edge.errors import ConfigError
from sonic_edge.model.backends.om_config import om_config, wrap_command
from sonic_edge.model.bundle import Stage
from sonic_edge.model.store import find_bundle

ENCODER = """[om_converter]
input_name_vector=audio_input:image_input
input_shape_vector=1,1,80,160:1,3,224,224
input_data_type_vector=FLOAT32:FLOAT32
output_name_vector=lips:closure:visemes:condition:face
output_shape_vector=1,5,40:1,1,40:1,16,40:1,64,40:1,7
output_data_type_vector=FLOAT32:FLOAT32:FLOAT32:FLOAT32:FLOAT32
"""
DENOISER = """[om_converter]
input_name_vector=condition:noisy_motion:past_motion:step
input_shape_vector=1,64,40:1,9,40:1,10,40:1,1
input_data_type_vector=FLOAT32:FLOAT32:FLOAT32:FLOAT32
output_name_vector=velocity
output_shape_vector=1,9,40
output_data_type_vector=FLOAT32
"""


@pytest.mark.parametrize("name, text", [("encoder", ENCODER), ("denoiser", DENOISER)])
def test_om_cfg_of_the_shipped_model(name, text):
    assert om_config(find_bundle("sonic-net").stage(name, "cpu")) == text


@pytest.mark.parametrize("name", ["encoder", "denoiser"])
def test_the_shipped_model_names_its_tensors_in_the_order_of_its_graph(name):
    # an .om is fed by position: atc keeps the order of the ONNX, and om.cfg has that of bundle.yaml

    stage = find_bundle("sonic-net").stage(name, "cpu")
    graph = ort.InferenceSession(str(stage.path), providers=["CPUExecutionProvider"])
    assert [t.name for t in graph.get_inputs()] == list(stage.inputs)
    assert [t.name for t in graph.get_outputs()] == list(stage.outputs)


@pytest.mark.parametrize("written", ["m/encoder.mindir", "m/encoder"])
def test_the_command(written):
    assert wrap_command(Path("m/encoder.om"), Path(written), Path("m/encoder.om.cfg")) == [
        "converter_lite",
        "--fmk=OM",
        "--modelFile=m/encoder.om",
        "--outputFile=m/encoder",
        "--device=Ascend",
        "--optimize=ascend_oriented",
        "--saveType=MINDIR",
        "--configFile=m/encoder.om.cfg",
    ]


@pytest.mark.parametrize("name", ["Conv_0:0", "a=b", "two words", '"x"', "[x]", "#x", ""])
def test_a_name_the_converter_would_cut_is_refused(name):
    with pytest.raises(ConfigError, match=r"stages\.encoder\.outputs\..*does not accept this name"):
        om_config(Stage("encoder", Path("x.om"), {"a": (1, 2)}, {name: (1, 2)}))


@pytest.mark.parametrize("shape", [(), (0,), (1, -1)])
def test_a_shape_that_is_not_fixed_is_refused(shape):
    with pytest.raises(ConfigError, match=r"stages\.encoder\.inputs\.a: its shape is .* fixed shapes"):
        om_config(Stage("encoder", Path("x.om"), {"a": shape}, {"b": (1, 2)}))


def test_a_stage_without_outputs_is_refused():
    with pytest.raises(ConfigError, match=r"stages\.encoder\.outputs: there are none"):
        om_config(Stage("encoder", Path("x.om"), {"a": (1, 2)}, {}))
