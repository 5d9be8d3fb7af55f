"""The H.264 encoder that the settings name: x264, or any other that FFmpeg has."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import av

from ...config import EncodeSettings
from ...errors import ConfigError, DeviceError

X264 = "libx264"

# x264's result depends on how many threads it has, and with threads on slices of one picture, now and then on how busy
# the machine is: threads on whole pictures give the same file each time.
# H.264 rounds up where it averages two pictures; averages of averages (pyramids of B pictures) turn the skin brighter
# and redder, and finer steps of colour keep that small.
# Pictures that it looks ahead at cost memory, several times their size each: ten are enough for the slow presets, and
# the fast ones look at none.
_X264_PARAMS = "threads=2:lookahead-threads=1:sliced-threads=0:b-pyramid=none:chroma-qp-offset=-2:rc-lookahead=10"
_X264_ULTRAFAST = "subme=1:deadzone-inter=12:qcomp=0.9"
"""A face moves by parts of a pixel: without quarter steps, which ultrafast leaves out, files are twice as large. They
bring averages again, so less of what a picture adds is thrown away: that keeps the colours and the texture. And what
stands still does not grow sharper from picture to picture: a scene is to end as it begins, and it would cost bits."""
_CRF = {"ultrafast": 21, "veryfast": 17}
_CRF_OF_OTHERS = 18
"""With these no picture of 13 portraits at 512 and 1024 is less than 40 dB from what was drawn (docs/VIDEO.md)."""
_KEYFRAME_S = 2.0
"""Of an encoder that is not x264: from one picture that stands for itself to the next."""
_FORMATS = ("yuv420p", "nv12")
"""What pictures may be given as, the first by preference: the second is the same in another order."""
_COLOURS = {"color_range": "tv", "colorspace": "smpte170m", "color_primaries": "bt709", "color_trc": "bt709"}
"""What `cv2.COLOR_BGR2YUV_I420` makes (BT.601, limited range) of a photo's sRGB."""


def add_pictures(file: Any, size: Tuple[int, int], fps: int, settings: EncodeSettings) -> Any:
    """A stream of pictures for a file, its encoder open.

    Args:
        file: What PyAV writes.
        size: Width and height, both even.
        fps: Frames a second.
        settings: Which encoder, and what is asked of it.

    Raises:
        ConfigError: If there is no such encoder here, it is not one of H.264, or it has no such option.
        DeviceError: If it does not open.
    """
    codec = _codec(settings.encoder)
    stream = file.add_stream(codec.name, rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = _format(codec)
    stream.codec_context.time_base = Fraction(1, fps)
    if codec.name == X264:
        if settings.options:
            raise ConfigError(f"encode.options = {settings.options}: {X264} takes none; use preset and crf")
        own = _of_x264(settings)
    else:
        stream.codec_context.bit_rate = round(settings.bits_per_pixel * size[0] * size[1] * fps)
        stream.codec_context.gop_size = round(_KEYFRAME_S * fps)
        own = _assignments(settings.options)
    stream.options = {**_COLOURS, **own}
    try:
        stream.codec_context.open()
    except (av.error.FFmpegError, OSError) as e:
        why = "; ".join(_told_by(stream.codec_context.open)) or reason(e)
        asked = f"{size[0]}x{size[1]} at {fps} frames a second"
        raise DeviceError(
            f"encode.encoder = {codec.name!r}: does not open for {asked}: {why}{_needs(codec.name)}"
        ) from e
    ignored = [name for name in own if name in stream.codec_context.options]
    if ignored:
        raise ConfigError(f"encode.options: {codec.name} has no option {', '.join(ignored)}")
    return stream


def reason(error: BaseException) -> str:
    """What the system or FFmpeg says, in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


def _of_x264(settings: EncodeSettings) -> Dict[str, str]:
    params = [_X264_PARAMS] + ([_X264_ULTRAFAST] if settings.preset == "ultrafast" else [])
    return {
        "preset": settings.preset,
        "tune": "film",  # keeps faint texture
        "crf": str(_CRF.get(settings.preset, _CRF_OF_OTHERS) if settings.crf is None else settings.crf),
        "x264-params": ":".join(params),
    }


def _codec(name: str) -> Any:
    """The encoder of this name."""
    try:
        codec = av.codec.Codec(name, "w")
    except ValueError:
        codec = None
    if codec is None or codec.name != name:
        wrong = f"FFmpeg (PyAV {av.__version__}) has no such encoder"
    elif codec.id != _h264():
        wrong = "is not an encoder of H.264"
    else:
        return codec
    raise ConfigError(f"encode.encoder = {name!r}: {wrong}; of H.264 it has {', '.join(_encoders())}")


def _h264() -> int:
    return int(av.codec.Codec("h264", "r").id)


def _encoders() -> List[str]:
    """What there is of H.264, whether it works here or not."""
    found = set()
    for name in av.codecs_available:
        try:
            codec = av.codec.Codec(name, "w")
        except ValueError:
            continue  # it only decodes
        if codec.id == _h264():
            found.add(codec.name)
    return sorted(found)


def _format(codec: Any) -> str:
    """How it takes pictures; one that does not say takes what is usual."""
    taken = [known.name for known in codec.video_formats or ()]
    usable = [name for name in _FORMATS if name in taken or not taken]
    if not usable:
        raise ConfigError(
            f"encode.encoder = {codec.name!r}: takes pictures as {', '.join(taken)}; {' or '.join(_FORMATS)} is needed"
        )
    return usable[0]


def _assignments(options: List[str]) -> Dict[str, str]:
    found = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"encode.options: {text!r} must be of the form name=value")
        found[name] = value
    return found


def _needs(name: str) -> str:
    """What an encoder that does not open asks of a machine, as far as that can be told."""
    if name.endswith("_v4l2m2m"):
        nodes = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "no /dev/video*"
        return f"; it needs a V4L2 device that encodes H.264, open to the group video; there is {nodes}"
    if name.endswith("_ascend"):
        return "; it needs CANN's libraries and a free video channel of the chip (docs/VIDEO.md)"
    return ""


def _told_by(fails: Callable[[], None]) -> List[str]:
    """What FFmpeg logs as errors while something fails, in lines: the error itself often says "invalid argument" only.

    Only for what has failed: PyAV's way into the log is not safe while other threads use FFmpeg.
    """
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_skip_repeated(False)
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as logs, suppress(av.error.FFmpegError, OSError):
            fails()
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
    return [" ".join(message.split()) for _, _, message in logs]
