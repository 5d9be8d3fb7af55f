"""Waiting for what another thread or process does."""

import time
from pathlib import Path

DEADLINE_S = 120
"""Only ends what would hang: however long anybody is held up, no sound run comes near it."""


def until(condition, what):
    """Come back once it holds; `what` is missed if it does not: words, or what finds them then."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what() if callable(what) else what}: not in {DEADLINE_S} s"
        time.sleep(0.02)


def state_of(pid):
    """Of a process, a letter as in proc(5): T is stopped, Z dead and not yet taken away; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def lives(pid):
    return state_of(pid) not in ("", "Z")
