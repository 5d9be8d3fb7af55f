"""PortAudio through PyAudio: which devices there are, one by name, and opening and closing what may hang."""

import contextlib
import ctypes
import logging
import os
import threading
from typing import Any, Callable, Dict, Iterator, List, Literal, Optional, Tuple, TypeVar, Union

from ...errors import ConfigError, DeviceError

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


class Device:
    """An open microphone or loudspeaker. It runs from `start` on.

    Args:
        direction: input or output.
        wanted: Its number, its name or a part of it, or nothing for the default.
        setting: What it was set by, for messages.
        sample_rate: Hz, the rate that is tried first.
        block_s: Sound passes in pieces this long.
        callback: PortAudio's stream callback; called in a thread of its own.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the device is not there or cannot be opened; it names those there are.
    """

    def __init__(
        self,
        direction: Direction,
        wanted: Union[int, str],
        setting: str,
        sample_rate: int,
        block_s: float,
        callback: Callable[..., Tuple[Optional[bytes], int]],
    ) -> None:
        self._direction = direction
        self._wanted = wanted
        self._setting = setting
        self._block_s = block_s
        self._callback = callback
        self._is_closed = False
        self.name = ""
        self.rate = sample_rate
        """Hz, its own."""
        self.n_channels = 1
        self._host, self._stream = within(OPEN_S, self._open, f"{setting} = {wanted!r}", self._shut)

    def _open(self) -> Tuple[Any, Any]:
        """PortAudio and a stream that does not run yet."""
        host = connect()
        try:
            info = choose(host, self._direction, self._wanted, self._setting)
            self.name = info["name"]
            return host, self._stream_of(host, info)
        except BaseException:
            host.terminate()
            raise

    def _stream_of(self, host: Any, info: Info) -> Any:
        words = "it takes no 16-bit sound"
        keys = {self._direction: True, f"{self._direction}_device_index": info["index"]}
        for rate, channels in formats(host, info, self._direction, self.rate):
            try:
                stream = host.open(
                    rate=rate,
                    channels=channels,
                    format=load().paInt16,
                    frames_per_buffer=max(1, round(self._block_s * rate)),
                    stream_callback=self._callback,
                    start=False,
                    **keys,
                )
            except OSError as e:
                words = str(e)
                continue
            self.rate, self.n_channels = rate, channels
            return stream
        raise DeviceError(f"{self} cannot be opened: {words}")

    def __str__(self) -> str:
        return f"{self._setting} = {self._wanted!r}: {self.name}"

    def start(self) -> None:
        """Let sound pass.

        Raises:
            DeviceError: If it cannot.
        """
        try:
            within(OPEN_S, self._stream.start_stream, f"{self._setting} = {self._wanted!r}")
        except BaseException as e:
            self.close()
            if isinstance(e, OSError):
                raise DeviceError(f"{self} cannot be started: {e}") from e
            raise

    @property
    def output_latency_s(self) -> float:
        """What it says itself; not always to be believed."""
        return float(self._stream.get_output_latency())

    def check(self, silent_s: float, most_s: float, lacks: str) -> None:
        """See that it is there and at work.

        Args:
            silent_s: For so long no sound has passed.
            most_s: So long it may.
            lacks: What it has not done: ``has taken nothing``.

        Raises:
            DeviceError: If it is gone or silent.
        """
        try:
            is_there = not self._is_closed and self._stream.is_active()
        except OSError:
            is_there = False
        if not is_there:
            raise DeviceError(f"{self} is gone")
        if silent_s > most_s:
            raise DeviceError(f"{self} {lacks} for {silent_s:.1f} s; it must within {most_s:g} s")

    def close(self) -> None:
        """Let go of it and of PortAudio; takes at most `CLOSE_S`. What hangs is left behind, in words."""
        if not self._is_closed:  # PortAudio does not survive being asked twice
            self._is_closed = True
            self._shut((self._host, self._stream))

    def _shut(self, opened: Tuple[Any, Any]) -> None:
        host, stream = opened

        def shut() -> None:
            with contextlib.suppress(OSError):  # its server is gone, and with it the device
                stream.close()
            host.terminate()

        try:
            within(CLOSE_S, shut, self.name)
        except DeviceError as e:
            log.warning("%s; it is left behind open", e)
