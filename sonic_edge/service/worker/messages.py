"""What the daemon and its worker say to each other.

To the worker go `Start`, then `Job` after `Job`, each when the one before has ended. Back come `Ready`, `Progress` and,
for each job, `Finished`, `Failed` or `Crashed`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Dict, Literal, Mapping, Optional, Union

from pydantic import Field

from ...errors import SonicEdgeError
from ...process.messages import ErrorKind, FilePath, Reader, Text, as_error

_MOST_STEPS = 10**9  # nothing can be calculated with more

Steps = Annotated[int, Field(ge=0, le=_MOST_STEPS)]


@dataclass(frozen=True)
class Start:
    """The first line to the worker."""

    parent: int
    """The daemon's process; the worker ends when it does."""
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
    """The video to write; its folder is there."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded and has run once."""

    tell: Literal["ready"] = "ready"


@dataclass(frozen=True)
class Progress:
    """The job moves on."""

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
    """The job, or the start, failed with an error of ours."""

    kind: ErrorKind
    message: Text
    controls: Dict[str, Any] = field(default_factory=dict)
    """What the job asked for, as far as it could be read."""
    last: bool = False
    """Whether the worker ends itself now, because it can no longer be trusted to have memory."""
    tell: Literal["failed"] = "failed"

    @property
    def error(self) -> SonicEdgeError:
        """What it failed with."""
        return as_error(self.kind, self.message)


@dataclass(frozen=True)
class Crashed:
    """A mistake of ours; the worker ends itself."""

    message: Text
    tell: Literal["crashed"] = "crashed"


FromWorker = Union[Ready, Progress, Finished, Failed, Crashed]
from_worker: Reader[FromWorker] = Reader(FromWorker, "tell")
starts: Reader[Start] = Reader(Start)
jobs: Reader[Job] = Reader(Job)
