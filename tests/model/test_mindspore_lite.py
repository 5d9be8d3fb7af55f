"""MindSpore Lite: inputs, outputs, and every failure at every call with a remedy."""

import gc
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chip_parts import compiled, faults, mindspore_lite

from sonic_edge.errors import ConfigError, DeviceError
from sonic_edge.model.backends import mindspore_lite as module
from sonic_edge.model.backends.mindspore_lite import MindSporeLiteBackend
from sonic_edge.model.backends.om_config import om_config
from sonic_edge.model.store import find_bundle

STATUSES = (
    "Common error code.",
    "NULL pointer returned.",
    "Invalid parameter.",
    "Fail to create memory.",
    "Fail to support.",
    "Failed to verify graph file.",
    "Failed to find operator.",
    "Failed to execution operator.",
    "Invalid input param by user.",
)


@pytest.fixture(autouse=True)
def nothing_stays():
    gc.freeze()  # only what a test makes is gone through when it is asked what still lives
    faults.clear()
    yield
    faults.clear()
    assert mindspore_lite.alive() == 0
    gc.unfreeze()


@pytest.fixture(scope="module")
def shipped():
    return find_bundle("sonic-net").stage("denoiser", "cpu")


@pytest.fixture
def stage(shipped, tmp_path):
    return replace(shipped, path=compiled(shipped, "mindspore_lite", tmp_path), soc="Ascend310B4")


def backend(device_id=0, precision="enforce_fp16", provider="", threads=1):
    return MindSporeLiteBackend(device_id, precision, provider, threads)


def inputs(stage):
    rng = np.random.default_rng(1)
    return {k: rng.standard_normal(shape).astype(np.float32) for k, shape in stage.inputs.items()}


def live(stage, **settings):
    session = backend(**settings).open(stage)
    try:
        session.run(inputs(stage))
        return session.run(inputs(stage))
    finally:
        session.close()


def calls_of_a_life(stage):
    faults.clear()
    live(stage)
    counted = dict(faults.calls)
    faults.clear()
    return [(name, nth) for name, n in counted.items() for nth in range(1, n + 1)]


def test_every_failure_at_every_call(stage):
    good = live(stage)
    calls = calls_of_a_life(stage)
    assert {name.partition(".")[2] for name, _ in calls} == {
        "Context.__init__",
        "Model.__init__",
        "Model.build_from_file",
        "Model.get_inputs",
        "Model.get_outputs",
        "Model.predict",
        "Tensor.set_data_from_numpy",
        "Tensor.get_data_to_numpy",
    }
    for name, nth in calls:
        statuses = STATUSES if "build" in name or "predict" in name else STATUSES[:1]
        for what in (*statuses, "TypeError: must be str, but got int", "ValueError: no", "AttributeError: gone"):
            faults.order(name, nth, what)
            with pytest.raises(DeviceError) as reported:
                live(stage)
            words = str(reported.value)
            assert what.rpartition(": ")[2] in words, (name, what, words)
            assert "MindSpore Lite" in words and len(words) > 70, (name, what, words)
            faults.clear()
            del reported  # its frames hold the model
            assert mindspore_lite.alive() == 0, (name, nth, what)
    np.testing.assert_array_equal(live(stage)["velocity"], good["velocity"])


def test_a_run_that_failed_leaves_a_session_that_works(stage):
    session = backend().open(stage)
    good = session.run(inputs(stage))
    faults.order("mindspore_lite.Model.predict", 1, "predict failed!")
    with pytest.raises(
        DeviceError, match=r"denoiser: MindSpore Lite failed: predict failed! its \[ERROR\] lines in the log"
    ):
        session.run(inputs(stage))
    np.testing.assert_array_equal(session.run(inputs(stage))["velocity"], good["velocity"])
    session.close()


@pytest.mark.parametrize(
    "said, do",
    [
        ("libascendcl.so: cannot open shared object file: No such file or directory", "set_env.sh"),
        ("/lib/libc.so.6: version `GLIBC_2.34' not found", "wheel is for another system"),
        ("build_from_file failed! Error is Fail to create memory.", "or worker.memory_mb is too small"),
        ("aclrtMalloc failed ret 207001", "or worker.memory_mb is too small"),
        ("rtGetSocVersion: soc version of om is Ascend310P3", "convert the model again for this one"),
        ("Ascend AI software version 7.0 does not match", "compatible releases"),
        ("Acl open device 3 failed", "model.device_id"),
        ("build_from_file failed! Error is Failed to verify graph file.", "whole and readable"),
        ("build_from_file failed! Error is Common error code.", "most often the file is for another chip"),
    ],
)
def test_what_the_vendor_says_becomes_what_to_do(stage, said, do):
    faults.order("mindspore_lite.Model.build_from_file", 1, f"RuntimeError: {said}")
    with pytest.raises(DeviceError, match=r"denoiser\.mindir \(compiled for Ascend310B4\)") as reported:
        backend().open(stage)
    assert said in str(reported.value) and do in str(reported.value)


