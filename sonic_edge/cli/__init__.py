"""The command line: ``sonic-edge COMMAND``.

Here it is read, the command is done, and errors become words and an exit status. Each module adds its commands and does
them; `options` is what they share.
"""

import argparse
import io
import sys
from typing import List, Optional

from ..errors import SonicEdgeError
from . import doctor, jobs, model, orders, render, service, status, stick
from .options import EXIT_HELP, Parser


def main(argv: Optional[List[str]] = None) -> int:
    """Do what the command line says.

    Args:
        argv: Words after the program's name; None takes them from the process.

    Returns:
        The exit status.
    """
    args = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # paths come out as they are, UTF-8 or not
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        status: int = args.command(args)
        return status
    except SonicEdgeError as e:
        print(f"sonic-edge: {e}", file=sys.stderr)
        return e.exit_code
    except OSError as e:  # a name that is too long, an output that is full
        print(f"sonic-edge: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sonic-edge: interrupted", file=sys.stderr)
        return 130


def _parser() -> Parser:
    parser = Parser(
        prog="sonic-edge",
        description="Make a photo speak: a portrait and a recording become a talking video. Nothing leaves the box.",
        epilog=EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for part in (render, service, jobs, orders, status, model, stick, doctor):
        part.add(commands)
    return parser
