"""A real worker process around a pipeline that does what the recording says: ``python stub_worker.py [START]``.

Recordings are text files of one line: an action and its argument. START makes the start itself go wrong.
"""

import os
import signal
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from sonic_edge.errors import ConfigError, DeviceError, RequestError
from sonic_edge.service.worker import process


class Stub:
    def __init__(self, config):
        self.config = config
        self.n_done = 0

    def render(self, request, progress):
        action, _, argument = request.speech.read_text().strip().partition(" ")
        progress(SimpleNamespace(stage="rendering", done=0, total=100))
        getattr(self, action)(request, argument, progress)
        request.output.write_bytes(b"a video")
        self.n_done += 1
        return {
            "n_done": self.n_done,
            "pid": os.getpid(),
            "controls": dict(request.controls),
            "portrait": str(request.portrait),
            "speech": str(request.speech),
        }

    def ok(self, request, argument, progress):
        pass

    def noisy(self, request, argument, progress):
        print("a library prints")
        os.system("echo a child prints")

    def slow(self, request, seconds, progress):
        end = time.monotonic() + float(seconds)
        done = 500_000
        while time.monotonic() < end:
            time.sleep(0.02)
            done += 1
            progress(SimpleNamespace(stage="rendering", done=done, total=1_000_000))

    def circles(self, request, argument, progress):
        """Busy, and says so, but gets nowhere."""
        while True:
            time.sleep(0.02)
            progress(SimpleNamespace(stage="rendering", done=100, total=100))

    def refuse(self, request, argument, progress):
        raise RequestError(f"{request.speech.name}: nobody speaks")

    def control(self, request, argument, progress):
        raise ConfigError(f"{request.speech.name}: seed = x: must be a whole number")

    def device(self, request, argument, progress):
        raise DeviceError("the NPU is on fire")

    def bug(self, request, argument, progress):
        raise ValueError("a mistake of ours")

    def crash(self, request, times, progress):
        """Crash a given number of times, counted next to the spool; always, if no number is given."""
        tally = request.speech.parents[3] / f"crashes-{request.speech.name}"
        n = len(tally.read_text()) if tally.exists() else 0
        tally.write_text("x" * (n + 1))
        if not times or n < int(times):
            os.kill(os.getpid(), signal.SIGSEGV)

    def stall(self, request, argument, progress):
        time.sleep(3600)

    def hoard(self, request, argument, progress):
        self.hoarded = []
        while True:
            self.hoarded.append(np.ones(16 << 20, np.uint8))

    def babble(self, request, argument, progress):
        os.write(4, b"not json\n")
        time.sleep(3600)

    def nothing(self, request, argument, progress):
        raise SystemExit(3)


@contextmanager
def load(config):
    print("loading", file=sys.stderr)
    start = sys.argv[1] if len(sys.argv) > 1 else ""
    if start == "config":
        raise ConfigError("model.bundle = x: there is no such bundle")
    if start == "picky" and config.controls.seed == 13:
        raise ConfigError("controls.seed = 13: brings bad luck")
    if start == "picky" and "bad-net" in config.model.bundle:
        raise ConfigError(f"{config.model.bundle}/encoder.onnx: is damaged or changed")
    if start == "picky" and "odd-net" in config.model.bundle:
        raise DeviceError(f"{config.model.bundle}/encoder.onnx: the NPU cannot load it")
    if start == "device":
        raise DeviceError("no NPU")
    if start == "memory":
        raise MemoryError
    if start == "hang":
        time.sleep(3600)
    if start == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    yield Stub(config)


if __name__ == "__main__":
    sys.exit(process.main(load))
