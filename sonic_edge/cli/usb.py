"""``sonic-edge usb``: jobs from a USB stick go into the inbox, their videos onto the stick.

The unit ``sonic-edge-stick@`` calls it by its old name, ``sonic-edge stick take | bring | done``, so that the unit also
works with an older release after a rollback.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from .options import Commands, add_command

_OLD_STEPS = {"take": "import", "bring": "export"}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "usb",
        _usb,
        "exchange jobs and videos with a USB stick",
        "What the unit sonic-edge-stick@ does when a USB stick is plugged in. import: put its jobs into the inbox, and "
        "wait until they have ended; export: write their results onto the stick; done: show on the screen that it may "
        "be removed; all: these three in order, for a folder that is mounted and writable.",
        aliases=("stick",),
    )
    parser.add_argument("step", type=_step, choices=("import", "export", "done", "all"))
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the stick is mounted")


def _step(text: str) -> str:
    return _OLD_STEPS.get(text, text)


def _usb(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..service.usb import announce_end, export_results, import_jobs

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    config = load_config(args.config)
    if args.step == "done":
        # systemd reports how the steps before ended; if the stick could not be mounted, there were none. A stick that
        # was pulled out (SIGTERM) is no failure in itself: the saved state says how far the steps came.
        result = os.environ.get("SERVICE_RESULT", "success")
        was_pulled = os.environ.get("EXIT_STATUS") == "TERM"
        announce_end(config, args.folder, failed=result not in ("success", "exec-condition") and not was_pulled)
        return 0
    if args.step == "all":
        try:
            import_jobs(config, args.folder)
            export_results(config, args.folder)
        finally:
            announce_end(config, args.folder, failed=sys.exc_info()[0] is not None)
        return 0
    (import_jobs if args.step == "import" else export_results)(config, args.folder)
    return 0
