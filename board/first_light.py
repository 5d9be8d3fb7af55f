"""The measurements of board/first-light.sh: the chip, a command's time, the difference of two videos.

python first_light.py chip DEVICE                    its name for ATC
python first_light.py timed FIGURES.json COMMAND...  run it; wall clock and processor time go into the file
python first_light.py compare CPU.mp4 CHIP.mp4       how much they differ; exit status 1 if too much
python first_light.py speed NAME REPORT.json FIGURES.json
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Dict, List

LIMIT_DB = 30.0
"""Both medians must be above this. Measured with the sample, CPU against CPU: INT8 against the same network in floating
point 38.8 dB (whole picture) and 36.8 (lower face); every weight off by 2 % 34.7 and 33.4; by 5 % 22.9 and 25.1; lips
and face moving half as much 31.8 and 25.0; another seed 15.5 and 14.9."""
_SAME_DB = 300.0  # cv2.PSNR of a picture and itself is 361
_LOWER_FACE = (slice(50, 85), slice(25, 75))
"""Rows and columns of the lower face, percent of the picture, in a portrait cropped by the product."""


def chip(device: int) -> int:
    """Print ATC's name of the chip."""
    from sonic_edge.hardware import npu

    report = npu.ask()
    found = [one for one in report.chips if one.device == device]
    if not found:
        error = report.error or f"there is no chip {device}"
        print(f"{error} -> {report.todo or 'choose another with --device'}", file=sys.stderr)
        return 1
    print(found[0].soc)
    return 0


def timed(figures: Path, command: List[str]) -> int:
    """Run a command, keep its times, and return its exit status."""
    since = time.monotonic()
    pid = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, used = os.wait4(pid, 0)
    spent = {"wall_s": time.monotonic() - since, "cpu_s": used.ru_utime + used.ru_stime}
    figures.write_text(json.dumps(spent))
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def compare(cpu: Path, chip: Path) -> int:
    """Print how well two videos agree, frame by frame; 0 if well enough."""
    import cv2
    import numpy as np

    whole: List[float] = []
    mouth: List[float] = []
    videos = [cv2.VideoCapture(str(path)) for path in (cpu, chip)]
    counts = [int(video.get(cv2.CAP_PROP_FRAME_COUNT)) for video in videos]
    while True:
        (there, a), (also, b) = (video.read() for video in videos)
        if not there or not also:
            break
        height, width = a.shape[:2]
        rows, columns = (slice(s.start * n // 100, s.stop * n // 100) for s, n in zip(_LOWER_FACE, (height, width)))
        whole.append(cv2.PSNR(a, b))
        mouth.append(cv2.PSNR(a[rows, columns], b[rows, columns]))
    if not whole or counts[0] != counts[1] or len(whole) != counts[0]:
        print(f"parity: {counts[0]} frames of the CPU, {counts[1]} of the chip, {len(whole)} readable: NOT THE SAME")
        return 1
    medians = [float(np.median(values)) for values in (whole, mouth)]
    good = min(medians) >= LIMIT_DB
    same = ", every frame the same" if min(whole) > _SAME_DB else ""
    print(
        f"parity: whole picture {medians[0]:.1f} dB (worst frame {min(whole):.1f}), lower face {medians[1]:.1f} "
        f"({min(mouth):.1f}){same}; the medians must be over {LIMIT_DB:g}: {'GOOD' if good else 'TOO FAR APART'}"
    )
    return 0 if good else 1


def speed(name: str, report: Path, figures: Path) -> None:
    """Print a line of the table: seconds per second of speech."""
    reported, spent = json.loads(report.read_text()), json.loads(figures.read_text())
    speech_s = reported["speech_s"]
    per: Dict[str, float] = {
        "model": reported["timings_s"]["thinking"],
        "whole video": sum(reported["timings_s"].values()),
        "with start": spent["wall_s"],
        "processor time": spent["cpu_s"],
    }
    print(f"{name:<16}" + "".join(f"{key} {value / speech_s:.3f} s   " for key, value in per.items()).rstrip())


def main(words: List[str]) -> int:
    """The command line."""
    what, *rest = words
    if what == "chip":
        return chip(int(rest[0]))
    if what == "timed":
        return timed(Path(rest[0]), rest[1:])
    if what == "compare":
        return compare(Path(rest[0]), Path(rest[1]))
    speed(rest[0], Path(rest[1]), Path(rest[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
