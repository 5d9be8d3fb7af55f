"""The manual page, from the parser and the settings. What the format means: groff_man(7).

argparse-manpage would leave out the controls and the exit statuses, which a command's help has as words of its own.
"""

import argparse
import configparser
import os
import re
from pathlib import Path
from typing import Iterator, List

from sonic_edge.cli import make_parser
from sonic_edge.cli.options import EXIT_HELP
from sonic_edge.config import Controls
from sonic_edge.config.mistakes import allowed

CHECKOUT = Path(__file__).resolve().parents[2]

FILES = {
    "/etc/sonic-edge/sonic-edge.yaml": "The settings of an installed box, each with a comment; "
    "`sonic-edge check-config` prints such a file.",
    "/var/spool/sonic-edge": "Its jobs: inbox, work, outbox and failed.",
    "/var/lib/sonic-edge/models": "Its operator's own models.",
    "/opt/sonic-edge/current/share/doc/sonic-edge": "More to read.",
}


def plain(text: str) -> str:
    """Words that groff takes as they are, on one line."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti")
    text = text.replace("`", "\\(ga").replace('"', "\\(dq")
    return re.sub(r"^(?=[.'])", r"\\&", text)


def item(head: str, text: str) -> List[str]:
    """One thing and what it means."""
    return [".TP", head, plain(text)]


def manual() -> str:
    """The page.

    Raises:
        ValueError: If the change log has no release with its day.
    """
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    released = re.search(r"^## \[[\d.]+\] - (\S+)$", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    if released is None:
        raise ValueError("CHANGELOG.md: must have a release with its day: ## [0.2.0] - 2026-12-01")
    parser = make_parser()
    lines = [
        r".\" Made by `make shell` from the command line's parser: change that.",
        f'.TH SONIC\\-EDGE 1 {released[1]} "Sonic Edge {settings["metadata"]["version"]}" "User Commands"',
        ".SH NAME",
        r"sonic\-edge \- make a photo speak",
        ".SH SYNOPSIS",
        *usage(parser),
        ".SH DESCRIPTION",
        plain(parser.description or ""),
        ".SH OPTIONS",
        *arguments(parser),
        ".SH COMMANDS",
        *commands(parser),
        ".SH CONTROLS",
        plain("How the face moves and how the video comes out: after --set, in a job's job.yaml, or in the settings."),
    ]
    for name, field in Controls.model_fields.items():
        head = f"\\fB{plain(name)}\\fR={plain(str(field.default))} ({plain(allowed(field))})"
        lines += item(head, field.description or "")
    lines.append(".SH EXIT STATUS")
    for status, text in re.findall(r"^  (\d+) +(.+)$", EXIT_HELP, re.M):
        lines += item(f"\\fB{status}\\fR", text)
    lines.append(".SH FILES")
    for path, text in FILES.items():
        lines += item(f"\\fI{plain(path)}\\fR", text)
    return "\n".join([*lines, ".SH SEE ALSO", r".BR systemctl (1),", r".BR journalctl (1)"]) + "\n"


def commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Each command, and those below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                if any(isinstance(a, argparse._SubParsersAction) for a in command._actions):
                    yield from commands(command)
                    continue
                yield f".SS {plain(command.prog)}"
                yield from usage(command)
                yield ".PP"
                yield plain(command.description or "")
                yield from arguments(command)


def usage(parser: argparse.ArgumentParser) -> List[str]:
    """How it is called."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"  # all in one line
    words = parser.format_usage().partition(parser.prog)[2]
    os.environ.pop("COLUMNS")
    if before is not None:
        os.environ["COLUMNS"] = before
    # a line ends between two arguments, not within one
    parts = re.findall(r"\[[^]]*\](?:\]|(?= )|$)|-\w \S+|\S+", words)
    return [f".B {plain(parser.prog)}", " ".join(plain(part).replace(" ", "\\ ") for part in parts)]


def arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What follows it, but for --help, which every command has, and commands."""
    help_of = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        value = action.metavar or (action.choices and "|".join(action.choices)) or action.dest.upper()
        named = f"\\fI{plain(str(value))}\\fR"
        if action.option_strings:
            value = "" if action.nargs == 0 else f" {named}"
            named = ", ".join(f"\\fB{plain(option)}\\fR" for option in action.option_strings) + value
        yield from item(named, help_of._expand_help(action) if action.help else "")
