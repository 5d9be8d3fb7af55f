"""Running a function in a separate process, with a deadline.

A camera, a sound server or a disk may hang for ever, and a library may crash its process; the caller carries on.
"""

import contextlib
import grp
import json
import multiprocessing
import os
import pwd
import re
import shlex
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from . import bind_to_parent

MAX_BYTES = 8 << 20
"""Largest result."""

_FORK = multiprocessing.get_context("fork")
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class TimedOut(Exception):
    """The function did not return in time."""


class Crashed(Exception):
    """The function's process died; the message says how."""


@dataclass(frozen=True)
class Account:
    """A user account: its ids, groups and environment."""

    name: str
    uid: int
    gid: int
    groups: Tuple[int, ...]
    environment: Mapping[str, str]


def run_isolated(do: Callable[[], object], seconds: float, account: Optional[Account] = None) -> Any:
    """Call a function in a separate process and return its result.

    Args:
        do: The function. Its result must be JSON-serialisable, and it must not raise.
        seconds: Deadline.
        account: The user to run as; ignored unless this process is root.

    Raises:
        TimedOut, Crashed: The process and everything it started have been killed.
    """
    here, there = _FORK.Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    child = _FORK.Process(target=_child, args=(do, account, there, os.getpid()), daemon=True)
    try:
        child.start()
    except OSError as e:
        raise Crashed(f"no process could be started: {e.strerror}") from e
    there.close()
    try:
        if not here.poll(seconds):
            raise TimedOut
        return json.loads(here.recv_bytes(MAX_BYTES))
    except (EOFError, OSError, ValueError) as e:
        child.join(2)
        how = child.exitcode
        raise Crashed(signal.Signals(-how).name if how is not None and -64 < how < 0 else f"status {how}") from e
    finally:
        here.close()
        assert child.pid is not None
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)  # and what it started
        child.kill()
        child.join(1)  # one that hangs in the kernel is left behind


def _child(do: Callable[[], object], account: Optional[Account], out: Connection, parent: int) -> None:
    """The separate process."""
    with contextlib.suppress(OSError):
        os.setsid()  # the processes that it starts are killed with it
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    if account is not None and os.geteuid() == 0:
        _become(account)
    bind_to_parent()  # after changing the user, which would undo it
    if os.getppid() != parent:
        os._exit(1)
    os.nice(5)  # the daemon goes first
    out.send_bytes(json.dumps(do()).encode())


def _become(account: Account) -> None:
    os.setgroups(list(account.groups))
    os.setgid(account.gid)
    os.setuid(account.uid)
    os.environ.clear()
    os.environ.update(account.environment)


def account_of(unit: Mapping[str, str]) -> Optional[Account]:
    """The user the service runs as.

    Args:
        unit: The unit's properties from systemd; where systemd does not run, the user that the installer creates.
    """
    name = unit.get("User") or ("root" if unit.get("FragmentPath") else "sonic-edge")
    try:
        user = pwd.getpwnam(name)
        groups = {user.pw_gid, *os.getgrouplist(user.pw_name, user.pw_gid)}
    except (KeyError, OSError):
        return None
    groups.update(_groups(unit.get("SupplementaryGroups", "audio video HwHiAiUser")))
    inherited = {k: v for k, v in os.environ.items() if not unit or k.startswith(("LANG", "LC_", "TZ"))}
    environment = {"PATH": _SYSTEM_PATH, **inherited, "HOME": user.pw_dir, "USER": name, **_environment(unit)}
    return Account(name, user.pw_uid, user.pw_gid, tuple(sorted(groups)), environment)


def _groups(names: str) -> List[int]:
    found = []
    for name in names.split():
        with contextlib.suppress(KeyError):
            found.append(int(name) if name.isdigit() else grp.getgrnam(name).gr_gid)
    return found


def _environment(unit: Mapping[str, str]) -> Dict[str, str]:
    """Variables that the unit sets directly, and those of its environment file (for an Ascend chip)."""
    found = _assigned(unit.get("Environment", ""))
    file = unit.get("EnvironmentFiles", "").partition(" (")[0]  # /etc/sonic-edge/ascend.env (ignore_errors=yes)
    with contextlib.suppress(OSError):
        text = Path(file).read_text(encoding="utf-8", errors="replace") if file else ""
        found.update({k: re.sub(r"\\([$`])", r"\1", v) for k, v in _assigned(text).items()})  # shlex leaves these two
    return found


def _assigned(text: str) -> Dict[str, str]:
    with contextlib.suppress(ValueError):
        pairs = (word.partition("=") for word in shlex.split(text))
        return {name: value for name, equals, value in pairs if equals}
    return {}
