"""Keeps a worker ready: starts one with the settings in force, and replaces it when it dies or they change.

================================  ================================================================================
worker cannot start: ConfigError  raised; with new settings: they are refused, the old ones stay in force
worker cannot start: other        retried with back-off, for `GIVE_UP_S`, then raised; with another bundle: that is
                                  refused after `TRIES` attempts, the old one stays in use
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
"""If no worker could be started for this long, the daemon exits and systemd restarts it."""
TRIES = 3
"""A new bundle is refused after this many failed starts in a row, if there is an old one."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""The back-off doubles from the first up to the second."""
PASS_S = 1.0
"""The longest wait between two calls of `turn`."""


class WorkerSupervisor:
    """Owns the worker.

    Args:
        settings: The settings to start it with.
        command: The command that starts it.
        turn: Called at least once in `PASS_S` during every wait. An exception that it raises ends the wait.
        sleep: Sleeps for the given number of seconds or until woken.
        wake: A file descriptor that ends a wait for the worker when it becomes readable.
        say: Shows what the daemon is doing.
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
        """The model that was last loaded."""

    def ready(self) -> Worker:
        """The worker with its model loaded; starts one if necessary.

        Raises:
            ConfigError: If the worker reports that a setting is wrong.
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
                if self._settings.config is config:  # otherwise they were reloaded meanwhile
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
        """The worker's messages as they arrive; None if there is none for `PASS_S`."""
        while True:
            self._turn()
            yield worker.receive(PASS_S, self._wake)

    def drop(self) -> None:
        """Kill the worker at once; an unfinished job is lost."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
        self._started_with = None

    def look_after_idle(self) -> None:
        """Check an idle worker. One that has died or sends a message is dropped, and `ready` starts another."""
        message = self._worker.receive(0.0) if self._worker is not None else None
        if message is not None:
            idle = f"unexpected message from the idle worker: {message}"
            log.error("%s; starting another worker", message.reason if isinstance(message, Died) else idle)
            self.n_deaths += 1
            self.drop()
            self.back_off()

    def back_off(self) -> None:
        """Wait for the back-off time, and double it."""
        deadline = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        while time.monotonic() < deadline:
            self._turn()
            self._sleep(min(PASS_S, max(0.0, deadline - time.monotonic())))

    def worked(self) -> None:
        """Reset the back-off, after a success."""
        self._wait_s = FIRST_WAIT_S

    def status(self, is_working: bool) -> WorkerStatus:
        """The worker's part of the status."""
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
                why = f"unexpected message {message}"
                if isinstance(message, Failed):
                    why = message.message
                elif isinstance(message, Died):
                    why = message.reason
                raise DeviceError(f"the worker cannot be started: {why}")

    def _prove(self, config: Config) -> None:
        self._settings.prove(config)
        found = look(Path(config.model.bundle))
        self.model = ModelStatus(
            found.name, found.version, config.model.backend, found.digest, str(Path(config.model.bundle))
        )

    def _with_way_back(self, error: SonicEdgeError) -> str:
        """The error's message; if it is about the bundle, followed by a remedy."""
        model = self._settings.config.model
        is_about_it = model.bundle in str(error)
        return f"{error}; {remedy_for(Path(model.bundle), Path(model.store))}" if is_about_it else str(error)
