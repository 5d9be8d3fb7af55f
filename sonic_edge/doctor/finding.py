"""What the doctor's checks are given, and what they find."""

import contextlib
import os
import pwd
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional

from ..config import Config
from ..errors import SonicEdgeError
from ..process.isolated import Account, Crashed, TimedOut, run_isolated

OK, WARNING, FAILED, NOT_CHECKED = "ok", "warning", "FAILED", "not checked"

_MOST_LETTERS, _MOST_FINDINGS = 2000, 50


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    state: str
    """`OK`, `WARNING`, `FAILED` or `NOT_CHECKED`."""
    seen: str
    """What there is."""
    todo: str = ""
    """What to do about it."""
    check: str = ""
    """Which part of the box."""

    def line(self) -> str:
        """For a person, or `grep`."""
        told = f"{self.state:<12} {self.check}: {self.seen}" + (f" -> {self.todo}" if self.todo else "")
        return "".join(c if c.isprintable() else "?" for c in told.replace("\n", " "))


def bring(part: str) -> str:
    """How a part of the product that was left out gets onto this machine: it has no network."""
    return f"install a bundle that was made with `{part}` (docs/BOARD.md); in a checkout: board/setup.sh {part}"


def ok(seen: str) -> Finding:
    """As it should be."""
    return Finding(OK, seen)


def warning(seen: str, todo: str) -> Finding:
    """It works, but somebody should look."""
    return Finding(WARNING, seen, todo)


def failed(seen: str, todo: str) -> Finding:
    """It does not work."""
    return Finding(FAILED, seen, todo)


def not_checked(why: str) -> Finding:
    """Nothing is known."""
    return Finding(NOT_CHECKED, why)


@dataclass(frozen=True)
class Case:
    """What is known before the checks begin."""

    config: Config
    path: Optional[Path] = None
    """Of the settings; None: the defaults."""
    status: Optional[Mapping[str, Any]] = None
    """What the running daemon says; None: none answers."""
    silence: str = ""
    """Why none answers."""
    unit: Mapping[str, str] = field(default_factory=dict)
    """What systemd says of the service; empty: systemd does not run here."""
    account: Optional[Account] = None
    """As whom the daemon runs; None: not known, whoever asks the doctor stands for it."""

    @property
    def root(self) -> Path:
        """The spool."""
        return Path(self.config.spool.root).absolute()

    @property
    def user(self) -> str:
        """As whom the checks are made."""
        uid = os.geteuid()
        if self.account is not None and uid in (0, self.account.uid):
            return self.account.name
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(uid).pw_name
        return str(uid)

    def told(self, *keys: str) -> Any:
        """What the daemon says of something: ``told("live", "microphone", "open")``; None if it does not."""
        found: Any = self.status
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


@dataclass(frozen=True)
class Check:
    """A part to be looked at."""

    name: str
    do: Callable[[Case], Iterable[Finding]]
    seconds: float = 20.0
    """It may take this long."""
    as_daemon: bool = True
    """Whether it is made as the daemon's user, where the doctor is asked by root."""


def carry_out(check: Check, case: Case) -> List[Finding]:
    """What a check finds; whatever happens to it, something comes back."""
    try:
        said = run_isolated(lambda: _said(check, case), check.seconds, case.account if check.as_daemon else None)
        found = [Finding(**told) for told in said]
    except TimedOut:
        found = [
            failed(
                f"did not come to an end within {check.seconds:g} s",
                "something hangs: unplug the device and plug it in again, or restart the box; then ask again",
            )
        ]
    except Crashed as e:
        found = [failed(f"the check itself broke down: {e}", f"a library or driver ends the program; {_SEND}")]
    return [replace(finding, check=check.name) for finding in found or [not_checked("nothing was found out")]]


_SEND = "`journalctl -k -n 50` may say why; else send what `sonic-edge doctor --bundle` writes"


def _said(check: Check, case: Case) -> List[Dict[str, str]]:
    """In the check's own process."""
    found: List[Finding] = []
    try:
        found.extend(check.do(case))
    except SonicEdgeError as e:
        found.append(failed(str(e), "the message says what is needed"))
    except PermissionError as e:
        seen = f"{case.user} may not look at {e.filename}"
        if case.account is not None and os.geteuid() == case.account.uid:  # the daemon may not either
            found.append(failed(seen, f"as root: let {case.user} in there and through the folders above"))
        else:
            found.append(not_checked(f"{seen}: ask the doctor as root"))
    except MemoryError:
        found.append(failed("there is not enough memory for it", "end other programs, or raise worker.memory_mb"))
    except Exception as e:
        found.append(failed(f"the check broke down: {type(e).__name__}: {e}", _SEND))
    cut = (replace(f, seen=f.seen[:_MOST_LETTERS], todo=f.todo[:_MOST_LETTERS]) for f in found[:_MOST_FINDINGS])
    return [asdict(f) for f in cut]
