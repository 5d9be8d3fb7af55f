"""The last things that went wrong, for `sonic-edge status`."""

import logging
from collections import deque
from datetime import datetime
from typing import Deque, List

from ..status import RecentError

N_KEPT = 20
_LONGEST = 500


class Recent(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: Deque[RecentError] = deque(maxlen=N_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")
        self._kept.append(RecentError(when, record.getMessage()[:_LONGEST]))

    def errors(self) -> List[RecentError]:
        """Those that are kept, the oldest first."""
        return list(self._kept)
