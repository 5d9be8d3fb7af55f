"""A board that is running: its checks are told line by line as they come, until it goes down."""

import subprocess
import time
from pathlib import Path
from typing import Callable

Tell = Callable[[str], None]

_UNIT = """\
[Unit]
After=multi-user.target

[Service]
Type=oneshot
ExecStart={python} -u {program} /result
ExecStopPost=systemctl poweroff
StandardOutput=file:/result/lines.txt
StandardError=journal

[Install]
WantedBy=multi-user.target
"""


def bake_in(root: Path, python: str, program: str) -> None:
    """Have a root run a program of checks when it is up, and go down after it."""
    system = root / "etc/systemd/system"
    (system / "board-test.service").write_text(_UNIT.format(python=python, program=program))
    (system / "multi-user.target.wants").mkdir(exist_ok=True)
    (system / "multi-user.target.wants/board-test.service").symlink_to("../board-test.service")
    (root / "etc/hostname").write_text("virtual-board\n")


def follow(
    board: "subprocess.Popen[bytes]",
    result: Path,
    tell: Tell,
    boot_s: float,
    all_s: float,
    serve: Callable[[], None] = lambda: None,
) -> bool:
    """Tell what the board says, and end it.

    Args:
        board: The process it runs in.
        result: What it knows as /result.
        tell: Takes each line.
        boot_s: Until its checks begin.
        all_s: Until it has gone down.
        serve: Called several times a second meanwhile.

    Returns:
        Whether all checks that ran passed.
    """
    began, n_told = time.monotonic(), 0
    lines, end, console = result / "lines.txt", result / "end", result.parent / "console.txt"
    try:
        while True:
            is_over = board.poll() is not None
            said = lines.read_text().splitlines(keepends=True) if lines.exists() else []
            for line in said[n_told:]:
                if line.endswith("\n") or is_over:
                    tell(line.rstrip())
                    n_told += 1
            if is_over:
                break
            waited_s = time.monotonic() - began
            if waited_s > all_s or (not lines.exists() and waited_s > boot_s):
                tell(f"FAIL    the board: no end after {waited_s:.0f} s; see {console}")
                return False
            serve()
            time.sleep(0.1)
    finally:
        board.kill()
        board.wait()
    if not end.exists():
        tell(f"FAIL    the board: went down before its checks were over; see {console}")
        return False
    return end.read_text() == "0"
