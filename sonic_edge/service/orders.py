"""The orders that a running daemon accepts: the name of each, who carries it out, and its command line.

The command line's help, the socket's refusals and the daemon's dispatch come from this table (CONTRIBUTING, "Add an
order"). It imports nothing, so that `sonic-edge --help` stays fast; the messages sent are in `messages`.
"""

from dataclasses import dataclass
from typing import Literal, Optional, Tuple


@dataclass(frozen=True)
class Command:
    """A command of `sonic-edge` that gives an order."""

    name: str
    help: str
    """Its line in the list of commands."""
    description: str
    on: Optional[bool] = True
    """The value of `messages.Request.on`; None: the command takes an argument, start or stop."""


@dataclass(frozen=True)
class OrderKind:
    """An order."""

    name: str
    by: Literal["kiosk", "studio", "jobs"]
    """Who carries it out: the kiosk thread (immediately), the studio, or the jobs thread."""
    about_job: bool = False
    """Whether `messages.Request.name` is the name of a job."""
    commands: Tuple[Command, ...] = ()
    """The commands that give it; empty if it is given in another way, such as `sonic-edge status` or SIGHUP."""


ORDERS = (
    OrderKind(
        "talk",
        "studio",
        commands=(
            Command(
                "talk",
                "start or stop speaking live",
                "Tell the running daemon that somebody starts or stops speaking. live.mode decides what happens: a "
                "video is made of the speech (record), or the portrait speaks along (mirror).",
                on=None,
            ),
        ),
    ),
    OrderKind(
        "mute",
        "studio",
        commands=(
            Command(
                "mute",
                "close the microphone",
                "Close the microphone, and keep it closed until unmute, even after a restart.",
            ),
            Command("unmute", "allow the microphone again", "Allow the microphone to be used again.", on=False),
        ),
    ),
    OrderKind(
        "snapshot",
        "studio",
        commands=(
            Command(
                "snapshot",
                "take a photo with the camera",
                "Make the running daemon take a photo of the person in front of the camera; that face speaks until "
                "the talk ends.",
            ),
        ),
    ),
    OrderKind(
        "cancel",
        "jobs",
        about_job=True,
        commands=(
            Command("cancel", "cancel jobs", "Cancel jobs that are waiting or running. Their files move to failed."),
        ),
    ),
    OrderKind(
        "retry",
        "jobs",
        about_job=True,
        commands=(Command("retry", "run failed jobs again", "Move failed jobs back into the inbox."),),
    ),
    OrderKind("reload", "jobs"),
    OrderKind("say", "kiosk"),
    OrderKind("status", "kiosk"),
)
"""Listed in this sequence when an unknown order is refused."""


def find(name: str) -> Optional[OrderKind]:
    """The order with this name; None if there is none."""
    return next((kind for kind in ORDERS if kind.name == name), None)
