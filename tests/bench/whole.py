"""Whole videos, each in a process of its own: processor time, memory, and the gain from a second core."""

import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np

from sonic_edge.config import EncodeSettings, ModelSettings

from .cost import Spent, run, turn
from .stages import FPS, recording


def video(size: int, preset: str, path: Path, cores: str = "", threads: int = 1) -> Spent:
    """Make one; `cores` as `taskset` takes them, empty for all; the model may use so many threads."""
    pinned = ["taskset", "--cpu-list", cores] if cores else []
    return run(*pinned, sys.executable, "-m", "tests.bench.child", str(size), preset, str(path), str(threads))


def beside(
    encode: Callable[[], int], size: int, preset: str, folder: Path, seconds: float, rounds: int
) -> Dict[str, float]:
    """Whole videos beside the encoding alone, turn by turn.

    Returns:
        `ms`: median processor time for a frame of the video. `encode_only_ms`: the same for the encoding alone, done
        before and after each video. `ratio`: median of a video's by the mean of the two around it. `peak_mb`: most
        memory.
    """
    path, alone, videos, peaks = recording(folder, seconds), [turn(encode)], [], []
    for _ in range(rounds):
        spent = video(size, preset, path)
        videos.append(1e3 * spent.reported["cpu_s"] / spent.reported["n_frames"])
        peaks.append(spent.peak_mb)
        alone.append(turn(encode))
    ratios = [2 * v / (a + b) for v, a, b in zip(videos, alone, alone[1:])]
    return {
        "ms": float(np.median(videos)),
        "encode_only_ms": float(np.median(alone)),
        "ratio": float(np.median(ratios)),
        "peak_mb": max(peaks),
    }


def second_core(folder: Path, seconds: float, rounds: int) -> Dict[str, float]:
    """Time on the clock for a video at 512, as the settings have it, on one core and on two, s."""
    path = recording(folder, seconds)
    walls: Dict[str, List[float]] = {"0": [], "0,1": []}
    for _ in range(rounds):
        for cores, found in walls.items():
            spent = video(512, EncodeSettings().preset, path, cores, ModelSettings().threads)
            found.append(spent.reported["wall_s"])
    return {"one": float(np.median(walls["0"])), "two": float(np.median(walls["0,1"]))}


def growth(folder: Path, seconds: float) -> Dict[str, Any]:
    """A long video between two of ten seconds, at 512, as the settings have it."""
    made = [video(512, EncodeSettings().preset, recording(folder, s)) for s in (10, seconds, 10)]
    ms = [1e3 * spent.reported["cpu_s"] / spent.reported["n_frames"] for spent in made]
    return {
        "seconds": seconds,
        "cost": 2 * ms[1] / (ms[0] + ms[2]),
        "memory": 2 * made[1].peak_mb / (made[0].peak_mb + made[2].peak_mb),
        "ms_a_second": ms[1] * FPS,
    }
