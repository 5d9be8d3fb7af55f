"""A step on its own: what its failure says; what is known of chips."""

import pytest

from models.chip import explain, socs, steps


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("tool", "body", "said"), [
    ("atc", 'echo "E16005: 9 domains"; exit 1', ["E16005: the ONNX model names more than one domain"]),
    ("atc", 'echo "EZ3003: no kernel"; exit 1', ["EZ3003: there is no kernel", "opp"]),
    ("atc", 'echo "E19999: Inner Error!"; exit 1', ["E19999", "ascend/log", "MAX_COMPILE_CORE_NUMBER"]),
    ("atc", 'echo "EH9999: new"; exit 1', ["EH9999: look it up at hiascend.com"]),
    ("atc", "exit 0", ["exit status 0, but x.out is not there", "its log is all there is"]),
    ("atc", ': >"$1"', ["exit status 0, but x.out is empty"]),
    ("atc", "kill -9 $$", ["killed by signal 9", "the memory was full"]),
    ("atc", "seq 1000; exit 3", ["exit status 3", "    | 1000", "    | 976", "whole log: "]),
    ("atc", None, ["atc cannot be run", "atc is not on the PATH", "set_env.sh"]),
    ("converter_lite", "exit 127", ["converter_lite is not on the PATH", "LD_LIBRARY_PATH"]),
    ("converter_lite", 'echo "INPUT ILLEGAL: no fmk" >&2; exit 1', ["    | INPUT ILLEGAL", "\nINPUT ILLEGAL: no fmk"]),
    ("converter_lite", 'echo "libascendcl.so: not found" >&2; exit 1', ["CANN's libraries are missing", "set_env.sh"]),
    ("converter_lite", "exit 1", ["it said nothing", "GLOG_v=1"]),
    ("amct", 'echo "ValueError: no"; exit 1', ["AMCT refused", "--route calibrate"]),
    ("amct", 'echo "ImportError: no x"; exit 1', ["amct_onnx_op", "--amct-python"]),
    ("ours", "echo \"ModuleNotFoundError: No module named 'onnx'\"; exit 1", ["[cpu,convert]"]),
])  # fmt: skip
def test_a_failing_step_is_explained(tool, body, said, tmp_path):
    if body is not None:
        script(tmp_path / tool, body)
    step = steps.Step(
        "a step", tool, tmp_path / "step", lambda out: [str(tmp_path / tool), str(out / "x.out")], (), ("x.out",)
    )
    with pytest.raises(steps.StepError) as e:
        steps.run(step, explain.explain, 0)
    for part in said:
        assert part in str(e.value)
    assert str(e.value).startswith("a step: ") and not step.folder.exists()


@pytest.mark.parametrize("content", [None, b""])
def test_a_step_without_its_input_does_not_begin(content, tmp_path):
    needed = tmp_path / "needed"
    if content is not None:
        needed.write_bytes(content)
    step = steps.Step("a step", "atc", tmp_path / "step", lambda out: ["false"], (needed,), ())
    with pytest.raises(steps.StepError, match=f"needs {needed}, which is"):
        steps.run(step, explain.explain, 0)


def test_with_cann_in_the_shell_its_own_chips_count(tmp_path, monkeypatch):
    folder = tmp_path / "x86_64-linux" / "data" / "platform_config"
    folder.mkdir(parents=True)
    (folder / "Ascend310Z9.ini").touch()
    monkeypatch.delenv("ASCEND_TOOLKIT_HOME", raising=False)
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    assert socs.check_soc("Ascend310Z9") == ""
    assert "the CANN of this shell has no such chip; it has: Ascend310Z9" in socs.check_soc("Ascend310B4")
    assert "did you mean Ascend310Z9" in socs.check_soc("310Z9")


def test_every_code_has_a_meaning():
    for code, meaning in explain.CODES.items():
        assert meaning in explain.explain("atc", 1, f"[ERROR] {code}: something [PID: 1]")
