"""Writes the daemon's status as metrics, in Prometheus' text format, to a file that node_exporter reads.

They contain no names of jobs, people or files: names are private, and each would create its own time series. What the
status lacks is omitted. Counters count from the start of the daemon; those of the mirror from the start of the live
talk.
"""

import contextlib
import math
import os
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ..hardware.npu import Npu, NpuStatus
from ..live.state import LiveStatus, MirrorState, ScreenStatus
from .status import Status

PREFIX = "sonic_edge_"

_MB = 1e6  # of the disk
_MIB = float(1 << 20)  # of the memory
_STAGES = ("portrait", "listening", "thinking", "rendering")
_SCREEN_STATES = ("none", "starting", "running", "failed")
_HEALTH = ("OK", "Warning", "Alarm", "Critical", "UNKNOWN")

Sample = Tuple[Dict[str, str], float]
Family = Tuple[str, str, str, List[Sample]]
"""Name, type, help and samples of a metric."""


def text(status: Status) -> str:
    """The metrics as text.

    Args:
        status: Any part of it may be unknown.
    """
    lines: List[str] = []
    for name, kind, help_text, samples in _families(status):
        if samples:
            lines += [f"# HELP {PREFIX}{name} {help_text}", f"# TYPE {PREFIX}{name} {kind}"]
            lines += [f"{PREFIX}{name}{_labels(labels)} {_number_text(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def write(path: Path, status: Status) -> str:
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


def _families(status: Status) -> Iterator[Family]:
    yield "info", "gauge", "Always 1; its label is the version.", [({"version": status.version}, 1.0)]
    yield _gauge("uptime_seconds", "Time since the daemon started.", status.up_s)
    yield from _of_jobs(status)
    yield from _of_box(status)
    if status.npu is not None:
        yield from _of_chips(status.npu)
    if status.screen is not None:
        yield from _of_screen(status.screen)
    if status.live is not None:
        yield from _of_live(status.live)


def _of_jobs(status: Status) -> Iterator[Family]:
    job = status.job
    yield _gauge("job_running", "1 while a job is running.", job is not None)
    if job is not None:
        yield _gauge("job_progress_ratio", "Progress of the running job, 0 to 1.", 0.01 * job.percent)
        yield _gauge("job_left_seconds", "Estimated time until the running job is done.", job.left_s)
        yield _gauge("job_attempt", "Number of the current attempt at the running job.", job.attempt)
    stages = [({"stage": stage}, float(job is not None and stage == job.stage)) for stage in _STAGES]
    yield "job_stage", "gauge", "1 for the stage of the running job.", stages
    if status.queue is not None:
        yield _gauge("queue_jobs", "Jobs that are waiting.", status.queue.waiting)
        yield _gauge("queue_held", "1 while no waiting job may be started.", bool(status.queue.held))
    counts = status.counts
    if counts is not None:
        results = {"done": counts.done, "failed": counts.failed, "cancelled": counts.cancelled}
        ended: List[Sample] = [({"result": result}, float(n)) for result, n in results.items()]
        yield "jobs_total", "counter", "Jobs that have ended.", ended
        yield _counter("worker_deaths_total", "How often a worker died or had to be killed.", counts.worker_deaths)
    if status.worker is not None:
        yield _gauge("worker_running", "1 while a worker process is running.", status.worker.pid is not None)
        yield _gauge("worker_memory_bytes", "Memory that the worker uses.", _times(status.worker.memory_mb, _MIB))


def _of_box(status: Status) -> Iterator[Family]:
    disk = status.disk
    if disk is not None:
        yield _gauge("disk_free_bytes", "Free space on the spool's disk.", disk.free_mb * _MB)
        yield _gauge("disk_size_bytes", "Size of the spool's disk.", disk.total_mb * _MB)
        yield _gauge("disk_floor_bytes", "With less free space than this no job is started.", disk.floor_mb * _MB)
        yield _gauge("outbox_bytes", "Size of the results in outbox.", disk.outbox_mb * _MB)
        removed = "Results deleted from outbox by disk.keep_days and disk.keep_mb."
        yield _counter("outbox_removed_total", removed, disk.removed)
    if status.settings is not None:
        yield _gauge("settings_refused", "1 while the settings on disk are wrong.", bool(status.settings.error))
    if status.errors is not None:
        yield _gauge("recent_errors", "Number of errors in the status.", len(status.errors))
    sensors = _each(status.temperature_c or {}, "sensor")
    yield "temperature_celsius", "gauge", "Temperature of each sensor.", sensors


def _of_chips(npu: NpuStatus) -> Iterator[Family]:
    """The metrics of Ascend chips, if one is used."""
    yield _gauge("npu_answers", "1 while npu-smi answers.", not npu.error)
    readings: Tuple[Tuple[str, str, Callable[[Npu], Optional[float]]], ...] = (
        ("npu_temperature_celsius", "Temperature of the chip.", lambda chip: chip.temperature_c),
        ("npu_power_watts", "Power that the chip draws.", lambda chip: chip.power_w),
        (
            "npu_aicore_ratio",
            "Utilisation of the chip's AI cores, 0 to 1.",
            lambda chip: _times(chip.aicore_percent, 0.01),
        ),
        ("npu_memory_used_bytes", "Used memory of the chip.", lambda chip: _times(chip.memory_used_mb, _MIB)),
        ("npu_memory_size_bytes", "Size of the chip's memory.", lambda chip: _times(chip.memory_total_mb, _MIB)),
    )
    for name, help_text, read in readings:
        yield name, "gauge", help_text, _each({str(chip.device): read(chip) for chip in npu.chips}, "chip")
    health = [
        ({"chip": str(chip.device), "state": state}, float(chip.health == state))
        for chip in npu.chips
        for state in _HEALTH
    ]
    yield "npu_health", "gauge", "1 for the health that the chip reports.", health


def _of_screen(screen: ScreenStatus) -> Iterator[Family]:
    states = [({"state": state}, float(state == screen.state)) for state in _SCREEN_STATES]
    yield "screen_state", "gauge", "1 for the state of the screen.", states
    yield _gauge("screen_waiting_clips", "Videos that are waiting to be shown.", screen.waiting)
    yield _counter("screen_restarts_total", "How often the player was restarted.", screen.restarts)
    yield _counter("screen_skipped_total", "Videos that could not be shown.", screen.skipped)


def _of_live(live: LiveStatus) -> Iterator[Family]:
    talking = "1 while a live talk is on; always with live.trigger = voice."
    yield _gauge("live_talking", talking, live.talking)
    yield _gauge("live_recording", "1 while a spoken passage is recorded.", live.recording)
    yield _gauge("live_muted", "1 while the microphone is muted.", live.muted)
    microphone, mirror = live.microphone, live.mirror
    if microphone is not None:
        yield _gauge("microphone_open", "1 while the microphone is open.", microphone.open)
        overruns = "How often sound was lost because the box was too slow or too busy."
        yield _counter("microphone_overruns_total", overruns, microphone.overruns)
        yield _counter("microphone_lost_total", "How often the microphone disconnected.", microphone.lost)
    if mirror is not None:
        yield from _of_mirror(mirror)


def _of_mirror(mirror: MirrorState) -> Iterator[Family]:
    yield _counter("mirror_pictures_total", "Live pictures that were shown.", mirror.shown)
    drops = {"late": mirror.late, "refused": mirror.refused, "unseen": mirror.unseen}
    yield "mirror_dropped_total", "counter", "Live pictures that were not shown.", _each(drops, "reason")
    share = "Processor time for the live picture, as a share of one core."
    yield _gauge("mirror_cpu_ratio", share, mirror.cpu_share)
    skipped = "Sound that the model skipped because it was behind."
    yield _counter("mirror_skipped_seconds_total", skipped, mirror.skipped_s)
    latency = _each({part: 1e-3 * ms for part, ms in mirror.latency_ms.items()}, "part")
    yield "mirror_latency_seconds", "gauge", "Latency from sound to picture, the median of each part.", latency
    speaker = mirror.speaker
    if speaker is not None:
        yield _gauge("speaker_open", "1 while the loudspeaker is open.", speaker.open)
        skew = "Timing error of the loudspeaker's sound; positive if late."
        yield _gauge("speaker_skew_seconds", skew, _times(speaker.skew_ms, 1e-3))
        underruns = "How often the loudspeaker had nothing to play."
        yield _counter("speaker_underruns_total", underruns, speaker.underruns)


def _gauge(name: str, help_text: str, value: Optional[float]) -> Family:
    return name, "gauge", help_text, _one(value)


def _counter(name: str, help_text: str, value: Optional[float]) -> Family:
    return name, "counter", help_text, _one(value)


def _one(value: Optional[float]) -> List[Sample]:
    return [] if value is None or not math.isfinite(value) else [({}, float(value))]


def _each(values: Mapping[str, Optional[float]], label: str) -> List[Sample]:
    """A sample for each entry that is known."""
    known = ((key, value) for key, value in values.items() if value is not None and math.isfinite(value))
    return [({label: key}, float(value)) for key, value in known]


def _times(value: Optional[float], factor: float) -> Optional[float]:
    return None if value is None else value * factor


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