def test_not_enough_memory_and_another_chip(stage, monkeypatch, capfd):
    monkeypatch.setitem(mindspore_lite.settings, "memory_bytes", 1000)
    with pytest.raises(DeviceError, match="Common error code"):
        live(stage)
    monkeypatch.undo()
    monkeypatch.setitem(mindspore_lite.settings, "soc", "Ascend310")
    with pytest.raises(DeviceError, match=r"compiled for Ascend310B4.*npu-smi"):
        live(stage)
    assert "207001" in capfd.readouterr().err  # the real one also says why only in its log


def test_settings_reach_the_context(stage, monkeypatch):
    seen = []
    build = mindspore_lite.Model.build_from_file
    monkeypatch.setattr(mindspore_lite.Model, "build_from_file", lambda *args: (seen.append(args[1:]), build(*args))[1])
    live(stage, precision="preferred_fp32", provider="ge", threads=3)
    path, kind, context = seen[0]
    assert path == str(stage.path) and kind is mindspore_lite.ModelType.MINDIR
    assert context.target == ["ascend"] and context.ascend.device_id == 0
    assert context.ascend.precision_mode == "preferred_fp32" and context.ascend.provider == "ge"
    assert context.cpu.thread_num == 3


def test_another_order_of_inputs_and_outputs_without_names(stage, shipped, tmp_path):
    expected = live(stage)
    path = compiled(shipped, "mindspore_lite", tmp_path, inputs=list(stage.inputs)[::-1], output_names=["CNode_227"])
    np.testing.assert_array_equal(live(replace(stage, path=path))["velocity"], expected["velocity"])


def test_outputs_under_mindspores_names_are_identified_by_shape(tmp_path):
    shipped = find_bundle("sonic-net").stage("encoder", "cpu")
    order = ["face", "condition", "lips", "visemes", "closure"]
    path = compiled(shipped, "mindspore_lite", tmp_path, outputs=order, output_names=[f"Op-{i}" for i in range(5)])
    named = compiled(replace(shipped, name="named"), "mindspore_lite", tmp_path)
    expected, made = live(replace(shipped, path=named)), live(replace(shipped, path=path))
    for name in expected:
        np.testing.assert_array_equal(made[name], expected[name])


def test_two_outputs_of_one_shape_without_names_are_not_guessed(shipped, tmp_path):
    path = compiled(shipped, "mindspore_lite", tmp_path, output_names=["CNode_227"])
    two = replace(shipped, path=path, outputs={"velocity": (1, 9, 40), "other": (1, 9, 40)})
    with pytest.raises(DeviceError, match=r"its outputs are CNode_227 .*bundle\.yaml says velocity .*, other "):
        backend().open(two)


@pytest.mark.parametrize(
    "description, words",
    [
        ({"input_names": ["condition", "a", "b", "step"]}, r"inputs are condition .*, a .*bundle\.yaml says"),
        (
            {"input_names": ["condition", "past_motion", "noisy_motion", "step"]},
            r"input past_motion is float32 \[1, 9,",
        ),
        ({"dtype": "float16"}, r"input condition is float16 .*float32 inputs and outputs"),
    ],
)
def test_a_model_that_is_not_as_the_bundle_says(stage, shipped, tmp_path, description, words):
    path = compiled(shipped, "mindspore_lite", tmp_path, **description)
    with pytest.raises(DeviceError, match=words):
        backend().open(replace(stage, path=path))


def test_a_result_of_another_shape(stage, monkeypatch):
    monkeypatch.setattr(mindspore_lite.Tensor, "get_data_to_numpy", lambda self: np.empty(0, np.float32))
    session = backend().open(stage)
    with pytest.raises(DeviceError, match=r"gave \['float32 \[0\]'\]; must be float32 \[\[1, 9, 40\]\]"):
        session.run(inputs(stage))
    session.close()


def test_a_chip_that_is_not_there_is_not_chip_0(stage, monkeypatch):
    monkeypatch.setattr(module, "_chips", lambda: ["davinci0"])
    with pytest.raises(DeviceError, match=r"model\.device_id = 1: there is only davinci0; .* would use device 0"):
        backend(device_id=1).open(stage)
    live(stage)


def test_an_old_version_without_providers(stage, monkeypatch):
    monkeypatch.delattr(type(mindspore_lite.Context().ascend), "provider")
    with pytest.raises(DeviceError, match="MindSpore Lite 2.7.0 cannot be set up: this version has no provider"):
        backend(provider="ge").open(stage)
    live(stage)


def test_a_wrong_setting_shows_the_vendors_message(stage):
    with pytest.raises(DeviceError, match="cannot be set up: ascend_precision_mode must be in"):
        backend(precision="as good as it gets").open(stage)


def test_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    sys.modules.pop("mindspore_lite")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "doubles" not in p])
    with pytest.raises(DeviceError, match=r"the vendor's .*not on the package index.*Python 3\.\d+.*pip install WHEEL"):
        backend()


