"""Whole videos, each in a process of its own: processor time, memory, and what a second core is good for."""

import sys
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from sonic_edge.config import EncodeSettings

from .cost import Spent, run
from .stages import FPS, recording


def video(size: int, preset: str, path: Path, cores: str = "") -> Spent:
    """Make one; `cores` as `taskset` takes them, empty for all."""
    pinned = ["taskset", "--cpu-list", cores] if cores else []
    return run(*pinned, sys.executable, "-m", "tests.bench.child", str(size), preset, str(path))


def per_frame(size: int, preset: str, folder: Path, seconds: float, rounds: int) -> Dict[str, float]:
    """Median processor time for a frame, ms, and the most memory, MB."""
    path = recording(folder, seconds)
    spent = [video(size, preset, path) for _ in range(rounds)]
    cpu = [s.told["cpu_s"] / s.told["n_frames"] for s in spent]
    return {"ms": float(np.median(cpu)) * 1e3, "peak_mb": max(s.peak_mb for s in spent)}


def second_core(folder: Path, seconds: float, rounds: int) -> Dict[str, float]:
    """Time on the clock for a video at 512, as the settings have it, on one core and on two, s."""
    path = recording(folder, seconds)
    walls: Dict[str, List[float]] = {"0": [], "0,1": []}
    for _ in range(rounds):
        for cores, found in walls.items():
            found.append(video(512, EncodeSettings().preset, path, cores).told["wall_s"])
    return {"one": float(np.median(walls["0"])), "two": float(np.median(walls["0,1"]))}


def growth(folder: Path, seconds: float) -> Dict[str, Any]:
    """A long video beside one of ten seconds, at 512."""
    short, long = (per_frame(512, "veryfast", folder, s, 1) for s in (10, seconds))
    return {
        "seconds": seconds,
        "cost": long["ms"] / short["ms"],
        "memory": long["peak_mb"] / short["peak_mb"],
        "ms_a_second": long["ms"] * FPS,
    }
