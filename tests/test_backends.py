"""The contract every backend keeps, run against the ones there are."""

import numpy as np
import pytest

from sonic_edge.backends.cpu import CpuBackend
from sonic_edge.bundle import Stage, find_bundle
from sonic_edge.errors import DeviceError


@pytest.fixture(params=["cpu"])
def backend(request):
    return {"cpu": lambda: CpuBackend(threads=1)}[request.param]()


@pytest.fixture
def bundle():
    return find_bundle("sonic-net")


def zeros(stage):
    return {name: np.zeros(shape, np.float32) for name, shape in stage.inputs.items()}


@pytest.mark.parametrize("name", ["encoder", "denoiser"])
def test_every_stage_gives_its_declared_outputs(backend, bundle, name):
    stage = bundle.stage(name, backend.name)
    session = backend.open(stage)
    outputs = session.run(zeros(stage))
    assert {k: v.shape for k, v in outputs.items()} == stage.outputs
    assert all(v.dtype == np.float32 and np.isfinite(v).all() for v in outputs.values())
    session.close()


def test_the_same_input_gives_the_same_output(backend, bundle):
    stage = bundle.stage("encoder", backend.name)
    rng = np.random.default_rng(0)
    inputs = {k: rng.standard_normal(shape).astype(np.float32) for k, shape in stage.inputs.items()}
    a, b = backend.open(stage), backend.open(stage)
    one, two, three = a.run(inputs), a.run(inputs), b.run(inputs)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
        np.testing.assert_array_equal(one[name], three[name])


def test_outputs_belong_to_the_caller(backend, bundle):
    stage = bundle.stage("encoder", backend.name)
    session = backend.open(stage)
    first = session.run(zeros(stage))
    kept = {k: v.copy() for k, v in first.items()}
    session.run({k: np.ones(shape, np.float32) for k, shape in stage.inputs.items()})
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])


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


def test_a_file_that_is_no_model(backend, tmp_path):
    path = tmp_path / "not a model.onnx"
    path.write_bytes(b"rubbish" * 100)
    with pytest.raises(DeviceError, match=r"not a model\.onnx: .* cannot load it"):
        backend.open(Stage("encoder", path, {}, {}))


def test_a_model_that_is_not_as_declared(backend, bundle):
    stage = bundle.stage("encoder", backend.name)
    other = Stage(stage.name, stage.path, {**stage.inputs, "audio_input": (1, 1, 64, 160)}, stage.outputs)
    with pytest.raises(DeviceError, match="input audio_input is"):
        backend.open(other)
