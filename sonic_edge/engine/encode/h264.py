"""Opens the configured H.264 encoder: x264, or any other that FFmpeg has."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import av

from ...config import EncodeSettings
from ...errors import ConfigError, DeviceError

X264 = "libx264"

# x264's output depends on its number of threads and, with sliced threads, sometimes on how busy the machine is. Frame
# threads (sliced-threads=0) give the same file every time.
# H.264 rounds up when it averages two pictures. Averages of averages (B-frame pyramids) make the skin brighter and
# redder; finer chroma quantisation keeps that small.
# Each lookahead picture takes several times its size in memory. Ten are enough for the slow presets; the fast ones use
# none.
_X264_PARAMS = "threads=2:lookahead-threads=1:sliced-threads=0:b-pyramid=none:chroma-qp-offset=-2:rc-lookahead=10"
_X264_ULTRAFAST = "subme=1:deadzone-inter=12:qcomp=0.9"
"""A face moves by fractions of a pixel: without quarter-pixel motion (subme), which ultrafast leaves out, files are
twice as large. It brings averaging back, so a smaller dead zone discards less of each residual, which keeps colours
and texture. And qcomp keeps static parts from growing sharper from picture to picture: that would cost bits, and the
idle scene must end as it begins."""
_CRF = {"ultrafast": 21, "veryfast": 17}
_CRF_OF_OTHERS = 18
"""At these values every picture of 13 portraits at 512 and 1024 has a PSNR of at least 40 dB (docs/VIDEO.md)."""
_KEYFRAME_S = 2.0
"""Interval between keyframes for encoders other than x264, seconds."""
_FORMATS = ("yuv420p", "nv12")
"""Pixel formats that we can provide, the preferred one first: nv12 has the same samples in another order."""
_COLOURS = {"color_range": "tv", "colorspace": "smpte170m", "color_primaries": "bt709", "color_trc": "bt709"}
"""What `cv2.COLOR_BGR2YUV_I420` makes (BT.601, limited range) of a photo's sRGB."""


def add_pictures(file: Any, size: Tuple[int, int], fps: int, settings: EncodeSettings) -> Any:
    """Add a video stream to a file and open its encoder.

    Args:
        file: The output container of PyAV.
        size: Width and height, both even.
        fps: Frames a second.
        settings: The encoder and its options.

    Raises:
        ConfigError: If there is no such encoder, it is not for H.264, or it has no such option.
        DeviceError: If the encoder cannot be opened.
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
        why = "; ".join(_logged_errors(stream.codec_context.open)) or reason(e)
        asked = f"{size[0]}x{size[1]} at {fps} frames a second"
        raise DeviceError(
            f"encode.encoder = {codec.name!r}: does not open for {asked}: {why}{_needs(codec.name)}"
        ) from e
    ignored = [name for name in own if name in stream.codec_context.options]
    if ignored:
        raise ConfigError(f"encode.options: {codec.name} has no option {', '.join(ignored)}")
    return stream


def reason(error: BaseException) -> str:
    """The message of an error from the system or FFmpeg, on one line."""
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
    """The names of all H.264 encoders that FFmpeg has, whether they work on this machine or not."""
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
    """The pixel format to use; an encoder that lists none is assumed to accept the first."""
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
    """What an encoder that does not open needs from the machine, if known."""
    if name.endswith("_v4l2m2m"):
        nodes = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "no /dev/video*"
        return f"; it needs a V4L2 device that encodes H.264, open to the group video; there is {nodes}"
    if name.endswith("_ascend"):
        return "; it needs CANN's libraries and a free video channel of the chip (docs/VIDEO.md)"
    return ""


def _logged_errors(fails: Callable[[], None]) -> List[str]:
    """Repeat a failing call and collect the errors that FFmpeg logs: the exception often says only "invalid argument".

    Used only after a failure, because PyAV's log capture is not safe while other threads use FFmpeg.
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
