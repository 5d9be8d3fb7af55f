"""Where the log goes: to systemd's journal with fields of its own where there is one, else to standard error.

A line about a job says which by ``extra={"JOB": "lesson", "STAGE": "rendering"}``: `journalctl JOB=lesson` then shows
that job alone. Names come from strangers: whatever they hold, a record stays one record, and no sign of it steers a
terminal.
"""

import contextlib
import logging
import os
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any, Callable, Dict, Optional

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "sonic-edge"
"""`journalctl -t sonic-edge` shows what we say, whatever we were started by."""

_FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_FORMAT = "%(message)s"

Send = Callable[..., object]


def set_up() -> None:
    """Send every record of this process, from INFO on, to where it belongs. A process that has a log keeps it."""
    is_journal = stderr_is_journal()
    lines = _Lines(with_priority=is_journal)
    send = _sender() if is_journal else None
    logging.basicConfig(handlers=[lines if send is None else _Journal(send, lines)], level=logging.INFO)


def stderr_is_journal() -> bool:
    """Whether standard error goes to the journal, as systemd.exec(5) tells by JOURNAL_STREAM."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(2)
        return (int(device), int(inode)) == (found.st_dev, found.st_ino)
    except (OSError, ValueError):
        return False


def one_record(text: str) -> str:
    """The text with nothing in it that a terminal obeys or that begins a new line; further lines begin with ``|``."""
    shown = "".join(c if c == "\n" or not _is_control(c) else c.encode("unicode_escape").decode() for c in text)
    return shown.replace("\n", "\n    | ")


def fields(record: logging.LogRecord) -> Dict[str, str]:
    """What `extra` said of a record: names in capitals, values as text."""
    return {k: str(v) for k, v in record.__dict__.items() if _FIELD.fullmatch(k) and v not in (None, "")}


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _priority(level: int) -> int:
    """Of syslog."""
    return next((priority for least, priority in _PRIORITIES if level >= least), 7)


def _sender() -> Optional[Send]:
    """What gives a record to the journal; None without systemd-python, or with one that does not fit this system."""
    if not SOCKET.exists():  # in a sandbox: libsystemd would throw the records away without a word
        return None
    try:
        from systemd.journal import send
    except Exception:  # a library that does not load must not cost the log
        return None
    return send  # type: ignore[no-any-return]


class _Lines(logging.StreamHandler):  # type: ignore[type-arg]  # it is generic only for type checkers
    """Records as lines on standard error.

    Args:
        with_priority: The journal reads it: a priority goes before the line (sd-daemon(3)), and it notes the time.
    """

    def __init__(self, with_priority: bool) -> None:
        super().__init__(sys.stderr)
        self._with_priority = with_priority
        self.setFormatter(logging.Formatter(_FORMAT if with_priority else f"%(asctime)s %(levelname)s {_FORMAT}"))

    def format(self, record: logging.LogRecord) -> str:
        """The line; the job's name is in it."""
        text, job = super().format(record), fields(record).get("JOB", "")
        if job and job not in record.getMessage():
            text += f" [{job}]"
        text = one_record(text)
        if not self._with_priority:
            return text
        mark = f"<{_priority(record.levelno)}>"
        return mark + text.replace("\n", f"\n{mark}")


class _Journal(logging.Handler):
    """Records as entries of the journal; one that it does not take becomes a line.

    Args:
        send: As `systemd.journal.send`.
        lines: What else to do with a record.
    """

    def __init__(self, send: Send, lines: logging.Handler) -> None:
        super().__init__()
        self._send = send
        self._lines = lines
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Send it."""
        try:
            self._send(one_record(self.format(record)), **self._entry(record))
        except Exception:  # whatever is wrong with the journal, the record must not be lost nor the daemon end by it
            with contextlib.suppress(Exception):
                self._lines.handle(record)

    def _entry(self, record: logging.LogRecord) -> Dict[str, Any]:
        # a name that is not UTF-8 shows its bytes
        own = {k: v.encode(errors="backslashreplace") for k, v in fields(record).items() if k not in _OURS}
        return {
            **own,
            "PRIORITY": str(_priority(record.levelno)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": record.lineno,
            "CODE_FUNC": record.funcName,
        }


_OURS = ("MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "CODE_FILE", "CODE_LINE", "CODE_FUNC")
