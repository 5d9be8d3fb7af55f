"""board/ascend_env.sh, on trees that look like CANN's. Nobody here has a real one.

The set_env.sh files are ours, modelled on CANN's: lists of exports that prepend themselves to a value, set or
not (5 to 8.0, as people have copied them into their own scripts); since 8.5 a bash script that finds itself and asks
the set-up files of its parts (github repo-mirror-test/opbase scripts/package/ops_base/scripts/setenv.bash).
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "board" / "ascend_env.sh"

LIST = """\
export ASCEND_TOOLKIT_HOME={home}/latest
export LD_LIBRARY_PATH=${{ASCEND_TOOLKIT_HOME}}/lib64:${{ASCEND_TOOLKIT_HOME}}/lib64/plugin/opskernel:$LD_LIBRARY_PATH
export LD_LIBRARY_PATH=${{ASCEND_TOOLKIT_HOME}}/opp/op_tiling/lib/linux/$(uname -m):$LD_LIBRARY_PATH
export PYTHONPATH=${{ASCEND_TOOLKIT_HOME}}/python/site-packages:${{ASCEND_TOOLKIT_HOME}}/opp/tbe:$PYTHONPATH
export PATH=${{ASCEND_TOOLKIT_HOME}}/bin:${{ASCEND_TOOLKIT_HOME}}/compiler/ccec_compiler/bin:$PATH
export ASCEND_AICPU_PATH=${{ASCEND_TOOLKIT_HOME}}
export ASCEND_OPP_PATH=${{ASCEND_TOOLKIT_HOME}}/opp
export TOOLCHAIN_HOME=${{ASCEND_TOOLKIT_HOME}}/toolkit
export ASCEND_HOME_PATH=${{ASCEND_TOOLKIT_HOME}}
export CMAKE_PREFIX_PATH=${{ASCEND_TOOLKIT_HOME}}/cmake:$CMAKE_PREFIX_PATH
"""

FUNCTIONS = """\
#!/bin/bash
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
prepend() {
    local name=$1 part=$2
    [[ ":${!name}:" == *":$part:"* ]] || export "$name=$part:${!name}"
}
for part in runtime compiler; do
    [ -f "$here/$part/setenv.bash" ] && . "$here/$part/setenv.bash" multi_version
