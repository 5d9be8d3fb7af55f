"""Writes a support bundle: findings, versions, settings, log, to help from afar. No pictures, no sound, no names."""

import io
import json
import os
import platform
import subprocess
import tarfile
import time
from datetime import datetime
from functools import partial
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from ..errors import DeviceError, RequestError
from ..hardware import machine
from ..process.isolated import Crashed, TimedOut, run_isolated
from ..process.messages import plain
from ..service.status import Status
from .box import SPOOL_FOLDERS
from .chip import describe
from .finding import Context, Finding
from .redact import Redactor
from .service import UNIT

MAX_BYTES = 10_000_000
"""Largest size of the whole support bundle, before compression."""

_FILE_BYTES = 1_000_000
_FILE_S = 30.0
_LOG_LINES = 3000
_MAX_NAMES = 20_000
_OUR_FILES = frozenset(("reason.json", "job.yaml", "job.yml", "record.json", "result", "inputs"))

_SECRET = ("Environment", "SetCredential", "SetCredentialEncrypted")
_FREE_TEXT = ("Description", "Documentation", "User", "Group", "SupplementaryGroups", "Alias", "SyslogIdentifier")

_ABOUT = """\
Support bundle, written by `sonic-edge doctor --bundle` on {when}.

It holds no picture, sound or video, and of the spool only counts and sizes. Words that the program does not use itself,
which may be names of people, files or devices, are replaced by ~ and six hex digits, the same ones for the same word on
this box. You can read it before you send it: it is all text.
"""


def check_path(path: Path) -> None:
    """Check that a support bundle can be written to a path.

    Raises:
        RequestError: If it cannot.
    """
    if not path.name.endswith(".tar.gz"):
        raise RequestError(f"{path}: the name must end in .tar.gz")
    if os.path.lexists(path):
        raise RequestError(f"{path}: exists already; choose another name")
    if not path.parent.is_dir():
        raise RequestError(f"{path}: there is no folder {path.parent}")


def write_bundle(path: Path, context: Context, findings: Sequence[Finding]) -> None:
    """Write the support bundle, readable only by the current user.

    Args:
        path: The file: a .tar.gz that does not exist yet.
        context: What was known before the checks.
        findings: The checks' findings.

    Raises:
        RequestError: If it cannot be written there.
        DeviceError: If it cannot be written.
    """
    check_path(path)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(handle)  # reserves the name
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                _pack(file, files(context, findings))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            for left in (draft, path):
                left.unlink(missing_ok=True)
            raise
    except FileExistsError as e:
        raise RequestError(f"{path}: exists already; choose another name") from e
    except OSError as e:
        raise DeviceError(f"{path}: cannot be written: {e.strerror or e}") from e


def _pack(file: Any, contents: Iterator[Tuple[str, str]]) -> None:
    left = MAX_BYTES
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in contents:
            data = text.encode(errors="replace")[-min(left, _FILE_BYTES) :]
            left -= len(data)
            member = tarfile.TarInfo(f"sonic-edge-support/{name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(data))


def files(context: Context, findings: Sequence[Finding]) -> Iterator[Tuple[str, str]]:
    """Names and texts of the support bundle's files."""
    names = _isolated(partial(known_names, context))
    redactor = Redactor(names if isinstance(names, list) else [])
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    yield "about.txt", _ABOUT.format(when=now)
    lines = [redactor.text(finding.line()) for finding in findings]
    yield "doctor.txt", "\n".join([f"sonic-edge {version('sonic-edge')}, {now}", *lines]) + "\n"
    yield "doctor.json", _json({"time": now, "findings": [redactor.tree(vars(f)) for f in findings]})
    makers: Tuple[Tuple[str, Callable[[], str]], ...] = (
        ("settings.yaml", lambda: _settings(context, redactor)),
        (
            "status.json",
            lambda: _json(redactor.tree(plain(context.status) if context.status else {"error": context.no_answer})),
        ),
        ("spool.json", lambda: _json(spool_counts(context.root))),
        ("versions.txt", _versions),
        ("box.txt", lambda: redactor.known(_box(context))),
        ("chip.txt", lambda: redactor.known("\n".join(describe(context)) + "\n")),
        ("units.txt", lambda: _units(redactor)),
        ("log.txt", lambda: "\n".join(log_lines(_log(), redactor)) + "\n"),
        ("mpv.log", lambda: redactor.text(_tail(context.root / "run" / "mpv.log"))),
    )
    for name, make in makers:
        text = _isolated(make)
        yield name, text if isinstance(text, str) else "not available\n"


def _isolated(make: Callable[[], object]) -> object:
    """What `make` returns, run in a process of its own; a message if it fails or hangs."""

    def run() -> object:
        try:
            made = make()
        except Exception as e:  # without its message, which may hold a name
            return f"not available: {type(e).__name__}\n"
        return made[-_FILE_BYTES:] if isinstance(made, str) else made

    try:
        return run_isolated(run, _FILE_S)
    except (TimedOut, Crashed) as e:
        return f"not available: {type(e).__name__} {e}\n"


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2, default=str) + "\n"


