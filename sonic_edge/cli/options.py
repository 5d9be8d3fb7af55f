"""What the commands share."""

import argparse
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

EXIT_HELP = """exit status:
  0   success
  1   a part of the machine failed (disk, model runtime); trying again later may help
  2   this photo or this recording cannot be used, or the command line is wrong; the message says why
  78  the configuration or a control is wrong; the message says where
"""

Commands = Any
"""The type that ``ArgumentParser.add_subparsers`` returns; argparse has no public name for it."""


class Parser(argparse.ArgumentParser):
    """The parser of the command line, or of one command.

    Importing the settings takes a tenth of a second, and `--help` should not wait for it: the modules of the commands
    import them where they are used.
    """

    lazy_epilog: Optional[Callable[[], str]] = None
    """Makes the end of the help text, when help is asked for."""

    def format_help(self) -> str:
        """The whole help text."""
        if self.lazy_epilog is not None:
            self.epilog = self.lazy_epilog()
        return super().format_help()


def add_command(
    commands: Commands,
    name: str,
    do: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    aliases: Sequence[str] = (),
) -> Parser:
    """Add a command that takes ``--config``.

    Args:
        commands: Where to add it.
        name: Its name.
        do: Carries it out and returns the exit status.
        summary: A few words for the list of commands.
        description: What its own ``--help`` says.
        aliases: Other names that keep working.
    """
    parser: Parser = commands.add_parser(name, help=summary, description=description, aliases=aliases)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (YAML); without it the defaults apply"
    )
    parser.set_defaults(command=do)
    return parser


def run_folder(config: Optional[Path]) -> Path:
    """The folder that holds the daemon's socket."""
    from ..config import spool_root

    return spool_root(config) / "run"
