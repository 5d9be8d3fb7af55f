"""Tier 1: a Debian with systemd as process 1, in a container."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List

import pieces
from follow import Tell, bake_in, follow
from pieces import BUILD, CHECKOUT, NotRun

NEEDS = ("systemd-nspawn=systemd-container", "mmdebstrap=mmdebstrap")
NEEDS += (
    "pkg-config=pkg-config",
    "/usr/include/systemd/sd-journal.h=libsystemd-dev",
)  # to ask what systemd-python needs
_CHECKS = "/release/board/virtual/inside/tier1.py"


def run(tell: Tell) -> bool:
    """Make the board, boot it, and tell each line of its checks.

    Returns:
        Whether all that ran passed.

    Raises:
        NotRun: If containers cannot be started here.
    """
    pieces.need(*NEEDS)
    work = BUILD / "tier1"
    shutil.rmtree(work, ignore_errors=True)
    root, result = work / "root", work / "result"
    result.mkdir(parents=True)
    release = make_release(work / "release")
    pieces.product(release / "again")
    pieces.product(release / "next", "+next")
    pieces.unpack(pieces.root("tier1"), root)
    bake_in(root, "/usr/bin/python3", _CHECKS)
    must_start(root)
    binds = [f"--bind-ro={release}:/release", f"--bind={result}:/result"]
    with (work / "console.txt").open("wb") as console:
        board = subprocess.Popen(
            [*command(root), *binds, "--boot"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    passed = follow(board, result, tell, boot_s=60, all_s=900)
    shutil.rmtree(root)
    return passed


def make_release(folder: Path) -> Path:
    """What an integrator would carry to a board: install.sh and what it puts there, a wheel in now/, all in wheels/."""
    for name in ("board", "systemd"):
        shutil.copytree(CHECKOUT / name, folder / name)
    shutil.copytree(pieces.wheels(), folder / "wheels", copy_function=copy_or_link)
    pieces.product(folder / "now")
    return folder


def copy_or_link(source: str, target: str) -> None:
    """A hard link where the two are on one file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def command(root: Path) -> List[str]:
    """How something is started in a root."""
    words = ["systemd-nspawn", "--quiet", f"--directory={root}", "--register=no", "--keep-unit", "--private-network"]
    # without these two DeviceAllow= is silently not enforced
    return [*words, "--capability=all", "--system-call-filter=bpf"]


def environment() -> Dict[str, str]:
    """For `command`."""
    return {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}


def must_start(root: Path) -> None:
    """Try whether a container starts at all.

    Raises:
        NotRun: If not.
    """
    try:
        inside(root, "/bin/true")
    except subprocess.CalledProcessError as e:
        raise NotRun(f"systemd-nspawn cannot start anything here: {e.stdout.decode().strip()[-300:]}") from e


def inside(root: Path, *words: str, binds: Dict[Path, str] = {}) -> None:  # noqa: B006 never changed
    """Run a program in a root that is not booted.

    Raises:
        subprocess.CalledProcessError: If it fails; its output is in it.
    """
    more = [f"--bind-ro={source}:{target}" for source, target in binds.items()]
    subprocess.run(
        [*command(root), *more, *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
