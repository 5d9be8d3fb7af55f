"""PortAudio through PyAudio: which devices there are, one by name, and a way to close what may hang."""

import contextlib
import logging
import os
import sys
import threading
from typing import Any, Callable, Dict, Iterator, List, Literal, Tuple, Union

from ..errors import ConfigError, DeviceError

log = logging.getLogger(__name__)

CLOSE_S = 2.0
"""A device whose server is gone may never close; it is left behind after this long."""

Direction = Literal["input", "output"]
Info = Dict[str, Any]


def load() -> Any:
    """The module; the only place that imports it.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import pyaudio
    except ImportError as e:
        raise ConfigError(f"microphone and loudspeaker need PyAudio ({e}): install sonic-edge[live]") from e
    return pyaudio


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """ALSA and JACK write pages to standard error about devices that are not there."""
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def connect() -> Any:
    """A fresh look at the devices: PortAudio looks once, when it starts.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If PortAudio does not start.
    """
    pyaudio = load()
    try:
        with _hushed():
            return pyaudio.PyAudio()
    except OSError as e:
        raise DeviceError(f"the sound system cannot be reached: {e}") from e


def devices(host: Any, direction: Direction) -> List[Info]:
    """What can be heard from, or spoken through."""
    found = [host.get_device_info_by_index(i) for i in range(host.get_device_count())]
    return [info for info in found if info[f"max{direction.title()}Channels"] > 0]


def in_words(host: Any, direction: Direction) -> List[str]:
    """The same for people: ``0: name (48000 Hz, 2 channels, ALSA)``."""
    out = []
    for info in devices(host, direction):
        api = host.get_host_api_info_by_index(info["hostApi"])["name"]
        channels = info[f"max{direction.title()}Channels"]
        out.append(f"{info['index']}: {info['name']} ({info['defaultSampleRate']:.0f} Hz, {channels} channels, {api})")
    return out


def choose(host: Any, direction: Direction, wanted: Union[int, str], setting: str) -> Info:
    """One device.

    Args:
        host: From `connect`.
        direction: input or output.
        wanted: Its number, a part of its name, or nothing for the default.
        setting: What it was set by, for the message.

    Raises:
        DeviceError: If there is no such device; it names those there are.
    """
    there = devices(host, direction)
    if wanted == "":
        try:
            info: Info = getattr(host, f"get_default_{direction}_device_info")()
            return info
        except OSError:
            matching = there[:1]
    elif isinstance(wanted, int):
        matching = [info for info in there if info["index"] == wanted]
    else:
        matching = [info for info in there if wanted.lower() == info["name"].lower()]
        matching = matching or [info for info in there if wanted.lower() in info["name"].lower()]
    if not matching:
        listed = "; ".join(in_words(host, direction)) or "none at all"
        raise DeviceError(f"{setting} = {wanted!r}: there is no such device; there are: {listed}")
    return matching[0]


def within(seconds: float, do: Callable[[], object], what: str) -> None:
    """Do something that may hang, and go on without it if it does."""
    thread = threading.Thread(target=_quietly, args=(do,), name="close", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.warning("%s does not close; left behind", what)


def _quietly(do: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        do()


def formats(host: Any, info: Info, direction: Direction, sample_rate: int) -> Iterator[Tuple[int, int]]:
    """Rate and channels to try, the wanted ones first: (Hz, number)."""
    pyaudio = load()
    native = round(info["defaultSampleRate"])
    most = info[f"max{direction.title()}Channels"]
    for rate in dict.fromkeys((sample_rate, native, 48000, 44100)):
        for channels in dict.fromkeys((1, min(2, most), min(most, 8))):
            keys = {f"{direction}_device": info["index"], f"{direction}_channels": channels}
            keys[f"{direction}_format"] = pyaudio.paInt16
            with contextlib.suppress(ValueError), _hushed():
                if host.is_format_supported(rate, **keys):
                    yield rate, channels
