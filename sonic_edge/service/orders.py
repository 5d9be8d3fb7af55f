"""The orders that a running daemon takes: what each is called, who carries it out, and how it is typed.

The command line's help, the socket's refusals and the daemon's dispatch come from this table (CONTRIBUTING, "Add an
order").
"""

from dataclasses import dataclass
from typing import Literal, Optional, Tuple

from ..process.messages import Reader, Text


@dataclass(frozen=True)
class Request:
    """An order, as it comes through the socket."""

    order: Text
    on: bool = True
    """For talk and mute: begin, or end."""
    name: Text = ""
    """Of a job, or of words."""


requests: Reader[Request] = Reader(Request)


@dataclass(frozen=True)
class Answer:
    """To an order that has nothing more to say; every other answer has the field too."""

    error: Text = ""
    """Why the order is not carried out; empty if it is."""


@dataclass(frozen=True)
class ChosenModel:
    """A bundle that the settings name."""

    digest: Text
    folder: Text


@dataclass(frozen=True)
class Reloaded:
    """The settings were read again."""

    error: Text
    model: ChosenModel
    """What the next worker loads."""
    settings: Text
    """Their file; empty if there is none."""
    job: Text
    """What the worker of now has to end first; empty if nothing."""


@dataclass(frozen=True)
class Retried:
    """A failed job is in the inbox again."""

    job: Text
    """Its name there."""
    error: Text = ""


reloadeds: Reader[Reloaded] = Reader(Reloaded)
retrieds: Reader[Retried] = Reader(Retried)


@dataclass(frozen=True)
class Command:
    """A command of `sonic-edge` that gives an order."""

    name: str
    help: str
    """In the list of commands."""
    description: str
    on: Optional[bool] = True
    """`Request.on`; None: the command takes start or stop."""


@dataclass(frozen=True)
class OrderKind:
    """An order."""

    name: str
    by: Literal["kiosk", "studio", "jobs"]
    """Who carries it out: the kiosk's thread at once, the studio, or the jobs' thread."""
    about_job: bool = False
    """Whether `Request.name` is that of a job."""
    commands: Tuple[Command, ...] = ()
    """How it is typed; none: by another way, such as `sonic-edge status` or SIGHUP."""


ORDERS = (
    OrderKind(
        "talk",
        "studio",
        commands=(
            Command(
                "talk",
                "begin or end speaking live",
                "Have the running daemon listen to the microphone, or stop listening. live.mode says what comes of it: "
                "a video (record), or the portrait speaking at once (mirror).",
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
                "Close the microphone, and keep it closed whatever is started again, until unmute.",
            ),
            Command(
                "unmute",
                "let the microphone be used again",
                "Let the microphone be used again.",
                on=False,
            ),
        ),
    ),
    OrderKind(
        "snapshot",
        "studio",
        commands=(
            Command(
                "snapshot",
                "take a new face",
                "Have the running daemon take a picture of the person in front of the camera; that face speaks from "
                "then on, until the talk ends.",
            ),
        ),
    ),
    OrderKind(
        "cancel",
        "jobs",
        about_job=True,
        commands=(
            Command(
                "cancel", "give a job up", "Stop jobs that wait or are being worked on. Their files move to failed."
            ),
        ),
    ),
    OrderKind(
        "retry",
        "jobs",
        about_job=True,
        commands=(
            Command("retry", "have a failed job done again", "Put jobs out of failed into the inbox again, whole."),
        ),
    ),
    OrderKind("reload", "jobs"),
    OrderKind("say", "kiosk"),
    OrderKind("status", "kiosk"),
)
"""In the order in which a refusal lists them."""


def find(name: str) -> Optional[OrderKind]:
    """The order of that name."""
    return next((kind for kind in ORDERS if kind.name == name), None)
