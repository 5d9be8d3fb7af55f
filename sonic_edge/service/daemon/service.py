"""The jobs' side of the daemon: takes them from the spool and has the worker do them."""

import contextlib
import logging
import os
import time
from collections import Counter
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Dict, Iterator, Optional, Sequence, Type, Union

from ...config import Config, load_config
from ...errors import ConfigError, DeviceError, RequestError, SonicEdgeError
from ...hardware.machine import memory_mb
from ...model.store import look, pinned, remedy_for
from ...spool import Job, Spool
from .. import metrics
from ..control import Order
from ..worker import Died, Failed, Finished, Message, Ready, Worker, Working
from .kiosk import Kiosk
from .recent import Recent
from .signals import Signals
from .systemd import notify

log = logging.getLogger(__name__)

GIVE_UP_S = 300.0
"""A worker that has not started for this long is left to systemd, which starts everything afresh."""
TRIES = 3
"""A worker that so often cannot start with other settings than the last one had will not: the old ones stay."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""The back-off doubles from the first up to the second."""

METRICS = "sonic-edge.prom"
"""The file of figures, in the spool's run folder unless the settings say otherwise."""

_PASS_S = 1.0
_MOST_NAMES = 50
WORKER_SECTIONS = ("controls", "model", "label", "encode", "limits", "worker")  # the sections it is started with


class _Stopped(Exception):
    """The daemon is to end; unwinds to `Service.serve`."""


class _Cancelled(Exception):
    """The job is not wanted any more; unwinds to where it was begun."""


