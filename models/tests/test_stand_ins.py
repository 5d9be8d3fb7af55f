"""The stand-ins for the vendors' tools refuse what is not documented: otherwise the tests would prove nothing."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

from models import BUNDLE
from models.chip.graphs import rewritten

STAND_INS = Path(__file__).parent / "stand_ins"
SHAPES = "condition:1,64,40;noisy_motion:1,9,40;past_motion:1,10,40;step:1,1"
GOOD = {
    "mode": "0", "framework": "5", "output": "x", "input_format": "ND", "input_shape": SHAPES, "output_type": "FP32",
    "soc_version": "Ascend310", "log": "error",
}  # fmt: skip
OM_CFG = """[om_converter]
input_name_vector=condition:noisy_motion:past_motion:step
input_shape_vector=1,64,40:1,9,40:1,10,40:1,1
input_data_type_vector=FLOAT32:FLOAT32:FLOAT32:FLOAT32
output_name_vector=velocity
output_shape_vector=1,9,40
output_data_type_vector=FLOAT32
"""


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The denoiser as the bundle has it, in both forms, and as AMCT leaves it."""
    folder = tmp_path_factory.mktemp("graphs")
    whole = onnx.load(str(BUNDLE / "denoiser.int8.onnx"))
    for name, model in (("bundle", whole), ("qat", rewritten(whole, True)), ("float", rewritten(whole, False))):
        onnx.save(model, str(folder / f"{name}.onnx"))
    done = amct(folder, f"amct.convert_qat_model('qat.onnx', '{folder}/d')")
    assert done.returncode == 0, done.stderr
    return folder


def amct(folder, code):
    argv = [sys.executable, "-c", f"import amct_onnx as amct\n{code}"]
    return subprocess.run(
        argv, cwd=folder, env={"PYTHONPATH": str(STAND_INS)}, capture_output=True, text=True, check=False
    )


def tool(name, cwd, *argv):
    return subprocess.run(
        [sys.executable, str(STAND_INS / f"{name}.py"), *argv], cwd=cwd, capture_output=True, text=True, check=False
    )


def atc(cwd, graph, **changes):
    flags = {**GOOD, "model": str(graph), **changes}
    return tool("atc", cwd, *(f"--{k}={v}" for k, v in flags.items() if v is not None))


def test_atc_takes_what_amct_leaves(graphs, tmp_path):
    done = atc(tmp_path, graphs / "d_deploy_model.onnx")
    assert done.returncode == 0 and "ATC run success" in done.stdout and (tmp_path / "x.om").stat().st_size


@pytest.mark.parametrize(("changes", "code"), [
    ({"mode": "7"}, "E10001"), ({"framework": None}, "E10007"), ({"soc_version": None}, "E10007"),
    ({"soc_version": "Ascend999"}, "EE1000"), ({"surprise": "1"}, "E10014"), ({"output_type": "FP64"}, "E10001"),
    ({"input_format": "NCHW"}, "E10001"), ({"input_format": "HWCN"}, "E10001"),
    ({"input_shape": "condition"}, "E10002"), ({"input_shape": SHAPES + ";more:1"}, "E10016"),
    ({"input_shape": SHAPES.replace("1,9,40", "1,9,41")}, "E10001"), ({"precision_mode": "force_fp16"}, "E10055"),
    ({"model": "nowhere.onnx"}, "E13000"),
])  # fmt: skip
def test_atc_refuses(changes, code, graphs, tmp_path):
    done = atc(tmp_path, graphs / "d_deploy_model.onnx", **changes)
    assert done.returncode == 1 and f"\n{code}: " in done.stdout and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "code"), [("bundle", "E16005"), ("qat", "E16002"), ("notes", "E13005")])
def test_atc_refuses_a_graph(name, code, graphs, tmp_path):
    (graphs / "notes.onnx").write_text("not a model")
    done = atc(tmp_path, graphs / f"{name}.onnx")
    assert done.returncode == 1 and f"\n{code}: " in done.stdout


@pytest.mark.parametrize(("code", "said"), [
    ("amct.convert_qat_model('bundle.onnx', 'x')", "QuantizeLinear and DequantizeLinear do not come in pairs"),
    ("amct.convert_qat_model('float.onnx', 'x')", "QuantizeLinear and DequantizeLinear do not come in pairs"),
    ("amct.convert_qat_model('gemm.onnx', 'x')", "only per-tensor quantization"),
    ("amct.convert_qat_model('opset.onnx', 'x')", "opset 16 is not supported"),
    ("amct.convert_qat_model(7, 'x')", "must be str"),
    ("amct.convert_qat_model('qat.onnx', 'x', surprise=1)", "unexpected keyword"),
    ("amct.create_quant_config('c.json', 'float.onnx', ['nobody'])", "no quantizable layer nobody"),
    ("amct.create_quant_config('c.json', 'float.onnx', batch_num=0)", "batch_num must be"),
    ("amct.save_model('float.onnx', 'r', 'x')", "not from quantize_model of this process"),
    ("amct.create_quant_config('c.json', 'float.onnx')\n"
     "amct.quantize_model('c.json', 'float.onnx', 'm.onnx', 'r')\n"
     "amct.save_model('m.onnx', 'r', 'x')", "0 of 1 batches were run"),
])  # fmt: skip
def test_amct_refuses(code, said, graphs):
    model = onnx.load(str(graphs / "qat.onnx"))
    layer = next(n for n in model.graph.node if n.op_type == "Conv" and "_data_float" in n.input[0])
    layer.op_type = "Gemm"
    onnx.save(model, str(graphs / "gemm.onnx"))
    model.opset_import[0].version = 16
    onnx.save(model, str(graphs / "opset.onnx"))
    done = amct(graphs, code)
    assert done.returncode == 1 and said in done.stderr
    assert not (graphs / "x_deploy_model.onnx").exists()


