"""Make the manual page and the shell completions from the command's own parser: ``python board/shell FOLDER``.

The files are kept in the repository, so that building a wheel needs no further tools; a test fails when they are old.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

import shtab

from board.shell.manual import manual
from sonic_edge.cli import make_parser


def mark_files(parser: argparse.ArgumentParser) -> None:
    """Say which arguments are files and which are folders, for all commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                mark_files(command)
        elif action.metavar == "FOLDER":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab's own field
        elif action.type is Path or action.metavar == "BUNDLE":  # a bundle may have a name alone
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own field


def completions(shell: str) -> str:
    """A shell's completions: `bash` or `zsh`."""
    parser = make_parser()
    mark_files(parser)
    text = shtab.complete(parser, shell)
    # offer files where bash finds nothing, as after --set fps=12, which it splits into several words
    return str(text).replace("\ncomplete -o bashdefault ", "\ncomplete -o bashdefault -o default ").rstrip("\n") + "\n"


def main() -> None:
    """Write the files, each under the name by which it is found."""
    folder = Path(sys.argv[1])
    for name, text in (
        ("sonic-edge", completions("bash")),
        ("_sonic-edge", completions("zsh")),
        ("sonic-edge.1", manual()),
    ):
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
