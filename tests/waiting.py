"""Waiting for what another thread or process does."""

import time

DEADLINE_S = 120
"""Only ends what would hang: however long anybody is held up, no sound run comes near it."""


def until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not in {DEADLINE_S} s"
        time.sleep(0.01)
