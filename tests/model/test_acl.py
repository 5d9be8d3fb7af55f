"""pyACL: every failure at every call is reported with a remedy, and nothing ever stays open on the chip."""

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from chip_parts import DOUBLES, Misuse, acl, chip, chip_bundle, compiled, faults

from sonic_edge.errors import DeviceError
from sonic_edge.model.backends import acl_errors
from sonic_edge.model.backends.acl import AclBackend
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.store import find_bundle

CODES = (100000, 107002, 145003, 207001, 500002, 507018)
NO_CODE = (
    "get_num_",
    "_size_by_index",
    "_data_type",
    "input_name_by",
    "create_desc",
    "create_dataset",
    "create_data_b",
)


@pytest.fixture(autouse=True)
def nothing_stays():
    faults.clear()
    yield
    faults.clear()
    assert chip.held() == {}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle(chip_bundle(tmp_path_factory.mktemp("bundles") / "sonic-net", "acl"))


@pytest.fixture
def stage(bundle):
    return bundle.stage("denoiser", "acl")


def inputs(stage):
    rng = np.random.default_rng(1)
    return {k: rng.standard_normal(shape).astype(np.float32) for k, shape in stage.inputs.items()}


def live(stage):
    """A whole life: open, two runs, close."""
    session = AclBackend(0).open(stage)
    try:
        session.run(inputs(stage))
        return session.run(inputs(stage))
    finally:
        session.close()


def chip_full_after_load(stage):
    """So much memory that the model is loaded and its buffers do not fit."""
    return find_bundle("sonic-net").stage(stage.name, "cpu").path.stat().st_size + 5000


def calls_of_a_life(stage):
    """Every call, by name and which it is of its name, in one life."""
    live(stage)
    faults.calls.clear()
    live(stage)
    counted = dict(faults.calls)
    faults.clear()
    harmless = "acl.mdl.get_output_name_by_index"  # without its name an output is identified by its shape
    return [(name, nth) for name, n in counted.items() if name != harmless for nth in range(1, n + 1)]


def test_a_session_makes_the_expected_calls(stage):
    names = {name for name, _ in calls_of_a_life(stage)}
    for made, given_back in (
        ("acl.rt.set_device", "acl.rt.reset_device"),
        ("acl.rt.create_context", "acl.rt.destroy_context"),
        ("acl.mdl.load_from_file", "acl.mdl.unload"),
        ("acl.mdl.create_desc", "acl.mdl.destroy_desc"),
        ("acl.mdl.create_dataset", "acl.mdl.destroy_dataset"),
        ("acl.create_data_buffer", "acl.destroy_data_buffer"),
        ("acl.rt.malloc", "acl.rt.free"),
        ("acl.rt.malloc_host", "acl.rt.free_host"),
    ):
        assert {made, given_back} <= names
    assert "acl.init" not in names and "acl.finalize" not in names  # once in a process


def test_buffers_are_made_once_and_used_again(stage):
    session = AclBackend(0).open(stage)
    session.run(inputs(stage))
    faults.calls.clear()
    session.run(inputs(stage))
    n = len(stage.inputs) + len(stage.outputs)
    assert dict(faults.calls) == {"acl.rt.set_context": 1, "acl.rt.memcpy": n, "acl.mdl.execute": 1}
    session.close()


def test_every_failure_at_every_call(stage):
    """Each of a life's calls fails once with each code; all is given back, and a new life is as good as the first."""
    good = live(stage)
    for name, nth in calls_of_a_life(stage):
        for code in (0,) if any(part in name for part in NO_CODE) else CODES:
            faults.order(name, nth, code)
            with pytest.raises(DeviceError) as raised:
                live(stage)
            words = str(raised.value)
            assert "denoiser.om" in words and len(words) > 60, (name, nth, words)
            if code:
                assert f"{code} (" in words and f"{name} " in words, (name, nth, words)
            faults.clear()
            assert chip.held() == {}, (name, nth, code)
    again = live(stage)
    np.testing.assert_array_equal(again["velocity"], good["velocity"])


def test_a_run_that_failed_leaves_a_session_that_works(stage):
    session = AclBackend(0).open(stage)
    good = session.run(inputs(stage))
    for name in ("acl.rt.set_context", "acl.rt.memcpy", "acl.mdl.execute"):
        faults.order(name, 1, 507012)
        with pytest.raises(DeviceError, match=r"507012 \(the chip did not report in time\)"):
            session.run(inputs(stage))
        np.testing.assert_array_equal(session.run(inputs(stage))["velocity"], good["velocity"])
    session.close()


