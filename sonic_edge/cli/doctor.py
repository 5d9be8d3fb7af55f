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
        "check every part of the box",
        "Check every part of the box and say how to fix what is wrong. Run as root, it checks as the daemon's user. "
        "Exit status: 0 if no check failed, 1 if one did, 78 if the settings are wrong.",
    )
    parser.add_argument("--json", action="store_true", help="print all findings as JSON once every check has run")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE.tar.gz",
        help="also write a support bundle: findings, versions, settings and log, without pictures, sound or names",
    )


def _doctor(args: argparse.Namespace) -> int:
    from ..doctor import check_path, examine, exit_status, write_bundle

    if args.bundle is not None:
        check_path(args.bundle)
    context, findings = examine(args.config, _ignore if args.json else _print)
    if args.json:
        import json

        text = json.dumps({"findings": [vars(f) for f in findings]}, ensure_ascii=False, indent=2)
        print(text.encode(errors="replace").decode())  # file names need not be UTF-8
    if args.bundle is not None:
        write_bundle(args.bundle, context, findings)
        print(f"support bundle: {args.bundle}", file=sys.stderr)
    return exit_status(findings)


def _print(finding: "Finding") -> None:
    print(finding.line(), flush=True)


def _ignore(_: "Finding") -> None:
    pass
