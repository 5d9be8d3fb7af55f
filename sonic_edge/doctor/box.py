"""Checks of the box itself: disk, clock, temperature, memory."""

import contextlib
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterator, Optional

from ..hardware import machine
from .finding import Context, Finding, failed, not_checked, ok, warning

SPOOL_FOLDERS = ("inbox", "work", "outbox", "failed")
HOT_C, TOO_HOT_C = 80.0, 95.0
_FEW_INODES = 0.05
_SLOW_S = 1.0
_MB = 1e6
_NO_OWNERS = ("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk")
_IN_MEMORY = ("tmpfs", "ramfs", "overlay")
_MAX_CLOCK_DIFFERENCE_S = 120.0


def disk(context: Context) -> Iterator[Finding]:
    """The spool's disk: free space, whether it is writable, whether it survives a power cut."""
    root = context.root
    if not root.is_dir():
        yield from _missing(context, root)
        return
    mount = machine.mount_of(root)
    where = f"spool {root}" + (f" on {mount.device} ({mount.kind})" if mount is not None else "")
    info = os.statvfs(root)
    free_mb, floor_mb = info.f_bavail * info.f_frsize / _MB, context.config.disk.floor_mb
    if info.f_flag & os.ST_RDONLY:
        yield failed(
            f"{where} is read-only",
            "it was mounted read-only, or had errors: see `dmesg | tail`, check it with fsck, replace a worn card",
        )
    elif free_mb < floor_mb:
        yield failed(
            f"{where}: {free_mb:.0f} MB free; no job is started below disk.floor_mb = {floor_mb}",
            "move results out of outbox and failed, or lower disk.keep_days and disk.keep_mb, which delete old ones",
        )
    elif free_mb < 2 * floor_mb:
        yield warning(f"{where}: only {free_mb:.0f} MB free", "move results out of outbox and failed")
    else:
        yield ok(f"{where}: {free_mb:.0f} MB free, {floor_mb} needed")
    if info.f_files and info.f_favail < _FEW_INODES * info.f_files:
        yield failed(f"only {info.f_favail} more files can be created in {root}", "delete small files from this disk")
    if mount is not None and mount.kind in _IN_MEMORY:
        yield warning(f"{where} is lost when the power fails", "put the spool on a disk: spool.root")
    if mount is not None and mount.kind in _NO_OWNERS:
        yield warning(f"{where} stores no file owners and is easily damaged by a power cut", "put the spool on ext4")


def _missing(context: Context, root: Path) -> Iterator[Finding]:
    above = next((p for p in root.parents if p.exists()), Path("/"))
    if os.access(above, os.W_OK | os.X_OK):
        yield ok(f"spool {root} does not exist yet; the daemon creates it")
    else:
        yield failed(
            f"spool {root} does not exist, and {context.user} may not create it in {above}",
            f"as root: install -d -o {context.user} {root}",
        )


def folders(context: Context) -> Iterator[Finding]:
    """Whether the daemon's user may read and write the spool's folders."""
    root = context.root
    existing = [root / name for name in SPOOL_FOLDERS if (root / name).is_dir()]
    if not existing:
        yield not_checked(f"there are none in {root} yet")
        return
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        yield not_checked("the disk is read-only")
        return
    bad = [folder for folder in [root, *existing] if not os.access(folder, os.R_OK | os.W_OK | os.X_OK)]
    for folder in bad:
        info = folder.stat()
        rights = f"owner {_owner(info.st_uid)}, mode {info.st_mode & 0o7777:o}"
        yield failed(
            f"{folder}: {context.user} may not write there ({rights})",
            f"as root: chown -R {context.user}: {root} && chmod u+rwx {folder}",
        )
    for folder in existing:
        if folder.stat().st_dev != existing[0].stat().st_dev:
            yield failed(
                f"{folder} and {existing[0]} are on different disks; jobs are moved between them by renaming",
                f"mount the disk at {root}, not at a folder in it",
            )
    if bad:
        return
    try:
        spent_s = _write_durably(root)
    except OSError as e:
        yield failed(f"{root}: a small file cannot be written: {e.strerror}", "see the check of the disk, and dmesg")
        return
    if spent_s > _SLOW_S:
        yield warning(
            f"writing a small file durably took {spent_s:.1f} s", "the disk is slow or worn: replace the card"
        )
    else:
        yield ok(f"{context.user} may write; a small file is written durably in {1000 * spent_s:.0f} ms")


