"""Parts of a virtual board: Debian roots and bundles, each made once and cached under the hash of its inputs."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sonic-edge" / "virtual"
BUILD = CHECKOUT / "build" / "virtual"

SUITE = "bookworm"
_BASE = ["systemd", "systemd-sysv", "dbus", "udev", "kmod", "util-linux", "mount", "procps"]
ROOTS: Dict[str, Sequence[str]] = {
    "tier1": [*_BASE, "python3"],  # for the checks
    "tier2": [*_BASE, "linux-image-amd64", "alsa-utils", "v4l-utils"],
}
_CARRIED = (
    *("board", "docs", "models/bundles", "sonic_edge", "systemd", "setup.cfg", "setup.py", "pyproject.toml"),
    *("LICENSE", "README.md", "README.zh.md"),
)
_KEPT = 2
_KEPT_S = 30 * 86400.0


class NotRun(Exception):
    """A tier cannot run on this machine; says why."""


def need(*things: str) -> None:
    """Make sure that programs, or files by their full path, are present: ``program=package``.

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
    return piece(f"root-{name}", command, lambda part: _run(*command, part / "root.tar")) / "root.tar"


def bundle(
    folder: Path,
    *without: str,
    checkout: Path = CHECKOUT,
    arch: str = "x86_64",
    suite: str = SUITE,
    model: Optional[Path] = None,
) -> str:
    """Make the offline bundle with board/make_bundle.sh, by default for a box like the boards.

    Args:
        folder: Where it goes.
        without: Parts to leave out.
        checkout: The source of the product.
        arch: The box's processor.
        suite: Its Debian.
        model: An operator's own model to include.

    Returns:
        The name of the folder in it.
    """
    command: List[object] = [checkout / "board/make_bundle.sh", "--arch", arch, "--suite", suite, "--out", folder]
    for part in without:
        command += ["--without", part]
    if model:
        command += ["--model", model]
    done = subprocess.run(
        [str(word) for word in command], env={**os.environ, "VENV": sys.prefix}, stdout=subprocess.PIPE, check=True
    )
    return Path(done.stdout.decode().strip()).stem


def other_release(folder: Path, version_suffix: str) -> Path:
    """A copy of this checkout with a suffix added to its version."""
    for name in _CARRIED:
        copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(CHECKOUT / name, folder / name)
    lines = (CHECKOUT / "setup.cfg").read_text().splitlines()
    lines = [line + version_suffix if line.startswith("version = ") else line for line in lines]
    (folder / "setup.cfg").write_text("\n".join(lines) + "\n")
    return folder


def unpack(tar: Path, folder: Path) -> None:
    """A root, ready to be started."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # devices cannot always be made here; whoever starts the root makes them
    _run("tar", "--extract", "--preserve-permissions", "--exclude=./dev/*", "--directory", folder, "--file", tar)


def piece(kind: str, made_by: Sequence[str], make: Callable[[Path], None], cache: Path = CACHE) -> Path:
    """A cached folder, made if missing; of those with other inputs the newest few are kept."""
    key = hashlib.sha256("\0".join(made_by).encode()).hexdigest()[:16]
    folder = cache / f"{kind}-{key}"
    if not folder.exists():
        print(f"making {folder}", flush=True)
        began = time.monotonic()
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="part-") as scratch:
            part = Path(scratch) / kind
            part.mkdir()
            make(part)
            if not folder.exists():  # another run may have been faster
                part.rename(folder)
        print(f"made in {time.monotonic() - began:.0f} s", flush=True)
    os.utime(folder)
    others = sorted((f for f in cache.glob(f"{kind}-*") if f != folder), key=lambda f: f.stat().st_mtime, reverse=True)
    for number, other in enumerate(others, 2):
        if number > _KEPT or other.stat().st_mtime < time.time() - _KEPT_S:
            shutil.rmtree(other)
    return folder


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL)
