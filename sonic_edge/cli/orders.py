"""Orders to the running daemon, as `service.orders` lists them: ``sonic-edge talk | mute | cancel | ...``."""

import argparse

from .options import Commands, add_command, run_folder


def add(commands: Commands) -> None:
    """Add the commands."""
    from ..service.orders import ORDERS

    for kind in ORDERS:
        for command in kind.commands:
            do = _order_for_jobs if kind.about_job else _order
            parser = add_command(commands, command.name, do, command.help, command.description)
            parser.set_defaults(order=kind.name, on=command.on)
            if kind.about_job:
                parser.add_argument(
                    "jobs",
                    nargs="+",
                    metavar="JOB",
                    help="the job's name, as `sonic-edge status` or the folder failed shows it",
                )
            elif command.on is None:
                parser.add_argument("action", choices=("start", "stop"))


def _order(args: argparse.Namespace) -> int:
    from ..service.control import ask
    from ..service.messages import Request

    on = args.action == "start" if args.on is None else args.on
    ask(run_folder(args.config), Request(args.order, on))
    return 0


def _order_for_jobs(args: argparse.Namespace) -> int:
    from ..service.control import ask, ask_retry
    from ..service.messages import Request

    folder = run_folder(args.config)
    for job in args.jobs:
        if args.order == "retry":
            print(f"{job}: back in the inbox as {ask_retry(folder, job)}")
        else:
            ask(folder, Request(args.order, name=job))
            print(f"{job}: cancelled")
    return 0
