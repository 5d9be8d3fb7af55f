"""Where the log goes: to systemd's journal, with structured fields, if there is one; otherwise to standard error.

A record about a job names it with ``extra={"JOB": "lesson", "STAGE": "rendering"}``, so that `journalctl JOB=lesson`
shows only that job. File names are untrusted: whatever they contain, a record stays one record and cannot control a
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
"""`journalctl -t sonic-edge` shows our records however the process was started."""

_FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_FORMAT = "%(message)s"

Send = Callable[..., object]


def set_up() -> None:
    """Send this process's records, INFO and above, to the journal or standard error. A log already set up is kept."""
    is_journal = stderr_is_journal()
    lines = _Lines(with_priority=is_journal)
    send = _sender() if is_journal else None
    logging.basicConfig(handlers=[lines if send is None else _Journal(send, lines)], level=logging.INFO)


def stderr_is_journal() -> bool:
    """Whether standard error goes to the journal, according to JOURNAL_STREAM (systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(2)
        return (int(device), int(inode)) == (found.st_dev, found.st_ino)
    except (OSError, ValueError):
        return False


def one_record(text: str) -> str:
    """The text with control characters escaped, so that it stays one record; its further lines begin with ``|``."""
    shown = "".join(c if c == "\n" or not _is_control(c) else c.encode("unicode_escape").decode() for c in text)
    return shown.replace("\n", "\n    | ")


def fields(record: logging.LogRecord) -> Dict[str, str]:
    """The fields that `extra` gave a record: names in capitals, values as text."""
    return {k: str(v) for k, v in record.__dict__.items() if _FIELD.fullmatch(k) and v not in (None, "")}


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _priority(level: int) -> int:
    """The syslog priority of a logging level."""
    return next((priority for least, priority in _PRIORITIES if level >= least), 7)


def _sender() -> Optional[Send]:
    """The function that sends a record to the journal; None if systemd-python is missing or does not work here."""
    if not SOCKET.exists():  # in a sandbox: libsystemd would silently discard the records
        return None
    try:
        from systemd.journal import send
    except Exception:  # a library that does not load must not cost us the log
        return None
    return send  # type: ignore[no-any-return]


class _Lines(logging.StreamHandler):  # type: ignore[type-arg]  # it is generic only for type checkers
    """Records as lines on standard error.

    Args:
        with_priority: For the journal, which reads a priority before each line (sd-daemon(3)) and adds the time itself.
    """

    def __init__(self, with_priority: bool) -> None:
        super().__init__(sys.stderr)
        self._with_priority = with_priority
        self.setFormatter(logging.Formatter(_FORMAT if with_priority else f"%(asctime)s %(levelname)s {_FORMAT}"))

    def format(self, record: logging.LogRecord) -> str:
        """The line, including the job's name."""
        text, job = super().format(record), fields(record).get("JOB", "")
        if job and job not in record.getMessage():
            text += f" [{job}]"
        text = one_record(text)
        if not self._with_priority:
            return text
        mark = f"<{_priority(record.levelno)}>"
        return mark + text.replace("\n", f"\n{mark}")


class _Journal(logging.Handler):
    """Records as journal entries; one that the journal refuses becomes a line.

    Args:
        send: `systemd.journal.send` or a function like it.
        lines: Handles the records that the journal refuses.
    """

    def __init__(self, send: Send, lines: logging.Handler) -> None:
        super().__init__()
        self._send = send
        self._lines = lines
        self.setFormatter(logging.Formatter(_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record to the journal."""
        try:
            self._send(one_record(self.format(record)), **self._entry(record))
        except Exception:  # whatever is wrong with the journal, it must neither lose the record nor end the daemon
            with contextlib.suppress(Exception):
                self._lines.handle(record)

    def _entry(self, record: logging.LogRecord) -> Dict[str, Any]:
        # bytes of a name that are not UTF-8 are shown escaped
        own = {k: v.encode(errors="backslashreplace") for k, v in fields(record).items() if k not in _RESERVED}
        return {
            **own,
            "PRIORITY": str(_priority(record.levelno)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": record.lineno,
            "CODE_FUNC": record.funcName,
        }


_RESERVED = ("MESSAGE", "MESSAGE_ID", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "CODE_FILE", "CODE_LINE", "CODE_FUNC")
