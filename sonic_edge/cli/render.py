"""``sonic-edge render``: make one video, without the daemon."""

import argparse
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, Optional, cast

from ..errors import RequestError
from .options import EXIT_HELP, Commands, add_command

if TYPE_CHECKING:  # --help must not wait for numpy, OpenCV and the model runtime
    from tqdm import tqdm

    from ..engine.pipeline import Progress


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "render", _render, "make one video", "Make one talking video from a photo and a recording."
    )
    parser.lazy_epilog = _help_epilog
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("portrait", type=Path, metavar="PORTRAIT", help="photo with a face: jpeg, png, webp, bmp ...")
    parser.add_argument("speech", type=Path, metavar="SPEECH", help="recording: wav, mp3, m4a, opus, flac, video ...")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.mp4", help="the video to write")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a control (see below)")
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE.png", help="also write a contact sheet of the video to this file"
    )
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="also write the job's report to this file")
    parser.add_argument("--quiet", action="store_true", help="print only warnings and errors")


def _help_epilog() -> str:
    from ..config import Controls
    from ..config.mistakes import allowed

    lines = ["controls:"]
    for name, field in Controls.model_fields.items():
        lines.append(f"  {name}={field.default} ({allowed(field)})")
        lines.append(f"      {' '.join((field.description or '').split())}")
    return "\n".join([*lines, "", EXIT_HELP])


def _render(args: argparse.Namespace) -> int:
    from ..config import load_config, parse_assignments, with_controls

    config = load_config(args.config)
    config = with_controls(config, parse_assignments(args.set), "--set")
    _check_output(args)

    import json
    import signal

    from ..engine.pipeline import Pipeline
    from ..media import Request

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
            text = json.dumps(report, ensure_ascii=False, indent=2) + "\n"
            args.report.write_text(text, encoding="utf-8", errors="replace")  # file names need not be UTF-8
        except OSError as e:
            raise RequestError(f"{args.report}: cannot be written: {e}") from e
    if not args.quiet:
        video, spent = report["video"], sum(report["timings_s"].values())
        speed = video["duration_s"] / max(spent, 1e-3)
        print(f"{video['n_frames']} frames, {video['duration_s']:.2f} s, {speed:.1f}x real time", file=sys.stderr)
        print(args.output)
    return 0


def _terminate(number: int, frame: Optional[FrameType]) -> None:
    """On SIGTERM unwind the stack as on ^C, so that no half-written file is left."""
    raise SystemExit(128 + number)


def _check_output(args: argparse.Namespace) -> None:
    """Refuse a bad output path before the work, not after it."""
    output: Path = args.output
    if output.suffix.lower() != ".mp4":
        raise RequestError(f"{output}: the result is an MP4 file; its name must end in .mp4")
    if not output.parent.is_dir():
        raise RequestError(f"{output}: there is no folder {output.parent}")
    if output.is_dir():
        raise RequestError(f"{output}: is a folder; it must be the name of a file")
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
                raise RequestError(f"{result}: is named twice, or is an input; each result needs a name of its own")
            used.append(result.absolute())


def _same(a: Path, b: Path) -> bool:
    return a.absolute() == b or (a.exists() and b.exists() and a.samefile(b))


class _Bar:
    """A progress bar on a terminal: frames, percent, speed against real time, time left.

    Args:
        fps: Frames a second of the video, to work out the speed.
        quiet: Show nothing.
    """

    def __init__(self, fps: int, quiet: bool) -> None:
        self._fps = fps
        self._quiet = quiet
        self._bar = cast("Optional[tqdm[NoReturn]]", None)  # as an annotation `make docs` could not read it
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
        """Finish the bar's line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