def test_the_first_failure_is_reported(stage):
    session = AclBackend(0).open(stage)
    faults.order("acl.mdl.execute", 1, 507018)
    with pytest.raises(DeviceError, match="507018"):
        session.run(inputs(stage))
    faults.order("acl.destroy_data_buffer", 1, 507899)
    session.close()  # a lost chip releases nothing; this is not reported again


@pytest.mark.parametrize("run_mode", [0, 1])
def test_on_the_chips_own_cpus_and_on_a_host_beside_it(stage, run_mode, monkeypatch):
    monkeypatch.setitem(chip.settings, "run_mode", run_mode)
    assert np.isfinite(live(stage)["velocity"]).all()


def test_two_threads_one_after_the_other(stage):
    made = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: made.append(live(stage)))
        thread.start()
        thread.join(60)
    np.testing.assert_array_equal(made[0]["velocity"], made[1]["velocity"])


def test_the_device_is_reset_after_its_last_session(stage):
    backend = AclBackend(0)
    a, b = backend.open(stage), backend.open(stage)
    a.close()
    assert chip.held()["devices"] == 1
    b.close()
    assert chip.held() == {}


def test_somebody_else_initialised_first(stage, monkeypatch):
    from sonic_edge.model.backends import acl as module

    monkeypatch.setattr(module, "_process", module._Process())
    assert chip.state.n_init == 1 or acl.init() == 0
    live(stage)


def test_pyacl_is_ended_with_the_process(stage):
    code = f"""
import atexit, sys
sys.path[:0] = [{str(DOUBLES)!r}]
from acl import _state
atexit.register(lambda: print(_state.held(), _state.state.n_init, _state.state.was_finalized))
import numpy as np
from pathlib import Path
from sonic_edge.model.backends.acl import AclBackend
from sonic_edge.model.bundle import Stage
for _ in range(2):
    session = AclBackend(0).open(Stage("denoiser", Path({str(stage.path)!r}), {stage.inputs}, {stage.outputs}))
    session.run({{name: np.zeros(shape, np.float32) for name, shape in {stage.inputs}.items()}})
    session.close()
print(_state.held(), _state.state.n_init, _state.state.was_finalized)
"""
    printed = subprocess.check_output([sys.executable, "-W", "error", "-c", code], text=True, timeout=60)
    assert printed == "{} 1 False\n{} 0 True\n"


def test_not_enough_memory_on_the_chip(stage, monkeypatch):
    monkeypatch.setitem(chip.settings, "memory_bytes", 100_000)
    with pytest.raises(DeviceError, match=r"cannot load it: 207001 \(no memory left on the chip\).*npu-smi"):
        live(stage)
    monkeypatch.setitem(chip.settings, "memory_bytes", chip_full_after_load(stage))
    with pytest.raises(DeviceError, match=r"acl\.rt\.malloc failed: 207001"):
        live(stage)


def test_an_om_for_another_chip(stage, monkeypatch):
    monkeypatch.setitem(chip.settings, "soc", "Ascend310")
    with pytest.raises(DeviceError, match=r"compiled for Ascend310B4\).*507008 \(the model is for another chip\)"):
        live(stage)


def test_a_chip_that_is_not_there(stage):
    with pytest.raises(DeviceError, match=r"107001 \(there is no chip with this number\).*model\.device_id"):
        AclBackend(3).open(stage)


def test_names_as_an_om_has_them_and_another_order(stage, tmp_path):
    expected = live(stage)
    order = list(stage.inputs)[::-1]
    shipped = find_bundle("sonic-net").stage("denoiser", "cpu")
    path = compiled(shipped, "acl", tmp_path, inputs=order, output_names=["Conv_41:0:velocity"])
    made = live(replace(stage, path=path))
    np.testing.assert_array_equal(made["velocity"], expected["velocity"])


