"""The service: its user and unit, what the running daemon says, jobs that failed, the log."""

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
from .finding import Case, Finding, bring, failed, not_checked, ok, warning

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
    """What systemd says of the service; nothing where it does not run."""
    if not Path("/run/systemd/system").is_dir():
        return {}
    command = ["systemctl", "show", UNIT, *(f"--property={name}" for name in _PROPERTIES)]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as e:
        return {"LoadState": f"not told by systemctl ({type(e).__name__})"}
    return {name: value for name, equals, value in (line.partition("=") for line in said.splitlines()) if equals}


def user(case: Case) -> Iterator[Finding]:
    """As whom the daemon works, and what that user may."""
    me = _name(os.geteuid())
    account = case.account
    if account is None:
        yield ok(f"checked as {me}; no other user is known that the daemon would run as")
        return
    if os.geteuid() not in (0, account.uid):
        yield warning(f"checked as {me}, but the daemon runs as {account.name}", "ask the doctor as root, to be sure")
    else:
        yield ok(f"checked as {case.user}, as whom the daemon runs")
    if account.uid == 0:
        yield warning("the daemon runs as root", "give it a user of its own, as the unit that comes with it does")
        return
    for group, needed in (("audio", case.config.live.mode != "none"), ("video", _needs_video(case))):
        if needed and not _is_in(account, group):
            yield failed(
                f"{account.name} is not in the group {group}, which owns the devices",
                f"as root: usermod -aG {group} {account.name}, or SupplementaryGroups={group} in the unit",
            )


def settings_file(case: Case) -> Iterator[Finding]:
    """Whether the daemon's user can read the settings, and strangers cannot change them."""
    path = case.path
    if path is None:
        yield not_checked("no file was named; the defaults hold (doctor --config FILE)")
        return
    if not os.access(path, os.R_OK):
        yield failed(
            f"{path}: {case.user} may not read it", f"as root: chmod a+r {path}, and a+x for the folders above"
        )
    elif path.stat().st_mode & 0o002:
        yield warning(f"{path}: everybody may change it", f"chmod o-w {path}")
    else:
        yield ok(f"{path}: {case.user} can read it")


def _needs_video(case: Case) -> bool:
    return case.config.camera.device is not None or case.config.display.output in ("auto", "drm")


def _is_in(account: Account, group: str) -> bool:
    try:
        return grp.getgrnam(group).gr_gid in account.groups
    except KeyError:  # a system without it gives devices to others
        return True


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def unit(case: Case) -> Iterator[Finding]:
    """What systemd makes of it."""
    said = case.unit
    if not said:
        yield not_checked("systemd does not run here")
        return
    if said.get("LoadState") != "loaded":
        yield failed(f"{UNIT} is {said.get('LoadState')}", "install it: the daemon starts with the box only then")
        return
    state = f"{said.get('ActiveState')} ({said.get('SubState')})"
    n_restarts = int(said.get("NRestarts") or 0)
    if said.get("ActiveState") == "failed":
        status = said.get("ExecMainStatus")
        if status == "78":
            yield failed(
                f"{UNIT} ended: its settings are wrong", "correct them (sonic-edge check-config), then start it"
            )
        else:
            yield failed(
                f"{UNIT} has failed: {said.get('Result')}, status {status}", f"{_LOG}; systemctl restart sonic-edge"
            )
    elif said.get("ActiveState") != "active":
        yield failed(f"{UNIT} is {state}", "systemctl start sonic-edge; if it does not stay up: " + _LOG)
    elif n_restarts:
        yield warning(f"{UNIT} is {state}; started again {n_restarts} times", f"{_LOG} -p warning: what ended it")
    else:
        yield ok(f"{UNIT} is {state}")
    if said.get("UnitFileState") not in ("enabled", "static", "linked", "generated"):
        yield warning(
            f"{UNIT} is {said.get('UnitFileState') or 'not enabled'}: it does not start with the box",
            "systemctl enable sonic-edge",
        )


