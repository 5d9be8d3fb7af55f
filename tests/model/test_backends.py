"""The contract every backend keeps; on the chip's runtimes only doubles of them, with the same INT8 weights."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from chip_parts import chip, chip_bundle, mindspore_lite

from sonic_edge.errors import DeviceError
from sonic_edge.model.backends.acl import AclBackend
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.backends.mindspore_lite import MindSporeLiteBackend
from sonic_edge.model.bundle import Bundle

MAKERS = {
    "cpu": lambda: CpuBackend(threads=1),
    "mindspore_lite": lambda: MindSporeLiteBackend(0, "enforce_fp16", "", 1),
    "acl": lambda: AclBackend(0),
}


@pytest.fixture(params=list(MAKERS))
def backend(request):
    """Anything that a test leaves open is closed after it, and then no resource may be held."""
    made, opened = MAKERS[request.param](), []

    def opens(stage, really=made.open):
        opened.append(really(stage))
        return opened[-1]

    made.open = opens
    yield made
    for session in opened:
        session.close()
    assert chip.held() == {} and mindspore_lite.alive() == 0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle(chip_bundle(tmp_path_factory.mktemp("bundles") / "sonic-net", "mindspore_lite", "acl"))


def zeros(stage):
    return {name: np.zeros(shape, np.float32) for name, shape in stage.inputs.items()}


def noise(stage):
    rng = np.random.default_rng(0)
    return {k: rng.standard_normal(shape).astype(np.float32) for k, shape in stage.inputs.items()}


@pytest.mark.parametrize("name", ["encoder", "denoiser"])
def test_every_stage_gives_its_declared_outputs(backend, bundle, name):
    stage = bundle.stage(name, backend.name)
    session = backend.open(stage)
    outputs = session.run(zeros(stage))
    assert {k: v.shape for k, v in outputs.items()} == stage.outputs
    assert all(v.dtype == np.float32 and np.isfinite(v).all() for v in outputs.values())
    session.close()


@pytest.mark.parametrize("name", ["encoder", "denoiser"])
def test_the_same_weights_give_the_same_numbers(backend, bundle, name):
    cpu = MAKERS["cpu"]()
    reference = cpu.open(bundle.stage(name, "cpu"))
    stage = bundle.stage(name, backend.name)
    session = backend.open(stage)
    for inputs in (noise(stage), zeros(stage)):
        expected, made = reference.run(inputs), session.run(inputs)
        for output in expected:
            np.testing.assert_array_equal(made[output], expected[output])
    session.close()


def test_the_same_input_gives_the_same_output(backend, bundle):
    stage = bundle.stage("encoder", backend.name)
    inputs = noise(stage)
    a, b = backend.open(stage), backend.open(stage)
    one, two, three = a.run(inputs), a.run(inputs), b.run(inputs)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
        np.testing.assert_array_equal(one[name], three[name])


def test_both_stages_share_a_device(backend, bundle):
    stages = [bundle.stage(name, backend.name) for name in ("encoder", "denoiser")]
    sessions = [backend.open(stage) for stage in stages]
    alone = [session.run(noise(stage)) for session, stage in zip(sessions, stages)]
    sessions[0].close()  # the other still works
    for name, value in sessions[1].run(noise(stages[1])).items():
        np.testing.assert_array_equal(value, alone[1][name])
    sessions[1].close()


@pytest.mark.parametrize("make", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=-1)[..., ::2]])
def test_inputs_may_lie_in_memory_in_any_way(backend, bundle, make):
    stage = bundle.stage("encoder", backend.name)
    session = backend.open(stage)
    expected = session.run(noise(stage))
    session.run(zeros(stage))  # leftovers must not be taken for the input
    for name, value in session.run({k: make(v) for k, v in noise(stage).items()}).items():
        np.testing.assert_array_equal(value, expected[name])


def test_outputs_belong_to_the_caller(backend, bundle):
    stage = bundle.stage("encoder", backend.name)
    session = backend.open(stage)
    first = session.run(zeros(stage))
    kept = {k: v.copy() for k, v in first.items()}
    session.run({k: np.ones(shape, np.float32) for k, shape in stage.inputs.items()})
    session.close()
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])
        assert value.flags.writeable


def test_it_may_run_and_close_in_another_thread(backend, bundle):
    stage = bundle.stage("denoiser", backend.name)
    session = backend.open(stage)
    expected = session.run(noise(stage))
    made = []
    for elsewhere in (lambda: made.append(session.run(noise(stage))), session.close):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(60)
    with pytest.raises(DeviceError, match="closed"):
        session.run(noise(stage))
    np.testing.assert_array_equal(made[0]["velocity"], expected["velocity"])


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda i: {"audio_input": i["audio_input"]}, "inputs are"),
        (lambda i: {**i, "extra": i["audio_input"]}, "inputs are"),
        (lambda i: {**i, "audio_input": i["audio_input"][:, :, :, :100]}, r"audio_input is float32 \[1, 1, 80, 100\]"),
        (lambda i: {**i, "audio_input": i["audio_input"].astype(np.float64)}, "must be float32"),
    ],
)
def test_wrong_inputs_are_named(backend, bundle, change, words):
    stage = bundle.stage("encoder", backend.name)
    session = backend.open(stage)
    with pytest.raises(DeviceError, match=words):
        session.run(change(zeros(stage)))
    session.run(zeros(stage))  # and the session is still good


def test_a_closed_session_says_so(backend, bundle):
    stage = bundle.stage("encoder", backend.name)
    session = backend.open(stage)
    session.close()
    session.close()
    with pytest.raises(DeviceError, match="closed"):
        session.run(zeros(stage))


def test_a_file_that_is_no_model(backend, bundle, tmp_path):
    path = tmp_path / "not a model.bin"
    path.write_bytes(b"rubbish" * 100)
    with pytest.raises(DeviceError, match=r"not a model\.bin.*cannot load it"):
        backend.open(replace(bundle.stage("encoder", backend.name), path=path))


def test_a_file_that_is_damaged(backend, bundle, tmp_path):
    stage = bundle.stage("encoder", backend.name)
    path = tmp_path / "half.bin"
    path.write_bytes(stage.path.read_bytes()[: stage.path.stat().st_size // 2])
    with pytest.raises(DeviceError, match=r"half\.bin.*cannot load it"):
        backend.open(replace(stage, path=path))


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_a_model_that_is_not_as_declared(backend, bundle, kind):
    stage = bundle.stage("encoder", backend.name)
    declared = getattr(stage, kind)
    name = next(iter(declared))
    other = replace(stage, **{kind: {**declared, name: (1, 1, 64, 160)}})
    with pytest.raises(DeviceError, match=rf"{kind[:-1]} {name} is .*bundle\.yaml says .*1, 1, 64, 160"):
        backend.open(other)
    backend.open(stage).close()
