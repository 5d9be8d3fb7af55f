"""The manual page, and what bash and zsh complete: board/shell, as a shell and man take it."""

import argparse
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sonic_edge.cli import make_parser
from sonic_edge.config import Controls

SHELL = Path(__file__).parents[2] / "board/shell"
NAMES = ("sonic-edge", "_sonic-edge", "sonic-edge.1")


def commands(parser, words=()):
    """Each command with its words: render, model list, ..."""
    yield list(words), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from commands(command, [*words, name])


COMMANDS = list(commands(make_parser()))


@pytest.mark.parametrize("name", NAMES)
def test_they_are_what_the_command_line_gives(name, tmp_path):
    subprocess.run([sys.executable, SHELL, tmp_path], check=True)
    assert (SHELL / name).read_text() == (tmp_path / name).read_text(), "the command line has changed: make shell"


def bash(folder, *words):
    """What bash offers for the last of these words, in a folder."""
    script = f"""
        source {shlex.quote(str(SHELL))}/sonic-edge
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "$(complete -p sonic-edge | sed 's/.* -F \\([^ ]*\\) .*/\\1/')" 2>&1
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", "sonic-edge", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("me.jpg", "hello.wav"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("words, parser", COMMANDS, ids=lambda value: " ".join(value) if type(value) is list else "")
def test_bash_knows_every_command_and_option(words, parser, tmp_path):
    options = {option for action in parser._actions for option in action.option_strings}
    assert bash(tmp_path, *words, "-") == options
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert bash(tmp_path, *words, "") == set(action.choices)


@pytest.mark.parametrize(
    "words, offered",
    [
        (["re"], {"render", "retry"}),
        (["model", "in"], {"install"}),
        (["talk", ""], {"start", "stop"}),
        (["usb", "e"], {"export"}),
        (["usb", "import", "m"], {"mine"}),
        (["render", "m"], {"me.jpg", "mine"}),
        (["render", "me.jpg", "h"], {"hello.wav"}),
        (["render", "me.jpg", "hello.wav", "-o", "m"], {"me.jpg", "mine"}),
        (["run", "--config", ""], {"me.jpg", "hello.wav", "mine"}),
        (["model", "check", "mi"], {"mine"}),
        (["render", "nowhere"], set()),
        (["nonsense", ""], set(dict(COMMANDS[0][1]._subparsers._group_actions[0].choices))),
    ],
)
def test_what_bash_offers(words, offered, folder):
    assert bash(folder, *words) == offered


@pytest.fixture
def typed(folder):
    """The words that the command is given when a person types something into bash."""
    program = folder / "sonic-edge"
    program.write_text("#!/bin/sh\nprintf '<%s>' \"$@\" end\n")
    program.chmod(0o755)

    def typed(keys):
        parent, child = pty.openpty()
        process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=folder,
            env={"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "dumb"},
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        os.write(parent, f"source {shlex.quote(str(SHELL))}/sonic-edge\n{keys}\n".encode())
        shown = ""
        while "<end>" not in shown and select.select([parent], [], [], 60)[0]:
            shown += os.read(parent, 4096).decode()
        process.kill()
        process.wait()
        os.close(parent)
        return re.findall("<(.*?)>", shown)

    return typed


@pytest.mark.parametrize(
    "keys, words",
    [
        ("sonic-edge che\t", ["check-config"]),
        ("./sonic-edge render me\t h\t --sh\t", ["render", "me.jpg", "hello.wav", "--sheet"]),
        ("sonic-edge render --set fps=12 me\t", ["render", "--set", "fps=12", "me.jpg"]),
    ],
)
def test_bash_completes_what_is_typed(keys, words, typed):
    assert typed(keys) == [*words, "end"]


def test_zsh_takes_it(tmp_path):
    if shutil.which("zsh") is None:
        print("\nNOT RUN: completion in zsh: there is none here")
        return
    shutil.copy(SHELL / "_sonic-edge", tmp_path)
    script = f"""
        zmodload zsh/zpty
        zpty z zsh -f -i
        zpty -w z 'PS1= ; fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u -D; cd {tmp_path}'
        zpty -w z $'sonic-edge che\\t'
        zpty -r -m z shown '*check-config*' && print -r -- $shown
    """
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, timeout=60)
    assert "sonic-edge check-config" in done.stdout, done.stderr


def manual():
    return (SHELL / "sonic-edge.1").read_text()


def test_the_manual_has_everything():
    text = manual().replace("\\-", "-")
    for _, parser in COMMANDS:
        if not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions):
            assert f"\n.SS {parser.prog}\n" in text  # under its first name, if it has two
        for action in parser._actions:
            for option in set(action.option_strings) - {"-h", "--help"}:
                assert f"\\fB{option}\\fR" in text
    for name in Controls.model_fields:
        assert re.search(rf"^\\fB{name}\\fR=.+\n\S", text, re.MULTILINE)
    for status in (0, 1, 2, 78):
        assert f"\n\\fB{status}\\fR\n" in text


def test_the_manual_is_well_formed():
    checks = {"man": ["--warnings", "-l"], "mandoc": ["-T", "lint", "-W", "warning"]}
    for program, words in checks.items():
        if shutil.which(program) is None:
            print(f"\nNOT RUN: {program} {' '.join(words)}: there is no {program} here")
            continue
        environment = {**os.environ, "MANPAGER": "cat", "LANG": "C.UTF-8"}
        done = subprocess.run(
            [program, *words, SHELL / "sonic-edge.1"], capture_output=True, text=True, env=environment, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        if program == "man":
            assert "sonic-edge - make a photo speak" in done.stdout
        else:
            assert done.stdout == ""
