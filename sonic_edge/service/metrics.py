"""Writes the daemon's status as metrics, in Prometheus' text format, to a file that node_exporter reads.

They contain no names of jobs, people or files: names are private, and each would create its own time series. What the
status lacks is omitted. Counters count from the start of the daemon; those of the mirror from the start of the live
talk.
"""

import contextlib
import math
import os
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

PREFIX = "sonic_edge_"

_MB = 1e6  # of the disk
_MIB = float(1 << 20)  # of the memory
_STAGES = ("portrait", "listening", "thinking", "rendering")
_SCREEN_STATES = ("none", "starting", "running", "failed")
_DROPS = ("late", "refused", "unseen")
_HEALTH = ("OK", "Warning", "Alarm", "Critical", "UNKNOWN")
_CHIP_GAUGES: Tuple[Tuple[str, str, float, str], ...] = (
    ("npu_temperature_celsius", "temperature_c", 1, "Temperature of the chip."),
    ("npu_power_watts", "power_w", 1, "Power that the chip draws."),
    ("npu_aicore_ratio", "aicore_percent", 0.01, "Utilisation of the chip's AI cores, 0 to 1."),
    ("npu_memory_used_bytes", "memory_used_mb", _MIB, "Used memory of the chip."),
    ("npu_memory_size_bytes", "memory_total_mb", _MIB, "Size of the chip's memory."),
)
"""Metric, key in a chip's status, factor, help."""

Sample = Tuple[Dict[str, str], float]

_GAUGES: Tuple[Tuple[str, str, float, str], ...] = (
    ("uptime_seconds", "up_s", 1, "Time since the daemon started."),
    ("job_progress_ratio", "job.percent", 0.01, "Progress of the running job, 0 to 1."),
    ("job_left_seconds", "job.left_s", 1, "Estimated time until the running job is done."),
    ("job_attempt", "job.attempt", 1, "Number of the current attempt at the running job."),
    ("queue_jobs", "queue.waiting", 1, "Jobs that are waiting."),
    ("disk_free_bytes", "disk.free_mb", _MB, "Free space on the spool's disk."),
    ("disk_size_bytes", "disk.total_mb", _MB, "Size of the spool's disk."),
    ("disk_floor_bytes", "disk.floor_mb", _MB, "With less free space than this no job is started."),
    ("outbox_bytes", "disk.outbox_mb", _MB, "Size of the results in outbox."),
    ("worker_memory_bytes", "worker.memory_mb", _MIB, "Memory that the worker uses."),
    ("screen_waiting_clips", "screen.waiting", 1, "Videos that are waiting to be shown."),
    ("live_talking", "live.talking", 1, "1 while a live talk is on; always with live.trigger = voice."),
    ("live_recording", "live.recording", 1, "1 while a spoken passage is recorded."),
    ("live_muted", "live.muted", 1, "1 while the microphone is muted."),
    ("microphone_open", "live.microphone.open", 1, "1 while the microphone is open."),
    ("speaker_open", "live.mirror.speaker.open", 1, "1 while the loudspeaker is open."),
    (
        "speaker_skew_seconds",
        "live.mirror.speaker.skew_ms",
        1e-3,
        "Timing error of the loudspeaker's sound; positive if late.",
    ),
    ("mirror_cpu_ratio", "live.mirror.cpu_share", 1, "Processor time for the live picture, as a share of one core."),
)
"""Metric, path in the status, factor, help."""

_COUNTERS: Tuple[Tuple[str, str, float, str], ...] = (
    ("worker_deaths_total", "counts.worker_deaths", 1, "How often a worker died or had to be killed."),
    ("outbox_removed_total", "disk.removed", 1, "Results deleted from outbox by disk.keep_days and disk.keep_mb."),
    ("screen_restarts_total", "screen.restarts", 1, "How often the player was restarted."),
    ("screen_skipped_total", "screen.skipped", 1, "Videos that could not be shown."),
    (
        "microphone_overruns_total",
        "live.microphone.overruns",
        1,
        "How often sound was lost because the box was too slow or too busy.",
    ),
    ("microphone_lost_total", "live.microphone.lost", 1, "How often the microphone disconnected."),
    ("mirror_pictures_total", "live.mirror.shown", 1, "Live pictures that were shown."),
    ("mirror_skipped_seconds_total", "live.mirror.skipped_s", 1, "Sound that the model skipped because it was behind."),
    ("speaker_underruns_total", "live.mirror.speaker.underruns", 1, "How often the loudspeaker had nothing to play."),
)


def text(status: Mapping[str, Any]) -> str:
    """The metrics as text.

    Args:
        status: As `sonic-edge status --json` prints it; any part may be missing.
    """
    lines: List[str] = []
    for name, kind, help_text, samples in _families(status):
        if samples:
            lines += [f"# HELP {PREFIX}{name} {help_text}", f"# TYPE {PREFIX}{name} {kind}"]
            lines += [f"{PREFIX}{name}{_labels(labels)} {_number_text(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def write(path: Path, status: Mapping[str, Any]) -> str:
    """Replace the file atomically: a reader sees either the old or the new one.

    Args:
        path: The file; its folder must exist.
        status: As for `text`.

    Returns:
        Why it could not be written; empty if it was. Nothing is raised: the daemon goes on without metrics.
    """
    draft = path.with_name(f".{path.name}.tmp")  # not .prom, so that node_exporter does not read it
    try:
        data = text(status).encode(errors="replace")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o644)  # regardless of the umask: another user reads it
            file.write(data)
        draft.replace(path)
    except Exception as e:
        with contextlib.suppress(OSError):
            draft.unlink()
        return f"metrics.path = {path}: cannot be written: {getattr(e, 'strerror', None) or e}"
    return ""


