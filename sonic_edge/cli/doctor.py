"""``sonic-edge doctor``: what is wrong with this box, and what to do about it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .options import Commands, add_command

if TYPE_CHECKING:
    from ..doctor import Finding


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "doctor",
        _doctor,
        "look at every part of the box",
        "Look at every part of the box and say what to do about what is wrong. As root it looks with the eyes of the "
        "daemon's user. Exit status: 0 if nothing failed, 1 if something did, 78 if the settings are wrong.",
    )
    parser.add_argument("--json", action="store_true", help="the findings for programs, when all are there")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE.tar.gz",
        help="also pack findings, versions, settings and log for whoever helps: no pictures, no sound, no names",
    )


def _doctor(args: argparse.Namespace) -> int:
    from ..doctor import check_place, examine, exit_status, write_bundle

    if args.bundle is not None:
        check_place(args.bundle)
    case, findings = examine(args.config, _nothing if args.json else _print)
    if args.json:
        import json

        text = json.dumps({"findings": [vars(f) for f in findings]}, ensure_ascii=False, indent=2)
        print(text.encode(errors="replace").decode())  # names of files need not be UTF-8
    if args.bundle is not None:
        write_bundle(args.bundle, case, findings)
        print(f"packed for whoever helps: {args.bundle}", file=sys.stderr)
    return exit_status(findings)


def _print(finding: "Finding") -> None:
    print(finding.line(), flush=True)


def _nothing(_: "Finding") -> None:
    pass