# ---- names ---------------------------------------------------------------------------------------------------------


def known_names(context: Context) -> List[str]:
    """Strings that certainly are names: those of everything in the spool, and of jobs in status, settings and log."""
    names: Dict[str, None] = {}
    for folder in SPOOL_FOLDERS:
        for path, _ in _walk(context.root / folder):
            names[path.name] = None
    status = context.status or Status()
    names.update(dict.fromkeys(_strings(status.job and status.job.id, status.screen and status.screen.clip)))
    names.update(dict.fromkeys(status.queue.names if status.queue else ()))
    names.update(dict.fromkeys(_strings(context.config.spool.portrait and Path(context.config.spool.portrait).name)))
    for line in _log().splitlines():
        names.update(dict.fromkeys(_strings(_entry(line).get("JOB"))))
    return [name for name in list(names)[:_MAX_NAMES] if name and name not in _OUR_FILES]


def _strings(*values: object) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value


def _walk(folder: Path) -> Iterator[Tuple[Path, os.stat_result]]:
    """Everything below a folder, without following links; at most `_MAX_NAMES` entries."""
    n = 0
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            n += 1
            if n > _MAX_NAMES:
                return
            path = Path(here, name)
            try:
                yield path, path.lstat()
            except OSError:
                continue


# ---- the files -----------------------------------------------------------------------------------------------------


def spool_counts(root: Path) -> Dict[str, Dict[str, float]]:
    """For each folder of the spool: entries, files at all depths, bytes, days since its oldest entry changed."""
    out = {}
    for name in SPOOL_FOLDERS:
        found = list(_walk(root / name))
        oldest = min((info.st_mtime for _, info in found), default=time.time())
        out[name] = {
            "entries": sum(path.parent == root / name for path, _ in found),
            "files": len(found),
            "bytes": sum(info.st_size for _, info in found),
            "oldest_days": round((time.time() - oldest) / 86400, 1),
        }
    return out


def _settings(context: Context, redactor: Redactor) -> str:
    import yaml

    values = redactor.tree(context.config.model_dump(mode="json"))
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=120)


def _versions() -> str:
    found = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower)
    return "\n".join([f"Python {platform.python_version()} ({platform.python_implementation()})", *found]) + "\n"


