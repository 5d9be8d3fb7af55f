"""The jobs' side of the daemon: takes them from the spool and has the worker do them."""

import logging
import os
import time
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Callable, Mapping, Optional, Sequence, Type, Union

from ...config import Config
from ...errors import DeviceError, RequestError, SonicEdgeError
from ...model.store import look
from ...spool import Job, Spool
from .. import metrics
from ..control import Order
from ..messages import Answer, ChosenModel, Reloaded, Retried
from ..settings import RunningSettings, now
from ..status import Counts, QueueStatus, Status
from ..worker import Died, Failed, Finished, Progress, Worker
from ..worker.supervisor import PASS_S, WorkerSupervisor
from .kiosk import Kiosk
from .recent import Recent
from .signals import Signals
from .systemd import notify

log = logging.getLogger(__name__)

METRICS = "sonic-edge.prom"
"""The file of figures, in the spool's run folder unless the settings say otherwise."""

_MOST_NAMES = 50


class _Stopped(Exception):
    """The daemon is to end; unwinds to `Service.serve`."""


class _Cancelled(Exception):
    """The running job is not wanted any more; unwinds to where it was begun."""


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
        self._spool = spool
        self._kiosk = kiosk
        self._signals = signals
        self._recent = recent
        self._settings = RunningSettings(config, config_path, kiosk.configure)
        self._workers = WorkerSupervisor(self._settings, command, self._turn, signals.wait, signals.fd, self._say)
        self._job: Optional[Job] = None
        self._cancel: Optional[Order] = None
        self._state = ""
        self._since = time.monotonic()
        self._started = now()
        self._reported = 0.0
        self._metrics_error = ""
        self._n_done = self._n_cancelled = 0
        self.orders: Mapping[str, Callable[[Order], Optional[object]]] = {
            "cancel": self._cancel_job,
            "retry": lambda order: Retried(self._spool.retry(order.name)),
            "reload": self._reload,
        }
        """Those in `orders` that the jobs' thread carries out, and what each answers; None: later."""

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._workers.drop()

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
            self._workers.ready()
            notify("READY=1", patience_s=10.0)
            log.info("ready; watching %s", self._spool.inbox)
            for job in self._spool.watch(self._signals, self._idle, self._kiosk.playing):
                try:
                    self._do(job)
                except DeviceError as e:  # of the spool: the worker's own are dealt with in _do
                    log.error("%s", e, extra={"JOB": job.id})
                    self._workers.back_off()
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
            worker = self._workers.ready()
            self._say(f"{job.id}: starting")
            self._spool.start(job)
            attempt = f", attempt {job.deaths + 1}" if job.deaths else ""
            log.info("%s: started%s", job.id, attempt, extra={"JOB": job.id})
            worker.give(job.portrait, job.speech, job.controls, job.output)
            try:
                outcome = self._outcome(worker, job)
            except _Stopped:
                self._workers.drop()
                self._spool.put_back(job, died=False)
                log.info("%s: parked, to be done again at the next start", job.id, extra={"JOB": job.id})
                raise
            self._end(job, outcome)
        except _Cancelled:
            self._workers.drop()  # what it is doing cannot be called off in any other way
            self._fail(job, RequestError(f"{job.id}: cancelled by order"))
            self._n_cancelled += 1
            too_late = ""
        finally:
            self._job = None
            if self._cancel is not None:
                self._kiosk.answer(self._cancel, Answer(too_late))
                self._cancel = None

    def _end(self, job: Job, outcome: Union[Finished, Failed, Died]) -> None:
        if isinstance(outcome, Finished):
            try:
                name = self._spool.publish(job, outcome.report)
            except RequestError as e:
                self._another_attempt(job, DeviceError(str(e)))
            else:
                self._n_done += 1
                self._kiosk.finished(self._spool.outbox / f"{name}.mp4")
                self._workers.worked()
        elif isinstance(outcome, Failed) and not isinstance(outcome.error, DeviceError):
            self._fail(job, outcome.error, outcome)
            self._workers.worked()
        elif isinstance(outcome, Failed):
            self._another_attempt(job, outcome.error, outcome)
        else:
            self._workers.n_deaths += 1
            self._another_attempt(job, RequestError(outcome.reason))

    def _fail(self, job: Job, error: SonicEdgeError, outcome: Optional[Failed] = None) -> None:
        self._spool.fail(job, error, outcome.controls if outcome else None)
        self._kiosk.failed(job.id)

    def _another_attempt(self, job: Job, error: SonicEdgeError, outcome: Optional[Failed] = None) -> None:
        """The worker or the machine failed on a job: count it, and give the job up when that was once too often.

        A machine that is really gone shows when the fresh worker cannot start; that is not counted against the job.
        """
        self._workers.drop()
        n_deaths = self._spool.put_back(job, died=True)
        attempts = self._settings.config.worker.attempts
        log.error("%s: %s (attempt %d of %d)", job.id, error, n_deaths, attempts, extra={"JOB": job.id})
        if n_deaths >= attempts:
            self._fail(job, type(error)(f"{error}; tried {n_deaths} times"), outcome)
            self._workers.worked()  # the next job is not to blame
        else:
            self._workers.back_off()

    def _outcome(self, worker: Worker, job: Job) -> Union[Finished, Failed, Died]:
        """Wait for the end of a job.

        Raises:
            _Stopped: If the daemon is to end.
            _Cancelled: If the job is.
        """
        stage, since, looked = "", 0.0, 0.0
        for message in self._workers.messages(worker):
            at = time.monotonic()
            if isinstance(message, Progress):
                if message.stage != stage:
                    stage, since = message.stage, at
                    log.info("%s: %s", job.id, stage, extra={"JOB": job.id, "STAGE": stage})
                self._show(job, message, at - since)
            elif isinstance(message, (Finished, Failed, Died)):
                return message
            elif message is not None:
                return Died(f"unexpected message from the worker: {message}")
            if at - looked >= PASS_S:
                looked = at
                full = self._spool.room.lacking(0.5)
                if full:
                    return Failed("DeviceError", full)
        raise AssertionError("a worker's messages have no end")

    def _show(self, job: Job, progress: Progress, since_s: float) -> None:
        """How far the job is; the stage began `since_s` ago."""
        percent = 100 * progress.done // max(1, progress.total)
        self._say(f"{job.id}: {progress.stage} {percent} %")
        left_s = None
        if progress.stage == "rendering" and progress.done > 0:
            left_s = since_s * (progress.total - progress.done) / progress.done
        self._kiosk.working(job.id, progress.stage, progress.done, progress.total, job.deaths + 1, left_s)

    # ---- on each pass ----------------------------------------------------------------------------------------------

    def _idle(self) -> None:
        """On each pass while there is no job: say that we live, and see that the worker does.

        Raises:
            ConfigError, DeviceError: As `WorkerSupervisor.ready`.
        """
        self._alive()
        self._workers.look_after_idle()
        self._workers.ready()
        self._say(self._spool.held or "waiting for jobs")

    def _turn(self) -> None:
        """While the worker is waited for.

        Raises:
            _Stopped: If the daemon is to end.
            _Cancelled: If the running job is not wanted any more.
        """
        if self._signals.is_set():
            raise _Stopped
        self._signals.drain()
        self._alive()
        if self._cancel is not None:
            raise _Cancelled

    def _alive(self) -> None:
        """We live, and so does what people see; do what they ask for."""
        if self._kiosk.check():
            notify("WATCHDOG=1")
        if self._signals.reads_again():
            self._reload()
        for order in self._kiosk.asked():
            self._obey(order)
        if time.monotonic() - self._reported >= PASS_S:
            self._report()
        self._write_figures()

    def _write_figures(self) -> None:
        """For monitoring. Here and not where they are made: the screen must not wait for a disk."""
        figures, path = self._kiosk.figures(), self._settings.config.metrics.path
        if figures is None or path is None:
            return
        error = metrics.write(Path(path) if path else self._spool.run / METRICS, figures)
        if error and error != self._metrics_error:
            log.warning("%s", error)
        self._metrics_error = error

    def _say(self, state: str) -> None:
        if state != self._state:
            self._state = state
            notify(f"STATUS={state}")
            self._report()

    def _report(self) -> None:
        """Let `sonic-edge status` know."""
        self._reported = time.monotonic()
        waiting = self._spool.waiting()
        n_failed = self._spool.n_failed - self._n_cancelled
        self._kiosk.report(
            Status(
                version=version("sonic-edge"),
                pid=os.getpid(),
                started=self._started,
                settings=self._settings.status,
                model=self._workers.model,
                up_s=round(time.monotonic() - self._since, 1),
                state=self._state,
                queue=QueueStatus(len(waiting), waiting[:_MOST_NAMES], self._spool.held),
                counts=Counts(self._n_done, self._n_cancelled, self._workers.n_deaths, n_failed),
                errors=self._recent.errors(),
                disk=self._spool.room.status(),
                worker=self._workers.status(is_working=self._job is not None),
            )
        )

    # ---- orders ----------------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        """Carry out an order about a job or the settings."""
        try:
            answer = self.orders[order.order](order)
        except SonicEdgeError as e:
            answer = Answer(str(e))
        if answer is not None:
            self._kiosk.answer(order, answer)

    def _cancel_job(self, order: Order) -> Optional[Answer]:
        """None if it is answered once the running job has been stopped."""
        if self._job is not None and order.name == self._job.id:
            if self._cancel is not None:
                raise RequestError(f"{order.name}: is being cancelled already")
            self._cancel = order  # `_turn` looks at it
            return None
        if not self._spool.cancel(order.name, RequestError(f"{order.name}: cancelled by order")):
            unknown = "no such job is waiting or being worked on; `sonic-edge status` lists them"
            raise RequestError(f"{order.name}: {unknown}")
        self._n_cancelled += 1
        return Answer()

    def _reload(self, order: Optional[Order] = None) -> Reloaded:
        """Read the settings again; what the next worker will have, and what it waits for."""
        error = self._settings.read_again(lambda config: self._spool.configure(config.spool, config.disk))
        self._report()  # before the answer: whoever asks next sees what has come of it
        folder = Path(self._settings.config.model.bundle)
        return Reloaded(
            error,
            ChosenModel(look(folder).digest, str(folder)),
            str(self._settings.path or ""),
            self._job.id if self._job is not None else "",
        )
