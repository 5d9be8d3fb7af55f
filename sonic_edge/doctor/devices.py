"""Checks of what is plugged in: camera, microphone, loudspeaker, screen.

A device that the daemon has open is not touched; the daemon's status says how it is. No picture or sound is kept.
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
from .finding import Context, Finding, failed, how_to_install, not_checked, ok, warning

OLDEST_MPV = (0, 32)

_DARK = 6.0  # mean brightness of a picture, 0..255
_LISTEN_S = 1.0
_WAIT_S = 0.2
_BUSY_S = 20.0  # how long a busy machine may delay us
_PLAYER_S = 20.0
_ERRORS_S = 5.0  # by then mpv has logged its errors
_LOG_ERRORS = ("--terminal=yes", "--input-terminal=no")
_LIST = "`sonic-edge devices` lists the devices"


def camera(context: Context) -> Iterator[Finding]:
    """Whether the camera opens and delivers a picture."""
    settings = context.config.camera
    if settings.device is None:
        yield ok("camera.device is not set: no camera is used")
        return
    error = (context.live.errors or {}).get("camera")
    if error and context.live.talking:
        yield failed(f"the daemon reports: {error}", f"check that it is plugged in; {_LIST}")
        return
    if context.live.talking:
        yield not_checked("somebody is talking live just now, and the daemon may be using it")
        return
    import numpy as np

    from ..live.capture import snapshot

    since = time.monotonic()
    try:
        picture = snapshot(settings.model_copy(update={"n_pictures": 1}), lambda _: True)
    except (DeviceError, RequestError) as e:
        yield failed(f"{e} (tried as {context.user})", f"plug it in, or set camera.device; {_LIST}")
        return
    height, width = picture.shape[:2]
    summary = f"camera.device = {settings.device!r}: {width}x{height} pixels after {time.monotonic() - since:.1f} s"
    if float(np.mean(picture)) < _DARK:
        yield warning(f"{summary}, all black", "take the cover off the lens, or switch on a light")
    else:
        yield ok(summary)


def microphone(context: Context) -> Iterator[Finding]:
    """Whether the microphone opens and delivers sound."""
    if context.config.live.mode == "none":
        yield not_checked("live.mode = none: it is not used")
        return
    if (context.root / "run" / "muted").exists():
        yield not_checked("it is muted, and therefore closed; `sonic-edge unmute` allows it again")
        return
    error = (context.live.errors or {}).get("microphone")
    if error:
        yield failed(f"the daemon reports: {error}", f"plug it in, or set microphone.device; {_LIST}")
        return
    its = context.live.microphone
    if its is not None and its.open:
        summary = f"the daemon has it open: {its.device}"
        if its.overruns:
            remedy = "the box is too slow or too busy: stop other programs"
            yield warning(f"{summary}; overruns: {its.overruns}", remedy)
        else:
            yield ok(summary)
        return
    from ..live.capture import Microphone

    try:
        with Microphone(context.config.microphone) as opened:
            is_heard, n_heard = False, 0
            n_waits = round((_LISTEN_S + 1.0) / _WAIT_S)  # some devices deliver their first sound after a second
            until = time.monotonic() + _BUSY_S
            while n_waits and n_heard < _LISTEN_S * 16000 and time.monotonic() < until:
                heard = opened.read(_WAIT_S)
                if heard is None:  # counted, not timed: a busy machine is not the device's fault
                    n_waits -= 1
                else:
                    n_heard += len(heard.samples)
                    is_heard |= bool(heard.samples.any())
            name = opened.name
    except ConfigError as e:
        yield failed(str(e), how_to_install("live"))
        return
    except DeviceError as e:
        yield failed(f"{e} (tried as {context.user})", f"plug it in, or set microphone.device; {_LIST}")
        return
    if not n_heard:
        yield failed(
            f"{name}: opened, but delivered nothing in {_LISTEN_S + 1:.0f} s", "unplug it and plug it in again"
        )
    elif not is_heard:
        yield warning(f"{name}: delivers only silence", "a switch on it may be off, or its level may be 0 (alsamixer)")
    else:
        yield ok(f"{name}: opens and delivers sound")


def loudspeaker(context: Context) -> Iterator[Finding]:
    """Whether the loudspeaker opens and accepts sound."""
    live, settings = context.config.live, context.config.speaker
    if live.mode != "mirror" or settings.device is None:
        yield not_checked("live mode does not use it; the player plays the sound of finished videos (display.options)")
        return
    its = context.live.mirror and context.live.mirror.speaker
    if its and its.error:
        yield failed(f"the daemon reports: {its.error}", f"plug it in, or set speaker.device; {_LIST}")
        return
    if its and its.open:
        yield ok(f"the daemon has it open: {its.device}")
        return
    from ..live.capture import Speaker

    try:
        with Speaker(settings, delay_s=0.1, silent_s=_BUSY_S) as speaker:
            time.sleep(0.3)
            speaker.check()
            name = speaker.name
    except ConfigError as e:
        yield failed(str(e), how_to_install("live"))
    except DeviceError as e:
        yield failed(f"{e} (tried as {context.user})", f"plug it in, or set speaker.device; {_LIST}")
    else:
        yield ok(f"{name}: opens and accepts sound")


def screen(context: Context) -> Iterator[Finding]:
    """Whether mpv is installed and can show pictures on the screen."""
    settings = context.config.display
    if settings.output == "none":
        yield ok("display.output = none: no screen is used")
        return
    version, name = _version_of(settings.player)
    if version is None:
        yield failed(f"display.player = {settings.player}: {name}", "install mpv, or set display.output to none")
        return
    if version < OLDEST_MPV:
        yield failed(f"{name} is too old", f"install mpv {'.'.join(map(str, OLDEST_MPV))} or newer")
        return
    its = context.status and context.status.screen
    if its and its.state in ("running", "starting"):
        summary = f"{name}; the daemon's screen is {its.state}"
        if its.restarts:
            yield warning(f"{summary}; player restarts: {its.restarts}", f"see {context.root / 'run' / 'mpv.log'}")
        else:
            yield ok(summary)
        return
    if its and its.state == "failed":
        yield failed(f"{name}; the daemon reports: {its.error}", _remedy(settings))
        return
    obstacle = _obstacle(settings, context)
    if obstacle:
        yield failed(f"{name}; {obstacle}", _remedy(settings))
        return
    yield _try_player(settings, name)


def _version_of(player: str) -> Tuple[Optional[Tuple[int, ...]], str]:
    """The version of mpv, and its name with it; or None and what is wrong."""
    if shutil.which(player) is None:
        return None, "there is no such program"
    try:
        output = subprocess.run([player, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        name, number = output.split()[:2]
        parts = number.lstrip("v").split("-")[0].split(".")[:2]
        return tuple(int(part) for part in parts), f"{name} {number}"
    except (OSError, subprocess.SubprocessError, ValueError) as e:
        return None, f"does not report its version: {' '.join(str(e).split())[:200]}"


def _is_window(settings: DisplaySettings) -> bool:
    desktop = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return settings.output == "window" or (settings.output == "auto" and bool(desktop))


def _remedy(settings: DisplaySettings) -> str:
    if _is_window(settings):
        return "start the desktop, and set DISPLAY in the daemon's environment; or set display.output to drm"
    return "plug the screen in and switch it on, stop other programs that draw on it (a desktop), or set display.output"


def _obstacle(settings: DisplaySettings, context: Context) -> str:
    """Why a player could not use the screen, found without starting one; empty if there is no reason."""
    if _is_window(settings):
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return "display.output = window, but there is no desktop (DISPLAY is not set)"
        return ""
    cards = sorted(Path("/dev/dri").glob("card*"))
    if not cards:
        return "there is no graphics device (/dev/dri/card*)"
    if not any(os.access(card, os.R_OK | os.W_OK) for card in cards):
        return f"{context.user} may not use {cards[0]}; it must be in the group video"
    sockets = machine.connectors()
    if sockets and "connected" not in sockets.values():
        return f"no screen is plugged in ({', '.join(sockets)})"
    return ""


def _try_player(settings: DisplaySettings, name: str) -> Finding:
    """Start the player as the daemon would; the screen is black for a moment."""
    from ..live.display.player import Player

    with tempfile.TemporaryDirectory(prefix="sonic-edge-doctor-") as temporary:
        folder = Path(temporary)
        logging_errors = settings.model_copy(update={"options": [*settings.options, *_LOG_ERRORS]})
        try:
            player = Player(logging_errors, folder)
        except DeviceError as e:
            return failed(str(e), _remedy(settings))
        try:
            while time.monotonic() < player.since + _PLAYER_S:
                if "resized" in player.listen():  # it knows the screen's size
                    return ok(f"{name}; it can use the screen")
                errors = _last_errors(folder)
                if time.monotonic() > player.since + _ERRORS_S:
                    if errors:
                        return failed(f"{name} shows nothing: {errors}", _remedy(settings))
                    if player.is_ready:  # a square screen has the size that is assumed at first
                        return ok(f"{name}; it runs without errors")
                time.sleep(0.1)
            return failed(f"{name} was not ready within {_PLAYER_S:g} s", _remedy(settings))
        except DeviceError as e:
            return failed(str(e), _remedy(settings))
        finally:
            player.kill()


def _last_errors(folder: Path) -> str:
    """The last lines of the player's log."""
    try:
        lines: List[str] = (folder / "mpv.log").read_text(errors="replace").split("\n")
    except OSError:
        lines = []
    return "; ".join(line.strip() for line in lines[-4:] if line.strip())[:400]
