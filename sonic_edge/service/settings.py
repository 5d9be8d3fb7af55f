"""The settings of a running daemon: those in force, those a worker has started with, and how they are changed."""

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
"""What the worker is started with."""


class RunningSettings:
    """The settings in force.

    Args:
        config: Those at the start.
        path: The file they came from and are read again from.
        changed: Called with what everything but the worker is to go on with. It keeps the model that a worker has
            started with until a worker has started with another.
    """

    def __init__(self, config: Config, path: Optional[Path], changed: Callable[[Config], None]) -> None:
        self.config = config
        self.path = path
        self._changed = changed
        self.proven: Optional[Config] = None
        """With these a worker has started."""
        self.status = SettingsStatus(str(path or ""), now())

    def read_again(self, check: Callable[[Config], None]) -> str:
        """Go on with what the file says now; if that is wrong, with what it said before.

        Args:
            check: Raises a `SonicEdgeError` if the settings cannot be gone on with.

        Returns:
            Why the old ones stay; empty if they do not.
        """
        if self.path is None:
            log.warning("there is no settings file to read again")
            return "it was started without a settings file; start it again"
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
        """A worker has started with these: everything else may have their model too."""
        self.proven = config
        self._changed(self._with_model(config))

    def go_back(self, error: SonicEdgeError) -> None:
        """Go on with the settings that a worker has started with, because none starts with those in force.

        Raises:
            SonicEdgeError: The error, if there are no others to go back to.
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
        log.error("the new settings are refused, the old ones stay: %s", error)
        self.status = SettingsStatus(str(self.path or ""), now(), str(error))


def is_same_for_worker(one: Config, other: Config) -> bool:
    """Whether a worker of the one would do for the other."""
    return all(getattr(one, name) == getattr(other, name) for name in WORKER_SECTIONS)


def now() -> str:
    """The time, ISO 8601."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
