"""``sonic-edge status``: what the daemon is doing."""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any, Dict, List

from .options import Commands, add_command, run_folder

if TYPE_CHECKING:  # `--help` must not load it
    from ..service.status import Status

_BAR = 30
_FEW = 5
_REFRESH_S = 1.0
_CLEAR = "\x1b[H\x1b[2J"


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "status",
        _status,
        "what the daemon is doing",
        "Show what the running daemon is doing: its job and how long that will take, waiting jobs, recent errors, "
        "disk, temperature, chip, screen, microphone.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print all details as JSON")
    how.add_argument("--watch", action="store_true", help="refresh every second, until ^C")


def _status(args: argparse.Namespace) -> int:
    from ..errors import DeviceError
    from ..service.control import ask, read_status
    from ..service.messages import Request

    folder = run_folder(args.config)
    while True:
        try:
            answer = ask(folder, Request("status"), timeout_s=10.0)
        except DeviceError as e:
            if not args.watch:
                raise
            text = str(e)  # the daemon may come back
        else:
            text = _as_json(answer) if args.json else "\n".join(_lines(read_status(folder, answer)))
        print(_CLEAR * (args.watch and sys.stdout.isatty()) + text, flush=True)
        if not args.watch:
            return 0
        time.sleep(_REFRESH_S)


def _as_json(answer: Dict[str, Any]) -> str:
    """All that the daemon said, whatever its version."""
    import json

    del answer["error"]
    return json.dumps(answer, ensure_ascii=False, indent=2)


def _lines(status: "Status") -> List[str]:
    """The daemon's status as lines for a person."""
    return [*_of_jobs(status), *_of_box(status), *_of_screen(status), *_of_live(status), *_of_errors(status)]


def _of_jobs(status: "Status") -> List[str]:
    lines = [f"daemon      {status.state or 'starting'}"]
    settings, job, queue, counts = status.settings, status.job, status.queue, status.counts
    if settings is not None and settings.error:
        lines += [f"settings    refused at {settings.read}, the old ones stay in effect: {settings.error}"]
    if job is not None:
        bar = "#" * (_BAR * job.percent // 100)
        left = "" if job.left_s is None else f", about {_span(job.left_s)} left"
        again = f", attempt {job.attempt}" if job.attempt > 1 else ""
        lines += [
            f"job         {job.id}: {job.stage} {job.percent} %{left}{again}",
            f"            [{bar:-<{_BAR}}]",
        ]
    else:
        lines.append("job         none")
    if queue is not None and queue.held:
        lines.append(f"            no job is started: {queue.held}")
    if queue is not None and queue.waiting:
        more = ", ..." if queue.waiting > _FEW else ""
        lines.append(f"waiting     {queue.waiting}: {', '.join(queue.names[:_FEW])}{more}")
    if counts is not None:
        ended = f"{counts.done} done, {counts.failed} failed, {counts.cancelled} cancelled"
        lines.append(f"so far      {ended} in {_span(status.up_s or 0.0)}; worker deaths: {counts.worker_deaths}")
    return lines


def _of_box(status: "Status") -> List[str]:
    lines = []
    disk, model, worker = status.disk, status.model, status.worker
    if disk is not None:
        removed = f"; {disk.removed} old results deleted" if disk.removed else ""
        lines.append(
            f"disk        {disk.free_mb:.0f} of {disk.total_mb:.0f} MB free ({disk.floor_mb} kept free), "
            f"outbox {disk.outbox_mb:.0f} MB{removed}"
        )
    if model is not None:
        lines.append(f"model       {model.name} {model.version} ({model.digest[:8]}) on {model.backend}")
    if worker is not None:
        memory = f", {worker.memory_mb:.0f} MB" if worker.memory_mb else ""
        lines.append(f"worker      {worker.state}{memory}")
    if status.temperature_c:
        sensors = (f"{name} {degrees:.0f} C" for name, degrees in status.temperature_c.items())
        lines.append("temperature " + ", ".join(sensors))
    return [*lines, *_of_chips(status)]


def _of_chips(status: "Status") -> List[str]:
    """The Ascend chips, where one is used."""
    if status.npu is None:
        return []
    lines = [f"chip        {status.npu.error}"] if status.npu.error else []
    for chip in status.npu.chips:
        parts = [chip.health]
        if chip.temperature_c is not None:
            parts.append(f"{chip.temperature_c:.0f} C")
        if chip.power_w is not None:
            parts.append(f"{chip.power_w:.1f} W")
        if chip.aicore_percent is not None:
            parts.append(f"AI cores {chip.aicore_percent:.0f} % busy")
        if chip.memory_total_mb is not None:
            parts.append(f"{chip.memory_used_mb or 0:.0f} of {chip.memory_total_mb:.0f} MB used")
        lines.append(f"chip {chip.device:<6} {chip.name}: {', '.join(parts)}")
    return lines


def _of_screen(status: "Status") -> List[str]:
    screen = status.screen
    if screen is None:
        return []
    showing = f"{screen.showing} {screen.clip or ''}".strip()
    lines = [f"screen      {screen.state}" + ("" if screen.state == "none" else f", showing {showing}")]
    if screen.restarts:
        lines.append(f"            player restarts: {screen.restarts}")
    if screen.error:
        lines.append(f"            {screen.error}")
    return lines


def _of_live(status: "Status") -> List[str]:
    live = status.live
    if live is None:
        return []
    lines = []
    if live.mode is not None:
        state = "muted" if live.muted else "talking" if live.talking else "not talking"
        lines.append(f"live        {live.mode}, {state}{', recording' if live.recording else ''}")
    microphone, mirror = live.microphone, live.mirror
    if microphone is not None:
        device = microphone.device or "closed"
        lines.append(f"microphone  {device}; overruns: {microphone.overruns}, disconnected: {microphone.lost}")
    if mirror is not None:
        dropped = f"{mirror.late} late, {mirror.refused} refused, {mirror.unseen} unseen"
        lines.append(f"mirror      {mirror.shown} pictures shown; dropped: {dropped}")
        if mirror.latency_ms:
            lines.append(f"            {mirror.latency_ms['total']:.0f} ms behind the microphone (median)")
    errors = {**(live.errors or {}), "studio": live.error}
    return [*lines, *(f"{part:<11} {message}" for part, message in errors.items() if message)]


def _of_errors(status: "Status") -> List[str]:
    shown = (status.errors or [])[-_FEW:]
    return [f"{'' if i else 'errors':<11} {error.time} {error.what}" for i, error in enumerate(shown)]


def _span(seconds: float) -> str:
    """``3 s``, ``12 min``, ``5 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"
