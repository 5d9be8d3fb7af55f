"""Jobs of the running daemon: ``sonic-edge submit``."""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Dict, Optional, Tuple

from ..errors import ConfigError, DeviceError, RequestError
from .options import EXIT_HELP, Commands, add_command

if TYPE_CHECKING:
    from ..config import Config

_POLL_S = 0.5
_CHUNK_BYTES = 1 << 20
_EXIT = {e.__name__: e.exit_code for e in (ConfigError, RequestError, DeviceError)}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "submit",
        _submit,
        "put a job into the inbox",
        "Put a recording and a photo into the running daemon's inbox, both or neither. Without a photo, spool.portrait "
        "speaks. Prints the job's name.",
    )
    parser.epilog = EXIT_HELP
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("speech", type=Path, metavar="SPEECH", help="recording: wav, mp3, m4a, opus, flac, video ...")
    parser.add_argument("portrait", type=Path, metavar="PORTRAIT", nargs="?", help="photo with a face: jpeg, png ...")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a control (see render)")
    parser.add_argument("--name", help="the job's name; the default is the recording's")
    parser.add_argument(
        "--wait", action="store_true", help="wait until the job ends; print the video's path, or why there is none"
    )


def _submit(args: argparse.Namespace) -> int:
    from ..config import load_config, parse_assignments, with_controls

    config = load_config(args.config)
    controls = parse_assignments(args.set)
    with_controls(config, controls, "--set")
    speech, portrait = _tell_apart(args.speech, args.portrait)
    _check(config, speech, portrait)
    name = speech.stem if args.name is None else args.name
    if not name:
        raise RequestError("--name: must not be empty")

    import yaml

    from ..spool.submit import Source, submit

    root = Path(config.spool.root)
    with ExitStack() as opened:
        files: Dict[str, Source] = {}
        for path, kind in ((speech, "recording"), (portrait, "photo")):
            if path is not None:
                files[_name_in_job(path, kind)] = opened.enter_context(_open(path))
        if controls:
            files["job.yaml"] = yaml.safe_dump(controls, allow_unicode=True).encode()
        job = submit(root, name, files)
    print(job, flush=True)
    return _wait(root, job, speech) if args.wait else 0


def _tell_apart(one: Path, other: Optional[Path]) -> Tuple[Path, Optional[Path]]:
    """The recording and the photo, in whichever order they were given: `render` takes the photo first.

    Raises:
        RequestError: If they are not one recording and at most one photo.
    """
    from ..spool.job import PHOTOS, RECORDINGS, suffix_of

    kinds = [None if p is None else suffix_of(p.name) for p in (one, other)]
    if kinds[0] in PHOTOS and other is not None and kinds[1] in RECORDINGS:
        return other, one
    for path, kind, suffixes, wanted in (
        (one, kinds[0], RECORDINGS, "a recording; its name must end in .wav, .mp3, .m4a, .flac or the like"),
        (other, kinds[1], PHOTOS, "a photo; its name must end in .jpg, .png or the like"),
    ):
        if path is not None and kind not in suffixes:
            raise RequestError(f"{path}: is not {wanted}")
    return one, other


def _check(config: "Config", speech: Path, portrait: Optional[Path]) -> None:
    from ..disk import check_file

    check_file(speech, "a recording", config.limits.speech_bytes)
    if portrait is not None:
        check_file(portrait, "a photo", config.limits.portrait_bytes)
    elif config.spool.portrait is None:
        raise RequestError(f"{speech}: there is no photo with it, and spool.portrait is not set; add a photo")


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as e:
        raise RequestError(f"{path}: cannot be read: {e.strerror}") from e


def _name_in_job(path: Path, kind: str) -> str:
    """The file's own name, made safe: people recognise it if the job fails."""
    from ..spool.job import safe_id

    return safe_id(path.stem or kind) + path.suffix


def _wait(root: Path, name: str, speech: Path) -> int:
    """Wait until the job has ended, and print its result.

    Returns:
        The exit status.

    Raises:
        DeviceError: If outbox or failed cannot be read.
    """
    import hashlib

    from ..spool.submit import outcome_of

    digest = hashlib.sha256()
    with _open(speech) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    while True:
        outcome = outcome_of(root, name, digest.hexdigest())
        if outcome is None:
            time.sleep(_POLL_S)
        elif outcome.video is not None:
            print(outcome.video)
            return 0
        else:
            print(f"sonic-edge: {outcome.report.get('what', f'{name}: failed')}", file=sys.stderr)
            return _EXIT.get(str(outcome.report.get("error")), 1)
