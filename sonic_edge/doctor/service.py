"""Checks of the service: its user and unit, the running daemon's status, failed jobs, the log."""

import contextlib
import grp
import importlib
import os
import pwd
import subprocess
import time
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Dict, Iterator, List

from ..process.isolated import Account
from ..service.status import SettingsStatus
from .finding import Context, Finding, failed, how_to_install, not_checked, ok, warning

UNIT = "sonic-edge.service"

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NRestarts",
    "Result",
    "ExecMainStatus",
    "FragmentPath",
    "User",
    "SupplementaryGroups",
    "Environment",
    "EnvironmentFiles",
    "DropInPaths",
)
_RECENT = timedelta(days=1)
_NEARLY = 0.9
_LOG = "journalctl -u sonic-edge -n 50"


def unit_properties() -> Dict[str, str]:
    """The service's properties in systemd; empty where systemd does not run."""
    if not Path("/run/systemd/system").is_dir():
        return {}
    command = ["systemctl", "show", UNIT, *(f"--property={name}" for name in _PROPERTIES)]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as e:
        return {"LoadState": f"unknown: systemctl failed ({type(e).__name__})"}
    return {name: value for name, equals, value in (line.partition("=") for line in output.splitlines()) if equals}


def user(context: Context) -> Iterator[Finding]:
    """The user that the daemon runs as, and whether it may use the devices."""
    me = _name(os.geteuid())
    account = context.account
    if account is None:
        yield ok(f"checked as {me}; the daemon's user is unknown")
        return
    if os.geteuid() not in (0, account.uid):
        yield warning(
            f"checked as {me}, but the daemon runs as {account.name}", "run the doctor as root to check as that user"
        )
    else:
        yield ok(f"checked as {context.user}, the daemon's user")
    if account.uid == 0:
        yield warning("the daemon runs as root", "give it a user of its own, as the supplied unit does")
        return
    for group, needed in (("audio", context.config.live.mode != "none"), ("video", _needs_video(context))):
        if needed and not _is_in(account, group):
            yield failed(
                f"{account.name} is not in the group {group}, which owns the devices",
                f"as root: usermod -aG {group} {account.name}, or SupplementaryGroups={group} in the unit",
            )


def settings_file(context: Context) -> Iterator[Finding]:
    """Whether the daemon's user can read the settings file, and other users cannot change it."""
    path = context.path
    if path is None:
        yield not_checked("no file was named; the defaults apply (doctor --config FILE)")
        return
    if not os.access(path, os.R_OK):
        yield failed(
            f"{path}: {context.user} may not read it", f"as root: chmod a+r {path}, and a+x for the folders above"
        )
    elif path.stat().st_mode & 0o002:
        yield warning(f"{path}: every user may change it", f"chmod o-w {path}")
    else:
        yield ok(f"{path}: {context.user} can read it")


def _needs_video(context: Context) -> bool:
    return context.config.camera.device is not None or context.config.display.output in ("auto", "drm")


def _is_in(account: Account, group: str) -> bool:
    try:
        return grp.getgrnam(group).gr_gid in account.groups
    except KeyError:  # a system without this group gives devices to another
        return True


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def unit(context: Context) -> Iterator[Finding]:
    """The state of the unit in systemd."""
    found = context.unit
    if not found:
        yield not_checked("systemd does not run here")
        return
    if found.get("LoadState") != "loaded":
        yield failed(f"{UNIT} is {found.get('LoadState')}", "install it, so that the daemon starts with the box")
        return
    state = f"{found.get('ActiveState')} ({found.get('SubState')})"
    n_restarts = int(found.get("NRestarts") or 0)
    if found.get("ActiveState") == "failed":
        status = found.get("ExecMainStatus")
        if status == "78":
            yield failed(
                f"{UNIT} has stopped: its settings are wrong", "correct them (sonic-edge check-config), then start it"
            )
        else:
            yield failed(
                f"{UNIT} has failed: {found.get('Result')}, status {status}", f"{_LOG}; systemctl restart sonic-edge"
            )
    elif found.get("ActiveState") != "active":
        yield failed(f"{UNIT} is {state}", "systemctl start sonic-edge; if it stops again: " + _LOG)
    elif n_restarts:
        yield warning(f"{UNIT} is {state}; restarts: {n_restarts}", f"{_LOG} -p warning shows why")
    else:
        yield ok(f"{UNIT} is {state}")
    if found.get("UnitFileState") not in ("enabled", "static", "linked", "generated"):
        yield warning(
            f"{UNIT} is {found.get('UnitFileState') or 'not enabled'}: it does not start with the box",
            "systemctl enable sonic-edge",
        )


