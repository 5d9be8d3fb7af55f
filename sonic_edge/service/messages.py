"""What programs and the daemon say to each other through the control socket; the answer to `status` is in `status`."""

from dataclasses import dataclass

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
