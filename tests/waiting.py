"""Waiting for what another thread or process does."""

import time

DEADLINE_S = 120
"""Only ends what would hang: however long anybody is held up, no sound run comes near it."""


def until(condition, what):
    """Come back once it holds; `what` is missed if it does not: words, or what finds them then."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what() if callable(what) else what}: not in {DEADLINE_S} s"
        time.sleep(0.02)
