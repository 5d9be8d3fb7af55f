"""The most recent warnings and errors, for `sonic-edge status`."""

import logging
from collections import deque
from datetime import datetime
from typing import Deque, List

from ..status import RecentError

N_KEPT = 20
_LONGEST = 500


class Recent(logging.Handler):
    """A log handler that keeps the last `N_KEPT` warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: Deque[RecentError] = deque(maxlen=N_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, dropping the oldest if there are too many."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")
        self._kept.append(RecentError(when, record.getMessage()[:_LONGEST]))

    def errors(self) -> List[RecentError]:
        """The kept ones, oldest first."""
        return list(self._kept)
