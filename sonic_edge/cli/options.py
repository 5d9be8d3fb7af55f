"""What the commands share."""

import argparse
from pathlib import Path
from typing import Any, Callable, Optional

EXIT_HELP = """exit status:
  0   done
  1   a part of the machine failed (disk, model runtime): trying again later may help
  2   this photo or this recording cannot be used, or the command line is wrong; the message says why
  78  the configuration or a control is wrong; the message says where
"""

Commands = Any
"""What ``ArgumentParser.add_subparsers`` gives; argparse has no public name for it."""


class Parser(argparse.ArgumentParser):
    """The command line, or that of a command.

    Settings take a tenth of a second to load, which `--help` is not to wait for: modules of commands import them where
    they are used.
    """

    last_words: Optional[Callable[[], str]] = None
    """Makes the end of its help, when that is asked for."""

    def format_help(self) -> str:
        """All of its help."""
        if self.last_words is not None:
            self.epilog = self.last_words()
        return super().format_help()


def add_command(
    commands: Commands, name: str, do: Callable[[argparse.Namespace], int], summary: str, description: str
) -> Parser:
    """A command that takes ``--config``.

    Args:
        commands: Where to add it.
        name: Its name.
        do: Does it; its exit status.
        summary: A few words for the list of commands.
        description: What its own ``--help`` says.
    """
    parser: Parser = commands.add_parser(name, help=summary, description=description)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML; without it the defaults hold")
    parser.set_defaults(command=do)
    return parser


def run_folder(config: Optional[Path]) -> Path:
    """Where the daemon's socket is."""
    from ..config import spool_root

    return spool_root(config) / "run"