@pytest.fixture
def om(graphs, tmp_path):
    assert atc(tmp_path, graphs / "d_deploy_model.onnx").returncode == 0
    return tmp_path / "x.om"


def wrap(om, text, **changes):
    (om.parent / "om.cfg").write_text(text)
    flags = {
        "fmk": "OM", "modelFile": str(om), "outputFile": str(om.parent / "x"), "device": "Ascend",
        "optimize": "ascend_oriented", "saveType": "MINDIR", "configFile": str(om.parent / "om.cfg"), **changes,
    }  # fmt: skip
    return tool("converter_lite", om.parent, *(f"--{k}={v}" for k, v in flags.items()))


def test_the_converter_wraps(om):
    assert wrap(om, OM_CFG).returncode == 0 and om.with_suffix(".mindir").stat().st_size


@pytest.mark.parametrize(("text", "changes", "said"), [
    (OM_CFG, {"device": "CPU"}, "device must be set to Ascend"), (OM_CFG, {"surprise": "1"}, "Unknown flag"),
    (OM_CFG, {"fmk": "OMX"}, "INPUT ILLEGAL: fmk"), (OM_CFG, {"saveType": "OM"}, "INPUT ILLEGAL: saveType"),
    (OM_CFG, {"optimize": "fast"}, "INPUT ILLEGAL: optimize"), (OM_CFG, {"modelFile": "no.om"}, "is not exist"),
    ("", {}, "Can not find info"), (OM_CFG.replace("1,9,40:", ""), {}, "Invalid inputs info"),
    (OM_CFG.replace("output_name_vector", "output_names"), {}, "is not supported in [om_converter]"),
    (OM_CFG.replace("FLOAT32", "FLOAT"), {}, "map::at"), (OM_CFG.replace("1,10,40", "1,11,40"), {}, "the .om has"),
    ("[surprise]\n" + OM_CFG, {}, "unknown section"),
])  # fmt: skip
def test_the_converter_refuses(text, changes, said, om):
    done = wrap(om, text, **changes)
    assert done.returncode == 1 and said in done.stderr and not om.with_suffix(".mindir").exists()


QUANT_CFG = """[common_quant_param]
quant_type=FULL_QUANT
bit_num=8
[data_preprocess_param]
calibrate_path=condition:D/condition,noisy_motion:D/noisy_motion,past_motion:D/past_motion,step:D/step
calibrate_size=2
input_type=BIN
[full_quant_param]
activation_quant_method=MAX_MIN
per_channel=true
target_device=ASCEND
[acl_init_options]
ge.socVersion=Ascend310
"""


def quantise(graphs, tmp_path, text, n_files, n_bytes):
    sizes = {"condition": 64 * 40, "noisy_motion": 9 * 40, "past_motion": 10 * 40, "step": 1}
    for name, size in sizes.items():
        (tmp_path / name).mkdir()
        for i in range(n_files):
            (tmp_path / name / f"{i}.bin").write_bytes(bytes(size * n_bytes))
    (tmp_path / "quant.cfg").write_text(text.replace("D/", f"{tmp_path}/"))
    model = graphs / "other.onnx"
    if not model.exists():
        other = onnx.load(str(graphs / "float.onnx"))
        other.graph.node.append(helper.make_node("Unique", ["step"], ["more"], name="extra"))
        onnx.save(other, str(model))
    flags = ["--fmk=ONNX", f"--outputFile={tmp_path}/x", "--optimize=ascend_oriented", "--saveType=MINDIR"]
    source = model if "OTHER" in text else graphs / "float.onnx"
    return tool("converter_lite", tmp_path, *flags, f"--modelFile={source}", f"--configFile={tmp_path}/quant.cfg")


def test_the_converter_calibrates(graphs, tmp_path):
    assert quantise(graphs, tmp_path, QUANT_CFG, 2, 4).returncode == 0


@pytest.mark.parametrize(("text", "n_files", "n_bytes", "said"), [
    (QUANT_CFG, 1, 4, "file count less than calibrate size"), (QUANT_CFG, 2, 8, "is not equal to tensor size"),
    (QUANT_CFG.replace("MAX_MIN", "BEST"), 2, 4, "INPUT ILLEGAL: activation_quant_method"),
    (QUANT_CFG.replace("bit_num", "bits"), 2, 4, "`bits` is not supported"),
    (QUANT_CFG.replace(",step:D/step", ""), 2, 4, "calibrate_path names"),
    ("# OTHER\n" + QUANT_CFG, 2, 4, "UNSUPPORTED OP LIST"),
])  # fmt: skip
def test_the_converter_refuses_to_calibrate(text, n_files, n_bytes, said, graphs, tmp_path):
    done = quantise(graphs, tmp_path, text, n_files, n_bytes)
    assert done.returncode == 1 and said in done.stderr and not (tmp_path / "x.mindir").exists()
