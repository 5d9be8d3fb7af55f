"""The service: takes jobs from the spool, has the worker do them, and does what each error asks for.

It stays light and never opens a file of a job. Jobs are done in one thread, in two loops: waiting for a job
(`Spool.watch`) and waiting for the worker (`_Service._outcome`). Each pass of either is the watchdog's sign of life; a
worker that hangs is the daemon's own business, see ``worker.stall_s``. The screen, the studio and people's orders have
a thread beside it, see `front`.

================================  ================================================================================
job: RequestError, ConfigError    to failed with reason.json; go on
job: DeviceError, worker died     done again by a fresh worker, ``worker.attempts`` times in all; then to failed
worker cannot start: ConfigError  end with 78; the unit does not restart
worker cannot start: other        try again with back-off, for five minutes; then end with 1; systemd restarts
spool: disk trouble               wait with back-off; every step of the spool can be done again
SIGTERM, SIGINT                   kill the worker, park the job to be done again at the next start, end with 0
================================  ================================================================================
"""

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Dict, Iterator, Optional, Sequence, Type, Union

from .config import Config
from .errors import ConfigError, DeviceError, RequestError, SonicEdgeError
from .front import Front
from .inbox import Job, Spool
from .studio import COMMAND as STUDIO
from .worker import COMMAND, Died, Failed, Finished, Message, Ready, Worker, Working

log = logging.getLogger(__name__)

GIVE_UP_S = 300.0
"""A worker that has not started for this long is left to systemd, which starts everything afresh."""
LONGEST_WAIT_S = 60.0
"""The back-off doubles from one second up to this."""

_PASS_S = 1.0


def run(
    config: Config,
    config_path: Optional[Path] = None,
    command: Sequence[str] = COMMAND,
    studio: Sequence[str] = STUDIO,
) -> int:
    """Serve until told to stop. To be called from the main thread.

    Args:
        config: The settings.
        config_path: Where they came from, for the log.
        command: What to start as worker.
        studio: What to start as studio.

    Returns:
        The exit status: 0 after SIGTERM or SIGINT, 78 if a person must change something, 1 if the machine failed.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    log.info("starting; settings from %s; spool %s", config_path or "nowhere, the defaults hold", config.spool.root)
    with _Stop() as stop:
        try:
            with contextlib.ExitStack() as stack:
                spool = stack.enter_context(Spool(config.spool))
                front = stack.enter_context(Front(config, spool.run, studio))
                stack.enter_context(_Service(config, spool, front, stop, command)).serve()
        except SonicEdgeError as e:
            log.error("%s", e)
            notify("STOPPING=1", f"STATUS={e}")
            return e.exit_code
        notify("STOPPING=1", "STATUS=stopped")
    log.info("stopped")
    return 0


def notify(*lines: str, patience_s: float = 0.0) -> None:
    """Tell systemd, if it listens: sd_notify(3) in a dozen lines.

    Args:
        lines: Assignments, such as ``READY=1``.
        patience_s: How long to wait when systemd is behind with listening. What then still cannot be said is dropped:
            the next sign of life or status will say it as well.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    message = "\n".join(" ".join(line.split()) for line in lines)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.settimeout(patience_s)
        out.connect(address)
        out.send(message.encode(errors="replace"))


