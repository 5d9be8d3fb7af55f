"""A parcel for whoever helps from afar: findings, versions, settings, log. No picture, no sound, nobody's name."""

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
from .box import FOUR
from .chip import in_words
from .finding import Case, Finding
from .redact import Redactor
from .service import UNIT

MAX_BYTES = 10_000_000
"""Of the whole parcel, before packing."""

_PIECE_BYTES = 1_000_000
_PIECE_S = 30.0
_LOG_LINES = 3000
_MOST_NAMES = 20_000
_OURS = frozenset(("reason.json", "job.yaml", "job.yml", "record.json", "result", "inputs"))

_SECRET = ("Environment", "SetCredential", "SetCredentialEncrypted")
_CHOSEN = ("Description", "Documentation", "User", "Group", "SupplementaryGroups", "Alias", "SyslogIdentifier")

_ABOUT = """\
What `sonic-edge doctor --bundle` packed on {when}.

There is no picture, sound or video in it, and nothing out of the spool but counts and sizes. Words that the program
does not use itself, which may be names of people, files or devices, were replaced by ~ and six hex digits: the same
for the same word on this box. Read it before you send it, if you like: it is all text.
"""


def check_place(path: Path) -> None:
    """See that a parcel can be put there.

    Raises:
        RequestError: If not.
    """
    if not path.name.endswith(".tar.gz"):
        raise RequestError(f"{path}: the name must end in .tar.gz")
    if os.path.lexists(path):
        raise RequestError(f"{path}: is there already; name a file that is not")
    if not path.parent.is_dir():
        raise RequestError(f"{path}: there is no folder {path.parent}")


def write_bundle(path: Path, case: Case, findings: Sequence[Finding]) -> None:
    """Pack everything; only the one who does it may read it.

    Args:
        path: The parcel: a .tar.gz that is not there yet.
        case: What was known before the checks.
        findings: What they found.

    Raises:
        RequestError: If it may not be put there.
        DeviceError: If it cannot be written.
    """
    check_place(path)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.close(handle)  # the name is ours
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                _pack(file, pieces(case, findings))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            for left in (draft, path):
                left.unlink(missing_ok=True)
            raise
    except FileExistsError as e:
        raise RequestError(f"{path}: is there already; name a file that is not") from e
    except OSError as e:
        raise DeviceError(f"{path}: cannot be written: {e.strerror or e}") from e


def _pack(file: Any, parts: Iterator[Tuple[str, str]]) -> None:
    left = MAX_BYTES
    with tarfile.open(fileobj=file, mode="w:gz") as parcel:
        for name, text in parts:
            data = text.encode(errors="replace")[-min(left, _PIECE_BYTES) :]
            left -= len(data)
            member = tarfile.TarInfo(f"sonic-edge-support/{name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
            parcel.addfile(member, io.BytesIO(data))


def pieces(case: Case, findings: Sequence[Finding]) -> Iterator[Tuple[str, str]]:
    """Names and texts of the parcel's files."""
    names = _apart(partial(known_names, case))
    clean = Redactor(names if isinstance(names, list) else [])
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    yield "about.txt", _ABOUT.format(when=now)
    lines = [clean.text(finding.line()) for finding in findings]
    yield "doctor.txt", "\n".join([f"sonic-edge {version('sonic-edge')}, {now}", *lines]) + "\n"
    yield "doctor.json", _json({"time": now, "findings": [clean.tree(vars(f)) for f in findings]})
    makers: Tuple[Tuple[str, Callable[[], str]], ...] = (
        ("settings.yaml", lambda: _settings(case, clean)),
        ("status.json", lambda: _json(clean.tree(case.status if case.status is not None else {"error": case.silence}))),
        ("spool.json", lambda: _json(spool_counts(case.root))),
        ("versions.txt", _versions),
        ("box.txt", lambda: clean.known(_box(case))),
        ("chip.txt", lambda: clean.known("\n".join(in_words(case)) + "\n")),
        ("units.txt", lambda: _units(clean)),
        ("log.txt", lambda: "\n".join(log_lines(_log(), clean)) + "\n"),
        ("mpv.log", lambda: clean.text(_tail(case.root / "run" / "mpv.log"))),
    )
    for name, make in makers:
        text = _apart(make)
        yield name, text if isinstance(text, str) else "could not be had\n"


def _apart(make: Callable[[], object]) -> object:
    """What `make` gives; words if it fails or hangs."""

    def said() -> object:
        try:
            made = make()
        except Exception as e:  # the message may hold a name
            return f"could not be had: {type(e).__name__}\n"
        return made[-_PIECE_BYTES:] if isinstance(made, str) else made

    try:
        return run_isolated(said, _PIECE_S)
    except (TimedOut, Crashed) as e:
        return f"could not be had: {type(e).__name__} {e}\n"


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2, default=str) + "\n"


# ---- names ---------------------------------------------------------------------------------------------------------


def known_names(case: Case) -> List[str]:
    """What is a name for certain: of everything in the spool, in the status, in the settings, in the log."""
    names: Dict[str, None] = {}
    for folder in FOUR:
        for path, _ in _walk(case.root / folder):
            names[path.name] = None
    names.update(
        dict.fromkeys(_strings(case.told("job", "id"), case.told("queue", "names"), case.told("screen", "clip")))
    )
    names.update(dict.fromkeys(_strings(case.config.spool.portrait and Path(case.config.spool.portrait).name)))
    for line in _log().splitlines():
        names.update(dict.fromkeys(_strings(_entry(line).get("JOB"))))
    return [name for name in list(names)[:_MOST_NAMES] if name and name not in _OURS]


