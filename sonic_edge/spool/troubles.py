"""Troubles of the disk: logged once, not on every pass."""

import logging
from contextlib import contextmanager
from typing import Dict, Iterator

log = logging.getLogger(__name__)


class Troubles:
    """What is wrong now, by place."""

    def __init__(self) -> None:
        self._known: Dict[str, str] = {}

    @contextmanager
    def watch(self, place: str) -> Iterator[None]:
        """Log a disk error and go on; also log when it is over."""
        try:
            yield
        except (OSError, ValueError) as e:
            self.report(place, f"{place}: {e}")
        else:
            if self.forget(place):
                log.info("%s: works again", place)

    def report(self, place: str, words: str) -> None:
        """Something is wrong; logged unless it is what was wrong before."""
        if self._known.get(place) != words:
            log.warning("%s; trying again", words)
        self._known[place] = words

    def forget(self, place: str) -> bool:
        """Nothing is wrong; whether something was."""
        return self._known.pop(place, None) is not None
