"""The daemon's status as figures for a monitoring system: Prometheus' text format, in a file that node_exporter reads.

No name of a job, a person or a file is in them: names are private, and each would make a time series of its own.
What the status does not tell is left out. Counters count since the daemon started; those of the mirror since somebody
stepped in front of it.
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
_OF_CHIP: Tuple[Tuple[str, str, float, str], ...] = (
    ("npu_temperature_celsius", "temperature_c", 1, "How warm the chip is."),
    ("npu_power_watts", "power_w", 1, "What the chip takes."),
    ("npu_aicore_ratio", "aicore_percent", 0.01, "How busy the chip's AI cores are, 0 to 1."),
    ("npu_memory_used_bytes", "memory_used_mb", _MIB, "Used of the memory the chip works in."),
    ("npu_memory_size_bytes", "memory_total_mb", _MIB, "Size of the memory the chip works in."),
)
"""Name, what of a chip, times what, help."""

Sample = Tuple[Dict[str, str], float]

_GAUGES: Tuple[Tuple[str, str, float, str], ...] = (
    ("uptime_seconds", "up_s", 1, "Since the daemon started."),
    ("job_progress_ratio", "job.percent", 0.01, "How far the running job is, 0 to 1."),
    ("job_left_seconds", "job.left_s", 1, "How long the running job will take from here on, as far as is known."),
    ("job_attempt", "job.attempt", 1, "Which attempt at the running job this is."),
    ("queue_jobs", "queue.waiting", 1, "Jobs that wait."),
    ("disk_free_bytes", "disk.free_mb", _MB, "Free on the spool's disk."),
    ("disk_size_bytes", "disk.total_mb", _MB, "Size of the spool's disk."),
    ("disk_floor_bytes", "disk.floor_mb", _MB, "With less free than this no job is begun."),
    ("outbox_bytes", "disk.outbox_mb", _MB, "What the results in outbox take."),
    ("worker_memory_bytes", "worker.memory_mb", _MIB, "What the worker holds in memory."),
    ("screen_waiting_clips", "screen.waiting", 1, "Videos that wait to be shown."),
    ("live_talking", "live.talking", 1, "1 while somebody speaks live, or may at any time."),
    ("live_recording", "live.recording", 1, "1 while a spoken passage is recorded."),
    ("live_muted", "live.muted", 1, "1 while the microphone is muted."),
    ("microphone_open", "live.microphone.open", 1, "1 while the microphone is open."),
    ("speaker_open", "live.mirror.speaker.open", 1, "1 while the loudspeaker is open."),
    ("speaker_skew_seconds", "live.mirror.speaker.skew_ms", 1e-3, "How far the sound is from where it should be."),
    ("mirror_cpu_ratio", "live.mirror.cpu_share", 1, "Processor time of the live picture, of one core."),
)
"""Name, where in the status, times what, help."""

_COUNTERS: Tuple[Tuple[str, str, float, str], ...] = (
    ("worker_deaths_total", "counts.worker_deaths", 1, "How often a worker died or had to be ended."),
    ("outbox_removed_total", "disk.removed", 1, "Results deleted from outbox by disk.keep_days and disk.keep_mb."),
    ("screen_restarts_total", "screen.restarts", 1, "How often the player was started again."),
    ("screen_skipped_total", "screen.skipped", 1, "Videos that could not be shown."),
    ("microphone_overruns_total", "live.microphone.overruns", 1, "How often sound was lost: too slow or too busy."),
    ("microphone_lost_total", "live.microphone.lost", 1, "How often the microphone went away."),
    ("mirror_pictures_total", "live.mirror.shown", 1, "Live pictures that were shown."),
    ("mirror_skipped_seconds_total", "live.mirror.skipped_s", 1, "Sound that the model did not get to."),
    ("speaker_underruns_total", "live.mirror.speaker.underruns", 1, "How often the loudspeaker had nothing to play."),
)


def text(status: Mapping[str, Any]) -> str:
    """The figures.

    Args:
        status: As `sonic-edge status --json` gives it; anything may be missing.
    """
    lines: List[str] = []
    for name, kind, help_text, samples in _families(status):
        if samples:
            lines += [f"# HELP {PREFIX}{name} {help_text}", f"# TYPE {PREFIX}{name} {kind}"]
            lines += [f"{PREFIX}{name}{_labels(labels)} {_figure(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def write(path: Path, status: Mapping[str, Any]) -> str:
    """Replace the file: whoever reads it finds it whole, now or before.

    Args:
        path: The file; its folder must be there.
        status: As for `text`.

    Returns:
        Why it could not be written, in words; empty if it was. Nothing is raised: the daemon goes on without figures.
    """
    draft = path.with_name(f".{path.name}.tmp")  # not .prom: nobody reads it
    try:
        data = text(status).encode(errors="replace")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o644)  # whatever the umask: the one who reads it is another user
            file.write(data)
        draft.replace(path)
    except Exception as e:
        with contextlib.suppress(OSError):
            draft.unlink()
        return f"metrics.path = {path}: cannot be written: {getattr(e, 'strerror', None) or e}"
    return ""


def _families(status: Mapping[str, Any]) -> Iterator[Tuple[str, str, str, List[Sample]]]:
    """Name, type, help and samples of each figure."""
    yield "info", "gauge", "Always 1; tells the version.", [({"version": str(_get(status, "version") or "")}, 1.0)]
    for name, where, factor, help_text in _GAUGES:
        yield name, "gauge", help_text, _one(_number(status, where, factor))
    for name, where, factor, help_text in _COUNTERS:
        yield name, "counter", help_text, _one(_number(status, where, factor))

    results = (({"result": result}, _number(status, f"counts.{result}")) for result in ("done", "failed", "cancelled"))
    yield "jobs_total", "counter", "Jobs that came to an end.", _known(results)
    dropped = (({"reason": reason}, _number(status, f"live.mirror.{reason}")) for reason in _DROPS)
    yield "mirror_dropped_total", "counter", "Live pictures that were not shown.", _known(dropped)

    job = _get(status, "job")
    yield "job_running", "gauge", "1 while a job is worked on.", _one(None if job is None else float(bool(job)))
    stage = _get(status, "job.stage")
    stages = [({"stage": s}, float(s == stage)) for s in _STAGES] if job is not None else []
    yield "job_stage", "gauge", "1 for the stage the running job is in.", stages
    yield "queue_held", "gauge", "1 while jobs wait because they may not be begun.", _flag(status, "queue.held")
    yield "settings_refused", "gauge", "1 while the settings on disk are wrong.", _flag(status, "settings.error")
    errors = _get(status, "errors")
    recent = float(len(errors)) if isinstance(errors, list) else None
    yield "recent_errors", "gauge", "Errors the daemon remembers.", _one(recent)

    screen = _get(status, "screen.state")
    states = [({"state": s}, float(s == screen)) for s in _SCREEN_STATES] if isinstance(screen, str) else []
    yield "screen_state", "gauge", "1 for the state the screen is in.", states
    worker = _get(status, "worker")
    running = float(bool(worker.get("pid"))) if isinstance(worker, Mapping) else None
    yield "worker_running", "gauge", "1 while there is a worker.", _one(running)
    latency = _each(status, "live.mirror.latency_ms", "part", 1e-3)
    yield "mirror_latency_seconds", "gauge", "From sound to picture, the median of each part.", latency
    yield "temperature_celsius", "gauge", "How warm it is.", _each(status, "temperature_c", "sensor")
    yield from _of_chips(status)


def _of_chips(status: Mapping[str, Any]) -> Iterator[Tuple[str, str, str, List[Sample]]]:
    """The figures of Ascend chips, where one is used."""
    error, listed = _get(status, "npu.error"), _get(status, "npu.chips")
    answers = None if error is None else float(not error)
    yield "npu_answers", "gauge", "1 while npu-smi tells of the chip.", _one(answers)
    chips = {str(chip.get("device")): chip for chip in listed or () if isinstance(chip, Mapping)}
    for name, what, factor, help_text in _OF_CHIP:
        of_each = (({"chip": device}, _times(chip.get(what), factor)) for device, chip in chips.items())
        yield name, "gauge", help_text, _known(of_each)
    health = [
        ({"chip": device, "state": state}, float(chip.get("health") == state))
        for device, chip in chips.items()
        for state in _HEALTH
    ]
    yield "npu_health", "gauge", "1 for the health the chip reports.", health


# ---- reading the status -------------------------------------------------------------------------------------------


def _get(status: Mapping[str, Any], where: str) -> Any:
    """``"queue.waiting"`` of it; None if there is no such thing."""
    found: Any = status
    for key in where.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def _number(status: Mapping[str, Any], where: str, factor: float = 1) -> Optional[float]:
    return _times(_get(status, where), factor)


def _each(status: Mapping[str, Any], where: str, label: str, factor: float = 1) -> List[Sample]:
    """A sample for each entry."""
    found = _get(status, where)
    entries = found.items() if isinstance(found, Mapping) else ()
    return _known(({label: str(key)}, _times(value, factor)) for key, value in entries)


def _times(value: object, factor: float) -> Optional[float]:
    """None if it is not a number."""
    if isinstance(value, (bool, int, float)) and math.isfinite(value):
        return value * factor
    return None


def _flag(status: Mapping[str, Any], where: str) -> List[Sample]:
    """Whether there is something to say."""
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


def _figure(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(round(value, 6))
