"""PortAudio through PyAudio: listing devices, finding one by name, and opening and closing it, which may hang."""

import contextlib
import ctypes
import logging
import os
import threading
from typing import Any, Callable, Dict, Iterator, List, Literal, Optional, Tuple, TypeVar, Union

from ...errors import ConfigError, DeviceError

log = logging.getLogger(__name__)

OPEN_S = 5.0
"""Time limit for opening a device: a sound server that is stuck may never answer."""
CLOSE_S = 2.0
"""Time limit for closing one; after that it is abandoned, still open."""

Direction = Literal["input", "output"]
Info = Dict[str, Any]
T = TypeVar("T")


def load() -> Any:
    """The module ``pyaudio``, imported only here.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import pyaudio
    except ImportError as e:
        raise ConfigError(f"microphone and loudspeaker need PyAudio ({e}): install sonic-edge[live]") from e
    _silence("libasound.so.2", "snd_lib_error_set_handler")
    _silence("libjack.so.0", "jack_set_error_function")
    _silence("libjack.so.0", "jack_set_info_function")
    return pyaudio


def _silence(library: str, set_handler: str) -> None:
    """Silence a sound library: ALSA and JACK write pages to standard error about devices that do not exist.

    Each accepts an error handler. One in Python would need the interpreter in their threads, even while it exits, so
    this passes a C function that ignores its arguments and has no effect.
    """
    no_op = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
    with contextlib.suppress(OSError, AttributeError):  # PortAudio may be built without it
        getattr(ctypes.CDLL(library, mode=os.RTLD_NOW | os.RTLD_NOLOAD), set_handler)(no_op)


def connect() -> Any:
    """Start PortAudio. It searches for devices when the first is opened, and again only when none is open any more.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If PortAudio does not start.
    """
    pyaudio = load()
    try:
        return pyaudio.PyAudio()
    except OSError as e:
        raise DeviceError(f"the sound system cannot be reached: {e}") from e


def list_devices(direction: Direction) -> List[str]:
    """The devices of this machine, described, each with its number.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If the sound system cannot be reached.
    """

    def search() -> List[str]:
        host = connect()
        try:
            return describe(host, direction)
        finally:
            host.terminate()

    return with_timeout(OPEN_S, search, "the sound system")


def devices(host: Any, direction: Direction) -> List[Info]:
    """PortAudio's information on each device that has channels in this direction."""
    found = [host.get_device_info_by_index(i) for i in range(host.get_device_count())]
    return [info for info in found if info[f"max{direction.title()}Channels"] > 0]


def describe(host: Any, direction: Direction) -> List[str]:
    """The same as text: ``0: name (48000 Hz, 2 channels, ALSA)``."""
    out = []
    for info in devices(host, direction):
        api = host.get_host_api_info_by_index(info["hostApi"])["name"]
        channels = info[f"max{direction.title()}Channels"]
        out.append(f"{info['index']}: {info['name']} ({info['defaultSampleRate']:.0f} Hz, {channels} channels, {api})")
    return out


def choose(host: Any, direction: Direction, wanted: Union[int, str], setting: str) -> Info:
    """Find a device.

    Args:
        host: From `connect`.
        direction: input or output.
        wanted: Its number, its name or a part of the name in upper or lower case, or "" for the default.
        setting: The setting's name, for the message.

    Raises:
        DeviceError: If there is no such device; the message lists those there are.
    """
    present = devices(host, direction)
    if wanted == "":
        try:
            info: Info = getattr(host, f"get_default_{direction}_device_info")()
            return info
        except OSError:
            matching = present[:1]
    elif isinstance(wanted, int):
        matching = [info for info in present if info["index"] == wanted]
    else:
        matching = [info for info in present if wanted.lower() == info["name"].lower()]
        matching = matching or [info for info in present if wanted.lower() in info["name"].lower()]
    if not matching:
        listed = "; ".join(describe(host, direction)) or "none"
        raise DeviceError(f"{setting} = {wanted!r}: there is no such device; present: {listed}")
    return matching[0]


def formats(host: Any, info: Info, direction: Direction, sample_rate: int) -> Iterator[Tuple[int, int]]:
    """Sample rates and channel counts to try, the preferred ones first: (Hz, channels)."""
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


