"""``sonic-edge status``: what the daemon is doing."""

import argparse
from typing import Any, Dict, List

from .options import Commands, add_command, run_folder


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "status", _status, "what the daemon is doing", "Tell what the running daemon, its screen and ears do."
    )
    parser.add_argument("--json", action="store_true", help="everything, for programs")


def _status(args: argparse.Namespace) -> int:
    from ..control import ask

    status = ask(run_folder(args.config), {"order": "status"}, timeout_s=10.0)
    if args.json:
        import json

        status.pop("error")
        print(json.dumps(status, ensure_ascii=False, indent=2))
    else:
        print("\n".join(_status_lines(status)))
    return 0


def _status_lines(status: Dict[str, Any]) -> List[str]:
    """The state of the daemon for a person."""
    job, screen, live = status["job"], status["screen"], status["live"]
    lines = [f"job         {job['id']}: {job['stage']} {job['percent']} %" if job else "job         none"]
    showing = f"{screen['showing']} {screen.get('clip') or ''}".strip()
    lines.append(f"screen      {screen['state']}" + ("" if screen["state"] == "none" else f", showing {showing}"))
    if screen.get("restarts"):
        lines.append(f"            player started again {screen['restarts']} times")
    if screen.get("error"):
        lines.append(f"            {screen['error']}")
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
