"""A box under test, seen from inside: its systemd, its journal, jobs for its inbox and their results."""

import json
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, TypeVar

UNIT = "sonic-edge.service"
CURRENT = Path("/opt/sonic-edge/current")
SETTINGS = Path("/etc/sonic-edge/sonic-edge.yaml")
SPOOL = Path("/var/spool/sonic-edge")
SAMPLES = CURRENT / "share/sonic-edge/samples"
QUICK = {"min_resolution": 128, "fps": 10, "inference_steps": 2}

T = TypeVar("T")


class Wrong(Exception):
    """A check failed: what was seen is not what is promised."""


class NotRun(Exception):
    """This cannot be checked here; says why."""


def check_all(checks: Sequence[Callable[[], str]]) -> int:
    """Run checks in order and print a line for each: ok and what was seen, FAIL or NOT RUN and why.

    Args:
        checks: The first line of each one's docstring is its name.

    Returns:
        1 if one failed, else 0.
    """
    failed = 0
    for check in checks:
        name = (check.__doc__ or "").strip().splitlines()[0].rstrip(".")
        began = time.monotonic()
        try:
            word, seen = "ok", check()
        except NotRun as e:
            word, seen = "NOT RUN", str(e)
        except (Wrong, subprocess.SubprocessError, OSError, ValueError) as e:
            word, seen, failed = "FAIL", str(e), 1
            traceback.print_exc()
        print(f"{word:<7} {name}: {' '.join(seen.split())} [{time.monotonic() - began:.0f} s]", flush=True)
    return failed


def run(*command: object, status: Optional[int] = 0, timeout_s: float = 120.0) -> str:
    """What a command says.

    Raises:
        Wrong: If it exits with another status than this; None: any is accepted.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s
    )
    said = done.stdout.decode(errors="replace").strip()
    if status is not None and done.returncode != status:
        raise Wrong(f"`{' '.join(words)}` ended with {done.returncode}, not {status}: {said[-600:]}")
    return said


def wait_for(what: str, look: Callable[[], T], within_s: float, every_s: float = 0.2) -> T:
    """Wait for a true value and return it.

    Raises:
        Wrong: If there is none in time.
    """
    until = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > until:
            raise Wrong(f"{what}: not in {within_s:g} s; {UNIT} is {state()}, {prop('StatusText')!r}")
        time.sleep(every_s)


# ---- systemd ------------------------------------------------------------------------------------------------------


def prop(name: str, unit: str = UNIT) -> str:
    """A property of a unit, as ``systemctl show`` tells it."""
    return run("systemctl", "show", "--value", f"--property={name}", unit)


def state() -> str:
    """Active state of the service."""
    return prop("ActiveState")


def main_pid() -> int:
    """Process id of the daemon; 0 if there is none."""
    return int(prop("MainPID") or 0)


def wait_until_ready(within_s: float = 60.0) -> None:
    """Wait for the service to be up and waiting for jobs."""
    wait_for("the service is up", lambda: state() == "active" and "waiting" in prop("StatusText"), within_s)


def wait_until_up(within_s: float = 60.0) -> None:
    """Wait for the service to be up, with or without a job."""
    wait_for("the service is up", lambda: state() == "active", within_s)


def drop_in(name: str, *lines: str, unit: str = UNIT) -> None:
    """Change a unit for a check; without lines, undo the change."""
    folder = Path(f"/run/systemd/system/{unit}.d")
    folder.mkdir(parents=True, exist_ok=True)
    if lines:
        (folder / f"{name}.conf").write_text("\n".join(["[Service]", *lines, ""]))
    else:
        (folder / f"{name}.conf").unlink()
    run("systemctl", "daemon-reload")


def journal(*arguments: str) -> List[Dict[str, str]]:
    """Entries of the journal, each a dictionary of fields."""
    run("journalctl", "--sync")
    lines = run("journalctl", "--output=json", "--quiet", "--no-pager", *arguments).splitlines()
    return [json.loads(line) for line in lines]


def said(words: str, *arguments: str) -> List[Dict[str, str]]:
    """Journal entries of the service that contain these words."""
    return [e for e in journal(f"--unit={UNIT}", *arguments) if words in str(e.get("MESSAGE", ""))]


# ---- jobs ---------------------------------------------------------------------------------------------------------


def put(name: str, controls: Mapping[str, object] = QUICK, speech: Optional[Path] = None) -> None:
    """Put the sample portrait and recording into the inbox, whole at once."""
    folder = SPOOL / "inbox" / f".{name}"
    folder.mkdir()
    shutil.copy(SAMPLES / "portrait.jpg", folder)
    shutil.copy(speech or SAMPLES / "speech.flac", folder)
    if controls:
        (folder / "job.yaml").write_text("".join(f"{key}: {value}\n" for key, value in controls.items()))
    run("chown", "-R", "sonic-edge:", folder)
    folder.rename(SPOOL / "inbox" / name)


def wait_until_rendering(name: str, within_s: float = 60.0) -> str:
    """Wait until a job is well in progress; returns the service's status text."""

    def look() -> str:
        words = prop("StatusText")
        return words if words.startswith(f"{name}: rendering") and " 0 %" not in words else ""

    return wait_for(f"{name} is being rendered", look, within_s, 0.05)


