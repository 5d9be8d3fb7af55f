"""Tier 1: a Debian with systemd as process 1, in a container."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Callable, List

import pieces
from pieces import BUILD, CHECKOUT, NotRun

_BOOT_S = 60.0
_ALL_S = 900.0
_UNIT = """\
[Unit]
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -u /release/board/virtual/inside/tier1.py /result
ExecStopPost=systemctl poweroff
StandardOutput=file:/result/lines.txt
StandardError=journal

[Install]
WantedBy=multi-user.target
"""


def run(tell: Callable[[str], None]) -> bool:
    """Make the board, boot it, and tell each line of its checks.

    Returns:
        Whether all that ran passed.

    Raises:
        NotRun: If containers cannot be started here.
    """
    pieces.need("systemd-nspawn=systemd-container", "mmdebstrap=mmdebstrap")
    work = BUILD / "tier1"
    shutil.rmtree(work, ignore_errors=True)
    root, release, result = work / "root", work / "release", work / "result"
    result.mkdir(parents=True)
    wheels = pieces.wheels()
    pieces.unpack(pieces.root("tier1"), root)
    for name in ("board", "systemd"):
        shutil.copytree(CHECKOUT / name, release / name)
    shutil.copytree(wheels, release / "wheels", copy_function=os.link)
    pieces.product(release / "now")
    pieces.product(release / "next", "+next")
    system = root / "etc/systemd/system"
    (system / "board-test.service").write_text(_UNIT)
    (system / "multi-user.target.wants").mkdir(exist_ok=True)
    (system / "multi-user.target.wants/board-test.service").symlink_to("../board-test.service")
    (root / "etc/hostname").write_text("virtual-board\n")
    base = ["systemd-nspawn", "--quiet", f"--directory={root}", "--register=no", "--keep-unit", "--private-network"]
    # without these two DeviceAllow= is silently not enforced
    base += ["--capability=all", "--system-call-filter=bpf"]
    _must_start(base)
    base += [f"--bind-ro={release}:/release", f"--bind={result}:/result", "--boot"]
    board = _start(base, work / "console.txt")
    try:
        passed = _follow(board, result, tell)
    finally:
        board.kill()
        board.wait()
    shutil.rmtree(root)
    return passed


def _environment() -> dict:
    return {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}


def _must_start(base: List[str]) -> None:
    done = subprocess.run(
        [*base, "/bin/true"],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise NotRun(f"systemd-nspawn cannot start anything here: {done.stdout.decode().strip()[-300:]}")


def _start(command: List[str], console: Path) -> "subprocess.Popen[bytes]":
    with console.open("wb") as out:
        return subprocess.Popen(
            command, env=_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )


def _follow(board: "subprocess.Popen[bytes]", result: Path, tell: Callable[[str], None]) -> bool:
    """Tell the lines as they come; whether the board ended well."""
    began, told = time.monotonic(), 0
    lines = result / "lines.txt"
    while True:
        over = board.poll() is not None
        whole = lines.read_text().splitlines(keepends=True) if lines.exists() else []
        for line in whole[told:]:
            if line.endswith("\n") or over:
                tell(line.rstrip())
                told += 1
        waited_s = time.monotonic() - began
        if over:
            break
        if waited_s > _ALL_S or (not lines.exists() and waited_s > _BOOT_S):
            tell(f"FAIL    the board: no end after {waited_s:.0f} s; see {result.parent}/console.txt")
            return False
        time.sleep(0.2)
    end = result / "end"
    if not end.exists():
        tell(f"FAIL    the board: went down before its checks were over; see {result.parent}/console.txt")
        return False
    return end.read_text() == "0"