def daemon(case: Case) -> Iterator[Finding]:
    """What the running daemon says of itself."""
    said = case.status
    if said is None:
        run = case.root / "run"
        if run.is_dir() and not os.access(run, os.X_OK):
            yield not_checked(f"{_name(os.geteuid())} may not ask it: do it as root, or as one of the group of {run}")
        elif case.unit.get("ActiveState") == "active":
            yield failed(f"{UNIT} is active, but: {case.silence}", f"does it use these settings? {_LOG}")
        else:
            yield warning(case.silence, "start it: systemctl start sonic-edge, or sonic-edge run --config FILE")
        return
    mine, its = version("sonic-edge"), said.get("version")
    if its != mine:
        yield warning(f"it is version {its or 'unknown'}, this program {mine}", "systemctl restart sonic-edge")
    held = case.told("queue", "held")
    waiting = f"{case.told('queue', 'waiting') or 0} jobs wait"
    yield ok(f"version {its}, process {said.get('pid')}, up {_spell(said.get('up_s'))}: {said.get('state')}; {waiting}")
    if held:
        yield failed(f"no job is begun: {held}", "the words say what is needed; it goes on by itself then")
    yield from _its_settings(case)
    n_deaths = case.told("counts", "worker_deaths") or 0
    if n_deaths:
        yield warning(f"its worker died or had to be ended {n_deaths} times", f"{_LOG} -p warning: on which jobs")
    used, limit = case.told("worker", "memory_mb") or 0, case.config.worker.memory_mb
    if used > _NEARLY * limit:
        yield warning(f"its worker holds {used:.0f} of {limit} MB", "raise worker.memory_mb, if the box has more")
    recent = [e for e in said.get("errors") or [] if _is_recent(str(e.get("time")))]
    if recent:
        yield warning(
            f"errors in the last day: {len(recent)}, the last at {recent[-1].get('time')}: {recent[-1].get('what')}",
            _LOG,
        )


def _its_settings(case: Case) -> Iterator[Finding]:
    refused, path = case.told("settings", "error"), case.told("settings", "path")
    if refused:
        yield failed(
            f"it refused the settings on disk and goes on with the old ones: {refused}",
            "correct them (sonic-edge check-config), then: systemctl reload sonic-edge",
        )
        return
    if not path:
        return
    if case.path is not None and case.path.absolute() != Path(path):
        yield warning(f"it uses {path}, not {case.path.absolute()}", f"sonic-edge doctor --config {path}")
        return
    with contextlib.suppress(OSError, ValueError, TypeError):
        if Path(path).stat().st_mtime > datetime.fromisoformat(case.told("settings", "read")).timestamp() + 1:
            yield warning(f"{path} was changed since it read it", "systemctl reload sonic-edge")


def _is_recent(when: str) -> bool:
    try:
        return datetime.now(timezone.utc) - datetime.fromisoformat(when) < _RECENT
    except (ValueError, TypeError):
        return True


def _spell(seconds: object) -> str:
    if not isinstance(seconds, (int, float)):
        return "for an unknown time"
    for unit_s, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} seconds"


def failures(case: Case) -> Iterator[Finding]:
    """Jobs that could not be done."""
    folder = case.root / "failed"
    try:
        n = sum(not entry.name.startswith(".") for entry in folder.iterdir())
    except FileNotFoundError:
        yield not_checked(f"{folder} is not there yet")
        return
    if n:
        yield warning(
            f"jobs in {folder}: {n}",
            "reason.json in each says why; `sonic-edge retry` does them again, or take them away",
        )
    else:
        yield ok(f"{folder} is empty")


def metrics(case: Case) -> Iterator[Finding]:
    """Whether the figures for monitoring are written."""
    settings = case.config.metrics
    if settings.path is None:
        yield not_checked("metrics.path = null: none are written")
        return
    path = Path(settings.path) if settings.path else case.root / "run" / "sonic-edge.prom"
    if case.status is None:
        yield not_checked("no daemon answers that would write them")
        return
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError as e:
        yield failed(f"{path}: {e.strerror}", "the folder must be there, and in ReadWritePaths of the unit")
        return
    if age_s > 3 * settings.every_s + 5:
        yield failed(f"{path} is {age_s:.0f} s old; it is written every {settings.every_s:g}", f"see why: {_LOG}")
    else:
        yield ok(f"{path} is {max(0, age_s):.0f} s old")


def log(case: Case) -> Iterator[Finding]:
    """Whether the log outlives a power cut, and has fields."""
    if not case.unit:
        yield not_checked("there is no journal here; the daemon writes to standard error")
        return
    lacking: List[str] = []
    if not Path("/var/log/journal").is_dir():
        yield warning(
            "the journal is kept in memory: what was before a power cut is gone",
            "as root: mkdir -p /var/log/journal && systemctl restart systemd-journald (SystemMaxUse= bounds it)",
        )
        lacking.append("disk")
    try:
        importlib.import_module("systemd.journal")
    except Exception as e:
        yield warning(f"records have no fields ({e})", f"for journalctl JOB=name: {bring('journal')}")
        lacking.append("fields")
    if not lacking:
        yield ok("in the journal, with fields, kept on disk")