class _Stop:
    """Set by SIGTERM and SIGINT, while used as a context manager.

    Not a `threading.Event`: setting one in a signal handler deadlocks when the signal comes while the same thread is
    inside its `wait`.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._old: Dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_Stop":
        self.fd, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._old = {s: signal.signal(s, self._on_signal) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for s, handler in self._old.items():
            signal.signal(s, handler)
        os.close(self.fd)
        os.close(self._write_end)

    def _on_signal(self, number: int, frame: Optional[FrameType]) -> None:
        self._is_set = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._write_end, b"x")

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float) -> bool:
        if not self._is_set:
            select.select([self.fd], [], [], timeout)
        return self._is_set


class _Stopped(Exception):
    """The daemon is to end; unwinds to `_Service.serve`."""


class _Service:
    """One life of the daemon.

    Args:
        config: The settings.
        spool: The locked spool.
        front: Where people see what becomes of their jobs.
        stop: What ends it.
        command: What to start as worker.
    """

    def __init__(self, config: Config, spool: Spool, front: Front, stop: _Stop, command: Sequence[str]) -> None:
        self._config = config
        self._spool = spool
        self._front = front
        self._stop = stop
        self._command = command
        self._worker: Optional[Worker] = None
        self._wait_s = 1.0
        self._status = ""

    def __enter__(self) -> "_Service":
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
            for job in self._spool.watch(self._stop, self._idle):
                worker = self._ready_worker()
                try:
                    self._do(job, worker)
                except DeviceError as e:  # of the spool: the worker's own are dealt with in _do
                    log.error("%s", e)
                    self._back_off()
        except _Stopped:
            pass

    def _do(self, job: Job, worker: Worker) -> None:
        """One attempt at a job, up to its end in outbox or failed, or back to where it will come again from.

        Raises:
            DeviceError: If the spool's disk fails.
            _Stopped: If the daemon is to end; the job is parked.
        """
        self._say(f"{job.id}: starting")
        self._spool.start(job)
        log.info("%s: started%s", job.id, f", attempt {job.deaths + 1}" if job.deaths else "")
        worker.give(job.portrait, job.speech, job.controls, job.output)
        try:
            outcome = self._outcome(worker, job)
        except _Stopped:
            self._drop_worker()
            self._spool.put_back(job, died=False)
            log.info("%s: parked, to be done again at the next start", job.id)
            raise
        if isinstance(outcome, Finished):
            try:
                name = self._spool.publish(job, outcome.report)
            except RequestError as e:
                self._another_attempt(job, DeviceError(str(e)))
            else:
                self._front.finished(self._spool.outbox / f"{name}.mp4")
                self._wait_s = 1.0
        elif isinstance(outcome, Failed) and not isinstance(outcome.error, DeviceError):
            self._spool.fail(job, outcome.error, outcome.controls)
            self._front.failed(job.id)
            self._wait_s = 1.0
        elif isinstance(outcome, Failed):
            self._another_attempt(job, outcome.error, outcome)
        else:
            self._another_attempt(job, RequestError(outcome.reason))

    def _another_attempt(self, job: Job, error: SonicEdgeError, outcome: Optional[Failed] = None) -> None:
        """The worker or the machine failed on a job: count it, and give the job up when that was once too often.

        A machine that is really gone shows when the fresh worker cannot start; that is not counted against the job.
        """
        self._drop_worker()
        n_deaths = self._spool.put_back(job, died=True)
        log.error("%s: %s (attempt %d of %d)", job.id, error, n_deaths, self._config.worker.attempts)
        if n_deaths >= self._config.worker.attempts:
            told = type(error)(f"{error}; tried {n_deaths} times")
            self._spool.fail(job, told, outcome.controls if outcome else None)
            self._front.failed(job.id)
        else:
            self._back_off()

    def _outcome(self, worker: Worker, job: Job) -> Union[Finished, Failed, Died]:
        """Wait for the end of a job.

        Raises:
            _Stopped: If the daemon is to end.
        """
        for message in self._messages(worker):
            if isinstance(message, Working):
                percent = 100 * message.done // max(1, message.total)
                self._say(f"{job.id}: {message.stage} {percent} %")
                self._front.working(job.id, message.stage, message.done, message.total)
            elif isinstance(message, (Finished, Failed, Died)):
                return message
        raise _Stopped

    def _messages(self, worker: Worker) -> Iterator[Message]:
        """What the worker says, until the daemon is to end."""
        while not self._stop.is_set():
            message = worker.receive(_PASS_S, self._stop.fd)
            self._alive()
            if message is not None:
                yield message

    def _ready_worker(self) -> Worker:
        """The worker, started if need be, with its model loaded.

        Raises:
            ConfigError: If the worker says that a setting is wrong.
            DeviceError: If none could be started for `GIVE_UP_S`.
            _Stopped: If the daemon is to end.
        """
        since = time.monotonic()
        while self._worker is None or not self._worker.is_alive:
            self._say("loading the model")
            try:
                self._worker = self._start_worker()
                log.info("the worker is ready")
            except DeviceError as e:
                if time.monotonic() - since >= GIVE_UP_S:
                    raise
                log.error("%s; trying again", e)
                self._say(str(e))
                self._back_off()
        return self._worker

    def _start_worker(self) -> Worker:
        worker = Worker(self._config, self._command)
        with contextlib.ExitStack() as undo:
            undo.callback(worker.kill)
            for message in self._messages(worker):
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
            self._drop_worker()
            self._back_off()
        self._ready_worker()
        self._say("waiting for jobs")

    def _back_off(self) -> None:
        """Wait a little, longer each time.

        Raises:
            _Stopped: If the daemon is to end.
        """
        deadline = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        while time.monotonic() < deadline:
            self._alive()
            if self._stop.wait(min(_PASS_S, max(0.0, deadline - time.monotonic()))):
                raise _Stopped

    def _alive(self) -> None:
        """We live, and so does what people see."""
        self._front.check()
        notify("WATCHDOG=1")

    def _say(self, status: str) -> None:
        if status != self._status:
            self._status = status
            notify(f"STATUS={status}")
