"""Child processes: they talk to the parent in JSON lines over pipes, have resource limits, and end with the parent.

A malicious file that takes over a child must not get the daemon too: what comes back is parsed as JSON of limited
size, never as a pickle.
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
_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def environment() -> Dict[str, str]:
    """The environment of a child: without what would let it answer systemd's watchdog in place of the daemon."""
    return {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}


class Child:
    """A running process, seen from its parent.

    Args:
        command: Program and arguments.
        name: What messages call it: ``the worker``.

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
        """Its process id."""
        return self._process.pid

    @property
    def fd(self) -> int:
        """A file descriptor that becomes readable when the child writes something, or ends."""
        return self._from.fileno()

    def send(self, line: bytes) -> None:
        """Send it a line, as `messages.encode` makes it. A dead child is noticed by `line`, not here."""
        with contextlib.suppress(BrokenPipeError):
            self._to.write(line)

    def wait(self, timeout_s: float, wake: Optional[int] = None) -> None:
        """Wait until it writes something, or `wake` becomes readable."""
        select.select([fd for fd in (self.fd, wake) if fd is not None], [], [], timeout_s)

    def line(self) -> Optional[bytes]:
        """Its next line; None if no complete line has arrived.

        Raises:
            EOFError: If it closed its pipe (the message says how it ended) or its line is too long. It is killed then.
        """
        while self.is_alive:
            line, newline, rest = self._pending.partition(b"\n")
            if newline:
                self._pending = rest
                return line
            if len(self._pending) > MAX_LINE_BYTES:
                raise EOFError(self.reject(self._pending))
            try:
                piece = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return None
            if not piece:
                raise EOFError(self._how_it_ended())
            self._pending += piece
        return None

    def reject(self, line: bytes) -> str:
        """Kill a child that sent a line we do not understand; returns a message that says so."""
        self.kill()
        return f"{self._name} sent {line[:60]!r}, which is not a known message; it was killed"

    def kill(self) -> None:
        """Kill it at once; a line that it was writing is discarded."""
        self.is_alive = False
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel and dies when that returns
            self._process.wait(5)
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()

    def _how_it_ended(self) -> str:
        """After it closed its pipe: wait until it has exited, and say how."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        status = self._process.returncode
        self.kill()
        if status is None:
            return f"{self._name} closed its pipe; it was killed"
        if status >= 0:
            return f"{self._name} ended with status {status}"
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"{self._name} was killed by {name}"


# ---- inside the child ---------------------------------------------------------------------------------------------


def take_pipes() -> Tuple[BinaryIO, BinaryIO]:
    """Take standard input and output for messages alone: whatever a library prints goes to standard error."""
    orders = os.fdopen(os.dup(0), "rb")
    messages = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, messages


def send(pipe: BinaryIO, line: bytes) -> None:
    """Send the parent a line, as `messages.encode` makes it; exit if the parent is gone."""
    try:
        pipe.write(line)
    except BrokenPipeError:
        os._exit(1)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, so that no child is left beside the parent's successor.

    Call it from the main thread: the kernel keeps this setting per thread. It watches the parent's thread that started
    this process.

    Args:
        parent: The parent's process id.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def bind_to_parent() -> None:
    """The same for a program that is not ours, as `preexec_fn`: no lock may be taken between fork and exec."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_resources(memory_mb: int) -> None:
    """Limit this process's memory, let the kernel's OOM killer choose it first, and write no core dumps (of faces).

    RLIMIT_DATA, not RLIMIT_AS: it counts private writable memory, which is what fills the machine. The address space
    also holds mapped files, libraries and what allocators reserve for each thread without using it; a limit on that
    would have to be several times larger to let normal work through, and would then limit nothing.
    """
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # the OOM killer should choose this process, not the daemon
        Path("/proc/self/oom_score_adj").write_text("500")


class LineReader:
    """The parent's messages, for a process that also has other things to do.

    Args:
        pipe: From `take_pipes`; nothing may have been read from it.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._fd = pipe.fileno()
        self._pending = b""

    def wait_for_one(self) -> List[bytes]:
        """Wait for at least one line.

        Raises:
            EOFError: If the parent closed its pipe.
        """
        lines: List[bytes] = []
        while not lines:
            lines = self.take(3600.0)
        return lines

    def take(self, timeout_s: float) -> List[bytes]:
        """The complete lines that have arrived, waiting up to `timeout_s` for the first.

        Raises:
            EOFError: If the parent closed its pipe.
        """
        if select.select([self._fd], [], [], timeout_s)[0]:
            piece = os.read(self._fd, 1 << 16)
            if not piece:
                raise EOFError("the daemon closed its pipe")
            self._pending += piece
        *whole, self._pending = self._pending.split(b"\n")
        return whole
