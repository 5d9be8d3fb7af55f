"""The input of the doctor's checks, `Context`, and their result, `Finding`."""

import contextlib
import os
import pwd
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Mapping, Optional

from ..config import Config
from ..errors import SonicEdgeError
from ..live.state import LiveStatus
from ..process.isolated import Account, Crashed, TimedOut, run_isolated
from ..service.status import Status

OK, WARNING, FAILED, NOT_CHECKED = "ok", "warning", "FAILED", "not checked"

_MAX_CHARACTERS, _MAX_FINDINGS = 2000, 50


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's output."""

    state: str
    """`OK`, `WARNING`, `FAILED` or `NOT_CHECKED`."""
    seen: str
    """What was found."""
    todo: str = ""
    """How to fix it; empty if nothing is wrong."""
    check: str = ""
    """The check's name: which part of the box."""

    def line(self) -> str:
        """The finding as one line of text."""
        text = f"{self.state:<12} {self.check}: {self.seen}" + (f" -> {self.todo}" if self.todo else "")
        return "".join(c if c.isprintable() else "?" for c in text.replace("\n", " "))


def how_to_install(part: str) -> str:
    """How to install an optional part of the product on this machine, which has no network."""
    return f"install a bundle that was made with `{part}` (docs/BOARD.md); in a checkout: board/setup.sh {part}"


def ok(seen: str) -> Finding:
    """It is as it should be."""
    return Finding(OK, seen)


def warning(seen: str, todo: str) -> Finding:
    """It works, but somebody should look."""
    return Finding(WARNING, seen, todo)


def failed(seen: str, todo: str) -> Finding:
    """It does not work."""
    return Finding(FAILED, seen, todo)


def not_checked(why: str) -> Finding:
    """It could not be checked."""
    return Finding(NOT_CHECKED, why)


@dataclass(frozen=True)
class Context:
    """What is known before the checks begin."""

    config: Config
    path: Optional[Path] = None
    """The settings file; None: the defaults."""
    status: Optional[Status] = None
    """The running daemon's status; None: no daemon answers."""
    no_answer: str = ""
    """Why no daemon answers."""
    unit: Mapping[str, str] = field(default_factory=dict)
    """The service's properties in systemd; empty: systemd does not run here."""
    account: Optional[Account] = None
    """The user that the daemon runs as; None: unknown, the checks are made as the current user."""

    @property
    def root(self) -> Path:
        """The spool."""
        return Path(self.config.spool.root).absolute()

    @property
    def user(self) -> str:
        """Name of the user that the checks are made as."""
        uid = os.geteuid()
        if self.account is not None and uid in (0, self.account.uid):
            return self.account.name
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(uid).pw_name
        return str(uid)

    @property
    def live(self) -> LiveStatus:
        """Live mode in the running daemon; nothing is known in it if no daemon answers."""
        return (self.status and self.status.live) or LiveStatus()


@dataclass(frozen=True)
class Check:
    """A check of one part of the box."""

    name: str
    do: Callable[[Context], Iterable[Finding]]
    seconds: float = 20.0
    """Its time limit."""
    as_daemon: bool = True
    """Whether it is made as the daemon's user if the doctor is run as root."""


def run_check(check: Check, context: Context) -> List[Finding]:
    """The findings of a check, run in a process of its own; at least one, even if it hangs or crashes."""
    try:
        results = run_isolated(
            lambda: _findings(check, context), check.seconds, context.account if check.as_daemon else None
        )
        found = [Finding(**result) for result in results]
    except TimedOut:
        found = [
            failed(
                f"did not finish within {check.seconds:g} s",
                "something hangs: unplug the device and plug it in again, or restart the box; then try again",
            )
        ]
    except Crashed as e:
        found = [failed(f"the check itself crashed: {e}", f"a library or driver crashes the program; {_SEND}")]
    return [replace(finding, check=check.name) for finding in found or [not_checked("the check found nothing")]]


_SEND = "`journalctl -k -n 50` may show why; else send the file that `sonic-edge doctor --bundle` writes"


def _findings(check: Check, context: Context) -> List[Dict[str, str]]:
    """The findings as dictionaries; runs in the check's own process."""
    found: List[Finding] = []
    try:
        found.extend(check.do(context))
    except SonicEdgeError as e:
        found.append(failed(str(e), "see the message"))
    except PermissionError as e:
        seen = f"{context.user} may not read {e.filename}"
        if context.account is not None and os.geteuid() == context.account.uid:  # the daemon may not either
            found.append(failed(seen, f"as root: let {context.user} read it and enter the folders above it"))
        else:
            found.append(not_checked(f"{seen}: run the doctor as root"))
    except MemoryError:
        found.append(
            failed("there is not enough memory for the check", "stop other programs, or raise worker.memory_mb")
        )
    except Exception as e:
        found.append(failed(f"the check crashed: {type(e).__name__}: {e}", _SEND))
    cut = (replace(f, seen=f.seen[:_MAX_CHARACTERS], todo=f.todo[:_MAX_CHARACTERS]) for f in found[:_MAX_FINDINGS])
    return [asdict(f) for f in cut]
