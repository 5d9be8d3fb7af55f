"""board/first-light.sh from end to end, with npu-smi, CANN, its devices and its runtimes made up (tests/doubles).

It proves that the script runs and reports what is wrong, but nothing about a chip.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import yaml
from chip_parts import DOUBLES, chip_bundle, file
from media_files import write_wav
from onnx import numpy_helper

from sonic_edge.config import share_dir

BOARD = Path(__file__).parents[2] / "board"
SAID = Path(__file__).parents[1].joinpath("npu_smi")

# the program, but its doctor looks for the chip's devices in a folder of ours and finds us in their group
_PROGRAM = """import grp, os, sys
from pathlib import Path
from types import SimpleNamespace
from sonic_edge.cli import main
from sonic_edge.doctor import chip
if sys.argv[1] == "doctor":
    chip.devices.__defaults__ = (Path({dev!r}),)
    chip.grp = SimpleNamespace(getgrnam=lambda name: SimpleNamespace(gr_gid=os.getegid()))
sys.exit(main())
"""


@pytest.fixture
def board(tmp_path):
    """A box with a 310B4; runs the script on it."""
    bin_, cann, dev = tmp_path / "bin", tmp_path / "cann", tmp_path / "dev"
    for folder in (bin_, cann / "lib64", dev):
        folder.mkdir(parents=True)
    for name in ("davinci0", "davinci_manager"):
        (dev / name).touch()

    def script(path, text):
        path.write_text(text)
        path.chmod(0o755)
        return path

    def put(name, text):
        return script(bin_ / name, f"#!/bin/sh\n{text}\n")

    put("npu-smi", f"cat {tmp_path}/said")
    (tmp_path / "said").write_text((SAID / "310B4_board.txt").read_text())
    put("python", f'exec "{sys.executable}" "$@"')
    (tmp_path / "program.py").write_text(_PROGRAM.format(dev=str(dev)))
    program = put("sonic-edge", f'exec "{sys.executable}" "{tmp_path}/program.py" "$@"')
    subprocess.run(["gcc", "-shared", "-x", "c", "/dev/null", "-o", str(cann / "lib64/libascendcl.so")], check=True)
    (cann / "set_env.sh").write_text(
        f"export LD_LIBRARY_PATH={cann}/lib64:$LD_LIBRARY_PATH\n"
        f'export PYTHONPATH="{DOUBLES}:$PYTHONPATH"\n'
        f"export ASCEND_TOOLKIT_HOME={cann}\n"
        f"export PATH={bin_}:$PATH\n"
    )
    speech = write_wav(tmp_path / "speech.wav", 1.2)

    def run(*words, with_cann=True, **around):
        place = ["--cann", cann] if with_cann else []
        files = [share_dir() / "samples/portrait.jpg", speech]
        command = [BOARD / "first-light.sh", *place, "--out", tmp_path / "out", *words, *files]
        environment = {"PATH": f"{bin_}:/usr/bin:/bin", "HOME": str(tmp_path), "SONIC_EDGE": str(program), **around}
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, env=environment, timeout=300
        )
        return done.returncode, done.stdout + done.stderr

    run.folder, run.script = tmp_path, put
    return run


@pytest.mark.parametrize("backend", ["acl", "mindspore_lite"])
def test_all_six_steps(board, backend):
    bundle = chip_bundle(board.folder / "bundle", backend)
    status, said = board("--backend", backend, "--bundle", bundle)
    assert status == 0, said
    for n in range(1, 7):
        assert f"[{n}/6] " in said
    assert "| 0       310B4" in said and "as ATC calls it: Ascend310B4" in said
    assert f"ok           CANN: {backend}" in said and "was compiled for this chip" in said
    parity = re.search(r"whole picture (\S+) dB .* lower face (\S+) .*: GOOD", said)
    assert parity is not None and "every frame the same" in parity[0]  # the doubles compute with the same weights
    for name in ("chip", "CPU"):
        assert re.search(
            rf"^{name} +model \d+\.\d+ s   whole video \d+\.\d+ s .*processor time \d+\.\d+ s$", said, re.M
        )
    assert "FIRST LIGHT: the model runs on the Ascend310B4" in said
    out = board.folder / "out"
    assert (out / f"{backend}.mp4").stat().st_size > 10000 and (out / "cpu.mp4").stat().st_size > 10000
    assert json.loads((out / f"{backend}.json").read_text())["model"]["backend"] == backend
    log = (out / "first-light.log").read_text()
    assert log in said and str(out / "first-light.log") in log


@pytest.mark.parametrize(
    "table, words",
    [
        ("broken_not_initialised.txt", ("-8005", "restart the box")),
        ("broken_no_chip.txt", ("lists no chip", "dmesg")),
    ],
)
def test_a_driver_that_does_not_answer_ends_it_at_once(board, table, words):
    (board.folder / "said").write_text((SAID / table).read_text())
    status, said = board()
    assert status == 1 and "STOPPED: the chip cannot be reached" in said and "[2/6]" not in said
    assert all(word in said for word in words)
    assert "first-light.log: send it" in said


def test_a_board_without_a_driver(board):
    (board.folder / "bin/npu-smi").unlink()
    status, said = board()
    assert status == 1 and "there is no npu-smi -> install the chip's driver" in said


def test_a_chip_that_is_not_there(board):
    status, said = board("--device", "3")
    assert status == 1 and "there is no chip 3 -> choose another with --device" in said


def test_a_chip_in_alarm_stops_the_script(board):
    (board.folder / "said").write_text((SAID / "310B1_alarm.txt").read_text())
    status, said = board()
    assert status == 1 and re.search("^FAILED +chip: .*its health is Alarm", said, re.M) and "[3/6]" not in said
    assert "full output of the doctor" in said


def test_no_cann(board):
    status, said = board(with_cann=False)
    assert status == 1 and "STOPPED: CANN is not found" in said and "--cann FOLDER" in said


def test_cann_that_does_not_load(board):
    (board.folder / "cann/lib64/libascendcl.so").unlink()
    status, said = board()
    assert status == 1 and re.search("^FAILED +CANN: .*libascendcl.so: cannot open", said, re.M)
    assert "the chip cannot be used as it is" in said


def test_a_model_for_another_chip_without_the_tools_to_compile_it(board):
    status, said = board("--backend", "acl")
    assert status == 1 and "not compiled for Ascend310B4, and there is no atc here" in said
    assert "python -m models.convert --soc Ascend310B4 --backend acl" in said and "--bundle FOLDER" in said


def test_a_model_is_compiled_where_the_tools_are(board):
    """The tools are the stand-ins of models/tests; what they make runs in the doubles of the runtimes."""
    stand_ins = BOARD.parent / "models/tests/stand_ins"
    for name in ("atc", "converter_lite"):
        board.script(name, f'exec "{sys.executable}" "{stand_ins / name}.py" "$@"')
    board.script("python3", f'PYTHONPATH="{stand_ins}" exec "{sys.executable}" "$@"')
    status, said = board("--backend", "acl")
    assert status == 0, said
    assert "acl for Ascend310B4, by route qat" in said and "was compiled" not in said.partition("[3/6]")[0]
    parity = re.search(r"whole picture (\S+) dB .* lower face (\S+) .*: GOOD", said)
    assert parity is not None


def test_without_amct_it_is_compiled_in_floating_point(board):
    stand_ins = BOARD.parent / "models/tests/stand_ins"
    for name in ("atc", "converter_lite"):
        board.script(name, f'exec "{sys.executable}" "{stand_ins / name}.py" "$@"')
    status, said = board("--backend", "acl")
    assert status == 0, said
    assert "there is no AMCT here" in said and "by route float" in said and ": GOOD" in said


def test_a_model_that_cannot_be_compiled_says_which_step(board):
    board.script("atc", "echo 'ATC run failed'; exit 1")
    board.script("python3", f'PYTHONPATH="{BOARD.parent}/models/tests/stand_ins" exec "{sys.executable}" "$@"')
    status, said = board("--backend", "acl")
    assert (
        status == 1
        and "STOPPED: the model could not be compiled" in said
        and "a second call continues from there" in said
    )


def test_a_model_that_the_chip_refuses(board):
    bundle = chip_bundle(board.folder / "bundle", "acl")
    status, said = board("--backend", "acl", "--bundle", bundle, CHIP_DOUBLE_FAULTS="acl.mdl.load_from_file@1=507008")
    assert status == 1 and "STOPPED: the model does not run on the chip" in said and "507008" in said
    assert "CANN's own log" in said and "[5/6]" not in said


@pytest.mark.parametrize("has_reference", [True, False])
def test_a_chip_that_computes_something_else_is_detected(board, has_reference):
    """Lips half as strong, as a wrong scale of one layer would make them: by the bundle's own case, else by eye."""
    bundle = chip_bundle(board.folder / "bundle", "acl")
    path = bundle / "encoder.om"
    description, graph = file.read(str(path), file.OM)
    model = onnx.load_from_string(graph)
    for weights in model.graph.initializer:
        if "heads.lips" in weights.name and weights.data_type == onnx.TensorProto.FLOAT:
            weights.CopyFrom(numpy_helper.from_array(0.3 * numpy_helper.to_array(weights), weights.name))
    file.write(path, file.OM, model.SerializeToString(), description)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = yaml.safe_load((bundle / "bundle.yaml").read_text())
    spec["stages"]["encoder"]["files"]["acl"]["sha256"] = digest
    if not has_reference:
        del spec["reference"]
    (bundle / "bundle.yaml").write_text(yaml.safe_dump(spec))
    status, said = board("--backend", "acl", "--bundle", bundle)
    assert status == 1 and "qat, calibrate, lite and float" in said
    if has_reference:
        assert "STOPPED: the model computes something else on the chip" in said and "lips of encoder r" in said
    else:
        assert "TOO FAR APART" in said and "STOPPED: the chip's video differs from the CPU's" in said
        assert "cpu.mp4" in said


@pytest.mark.parametrize(
    "words, reported",
    [
        (["--backend", "gpu"], "--backend gpu: must be acl or mindspore_lite"),
        (["--colour"], "--colour: unexpected argument"),
        (["--device", "one"], "--device one: must be a whole number"),
    ],
)
def test_an_invalid_command_line_is_refused(board, words, reported):
    status, said = board(*words)
    assert status == 1 and reported in said and "[1/6]" not in said


def test_without_sonic_edge_there_is_nothing_to_run(board, tmp_path):
    (tmp_path / "board").mkdir()
    copy = tmp_path / "board/first-light.sh"
    copy.write_text((BOARD / "first-light.sh").read_text())
    environment = {"PATH": os.environ["PATH"], "SONIC_EDGE": "/nowhere"}
    done = subprocess.run(["sh", copy, "--out", tmp_path / "o"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "Sonic Edge is not installed" in done.stdout


def test_they_are_posix_shell():
    assert subprocess.run(["sh", "-n", str(BOARD / "first-light.sh")], timeout=60).returncode == 0
