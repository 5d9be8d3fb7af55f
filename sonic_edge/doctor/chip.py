"""Checks of the Ascend chip: its own report, whether the daemon may use it, and CANN, the vendor's software for it."""

import grp
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

from ..errors import ConfigError
from ..hardware import npu
from .finding import Context, Finding, failed, not_checked, ok, warning

GROUP = "HwHiAiUser"
_NEEDED = ("davinci_manager",)
_IF_PRESENT = (
    *("dvpp_cmdlist", "devmm_svm", "hisi_hdc", "svm0", "ts_aisle", "upgrade", "sys"),
    *("vdec", "vpc", "pngd", "venc", "log_drv"),
)
"""As in systemd/ascend.conf, which names the source."""
_FEW_MB = 200.0
"""Our estimate, not measured on a chip: the model's files are under 10 MB, the runtime needs most of it."""

_LOAD = """
import ctypes, importlib, sys
module = importlib.import_module(sys.argv[1])
ctypes.CDLL("libascendcl.so")
print("\\nloaded", getattr(module, "__version__", ""))
"""
_LOAD_S = 45.0
_ENV = "as root run install.sh again: it writes /etc/sonic-edge/ascend.env (docs/CHIP.md: where CANN is looked for)"


def health(context: Context) -> Iterator[Finding]:
    """The chip's own report: driver, health, temperature, memory; and whether the model was compiled for it."""
    settings = context.config.model
    if not npu.needs_chip(settings.backend):
        yield _not_needed(context)
        return
    report = _daemon_report(context) or npu.ask()
    if report.error:
        yield failed(report.error, report.todo)
        return
    yield ok(f"npu-smi answers; driver {report.driver or 'version unknown'}")
    chip = next((chip for chip in report.chips if chip.device == settings.device_id), None)
    if chip is None:
        listed = ", ".join(f"{chip.device} ({chip.name})" for chip in report.chips)
        yield failed(f"model.device_id = {settings.device_id}: there is no such chip; present: {listed}", "correct it")
        return
    yield from _health(chip)
    yield from _temperature(chip)
    yield from _memory(chip)
    yield from _soc(context, chip)


def _daemon_report(context: Context) -> Optional[npu.Report]:
    """The running daemon's report, or None: `npu-smi` must not run twice at once, says its manual."""
    report = context.status and context.status.npu
    if not report or report.error or not report.chips:
        return None
    return npu.Report(tuple(report.chips), report.driver)


def _health(chip: npu.Npu) -> Iterator[Finding]:
    seen = f"chip {chip.device} is a {chip.name}; its health is {chip.health}"
    why = f"as root: npu-smi info -t health -i {chip.npu} -c {chip.chip} shows why; restart the box"
    if chip.health == npu.HEALTHY:
        yield ok(seen)
    elif chip.health == "Warning":
        yield warning(seen, why)
    else:
        yield failed(seen, why)


def _temperature(chip: npu.Npu) -> Iterator[Finding]:
    if chip.temperature_c is None:
        yield not_checked(f"chip {chip.device} reports no temperature")
        return
    seen = f"{chip.temperature_c:g} °C" + (f", {chip.power_w:g} W" if chip.power_w is not None else "")
    if chip.temperature_c >= npu.TOO_HOT_C:
        yield failed(
            f"too hot: {seen}; the limit is {npu.TOO_HOT_C:g}", "clean the fan and the air vents, give the box air"
        )
    elif chip.temperature_c >= npu.HOT_C:
        yield warning(f"hot: {seen}", "make sure that the box gets enough air")
    else:
        yield ok(seen)


def _memory(chip: npu.Npu) -> Iterator[Finding]:
    if chip.memory_used_mb is None or not chip.memory_total_mb:
        yield not_checked(f"chip {chip.device} reports no memory")
        return
    free_mb = chip.memory_total_mb - chip.memory_used_mb
    seen = f"{free_mb:.0f} of {chip.memory_total_mb:.0f} MB of the chip's memory free"
    if free_mb < _FEW_MB:
        yield warning(seen, "stop the other programs that use the chip (npu-smi info lists them), or restart the box")
    else:
        yield ok(seen)


def _soc(context: Context, chip: npu.Npu) -> Iterator[Finding]:
    """Whether the model was compiled for this chip."""
    from ..model.store import find_bundle

    settings = context.config.model
    backend = settings.backend
    try:
        spec = find_bundle(settings.bundle, Path(settings.store).absolute()).spec
    except ConfigError:
        yield not_checked("which chip the model was compiled for: see the check of the model files")
        return
    files = {name: stage.files[backend] for name, stage in spec.stages.items() if backend in stage.files}
    wrong = [f"{name} for {file.soc}" for name, file in files.items() if not npu.fits(file.soc, chip)]
    if wrong:
        yield failed(
            f"the chip is an {chip.soc}; {spec.name} was compiled for another chip: {', '.join(wrong)}",
            f"python -m models.convert --soc {chip.soc}, on a machine with CANN; then sonic-edge model install",
        )
    elif files and all(file.soc for file in files.values()):
        yield ok(f"{spec.name} was compiled for this chip, an {chip.soc}")
    elif files:
        yield ok(f"{spec.name} is for any chip: it is compiled each time it is loaded, which takes a while")


