"""Waiting for another thread or process."""

import time
from pathlib import Path

DEADLINE_S = 120
"""Only to end a hang: no sound run comes near it, however slow the machine."""


def until(condition, what):
    """Wait until the condition holds; otherwise fail with `what`: text, or a function that returns it."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what() if callable(what) else what}: not in {DEADLINE_S} s"
        time.sleep(0.02)


def state_of(pid):
    """State of a process, a letter as in proc(5): T is stopped, Z dead and not yet reaped; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def lives(pid):
    return state_of(pid) not in ("", "Z")
