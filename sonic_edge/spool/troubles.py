"""Logs each disk error once, not on every pass."""

import logging
from contextlib import contextmanager
from typing import Dict, Iterator

log = logging.getLogger(__name__)


class Troubles:
    """The present errors, by place: a folder or a job."""

    def __init__(self) -> None:
        self._known: Dict[str, str] = {}

    @contextmanager
    def watch(self, place: str) -> Iterator[None]:
        """Log a disk error and suppress it; also log when the place works again."""
        try:
            yield
        except (OSError, ValueError) as e:
            self.report(place, f"{place}: {e}")
        else:
            if self.forget(place):
                log.info("%s: works again", place)

    def report(self, place: str, error: str) -> None:
        """Log an error, unless the last one at this place was the same."""
        if self._known.get(place) != error:
            log.warning("%s; trying again", error)
        self._known[place] = error

    def forget(self, place: str) -> bool:
        """Clear a place's error; returns whether there was one."""
        return self._known.pop(place, None) is not None