def devices(context: Context, dev: Path = Path("/dev")) -> Iterator[Finding]:
    """Whether the daemon's user may use the driver's device files."""
    if not npu.needs_chip(context.config.model.backend):
        yield _not_needed(context)
        return
    again = "as root run install.sh again, now that the driver is there"
    try:
        gid = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        yield failed(
            f"there is no group {GROUP}; the chip's driver creates it", "install the driver, then Sonic Edge again"
        )
        return
    groups = {os.getegid(), *os.getgroups()} if context.account is None else set(context.account.groups)
    if gid not in groups and os.geteuid() != 0:
        yield failed(
            f"{context.user} is not in the group {GROUP}", f"{again}; or, for a person: usermod -aG {GROUP} NAME"
        )
    if context.unit.get("LoadState") == "loaded" and "ascend.conf" not in context.unit.get("DropInPaths", ""):
        yield failed("the unit gives the daemon no access to the chip: it has no ascend.conf", again)
    needed = [*_NEEDED, f"davinci{context.config.model.device_id}"]
    missing = [name for name in needed if not (dev / name).exists()]
    if missing:
        others = sorted(path.name for path in dev.glob("davinci*"))
        yield failed(
            f"{', '.join(str(dev / name) for name in missing)}: missing; present: {', '.join(others) or 'none'}",
            "the driver has not found the chip: dmesg | grep -i davinci; or correct model.device_id",
        )
    present = [name for name in (*needed, *_IF_PRESENT) if (dev / name).exists()]
    closed = [name for name in present if not os.access(dev / name, os.R_OK | os.W_OK)]
    if closed:
        yield failed(
            f"{context.user} may not use {', '.join(str(dev / name) for name in closed)}",
            f"they must belong to the group {GROUP}, mode 660: ls -l {dev}/davinci*; install the driver again",
        )
    elif not missing:
        yield ok(f"{context.user} may use {', '.join(present)}")


def cann(context: Context) -> Iterator[Finding]:
    """Whether the backend's module can be imported, in a process like the daemon's."""
    backend = context.config.model.backend
    if not npu.needs_chip(backend):
        yield _not_needed(context)
        return
    module = backend  # each backend has the name of the module it imports
    versions = ", ".join(installed())
    try:
        done = subprocess.run(
            [sys.executable, "-c", _LOAD, module], capture_output=True, text=True, timeout=_LOAD_S, errors="replace"
        )
    except subprocess.TimeoutExpired:
        yield failed(f"import {module} does not return ({versions})", "the driver hangs: restart the box")
        return
    loaded = re.search(r"^loaded (.*)$", done.stdout, re.MULTILINE)
    if done.returncode == 0 and loaded is not None:
        yield ok(f"{module} {loaded[1].strip() or '(version unknown)'} loads; {versions}")
        return
    last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
    yield failed(f"import {module}: {last}; {versions}", _todo(module, last, done.returncode))


def _todo(module: str, error: str, status: int) -> str:
    if status < 0:
        return f"it crashes its process: the versions of {module}, CANN, driver and Python do not match (docs/CHIP.md)"
    if "No module named 'mindspore_lite'" in error:
        python = ".".join(map(str, sys.version_info[:2]))
        return f"install the vendor's wheel for Python {python}: {sys.executable} -m pip install mindspore_lite-*.whl"
    if "No module named 'acl'" in error or "cannot open shared object" in error:
        return f"CANN is not installed, or the service does not know where it is: {_ENV}"
    return "the versions of CANN, driver and Python must match: see the vendor's table of versions (docs/CHIP.md)"


def installed(root: Path = Path("/")) -> List[str]:
    """The versions of CANN and of the driver, from their files, in words."""
    home = os.environ.get("ASCEND_TOOLKIT_HOME") or os.environ.get("ASCEND_HOME_PATH") or ""
    found = []
    for name, paths in (
        ("CANN", _info_files(Path(home)) if home else []),
        ("driver", [root / "usr/local/Ascend/driver/version.info", root / "etc/sys_version.conf"]),
    ):
        version = next((v for v in map(_version, paths) if v), "")
        if not version and name == "CANN" and home:
            version = f"in {os.path.realpath(home)}"
        found.append(f"{name} {version or 'not found'}")
    return found


def _info_files(home: Path) -> List[Path]:
    """``ascend_toolkit_install.info`` is in a folder named after the processor's architecture."""
    try:
        return sorted([*home.glob("*/ascend_*_install.info"), *home.glob("ascend_*_install.info")])
    except OSError:
        return []


def _version(path: Path) -> str:
    """The version in a line ``version=7.0.RC1``; empty if there is none."""
    try:
        text = path.read_text(errors="replace")[:65536]
    except OSError:
        return ""
    found = re.search(r"^version\s*=\s*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def _not_needed(context: Context) -> Finding:
    return ok(f"not needed: model.backend = {context.config.model.backend}")


def describe(context: Context) -> Tuple[str, ...]:
    """Lines about the chip for the support bundle."""
    if not npu.needs_chip(context.config.model.backend):
        return ("no chip is used",)
    report = _daemon_report(context) or npu.ask()
    chips = [str(chip) for chip in report.chips]
    return (*installed(), f"npu-smi: {report.error or report.driver}", *chips)
