"""Frames and sound become an MP4 that is whole, labelled and on the disk, or is not there."""

import os
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from .config import EncodeSettings
from .errors import DeviceError
from .media import FloatArray, Image

_RATE = 48000
"""Of the sound, Hz. At this rate players cut AAC's priming samples off as they should (measured; at 16 kHz not)."""
_MOVFLAGS = "use_metadata_tags+faststart"
"""Without the first FFmpeg leaves AIGC out and says nothing; the second puts the index at the front."""
_AAC_FRAME = 1024
"""Samples in a frame of AAC."""
_COLOURS = {"color_range": "tv", "colorspace": "smpte170m", "color_primaries": "bt709", "color_trc": "bt709"}
"""What `cv2.COLOR_BGR2YUV_I420` makes (BT.601, limited range) of a photo's sRGB."""


def write_video(
    output: Path,
    frames: Iterator[Image],
    n_frames: int,
    fps: int,
    size: Tuple[int, int],
    sound: Iterator[FloatArray],
    n_channels: int,
    aigc: str,
    is_labelled: Callable[[Image], bool],
    settings: EncodeSettings,
    progress: Callable[[int], None],
) -> None:
    """Write H.264 and AAC as they come, look the file over, and only then give it its name.

    The same frames and sound give the same file, byte for byte, on one machine.

    Args:
        output: The MP4. One that is already there is replaced.
        frames: Pictures of the video, [height, width, 3].
        n_frames: How many there are.
        fps: Frames a second.
        size: Width and height, both even.
        sound: Pieces [n_channels, n] at 48 kHz, -1..1, in all as long as the video, to half a frame.
        n_channels: 1 or 2; 0 for a video without sound.
        aigc: Value of the AIGC metadata.
        is_labelled: Whether a picture carries the visible label; asked of the first one, as it comes out of the file.
        settings: Speed and quality.
        progress: Told how many frames are done, after each.

    Raises:
        DeviceError: If it cannot be written, or what was written is not what was asked for.
    """
    part = output.absolute().with_name(
        f".{output.name[:60]}.{os.getpid()}.part"
    )  # absolute: FFmpeg has "a:b" for an address
    try:
        with _writing(output):
            file = _Mp4(part, n_frames, fps, size, n_channels, aigc, settings)
        try:
            _fill(file, output, frames, fps, sound if n_channels else None, progress)
            with _writing(output):
                file.finish()
        except BaseException:
            with suppress(OSError):
                part.unlink()  # before closing it: else FFmpeg would still move all of it to put its index first
            file.abandon()
            raise
        with _writing(output):
            wrong = _faults(part, n_frames, fps, aigc, n_channels > 0, is_labelled)
            if wrong:
                raise DeviceError(f"{output}: not published, the file came out wrong: {'; '.join(wrong)}")
            _sync(part)
            part.replace(output)
            _sync(part.parent)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """What fails in here is the writing of the file."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as e:
        reason = " ".join(str(getattr(e, "strerror", None) or e).split()) or type(e).__name__
        raise DeviceError(f"{output}: cannot be written: {reason}") from e


class _Mp4:
    """A file being written."""

    def __init__(
        self,
        path: Path,
        n_frames: int,
        fps: int,
        size: Tuple[int, int],
        n_channels: int,
        aigc: str,
        settings: EncodeSettings,
    ) -> None:
        self._path = path
        self._file: Any = av.open(str(path), "w", format="mp4", options={"movflags": _MOVFLAGS})
        self._file.metadata["AIGC"] = aigc
        self._picture: Any = self._file.add_stream("libx264", rate=fps)
        self._picture.width, self._picture.height = size
        self._picture.pix_fmt = "yuv420p"
        # x264's result depends on how many threads it has, and with threads on slices of one picture, now and then on
        # how busy the machine is: threads on whole pictures give the same file each time
        # H.264 rounds up where it averages two pictures; averages of averages (pyramids of B pictures) turn the skin
        # brighter and redder, and finer steps of colour keep that small. What x264 does for film keeps faint texture.
        self._picture.options = {
            "preset": settings.preset,
            "tune": "film",
            "crf": str(settings.crf),
            "x264-params": "threads=2:lookahead-threads=1:sliced-threads=0:b-pyramid=none:chroma-qp-offset=-2",
            **_COLOURS,
        }
        self._picture.codec_context.time_base = Fraction(1, fps)
        self._sound: Any = self._file.add_stream("aac", rate=_RATE) if n_channels else None
        self._layout = "mono" if n_channels == 1 else "stereo"
        if self._sound is not None:
            self._sound.codec_context.layout = self._layout
            self._sound.codec_context.bit_rate = settings.audio_kbps * 1000
        self._time_base = Fraction(1, fps)
        self._n_frames = 0
        # FFmpeg plays the last frame of AAC whole, also the part that is only filling, up to 21 ms too long. A little
        # silence before the start, which players skip as they skip the encoder's own, moves the ends of the frames so
        # that one lies half a picture after the last: then sound and picture end within half a picture of each other.
        self._n_samples = -(-((2 * n_frames + 1) * _RATE // (2 * fps)) % _AAC_FRAME)
        self.silence: FloatArray = np.zeros((n_channels, -self._n_samples), np.float32)
        """What must come before the sound."""

    def add_picture(self, image: Image) -> None:
        """The next frame, BGR."""
        self.add_planes(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8))

    def add_planes(self, planes: NDArray[np.uint8]) -> None:
        """The next frame, its Y, U and V one under the other, [3 height / 2, width]."""
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = self._n_frames, self._time_base
        self._n_frames += 1
        self._file.mux(self._picture.encode(frame))

    def add_sound(self, samples: FloatArray) -> None:
        """The next samples, [n_channels, n]; n is a frame of AAC save for the last."""
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        # times of our own, 0 at the first of the recording: what is before that, FFmpeg marks as not to be played
        frame.sample_rate, frame.pts, frame.time_base = _RATE, self._n_samples, Fraction(1, _RATE)
        self._n_samples += samples.shape[1]
        self._file.mux(self._sound.encode(frame))

    def finish(self) -> None:
        """Write what the encoders still hold, and the index."""
        self._file.mux(self._picture.encode(None))
        if self._sound is not None:
            self._file.mux(self._sound.encode(None))
        self._file.close()

    def abandon(self) -> None:
        """Let go of a file that will not be finished."""
        with suppress(av.error.FFmpegError, OSError):
            self._file.close()


def _fill(
    file: _Mp4,
    output: Path,
    frames: Iterator[Image],
    fps: int,
    sound: Optional[Iterator[FloatArray]],
    progress: Callable[[int], None],
) -> None:
    """Pictures and sound in the order of time, so that neither waits in memory for the other."""
    blocks = _blocks(chain([file.silence], sound)) if sound is not None else iter(())
    heard = -file.silence.shape[1]
    for i, image in enumerate(frames):
        with _writing(output):
            file.add_picture(image)
        while heard * fps < (i + 1) * _RATE:
            block = next(blocks, None)
            if block is None:
                break
            with _writing(output):
                file.add_sound(block)
            heard += block.shape[1]
        progress(i + 1)
    for block in blocks:
        with _writing(output):
            file.add_sound(block)


def _blocks(sound: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """The sound in frames of AAC; the last may be shorter."""
    waiting: List[FloatArray] = []
    n_waiting = 0
    for piece in sound:
        waiting.append(piece)
        n_waiting += piece.shape[1]
        if n_waiting < _AAC_FRAME:
            continue
        whole = np.concatenate(waiting, axis=1)
        end = n_waiting - n_waiting % _AAC_FRAME
        for start in range(0, end, _AAC_FRAME):
            yield whole[:, start : start + _AAC_FRAME]
        waiting, n_waiting = [whole[:, end:]], n_waiting - end
    if n_waiting:
        yield np.concatenate(waiting, axis=1)


def _faults(
    path: Path, n_frames: int, fps: int, aigc: str, has_sound: bool, is_labelled: Callable[[Image], bool]
) -> List[str]:
    """What is wrong with a finished file, in words."""
    wrong: List[str] = []
    with av.open(str(path)) as file:
        if file.metadata.get("AIGC") != aigc:
            wrong.append(f"its AIGC metadata is {file.metadata.get('AIGC')!r}, not {aigc!r}")
        picture = file.streams.video[0]
        if picture.frames != n_frames:
            wrong.append(f"it has {picture.frames} frames, not {n_frames}")
        lengths = [float((s.duration or 0) * (s.time_base or 0)) for s in (picture, *file.streams.audio)]
        if len(lengths) != (2 if has_sound else 1):
            wrong.append(f"it has {len(lengths) - 1} sound tracks")
        elif has_sound and abs(lengths[0] - lengths[1]) > 1 / fps + 1e-6:
            wrong.append(f"its picture lasts {lengths[0]:.3f} s, its sound {lengths[1]:.3f} s")
        first = next(file.decode(picture), None)
        if first is None or not is_labelled(np.asarray(first.to_ndarray(format="bgr24"), np.uint8)):
            wrong.append("its first picture does not carry the visible label")
    if not _index_first(path):
        wrong.append("its index is not at the front")
    return wrong


def _index_first(path: Path) -> bool:
    """Whether the box `moov` comes before `mdat` (ISO 14496-12)."""
    with path.open("rb") as file:
        while True:
            head = file.read(16)
            if len(head) < 8 or head[4:8] == b"mdat":
                return False
            if head[4:8] == b"moov":
                return True
            n_bytes = int.from_bytes(head[:4], "big")
            if n_bytes == 1:
                n_bytes = int.from_bytes(head[8:16], "big")
            if n_bytes < 8:
                return False
            file.seek(n_bytes - len(head), os.SEEK_CUR)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