def daemon(context: Context) -> Iterator[Finding]:
    """The status of the running daemon."""
    status = context.status
    if status is None:
        run = context.root / "run"
        if run.is_dir() and not os.access(run, os.X_OK):
            yield not_checked(
                f"{_name(os.geteuid())} may not ask it: run the doctor as root, or as a member of the group of {run}"
            )
        elif context.unit.get("ActiveState") == "active":
            yield failed(f"{UNIT} is active, but: {context.no_answer}", f"check that it uses these settings: {_LOG}")
        else:
            yield warning(context.no_answer, "start it: systemctl start sonic-edge, or sonic-edge run --config FILE")
        return
    ours, its = version("sonic-edge"), status.version
    if its != ours:
        yield warning(f"it is version {its or 'unknown'}, this program is {ours}", "systemctl restart sonic-edge")
    n_waiting, held = (status.queue.waiting, status.queue.held) if status.queue else (0, "")
    up = _duration(status.up_s)
    yield ok(f"version {its}, process {status.pid}, up {up}: {status.state}; {n_waiting} jobs waiting")
    if held:
        yield failed(f"no job is started: {held}", "follow the message; jobs go on by themselves then")
    yield from _its_settings(context, status.settings or SettingsStatus())
    if status.counts is not None and status.counts.worker_deaths:
        deaths = f"worker deaths: {status.counts.worker_deaths}"
        yield warning(deaths, f"{_LOG} -p warning shows on which jobs")
    used, limit = (status.worker and status.worker.memory_mb) or 0, context.config.worker.memory_mb
    if used > _NEARLY * limit:
        yield warning(f"its worker uses {used:.0f} of {limit} MB", "raise worker.memory_mb if the box has more")
    recent = [error for error in status.errors or [] if _is_recent(error.time)]
    if recent:
        last = recent[-1]
        yield warning(f"errors in the last day: {len(recent)}, the last at {last.time}: {last.what}", _LOG)


def _its_settings(context: Context, its: SettingsStatus) -> Iterator[Finding]:
    path = its.path
    if its.error:
        yield failed(
            f"it refused the settings on disk and keeps the old ones: {its.error}",
            "correct them (sonic-edge check-config), then: systemctl reload sonic-edge",
        )
        return
    if not path:
        return
    if context.path is not None and context.path.absolute() != Path(path):
        yield warning(f"it uses {path}, not {context.path.absolute()}", f"sonic-edge doctor --config {path}")
        return
    with contextlib.suppress(OSError, ValueError):
        if Path(path).stat().st_mtime > datetime.fromisoformat(its.read).timestamp() + 1:
            yield warning(f"{path} was changed since it read it", "systemctl reload sonic-edge")


def _is_recent(when: str) -> bool:
    try:
        return datetime.now(timezone.utc) - datetime.fromisoformat(when) < _RECENT
    except (ValueError, TypeError):
        return True


def _duration(seconds: object) -> str:
    if not isinstance(seconds, (int, float)):
        return "for an unknown time"
    for unit_s, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} seconds"


def failures(context: Context) -> Iterator[Finding]:
    """Whether there are failed jobs."""
    folder = context.root / "failed"
    try:
        n = sum(not entry.name.startswith(".") for entry in folder.iterdir())
    except FileNotFoundError:
        yield not_checked(f"{folder} does not exist yet")
        return
    if n:
        yield warning(
            f"jobs in {folder}: {n}",
            "reason.json in each says why; `sonic-edge retry` runs them again; or delete them",
        )
    else:
        yield ok(f"{folder} is empty")


def metrics(context: Context) -> Iterator[Finding]:
    """Whether the metrics file is written."""
    settings = context.config.metrics
    if settings.path is None:
        yield not_checked("metrics.path = null: no metrics are written")
        return
    path = Path(settings.path) if settings.path else context.root / "run" / "sonic-edge.prom"
    if context.status is None:
        yield not_checked("no daemon answers, so no metrics are written")
        return
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError as e:
        yield failed(f"{path}: {e.strerror}", "the folder must exist, and be in ReadWritePaths of the unit")
        return
    if age_s > 3 * settings.every_s + 5:
        yield failed(
            f"{path} is {age_s:.0f} s old; it should be written every {settings.every_s:g} s", f"see why: {_LOG}"
        )
    else:
        yield ok(f"{path} is {max(0, age_s):.0f} s old")


def log(context: Context) -> Iterator[Finding]:
    """Whether the log survives a power cut, and has fields."""
    if not context.unit:
        yield not_checked("there is no journal here; the daemon writes to standard error")
        return
    missing: List[str] = []
    if not Path("/var/log/journal").is_dir():
        yield warning(
            "the journal is kept in memory: a power cut erases it",
            "as root: mkdir -p /var/log/journal && systemctl restart systemd-journald (SystemMaxUse= limits its size)",
        )
        missing.append("disk")
    try:
        importlib.import_module("systemd.journal")
    except Exception as e:
        yield warning(f"log records have no fields ({e})", f"for journalctl JOB=name: {how_to_install('journal')}")
        missing.append("fields")
    if not missing:
        yield ok("goes to the journal, with fields, kept on disk")
