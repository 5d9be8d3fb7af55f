"""Ten thousand things in the inbox that are no jobs, with jobs among them."""

import logging
import os
import random
import socket
import time
from pathlib import Path
from typing import Set

from sonic_edge.config import SpoolSettings
from sonic_edge.spool.scan import InboxScanner

from .box import QUICK, Box, cpu_s
from .jobs import Giver, audit
from .result import Result

N_JUNK, N_JOBS = 10_000, 60
POLL_S = 0.5  # as configured by default
MEASURED_S = 20.0
MOST_MS = 250.0
"""Processor time a look at all that may take, here; half of one core of this machine at the default pace."""


def run(folder: Path, seed: int) -> Result:
    result = Result("junk")
    box = Box(folder, settings={"spool": {"poll_s": POLL_S}})
    junk = _litter(box.spool / "inbox", random.Random(seed))
    given, giver = [], Giver(box.spool, seed)
    since = time.monotonic()
    box.start()
    box.until_ready()
    for _ in range(N_JOBS):
        given.append(giver.give())
    box.until(lambda: set(box.names("inbox")) <= junk and not box.names("work"), "only junk left", 300)
    result.row(f"{N_JOBS} jobs among {len(junk)} pieces of junk, seconds", f"{time.monotonic() - since:.1f}")
    assert box.process is not None
    time.sleep(2)
    n_log, used = len(box.text().splitlines()), cpu_s(box.process.pid)
    time.sleep(MEASURED_S)
    n_said, share = len(box.text().splitlines()) - n_log, (cpu_s(box.process.pid) - used) / MEASURED_S
    result.row("processor share of the daemon with nothing to do", f"{100 * share:.1f} %")
    result.row("log lines in all / in the next 20 s / bytes", f"{n_log} / {n_said} / {box.log.stat().st_size}")
    result.expect(n_said == 0, f"the junk is reported of again and again: {n_said} lines in {MEASURED_S:.0f} s")
    result.expect(n_log < 2000, f"{n_log} log lines: one for each piece of junk")
    missing = junk - set(box.names("inbox"))
    result.expect(not missing, f"{len(missing)} pieces of junk are gone: {sorted(missing)[:5]}")
    result.expect(box.stop() == 0, "the daemon did not end well")
    milliseconds = _milliseconds_a_look(box.spool / "inbox")
    result.row("a look at the inbox, ms of processor time", f"{milliseconds:.0f}")
    result.expect(milliseconds < MOST_MS, f"a look takes {milliseconds:.0f} ms, more than {MOST_MS:.0f}")
    for name in junk:
        _take_away(box.spool / "inbox" / name)
    reported = audit(box.spool, given)
    result.row("of the jobs", reported)
    result.broken += reported.broken
    return result


def _litter(inbox: Path, rng: random.Random) -> Set[str]:
    """Fill the inbox with things that are no jobs; their names."""
    names = set()
    for n in range(N_JUNK):
        stem = rng.choice(("junk {n}", "垃圾 {n}", "-{n}", "new\nline {n}", "\udcfe{n}", "{n}" + "y" * 200)).format(n=n)
        suffix = rng.choice((".txt", ".doc", "", ".exe", ".jpg", ".png", ".yaml", ".wav.part", ".mp3.crdownload", "~"))
        kind = rng.choice(("file", "file", "file", "file", "folder", "link", "pipe", "socket", "hidden", "sparse"))
        path = inbox / (f".{stem}{suffix}" if kind == "hidden" else f"{stem}{suffix}")
        names.add(path.name)
        if kind == "folder":
            path.mkdir()
            (path / "something.txt").write_bytes(b"x")
        elif kind == "link":
            path.symlink_to(rng.choice(("/etc/passwd", "nowhere", ".", "/")))
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket" and len(os.fsencode(path)) < 100:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(os.fsencode(path))
        else:
            path.write_bytes(rng.randbytes(rng.choice((0, 1, 100, 5000))))
            if kind == "sparse":
                os.truncate(path, 10 << 30)
    return names


def _milliseconds_a_look(inbox: Path, n_looks: int = 10) -> float:
    settings = SpoolSettings(root=str(inbox.parent), **QUICK)
    logging.disable(logging.CRITICAL)
    scanner = InboxScanner(inbox, settings)
    scanner.due()
    since = time.process_time()
    for _ in range(n_looks):
        scanner.due()
    logging.disable(logging.NOTSET)
    return 1000 * (time.process_time() - since) / n_looks


def _take_away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        (path / "something.txt").unlink()
        path.rmdir()
    else:
        path.unlink()
