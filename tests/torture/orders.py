"""Nonsense through the socket for people's orders."""

import contextlib
import json
import os
import random
import socket
from pathlib import Path

from sonic_edge.service import control
from sonic_edge.service.messages import Request

from .box import Box
from .jobs import Giver, audit
from .result import Result

N_ORDERS, N_JOBS = 2000, 20
WORDS = ("status", "cancel", "retry", "say", "talk", "mute", "snapshot")
VALUES = (
    None,
    True,
    -1,
    1e400,
    "",
    "x",
    "\x00",
    "..",
    "a/b",
    "/etc",
    "\ud800",
    "\udcff",
    "长" * 99,
    "a" * 3000,
    [],
    {},
    [[]],
)


def run(folder: Path, seed: int) -> Result:
    result, rng = Result("orders"), random.Random(seed)
    box = Box(folder)
    giver, given, n_answered = Giver(box.spool, seed), [], 0
    box.start()
    box.until_ready()
    for n in range(N_ORDERS):
        if n % (N_ORDERS // N_JOBS) == 0:
            given.append(giver.give())
        order = Request(rng.choice)
        order.update({key: rng.choice(VALUES) for key in ("name", "on", "words") if rng.random() < 0.6})
        line = bytearray(json.dumps(order).encode() + b"\n")
        if rng.random() < 0.2:
            line[rng.randrange(len(line))] = rng.randrange(256)
        n_answered += _send(box.spool / "run", bytes(line), rng.random() < 0.8)
        if not box.is_alive():
            result.expect(False, f"the daemon ended after {bytes(line)[:200]!r}: {box.last_words()}")
            return result
    box.until_idle()
    result.row("orders / answers", f"{N_ORDERS} / {n_answered}")
    result.expect(control.ask(box.spool / "run", Request("status"))["error"] == "", "status does not answer any more")
    result.expect(box.stop() == 0, "the daemon did not end well")
    reported = audit(box.spool, given)
    result.row("of the jobs meanwhile", reported)
    result.broken += reported.broken
    return result


def _send(run_folder: Path, line: bytes, waits: bool) -> bool:
    """Whether there was an answer."""
    handle = os.open(run_folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(5.0)
            caller.connect(f"/proc/self/fd/{handle}/{control.NAME}")
            caller.sendall(line)
            return waits and bool(caller.recv(1 << 16))
    finally:
        os.close(handle)
    return False
