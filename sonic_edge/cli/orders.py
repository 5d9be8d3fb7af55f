"""Orders to the running daemon: ``sonic-edge talk | snapshot | mute | unmute | cancel | retry``."""

import argparse

from .options import Commands, add_command, run_folder


def add(commands: Commands) -> None:
    """Add the commands."""
    talk = add_command(
        commands,
        "talk",
        _order,
        "start or stop speaking live",
        "Tell the running daemon that somebody starts or stops speaking. live.mode decides what happens: a "
        "video is made of the speech (record), or the portrait speaks along (mirror).",
    )
    talk.add_argument("action", choices=("start", "stop"))
    talk.set_defaults(order="talk")
    add_command(
        commands,
        "snapshot",
        _order,
        "take a photo with the camera",
        "Make the running daemon take a photo of the person in front of the camera; that face speaks until the talk "
        "ends.",
    ).set_defaults(order="snapshot", action="start")
    add_command(
        commands,
        "mute",
        _order,
        "close the microphone",
        "Close the microphone, and keep it closed until unmute, even after a restart.",
    ).set_defaults(order="mute", action="start")
    add_command(
        commands, "unmute", _order, "allow the microphone again", "Allow the microphone to be used again."
    ).set_defaults(order="mute", action="stop")
    for name, summary, description in (
        ("cancel", "cancel jobs", "Cancel jobs that are waiting or running. Their files move to failed."),
        ("retry", "run failed jobs again", "Move failed jobs back into the inbox."),
    ):
        parser = add_command(commands, name, _order_for_jobs, summary, description)
        parser.add_argument(
            "jobs",
            nargs="+",
            metavar="JOB",
            help="the job's name, as `sonic-edge status` or the folder failed shows it",
        )
        parser.set_defaults(order=name)


def _order(args: argparse.Namespace) -> int:
    from ..service.control import ask

    ask(run_folder(args.config), {"order": args.order, "on": args.action == "start"})
    return 0


def _order_for_jobs(args: argparse.Namespace) -> int:
    from ..service.control import ask

    for job in args.jobs:
        answer = ask(run_folder(args.config), {"order": args.order, "name": job})
        print(f"{job}: cancelled" if args.order == "cancel" else f"{job}: back in the inbox as {answer['job']}")
    return 0
