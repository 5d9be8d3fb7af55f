"""Orders to the running daemon: ``sonic-edge talk | snapshot | mute | unmute | cancel | retry``."""

import argparse

from .options import Commands, add_command, run_folder


def add(commands: Commands) -> None:
    """Add the commands."""
    talk = add_command(
        commands,
        "talk",
        _order,
        "begin or end speaking live",
        "Tell the running daemon that somebody speaks now, or no more. live.mode says what comes of it: a video "
        "(record), or the portrait speaking at once (mirror).",
    )
    talk.add_argument("action", choices=("start", "stop"))
    talk.set_defaults(order="talk")
    add_command(
        commands,
        "snapshot",
        _order,
        "take a new face",
        "Have the running daemon take a picture of who stands before the camera; it speaks from then on, until the "
        "talk ends.",
    ).set_defaults(order="snapshot", action="start")
    add_command(
        commands,
        "mute",
        _order,
        "close the microphone",
        "Close the microphone, and keep it closed whatever is started again, until unmute.",
    ).set_defaults(order="mute", action="start")
    add_command(
        commands, "unmute", _order, "let the microphone be used again", "Let the microphone be used again."
    ).set_defaults(order="mute", action="stop")
    for name, summary, description in (
        ("cancel", "give a job up", "Stop jobs that wait or are being worked on. Their files move to failed."),
        ("retry", "have a failed job done again", "Put jobs out of failed into the inbox again, whole."),
    ):
        parser = add_command(commands, name, _about_jobs, summary, description)
        parser.add_argument("jobs", nargs="+", metavar="JOB", help="its name, as `sonic-edge status` or failed has it")
        parser.set_defaults(order=name)


def _order(args: argparse.Namespace) -> int:
    from ..service.control import ask

    ask(run_folder(args.config), {"order": args.order, "on": args.action == "start"})
    return 0


def _about_jobs(args: argparse.Namespace) -> int:
    from ..service.control import ask

    for job in args.jobs:
        answer = ask(run_folder(args.config), {"order": args.order, "name": job})
        print(f"{job}: cancelled" if args.order == "cancel" else f"{job}: waits in the inbox as {answer['job']}")
    return 0