done
prepend LD_LIBRARY_PATH "$here/lib64"
prepend PYTHONPATH "$here/python/site-packages"
prepend PATH "$here/bin"
export ASCEND_HOME_PATH="$here" ASCEND_TOOLKIT_HOME="$here"
echo "CANN is set up"
[ -n "$NEVER_SET" ] && return 1
"""


@pytest.fixture
def cann(tmp_path):
    """Puts a set_env.sh below a home and runs the script with that home; returns status, output lines, messages."""

    def run(place, text, *words, **around):
        if place is not None:
            path = tmp_path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **around}
        done = subprocess.run(
            [str(SCRIPT), *map(str, words)], capture_output=True, text=True, env=environment, timeout=60
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    return run


def _read(lines):
    """As a shell reads them; systemd.exec(5) reads text in double quotes in the same way."""
    names = [line.partition("=")[0] for line in lines]
    assert all(line.partition("=")[2][0] == line[-1] == '"' for line in lines)
    script = "\n".join([*lines, *(f'printf "%s\\0" "${name}"' for name in names)])
    said = subprocess.run(["sh", "-euc", script], capture_output=True, check=True, env={}).stdout
    return dict(zip(names, said.decode().split("\0")))


def test_without_cann_there_is_nothing_and_that_is_no_failure(cann):
    assert cann(None, "") == (0, [], "")


def test_what_a_toolkit_adds_and_nothing_else(cann, tmp_path):
    home = tmp_path / "Ascend/ascend-toolkit"
    around = {"LD_LIBRARY_PATH": "/mine", "PYTHONPATH": "/mine", "ASCEND_MINE": "1", "SECRET": "1"}
    status, lines, said = cann("Ascend/ascend-toolkit/set_env.sh", LIST.format(home=home), **around)
    assert status == 0 and "set_env.sh" in said and "reading" in said
    found = _read(lines)
    latest = f"{home}/latest"
    assert set(found) == {
        *("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "TOOLCHAIN_HOME"),
        *(f"ASCEND_{name}" for name in ("TOOLKIT_HOME", "AICPU_PATH", "OPP_PATH", "HOME_PATH")),
    }
    assert found["LD_LIBRARY_PATH"].split(":") == [
        f"{latest}/opp/op_tiling/lib/linux/{os.uname().machine}",
        f"{latest}/lib64",
        f"{latest}/lib64/plugin/opskernel",
    ]
    assert found["PYTHONPATH"] == f"{latest}/python/site-packages:{latest}/opp/tbe"
    first, second, *_, last = found["PATH"].split(":")
    assert (first, second, last) == ("/opt/sonic-edge/current/bin", f"{latest}/bin", "/bin")


def test_a_set_env_with_functions_noise_unset_names_and_a_failing_end(cann, tmp_path):
    here = tmp_path / "Ascend/cann-8.5.0"
    (here / "runtime").mkdir(parents=True)
    (here / "runtime/setenv.bash").write_text('export ASCEND_RUNTIME_PATH="$here/runtime"\n')
    status, lines, _ = cann("Ascend/cann-8.5.0/set_env.sh", FUNCTIONS)
    found = _read(lines)
    assert status == 0
    assert found["LD_LIBRARY_PATH"] == f"{here}/lib64"  # no empty entry: that would be the current folder
    assert found["PYTHONPATH"] == f"{here}/python/site-packages" and found["ASCEND_RUNTIME_PATH"] == f"{here}/runtime"


def test_a_set_env_that_exits_is_still_read(cann):
    status, lines, _ = cann("Ascend/nnrt/set_env.sh", "export LD_LIBRARY_PATH=/a\nexit 7\nexport ASCEND_LATE=1\n")
    assert status == 0 and _read(lines)["LD_LIBRARY_PATH"] == "/a" and "ASCEND_LATE" not in _read(lines)


@pytest.mark.parametrize(
    "there, taken",
    [
        (["nnrt", "ascend-toolkit"], "ascend-toolkit"),
        (["nnrt", "nnae"], "nnae"),
        (["cann-8.5.0", "cann-10.0.0", "cann-9.1.0"], "cann-10.0.0"),
        (["cann-8.5.0", "cann"], "cann"),
        (["ascend-toolkit/latest"], "ascend-toolkit/latest"),
    ],
)
def test_of_several_the_whole_one_and_the_newest_is_taken(cann, there, taken):
    for name in there:
        status, lines, _ = cann(f"Ascend/{name}/set_env.sh", f"export LD_LIBRARY_PATH=/{name}\n")
    assert status == 0 and _read(lines)["LD_LIBRARY_PATH"] == f"/{taken}"


@pytest.mark.parametrize("word", ["my cann/set_env.sh", "my cann", ""])
def test_another_place_can_be_named(cann, tmp_path, word):
    status, lines, _ = cann("my cann/set_env.sh", "export LD_LIBRARY_PATH=/named\n", tmp_path / (word or "my cann"))
    assert status == 0 and _read(lines)["LD_LIBRARY_PATH"] == "/named"
    by_name = cann(None, "", ASCEND_HOME=str(tmp_path / "my cann"))
    assert by_name[:2] == (0, lines)


def test_a_place_that_was_named_must_hold_one(cann, tmp_path):
    status, lines, said = cann(None, "", tmp_path / "nowhere")
    assert (status, lines) == (1, []) and f"{tmp_path}/nowhere: there is no set_env.sh" in said


def test_shell_metacharacters_survive(cann):
    odd = "a \"b\" $HOME `id` \\ 'c' & ; # % *"
    text = "export LD_LIBRARY_PATH=/a\nexport ASCEND_ODD='" + odd.replace("'", "'\\''") + "'\n"
    text += "export ASCEND_LINES='a\nb'\n"
    _, lines, _ = cann("Ascend/nnrt/set_env.sh", text)
    found = _read(lines)
    assert found["ASCEND_ODD"] == odd and "ASCEND_LINES" not in found  # a line of such a file has one line


def test_a_set_env_that_names_no_libraries_is_not_taken(cann):
    status, lines, said = cann("Ascend/nnrt/set_env.sh", "export ASCEND_HOME_PATH=/a\n")
    assert (status, lines) == (1, []) and "names no libraries" in said


def test_one_that_does_not_end_is_given_up(cann, tmp_path):
    quick = tmp_path / "ascend_env.sh"
    quick.write_text(SCRIPT.read_text().replace("timeout 30", "timeout 1"))
    (tmp_path / "set_env.sh").write_text("export LD_LIBRARY_PATH=/a\nsleep 60 & wait\n")
    done = subprocess.run(["sh", quick, tmp_path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and done.stdout == "" and "did not finish" in done.stderr


def test_root_runs_it_as_its_owner(cann, tmp_path):
    if os.geteuid() != 0:  # everybody else runs it as themselves
        _, lines, _ = cann("Ascend/nnrt/set_env.sh", "export LD_LIBRARY_PATH=/$(id -u)\n")
        assert _read(lines)["LD_LIBRARY_PATH"] == f"/{os.geteuid()}"
        return
    place = Path("/tmp") / f"ascend-env-{os.getpid()}"  # tmp_path may not be entered by others
    place.mkdir(mode=0o755)
    try:
        (place / "set_env.sh").write_text("export LD_LIBRARY_PATH=/$(id -u)\n")
        os.chown(place / "set_env.sh", 65534, 65534)
        status, lines, _ = cann(None, "", place)
        assert status == 0 and _read(lines)["LD_LIBRARY_PATH"] == "/65534"
    finally:
        shutil.rmtree(place)


def test_it_is_posix_shell():
    assert subprocess.run(["sh", "-n", str(SCRIPT)], timeout=60).returncode == 0
