"""The settings of a running daemon: those in force, those a worker has started with, and how they change."""

import logging
from datetime import datetime
from pathlib import Path
from typing import Callable, Optional

from ..config import Config, load_config
from ..errors import SonicEdgeError
from ..model.store import pinned
from .status import SettingsStatus

log = logging.getLogger(__name__)

WORKER_SECTIONS = ("controls", "model", "label", "encode", "limits", "worker")
"""The sections that the worker depends on."""


class RunningSettings:
    """The settings in force.

    Args:
        config: The settings at start-up.
        path: The file they came from and are reloaded from.
        changed: Called with the settings for everything but the worker. They keep the model of the last worker that
            started, until a worker has started with another model.
    """

    def __init__(self, config: Config, path: Optional[Path], changed: Callable[[Config], None]) -> None:
        self.config = config
        self.path = path
        self._changed = changed
        self.proven: Optional[Config] = None
        """The settings that a worker last started with."""
        self.status = SettingsStatus(str(path or ""), now())

    def read_again(self, check: Callable[[Config], None]) -> str:
        """Reload the settings file; if it is invalid, keep the settings in force.

        Args:
            check: Raises a `SonicEdgeError` if the daemon cannot continue with the settings.

        Returns:
            Why the old settings stay in force; empty if the new ones are.
        """
        if self.path is None:
            log.warning("there is no settings file to reload")
            return "the daemon was started without a settings file; restart it to change its settings"
        try:
            config = pinned(load_config(self.path))
            check(config)
        except SonicEdgeError as e:
            self._refuse(e)
            return str(e)
        self.config = config
        self._changed(self._with_model(self.proven or config))
        self.status = SettingsStatus(str(self.path), now())
        log.info("the settings were read again from %s", self.path)
        return ""

    def prove(self, config: Config) -> None:
        """Record that a worker has started with these settings: everything else may now use their model too."""
        self.proven = config
        self._changed(self._with_model(config))

    def go_back(self, error: SonicEdgeError) -> None:
        """Return to the settings that a worker last started with, because none starts with those in force.

        Raises:
            SonicEdgeError: `error`, if there are no other settings to return to.
        """
        if self.proven is None or is_same_for_worker(self.proven, self.config):
            raise error
        self._refuse(error)
        old = {name: getattr(self.proven, name) for name in WORKER_SECTIONS}
        self.config = self.config.model_copy(update=old)
        self._changed(self.config)

    def _with_model(self, other: Config) -> Config:
        return self.config.model_copy(update={"model": other.model})

    def _refuse(self, error: SonicEdgeError) -> None:
        log.error("the new settings are refused, the old ones stay in force: %s", error)
        self.status = SettingsStatus(str(self.path or ""), now(), str(error))


def is_same_for_worker(one: Config, other: Config) -> bool:
    """Whether a worker started with one of them can serve the other."""
    return all(getattr(one, name) == getattr(other, name) for name in WORKER_SECTIONS)


def now() -> str:
    """The current local time, ISO 8601."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
