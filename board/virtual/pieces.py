"""What a virtual board is made of: Debian roots and wheels, each made once and kept under the hash of what made it."""

import configparser
import hashlib
import inspect
import os
import platform
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sonic-edge" / "virtual"
BUILD = CHECKOUT / "build" / "virtual"

SUITE = "bookworm"
PYTHON = "3.11"
"""Of that suite; wheels are fetched for it whatever Python runs here."""

_BASE = ["systemd", "systemd-sysv", "dbus", "udev", "kmod", "util-linux", "mount", "procps"]
_BASE += ["python3", "python3-venv", "libportaudio2"]
ROOTS: Dict[str, Sequence[str]] = {
    "tier1": _BASE,
    "tier2": [*_BASE, "linux-image-amd64", "mpv", "alsa-utils", "v4l-utils"],
}
_TO_BUILD = ["gcc", "libc6-dev", "python3-dev", "python3-pip", "portaudio19-dev", "libsystemd-dev", "pkg-config"]
_KEPT = 2
_KEPT_S = 30 * 86400.0


class NotRun(Exception):
    """A tier cannot run on this machine; says why."""


def need(*things: str) -> None:
    """See to it that programs, or files by their full path, are here: ``program=package``.

    Raises:
        NotRun: If one is missing and cannot be installed.
    """
    if os.geteuid() != 0:
        raise NotRun("it makes a Debian root and starts it, which only root may do")
    wanted = [thing.split("=") for thing in things]
    lacking = [
        package
        for name, package in wanted
        if not (shutil.which(name) or (Path(name).is_absolute() and Path(name).exists()))
    ]
    if not lacking:
        return
    if shutil.which("apt-get") is None:
        raise NotRun(f"{', '.join(lacking)}: not installed, and there is no apt-get here")
    print(f"installing {' '.join(lacking)}", flush=True)
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *lacking]
    if subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, check=False).returncode:
        raise NotRun(f"{', '.join(lacking)}: cannot be installed")


def root(name: str) -> Path:
    """A tar of a Debian root, one of `ROOTS`."""
    packages = ",".join(ROOTS[name])
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", SUITE]
    return _piece(f"root-{name}", command, lambda part: _run(*command, part / "root.tar")) / "root.tar"


def wheels() -> Path:
    """A folder with every wheel the board needs, so that it is installed without a network."""
    made_by = [*_requirements("install_requires"), *_requirements("cpu"), *_sources(), *_TO_BUILD, SUITE, PYTHON]
    made_by += [inspect.getsource(_make_wheels), (CHECKOUT / "board/fetch_assets.py").read_text()]
    return _piece("wheels", made_by, _make_wheels)


def _requirements(name: str) -> List[str]:
    """What setup.cfg asks for, in all or for an extra."""
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    section = "options" if name == "install_requires" else "options.extras_require"
    return settings[section][name].split()


def _sources() -> List[str]:
    """Of these there are no wheels."""
    return [*_requirements("live"), *_requirements("journal")]


def product(folder: Path, version_suffix: str = "") -> Path:
    """A wheel of this checkout, with something added to its version."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch)  # a copy: what an earlier build left in the checkout would get into the wheel
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(CHECKOUT / name, source)
        lines = (CHECKOUT / "setup.cfg").read_text().splitlines()
        lines = [line + version_suffix if line.startswith("version = ") else line for line in lines]
        (source / "setup.cfg").write_text("\n".join(lines) + "\n")
        shutil.copytree(CHECKOUT / "sonic_edge", source / "sonic_edge")
        shutil.copytree(CHECKOUT / "models" / "bundles", source / "models" / "bundles")
        _pip("wheel", "--no-deps", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack(tar: Path, folder: Path) -> None:
    """A root, ready to be started."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # devices cannot always be made here; who starts the root makes its own
    _run("tar", "--extract", "--preserve-permissions", "--exclude=./dev/*", "--directory", folder, "--file", tar)


def _make_wheels(part: Path) -> None:
    machine = platform.machine()
    target = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    for level in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014"):
        target += ["--platform", f"{level}_{machine}"]
    wheel = product(part / "own")
    _pip("download", *target, "--dest", part, f"sonic-edge[cpu] @ {wheel.as_uri()}")
    for requirement in runpy.run_path(str(CHECKOUT / "board/fetch_assets.py"))["WHEELS"]:
        _pip("download", "--no-deps", *target, "--dest", part, requirement)
    _pip("download", "--no-deps", "--no-binary=:all:", "--dest", part / "sources", *_sources())
    build = "pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir /built /sources/*"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_TO_BUILD)}"]
    command += [f"--customize-hook=copy-in {part}/sources /"]
    command += [f'--customize-hook=chroot "$1" sh -c "{build}" >&2', f"--customize-hook=sync-out /built {part}"]
    _run(*command, SUITE, "/dev/null")
    shutil.rmtree(part / "sources")
    shutil.rmtree(part / "own")
    for own in part.glob("sonic_edge-*.whl"):
        own.unlink()


def _piece(kind: str, made_by: Sequence[str], make: Callable[[Path], None]) -> Path:
    """A folder, made unless it is there; of those made by something else the newest few are kept."""
    key = hashlib.sha256("\0".join(made_by).encode()).hexdigest()[:16]
    folder = CACHE / f"{kind}-{key}"
    if not folder.exists():
        print(f"making {folder}", flush=True)
        began = time.monotonic()
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="part-") as scratch:
            part = Path(scratch) / kind
            part.mkdir()
            make(part)
            if not folder.exists():  # another run may have been quicker
                part.rename(folder)
        print(f"made in {time.monotonic() - began:.0f} s", flush=True)
    os.utime(folder)
    others = sorted((f for f in CACHE.glob(f"{kind}-*") if f != folder), key=lambda f: f.stat().st_mtime, reverse=True)
    for number, other in enumerate(others, 2):
        if number > _KEPT or other.stat().st_mtime < time.time() - _KEPT_S:
            shutil.rmtree(other)
    return folder


def _pip(*arguments: object) -> None:
    _run(sys.executable, "-m", "pip", "--disable-pip-version-check", arguments[0], "--quiet", *arguments[1:])


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL)
