"""``sonic-edge status``: what the daemon is doing."""

import argparse
import sys
import time
from typing import Any, Dict, List

from .options import Commands, add_command, run_folder

_BAR = 30
_FEW = 5
_EVERY_S = 1.0
_CLEAR = "\x1b[H\x1b[2J"


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "status",
        _status,
        "what the daemon is doing",
        "Tell what the running daemon does: its job and how long it will take, those that wait, what went wrong "
        "lately, disk, temperature, chip, screen, microphone.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="everything, for programs")
    how.add_argument("--watch", action="store_true", help="again every second, until ^C")


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
            text = str(e)  # it may come back
        else:
            status.pop("error")
            text = _as_json(status) if args.json else "\n".join(_lines(status))
        print(_CLEAR * (args.watch and sys.stdout.isatty()) + text, flush=True)
        if not args.watch:
            return 0
        time.sleep(_EVERY_S)


def _as_json(status: Dict[str, Any]) -> str:
    import json

    return json.dumps(status, ensure_ascii=False, indent=2)


def _lines(status: Dict[str, Any]) -> List[str]:
    """The state of the daemon for a person."""
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
        lines += [f"settings    refused at {settings['read']}, the old ones stay: {settings['error']}"]
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
        lines.append(f"            none is begun: {queue['held']}")
    if queue.get("waiting"):
        more = ", ..." if queue["waiting"] > _FEW else ""
        lines.append(f"waiting     {queue['waiting']}: {', '.join(queue['names'][:_FEW])}{more}")
    if counts:
        told = f"{counts['done']} done, {counts['failed']} failed, {counts['cancelled']} cancelled"
        lines.append(f"so far      {told} in {_span(status['up_s'])}; the worker died {counts['worker_deaths']} times")
    return lines


def _of_box(status: Dict[str, Any]) -> List[str]:
    lines = []
    disk, worker, warmth = status.get("disk", {}), status.get("worker", {}), status.get("temperature_c", {})
    if disk:
        removed = f"; {disk['removed']} old results deleted" if disk["removed"] else ""
        lines.append(
            f"disk        {disk['free_mb']:.0f} of {disk['total_mb']:.0f} MB free ({disk['floor_mb']} stay free), "
            f"outbox {disk['outbox_mb']:.0f} MB{removed}"
        )
    if status.get("model"):
        model = status["model"]
        lines.append(f"model       {model['name']} {model['version']} ({model['digest'][:8]}) on {model['backend']}")
    if worker:
        memory = f", {worker['memory_mb']:.0f} MB" if worker.get("memory_mb") else ""
        lines.append(f"worker      {worker['state']}{memory}")
    if warmth:
        lines.append("warmth      " + ", ".join(f"{name} {degrees:.0f} C" for name, degrees in warmth.items()))
    return [*lines, *_of_chips(status.get("npu", {}))]


def _of_chips(npu: Dict[str, Any]) -> List[str]:
    """The Ascend chips, where one is used."""
    lines = [f"chip        {npu['error']}"] if npu.get("error") else []
    for chip in npu.get("chips", []):
        told = [str(chip["health"])]
        if chip["temperature_c"] is not None:
            told.append(f"{chip['temperature_c']:.0f} C")
        if chip["power_w"] is not None:
            told.append(f"{chip['power_w']:.1f} W")
        if chip["aicore_percent"] is not None:
            told.append(f"AI cores {chip['aicore_percent']:.0f} % busy")
        if chip["memory_total_mb"] is not None:
            told.append(f"{chip['memory_used_mb'] or 0:.0f} of {chip['memory_total_mb']:.0f} MB used")
        lines.append(f"chip {chip['device']:<6} {chip['name']}: {', '.join(told)}")
    return lines


def _of_screen(screen: Dict[str, Any]) -> List[str]:
    showing = f"{screen['showing']} {screen.get('clip') or ''}".strip()
    lines = [f"screen      {screen['state']}" + ("" if screen["state"] == "none" else f", showing {showing}")]
    if screen.get("restarts"):
        lines.append(f"            player started again {screen['restarts']} times")
    if screen.get("error"):
        lines.append(f"            {screen['error']}")
    return lines


def _of_live(live: Dict[str, Any]) -> List[str]:
    lines = []
    if "mode" in live:
        state = "muted" if live["muted"] else "talking" if live["talking"] else "not talking"
        lines.append(f"live        {live['mode']}, {state}{', recording' if live['recording'] else ''}")
        ears = live["microphone"]
        heard = ears["device"] or "closed"
        lines.append(f"microphone  {heard}; {ears['overruns']} overruns, lost {ears['lost']} times")
        mirror = live["mirror"]
        if mirror:
            lost = f"{mirror['late']} late, {mirror['refused']} refused, {mirror['unseen']} unseen"
            lines.append(f"mirror      {mirror['shown']} pictures shown; dropped: {lost}")
            if mirror["latency_ms"]:
                lines.append(f"            {mirror['latency_ms']['total']:.0f} ms behind the microphone (median)")
    for what, words in {**live.get("errors", {}), "studio": live["error"]}.items():
        if words:
            lines.append(f"{what:<11} {words}")
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
