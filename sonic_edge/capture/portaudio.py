"""PortAudio through PyAudio: which devices there are, one by name, and opening and closing what may hang."""

import contextlib
import ctypes
import logging
import os
import threading
from typing import Any, Callable, Dict, Iterator, List, Literal, Optional, Tuple, TypeVar, Union

from ..errors import ConfigError, DeviceError

log = logging.getLogger(__name__)

OPEN_S = 5.0
"""A sound server that is there but stuck may never answer."""
CLOSE_S = 2.0
"""Nor may a device of it ever close; it is left behind after this long."""

Direction = Literal["input", "output"]
Info = Dict[str, Any]
T = TypeVar("T")


def load() -> Any:
    """The module; the only place that imports it.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import pyaudio
    except ImportError as e:
        raise ConfigError(f"microphone and loudspeaker need PyAudio ({e}): install sonic-edge[live]") from e
    _hush("libasound.so.2", "snd_lib_error_set_handler")
    _hush("libjack.so.0", "jack_set_error_function")
    _hush("libjack.so.0", "jack_set_info_function")
    return pyaudio


def _hush(library: str, set_handler: str) -> None:
    """ALSA and JACK write pages to standard error about devices that are not there; each lets us say where to.

    A handler in Python would need the interpreter in their threads, even while it ends: this is a function of the C
    library that does nothing, whatever it is given.
    """
    nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
    with contextlib.suppress(OSError, AttributeError):  # PortAudio may be built without it
        getattr(ctypes.CDLL(library, mode=os.RTLD_NOW | os.RTLD_NOLOAD), set_handler)(nothing)


def connect() -> Any:
    """PortAudio. It looks for devices when the first is opened, and again only when none is open any more.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If PortAudio does not start.
    """
    pyaudio = load()
    try:
        return pyaudio.PyAudio()
    except OSError as e:
        raise DeviceError(f"the sound system cannot be reached: {e}") from e


def listed(direction: Direction) -> List[str]:
    """The devices there are, in words, each with its number.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the sound system cannot be reached.
    """

    def look() -> List[str]:
        host = connect()
        try:
            return in_words(host, direction)
        finally:
            host.terminate()

    return within(OPEN_S, look, "the sound system")


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
        wanted: Its number, its name or a part of it in any case, or nothing for the default.
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
        those = "; ".join(in_words(host, direction)) or "none at all"
        raise DeviceError(f"{setting} = {wanted!r}: there is no such device; there are: {those}")
    return matching[0]


def formats(host: Any, info: Info, direction: Direction, sample_rate: int) -> Iterator[Tuple[int, int]]:
    """Rate and channels to try, the wanted ones first: (Hz, number)."""
    pyaudio = load()
    native = round(info["defaultSampleRate"])
    most = info[f"max{direction.title()}Channels"]
    for rate in dict.fromkeys((sample_rate, native, 48000, 44100)):
        for channels in dict.fromkeys((1, min(2, most), min(most, 8))):
            keys = {f"{direction}_device": info["index"], f"{direction}_channels": channels}
            keys[f"{direction}_format"] = pyaudio.paInt16
            with contextlib.suppress(ValueError):
                if host.is_format_supported(rate, **keys):
                    yield rate, channels


def within(seconds: float, do: Callable[[], T], what: str, undo: Optional[Callable[[T], None]] = None) -> T:
    """Do something that may hang.

    Args:
        seconds: How long to wait for it.
        do: It; it goes on in a thread of its own if it takes longer.
        what: Its name in the message.
        undo: What to do with what comes too late.

    Raises:
        DeviceError: If it takes longer; else whatever `do` raises.
    """
    lock = threading.Lock()
    made: List[T] = []
    failed: List[BaseException] = []
    given_up = False

    def run() -> None:
        try:
            thing = do()
        except BaseException as e:
            failed.append(e)
            return
        with lock:
            made.append(thing)
        if given_up and undo is not None:
            undo(thing)

    thread = threading.Thread(target=run, name=f"within {seconds:g} s", daemon=True)
    thread.start()
    thread.join(seconds)
    with lock:
        given_up = not made
    if made:
        return made[0]
    if failed:
        raise failed[0]
    raise DeviceError(f"{what} does not answer; it must within {seconds:g} s")


def close(stream: Any, host: Any, name: str) -> None:
    """Close a device and let go of PortAudio; what hangs is left behind, in words."""

    def shut() -> None:
        with contextlib.suppress(OSError):  # its server is gone, and with it the device
            stream.close()
        host.terminate()

    try:
        within(CLOSE_S, shut, name)
    except DeviceError as e:
        log.warning("%s; it is left behind open", e)
