"""A process of ours and its parent: JSON lines over pipes, never pickles; it is bounded, and ends when the parent does.

A file that takes such a process over must not get the daemon too: what comes back is read as JSON, within bounds.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
from pathlib import Path
from typing import BinaryIO, Dict, List, Optional, Sequence, Tuple

from ..errors import DeviceError

MAX_LINE_BYTES = 4 << 20
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def environment() -> Dict[str, str]:
    """What a process of ours inherits: it is not a service of its own and must not answer the daemon's watchdog."""
    return {k: v for k, v in os.environ.items() if k not in _OWN}


class Child:
    """A running process, seen from its parent.

    Args:
        command: What to start.
        name: What to call it in words: ``the worker``.

    Raises:
        DeviceError: If it cannot be started.
    """

    def __init__(self, command: Sequence[str], name: str) -> None:
        self._name = name
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment()
            )
        except OSError as e:
            raise DeviceError(f"{name} cannot be started: {e}") from e
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        os.set_blocking(self._from.fileno(), False)
        self._pending = b""
        self.is_alive = True

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def fd(self) -> int:
        """Becomes readable when it says something, or ends."""
        return self._from.fileno()

    def send(self, line: bytes) -> None:
        """Send a line; that the process is dead is noticed by `line`."""
        with contextlib.suppress(BrokenPipeError):
            self._to.write(line)

    def wait(self, timeout_s: float, wake: Optional[int] = None) -> None:
        """Wait until it says something, or `wake` becomes readable."""
        select.select([fd for fd in (self.fd, wake) if fd is not None], [], [], timeout_s)

    def line(self) -> Optional[bytes]:
        """What it said next, a line; None if that has not come whole.

        Raises:
            EOFError: It closed its end, in words; or it said more than a line may hold. It is ended then.
        """
        while self.is_alive:
            line, newline, rest = self._pending.partition(b"\n")
            if newline:
                self._pending = rest
                return line
            if len(self._pending) > MAX_LINE_BYTES:
                raise EOFError(self.nonsense(self._pending))
            try:
                piece = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return None
            if not piece:
                raise EOFError(self._how_it_ended())
            self._pending += piece
        return None

    def nonsense(self, line: bytes) -> str:
        """End a process that cannot be trusted any more; says so."""
        self.kill()
        return f"{self._name} said {line[:60]!r}, which means nothing; it was ended"

    def kill(self) -> None:
        """End it at once; whatever it was writing is worth nothing."""
        self.is_alive = False
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel; it dies when it comes out
            self._process.wait(5)
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()

    def _how_it_ended(self) -> str:
        """It closed its end: wait until it is really over, and say how."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        status = self._process.returncode
        self.kill()
        if status is None:
            return f"{self._name} closed its pipe; it was ended"
        if status >= 0:
            return f"{self._name} ended with status {status}"
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"{self._name} was killed by {name}"


# ---- from inside --------------------------------------------------------------------------------------------------


def take_pipes() -> Tuple[BinaryIO, BinaryIO]:
    """Standard input and output for ourselves alone: whatever a library prints goes to standard error."""
    orders = os.fdopen(os.dup(0), "rb")
    messages = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, messages


def send(pipe: BinaryIO, line: bytes) -> None:
    """Send a line to the parent; without one there is no point in going on."""
    try:
        pipe.write(line)
    except BrokenPipeError:
        os._exit(1)


def die_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends, so that nothing is left that works beside its successor.

    Call it from the thread the process lives in: the kernel watches the parent's thread, and tells this one.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def bind_to_parent() -> None:
    """The same for a program that is not ours, as `preexec_fn`: between fork and exec nothing may take a lock."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def bound(memory_mb: int) -> None:
    """Take no more memory than allowed, go first when the machine has too little, and leave no core dumps with faces.

    RLIMIT_DATA and not RLIMIT_AS: it counts private writable memory, which is what fills the machine. The address
    space also holds mapped files, libraries and what allocators reserve for each thread without using it; a limit on
    that would have to be several times larger to let good work through, and would then bound nothing.
    """
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # the kernel is to take this process and not the daemon
        Path("/proc/self/oom_score_adj").write_text("500")


class Lines:
    """What the parent says, for a process that also has other things to do.

    Args:
        pipe: As `take_pipes` gives it, of which nothing has been read.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._fd = pipe.fileno()
        self._pending = b""

    def wait_for_one(self) -> List[bytes]:
        """Lines, at least one.

        Raises:
            EOFError: If the parent closed its end.
        """
        lines: List[bytes] = []
        while not lines:
            lines = self.take(3600.0)
        return lines

    def take(self, timeout_s: float) -> List[bytes]:
        """The lines that have come, waiting a while for the first.

        Raises:
            EOFError: If the parent closed its end.
        """
        if select.select([self._fd], [], [], timeout_s)[0]:
            piece = os.read(self._fd, 1 << 16)
            if not piece:
                raise EOFError("the daemon closed its end")
            self._pending += piece
        *whole, self._pending = self._pending.split(b"\n")
        return whole