def with_timeout(seconds: float, do: Callable[[], T], what: str, undo: Optional[Callable[[T], None]] = None) -> T:
    """Call a function that may hang.

    Args:
        seconds: How long to wait for it.
        do: The function; it runs in a thread, which is abandoned if it takes longer.
        what: What is called, for the message.
        undo: Called with the result if it comes too late.

    Raises:
        DeviceError: If it takes longer; otherwise whatever `do` raises.
    """
    lock = threading.Lock()
    results: List[T] = []
    errors: List[BaseException] = []
    is_late = False

    def run() -> None:
        try:
            result = do()
        except BaseException as e:
            errors.append(e)
            return
        with lock:
            results.append(result)
        if is_late and undo is not None:
            undo(result)

    thread = threading.Thread(target=run, name=f"{what}, at most {seconds:g} s", daemon=True)
    thread.start()
    thread.join(seconds)
    with lock:
        is_late = not results
    if results:
        return results[0]
    if errors:
        raise errors[0]
    raise DeviceError(f"{what} did not answer within {seconds:g} s")


class Device:
    """An open microphone or loudspeaker; it runs after `start`.

    Args:
        direction: input or output.
        wanted: Its number, its name or a part of the name, or "" for the default.
        setting: The setting's name, for messages.
        sample_rate: The rate to try first, Hz.
        block_s: Length of the blocks in which sound is passed, seconds.
        callback: PortAudio's stream callback; called in PortAudio's thread.

    Raises:
        ConfigError: If PyAudio is not installed.
        DeviceError: If there is no such device (the message lists those there are) or it cannot be opened.
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
        """The device's rate, Hz."""
        self.n_channels = 1
        self._host, self._stream = with_timeout(OPEN_S, self._open, f"{setting} = {wanted!r}", self._close)

    def _open(self) -> Tuple[Any, Any]:
        """PortAudio, and a stream that is not started yet."""
        host = connect()
        try:
            info = choose(host, self._direction, self._wanted, self._setting)
            self.name = info["name"]
            return host, self._open_stream(host, info)
        except BaseException:
            host.terminate()
            raise

    def _open_stream(self, host: Any, info: Info) -> Any:
        error = "it does not support 16-bit sound"
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
                error = str(e)
                continue
            self.rate, self.n_channels = rate, channels
            return stream
        raise DeviceError(f"{self} cannot be opened: {error}")

    def __str__(self) -> str:
        return f"{self._setting} = {self._wanted!r}: {self.name}"

    def start(self) -> None:
        """Start the stream.

        Raises:
            DeviceError: If it cannot be started.
        """
        try:
            with_timeout(OPEN_S, self._stream.start_stream, f"{self._setting} = {self._wanted!r}")
        except BaseException as e:
            self.close()
            if isinstance(e, OSError):
                raise DeviceError(f"{self} cannot be started: {e}") from e
            raise

    @property
    def output_latency_s(self) -> float:
        """The latency that the device reports, seconds; not always reliable."""
        return float(self._stream.get_output_latency())

    def check(self, silent_s: float, limit_s: float, problem: str) -> None:
        """Check that the device is present and working.

        Args:
            silent_s: For how long no sound has passed.
            limit_s: The longest time without sound.
            problem: What it has not done, for the message: ``has accepted no sound``.

        Raises:
            DeviceError: If it is gone or silent.
        """
        try:
            is_active = not self._is_closed and self._stream.is_active()
        except OSError:
            is_active = False
        if not is_active:
            raise DeviceError(f"{self} is gone")
        if silent_s > limit_s:
            raise DeviceError(f"{self} {problem} for {silent_s:.1f} s; the limit is {limit_s:g} s")

    def close(self) -> None:
        """Close the device and PortAudio; takes at most `CLOSE_S`. A device that hangs is abandoned with a warning."""
        if not self._is_closed:  # closing twice crashes PortAudio
            self._is_closed = True
            self._close((self._host, self._stream))

    def _close(self, opened: Tuple[Any, Any]) -> None:
        host, stream = opened

        def close() -> None:
            with contextlib.suppress(OSError):  # the sound server is gone, and with it the device
                stream.close()
            host.terminate()

        try:
            with_timeout(CLOSE_S, close, self.name)
        except DeviceError as e:
            log.warning("closing %s; it is abandoned, still open", e)
