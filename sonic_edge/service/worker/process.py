"""The worker process: reads its settings and jobs from one pipe and reports on them through another."""

import os
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, ContextManager, Dict, Mapping, Protocol

import yaml

from ... import process
from ...config import Config, check
from ...errors import ConfigError, RequestError, SonicEdgeError
from ...process import die_with_parent, limit_resources, take_pipes
from ...process.messages import encode, kind_of
from .messages import Crashed, Failed, Finished, FromWorker, Job, Progress, Ready, jobs, starts

if TYPE_CHECKING:  # numpy and the rest are imported once memory is limited and a failure can be reported
    from ...engine import pipeline
    from ...media import Request

MAX_CONTROLS_BYTES = 16 << 10
"""A larger job.yaml is refused unread."""

_REPORT_EVERY_S = 0.1


class Renders(Protocol):
    """The part of `pipeline.Pipeline` that the process needs."""

    def render(self, request: "Request", progress: "Callable[[pipeline.Progress], None]") -> Dict[str, Any]:
        """Make one video; returns its report."""


MakePipeline = Callable[[Config], ContextManager[Renders]]


def _make_pipeline(config: Config) -> ContextManager[Renders]:
    from ...engine.pipeline import Pipeline

    return Pipeline(config)


def main(make_pipeline: MakePipeline = _make_pipeline) -> int:
    """Run the worker: it reads settings and jobs from standard input and writes messages to standard output.

    Args:
        make_pipeline: Loads the pipeline.

    Returns:
        The exit status.
    """
    lines, messages = take_pipes()
    reporter = _Reporter(messages)
    start = starts.read(lines.readline())
    die_with_parent(start.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches this process too; the daemon decides
    config = check(Config, start.config, "settings from the daemon")
    limit_resources(config.worker.memory_mb)
    os.nice(5)  # the daemon and the live picture have priority
    try:
        with make_pipeline(config) as pipeline:
            reporter.send(Ready())
            for line in lines:
                if not _do(pipeline, jobs.read(line), config, reporter):
                    return 1
    except MemoryError:
        problem = f"worker.memory_mb = {config.worker.memory_mb}: too little to load the model"
        reporter.failed(ConfigError(problem), {}, last=True)
        return 1
    except SonicEdgeError as e:
        reporter.failed(e, {}, last=True)
        return 1
    except Exception as e:
        reporter.crashed(e)
        return 1
    return 0


def _do(pipeline: Renders, job: Job, config: Config, reporter: "_Reporter") -> bool:
    """Do one job; returns whether the process can take another."""
    from ...media import Request

    controls: Dict[str, object] = {}
    reporter.start()
    try:
        if job.controls is not None:
            controls = _read_controls(job.controls)
        request = Request(job.portrait, job.speech, job.output, controls, job.controls.name if job.controls else "")
        report = pipeline.render(request, reporter.progress)
    except SonicEdgeError as e:
        reporter.failed(e, controls)
    except MemoryError:
        traceback.print_exc()
        problem = f"{job.speech.name}: needs more memory than worker.memory_mb = {config.worker.memory_mb} allows"
        reporter.failed(RequestError(problem), controls, last=True)
        return False  # other allocations may have failed too, so the process is not reused
    except Exception as e:
        reporter.crashed(e)
        return False
    else:
        reporter.send(Finished(report))
    return True


def _read_controls(path: Path) -> Dict[str, object]:
    """The job's own controls, as parsed YAML; the pipeline checks the values.

    Raises:
        RequestError: If the file is too large or not YAML of the form ``name: value``.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONTROLS_BYTES + 1)
        if len(raw) > MAX_CONTROLS_BYTES:
            raise RequestError(f"{path.name}: larger than {MAX_CONTROLS_BYTES} bytes; controls are a few lines")
        text = raw.decode("utf-8-sig")
        depth = 0
        for event in yaml.parse(text):  # before it is loaded: some YAML takes endless time or memory to load
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > 2 or isinstance(event, yaml.AliasEvent):
                raise RequestError(f"{path.name}: must hold `name: value` lines, not nested lists or YAML aliases")
        data = yaml.safe_load(text)
    except OSError as e:
        raise RequestError(f"{path.name}: cannot be read: {e.strerror}") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise RequestError(f"{path.name}: is not YAML: {' '.join(str(e).split())[:300]}") from e
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise RequestError(f"{path.name}: must hold `name: value` lines, for example `seed: 3`")
    return data


class _Reporter:
    """Sends messages to the daemon.

    Args:
        pipe: The pipe to the daemon.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._stage = ""
        self._sent = 0.0

    def send(self, message: FromWorker) -> None:
        process.send(self._pipe, encode(message))

    def start(self) -> None:
        self._stage = ""

    def progress(self, progress: "pipeline.Progress") -> None:
        """Send progress at a stage's beginning and end, and in between at most every `_REPORT_EVERY_S`."""
        now = time.monotonic()
        if progress.stage == self._stage and progress.done < progress.total and now - self._sent < _REPORT_EVERY_S:
            return
        self._stage, self._sent = progress.stage, now
        self.send(Progress(progress.stage, progress.done, progress.total))

    def failed(self, error: SonicEdgeError, controls: Mapping[str, object], last: bool = False) -> None:
        self.send(Failed(kind_of(error), str(error), dict(controls), last))

    def crashed(self, error: Exception) -> None:
        """Report a bug: the traceback goes to the log, the message to the daemon."""
        traceback.print_exc()
        self.send(Crashed(f"{type(error).__name__}: {error}"[:1000]))
