"""``sonic-edge status``: what the daemon is doing."""

import argparse
import sys
import time
from typing import Any, Dict, List

from .options import Commands, add_command, run_folder

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
    from ..service.control import ask

    folder = run_folder(args.config)
    while True:
        try:
            status = ask(folder, {"order": "status"}, timeout_s=10.0)
        except DeviceError as e:
            if not args.watch:
                raise
            text = str(e)  # the daemon may come back
        else:
            status.pop("error")
            text = _as_json(status) if args.json else "\n".join(_lines(status))
        print(_CLEAR * (args.watch and sys.stdout.isatty()) + text, flush=True)
        if not args.watch:
            return 0
        time.sleep(_REFRESH_S)


def _as_json(status: Dict[str, Any]) -> str:
    import json

    return json.dumps(status, ensure_ascii=False, indent=2)


def _lines(status: Dict[str, Any]) -> List[str]:
    """The daemon's status as lines for a person."""
    return [
        *_of_jobs(status),
        *_of_box(status),
        *_of_screen(status["screen"]),
        *_of_live(status["live"]),
        *_of_errors(status.get("errors", [])),
    ]


def _of_jobs(status: Dict[str, Any]) -> List[str]:
    lines = [f"daemon      {status.get('state') or 'starting'}"]
    settings = status.get("settings", {})
    if settings.get("error"):
        lines += [f"settings    refused at {settings['read']}, the old ones stay in effect: {settings['error']}"]
    job = status["job"]
    if job:
        bar = "#" * (_BAR * job["percent"] // 100)
        left = "" if job.get("left_s") is None else f", about {_span(job['left_s'])} left"
        again = f", attempt {job['attempt']}" if job.get("attempt", 1) > 1 else ""
        lines += [
            f"job         {job['id']}: {job['stage']} {job['percent']} %{left}{again}",
            f"            [{bar:-<{_BAR}}]",
        ]
    else:
        lines.append("job         none")
    queue, counts = status.get("queue", {}), status.get("counts", {})
    if queue.get("held"):
        lines.append(f"            no job is started: {queue['held']}")
    if queue.get("waiting"):
        more = ", ..." if queue["waiting"] > _FEW else ""
        lines.append(f"waiting     {queue['waiting']}: {', '.join(queue['names'][:_FEW])}{more}")
    if counts:
        ended = f"{counts['done']} done, {counts['failed']} failed, {counts['cancelled']} cancelled"
        lines.append(f"so far      {ended} in {_span(status['up_s'])}; worker deaths: {counts['worker_deaths']}")
    return lines


def _of_box(status: Dict[str, Any]) -> List[str]:
    lines = []
    disk, worker, sensors = status.get("disk", {}), status.get("worker", {}), status.get("temperature_c", {})
    if disk:
        removed = f"; {disk['removed']} old results deleted" if disk["removed"] else ""
        lines.append(
            f"disk        {disk['free_mb']:.0f} of {disk['total_mb']:.0f} MB free ({disk['floor_mb']} kept free), "
            f"outbox {disk['outbox_mb']:.0f} MB{removed}"
        )
    if status.get("model"):
        model = status["model"]
        lines.append(f"model       {model['name']} {model['version']} ({model['digest'][:8]}) on {model['backend']}")
    if worker:
        memory = f", {worker['memory_mb']:.0f} MB" if worker.get("memory_mb") else ""
        lines.append(f"worker      {worker['state']}{memory}")
    if sensors:
        lines.append("temperature " + ", ".join(f"{name} {degrees:.0f} C" for name, degrees in sensors.items()))
    return [*lines, *_of_chips(status.get("npu", {}))]


def _of_chips(npu: Dict[str, Any]) -> List[str]:
    """The Ascend chips, where one is used."""
    lines = [f"chip        {npu['error']}"] if npu.get("error") else []
    for chip in npu.get("chips", []):
        parts = [str(chip["health"])]
        if chip["temperature_c"] is not None:
            parts.append(f"{chip['temperature_c']:.0f} C")
        if chip["power_w"] is not None:
            parts.append(f"{chip['power_w']:.1f} W")
        if chip["aicore_percent"] is not None:
            parts.append(f"AI cores {chip['aicore_percent']:.0f} % busy")
        if chip["memory_total_mb"] is not None:
            parts.append(f"{chip['memory_used_mb'] or 0:.0f} of {chip['memory_total_mb']:.0f} MB used")
        lines.append(f"chip {chip['device']:<6} {chip['name']}: {', '.join(parts)}")
    return lines


def _of_screen(screen: Dict[str, Any]) -> List[str]:
    showing = f"{screen['showing']} {screen.get('clip') or ''}".strip()
    lines = [f"screen      {screen['state']}" + ("" if screen["state"] == "none" else f", showing {showing}")]
    if screen.get("restarts"):
        lines.append(f"            player restarts: {screen['restarts']}")
    if screen.get("error"):
        lines.append(f"            {screen['error']}")
    return lines


def _of_live(live: Dict[str, Any]) -> List[str]:
    lines = []
    if "mode" in live:
        state = "muted" if live["muted"] else "talking" if live["talking"] else "not talking"
        lines.append(f"live        {live['mode']}, {state}{', recording' if live['recording'] else ''}")
        microphone = live["microphone"]
        device = microphone["device"] or "closed"
        lines.append(f"microphone  {device}; overruns: {microphone['overruns']}, disconnected: {microphone['lost']}")
        mirror = live["mirror"]
        if mirror:
            dropped = f"{mirror['late']} late, {mirror['refused']} refused, {mirror['unseen']} unseen"
            lines.append(f"mirror      {mirror['shown']} pictures shown; dropped: {dropped}")
            if mirror["latency_ms"]:
                lines.append(f"            {mirror['latency_ms']['total']:.0f} ms behind the microphone (median)")
    for part, message in {**live.get("errors", {}), "studio": live["error"]}.items():
        if message:
            lines.append(f"{part:<11} {message}")
    return lines


def _of_errors(errors: List[Dict[str, str]]) -> List[str]:
    return [f"{'errors' if i == 0 else '':<11} {e['time']} {e['what']}" for i, e in enumerate(errors[-_FEW:])]


def _span(seconds: float) -> str:
    """``3 s``, ``12 min``, ``5 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"