def _families(status: Mapping[str, Any]) -> Iterator[Tuple[str, str, str, List[Sample]]]:
    """Name, type, help and samples of each metric."""
    yield (
        "info",
        "gauge",
        "Always 1; its label is the version.",
        [({"version": str(_get(status, "version") or "")}, 1.0)],
    )
    for name, where, factor, help_text in _GAUGES:
        yield name, "gauge", help_text, _one(_number(status, where, factor))
    for name, where, factor, help_text in _COUNTERS:
        yield name, "counter", help_text, _one(_number(status, where, factor))

    results = (({"result": result}, _number(status, f"counts.{result}")) for result in ("done", "failed", "cancelled"))
    yield "jobs_total", "counter", "Jobs that have ended.", _known(results)
    dropped = (({"reason": reason}, _number(status, f"live.mirror.{reason}")) for reason in _DROPS)
    yield "mirror_dropped_total", "counter", "Live pictures that were not shown.", _known(dropped)

    job = _get(status, "job")
    yield "job_running", "gauge", "1 while a job is running.", _one(None if job is None else float(bool(job)))
    stage = _get(status, "job.stage")
    stages = [({"stage": s}, float(s == stage)) for s in _STAGES] if job is not None else []
    yield "job_stage", "gauge", "1 for the stage of the running job.", stages
    yield "queue_held", "gauge", "1 while no waiting job may be started.", _flag(status, "queue.held")
    yield "settings_refused", "gauge", "1 while the settings on disk are wrong.", _flag(status, "settings.error")
    errors = _get(status, "errors")
    recent = float(len(errors)) if isinstance(errors, list) else None
    yield "recent_errors", "gauge", "Number of errors in the status.", _one(recent)

    screen = _get(status, "screen.state")
    states = [({"state": s}, float(s == screen)) for s in _SCREEN_STATES] if isinstance(screen, str) else []
    yield "screen_state", "gauge", "1 for the state of the screen.", states
    worker = _get(status, "worker")
    running = float(bool(worker.get("pid"))) if isinstance(worker, Mapping) else None
    yield "worker_running", "gauge", "1 while a worker process is running.", _one(running)
    latency = _each(status, "live.mirror.latency_ms", "part", 1e-3)
    yield "mirror_latency_seconds", "gauge", "Latency from sound to picture, the median of each part.", latency
    yield "temperature_celsius", "gauge", "Temperature of each sensor.", _each(status, "temperature_c", "sensor")
    yield from _of_chips(status)


def _of_chips(status: Mapping[str, Any]) -> Iterator[Tuple[str, str, str, List[Sample]]]:
    """The metrics of Ascend chips, if one is used."""
    error, listed = _get(status, "npu.error"), _get(status, "npu.chips")
    answers = None if error is None else float(not error)
    yield "npu_answers", "gauge", "1 while npu-smi answers.", _one(answers)
    chips = {str(chip.get("device")): chip for chip in listed or () if isinstance(chip, Mapping)}
    for name, key, factor, help_text in _CHIP_GAUGES:
        samples = (({"chip": device}, _times(chip.get(key), factor)) for device, chip in chips.items())
        yield name, "gauge", help_text, _known(samples)
    health = [
        ({"chip": device, "state": state}, float(chip.get("health") == state))
        for device, chip in chips.items()
        for state in _HEALTH
    ]
    yield "npu_health", "gauge", "1 for the health that the chip reports.", health


# ---- reading the status -------------------------------------------------------------------------------------------


def _get(status: Mapping[str, Any], where: str) -> Any:
    """The value at a path such as ``"queue.waiting"``; None if there is none."""
    found: Any = status
    for key in where.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _number(status: Mapping[str, Any], where: str, factor: float = 1) -> Optional[float]:
    return _times(_get(status, where), factor)


def _each(status: Mapping[str, Any], where: str, label: str, factor: float = 1) -> List[Sample]:
    """A sample for each entry of a mapping in the status."""
    found = _get(status, where)
    entries = found.items() if isinstance(found, Mapping) else ()
    return _known(({label: str(key)}, _times(value, factor)) for key, value in entries)


def _times(value: object, factor: float) -> Optional[float]:
    """The value times the factor; None if it is not a finite number."""
    if isinstance(value, (bool, int, float)) and math.isfinite(value):
        return value * factor
    return None


def _flag(status: Mapping[str, Any], where: str) -> List[Sample]:
    """1 if the value at a path is not empty, 0 if it is; no sample if there is no value."""
    value = _get(status, where)
    return [] if value is None else [({}, float(bool(value)))]


def _one(value: Optional[float]) -> List[Sample]:
    return [] if value is None else [({}, value)]


def _known(samples: Iterable[Tuple[Dict[str, str], Optional[float]]]) -> List[Sample]:
    return [(labels, value) for labels, value in samples if value is not None]


# ---- writing the format -------------------------------------------------------------------------------------------


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number_text(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(round(value, 6))
