"""Writes an MP4 as frames and sound arrive, verifies it, and only then publishes it under its name."""

import ctypes
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

from ...config import EncodeSettings
from ...errors import DeviceError
from ...media import FloatArray, Image
from .h264 import add_pictures, reason

_RATE = 48000
"""Sample rate of the sound, Hz. At this rate players skip AAC's priming samples correctly (measured; not at 16 kHz)."""
_MOVFLAGS = "use_metadata_tags+faststart"
"""Without the first, FFmpeg silently drops the AIGC metadata; the second puts the index at the front."""
_AAC_FRAME = 1024
"""Samples in an AAC frame."""


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
    """Encode H.264 and AAC as frames and sound arrive, verify the file, and publish it.

    With x264, the same frames and sound give the same file on the same machine, byte for byte.

    Args:
        output: The MP4. An existing file is replaced.
        frames: Pictures of the video, [height, width, 3].
        n_frames: Number of frames.
        fps: Frames a second.
        size: Width and height, both even.
        sound: Pieces [n_channels, n] at 48 kHz, -1..1, in total as long as the video, to half a frame.
        n_channels: 1 or 2; 0 for a video without sound.
        aigc: Value of the AIGC metadata.
        is_labelled: Whether a picture has the visible label; called with the first picture decoded from the file.
        settings: Encoder, speed and quality.
        progress: Called after each frame with the number of frames done.

    Raises:
        ConfigError: If there is no such encoder.
        DeviceError: If the encoder fails, the file cannot be written, or verification finds it wrong.
    """
    part = output.absolute().with_name(
        f".{output.name[:60]}.{os.getpid()}.part"
    )  # absolute: FFmpeg takes "a:b" for a URL
    try:
        with _writing(output):
            file = Mp4(part, n_frames, fps, size, n_channels, aigc, settings)
        try:
            _fill(file, output, frames, fps, sound if n_channels else None, progress)
            with _writing(output):
                file.finish()
        except BaseException:
            with suppress(OSError):
                part.unlink()  # before closing: FFmpeg would otherwise rewrite the whole file to move its index
            file.abandon()
            raise
        with _writing(output):
            wrong = _faults(part, n_frames, fps, aigc, n_channels > 0, is_labelled)
            if wrong:
                raise DeviceError(f"{output}: not published, because the file is wrong: {'; '.join(wrong)}")
            _sync(part)
            part.replace(output)
            _sync(part.parent)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Turn errors in this context into "cannot be written"."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as e:
        raise DeviceError(f"{output}: cannot be written: {reason(e)}") from e


