"""The command line: ``sonic-edge render | run | talk | snapshot | mute | unmute | status | devices | check-config``."""

import argparse
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Dict, List, NoReturn, Optional

from .config import Config, Controls, allowed, commented_yaml, load_config, parse_assignments, with_controls
from .errors import RequestError, SonicEdgeError

if TYPE_CHECKING:  # --help must not wait for numpy, OpenCV and the model runtime
    from tqdm import tqdm

    from .pipeline import Progress

EXIT_HELP = """exit status:
  0   done
  1   a part of the machine failed (disk, model runtime): trying again later may help
  2   this photo or this recording cannot be used, or the command line is wrong; the message says why
  78  the configuration or a control is wrong; the message says where
"""


def main(argv: Optional[List[str]] = None) -> int:
    """Do what the command line says.

    Args:
        argv: Words after the program's name; None takes them from the process.

    Returns:
        The exit status.
    """
    args = _parser().parse_args(argv)
    try:
        status: int = args.command(args)
        return status
    except SonicEdgeError as e:
        print(f"sonic-edge: {e}", file=sys.stderr)
        return e.exit_code
    except OSError as e:  # a name that is too long, an output that is full
        print(f"sonic-edge: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sonic-edge: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sonic-edge",
        description="Make a photo speak: a portrait and a recording become a talking video. Nothing leaves the box.",
        epilog=EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    render = commands.add_parser(
        "render",
        help="make one video",
        description="Make one talking video from a photo and a recording.",
        epilog=_controls_help() + "\n" + EXIT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    render.add_argument("portrait", type=Path, metavar="PORTRAIT", help="photo with a face: jpeg, png, webp, bmp ...")
    render.add_argument("speech", type=Path, metavar="SPEECH", help="recording: wav, mp3, m4a, opus, flac, video ...")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.mp4", help="the video to write")
    render.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a control (see below)")
    render.add_argument("--sheet", type=Path, metavar="FILE.png", help="also write a contact sheet of the video here")
    render.add_argument("--report", type=Path, metavar="FILE.json", help="also write the report of the job here")
    render.add_argument("--quiet", action="store_true", help="no progress, no words unless something is wrong")
    _add_config(render)
    render.set_defaults(command=_render)

    run = commands.add_parser(
        "run", help="watch the inbox", description="The daemon: take jobs from the inbox until told to stop."
    )
    _add_config(run)
    run.set_defaults(command=_run)

    talk = commands.add_parser(
        "talk",
        help="begin or end speaking live",
        description="Tell the running daemon that somebody speaks now, or no more. live.mode says what comes of it: a "
        "video (record), or the portrait speaking at once (mirror).",
    )
    talk.add_argument("action", choices=("start", "stop"))
    _add_order(talk, "talk")
    snapshot = commands.add_parser(
        "snapshot",
        help="take a new face",
        description="Have the running daemon take a picture of who stands before the camera; it speaks from then on, "
        "until the talk ends.",
    )
    _add_order(snapshot, "snapshot")
    mute = commands.add_parser(
        "mute",
        help="close the microphone",
        description="Close the microphone, and keep it closed whatever is started again, until unmute.",
    )
    _add_order(mute, "mute")
    unmute = commands.add_parser(
        "unmute", help="let the microphone be used again", description="Let the microphone be used again."
    )
    _add_order(unmute, "mute", on=False)

    status = commands.add_parser(
        "status", help="what the daemon is doing", description="Tell what the running daemon, its screen and ears do."
    )
    status.add_argument("--json", action="store_true", help="everything, for programs")
    _add_config(status)
    status.set_defaults(command=_status)

    devices = commands.add_parser(
        "devices",
        help="list microphones, loudspeakers and cameras",
        description="List what microphone.device, speaker.device and camera.device can name.",
    )
    devices.set_defaults(command=_devices)

    check = commands.add_parser(
        "check-config",
        help="check a configuration",
        description="Tell every mistake in a configuration, or print the values in force as a commented file.",
    )
    _add_config(check)
    check.set_defaults(command=_check_config)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML; without it the defaults hold")


def _add_order(parser: argparse.ArgumentParser, order: str, on: bool = True) -> None:
    _add_config(parser)
    parser.set_defaults(command=_order, order=order, action="start" if on else "stop")


def _controls_help() -> str:
    lines = ["controls:"]
    for name, field in Controls.model_fields.items():
        lines.append(f"  {name}={field.default} ({allowed(field)})")
        lines.append(f"      {' '.join((field.description or '').split())}")
    return "\n".join(lines)


def _render(args: argparse.Namespace) -> int:
    config: Config = load_config(args.config)
    config = with_controls(config, parse_assignments(args.set), "--set")
    _check_output(args)

    import json
    import signal

    from .media import Request
    from .pipeline import Pipeline

    request = Request(portrait=args.portrait, speech=args.speech, output=args.output, sheet=args.sheet)
    signal.signal(signal.SIGTERM, _terminate)
    bar = _Bar(config.controls.fps, quiet=args.quiet)
    try:
        with Pipeline(config) as pipeline:
            report = pipeline.render(request, bar)
    finally:
        bar.close()
    for warning in report["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    if args.report:
        try:
            args.report.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        except OSError as e:
            raise RequestError(f"{args.report}: cannot be written: {e}") from e
    if not args.quiet:
        video, spent = report["video"], sum(report["timings_s"].values())
        speed = video["duration_s"] / max(spent, 1e-3)
        print(f"{video['n_frames']} frames, {video['duration_s']:.2f} s, {speed:.1f}x real time", file=sys.stderr)
        print(args.output)
    return 0


def _terminate(number: int, frame: Optional[FrameType]) -> None:
    """On SIGTERM unwind as on ^C, so that no half-written file stays."""
    raise SystemExit(128 + number)


def _check_output(args: argparse.Namespace) -> None:
    """Find a bad place for the result before the work, not after it."""
    output: Path = args.output
    if output.suffix.lower() != ".mp4":
        raise RequestError(f"{output}: the result is an MP4 file; its name must end in .mp4")
    if not output.parent.is_dir():
        raise RequestError(f"{output}: there is no folder {output.parent}")
    if output.is_dir():
        raise RequestError(f"{output}: is a folder; the name of a file is needed")
    report: Optional[Path] = args.report
    sheet: Optional[Path] = args.sheet
    for extra in (report, sheet):
        if extra is not None and (not extra.parent.is_dir() or extra.is_dir()):
            raise RequestError(f"{extra}: must be the name of a file in a folder that exists")
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise RequestError(f"{sheet}: the contact sheet is a PNG file; its name must end in .png")
    used = [args.portrait.absolute(), args.speech.absolute()]
    for result in (output, report, sheet):
        if result is not None:
            if any(_same(result, other) for other in used):
                raise RequestError(f"{result}: is another file of this job; each result needs a name of its own")
            used.append(result.absolute())


def _same(a: Path, b: Path) -> bool:
    return a.absolute() == b or (a.exists() and b.exists() and a.samefile(b))


class _Bar:
    """Progress on a terminal: frames, percent, how many times real time, time left.

    Args:
        fps: Frames a second of the video, to tell real time.
        quiet: Show nothing.
    """

    def __init__(self, fps: int, quiet: bool) -> None:
        self._fps = fps
        self._quiet = quiet
        self._bar: Optional[tqdm[NoReturn]] = None
        self._stage = ""
        self._since = 0.0

    def __call__(self, progress: "Progress") -> None:
        from tqdm import tqdm

        if progress.stage != self._stage:
            self.close()
            self._stage, self._since = progress.stage, time.monotonic()
            self._bar = tqdm(
                total=progress.total,
                desc=progress.stage.ljust(9),
                disable=self._quiet or not sys.stderr.isatty(),
                bar_format="{desc} {percentage:3.0f}% |{bar}| {n}/{total}{postfix}, left {remaining}",
                dynamic_ncols=True,
            )
        assert self._bar is not None
        if progress.stage == "rendering" and progress.done:
            speed = progress.done / self._fps / max(time.monotonic() - self._since, 1e-3)
            self._bar.set_postfix_str(f"frames, {speed:.1f}x real time", refresh=False)
        self._bar.update(progress.done - self._bar.n)

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _run(args: argparse.Namespace) -> int:
    config = load_config(args.config)

    from .daemon import run

    return run(config, args.config)


def _order(args: argparse.Namespace) -> int:
    from .control import ask

    ask(_run_folder(args.config), {"order": args.order, "on": args.action == "start"})
    return 0


def _status(args: argparse.Namespace) -> int:
    from .control import ask

    status = ask(_run_folder(args.config), {"order": "status"}, timeout_s=10.0)
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


def _run_folder(config: Optional[Path]) -> Path:
    return Path(load_config(config).spool.root) / "run"


def _devices(args: argparse.Namespace) -> int:
    from .capture import cameras, input_devices, output_devices

    for kind, found in (("microphone", input_devices()), ("speaker", output_devices()), ("camera", cameras())):
        for name in found or ["none found"]:
            print(f"{kind:<11} {name}")
    return 0


def _check_config(args: argparse.Namespace) -> int:
    print(commented_yaml(load_config(args.config)), end="")
    return 0
