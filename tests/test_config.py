from pathlib import Path

import pytest
import yaml

from sonic_edge.config import (
    Config,
    Controls,
    check,
    commented_yaml,
    load_config,
    parse_assignments,
    with_controls,
)
from sonic_edge.errors import ConfigError

EXAMPLE = Path(__file__).parent.parent / "board" / "sonic-edge.yaml"


def mistakes(text, tmp_path):
    path = tmp_path / "设置.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as e:
        load_config(path)
    lines = str(e.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line[len(f"{path}: ") :] for line in lines]


def test_defaults_hold_without_a_file_and_in_an_empty_one(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(None) == load_config(tmp_path / "empty.yaml") == Config()


def test_defaults_are_those_the_product_promises():
    c = Controls()
    assert (c.duration, c.min_resolution, c.expand_ratio, c.inference_steps) == ("auto", 512, 0.15, 25)
    assert (c.dynamic_scale, c.motion_scale, c.align_offset, c.fps) == (1.1, 1.05, 0.03, 25)


def test_every_mistake_is_reported_with_path_value_range_and_nearest_name(tmp_path):
    text = """
controls: {min_resolutoin: 300, fps: fast, min_resolution: 513, smooth: 1, inference_steps: 0}
modle: {}
label: big
limits: {speech_s: -1}
encode: {preset: quick}
"""
    found = mistakes(text, tmp_path)
    assert set(found) == {
        "controls.min_resolutoin: there is no such setting; did you mean min_resolution?",
        "controls.fps = 'fast': must be a whole number from 10 to 60 frames a second",
        "controls.min_resolution = 513: must be a whole number from 128 to 1024 pixels, a multiple of 2",
        "controls.smooth = 1: must be true or false",
        "controls.inference_steps = 0: must be a whole number from 1 to 50 steps",
        "modle: there is no such setting; did you mean model?",
        "label = 'big': must hold `key: value` lines",
        "limits.speech_s = -1: must be a number over 0 seconds",
        "encode.preset = 'quick': must be ultrafast, superfast, veryfast, faster, fast or medium",
    }


@pytest.mark.parametrize(
    "controls, words",
    [
        ({"min_resolution": 126}, "128 to 1024 pixels"),
        ({"min_resolution": 1026}, "128 to 1024 pixels"),
        ({"expand_ratio": 1.5}, "0 to 1 of the head's size"),
        ({"inference_steps": 51}, "1 to 50 steps"),
        ({"dynamic_scale": -1}, "a number from 0 to 2"),
        ({"motion_scale": 2.5}, "a number from 0 to 2"),
        ({"align_offset": 2}, "-0.5 to 0.5 seconds"),
        ({"fps": 200}, "10 to 60 frames a second"),
        ({"seed": -1}, "0 to 4294967295"),
        ({"duration": "long"}, "auto or a number over 0"),
        ({"duration": -5.0}, "auto or a number over 0"),
        ({"duration": float("nan")}, "auto or a number over 0"),
        ({"duration": float("inf")}, "auto or a number over 0"),
        ({"dynamic_scale": float("nan")}, "a number from 0 to 2"),
        ({"sead": 3}, "did you mean seed?"),
        ({"xyzzy": 3}, "known here: duration, min_resolution"),
    ],
)
def test_each_control_is_bounded(controls, words):
    with pytest.raises(ConfigError, match="--set: ") as e:
        with_controls(Config(), controls, "--set")
    assert words in str(e.value)


def test_controls_replace_only_what_they_name():
    base = with_controls(Config(), {"seed": 7}, "a")
    both = with_controls(base, {"fps": 30}, "b")
    assert (both.controls.seed, both.controls.fps, both.controls.min_resolution) == (7, 30, 512)


def test_assignments_have_yaml_types():
    assert parse_assignments(["seed=3", "smooth=false", "duration=auto", "align_offset=0.1"]) == {
        "seed": 3,
        "smooth": False,
        "duration": "auto",
        "align_offset": 0.1,
    }


@pytest.mark.parametrize("text", ["seed", "=3", "seed=[", "", "seed=2020-13-45", "seed=" + "[" * 5000])
def test_bad_assignments(text):
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments([text])


@pytest.mark.parametrize(
    "content, words",
    [
        (b"a: [", "is not YAML"),
        (b"- 1\n- 2", "must hold `key: value` lines; found list"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"5", "found int 5"),
        (b"seed: 2020-13-45", "is not YAML"),
        (b"[" * 5000, "is not YAML"),
    ],
)
def test_files_that_are_not_settings(content, words, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="x.yaml") as e:
        load_config(path)
    assert words in str(e.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.yaml: cannot be read"):
        load_config(tmp_path / "nowhere.yaml")


def test_the_commented_file_reads_back_as_itself(tmp_path):
    config = with_controls(Config(), {"seed": 5, "duration": 3.5}, "test")
    path = tmp_path / "c.yaml"
    path.write_text(commented_yaml(config), encoding="utf-8")
    assert load_config(path) == config
    # every setting has its words
    assert "None" not in commented_yaml(config).replace("null", "")
    for name, field in Config.model_fields.items():
        assert field.description, name
        for key, sub in type(getattr(config, name)).model_fields.items():
            assert sub.description, f"{name}.{key}"


def test_the_example_file_is_the_defaults():
    assert EXAMPLE.read_text(encoding="utf-8") == commented_yaml(Config()), "run: make example-config"
    assert check(Config, yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), "example") == Config()


@pytest.mark.parametrize(
    "section", [{"label": {"text": "AI\n生成"}}, {"label": {"producer": "a\x85b"}}, {"spool": {"root": ""}}]
)
def test_impossible_settings_are_reported_before_the_first_job(section):
    with pytest.raises(ConfigError, match="must be text"):
        check(Config, section, "x")


def test_label_text_may_not_break_the_metadata():
    with pytest.raises(ConfigError, match="label.producer"):
        check(Config, {"label": {"producer": 'a"b'}}, "x")
