import pytest
from bundle_parts import T, tensor, write_bundle

from sonic_edge.errors import ConfigError
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.store import find_bundle


def test_a_stage_has_its_file_and_shapes(tmp_path):
    bundle = Bundle(write_bundle(tmp_path))
    stage = bundle.stage("encoder", "cpu")
    assert stage.path == tmp_path / "encoder.onnx"
    assert stage.inputs["audio_input"] == (1, 1, 80, 160)
    assert bundle.mel.clip == (-3.5, 2.5)


def test_a_changed_file_is_refused(tmp_path):
    bundle = Bundle(write_bundle(tmp_path))
    (tmp_path / "encoder.onnx").write_bytes(b"something else")
    with pytest.raises(ConfigError, match=r"encoder\.onnx: is damaged or changed: its sha256 is"):
        bundle.stage("encoder", "cpu")


def test_a_missing_file_is_named(tmp_path):
    bundle = Bundle(write_bundle(tmp_path))
    (tmp_path / "encoder.onnx").unlink()
    with pytest.raises(ConfigError, match=r"encoder\.onnx: cannot be read"):
        bundle.stage("encoder", "cpu")


def test_a_backend_it_has_no_file_for(tmp_path):
    with pytest.raises(ConfigError, match="has no file for backend acl; it has: cpu"):
        Bundle(write_bundle(tmp_path)).stage("encoder", "acl")


def test_files_outside_the_bundle_are_refused(tmp_path):
    def escape(spec):
        spec["stages"]["encoder"]["files"]["cpu"]["path"] = "../secret"

    with pytest.raises(ConfigError, match="must be in the bundle's folder"):
        Bundle(write_bundle(tmp_path / "b", escape)).stage("encoder", "cpu")


def set_path(*keys, to):
    def change(spec):
        for key in keys[:-1]:
            spec = spec[key]
        spec[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    "change, words",
    [
        (set_path("format", to=2), "format = 2: must be 1"),
        (set_path("window", "stride", to=50), "window.stride = 50: must be at most window.frames = 40"),
        (set_path("window", "mel_frames", to=200), "window.mel_frames = 200: must be 160, as for window.frames"),
        (set_path("stream", "look_ahead_frames", to=40), "must be less than window.frames = 40"),
        (set_path("stream", "look_ahead_frames", to=0), "stream.look_ahead_frames = 0: must be"),
        (set_path("life", "noise", to=[1.0]), "life.noise = [1.0]: must be 2 numbers more than 0, or empty"),
        (
            set_path("stream", "noise", to=[1.0, 0.0]),
            "stream.noise = [1.0, 0.0]: must be 2 numbers more than 0, or empty",
        ),
        (set_path("stream", "prior", to=[-5.0] * 79), "stream.prior: 79 values; must be 80, one for each band"),
        (set_path("life", "std", to=[0.3]), "life: 2 channels, 2 mean, 1 std"),
        (set_path("life", "std", to=[0.3, 0.0]), "must be more than 0"),
        (
            set_path("stages", "encoder", "outputs", "lips", to=tensor(1, 3, T)),
            "lips: is [1, 3, 40]; must be [1, 2, 40]",
        ),
        (set_path("stages", "denoiser", "inputs", "condition", to=tensor(1, 9, T)), "condition must go from encoder"),
        (set_path("tensors", "lips", to="mouth"), "stages.encoder.outputs.mouth: is missing; must be [1, 2, 40]"),
        (
            set_path("stages", "encoder", "inputs", "mood", to=tensor(1, 4)),
            "stages.encoder.inputs.mood: is not named under tensors",
        ),
        (set_path("lips", "tongue", to=[3]), "lips.tongue needs [1, 4 or more, 40]"),
        (set_path("lips", "tongue", to=[-1]), "must be class numbers from 0 up"),
        (set_path("stages", to={}), "stages: has no encoder"),
        (set_path("widnow", to={}), "did you mean window?"),
        (set_path("mel", "n_mels", to="x"), "mel.n_mels = 'x': must be a whole number"),
    ],
)
def test_inconsistencies_are_reported(change, words, tmp_path):
    with pytest.raises(ConfigError) as e:
        Bundle(write_bundle(tmp_path, change))
    assert words in str(e.value)
    assert all(line.startswith(str(tmp_path / "bundle.yaml")) for line in str(e.value).splitlines())


def test_a_missing_part_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="window: is missing"):
        Bundle(write_bundle(tmp_path, lambda spec: spec.pop("window")))


def test_the_shipped_bundle_is_whole():
    bundle = find_bundle("sonic-net")
    for name in bundle.spec.stages:
        for backend in bundle.spec.stages[name].files:
            assert bundle.stage(name, backend).path.is_file()
