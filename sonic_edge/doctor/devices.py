"""What is plugged in: camera, microphone, loudspeaker, screen. What the daemon holds is left alone: it is asked.

Nothing that is seen or heard here is kept.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

from ..config import DisplaySettings
from ..errors import ConfigError, DeviceError, RequestError
from ..hardware import machine
from .finding import Case, Finding, bring, failed, not_checked, ok, warning

OLDEST_MPV = (0, 32)

_DARK = 6.0
_LISTEN_S = 1.0
_WAIT_S = 0.2
_HELD_UP_S = 20.0  # a machine may be busy
_PLAYER_S = 20.0
_COMPLAINS_S = 5.0  # by then
_COMPLAINING = ("--terminal=yes", "--input-terminal=no")
_LIST = "`sonic-edge devices` lists what there is"


def camera(case: Case) -> Iterator[Finding]:
    """Whether it opens and gives a picture."""
    settings = case.config.camera
    if settings.device is None:
        yield ok("camera.device is not set: there is none")
        return
    said = case.told("live", "errors", "camera")
    if said and case.told("live", "talking"):
        yield failed(f"the daemon says: {said}", f"see that it is plugged in; {_LIST}")
        return
    if case.told("live", "talking"):
        yield not_checked("somebody is talking live just now, and the daemon may use it")
        return
    import numpy as np

    from ..live.capture import snapshot

    since = time.monotonic()
    try:
        picture = snapshot(settings.model_copy(update={"n_pictures": 1}), lambda _: True)
    except (DeviceError, RequestError) as e:
        yield failed(f"{e} (tried as {case.user})", f"plug it in, or set camera.device; {_LIST}")
        return
    height, width = picture.shape[:2]
    told = f"camera.device = {settings.device!r}: {width}x{height} pixels after {time.monotonic() - since:.1f} s"
    if float(np.mean(picture)) < _DARK:
        yield warning(f"{told}, all black", "take the cover off the lens, and give it light")
    else:
        yield ok(told)


def microphone(case: Case) -> Iterator[Finding]:
    """Whether it opens and delivers sound."""
    if case.config.live.mode == "none":
        yield not_checked("live.mode = none: it is not used")
        return
    if (case.root / "run" / "muted").exists():
        yield not_checked("it is muted, and so stays closed; `sonic-edge unmute` opens it")
        return
    words = case.told("live", "errors", "microphone")
    if words:
        yield failed(f"the daemon says: {words}", f"plug it in, or set microphone.device; {_LIST}")
        return
    if case.told("live", "microphone", "open"):
        n_lost = case.told("live", "microphone", "overruns") or 0
        told = f"the daemon hears {case.told('live', 'microphone', 'device')}"
        if n_lost:
            yield warning(
                f"{told}; sound was lost {n_lost} times", "the box is too slow or too busy: end other programs"
            )
        else:
            yield ok(told)
        return
    from ..live.capture import Microphone

    try:
        with Microphone(case.config.microphone) as ear:
            heard, n_heard = False, 0
            n_waits = round((_LISTEN_S + 1.0) / _WAIT_S)  # some devices take a second until sound comes
            until = time.monotonic() + _HELD_UP_S
            while n_waits and n_heard < _LISTEN_S * 16000 and time.monotonic() < until:
                piece = ear.read(_WAIT_S)
                if piece is None:  # counted, not timed: it is not to blame if we were held up
                    n_waits -= 1
                else:
                    n_heard += len(piece.samples)
                    heard |= bool(piece.samples.any())
            name = ear.name
    except ConfigError as e:
        yield failed(str(e), bring("live"))
        return
    except DeviceError as e:
        yield failed(f"{e} (tried as {case.user})", f"plug it in, or set microphone.device; {_LIST}")
        return
    if not n_heard:
        yield failed(
            f"{name}: opened, but delivered nothing in {_LISTEN_S + 1:.0f} s", "unplug it and plug it in again"
        )
    elif not heard:
        yield warning(f"{name}: delivers only silence", "a switch on it may be off, or its level 0 (alsamixer)")
    else:
        yield ok(f"{name}: opens and delivers sound")


def loudspeaker(case: Case) -> Iterator[Finding]:
    """Whether it opens."""
    live, settings = case.config.live, case.config.speaker
    if live.mode != "mirror" or settings.device is None:
        yield not_checked("live mode does not use it; the sound of finished videos is the player's (display.options)")
        return
    words = case.told("live", "mirror", "speaker", "error")
    if words:
        yield failed(f"the daemon says: {words}", f"plug it in, or set speaker.device; {_LIST}")
        return
    if case.told("live", "mirror", "speaker", "open"):
        yield ok(f"the daemon speaks through {case.told('live', 'mirror', 'speaker', 'device')}")
        return
    from ..live.capture import Speaker

    try:
        with Speaker(settings, delay_s=0.1, silent_s=_HELD_UP_S) as speaker:
            time.sleep(0.3)
            speaker.check()
            name = speaker.name
    except ConfigError as e:
        yield failed(str(e), bring("live"))
    except DeviceError as e:
        yield failed(f"{e} (tried as {case.user})", f"plug it in, or set speaker.device; {_LIST}")
    else:
        yield ok(f"{name}: opens and takes sound")


def screen(case: Case) -> Iterator[Finding]:
    """The player, and whether it reaches a screen."""
    settings = case.config.display
    if settings.output == "none":
        yield ok("display.output = none: there is none")
        return
    version, words = _version_of(settings.player)
    if version is None:
        yield failed(f"display.player = {settings.player}: {words}", "install mpv, or set display.output to none")
        return
    if version < OLDEST_MPV:
        yield failed(f"{words} is too old", f"install mpv {'.'.join(map(str, OLDEST_MPV))} or newer")
        return
    state = case.told("screen", "state")
    if state in ("running", "starting"):
        n_again = case.told("screen", "restarts") or 0
        told = f"{words}; the daemon's screen is {state}"
        if n_again:
            yield warning(
                f"{told}; the player was started again {n_again} times", "the file mpv.log in the spool's run says more"
            )
        else:
            yield ok(told)
        return
    if state == "failed":
        yield failed(f"{words}; the daemon says: {case.told('screen', 'error')}", _reach(settings))
        return
    bad = _unreachable(settings, case)
    if bad:
        yield failed(f"{words}; {bad}", _reach(settings))
        return
    yield _shown(settings, words)


def _version_of(player: str) -> Tuple[Optional[Tuple[int, ...]], str]:
    """Of mpv, and its name with it; or None and what is wrong."""
    if shutil.which(player) is None:
        return None, "is not there"
    try:
        said = subprocess.run([player, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        name, number = said.split()[:2]
        parts = number.lstrip("v").split("-")[0].split(".")[:2]
        return tuple(int(part) for part in parts), f"{name} {number}"
    except (OSError, subprocess.SubprocessError, ValueError) as e:
        return None, f"does not tell its version: {' '.join(str(e).split())[:200]}"


def _is_window(settings: DisplaySettings) -> bool:
    desktop = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return settings.output == "window" or (settings.output == "auto" and bool(desktop))


def _reach(settings: DisplaySettings) -> str:
    if _is_window(settings):
        return "start the desktop, and let the daemon's environment have DISPLAY; or set display.output to drm"
    return "plug the screen in and switch it on, see that nothing else draws on it (a desktop), or set display.output"


def _unreachable(settings: DisplaySettings, case: Case) -> str:
    """Why a player cannot reach the screen, without starting one; empty if nothing speaks against it."""
    if _is_window(settings):
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return "display.output = window, but there is no desktop (DISPLAY is not set)"
        return ""
    cards = sorted(Path("/dev/dri").glob("card*"))
    if not cards:
        return "there is no graphics device (/dev/dri/card*)"
    if not any(os.access(card, os.R_OK | os.W_OK) for card in cards):
        return f"{case.user} may not use {cards[0]}; it must be in the group video"
    sockets = machine.connectors()
    if sockets and "connected" not in sockets.values():
        return f"no screen is plugged in ({', '.join(sockets)})"
    return ""


def _shown(settings: DisplaySettings, words: str) -> Finding:
    """Start the player, as the daemon would; it draws black for a moment."""
    from ..live.display.player import Player

    with tempfile.TemporaryDirectory(prefix="sonic-edge-doctor-") as name:
        folder = Path(name)
        talking = settings.model_copy(update={"options": [*settings.options, *_COMPLAINING]})
        try:
            player = Player(talking, folder)
        except DeviceError as e:
            return failed(str(e), _reach(settings))
        try:
            while time.monotonic() < player.since + _PLAYER_S:
                if "resized" in player.listen():  # the size of a screen it has reached
                    return ok(f"{words}; it reaches the screen")
                complaint = _last(folder)
                if time.monotonic() > player.since + _COMPLAINS_S:
                    if complaint:
                        return failed(f"{words} shows nothing: {complaint}", _reach(settings))
                    if player.is_ready:  # a square screen has the size it begins with
                        return ok(f"{words}; it runs and complains of nothing")
                time.sleep(0.1)
            return failed(f"{words} does not get ready within {_PLAYER_S:g} s", _reach(settings))
        except DeviceError as e:
            return failed(str(e), _reach(settings))
        finally:
            player.kill()


def _last(folder: Path) -> str:
    """What the player complained about."""
    try:
        lines: List[str] = (folder / "mpv.log").read_text(errors="replace").split("\n")
    except OSError:
        lines = []
    return "; ".join(line.strip() for line in lines[-4:] if line.strip())[:400]
