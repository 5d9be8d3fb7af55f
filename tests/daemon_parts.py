"""A daemon in a process of its own, on a spool of its own."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from waiting import DEADLINE_S

QUICK = {"settle_s": 0.2, "pair_s": 0.6, "poll_s": 0.1}

RUN_WITH_STUB = """
import sys
from pathlib import Path
from sonic_edge import config
from sonic_edge.service import daemon
path = Path(sys.argv[1])
sys.exit(daemon.run(config.load_config(path), path, command=(sys.executable, *sys.argv[2:])))
"""


class Daemon:
    """A real daemon process with its own spool; its log is in `log`."""

    def __init__(self, folder, command, notify_socket=None):
        self.spool = folder / "spool"
        self.log = folder / "log"
        environment = dict(os.environ)
        if notify_socket is not None:
            environment["NOTIFY_SOCKET"] = notify_socket
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)

    def until(self, condition, what):
        end = time.monotonic() + DEADLINE_S
        while True:
            has_ended = self.process.poll() is not None  # asked first: what it did last counts
            if condition():
                return
            assert not has_ended, f"the daemon ended\n{self.text()[-3000:]}"
            assert time.monotonic() < end, f"{what}: not in {DEADLINE_S} s\n{self.text()[-3000:]}"
            time.sleep(0.05)

    def until_logged(self, words, times=1):
        self.until(lambda: self.text().count(words) >= times, words)

    def until_there(self, path):
        self.until((self.spool / path).exists, path)

    def text(self):
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def until_empty(self, path):
        self.until(lambda: not any((self.spool / path).iterdir()), f"{path} empty")

    def end(self, number=signal.SIGTERM):
        """Its exit status and how long it took to end."""
        since = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S), time.monotonic() - since

    def json(self, path):
        return json.loads((self.spool / path).read_text(encoding="utf-8"))


def drop(daemon, name, action):
    """A pair, moved in as a careful program would."""
    box = daemon.spool / "inbox"
    box.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".jpg", "photo"), (".wav", action)):
        draft = box / f".{name}{suffix}"
        draft.write_text(text)
        draft.rename(box / f"{name}{suffix}")


def worker_of(daemon):
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])
