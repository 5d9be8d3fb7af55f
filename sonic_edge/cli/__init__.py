"""The command line: ``sonic-edge COMMAND``.

Here it is read, the command is done, and errors become words and an exit status. Each module adds its commands and does
them; `options` is what they share.
"""

import argparse
import io
import os
import platform
import sys
from typing import Any, List, Optional

from ..errors import SonicEdgeError
from . import doctor, jobs, model, orders, render, service, status, stick
from .options import EXIT_HELP, Parser

EXIT_PIPE = 141
"""As a shell has it for a program that SIGPIPE ended."""


def main(argv: Optional[List[str]] = None) -> int:
    """Do what the command line says.

    Args:
        argv: Words after the program's name; None takes them from the process.

    Returns:
        The exit status.
    """
    try:
        try:
            args = make_parser().parse_args(argv)
            if isinstance(sys.stdout, io.TextIOWrapper):  # paths come out as they are, UTF-8 or not
                sys.stdout.reconfigure(errors="surrogateescape")
            status: int = args.command(args)
            return status
        finally:
            if sys.stdout is not None:  # what cannot be written is reported here, not when the interpreter ends
                sys.stdout.flush()
    except SonicEdgeError as e:
        print(f"sonic-edge: {e}", file=sys.stderr)
        return e.exit_code
    except BrokenPipeError:  # who read it, `head` perhaps, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except OSError as e:  # a name that is too long, an output that is full
        print(f"sonic-edge: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sonic-edge: interrupted", file=sys.stderr)
        return 130


class _Version(argparse.Action):
    """``--version``: told without being looked up each time a command is read."""

    def __init__(self, option_strings: List[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="the version of Sonic Edge and of its Python, and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"sonic-edge {version('sonic-edge')}, Python {platform.python_version()}")
        parser.exit()


def make_parser() -> Parser:
    """The whole command line; the manual page and the completions are made from it too."""
    parser = Parser(
        prog="sonic-edge",
        description="Make a photo speak: a portrait and a recording become a talking video. Nothing leaves the box.",
        epilog=EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for part in (render, service, jobs, orders, status, model, stick, doctor):
        part.add(commands)
    return parser
