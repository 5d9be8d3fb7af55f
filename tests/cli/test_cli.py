import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from waiting import until

from sonic_edge.cli import main
from sonic_edge.config import Config, Controls, commented_yaml, share_dir


def test_check_config_prints_the_values_in_force(capsys):
    assert main(["check-config"]) == 0
    assert capsys.readouterr().out == commented_yaml(Config())


def test_check_config_reports_every_mistake_and_exits_78(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text("controls: {fps: 5, sead: 1}\n")
    assert main(["check-config", "--config", str(path)]) == 78
    said = capsys.readouterr().err
    assert "controls.fps = 5: must be a whole number from 10 to 60 frames a second" in said
    assert "did you mean seed?" in said


@pytest.mark.parametrize(
    "words, status, said",
    [
        (["--set", "fps=5"], 78, "--set: fps = 5: must be a whole number from 10 to 60 frames a second"),
        (["--set", "nonsense"], 78, "must be of the form key=value"),
        (["--config", "/nowhere.yaml"], 78, "/nowhere.yaml: cannot be read"),
        (["-o", "out.avi"], 2, "must end in .mp4"),
        (["-o", "/nowhere/out.mp4"], 2, "there is no folder /nowhere"),
        (["--sheet", "look.jpg"], 2, "look.jpg: the contact sheet is a PNG file; its name must end in .png"),
        (["--sheet", "/nowhere/look.png"], 2, "must be the name of a file in a folder that exists"),
    ],
)
def test_mistakes_end_in_words_and_their_own_status(words, status, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = [] if "-o" in words else ["-o", "out.mp4"]
    assert main(["render", "a.jpg", "b.wav", *output, *words]) == status
    err = capsys.readouterr().err
    assert said in err and err.startswith("sonic-edge: ") and "Traceback" not in err


def test_the_result_may_not_replace_an_input(tmp_path, capsys):
    video = tmp_path / "talk.mp4"
    video.write_bytes(b"x")
    assert main(["render", "a.jpg", str(video), "-o", str(video)]) == 2
    assert "is named twice, or is an input" in capsys.readouterr().err
    assert video.read_bytes() == b"x"


@pytest.mark.parametrize("report", ["say.wav", "me.jpg", "out.mp4", "nowhere/r.json", "folder"])
def test_the_report_may_not_replace_anything(report, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    for name in ("say.wav", "me.jpg"):
        (tmp_path / name).write_bytes(b"x")
    words = [str(tmp_path / name) for name in ("me.jpg", "say.wav")]
    assert main(["render", *words, "-o", str(tmp_path / "out.mp4"), "--report", str(tmp_path / report)]) == 2
    assert "needs a name of its own" in (said := capsys.readouterr().err) or "in a folder that exists" in said
    assert (tmp_path / "say.wav").read_bytes() == (tmp_path / "me.jpg").read_bytes() == b"x"


@pytest.mark.parametrize("sheet", ["me.png", "report.png", "folder.png"])
def test_the_sheet_may_not_replace_anything(sheet, tmp_path, capsys):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "me.png").write_bytes(b"x")
    words = [str(tmp_path / name) for name in ("me.png", "say.wav")]
    results = ["--report", str(tmp_path / "report.png"), "--sheet", str(tmp_path / sheet)]
    assert main(["render", *words, "-o", str(tmp_path / "out.mp4"), *results]) == 2
    assert "needs a name of its own" in (said := capsys.readouterr().err) or "in a folder that exists" in said
    assert (tmp_path / "me.png").read_bytes() == b"x"


def test_a_name_too_long_ends_in_words(tmp_path, capsys):
    assert main(["render", "x" * 300 + ".jpg", "say.wav", "-o", str(tmp_path / "out.mp4")]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_help_names_every_control_with_its_range(capsys):
    with pytest.raises(SystemExit) as e:
        main(["render", "--help"])
    assert e.value.code == 0
    said = capsys.readouterr().out
    for name in Controls.model_fields:
        assert f"{name}=" in said
    assert "128 to 1024 pixels" in said and "exit status:" in said


@pytest.fixture
def with_ctrl_c():
    """A shell's background processes, and their children, ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.usefixtures("with_ctrl_c")
def test_a_stopped_render_leaves_nothing(number, status, tmp_path, make_speech):
    speech = make_speech(tmp_path / "long.wav", 60)
    out = tmp_path / "out" / "talk.mp4"
    out.parent.mkdir()
    command = [
        sys.executable,
        "-m",
        "sonic_edge",
        "render",
        share_dir() / "samples" / "portrait.jpg",
        speech,
        "-o",
        out,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: list(out.parent.iterdir()), "it must have begun to write")
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in said
    assert list(out.parent.iterdir()) == []


def test_help_does_not_load_what_it_does_not_need():
    code = (
        "import sys\nfrom sonic_edge.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'cv2', 'av', 'onnxruntime'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_names_that_are_not_utf8(tmp_path, short_speech):
    folder = os.fsencode(tmp_path)
    speech, video, report = folder + b"/\xff\xfe.wav", folder + b"/\xfd.mp4", folder + b"/report.json"
    shutil.copy(short_speech, speech)
    words = [share_dir() / "samples" / "portrait.jpg", speech, b"-o", video, b"--report", report]
    command = [sys.executable, "-m", "sonic_edge", "render", "--set", "inference_steps=1", *words]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == video + b"\n" and Path(os.fsdecode(video)).is_file()
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["result"] == "?.mp4"


PROGRAM = Path(sys.executable).parent / "sonic-edge"


def test_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sonic-edge {version('sonic-edge')}, Python {platform.python_version()}\n"


@pytest.mark.parametrize("words", [["check-config"], ["--help"], ["model", "list"]])
def test_a_closed_pipe_is_not_an_error(words):
    """As ``| head`` is."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        done = subprocess.run([PROGRAM, *words], stdout=out, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "" and done.returncode in (0, 141)


def test_a_full_output_disk_is_reported():
    with Path("/dev/full").open("wb") as out:
        done = subprocess.run([PROGRAM, "check-config"], stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "sonic-edge: [Errno 28] No space left on device\n")
