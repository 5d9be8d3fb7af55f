"""The messages between the daemon and its worker.

The daemon sends `Start`, then one `Job` at a time, each after the one before has ended. The worker sends `Ready`,
`Progress` and, for each job, `Finished`, `Failed` or `Crashed`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Dict, Literal, Mapping, Optional, Union

from pydantic import Field

from ...errors import SonicEdgeError
from ...process.messages import ErrorKind, FilePath, Reader, Text, as_error

_MOST_STEPS = 10**9  # more cannot be right, and would overflow when calculated with

Steps = Annotated[int, Field(ge=0, le=_MOST_STEPS)]


@dataclass(frozen=True)
class Start:
    """The first line to the worker."""

    parent: int
    """The daemon's process id; the worker is killed when the daemon dies."""
    config: Mapping[str, Any]
    """The settings, as `Config.model_dump` gives them."""


@dataclass(frozen=True)
class Job:
    """A video to make."""

    portrait: FilePath
    speech: FilePath
    controls: Optional[FilePath]
    """A YAML file with the job's own controls."""
    output: FilePath
    """The video to write; its folder exists."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded and has completed a trial run."""

    tell: Literal["ready"] = "ready"


@dataclass(frozen=True)
class Progress:
    """The job has made progress."""

    stage: Text
    done: Steps
    total: Steps
    tell: Literal["progress"] = "progress"


@dataclass(frozen=True)
class Finished:
    """The video is written."""

    report: Dict[str, Any]
    tell: Literal["finished"] = "finished"


@dataclass(frozen=True)
class Failed:
    """The job, or the start-up, failed with a `SonicEdgeError`."""

    kind: ErrorKind
    message: Text
    controls: Dict[str, Any] = field(default_factory=dict)
    """The job's own controls, as far as they could be read."""
    last: bool = False
    """Whether the worker now exits: its start-up failed, or it ran out of memory."""
    tell: Literal["failed"] = "failed"

    @property
    def error(self) -> SonicEdgeError:
        """The error."""
        return as_error(self.kind, self.message)


@dataclass(frozen=True)
class Crashed:
    """The worker hit a bug, and exits."""

    message: Text
    tell: Literal["crashed"] = "crashed"


FromWorker = Union[Ready, Progress, Finished, Failed, Crashed]
from_worker: Reader[FromWorker] = Reader(FromWorker, "tell")
starts: Reader[Start] = Reader(Start)
jobs: Reader[Job] = Reader(Job)