def _strings(*found: object) -> Iterator[str]:
    for thing in found:
        if isinstance(thing, str):
            yield thing
        elif isinstance(thing, list):
            yield from _strings(*thing)


def _walk(folder: Path) -> Iterator[Tuple[Path, os.stat_result]]:
    """Everything below a folder, without following a link; bounded."""
    n = 0
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            n += 1
            if n > _MOST_NAMES:
                return
            path = Path(here, name)
            try:
                yield path, path.lstat()
            except OSError:
                continue


# ---- the files -----------------------------------------------------------------------------------------------------


def spool_counts(root: Path) -> Dict[str, Dict[str, float]]:
    """How much is in each folder: entries, all files, bytes, days since the oldest changed."""
    out = {}
    for name in FOUR:
        found = list(_walk(root / name))
        oldest = min((info.st_mtime for _, info in found), default=time.time())
        out[name] = {
            "entries": sum(path.parent == root / name for path, _ in found),
            "files": len(found),
            "bytes": sum(info.st_size for _, info in found),
            "oldest_days": round((time.time() - oldest) / 86400, 1),
        }
    return out


def _settings(case: Case, clean: Redactor) -> str:
    import yaml

    values = clean.tree(case.config.model_dump(mode="json"))
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=120)


def _versions() -> str:
    found = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower)
    return "\n".join([f"Python {platform.python_version()} ({platform.python_implementation()})", *found]) + "\n"


def _box(case: Case) -> str:
    """The machine, without its name in the network."""
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
    mount = machine.mount_of(case.root)
    if mount is not None:
        lines.append(f"spool on: {mount.kind}{', read-only' if mount.is_read_only else ''}")
    if case.root.is_dir():
        info = os.statvfs(case.root)
        unit_mb = info.f_frsize / 1e6
        lines.append(f"disk: {info.f_bavail * unit_mb:.0f} of {info.f_blocks * unit_mb:.0f} MB free")
        lines.append(f"inodes: {info.f_favail} of {info.f_files} free")
    for line in _tail(Path("/usr/lib/os-release")).splitlines():
        if line.startswith("PRETTY_NAME="):
            lines.append(f"system: {line[12:]}")
    return "\n".join([*lines, "", *machine.plugged_in()]) + "\n"


def _units(clean: Redactor) -> str:
    """The unit files as they lie there; of the environment only the search path."""
    folders = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system")
    lines = []
    for folder in map(Path, folders):
        for path in sorted([*folder.glob("sonic-edge*.*"), *folder.glob("sonic-edge*.d/*.conf")]):
            if path.is_file():
                said = (line for line in _tail(path).splitlines() if not line.startswith("#"))
                lines += [f"# {path}", *said]
    return "\n".join(unit_line(line, clean) for line in lines) + "\n"


def unit_line(line: str, clean: Redactor) -> str:
    """A line of a unit file without names: its key is systemd's, its value too unless people choose their words."""
    key, equals, value = line.partition("=")
    if not equals or line.startswith("#"):
        return clean.text(line)
    if key.strip() in _SECRET and not value.startswith("PATH="):
        return f"{key}=(left out)"
    chosen = key.strip() in _CHOSEN or "/" in value
    return f"{key}={clean.text(value) if chosen else clean.known(value)}"


def _log() -> str:
    """The unit's last lines, as journalctl's JSON; nothing where there is no journal."""
    fields = "--output-fields=MESSAGE,PRIORITY,JOB,STAGE,SYSLOG_IDENTIFIER,_PID"
    command = ["journalctl", f"--unit={UNIT}", f"--lines={_LOG_LINES}", "--output=json", "--no-pager", fields]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PIECE_S / 2, errors="replace").stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def log_lines(said: str, clean: Redactor) -> Iterator[str]:
    """Lines of the log without names: time, priority, who, job, stage, words."""
    for line in said.splitlines():
        entry = _entry(line)
        if not entry:
            continue
        microseconds = entry.get("__REALTIME_TIMESTAMP", "0")
        when = datetime.fromtimestamp(int(microseconds) // 10**6 if microseconds.isdigit() else 0).astimezone()
        who = f"{entry.get('SYSLOG_IDENTIFIER', '?')}[{entry.get('_PID', '?')}]"
        job = f" JOB={clean.name(entry['JOB'])}" if entry.get("JOB") else ""
        stage = f" STAGE={entry['STAGE']}" if entry.get("STAGE") else ""
        words = f"{who}{stage} {entry.get('MESSAGE', '')}"
        yield f"{when.isoformat(timespec='seconds')} <{entry.get('PRIORITY', '?')}>{job} {clean.text(words)}"


def _entry(line: str) -> Dict[str, str]:
    """An entry of the journal; what is not text comes as a list of bytes, what is too large as null."""
    try:
        said = json.loads(line)
        return {
            key: bytes(value).decode(errors="replace") if isinstance(value, list) else str(value or "")
            for key, value in said.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def _tail(path: Path, n_bytes: int = 65536) -> str:
    """The end of a file; empty if there is none. A link is not followed: the folder may be somebody else's."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            file.seek(max(0, os.fstat(handle).st_size - n_bytes))
            return file.read(n_bytes).decode(errors="replace")
    except OSError:
        return ""
