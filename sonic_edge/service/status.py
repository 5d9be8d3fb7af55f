"""The daemon's status: its answer to the order `status`, read by `sonic-edge status`, the doctor and metrics.

The reader may be a different version from the daemon: a part that is missing or invalid counts as unknown, which is
None or the default.
"""

from dataclasses import dataclass, field
from typing import Annotated, Dict, List, Optional

from ..hardware.npu import NpuStatus
from ..live.state import LiveStatus, ScreenStatus
from ..process.messages import EMPTY, LEFT_OUT, IfRight, Reader, Text
from ..spool import DiskStatus


@dataclass(frozen=True)
class SettingsStatus:
    """The settings in force."""

    path: Text = ""
    """The settings file; empty: the defaults are in force."""
    read: Text = ""
    """When it was last read, ISO 8601."""
    error: Text = ""
    """Why the file's present contents were refused; empty if they were not."""


@dataclass(frozen=True)
class ModelStatus:
    """The bundle that the worker has loaded."""

    name: Text = ""
    version: Text = ""
    backend: Text = ""
    digest: Text = ""
    folder: Text = ""


@dataclass(frozen=True)
class QueueStatus:
    """The waiting jobs."""

    waiting: int = 0
    names: List[Text] = field(default_factory=list)
    """The names of the first ones."""
    held: Text = ""
    """Why no job is being started; empty if nothing prevents it."""


@dataclass(frozen=True)
class Counts:
    """Counts since the daemon started."""

    done: int = 0
    cancelled: int = 0
    worker_deaths: int = 0
    failed: int = 0


@dataclass(frozen=True)
class RecentError:
    """A warning or error in the log."""

    time: Text
    """ISO 8601."""
    what: Text


@dataclass(frozen=True)
class WorkerStatus:
    """The worker."""

    state: Text = "none"
    """none, ready or working."""
    pid: Optional[int] = field(default=None, metadata=LEFT_OUT)
    memory_mb: Optional[float] = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True)
class JobStatus:
    """The running job."""

    id: Text = ""
    stage: Text = ""
    done: int = 0
    total: int = 0
    percent: int = 0
    attempt: int = 1
    left_s: Optional[float] = None
    """Estimated time remaining, seconds."""


@dataclass(frozen=True)
class Status:
    """The whole status. `job` is None while no job is running; other parts are None while nothing is known of them."""

    error: Text = ""
    """Always empty; every answer of the daemon has this field."""
    version: Text = ""
    pid: Annotated[Optional[int], IfRight] = field(default=None, metadata=LEFT_OUT)
    started: Text = ""
    """ISO 8601."""
    settings: Annotated[Optional[SettingsStatus], IfRight] = field(default=None, metadata=LEFT_OUT)
    model: Annotated[Optional[ModelStatus], IfRight] = field(default=None, metadata=LEFT_OUT)
    up_s: Annotated[Optional[float], IfRight] = field(default=None, metadata=LEFT_OUT)
    state: Text = ""
    """What the daemon is doing, as text; empty while it starts."""
    queue: Annotated[Optional[QueueStatus], IfRight] = field(default=None, metadata=LEFT_OUT)
    counts: Annotated[Optional[Counts], IfRight] = field(default=None, metadata=LEFT_OUT)
    errors: Annotated[Optional[List[RecentError]], IfRight] = field(default=None, metadata=LEFT_OUT)
    """Recent warnings and errors, oldest first."""
    disk: Annotated[Optional[DiskStatus], IfRight] = field(default=None, metadata=EMPTY)
    worker: Annotated[Optional[WorkerStatus], IfRight] = field(default=None, metadata=LEFT_OUT)
    temperature_c: Annotated[Optional[Dict[str, float]], IfRight] = field(default=None, metadata=EMPTY)
    """By sensor."""
    npu: Annotated[Optional[NpuStatus], IfRight] = field(default=None, metadata=EMPTY)
    """The Ascend chips; None where none is used."""
    job: Annotated[Optional[JobStatus], IfRight] = field(default=None, metadata=EMPTY)
    screen: Annotated[Optional[ScreenStatus], IfRight] = field(default=None, metadata=LEFT_OUT)
    live: Annotated[Optional[LiveStatus], IfRight] = field(default=None, metadata=LEFT_OUT)


statuses: Reader[Status] = Reader(Status)
