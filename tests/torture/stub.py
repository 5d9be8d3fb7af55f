"""A real worker process around a pipeline that does what the recording says, in milliseconds.

A recording is text: its job's mark, then an action and its argument. The video is written in place and piece by piece,
so that publishing it too early publishes a part; it ends in a hash of the rest.
"""

import hashlib
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[2]))

from sonic_edge.errors import ConfigError, DeviceError, RequestError
from sonic_edge.service.worker import process

PIECES, PIECE_BYTES = 8, 16384


def video(mark):
    """What the video of a job is: its mark, filling, a hash."""
    body = mark.encode().ljust(64) + hashlib.sha256(mark.encode()).digest() * (PIECES * PIECE_BYTES // 32)
    return body + hashlib.sha256(body).digest()


def mark_in(data):
    """The mark of the job a whole video belongs to.

    Raises:
        ValueError: If it is not whole.
    """
    if len(data) < 96 or hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise ValueError(f"{len(data)} bytes that are no whole video")
    return data[:64].decode().rstrip()


class Stub:
    def render(self, request, progress):
        if not request.portrait.read_bytes().startswith(b"photo of "):
            raise RequestError(f"{request.portrait.name}: is no photo")
        mark, action, argument = request.speech.read_text().split("\n")[:3]
        progress(SimpleNamespace(stage="rendering", done=0, total=PIECES))
        getattr(self, action)(request, argument)
        data = video(mark)
        try:
            with request.output.open("wb", buffering=0) as file:
                for i in range(PIECES + 1):
                    file.write(data[i * PIECE_BYTES : (i + 1) * PIECE_BYTES])
                    progress(SimpleNamespace(stage="rendering", done=i, total=PIECES))
        except OSError as e:
            raise DeviceError(f"{request.output}: cannot be written: {e.strerror}") from e
        return {"mark": mark}

    def ok(self, request, argument):
        pass

    def slow(self, request, seconds):
        time.sleep(float(seconds))

    def held(self, request, hold):
        """As long as there is a file of that name."""
        while Path(hold).exists():
            time.sleep(0.02)

    def refuse(self, request, argument):
        raise RequestError(f"{request.speech.name}: nobody speaks")

    def control(self, request, argument):
        raise ConfigError(f"{request.speech.name}: seed = x: must be a whole number")

    def bug(self, request, argument):
        raise ValueError("a mistake of ours")

    def crash(self, request, tally):
        """Crash the first time; always, without a tally to remember it by."""
        if not tally or not Path(tally).exists():
            if tally:
                Path(tally).touch()
            os.kill(os.getpid(), signal.SIGSEGV)


@contextmanager
def load(config):
    yield Stub()


if __name__ == "__main__":
    sys.exit(process.main(load))
