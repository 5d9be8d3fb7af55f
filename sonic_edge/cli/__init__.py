"""The command line: ``sonic-edge COMMAND``.

This module parses the arguments, runs the command, and turns errors into a message and an exit status. Each of the
others adds its commands and carries them out; `options` is what they share.
"""

import argparse
import io
import os
import platform
import sys
from typing import Any, List, Optional

from ..errors import SonicEdgeError
from . import doctor, jobs, model, orders, render, service, status, usb
from .options import EXIT_HELP, Parser

EXIT_PIPE = 141
"""What a shell reports for a program that SIGPIPE killed: 128 + 13."""


def main(argv: Optional[List[str]] = None) -> int:
    """Parse the command line and run the command.

    Args:
        argv: Arguments after the program's name; None: those of the process.

    Returns:
        The exit status.
    """
    try:
        try:
            args = make_parser().parse_args(argv)
            if isinstance(sys.stdout, io.TextIOWrapper):  # paths are printed as they are, UTF-8 or not
                sys.stdout.reconfigure(errors="surrogateescape")
            status: int = args.command(args)
            return status
        finally:
            if sys.stdout is not None:  # a failed write is reported here, not while the interpreter exits
                sys.stdout.flush()
    except SonicEdgeError as e:
        print(f"sonic-edge: {e}", file=sys.stderr)
        return e.exit_code
    except BrokenPipeError:  # the reader, `head` perhaps, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except OSError as e:  # a name that is too long, a full disk
        print(f"sonic-edge: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sonic-edge: interrupted", file=sys.stderr)
        return 130


class _Version(argparse.Action):
    """``--version``: the version is looked up only when asked for, which keeps other commands fast."""

    def __init__(self, option_strings: List[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the versions of Sonic Edge and Python, and exit")

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
    for part in (render, service, jobs, orders, status, model, usb, doctor):
        part.add(commands)
    return parser
