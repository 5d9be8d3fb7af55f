"""The messages on the control socket, between programs and the daemon; the answer to `status` is in `status`."""

from dataclasses import dataclass

from ..process.messages import Reader, Text


@dataclass(frozen=True)
class Request:
    """An order, as sent through the socket."""

    order: Text
    on: bool = True
    """For talk and mute: whether to begin or to end."""
    name: Text = ""
    """The name of a job, or for `say` the key of a text on the screen."""


requests: Reader[Request] = Reader(Request)


@dataclass(frozen=True)
class Answer:
    """The answer to an order that returns nothing else. Every other answer has this field too."""

    error: Text = ""
    """Why the order was not carried out; empty on success."""


@dataclass(frozen=True)
class ChosenModel:
    """The bundle selected by the settings."""

    digest: Text
    folder: Text


@dataclass(frozen=True)
class Reloaded:
    """The answer to `reload`."""

    error: Text
    model: ChosenModel
    """The model that the next worker loads."""
    settings: Text
    """The settings file; empty if there is none."""
    job: Text
    """The job that the current worker has to finish first; empty if none."""


@dataclass(frozen=True)
class Retried:
    """The answer to `retry`: a failed job is back in the inbox."""

    job: Text
    """Its name in the inbox."""
    error: Text = ""


reloadeds: Reader[Reloaded] = Reader(Reloaded)
retrieds: Reader[Retried] = Reader(Retried)