class Mp4:
    """A file being written.

    Args:
        path: The file.
        n_frames: Number of pictures that will be added.
        fps: Frames a second.
        size: Width and height, both even.
        n_channels: Channels of the sound, 1 or 2; 0 for no sound.
        aigc: Value of the AIGC metadata.
        settings: Encoder, speed and quality.

    Raises:
        ConfigError, DeviceError: See `h264.add_pictures`.
        FFmpegError, OSError: If the file cannot be written; from every method.
    """

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
        self._encoder = settings.encoder
        self._file: Any = av.open(str(path), "w", format="mp4", options={"movflags": _MOVFLAGS})
        try:
            self._file.metadata["AIGC"] = aigc
            self._picture: Any = add_pictures(self._file, size, fps, settings)
            self._sound: Any = self._file.add_stream("aac", rate=_RATE) if n_channels else None
            self._layout = "mono" if n_channels == 1 else "stereo"
            if self._sound is not None:
                self._sound.codec_context.layout = self._layout
                self._sound.codec_context.bit_rate = settings.audio_kbps * 1000
                self._sound.options = {"aac_coder": "fast"}  # half the default coder's time, and closer
        except BaseException:
            self.abandon()
            raise
        # One frame is reused for all pictures. That is safe however far an encoder looks ahead: the memory of a PyAV
        # frame is not reference-counted, and FFmpeg copies such a frame before the encoder gets it.
        self._frame: Any = av.VideoFrame(*size, "yuv420p")
        self._planes, self._apart = _planes(self._frame)
        self._time_base = Fraction(1, fps)
        self._n_frames = 0
        # The last AAC frame is padded, and FFmpeg plays the padding: up to 21 ms too long. A little extra silence at
        # the start, which players skip like the encoder's priming, shifts the frame boundaries so that one is half a
        # picture after the last picture. Then sound and picture end within half a picture of each other.
        self._n_samples = -(-((2 * n_frames + 1) * _RATE // (2 * fps)) % _AAC_FRAME)
        self.silence: FloatArray = np.zeros((n_channels, -self._n_samples), np.float32)
        """Silence that must be added before the sound."""

    def add_picture(self, image: Image) -> None:
        """Add the next frame, BGR; raises DeviceError if the encoder fails."""
        if image.shape != (self._frame.height, self._frame.width, 3):
            raise ValueError(f"{image.shape}: a picture of another size than {self._frame.width}x{self._frame.height}")
        cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420, dst=self._planes)
        self._add()

    def add_planes(self, planes: NDArray[np.uint8]) -> None:
        """Add the next frame as its Y, U and V planes, stacked vertically, [3 height / 2, width]."""
        if planes.shape != self._planes.shape:
            raise ValueError(f"planes {planes.shape}, not {self._planes.shape}: a picture of another size")
        self._planes[...] = planes
        self._add()

    def _add(self) -> None:
        """Encode the content of `_planes` as the next frame."""
        samples, start = self._planes.reshape(-1), 0
        for rows in self._apart:
            rows[...] = samples[start : start + rows.size].reshape(rows.shape)
            start += rows.size
        self._frame.pts, self._frame.time_base = self._n_frames, self._time_base
        self._n_frames += 1
        self._file.mux(self._encoded(self._frame))

    def _encoded(self, frame: Any) -> List[Any]:
        """The packets that the encoder returns for a frame, or for None at the end."""
        try:
            packets: List[Any] = self._picture.encode(frame)
        except (av.error.FFmpegError, OSError) as e:
            at = f"picture {self._n_frames}" if frame is not None else "the end"
            raise DeviceError(f"encode.encoder = {self._encoder!r}: failed at {at}: {reason(e)}") from e
        return packets

    def add_sound(self, samples: FloatArray) -> None:
        """Add the next samples, [n_channels, n]; n is `_AAC_FRAME`, except for the last."""
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        # our own timestamps, 0 at the first sample of the recording: FFmpeg marks earlier ones as not to be played
        frame.sample_rate, frame.pts, frame.time_base = _RATE, self._n_samples, Fraction(1, _RATE)
        self._n_samples += samples.shape[1]
        self._file.mux(self._sound.encode(frame))

    def finish(self) -> None:
        """Flush the encoders and write the index; raises DeviceError if the video encoder fails."""
        self._file.mux(self._encoded(None))
        if self._sound is not None:
            self._file.mux(self._sound.encode(None))
        self._file.close()

    def abandon(self) -> None:
        """Close a file that will not be finished."""
        with suppress(av.error.FFmpegError, OSError):
            self._file.close()


def _planes(frame: Any) -> Tuple[NDArray[np.uint8], List[NDArray[np.uint8]]]:
    """An array for a frame's Y, U and V, stacked vertically, [3 height / 2, width], and the planes to copy it to.

    If the frame's rows are not padded, the array is the frame's own memory (valid as long as the frame), and there is
    nothing to copy.
    """
    shape, planes = (frame.height * 3 // 2, frame.width), list(frame.planes)
    ends = [plane.buffer_ptr + plane.width * plane.height for plane in planes]
    if all(plane.line_size == plane.width for plane in planes) and ends[:2] == [p.buffer_ptr for p in planes[1:]]:
        memory = (ctypes.c_uint8 * (shape[0] * shape[1])).from_address(planes[0].buffer_ptr)
        return np.frombuffer(memory, np.uint8).reshape(shape), []
    rows = [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width] for p in planes]
    return np.empty(shape, np.uint8), rows


def _fill(
    file: Mp4,
    output: Path,
    frames: Iterator[Image],
    fps: int,
    sound: Optional[Iterator[FloatArray]],
    progress: Callable[[int], None],
) -> None:
    """Add pictures and sound in the order of time, so that neither is buffered for the other."""
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
    """The sound in AAC frames; the last may be shorter."""
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
    """What is wrong with a finished file, as parts of a message."""
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
            wrong.append("its first picture does not have the visible label")
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
