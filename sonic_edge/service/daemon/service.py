"""The daemon's jobs thread: takes jobs from the spool and has the worker do them."""

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
"""The metrics file, in the spool's run folder unless the settings say otherwise."""

_MOST_NAMES = 50


class _Stopped(Exception):
    """The daemon is to stop; caught in `Service.serve`."""


class _Cancelled(Exception):
    """The running job was cancelled; caught where it was started."""


class Service:
    """Runs jobs from the daemon's start until it stops.

    Args:
        config: The settings.
        config_path: The file they are reloaded from.
        spool: The locked spool.
        kiosk: Shows people the progress of their jobs, and receives their orders.
        signals: Stops the daemon, wakes it, and has it reload its settings.
        recent: The recent warnings and errors.
        command: The command that starts a worker.
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
        self._version = version("sonic-edge")  # looked up once: it reads files
        self._reported = 0.0
        self._metrics_error = ""
        self._n_done = self._n_cancelled = 0
        self.orders: Mapping[str, Callable[[Order], Optional[object]]] = {
            "cancel": self._cancel_job,
            "retry": lambda order: Retried(self._spool.retry(order.name)),
            "reload": self._reload,
        }
        """The orders that the jobs thread carries out; each returns its answer, or None to answer later."""

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._workers.drop()

    def serve(self) -> None:
        """Run jobs until a signal stops the daemon.

        Raises:
            ConfigError: If the worker reports that a setting is wrong.
            DeviceError: If no worker could be started for `GIVE_UP_S`.
        """
        try:
            left = self._spool.recover()
            if left:
                log.info("unfinished from last time: %s", ", ".join(job.id for job in left))
            self._workers.ready()
            notify("READY=1", patience_s=10.0)
            log.info("ready; watching %s", self._spool.inbox)
            for job in self._spool.watch(self._signals, self._idle, self._kiosk.playing):
                try:
                    self._do(job)
                except DeviceError as e:  # from the spool: the worker's are handled in _do
                    log.error("%s", e, extra={"JOB": job.id})
                    self._workers.back_off()
        except _Stopped:
            pass

    # ---- a job -----------------------------------------------------------------------------------------------------

    def _do(self, job: Job) -> None:
        """Make one attempt at a job. It ends in outbox or failed, or goes back to be attempted again.

        Raises:
            ConfigError: If a fresh worker was needed and reports that a setting is wrong.
            DeviceError: If the spool's disk fails, or no worker can be started.
            _Stopped: If the daemon is to stop; the job is parked.
        """
        self._job = job
        too_late = f"{job.id}: ended before it could be cancelled"
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
                log.info("%s: parked, to be run again at the next start", job.id, extra={"JOB": job.id})
                raise
            self._end(job, outcome)
        except _Cancelled:
            self._workers.drop()  # there is no other way to stop a running job
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
        """Count a failure of the worker or the machine on a job; after the last attempt the job fails.

        If the machine itself is broken, the fresh worker cannot start; that does not count against the job.
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
        """Wait for a job to end.

        Raises:
            _Stopped: If the daemon is to stop.
            _Cancelled: If the job is cancelled.
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
        """Show the job's progress; its stage began `since_s` seconds ago."""
        percent = 100 * progress.done // max(1, progress.total)
        self._say(f"{job.id}: {progress.stage} {percent} %")
        left_s = None
        if progress.stage == "rendering" and progress.done > 0:
            left_s = since_s * (progress.total - progress.done) / progress.done
        self._kiosk.working(job.id, progress.stage, progress.done, progress.total, job.deaths + 1, left_s)

    # ---- on each pass ----------------------------------------------------------------------------------------------

    def _idle(self) -> None:
        """One pass while there is no job: notify the watchdog, and replace a worker that has died.

        Raises:
            ConfigError, DeviceError: As for `WorkerSupervisor.ready`.
        """
        self._alive()
        self._workers.look_after_idle()
        self._workers.ready()
        self._say(self._spool.held or "waiting for jobs")

    def _turn(self) -> None:
        """One pass while waiting for the worker.

        Raises:
            _Stopped: If the daemon is to stop.
            _Cancelled: If the running job was cancelled.
        """
        if self._signals.is_set():
            raise _Stopped
        self._signals.drain()
        self._alive()
        if self._cancel is not None:
            raise _Cancelled

    def _alive(self) -> None:
        """On every pass: notify the watchdog if the kiosk is alive too, carry out orders, report."""
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
        """Write the metrics file. The kiosk thread takes the figures but must not wait for a disk."""
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
        """Update what `sonic-edge status` shows."""
        self._reported = time.monotonic()
        waiting = self._spool.waiting()
        n_failed = self._spool.n_failed - self._n_cancelled
        self._kiosk.report(
            Status(
                version=self._version,
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
        """Cancel a job. Returns None for the running one, which is answered once it has stopped."""
        if self._job is not None and order.name == self._job.id:
            if self._cancel is not None:
                raise RequestError(f"{order.name}: is already being cancelled")
            self._cancel = order  # checked by `_turn`
            return None
        if not self._spool.cancel(order.name, RequestError(f"{order.name}: cancelled by order")):
            unknown = "no such job is waiting or running; `sonic-edge status` lists them"
            raise RequestError(f"{order.name}: {unknown}")
        self._n_cancelled += 1
        return Answer()

    def _reload(self, order: Optional[Order] = None) -> Reloaded:
        """Reload the settings; returns the next worker's model, and the job that has to finish first."""
        error = self._settings.read_again(lambda config: self._spool.configure(config.spool, config.disk))
        self._report()  # before the answer, so that the next `status` shows the effect
        folder = Path(self._settings.config.model.bundle)
        return Reloaded(
            error,
            ChosenModel(look(folder).digest, str(folder)),
            str(self._settings.path or ""),
            self._job.id if self._job is not None else "",
        )
