"""The worker's own life: takes its settings and jobs from one pipe, does them, and tells the other how it went."""

import json
import os
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, ContextManager, Dict, Mapping, Protocol

import yaml

from ... import process
from ...config import Config, check
from ...errors import ConfigError, DeviceError, RequestError, SonicEdgeError
from ...process import die_with_parent, limit_resources, take_pipes

if TYPE_CHECKING:  # numpy and what follows are loaded once memory is bounded and a failure can be told
    from ...engine.pipeline import Progress
    from ...media import Request

MAX_CONTROLS_BYTES = 16 << 10
"""A larger job.yaml is refused unread."""

_TELL_EVERY_S = 0.1


class Renders(Protocol):
    """What the process needs of a `pipeline.Pipeline`."""

    def render(self, request: "Request", progress: "Callable[[Progress], None]") -> Dict[str, Any]:
        """Make one video; its report."""


MakePipeline = Callable[[Config], ContextManager[Renders]]


def _make_pipeline(config: Config) -> ContextManager[Renders]:
    from ...engine.pipeline import Pipeline

    return Pipeline(config)


def main(make_pipeline: MakePipeline = _make_pipeline) -> int:
    """Live as a worker: settings and jobs come on standard input, messages go to standard output.

    Args:
        make_pipeline: Loads what does the work.

    Returns:
        The exit status.
    """
    jobs, messages = take_pipes()
    teller = _Teller(messages)
    start = json.loads(jobs.readline())
    die_with_parent(start["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal reaches us too; the daemon decides
    config = check(Config, start["config"], "settings from the daemon")
    limit_resources(config.worker.memory_mb)
    os.nice(5)  # the daemon and the live picture go first
    try:
        with make_pipeline(config) as pipeline:
            teller.tell("ready")
            for line in jobs:
                if not _do(pipeline, json.loads(line), config, teller):
                    return 1
    except MemoryError:
        words = f"worker.memory_mb = {config.worker.memory_mb}: too little to load the model"
        teller.failed(ConfigError(words), {}, last=True)
        return 1
    except SonicEdgeError as e:
        teller.failed(e, {}, last=True)
        return 1
    except Exception as e:
        teller.crashed(e)
        return 1
    return 0


def _do(pipeline: Renders, job: Mapping[str, Any], config: Config, teller: "_Teller") -> bool:
    """One job; whether the process can take another."""
    from ...media import Request

    controls: Dict[str, object] = {}
    speech = Path(job["speech"])
    teller.start()
    try:
        if job["controls"] is not None:
            controls = _read_controls(Path(job["controls"]))
        request = Request(
            Path(job["portrait"]), speech, Path(job["output"]), controls, Path(job["controls"] or "").name
        )
        report = pipeline.render(request, teller.progress)
    except SonicEdgeError as e:
        teller.failed(e, controls)
    except MemoryError:
        traceback.print_exc()
        words = f"{speech.name}: needs more memory than worker.memory_mb = {config.worker.memory_mb} allows"
        teller.failed(RequestError(words), controls, last=True)
        return False  # what else could not be had in the meantime, nobody knows
    except Exception as e:
        teller.crashed(e)
        return False
    else:
        teller.tell("finished", report=report)
    return True


def _read_controls(path: Path) -> Dict[str, object]:
    """The job's own controls, as YAML gives them; their values are for the pipeline to check.

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
        for event in yaml.parse(text):  # before anything is built: some YAML takes for ever, or all memory
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


class _Teller:
    """Writes messages to the daemon.

    Args:
        pipe: Where to.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._stage = ""
        self._told = 0.0

    def tell(self, tell: str, **more: object) -> None:
        process.tell(self._pipe, {"tell": tell, **more})

    def start(self) -> None:
        self._stage = ""

    def progress(self, progress: "Progress") -> None:
        """Pass on what is worth a line: a new stage, its end, and now and then in between."""
        now = time.monotonic()
        if progress.stage == self._stage and progress.done < progress.total and now - self._told < _TELL_EVERY_S:
            return
        self._stage, self._told = progress.stage, now
        self.tell("progress", stage=progress.stage, done=progress.done, total=progress.total)

    def failed(self, error: SonicEdgeError, controls: Mapping[str, object], last: bool = False) -> None:
        kind = next((kind for kind in (ConfigError, RequestError) if isinstance(error, kind)), DeviceError)
        self.tell("failed", error=kind.__name__, message=str(error), controls=dict(controls), last=last)

    def crashed(self, error: Exception) -> None:
        """A mistake of ours: its trace goes to the log, its words to the daemon."""
        traceback.print_exc()
        self.tell("crashed", message=f"{type(error).__name__}: {error}"[:1000])
