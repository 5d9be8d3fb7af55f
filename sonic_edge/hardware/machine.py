"""Readings of the machine: temperature, memory, clock, disk, what is plugged in. Nothing here raises.

A reading that the machine does not offer is left out, or None: boards differ. The roots of ``/sys`` and ``/proc`` are
parameters so that tests can read copies of other boards' files.
"""

import contextlib
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, List, Optional, Tuple

SYS, PROC = Path("/sys"), Path("/proc")

EARLIEST = datetime(2026, 11, 1, tzinfo=timezone.utc)
"""A clock that shows a time before this release has not been set."""

_PLAUSIBLE_C = (-60.0, 200.0)
"""A reading outside this range means that there is no sensor."""


def _read(path: Path) -> str:
    """A small file of the kernel; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(1 << 16).decode(errors="replace").strip("\0\n ")
    except (OSError, ValueError):
        return ""


def _listed(folder: Path, pattern: str) -> List[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.glob(pattern), key=lambda p: (len(p.name), p.name))  # zone2 before zone10
    return []


# ---- temperature --------------------------------------------------------------------------------------------------


def temperatures(sys: Path = SYS) -> Dict[str, float]:
    """Degrees Celsius by sensor: the kernel's thermal zones; if there are none, the hwmon chips."""
    found: List[Tuple[str, str]] = []
    for zone in _listed(sys / "class/thermal", "thermal_zone*"):
        found.append((_read(zone / "type") or zone.name, _read(zone / "temp")))
    if not found:
        for chip in _listed(sys / "class/hwmon", "hwmon*"):
            for value in _listed(chip, "temp*_input"):
                label = _read(chip / value.name.replace("_input", "_label"))
                found.append((" ".join(filter(None, (_read(chip / "name") or chip.name, label))), _read(value)))
    out: Dict[str, float] = {}
    for name, text in found:
        with contextlib.suppress(ValueError):
            degrees = int(text) / 1000  # both report thousandths
            if _PLAUSIBLE_C[0] < degrees < _PLAUSIBLE_C[1]:
                out[_unique(name, out)] = round(degrees, 1)
    return out


def _unique(name: str, taken: Dict[str, float]) -> str:
    """A name not yet taken: boards have several sensors of the same name."""
    n, tried = 1, name
    while tried in taken:
        n += 1
        tried = f"{name}-{n}"
    return tried


# ---- memory, time -------------------------------------------------------------------------------------------------


def memory_mb(pid: int, proc: Path = PROC) -> float:
    """A process's resident memory (RSS), MB; 0 if there is no such process."""
    return _kilobytes(proc / str(pid) / "status", "VmRSS") / 1024


def free_memory_mb(proc: Path = PROC) -> Tuple[float, float]:
    """Available and total memory, MB; 0 if unknown."""
    meminfo = proc / "meminfo"
    return _kilobytes(meminfo, "MemAvailable") / 1024, _kilobytes(meminfo, "MemTotal") / 1024


def _kilobytes(path: Path, key: str) -> float:
    for line in _read(path).splitlines():
        name, _, value = line.partition(":")
        if name == key:
            with contextlib.suppress(ValueError, IndexError):
                return float(value.split()[0])
    return 0.0


def uptime_s(proc: Path = PROC) -> float:
    """Time since the machine was started, seconds; 0 if unknown."""
    with contextlib.suppress(ValueError, IndexError):
        return float(_read(proc / "uptime").split()[0])
    return 0.0


def clock_is_set(now: Optional[datetime] = None) -> bool:
    """Whether the clock shows a plausible time: without a network nothing corrects a wrong one."""
    return (now or datetime.now(timezone.utc)) >= EARLIEST


def hardware_clock(sys: Path = SYS) -> Optional[datetime]:
    """The time of the battery-backed clock (RTC); None if there is none, or it cannot be read."""
    for clock in _listed(sys / "class/rtc", "rtc*"):
        with contextlib.suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(int(_read(clock / "since_epoch")), timezone.utc)
    return None


# ---- disk ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mount:
    """A mounted file system."""

    folder: str
    """The mount point."""
    device: str
    kind: str
    """The type of file system: ext4, vfat, tmpfs..."""
    is_read_only: bool


def mount_of(path: Path, proc: Path = PROC) -> Optional[Mount]:
    """The mount that a path is on; None if unknown."""
    try:
        there = os.path.realpath(path)
    except (OSError, ValueError):
        return None
    best: Optional[Mount] = None
    for line in _read_all(proc / "self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        head, tail = before.split(), after.split()
        if len(head) < 6 or len(tail) < 3:
            continue
        folder = head[4].encode().decode("unicode_escape").encode("latin-1", "replace").decode(errors="replace")
        if there != folder and not there.startswith(folder.rstrip("/") + "/"):
            continue
        if best is None or len(folder) >= len(best.folder):  # of two mounts in one place, the later one is on top
            options = [*head[5].split(","), *tail[2].split(",")]
            best = Mount(folder, tail[1], tail[0], "ro" in options)
    return best


def _read_all(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def flash_wear(sys: Path = SYS) -> Dict[str, int]:
    """How much of an eMMC's lifetime is used, by device, percent: 10 means "up to 10". SD cards do not report it."""
    out: Dict[str, int] = {}
    for path in _listed(sys / "block", "mmcblk*"):
        with contextlib.suppress(ValueError):
            used = [int(part, 16) for part in _read(path / "device/life_time").split()]
            if used and max(used) > 0:
                out[path.name] = 10 * max(used)  # JEDEC: 0x01 is 0 to 10 %, 0x0B is past its life
    return out


# ---- what is plugged in -------------------------------------------------------------------------------------------


def model(proc: Path = PROC, sys: Path = SYS) -> str:
    """The board's model name; empty if unknown."""
    return _read(proc / "device-tree/model") or _read(sys / "class/dmi/id/product_name")


def connectors(sys: Path = SYS) -> Dict[str, str]:
    """Display connectors and their state: ``{"card0-HDMI-A-1": "connected"}``."""
    return {
        path.name: _read(path / "status") for path in _listed(sys / "class/drm", "card*-*") if _read(path / "status")
    }


def plugged_in(sys: Path = SYS, proc: Path = PROC) -> List[str]:
    """USB devices, cameras, sound cards and screens by product name, without serial numbers."""
    out = []
    for usb in _listed(sys / "bus/usb/devices", "*"):
        number = f"{_read(usb / 'idVendor')}:{_read(usb / 'idProduct')}"
        if number != ":":
            out.append(" ".join(filter(None, ("usb", number, _read(usb / "manufacturer"), _read(usb / "product")))))
    out += [f"camera {path.name} {_read(path / 'name')}" for path in _listed(sys / "class/video4linux", "video*")]
    out += [f"sound {' '.join(line.split())}" for line in _read(proc / "asound/cards").splitlines()]
    out += [f"screen {name} {state}" for name, state in connectors(sys).items()]
    return out
