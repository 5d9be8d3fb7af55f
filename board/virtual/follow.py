"""A running board: prints its checks line by line as they arrive, until it shuts down."""

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
    """Make a root run a program of checks when it is up, and shut down afterwards."""
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
    """Print the board's lines, and stop it at the end.

    Args:
        board: The process it runs in.
        result: The folder that is its /result.
        tell: Called with each line.
        boot_s: Time limit until its checks begin.
        all_s: Time limit until it has shut down.
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
