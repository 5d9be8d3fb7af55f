"""``sonic-edge stick``: a USB stick's jobs go in, their videos come back. The unit ``sonic-edge-stick@`` calls it."""

import argparse
import logging
import os
import sys
from pathlib import Path

from .options import Commands, add_command


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "stick",
        _stick,
        "take jobs from a USB stick, and bring results",
        "What the unit sonic-edge-stick@ does when a stick is plugged in. take: put its jobs into the inbox, and wait "
        "until they have ended; bring: write their results onto it; done: say that it may be pulled; all: one after "
        "the other, for a folder that is mounted and writable.",
    )
    parser.add_argument("step", choices=("take", "bring", "done", "all"))
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the stick is mounted")


def _stick(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..service.usb import bring, done, take

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    config = load_config(args.config)
    if args.step == "done":
        # systemd says how the steps before went, of which there may have been none: a stick that could not be mounted.
        # One that ended them by being pulled is no failure in itself: what they noted tells how far they came.
        ended = os.environ.get("SERVICE_RESULT", "success")
        pulled = os.environ.get("EXIT_STATUS") == "TERM"
        done(config, args.folder, failed=ended not in ("success", "exec-condition") and not pulled)
        return 0
    if args.step == "all":
        try:
            take(config, args.folder)
            bring(config, args.folder)
        finally:
            done(config, args.folder, failed=sys.exc_info()[0] is not None)
        return 0
    (take if args.step == "take" else bring)(config, args.folder)
    return 0