class Service:
    """One life of the daemon.

    Args:
        config: The settings.
        config_path: Where they are read again from.
        spool: The locked spool.
        kiosk: Where people see what becomes of their jobs, and give their orders.
        signals: What ends it, wakes it, and has it read its settings again.
        recent: What went wrong lately.
        command: What to start as worker.
    """

    def __init__(
        self,
        config: Config,
        config_path: Optional[Path],
        spool: Spool,
        kiosk: Kiosk,
        signals: Signals,
        recent: Recent,
        command: Sequence[str],
    ) -> None:
        self._config = config
        self._path = config_path
        self._spool = spool
        self._kiosk = kiosk
        self._signals = signals
        self._recent = recent
        self._command = command
        self._worker: Optional[Worker] = None
        self._is_stale = False
        self._proven: Optional[Config] = None  # with it a worker has started
        self._job: Optional[Job] = None
        self._cancel: Optional[Order] = None
        self._wait_s = FIRST_WAIT_S
        self._status = ""
        self._since = time.monotonic()
        self._told = 0.0
        self._metrics_error = ""
        self._counts = Counter({"done": 0, "cancelled": 0, "worker_deaths": 0})
        self._facts: Dict[str, object] = {
            "version": version("sonic-edge"),
            "pid": os.getpid(),
            "started": _now(),
            "settings": {"path": str(config_path or ""), "read": _now(), "error": ""},
        }

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._drop_worker()

    def serve(self) -> None:
        """Take jobs until told to stop.

        Raises:
            ConfigError: If the worker says that a setting is wrong.
            DeviceError: If no worker could be started for `GIVE_UP_S`.
        """
        try:
            left = self._spool.recover()
            if left:
                log.info("left from last time: %s", ", ".join(job.id for job in left))
            self._ready_worker()
            notify("READY=1", patience_s=10.0)
            log.info("ready; watching %s", self._spool.inbox)
            for job in self._spool.watch(self._signals, self._idle, self._kiosk.playing):
                try:
                    self._do(job)
                except DeviceError as e:  # of the spool: the worker's own are dealt with in _do
                    log.error("%s", e, extra={"JOB": job.id})
                    self._back_off()
        except _Stopped:
            pass

    # ---- a job -----------------------------------------------------------------------------------------------------

    def _do(self, job: Job) -> None:
        """One attempt at a job, up to its end in outbox or failed, or back to where it will come again from.

        Raises:
            ConfigError: If a fresh worker was needed and says that a setting is wrong.
            DeviceError: If the spool's disk fails, or no worker can be started.
            _Stopped: If the daemon is to end; the job is parked.
        """
        self._job = job
        too_late = f"{job.id}: came to its end before it could be cancelled"
        try:
            worker = self._ready_worker()
            self._say(f"{job.id}: starting")
            self._spool.start(job)
            attempt = f", attempt {job.deaths + 1}" if job.deaths else ""
            log.info("%s: started%s", job.id, attempt, extra={"JOB": job.id})
            worker.give(job.portrait, job.speech, job.controls, job.output)
            try:
                outcome = self._outcome(worker, job)
            except _Stopped:
                self._drop_worker()
                self._spool.put_back(job, died=False)
                log.info("%s: parked, to be done again at the next start", job.id, extra={"JOB": job.id})
                raise
            self._end(job, outcome)
        except _Cancelled:
            self._drop_worker()  # what it is doing cannot be called off in any other way
            self._fail(job, RequestError(f"{job.id}: cancelled by order"))
            self._counts["cancelled"] += 1
            too_late = ""
        finally:
            self._job = None
            if self._cancel is not None:
                self._kiosk.answer(self._cancel, too_late)
                self._cancel = None

    def _end(self, job: Job, outcome: Union[Finished, Failed, Died]) -> None:
        if isinstance(outcome, Finished):
            try:
                name = self._spool.publish(job, outcome.report)
            except RequestError as e:
                self._another_attempt(job, DeviceError(str(e)))
            else:
                self._counts["done"] += 1
                self._kiosk.finished(self._spool.outbox / f"{name}.mp4")
                self._wait_s = FIRST_WAIT_S
        elif isinstance(outcome, Failed) and not isinstance(outcome.error, DeviceError):
            self._fail(job, outcome.error, outcome)
            self._wait_s = FIRST_WAIT_S
        elif isinstance(outcome, Failed):
            self._another_attempt(job, outcome.error, outcome)
        else:
            self._counts["worker_deaths"] += 1
            self._another_attempt(job, RequestError(outcome.reason))

    def _fail(self, job: Job, error: SonicEdgeError, outcome: Optional[Failed] = None) -> None:
        self._spool.fail(job, error, outcome.controls if outcome else None)
        self._kiosk.failed(job.id)

    def _another_attempt(self, job: Job, error: SonicEdgeError, outcome: Optional[Failed] = None) -> None:
        """The worker or the machine failed on a job: count it, and give the job up when that was once too often.

        A machine that is really gone shows when the fresh worker cannot start; that is not counted against the job.
        """
        self._drop_worker()
        n_deaths = self._spool.put_back(job, died=True)
        attempts = self._config.worker.attempts
        log.error("%s: %s (attempt %d of %d)", job.id, error, n_deaths, attempts, extra={"JOB": job.id})
        if n_deaths >= attempts:
            self._fail(job, type(error)(f"{error}; tried {n_deaths} times"), outcome)
            self._wait_s = FIRST_WAIT_S  # the next job is not to blame
        else:
            self._back_off()

    def _outcome(self, worker: Worker, job: Job) -> Union[Finished, Failed, Died]:
        """Wait for the end of a job.

        Raises:
            _Stopped: If the daemon is to end.
            _Cancelled: If the job is.
        """
        stage, since, looked = "", 0.0, 0.0
        for message in self._messages(worker):
            now = time.monotonic()
            if isinstance(message, Working):
                if message.stage != stage:
                    stage, since = message.stage, now
                    log.info("%s: %s", job.id, stage, extra={"JOB": job.id, "STAGE": stage})
                percent = 100 * message.done // max(1, message.total)
                self._say(f"{job.id}: {message.stage} {percent} %")
                left_s = None
                if stage == "rendering" and message.done > 0:
                    left_s = (now - since) * (message.total - message.done) / message.done
                self._kiosk.working(job.id, message.stage, message.done, message.total, job.deaths + 1, left_s)
            elif message is not None:
                return message if isinstance(message, (Finished, Failed, Died)) else Died("the worker lost its way")
            if now - looked >= _PASS_S:
                looked = now
                full = self._spool.room.lacking(0.5)
                if full:
                    return Failed(DeviceError(full))
        raise _Stopped

    # ---- the worker ------------------------------------------------------------------------------------------------

    def _messages(self, worker: Worker) -> Iterator[Optional[Message]]:
        """What the worker says, and None at least once a second, until the daemon is to end.

        Raises:
            _Cancelled: If the job under way is.
        """
        while not self._signals.is_set():
            message = worker.receive(_PASS_S, self._signals.fd)
            self._signals.drain()
            self._alive()
            self._stop_if_cancelled()
            yield message

    def _ready_worker(self) -> Worker:
        """The worker, started if need be, with its model loaded.

        Raises:
            ConfigError: If the worker says that a setting is wrong.
            DeviceError: If none could be started for `GIVE_UP_S`.
            _Stopped: If the daemon is to end.
            _Cancelled: If the job that waits for it is not wanted any more.
        """
        since, n_tries = time.monotonic(), 0
        if self._is_stale:
            self._drop_worker()
        while self._worker is None or not self._worker.is_alive:
            self._say("loading the model")
            config = self._config
            try:
                self._worker = self._start_worker(config)
                log.info("the worker is ready")
                self._prove(config)
            except ConfigError as e:
                if self._config is config:  # else others were read meanwhile
                    self._go_back(ConfigError(self._with_way_back(e)))
            except DeviceError as e:
                n_tries += 1
                is_new = self._proven is not None and self._proven.model.bundle != config.model.bundle
                if is_new and n_tries >= TRIES and self._config is config:
                    self._go_back(DeviceError(self._with_way_back(e)))
                    continue
                if time.monotonic() - since >= GIVE_UP_S:
                    raise
                log.error("%s; trying again", e)
                self._say(str(e))
                self._back_off()
        return self._worker

    def _prove(self, config: Config) -> None:
        """A worker has started with these settings: the studio may have their model too."""
        self._proven = config
        self._kiosk.configure(self._with_model(config))
        folder = Path(config.model.bundle)
        found = look(folder)
        self._facts["model"] = {
            "name": found.name,
            "version": found.version,
            "backend": config.model.backend,
            "digest": found.digest,
            "folder": str(folder),
        }

    def _go_back(self, error: SonicEdgeError) -> None:
        """Go on with the settings that a worker has started with.

        Raises:
            SonicEdgeError: The error, if there are none.
        """
        if self._proven is None or not self._is_other_worker(self._proven):
            raise error
        self._refuse(error)
        old = {name: getattr(self._proven, name) for name in WORKER_SECTIONS}
        self._config = self._config.model_copy(update=old)
        self._kiosk.configure(self._config)

    def _with_way_back(self, error: SonicEdgeError) -> str:
        """If it is about the bundle, with what to do."""
        model = self._config.model
        is_about_it = model.bundle in str(error)
        return f"{error}; {remedy_for(Path(model.bundle), Path(model.store))}" if is_about_it else str(error)

    def _is_other_worker(self, config: Config) -> bool:
        return any(getattr(config, name) != getattr(self._config, name) for name in WORKER_SECTIONS)

    def _start_worker(self, config: Config) -> Worker:
        self._is_stale = False
        worker = Worker(config, self._command)
        with contextlib.ExitStack() as undo:
            undo.callback(worker.kill)
            for message in self._messages(worker):
                if message is None:
                    continue
                if isinstance(message, Ready):
                    undo.pop_all()
                    return worker
                if isinstance(message, Failed) and isinstance(message.error, ConfigError):
                    raise message.error
                words = message.reason if isinstance(message, Died) else getattr(message, "error", "it makes no sense")
                raise DeviceError(f"the worker cannot be started: {words}")
        raise _Stopped

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _idle(self) -> None:
        """On each pass while there is no job: say that we live, and see to it that the worker does.

        Raises:
            ConfigError, DeviceError, _Stopped: As `_ready_worker`.
        """
        self._alive()
        message = self._worker.receive(0.0) if self._worker is not None else None
        if message is not None:
            words = message.reason if isinstance(message, Died) else f"it said {message} with nothing to do"
            log.error("%s; starting another worker", words)
            self._counts["worker_deaths"] += 1
            self._drop_worker()
            self._back_off()
        self._ready_worker()
        self._say(self._spool.held or "waiting for jobs")

    def _back_off(self) -> None:
        """Wait a little, longer each time.

        Raises:
            _Stopped: If the daemon is to end.
            _Cancelled: If the job under way is not wanted any more.
        """
        deadline = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        while time.monotonic() < deadline:
            self._alive()
            self._stop_if_cancelled()
            if self._signals.wait(min(_PASS_S, max(0.0, deadline - time.monotonic()))):
                raise _Stopped

    def _stop_if_cancelled(self) -> None:
        if self._cancel is not None:
            raise _Cancelled

    # ---- on each pass ----------------------------------------------------------------------------------------------

    def _alive(self) -> None:
        """We live, and so does what people see; do what they ask for."""
        if self._kiosk.check():
            notify("WATCHDOG=1")
        if self._signals.reads_again():
            self._read_settings()
        for order in self._kiosk.asked():
            self._obey(order)
        if time.monotonic() - self._told >= _PASS_S:
            self._tell()
        self._write_figures()

    def _write_figures(self) -> None:
        """For monitoring. Here and not where they are made: the screen must not wait for a disk."""
        figures, path = self._kiosk.figures(), self._config.metrics.path
        if figures is None or path is None:
            return
        error = metrics.write(Path(path) if path else self._spool.run / METRICS, figures)
        if error and error != self._metrics_error:
            log.warning("%s", error)
        self._metrics_error = error

    def _say(self, status: str) -> None:
        if status != self._status:
            self._status = status
            notify(f"STATUS={status}")
            self._tell()

    def _tell(self) -> None:
        """Let `sonic-edge status` know."""
        self._told = time.monotonic()
        waiting = self._spool.waiting()
        worker: Dict[str, object] = {"state": "none"}
        if self._worker is not None:
            pid = self._worker.pid
            worker = {"state": "working" if self._job else "ready", "pid": pid, "memory_mb": memory_mb(pid)}
        self._kiosk.tell(
            {
                **self._facts,
                "up_s": round(time.monotonic() - self._since, 1),
                "state": self._status,
                "queue": {"waiting": len(waiting), "names": waiting[:_MOST_NAMES], "held": self._spool.held},
                "counts": {**self._counts, "failed": self._spool.n_failed - self._counts["cancelled"]},
                "errors": self._recent.told(),
                "disk": self._spool.room.status(),
                "worker": worker,
            }
        )

    # ---- orders ----------------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        """Do what a person asks for about a job or the settings."""
        error, more = "", {}
        try:
            if order.what == "reload":
                error = self._read_settings()
                more = self._next()
                self._tell()  # whoever asks next is told what has come of it
            elif order.what == "retry":
                more = {"job": self._spool.retry(order.name)}
            elif self._job is not None and order.name == self._job.id:
                if self._cancel is None:
                    self._cancel = order  # whoever waits for the worker looks at it, and it is answered then
                    return
                error = f"{order.name}: is being cancelled already"
            elif self._spool.cancel(order.name, RequestError(f"{order.name}: cancelled by order")):
                self._counts["cancelled"] += 1
            else:
                error = f"{order.name}: no such job is waiting or being worked on; `sonic-edge status` lists them"
        except SonicEdgeError as e:
            error = str(e)
        self._kiosk.answer(order, error, **more)

    def _next(self) -> Dict[str, object]:
        """What the next worker will have, and what it waits for."""
        folder = Path(self._config.model.bundle)
        return {
            "model": {"digest": look(folder).digest, "folder": str(folder)},
            "settings": str(self._path or ""),
            "job": self._job.id if self._job is not None else "",
        }

    def _read_settings(self) -> str:
        """Go on with what the settings file says now; if that is wrong, with what it said before.

        Returns:
            Why the old ones stay; empty if they do not.
        """
        if self._path is None:
            log.warning("there is no settings file to read again")
            return "it was started without a settings file; start it again"
        try:
            config = pinned(load_config(self._path))
            self._spool.configure(config.spool, config.disk)
        except SonicEdgeError as e:
            self._refuse(e)
            return str(e)
        self._is_stale = self._is_stale or self._is_other_worker(config)  # it is replaced once its job is done
        self._config = config
        # another model is for the studio once a worker has it
        self._kiosk.configure(self._with_model(self._proven or config))
        self._facts["settings"] = {"path": str(self._path), "read": _now(), "error": ""}
        log.info("the settings were read again from %s", self._path)
        return ""

    def _with_model(self, other: Config) -> Config:
        return self._config.model_copy(update={"model": other.model})

    def _refuse(self, error: SonicEdgeError) -> None:
        log.error("the new settings are refused, the old ones stay: %s", error)
        self._facts["settings"] = {"path": str(self._path or ""), "read": _now(), "error": str(error)}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
