"""Tier 1: a Debian with systemd as process 1, in a container."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List

from board.virtual import pieces
from board.virtual.follow import Tell, bake_in, follow
from board.virtual.pieces import BUILD, CHECKOUT, NotRun

NEEDS = ("systemd-nspawn=systemd-container", "mmdebstrap=mmdebstrap")
_BROKEN = 'raise RuntimeError("this release was made to fail")\n'


def run(tell: Tell) -> bool:
    """Make the board, boot it, and print each line of its checks.

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
    stick = make_stick(work / "stick", work / "source")
    pieces.unpack(pieces.root("tier1"), root)
    bake_in(root, "/usr/bin/python3", "/inside/tier1.py")
    must_start(root)
    binds = [f"--bind-ro={stick}:/stick", f"--bind-ro={CHECKOUT / 'board/virtual/inside'}:/inside"]
    binds.append(f"--bind={result}:/result")
    with (work / "console.txt").open("wb") as console:
        board = subprocess.Popen(
            [*command(root), *binds, "--boot"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    passed = follow(board, result, tell, boot_s=60, all_s=1500)
    for folder in (root, stick, work / "source"):
        shutil.rmtree(folder)
    return passed


def make_stick(stick: Path, scratch: Path) -> Path:
    """The bundles for the board: now/ is the current one, next/ a newer release, broken/ one that cannot start."""
    model = scratch / "own-net"
    shutil.copytree(CHECKOUT / "models/bundles/sonic-net", model)
    about = model / "bundle.yaml"
    about.write_text(about.read_text().replace("name: sonic-net", "name: own-net"))
    pieces.bundle(stick / "now", "screen", model=model)
    newer = pieces.other_release(scratch / "next", "+next")
    pieces.bundle(stick / "next", "screen", checkout=newer)
    broken = pieces.other_release(scratch / "broken", "+broken")
    with (broken / "sonic_edge/service/daemon/__init__.py").open("a") as program:
        program.write(_BROKEN)
    unit = broken / "systemd/sonic-edge.service"
    unit.write_text(unit.read_text().replace("Description=", "Description=Broken "))
    (broken / "systemd/sonic-edge-more.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
    pieces.bundle(stick / "broken", "screen", checkout=broken)
    return stick


def command(root: Path) -> List[str]:
    """How a container is started on a root."""
    words = ["systemd-nspawn", "--quiet", f"--directory={root}", "--register=no", "--keep-unit", "--private-network"]
    # without these two DeviceAllow= is silently not enforced
    return [*words, "--capability=all", "--system-call-filter=bpf"]


def environment() -> Dict[str, str]:
    """For `command`."""
    return {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}


def must_start(root: Path) -> None:
    """Check that a container starts at all.

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