def test_its_library_is_not_found(monkeypatch, tmp_path):
    (tmp_path / "mindspore_lite.py").write_text(
        "raise ImportError('libascendcl.so: cannot open shared object file: No such file or directory')"
    )
    monkeypatch.delitem(sys.modules, "mindspore_lite")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DeviceError, match=r"libascendcl\.so.*install the driver and CANN.*HwHiAiUser"):
        backend()


def test_a_real_mindir_is_refused_by_the_double(stage):
    real = find_bundle("sonic-net").stage("denoiser", "mindspore_lite")
    with pytest.raises(DeviceError, match=r"denoiser\.mindir \(for any chip\): MindSpore Lite cannot load it"):
        backend().open(real)


# A bare .om


def test_for_a_bare_om_the_way_to_wrap_it_is_named(shipped, tmp_path):
    om = tmp_path / "denoiser.om"
    om.write_bytes(b"IMOD")
    stage = replace(shipped, path=om)
    with pytest.raises(ConfigError) as reported:
        backend().open(stage)
    config = tmp_path / "denoiser.om.cfg"
    assert config.read_text(encoding="utf-8") == om_config(stage)
    assert (
        f"converter_lite --fmk=OM --modelFile={om} --outputFile={tmp_path / 'denoiser'} --device=Ascend "
        f"--optimize=ascend_oriented --saveType=MINDIR --configFile={config}\n" in str(reported.value)
    )
    assert "stages.denoiser.files.mindspore_lite" in str(reported.value) and "model.backend to acl" in str(
        reported.value
    )


def test_a_folder_that_may_not_be_written_to(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stage = replace(shipped, path=Path("/proc/denoiser.om"))  # not even root writes there
    with pytest.raises(ConfigError) as reported:
        backend().open(stage)
    (written,) = tmp_path.glob("sonic-edge-*/denoiser.om.cfg")
    assert written.read_text(encoding="utf-8") == om_config(stage) and f"--configFile={written}\n" in str(
        reported.value
    )


def test_it_may_be_held_by_one_thread_and_run_by_another(stage):
    session = backend().open(stage)
    made = []
    thread = threading.Thread(target=lambda: made.append(session.run(inputs(stage))))
    thread.start()
    thread.join(60)
    np.testing.assert_array_equal(made[0]["velocity"], session.run(inputs(stage))["velocity"])
    session.close()


# The double itself: as strict as it says


def test_double_types(stage):
    lite, model, context = mindspore_lite, mindspore_lite.Model(), mindspore_lite.Context()
    with pytest.raises(TypeError, match="model_path must be str"):
        model.build_from_file(stage.path, lite.ModelType.MINDIR, context)
    with pytest.raises(TypeError, match="model_type must be ModelType"):
        model.build_from_file(str(stage.path), 0, context)
    with pytest.raises(TypeError, match="context must be Context"):
        model.build_from_file(str(stage.path), lite.ModelType.MINDIR, "ascend")
    with pytest.raises(RuntimeError, match="does not exist"):
        model.build_from_file("nowhere.mindir", lite.ModelType.MINDIR, context)
    with pytest.raises(TypeError, match="target must be list"):
        context.target = "ascend"
    context.target = ["ascend"]
    model.build_from_file(str(stage.path), lite.ModelType.MINDIR, context)
    with pytest.raises(RuntimeError, match="Common error code"):
        model.build_from_file(str(stage.path), lite.ModelType.MINDIR, context)
    tensors = model.get_inputs()
    with pytest.raises(TypeError, match="inputs must be list"):
        model.predict(tuple(tensors))
    with pytest.raises(TypeError, match="at index 0"):
        model.predict([np.zeros(3)])
    with pytest.raises(RuntimeError, match="predict failed"):
        model.predict(tensors)  # no data yet
    with pytest.raises(RuntimeError, match="data size not equal"):
        tensors[0].set_data_from_numpy(np.zeros(3, np.float32))
    with pytest.raises(RuntimeError, match="data type not equal"):
        tensors[0].set_data_from_numpy(np.zeros((1, 64, 40), np.float64))


def test_double_keeps_the_traps_of_the_real_one(stage):
    lite, model, context = mindspore_lite, mindspore_lite.Model(), mindspore_lite.Context()
    context.target = ["ascend"]
    model.build_from_file(str(stage.path), lite.ModelType.MINDIR, context)
    tensors = model.get_inputs()
    for tensor in tensors:
        tensor.set_data_from_numpy(np.zeros(tensor.shape, np.float32))
    first = model.predict(tensors)[0].get_data_to_numpy()
    kept = first.copy()
    tensors[1].set_data_from_numpy(np.asfortranarray(np.ones(tensors[1].shape, np.float32)))
    np.testing.assert_array_equal(model.predict(tensors)[0].get_data_to_numpy(), kept, "it was dropped")
    tensors[1].set_data_from_numpy(np.ones(tensors[1].shape, np.float32))
    model.predict(tensors)
    assert np.abs(first - kept).max() > 0.01, "the first result lay in memory that was used again"