def test_outputs_without_names_are_identified_by_shape(bundle, tmp_path):
    shipped = find_bundle("sonic-net").stage("encoder", "cpu")
    order = ["face", "condition", "lips", "visemes", "closure"]
    path = compiled(shipped, "acl", tmp_path, outputs=order, output_names=[f"Op_{i}:0" for i in range(5)])
    expected, made = live(bundle.stage("encoder", "acl")), live(replace(bundle.stage("encoder", "acl"), path=path))
    for name in expected:
        np.testing.assert_array_equal(made[name], expected[name])


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
def test_an_om_that_is_not_as_the_bundle_says(stage, tmp_path, description, words):
    path = compiled(find_bundle("sonic-net").stage("denoiser", "cpu"), "acl", tmp_path, **description)
    with pytest.raises(DeviceError, match=words):
        AclBackend(0).open(replace(stage, path=path))


def test_a_real_mindir_is_no_om(stage):
    mindir = find_bundle("sonic-net").stage("denoiser", "mindspore_lite").path
    with pytest.raises(DeviceError, match="cannot load it: 145006"):
        AclBackend(0).open(replace(stage, path=mindir))


def test_an_old_pyacl_without_messages(stage, monkeypatch):
    monkeypatch.delattr(acl, "get_recent_err_msg")
    faults.order("acl.mdl.execute", 1, 500002)
    with pytest.raises(DeviceError, match=r"500002 \(the graph engine failed\): driver, firmware and CANN"):
        live(stage)


def test_the_vendors_own_message_is_shown(stage):
    faults.order("acl.mdl.execute", 1, 500002)
    with pytest.raises(DeviceError, match=r"\[EZ9999: Inner Error! acl\.mdl\.execute was told to fail\]"):
        live(stage)


def test_another_module_of_that_name(stage, monkeypatch):
    monkeypatch.delattr(acl.mdl, "get_desc")
    with pytest.raises(DeviceError, match=r"acl\.mdl\.get_desc failed: .*no attribute.*set_env\.sh"):
        live(stage)


def test_no_pyacl(monkeypatch):
    monkeypatch.setitem(sys.modules, "acl", None)
    with pytest.raises(DeviceError, match=r"pyACL \(module acl\) cannot be loaded.*install CANN.*set_env\.sh"):
        AclBackend(0)


@pytest.mark.parametrize("code", [*acl_errors._MEANINGS, 123456, 234567, 345678, 567890, 42])
def test_every_code_has_words_and_a_remedy(code):
    words, _, remedy = acl_errors.explain(code).partition("): ")
    assert words.startswith(f"{code} (") and len(words) > 12 and len(remedy) > 15


# The double itself: as strict as it says


def test_double_types_and_counts():
    with pytest.raises(TypeError):
        acl.rt.set_device("0")
    with pytest.raises(TypeError):
        acl.rt.set_device(np.int64(0))
    with pytest.raises(TypeError):
        acl.rt.set_device(device_id=0)
    with pytest.raises(TypeError):
        acl.mdl.get_num_inputs()


def test_double_contexts_are_of_threads():
    assert acl.init() in (0, 100002)
    assert acl.rt.set_device(0) == 0
    context, code = acl.rt.create_context(0)
    assert code == 0
    found = []
    thread = threading.Thread(target=lambda: found.append(acl.rt.malloc(64, 2)))
    thread.start()
    thread.join()
    assert found == [(0, 107002)]
    assert acl.rt.destroy_context(context) == 0
    with pytest.raises(Misuse, match="after it was given back"):
        acl.rt.set_context(context)
    assert acl.rt.reset_device(0) == 0


def test_double_memory_after_free_and_copies_too_long():
    acl.init()
    acl.rt.set_device(0)
    context, _ = acl.rt.create_context(0)
    device, _ = acl.rt.malloc(64, 2)
    host, _ = acl.rt.malloc_host(128)
    assert acl.rt.memcpy(device, 64, host, 128, 3) == 107000
    assert acl.rt.memcpy(device, 64, host, 64, 1) == 107000, "on the chip's own CPUs it is device to device"
    assert acl.rt.free_host(device) == 107000
    with pytest.raises(Misuse, match="reset while something is open"):
        acl.rt.reset_device(0)
    assert acl.rt.free(device) == 0
    with pytest.raises(Misuse, match="after it was"):
        acl.rt.memcpy(device, 64, host, 64, 3)
    with pytest.raises(Misuse, match="after it was"):
        acl.rt.free(device)
    assert acl.rt.free_host(host) == 0 and acl.mdl.execute(99, 0, 0) == 145003
    assert acl.rt.destroy_context(context) == 0 and acl.rt.reset_device(0) == 0
