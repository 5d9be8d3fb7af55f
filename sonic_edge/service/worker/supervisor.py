"""Keeps a worker ready: starts it with the settings in force, and another when it is gone or the settings are others.

================================  ================================================================================
worker cannot start: ConfigError  raised; with new settings: they are refused, the old ones stay
worker cannot start: other        tried again with back-off, for `GIVE_UP_S`, then raised; with another bundle: refused
                                  after `TRIES` times, the old one stays
================================  ================================================================================
"""

import contextlib
import logging
import time
from pathlib import Path
from typing import Callable, Iterator, Optional, Sequence

from ...config import Config
from ...errors import ConfigError, DeviceError, SonicEdgeError
from ...hardware.machine import memory_mb
from ...model.store import look, remedy_for
from ..settings import RunningSettings, is_same_for_worker
from ..status import ModelStatus, WorkerStatus
from .link import Died, Message, Worker
from .messages import Failed, Ready

log = logging.getLogger(__name__)

GIVE_UP_S = 300.0
"""A worker that has not started for this long is left to systemd, which starts everything afresh."""
TRIES = 3
"""A bundle with which a worker fails to start this often in a row is refused, if there is an old one."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""The back-off doubles from the first up to the second."""
PASS_S = 1.0
"""Nothing is waited for longer without `turn` being called."""


class WorkerSupervisor:
    """Holds the worker.

    Args:
        settings: What it is started with.
        command: What to start.
        turn: Called at least once in `PASS_S` while something is waited for. What it raises ends the wait.
        sleep: Sleeps for so many seconds or until woken.
        wake: A file descriptor that ends a wait for the worker when it becomes readable.
        say: Shows what is going on.
    """

    def __init__(
        self,
        settings: RunningSettings,
        command: Sequence[str],
        turn: Callable[[], None],
        sleep: Callable[[float], object],
        wake: int,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._command = command
        self._turn = turn
        self._sleep = sleep
        self._wake = wake
        self._say = say
        self._worker: Optional[Worker] = None
        self._started_with: Optional[Config] = None
        self._wait_s = FIRST_WAIT_S
        self.n_deaths = 0
        self.model: Optional[ModelStatus] = None
        """What a worker loaded last."""

    def ready(self) -> Worker:
        """The worker, started if need be, with its model loaded.

        Raises:
            ConfigError: If the worker says that a setting is wrong.
            DeviceError: If none could be started for `GIVE_UP_S`.
        """
        since, n_tries = time.monotonic(), 0
        if self._started_with is not None and not is_same_for_worker(self._started_with, self._settings.config):
            self.drop()
        while self._worker is None or not self._worker.is_alive:
            self._say("loading the model")
            config = self._settings.config
            try:
                self._start(config)
                log.info("the worker is ready")
                self._prove(config)
            except ConfigError as e:
                if self._settings.config is config:  # else others were read meanwhile
                    self._settings.go_back(ConfigError(self._with_way_back(e)))
            except DeviceError as e:
                n_tries += 1
                proven = self._settings.proven
                is_new = proven is not None and proven.model.bundle != config.model.bundle
                if is_new and n_tries >= TRIES and self._settings.config is config:
                    self._settings.go_back(DeviceError(self._with_way_back(e)))
                    continue
                if time.monotonic() - since >= GIVE_UP_S:
                    raise
                log.error("%s; trying again", e)
                self._say(str(e))
                self.back_off()
        return self._worker

    def messages(self, worker: Worker) -> Iterator[Optional[Message]]:
        """What the worker says, and None at least once in `PASS_S`."""
        while True:
            self._turn()
            yield worker.receive(PASS_S, self._wake)

    def drop(self) -> None:
        """End it at once; what it was doing is lost."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
        self._started_with = None

    def look_after_idle(self) -> None:
        """See that a worker with nothing to do lives; one that says something is replaced by `ready`."""
        message = self._worker.receive(0.0) if self._worker is not None else None
        if message is not None:
            words = message.reason if isinstance(message, Died) else f"it said {message} with nothing to do"
            log.error("%s; starting another worker", words)
            self.n_deaths += 1
            self.drop()
            self.back_off()

    def back_off(self) -> None:
        """Wait a little, longer each time."""
        deadline = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        while time.monotonic() < deadline:
            self._turn()
            self._sleep(min(PASS_S, max(0.0, deadline - time.monotonic())))

    def worked(self) -> None:
        """Something went well: the next back-off is short again."""
        self._wait_s = FIRST_WAIT_S

    def status(self, is_working: bool) -> WorkerStatus:
        """For `sonic-edge status`."""
        if self._worker is None:
            return WorkerStatus()
        pid = self._worker.pid
        return WorkerStatus("working" if is_working else "ready", pid, memory_mb(pid))

    def _start(self, config: Config) -> None:
        worker = Worker(config, self._command)
        with contextlib.ExitStack() as undo:
            undo.callback(worker.kill)
            for message in self.messages(worker):
                if message is None:
                    continue
                if isinstance(message, Ready):
                    undo.pop_all()
                    self._worker, self._started_with = worker, config
                    return
                if isinstance(message, Failed) and isinstance(message.error, ConfigError):
                    raise message.error
                words = f"unexpected message {message}"
                if isinstance(message, Failed):
                    words = message.message
                elif isinstance(message, Died):
                    words = message.reason
                raise DeviceError(f"the worker cannot be started: {words}")

    def _prove(self, config: Config) -> None:
        self._settings.prove(config)
        found = look(Path(config.model.bundle))
        self.model = ModelStatus(
            found.name, found.version, config.model.backend, found.digest, str(Path(config.model.bundle))
        )

    def _with_way_back(self, error: SonicEdgeError) -> str:
        """If it is about the bundle, with what to do."""
        model = self._settings.config.model
        is_about_it = model.bundle in str(error)
        return f"{error}; {remedy_for(Path(model.bundle), Path(model.store))}" if is_about_it else str(error)
