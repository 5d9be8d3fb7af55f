"""What board/install.sh refuses, in words and before it changes anything. board/virtual has it install and upgrade."""

import os
import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[1] / "board" / "install.sh"


def install(*words, as_nobody=False):
    command = [str(INSTALL), *words]
    if as_nobody and os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "words, told",
    [
        (["--wheel"], "--wheel: a name must follow it"),
        (["--wheel", "/nowhere/new.whl"], "--wheel /nowhere/new.whl: there is no such thing"),
        (["--find-links", "/nowhere"], "--find-links /nowhere: there is no such thing"),
        (["live", "colour"], "colour: means nothing here"),
        (["--remove"], "--remove: means nothing here"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(words, told):
    done = install(*words)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stdout == ""


def test_only_root_installs():
    done = install("live", as_nobody=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "must be run as root" in done.stderr


def test_it_is_posix_shell():
    assert subprocess.run(["sh", "-n", str(INSTALL)], timeout=60).returncode == 0
