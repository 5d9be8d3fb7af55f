"""Orders to a running daemon: a Unix socket in its spool, one JSON line each way. No network.

{"order": "talk", "on": true}          a `messages.Request`
{"order": "cancel", "name": "lesson"}
{"error": "", ...}                     an answer: one of the others in `messages`, or a `status.Status`
"""

import contextlib
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, TypeVar

from ..errors import DeviceError, RequestError
from ..process.messages import encode, plain
from .messages import Answer, Reloaded, Request, reloadeds, requests, retrieds
from .status import Status, statuses

NAME = "control.sock"
_MAX_BYTES = 4096
_PATIENCE_S = 90.0  # how long a caller waits for the answer, and the daemon for a caller's order


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short alias of the folder: a socket address is limited to 107 characters, the path of a spool is not."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def ask(folder: Path, request: Request, timeout_s: float = _PATIENCE_S) -> Dict[str, Any]:
    """Give the daemon an order and wait for its answer.

    Args:
        folder: The folder with its socket: ``<spool>/run``.
        request: The order.
        timeout_s: How long to wait.

    Returns:
        The answer, as decoded JSON.

    Raises:
        DeviceError: If no daemon answers.
        RequestError: If the daemon cannot carry out the order.
    """
    try:
        with _short(folder) as short, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout_s)
            line.connect(f"{short}/{NAME}")
            line.sendall(encode(request))
            with line.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except socket.timeout as e:
        problem = f"the daemon has not answered for {timeout_s:g} s; `sonic-edge status` shows whether it is busy"
        raise DeviceError(f"{folder}: {problem}") from e
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) and e.strerror else e
        raise DeviceError(f"{folder}: no daemon answers here ({why}); start one with `sonic-edge run`") from e
    if answer.get("error"):
        raise RequestError(str(answer["error"]))
    return dict(answer)


def ask_status(folder: Path, timeout_s: float = _PATIENCE_S) -> Status:
    """Ask the daemon for its status; arguments and errors as for `ask`."""
    return read_status(folder, ask(folder, Request("status"), timeout_s))


def read_status(folder: Path, answer: Mapping[str, Any]) -> Status:
    """The status in an answer from `ask`.

    Raises:
        DeviceError: If the answer is not a valid status.
    """
    return _understood(folder, statuses.check, answer)


def ask_reload(folder: Path, timeout_s: float = _PATIENCE_S) -> Reloaded:
    """Have the daemon reload its settings; arguments and errors as for `ask`."""
    return _understood(folder, reloadeds.check, ask(folder, Request("reload"), timeout_s))


def ask_retry(folder: Path, job: str) -> str:
    """Have a failed job run again; returns its name in the inbox. Arguments and errors as for `ask`."""
    return _understood(folder, retrieds.check, ask(folder, Request("retry", name=job))).job


AnswerT = TypeVar("AnswerT")


def _understood(folder: Path, read: Callable[[Mapping[str, Any]], AnswerT], answer: Mapping[str, Any]) -> AnswerT:
    try:
        return read(answer)
    except ValueError as e:
        raise DeviceError(f"{folder}: invalid answer from the daemon; is it a different version? ({e})") from e


@dataclass
class _Caller:
    line: socket.socket
    since: float
    heard: bytes = b""
    asked: bool = False


@dataclass(frozen=True)
class Order(Request):
    """A request and its caller."""

    caller: int = 0
    """Identifies the caller to `Control.answer`."""


class Control:
    """The daemon's end of the socket. No method blocks, but for the 0.2 s that `answer` gives a slow caller.

    Args:
        folder: The folder to create the socket in; it must exist.

    Raises:
        DeviceError: If the socket cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._callers: Dict[int, _Caller] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        draft = folder / f".{NAME}"
        try:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
            with _short(folder) as short:
                self._socket.bind(f"{short}/{draft.name}")
            draft.chmod(0o660)
            self._socket.listen(8)
            draft.replace(folder / NAME)  # renamed last: once visible, it is listening and has its permissions
        except OSError as e:
            self._socket.close()
            raise DeviceError(f"{folder / NAME}: cannot be created: {e.strerror}") from e

    def close(self) -> None:
        """Close all connections and remove the socket."""
        for number in list(self._callers):
            self._drop(number)
        self._socket.close()
        with contextlib.suppress(OSError):
            (self._folder / NAME).unlink()

    @property
    def fds(self) -> List[int]:
        """Readable when `orders` has something to do."""
        return [self._socket.fileno(), *(n for n, c in self._callers.items() if not c.asked)]

    def orders(self) -> List[Order]:
        """Orders that have arrived completely; each must be answered."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                line, _ = self._socket.accept()
                line.setblocking(False)
                self._callers[line.fileno()] = _Caller(line, time.monotonic())
        found: List[Order] = []
        for number, caller in list(self._callers.items()):
            order = self._read(number, caller)
            if order is not None:
                found.append(order)
            elif number in self._callers and time.monotonic() - caller.since > _PATIENCE_S:
                self._drop(number)
        return found

    def answer(self, caller: int, answer: object) -> None:
        """Answer an order with a dataclass that has the field `error`; does nothing if the caller has disconnected."""
        if caller in self._callers:
            line = self._callers[caller].line
            with contextlib.suppress(OSError):
                line.setblocking(True)
                line.settimeout(0.2)
                text = json.dumps(plain(answer), ensure_ascii=False, default=str)
                line.sendall(text.encode(errors="replace") + b"\n")  # file names need not be UTF-8
            self._drop(caller)

    def _read(self, number: int, caller: _Caller) -> Optional[Order]:
        if caller.asked:
            return None
        try:
            piece = caller.line.recv(_MAX_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        caller.heard += piece
        line, newline, _ = caller.heard.partition(b"\n")
        if not newline:
            if not piece or len(caller.heard) > _MAX_BYTES:
                self._drop(number)
            return None
        caller.asked = True
        try:
            request = requests.read(line)
        except ValueError:
            self.answer(number, Answer(f"{line[:60]!r}: is not an order"))
            return None
        return Order(request.order, request.on, request.name, number)

    def _drop(self, number: int) -> None:
        caller = self._callers.pop(number)
        with contextlib.suppress(OSError):
            caller.line.close()
