"""The box itself: disk, clock, warmth, memory."""

import contextlib
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterator, Optional

from ..hardware import machine
from .finding import Case, Finding, failed, not_checked, ok, warning

FOUR = ("inbox", "work", "outbox", "failed")
HOT_C, TOO_HOT_C = 80.0, 95.0
_FEW_INODES = 0.05
_SLOW_S = 1.0
_MB = 1e6
_NO_OWNERS = ("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk")
_IN_MEMORY = ("tmpfs", "ramfs", "overlay")
_APART_S = 120.0


def disk(case: Case) -> Iterator[Finding]:
    """Where jobs lie: room, rights, whether what is written stays."""
    root = case.root
    if not root.is_dir():
        yield from _missing(case, root)
        return
    mount = machine.mount_of(root)
    where = f"spool {root}" + (f" on {mount.device} ({mount.kind})" if mount is not None else "")
    info = os.statvfs(root)
    free_mb, floor_mb = info.f_bavail * info.f_frsize / _MB, case.config.disk.floor_mb
    if info.f_flag & os.ST_RDONLY:
        yield failed(
            f"{where} is read-only",
            "it was mounted so, or had errors: see `dmesg | tail`, check it with fsck, replace a worn card",
        )
    elif free_mb < floor_mb:
        yield failed(
            f"{where}: {free_mb:.0f} MB free; no job is begun under disk.floor_mb = {floor_mb}",
            "take results away from outbox and failed, or let disk.keep_days and disk.keep_mb delete old ones sooner",
        )
    elif free_mb < 2 * floor_mb:
        yield warning(f"{where}: only {free_mb:.0f} MB free", "take results away from outbox and failed")
    else:
        yield ok(f"{where}: {free_mb:.0f} MB free, {floor_mb} needed")
    if info.f_files and info.f_favail < _FEW_INODES * info.f_files:
        yield failed(f"only {info.f_favail} more files can be made at {root}", "remove many small files on this disk")
    if mount is not None and mount.kind in _IN_MEMORY:
        yield warning(f"{where} is lost when the power goes", "put the spool on a disk: spool.root")
    if mount is not None and mount.kind in _NO_OWNERS:
        yield warning(f"{where} keeps no owners and is easily damaged by a power cut", "put the spool on ext4")


def _missing(case: Case, root: Path) -> Iterator[Finding]:
    above = next((p for p in root.parents if p.exists()), Path("/"))
    if os.access(above, os.W_OK | os.X_OK):
        yield ok(f"spool {root} is not there yet; the daemon makes it")
    else:
        yield failed(
            f"spool {root} is not there, and {case.user} may not make it in {above}",
            f"as root: install -d -o {case.user} {root}",
        )


def folders(case: Case) -> Iterator[Finding]:
    """Whether the daemon may do in its folders what it has to."""
    root = case.root
    there = [root / name for name in FOUR if (root / name).is_dir()]
    if not there:
        yield not_checked(f"there are none yet in {root}")
        return
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        yield not_checked("the disk is read-only")
        return
    bad = [folder for folder in [root, *there] if not os.access(folder, os.R_OK | os.W_OK | os.X_OK)]
    for folder in bad:
        found = folder.stat()
        rights = f"owner {_owner(found.st_uid)}, mode {found.st_mode & 0o7777:o}"
        yield failed(
            f"{folder}: {case.user} may not write there ({rights})",
            f"as root: chown -R {case.user}: {root} && chmod u+rwx {folder}",
        )
    for folder in there:
        if folder.stat().st_dev != there[0].stat().st_dev:
            yield failed(
                f"{folder} and {there[0]} are on different disks; jobs are moved between them by renaming",
                f"mount the disk at {root}, not at a folder in it",
            )
    if bad:
        return
    try:
        spent_s = _write_durably(root)
    except OSError as e:
        yield failed(f"{root}: a small file cannot be written: {e.strerror}", "see what is said of the disk, and dmesg")
        return
    if spent_s > _SLOW_S:
        yield warning(
            f"writing a small file durably took {spent_s:.1f} s", "the disk is slow or worn: replace the card"
        )
    else:
        yield ok(f"{case.user} may write; a small file is on the disk within {1000 * spent_s:.0f} ms")