def _owner(uid: int) -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _write_durably(root: Path) -> float:
    """Time what every step of the spool does: write a small file, sync it, rename it; seconds."""
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
            with contextlib.suppress(OSError):  # some network file systems do not support it
                os.fsync(handle)
        finally:
            os.close(handle)
        return time.monotonic() - since
    finally:
        for path in (draft, final):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def clock(_: Context, sys: Path = machine.SYS, now: Optional[datetime] = None) -> Iterator[Finding]:
    """The clock, which no network sets."""
    now = now or datetime.now(timezone.utc)
    shown = now.astimezone().isoformat(sep=" ", timespec="seconds")
    hardware = machine.hardware_clock(sys)
    if not machine.clock_is_set(now):
        yield failed(
            f"it shows {shown}, which cannot be right",
            "as root: timedatectl set-time 'YYYY-MM-DD HH:MM:SS'; check the battery of the hardware clock",
        )
    elif hardware is None:
        yield warning(
            f"it shows {shown}; there is no hardware clock to keep the time without power",
            "set it after each power cut (timedatectl set-time), or install a battery-backed clock",
        )
    elif abs((hardware - now).total_seconds()) > _MAX_CLOCK_DIFFERENCE_S:
        other = hardware.astimezone().isoformat(sep=" ", timespec="seconds")
        yield warning(
            f"it shows {shown}, the hardware clock {other}", "as root: hwclock --systohc, if the first is right"
        )
    else:
        yield ok(f"it shows {shown}, and so does the hardware clock; no network sets it, by design")


def temperature(_: Context, sys: Path = machine.SYS) -> Iterator[Finding]:
    """The machine's temperatures."""
    found = machine.temperatures(sys)
    if not found:
        yield not_checked("this machine reports no temperature")
        return
    listed = ", ".join(f"{name} {degrees:g} °C" for name, degrees in found.items())
    hottest = max(found.values())
    if hottest >= TOO_HOT_C:
        yield failed(
            f"too hot: {listed}",
            "clean the fan and the air vents, give the box air; a chip this hot slows down or stops",
        )
    elif hottest >= HOT_C:
        yield warning(f"hot: {listed}", "make sure that the box gets enough air")
    else:
        yield ok(listed)


def memory(context: Context) -> Iterator[Finding]:
    """Whether there is as much memory as the settings allow the worker."""
    free, total = machine.free_memory_mb()
    allowed = context.config.worker.memory_mb
    if not total:
        yield not_checked("this machine does not report its memory")
    elif total < allowed:
        yield failed(
            f"{total:.0f} MB in total; the worker may use {allowed} (worker.memory_mb)",
            "lower worker.memory_mb: if memory runs out, the whole box fails",
        )
    elif context.status is None and free < allowed:
        yield warning(
            f"{free:.0f} of {total:.0f} MB free; the worker may use {allowed} (worker.memory_mb)",
            "stop other programs, or lower worker.memory_mb",
        )
    else:
        yield ok(f"{free:.0f} of {total:.0f} MB free; the worker may use {allowed}")


def wear(_: Context, sys: Path = machine.SYS) -> Iterator[Finding]:
    """How worn the built-in flash is."""
    found = machine.flash_wear(sys)
    if not found:
        yield not_checked("this machine's disks do not report how worn they are")
    for device, percent in found.items():
        if percent >= 90:
            yield warning(f"{device}: {min(percent, 100)} % of its life is used up", "replace it before it fails")
        else:
            yield ok(f"{device}: at most {percent} % of its life is used up")