def wait_until_done(name: str, within_s: float = 90.0) -> str:
    """Wait for a job to finish; its video must be complete, there once, and nowhere else.

    Returns:
        A description of the video.
    """

    def look() -> bool:
        if (SPOOL / "failed" / name).exists():
            raise Wrong(f"{name} failed: {(SPOOL / 'failed' / name / 'reason.json').read_text()}")
        return (SPOOL / "outbox" / f"{name}.json").exists()

    wait_for(f"{name} is done", look, within_s)
    time.sleep(2.0)  # a second result would be visible by now
    places = [p for part in ("inbox", "work", "outbox", "failed") for p in (SPOOL / part).glob(f"*{name}*")]
    videos = [p.name for p in places if p.suffix == ".mp4"]
    ends = [e for e in said(f"{name}: done") if str(e["MESSAGE"]).endswith(f"{name}: done")]
    others = {p.name for p in places} - {f"{name}.mp4", f"{name}.json", f"{name}.inputs"}
    if videos != [f"{name}.mp4"] or len(ends) != 1 or others:
        raise Wrong(
            f"{name}: videos {videos}, reported as done {len(ends)} times, left over: {sorted(others) or 'nothing'}"
        )
    return video(SPOOL / "outbox" / f"{name}.mp4")


def video(path: Path) -> str:
    """Decode all of a video with the product's own libraries; returns a description.

    Raises:
        Wrong: If it is incomplete, or not labelled as generated.
    """
    script = """if True:
        import av, sys
        with av.open(sys.argv[1]) as film:
            pictures = sum(1 for _ in film.decode(video=0))
            size = film.streams.video[0]
            label = film.metadata.get("AIGC", "")
        with av.open(sys.argv[1]) as film:
            sound = sum(f.samples for f in film.decode(audio=0)) / film.streams.audio[0].rate
        print(f"{size.width}x{size.height}, {pictures} pictures, {sound:.1f} s of sound; AIGC {label[:12]}")
        sys.exit(not (pictures and sound and '"Label"' in label))
    """
    return run(CURRENT / "bin/python", "-c", script, path)


def main(checks: Sequence[Callable[[], str]], out: Path) -> None:
    """Run the checks, keep the journal, and mark the end."""
    failed = check_all(checks)
    (out / "journal.txt").write_bytes(
        subprocess.run(["journalctl", "--output=short-precise", "--no-pager"], stdout=subprocess.PIPE).stdout
    )
    (out / "end").write_text(str(failed))
    sys.exit(failed)
