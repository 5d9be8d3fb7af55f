"""The conversion for the chip, with stand-ins for the vendors' tools (stand_ins/)."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import List

import numpy as np
import onnx
import pytest
import yaml

from models import BUNDLE, convert
from sonic_edge.config import LimitSettings, share_dir
from sonic_edge.engine.motion.network import SonicNet
from sonic_edge.engine.speech import read_speech
from sonic_edge.model.backends.acl import AclBackend
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.backends.mindspore_lite import MindSporeLiteBackend
from sonic_edge.model.bundle import Bundle

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parent / "stand_ins"
sys.path.insert(0, str(ROOT / "tests"))
from chip_parts import chip, mindspore_lite  # noqa: E402
from frames_bundle import frames_bundle  # noqa: E402

SOC = "Ascend310B4"
BACKENDS = {"acl": lambda: AclBackend(0), "mindspore_lite": lambda: MindSporeLiteBackend(0, "enforce_fp16", "", 1)}
N_SAMPLES = 6


@pytest.fixture
def tools(tmp_path, monkeypatch) -> Path:
    """A folder on the PATH with the tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("atc", "converter_lite"):
        script(folder / name, f'exec "{sys.executable}" "{STAND_INS / name}.py" "$@"')
    script(folder / "amct-python", f'PYTHONPATH="{STAND_INS}" exec "{sys.executable}" "$@"')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"):
        monkeypatch.delenv(name, raising=False)
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def words(tmp_path: Path, *more: str) -> List[str]:
    return [
        "--soc", SOC, "--work", str(tmp_path / "work"), "--amct-python", "amct-python", "--samples", str(N_SAMPLES),
        *([] if "--in-place" in more else ["--out", str(tmp_path / "out")]), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def speech():
    """Four seconds of the sample recording."""
    heard = read_speech(share_dir() / "samples" / "speech.flac", Bundle(BUNDLE).mel, LimitSettings())
    return replace(heard, mel=heard.mel[:, :400], duration_s=4.0)


def motion(folder: Path, backend, speech) -> np.ndarray:
    """What the product makes of a bundle on a backend."""
    bundle = Bundle(folder)
    sessions = [backend.open(bundle.stage(name, backend.name)) for name in ("encoder", "denoiser")]
    face = np.full((1, 3, 224, 224), 0.4, np.float32)
    made = SonicNet(bundle, *sessions).motion(speech, face, 4, 1, lambda done, total: None)
    for session in sessions:
        session.close()
    return made.values


def agreement(folder: Path, backends, speech) -> float:
    """Least correlation of a channel of motion with that of the shipped bundle on the CPU."""
    expected = motion(BUNDLE, CpuBackend(1), speech)
    worst = 1.0
    for name in backends:
        made = motion(folder, BACKENDS[name](), speech)
        moving = expected.std(0) > 1e-6
        worst = min(worst, *(float(np.corrcoef(a, b)[0, 1]) for a, b in zip(expected.T[moving], made.T[moving])))
    assert chip.held() == {} and mindspore_lite.alive() == 0
    return worst


@pytest.mark.parametrize(("route", "backends"), [
    ("qat", {"acl", "mindspore_lite"}), ("calibrate", {"acl", "mindspore_lite"}), ("lite", {"mindspore_lite"}),
    ("float", {"acl", "mindspore_lite"}),
])  # fmt: skip
def test_the_whole_conversion(route, backends, tools, tmp_path, capsys, speech):
    assert convert.main(words(tmp_path, "--route", route)) == 0
    said = capsys.readouterr().out
    assert "  $ " in said and f"by route {route}" in said and "not tried on the chip" in said
    made, shipped = Bundle(tmp_path / "out"), Bundle(BUNDLE)
    assert made.spec.version == f"{shipped.spec.version}+{SOC}.{route}"
    for name in ("encoder", "denoiser"):
        assert made.stage(name, "cpu").path.read_bytes() == shipped.stage(name, "cpu").path.read_bytes()
        assert made.stage(name, "cpu").soc == ""
        for backend in backends:
            stage = made.stage(name, backend)  # its hash is checked here
            assert stage.soc == SOC and stage.path.name == f"{name}.{SOC}.{'om' if backend == 'acl' else 'mindir'}"
    assert agreement(tmp_path / "out", backends, speech) > 0.99
    named = {f.path for s in made.spec.stages.values() for f in s.files.values()}
    assert {p.name for p in (tmp_path / "out").iterdir()} == named | {"bundle.yaml", "reference.npz"}
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert convert.main(words(tmp_path, "--route", route)) == 0  # again: nothing is left to do
    assert "  $ " not in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_only_the_backend_that_is_asked_for(tools, tmp_path):
    (tools / "converter_lite").unlink()  # it is not needed
    assert convert.main(words(tmp_path, "--backend", "acl", "--route", "float")) == 0
    for spec in Bundle(tmp_path / "out").spec.stages.values():
        assert {name for name, file in spec.files.items() if file.soc} == {"acl"}
        assert set(spec.files) == {"cpu", "mindspore_lite", "acl"}  # what the bundle had else is still there


def test_a_model_that_paints(tools, tmp_path, capsys):
    """Another kind of bundle, in floating point: any graph takes the route that quantises nothing."""
    bundle = frames_bundle(tmp_path / "painter", "wav2lip")
    assert convert.main([*words(tmp_path, "--route", "calibrate"), "--bundle", str(bundle)]) == 78
    assert "is of kind frames" in capsys.readouterr().err
    assert convert.main([*words(tmp_path), "--bundle", str(bundle)]) == 78
    assert "there is no QuantizeLinear: route qat needs an INT8 model" in capsys.readouterr().err
    assert convert.main([*words(tmp_path, "--route", "float"), "--bundle", str(bundle)]) == 0
    made = Bundle(tmp_path / "out")
    rng = np.random.default_rng(0)
    for name in made.spec.stages:
        feeds = {k: rng.uniform(0, 1, v).astype(np.float32) for k, v in made.stage(name, "cpu").inputs.items()}
        results = []
        for backend in (CpuBackend(1), *(make() for make in BACKENDS.values())):
            session = backend.open(made.stage(name, backend.name))
            results.append(session.run(feeds))
            session.close()
        for other in results[1:]:
            for tensor, values in results[0].items():
                np.testing.assert_allclose(other[tensor], values, atol=1e-5)


def test_a_dry_run_needs_no_tool_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    for route, n_missing in (("qat", 3), ("calibrate", 3), ("lite", 1), ("float", 2)):
        assert convert.main(words(tmp_path, "--route", route, "--dry-run")) == 0
        said = capsys.readouterr().out
        assert said.count("NOT HERE: ") == n_missing
        assert SOC in said and "converter_lite --fmk=" in said
        assert ("quant_type=FULL_QUANT" in said) == (route == "lite")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_the_exact_commands(tools, tmp_path, capsys):
    """What is shown, fed to a shell, leaves the same files as the real run."""
    route = "lite"
    assert convert.main(words(tmp_path, "--route", route, "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "every tool is here" in shown
    shell = "set -e\n" + shown.replace("every tool is here", "")
    subprocess.run(["sh"], input=shell, text=True, check=True, capture_output=True, cwd=tmp_path)
    by_hand = {
        p.relative_to(tmp_path / "work"): p.read_bytes()
        for p in (tmp_path / "work").rglob("*")
        if p.suffix in (".om", ".mindir", ".onnx", ".bin", ".cfg")
    }
    assert by_hand
    shutil.rmtree(tmp_path / "work")
    assert convert.main(words(tmp_path, "--route", route)) == 0
    for name, content in by_hand.items():
        assert (tmp_path / "work" / name).read_bytes() == content, name


class Killed(BaseException):
    """Nothing in the code may catch this."""


def killing(monkeypatch, at, kill):
    """The step after `at` others leaves every file half written, and nothing runs after it."""
    real, left = subprocess.run, [at]

    def run(command, **options):
        if "cwd" not in options:
            return real(command, **options)
        done = real(command, **options)
        if not left[0]:
            for path in options["cwd"].rglob("*"):
                if path.is_file():
                    os.truncate(path, path.stat().st_size // 2)
            kill()
        left[0] -= 1
        return done

    monkeypatch.setattr(subprocess, "run", run)


def killed() -> None:
    raise Killed


def test_interrupted_at_any_step_it_continues_from_there(tools, tmp_path, capsys, monkeypatch, speech):
    n_steps = 9
    for at in range(n_steps):
        with monkeypatch.context() as patch:
            killing(patch, min(at, 1), killed)  # one more step gets done each time
            with pytest.raises(Killed):
                convert.main(words(tmp_path, "--route", "calibrate"))
        assert capsys.readouterr().out.count("done before") == max(0, at - 1)
        assert not (tmp_path / "out").exists()
    assert convert.main(words(tmp_path, "--route", "calibrate")) == 0
    said = capsys.readouterr().out
    assert said.count("done before") == n_steps - 1 and said.count("  $ ") == 1
    assert not list((tmp_path / "work").glob("*.part"))
    assert agreement(tmp_path / "out", ["acl", "mindspore_lite"], speech) > 0.99


def test_kill_9_leaves_a_tool_behind(tools, tmp_path, capsys):
    """A second conversion does not begin while a process of the first one is still writing."""
    script(
        tools / "atc", f'echo $$ >"{tmp_path}/begun.part"; mv "{tmp_path}/begun.part" "{tmp_path}/begun"; exec sleep 60'
    )
    argv = [sys.executable, "-m", "models.convert", *words(tmp_path, "--route", "float")]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    script(tools / "atc", f'exec "{sys.executable}" "{STAND_INS}/atc.py" "$@"')
    assert convert.main(words(tmp_path, "--route", "float")) == 1
    assert "a conversion is at work here" in capsys.readouterr().err
    os.kill(int((tmp_path / "begun").read_text()), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while convert.main(words(tmp_path, "--route", "float")) != 0:  # until the kernel is done with it
        assert time.monotonic() < deadline
    assert capsys.readouterr().out.count("done before") == 1


def test_a_step_whose_command_or_files_changed_is_done_again(tools, tmp_path, capsys):
    assert convert.main(words(tmp_path)) == 0
    capsys.readouterr()
    om = tmp_path / "work" / "encoder-om" / "encoder.om"
    om.write_bytes(om.read_bytes()[:-9])  # damaged: made again, with the same result as before
    assert convert.main(words(tmp_path)) == 0
    said = capsys.readouterr().out
    assert said.count("  $ ") == 1 and "encoder: ATC\n  $ atc" in said
    with (tools / "atc").open("a") as file:
        file.write("# another release\n")
    assert convert.main(words(tmp_path)) == 0
    assert capsys.readouterr().out.count("  $ atc ") == 2  # and its result is the same, so that no later step runs
    other = [w if w != SOC else "Ascend310" for w in words(tmp_path)]
    other[other.index("--out") + 1] = str(tmp_path / "other")
    assert convert.main(other) == 0
    said = capsys.readouterr().out
    assert said.count("done before") == 4 and said.count("--soc_version=Ascend310 ") == 2  # AMCT knows no chip


def test_the_option_in_place_changes_the_bundle_itself(tools, tmp_path):
    bundle = tmp_path / "mine"
    shutil.copytree(BUNDLE, bundle)
    assert convert.main(words(tmp_path, "--in-place", "--bundle", str(bundle))) == 0
    made = Bundle(bundle)
    for name in ("encoder", "denoiser"):
        for backend in ("acl", "mindspore_lite"):
            assert made.stage(name, backend).soc == SOC
    assert not (bundle / "encoder.mindir").exists()  # nothing names it any more
    assert not list(bundle.glob("*.part"))
    assert convert.main(words(tmp_path, "--in-place", "--bundle", str(bundle))) == 0  # again
    assert Bundle(bundle).spec.version == made.spec.version


def test_another_bundle_is_not_written_over(tools, tmp_path, capsys):
    shutil.copytree(BUNDLE, tmp_path / "out")
    assert convert.main(words(tmp_path)) == 78
    assert f"{tmp_path / 'out'}: already holds sonic-net 0.2.0;" in capsys.readouterr().err
    assert (tmp_path / "out" / "bundle.yaml").read_bytes() == (BUNDLE / "bundle.yaml").read_bytes()
    (tmp_path / "out" / "bundle.yaml").unlink()
    assert convert.main(words(tmp_path)) == 78
    assert "exists and is not a bundle" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()  # reported before anything ran


def test_an_earlier_result_for_the_chip_makes_room(tools, tmp_path):
    assert convert.main(words(tmp_path, "--route", "float", "--backend", "acl")) == 0
    assert convert.main(words(tmp_path, "--route", "float")) == 0
    made = Bundle(tmp_path / "out")
    assert made.stage("encoder", "mindspore_lite").soc == SOC == made.stage("encoder", "acl").soc
    assert {p.name for p in tmp_path.iterdir()} == {"bin", "out", "work"}


def test_it_continues_after_a_failure_is_fixed(tools, tmp_path, capsys):
    working = (tools / "atc").read_text()
    script(tools / "atc", 'echo "E16002: No ONNX parser is registered for optype X."; exit 1')
    assert convert.main(words(tmp_path)) == 1
    reported = capsys.readouterr().err
    assert "encoder: ATC: exit status 1\n    $ atc --mode=0" in reported and "E16002: no parser" in reported
    assert not (tmp_path / "out").exists()
    (tools / "atc").write_text(working)
    assert convert.main(words(tmp_path)) == 0
    assert capsys.readouterr().out.count("done before") == 2


@pytest.mark.parametrize(("tool", "said"), [
    ("atc", "set_env.sh"), ("converter_lite", "tools/converter/converter"), ("amct-python", "--amct-python"),
])  # fmt: skip
def test_a_missing_tool_is_reported_before_anything_runs(tool, said, tools, tmp_path, capsys):
    (tools / tool).unlink()
    assert convert.main(words(tmp_path)) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_failing_import_of_amct_is_reported(tools, tmp_path, capsys):
    argv = words(tmp_path)
    argv[argv.index("amct-python")] = sys.executable
    assert convert.main(argv) == 1
    assert "No module named 'amct_onnx': AMCT for ONNX is not in this Python" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "near"), [
    ("310B4", "Ascend310B4"), ("ascend310b4", "Ascend310B4"), ("Ascend310C", "Ascend310"),
    ("Ascend310p3", "Ascend310P3"),
])  # fmt: skip
def test_an_unknown_chip_gets_the_nearest_name(name, near, tmp_path, capsys, tools):
    with pytest.raises(SystemExit) as e:
        convert.main(["--soc", name, "--dry-run"])
    assert e.value.code == 2
    said = capsys.readouterr().err
    assert near in said.partition("did you mean")[2].partition("?")[0] and "npu-smi info" in said


@pytest.mark.parametrize(("argv", "said"), [
    (["--route", "lite", "--backend", "both"], "route lite makes no .om"),
    (["--in-place", "--out", "x"], "exclude each other"),
    (["--samples", "0"], "at least 1 is needed"),
    (["--route", "other"], "invalid choice"),
])  # fmt: skip
def test_options_that_exclude_each_other(argv, said, capsys, tools):
    with pytest.raises(SystemExit) as e:
        convert.main(["--soc", SOC, *argv])
    assert e.value.code == 2 and said in capsys.readouterr().err


def changed(tmp_path: Path, change) -> Path:
    """A bundle whose denoiser is another."""
    bundle = tmp_path / "changed"
    shutil.copytree(BUNDLE, bundle)
    described = yaml.safe_load((bundle / "bundle.yaml").read_text())
    entry = described["stages"]["denoiser"]["files"]["cpu"]
    model = onnx.load(str(bundle / entry["path"]))
    change(model)
    onnx.save(model, str(bundle / entry["path"]))
    entry["sha256"] = hashlib.sha256((bundle / entry["path"]).read_bytes()).hexdigest()
    (bundle / "bundle.yaml").write_text(yaml.safe_dump(described))
    return bundle


def old_opset(model):
    next(o for o in model.opset_import if o.domain == "").version = 15


def new_operator(model):
    model.graph.node.append(onnx.helper.make_node("Unique", ["step"], ["more"], name="extra"))


def less_outputs(model):
    model.graph.output.pop()


def turned_inputs(model):
    first = model.graph.input.pop(0)
    model.graph.input.append(first)


def test_a_graph_with_its_inputs_in_another_order(tools, tmp_path, speech):
    """An .om identifies tensors by their position: the order of the graph counts, not that of bundle.yaml."""
    bundle = changed(tmp_path, turned_inputs)
    assert convert.main([*words(tmp_path, "--route", "float"), "--bundle", str(bundle)]) == 0
    reported = (tmp_path / "work" / "denoiser-mindir" / "om.cfg").read_text()
    assert "input_name_vector=noisy_motion:past_motion:step:condition" in reported
    assert agreement(tmp_path / "out", ["acl", "mindspore_lite"], speech) > 0.99


@pytest.mark.parametrize(("change", "said"), [
    (old_opset, "opset 15: AMCT takes 8 to 14"),
    (new_operator, "operator Unique (1x) is not on the list of ATC"),
    (less_outputs, "its outputs are {}; bundle.yaml says"),
])  # fmt: skip
def test_a_graph_that_would_be_refused_is_refused_before_anything_runs(change, said, tools, tmp_path, capsys):
    bundle = changed(tmp_path, change)
    for more in ([], ["--dry-run"]):
        assert convert.main([*words(tmp_path), "--bundle", str(bundle), *more]) == 78
        assert said in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_damaged_graph_is_reported(tools, tmp_path, capsys):
    bundle = tmp_path / "damaged"
    shutil.copytree(BUNDLE, bundle)
    with (bundle / "encoder.int8.onnx").open("r+b") as file:
        file.truncate(1000)
    assert convert.main([*words(tmp_path), "--bundle", str(bundle)]) == 78
    assert "is damaged or changed" in capsys.readouterr().err


def test_a_work_folder_that_the_tools_cannot_take_is_refused(tools, tmp_path, capsys):
    argv = words(tmp_path, "--route", "lite")
    argv[argv.index("--work") + 1] = str(tmp_path / "a,b")
    assert convert.main(argv) == 78
    assert "are split at" in capsys.readouterr().err


def test_trained_graphs_are_taken_when_they_are_given(tools, tmp_path, capsys, speech):
    """The fp32 graphs of models.export; here the float form of the shipped ones stands for them."""
    trained = tmp_path / "trained"
    trained.mkdir()
    for stage in ("encoder", "denoiser"):
        source = onnx.load(str(BUNDLE / f"{stage}.int8.onnx"))
        onnx.save(convert.rewritten(source, False), str(trained / f"{stage}.onnx"))
    assert convert.main(words(tmp_path, "--route", "calibrate", "--trained", str(trained))) == 0
    shown = capsys.readouterr().out.replace("'", "")  # quoted where a path holds a blank
    assert f"graphs.py float {trained}/encoder.onnx" in shown
    assert agreement(tmp_path / "out", ["acl"], speech) > 0.99