def _box(context: Context) -> str:
    """The machine, without its host name."""
    system = platform.uname()
    free, total = machine.free_memory_mb()
    lines = [
        f"model: {machine.model()}",
        f"kernel: {system.system} {system.release} {system.version} {system.machine}",
        f"processors: {os.cpu_count()}",
        f"memory: {free:.0f} of {total:.0f} MB free",
        f"up: {machine.uptime_s() / 3600:.1f} hours",
        f"hardware clock: {machine.hardware_clock()}",
        f"temperatures: {machine.temperatures()}",
        f"flash used up, percent: {machine.flash_wear()}",
    ]
    mount = machine.mount_of(context.root)
    if mount is not None:
        lines.append(f"spool on: {mount.kind}{', read-only' if mount.is_read_only else ''}")
    if context.root.is_dir():
        info = os.statvfs(context.root)
        unit_mb = info.f_frsize / 1e6
        lines.append(f"disk: {info.f_bavail * unit_mb:.0f} of {info.f_blocks * unit_mb:.0f} MB free")
        lines.append(f"inodes: {info.f_favail} of {info.f_files} free")
    for line in _tail(Path("/usr/lib/os-release")).splitlines():
        if line.startswith("PRETTY_NAME="):
            lines.append(f"system: {line[12:]}")
    return "\n".join([*lines, "", *machine.plugged_in()]) + "\n"


def _units(redactor: Redactor) -> str:
    """The installed unit files; of their environment only PATH."""
    folders = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system")
    lines = []
    for folder in map(Path, folders):
        for path in sorted([*folder.glob("sonic-edge*.*"), *folder.glob("sonic-edge*.d/*.conf")]):
            if path.is_file():
                kept = (line for line in _tail(path).splitlines() if not line.startswith("#"))
                lines += [f"# {path}", *kept]
    return "\n".join(unit_line(line, redactor) for line in lines) + "\n"


def unit_line(line: str, redactor: Redactor) -> str:
    """A line of a unit file without names. The key is systemd's, and so is the value, except free text and paths."""
    key, equals, value = line.partition("=")
    if not equals or line.startswith("#"):
        return redactor.text(line)
    if key.strip() in _SECRET and not value.startswith("PATH="):
        return f"{key}=(left out)"
    is_free_text = key.strip() in _FREE_TEXT or "/" in value
    return f"{key}={redactor.text(value) if is_free_text else redactor.known(value)}"


def _log() -> str:
    """The unit's last log records, as journalctl's JSON; empty where there is no journal."""
    fields = "--output-fields=MESSAGE,PRIORITY,JOB,STAGE,SYSLOG_IDENTIFIER,_PID"
    command = ["journalctl", f"--unit={UNIT}", f"--lines={_LOG_LINES}", "--output=json", "--no-pager", fields]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_FILE_S / 2, errors="replace").stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def log_lines(output: str, redactor: Redactor) -> Iterator[str]:
    """Lines of the log without names: time, priority, program, job, stage, message."""
    for line in output.splitlines():
        entry = _entry(line)
        if not entry:
            continue
        microseconds = entry.get("__REALTIME_TIMESTAMP", "0")
        when = datetime.fromtimestamp(int(microseconds) // 10**6 if microseconds.isdigit() else 0).astimezone()
        program = f"{entry.get('SYSLOG_IDENTIFIER', '?')}[{entry.get('_PID', '?')}]"
        job = f" JOB={redactor.name(entry['JOB'])}" if entry.get("JOB") else ""
        stage = f" STAGE={entry['STAGE']}" if entry.get("STAGE") else ""
        message = f"{program}{stage} {entry.get('MESSAGE', '')}"
        yield f"{when.isoformat(timespec='seconds')} <{entry.get('PRIORITY', '?')}>{job} {redactor.text(message)}"


def _entry(line: str) -> Dict[str, str]:
    """A record of the journal: a value that is not text comes as a list of bytes, one that is too large as null."""
    try:
        record = json.loads(line)
        return {
            key: bytes(value).decode(errors="replace") if isinstance(value, list) else str(value or "")
            for key, value in record.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def _tail(path: Path, n_bytes: int = 65536) -> str:
    """The end of a file; empty if there is none. No link is followed: others may be able to write to the folder."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            file.seek(max(0, os.fstat(handle).st_size - n_bytes))
            return file.read(n_bytes).decode(errors="replace")
    except OSError:
        return ""