def _owner(uid: int) -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _write_durably(root: Path) -> float:
    """What every step of the spool is made of, with a file of our own; seconds."""
    draft, final = root / f".doctor-{os.getpid()}.tmp", root / f".doctor-{os.getpid()}"
    since = time.monotonic()
    try:
        with draft.open("xb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(final)
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # some network file systems cannot
                os.fsync(handle)
        finally:
            os.close(handle)
        return time.monotonic() - since
    finally:
        for path in (draft, final):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def clock(_: Case, sys: Path = machine.SYS, now: Optional[datetime] = None) -> Iterator[Finding]:
    """The time: there is no network that puts it right."""
    now = now or datetime.now(timezone.utc)
    shown = now.astimezone().isoformat(sep=" ", timespec="seconds")
    kept = machine.hardware_clock(sys)
    if not machine.clock_is_set(now):
        yield failed(
            f"it shows {shown}, which cannot be",
            "as root: timedatectl set-time 'YYYY-MM-DD HH:MM:SS'; and see to the battery of the hardware clock",
        )
    elif kept is None:
        yield warning(
            f"it shows {shown}; there is no hardware clock that keeps it without power",
            "set it after each power cut (timedatectl set-time), or put a battery-backed clock in",
        )
    elif abs((kept - now).total_seconds()) > _APART_S:
        apart = kept.astimezone().isoformat(sep=" ", timespec="seconds")
        yield warning(
            f"it shows {shown}, the hardware clock {apart}", "as root: hwclock --systohc, if the first is right"
        )
    else:
        yield ok(f"it shows {shown}, and so does the hardware clock; nothing sets it from outside, which is meant so")


def warmth(_: Case, sys: Path = machine.SYS) -> Iterator[Finding]:
    """Temperatures."""
    found = machine.temperatures(sys)
    if not found:
        yield not_checked("this machine tells no temperature")
        return
    told = ", ".join(f"{name} {degrees:g} °C" for name, degrees in found.items())
    hottest = max(found.values())
    if hottest >= TOO_HOT_C:
        yield failed(
            f"too hot: {told}", "clean the fan and its way, give the box air; a chip this hot slows down or stops"
        )
    elif hottest >= HOT_C:
        yield warning(f"hot: {told}", "see that the box gets air")
    else:
        yield ok(told)


def memory(case: Case) -> Iterator[Finding]:
    """Whether there is room for what the settings allow."""
    free, total = machine.free_memory_mb()
    allowed = case.config.worker.memory_mb
    if not total:
        yield not_checked("this machine does not tell its memory")
    elif total < allowed:
        yield failed(
            f"{total:.0f} MB in all; the worker may take {allowed} (worker.memory_mb)",
            "lower worker.memory_mb: what is over the memory takes the whole box down",
        )
    elif case.status is None and free < allowed:
        yield warning(
            f"{free:.0f} of {total:.0f} MB free; the worker may take {allowed} (worker.memory_mb)",
            "end other programs, or lower worker.memory_mb",
        )
    else:
        yield ok(f"{free:.0f} of {total:.0f} MB free; the worker may take {allowed}")


def wear(_: Case, sys: Path = machine.SYS) -> Iterator[Finding]:
    """The life of built-in flash."""
    found = machine.flash_wear(sys)
    if not found:
        yield not_checked("this machine's disks do not tell how worn they are")
    for device, percent in found.items():
        if percent >= 90:
            yield warning(f"{device}: {min(percent, 100)} % of its life is used up", "replace it before it fails")
        else:
            yield ok(f"{device}: at most {percent} % of its life is used up")
