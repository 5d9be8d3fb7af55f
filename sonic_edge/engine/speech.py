"""Decodes a recording to mel frames, and later to the sound of the video: streamed, never whole in memory."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import av
import numpy as np
from numpy.typing import NDArray

from ..config import LimitSettings
from ..disk import check_file
from ..errors import RequestError
from ..media import FloatArray, Speech
from ..model.mel import MelSettings, MelStream

_FORMATS = (
    "wav,w64,aiff,au,caf,voc,mp3,aac,loas,ac3,eac3,dts,flac,ogg,mov,matroska,asf,avi,flv,mpegts,mpeg,mxf,nut,rm,amr,"
    "amrnb,amrwb,wv,tta,ape,mpc,mpc8,dsf,xwma,qcp,oma"
)
"""Formats that contain their sound. FFmpeg also reads formats that refer to other files or addresses (concat, HLS,
DASH, SDP, image sequences); these are rejected, or a recording in the inbox could make the box read any file."""
_RELIABLE_DURATION = ("wav", "w64", "aiff", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "caf")
"""Formats that store their duration; for others FFmpeg estimates it from the bit rate."""
_RATES = range(2000, 768001)
"""Plausible sample rates, Hz."""
_PROBED_PACKETS = "8"
"""How many packets of raw PCM FFmpeg searches for a disguised compressed stream (AC-3 in a WAV shows in the first). The
default is a megabyte, which takes longer than decoding a minute."""
_MOST_PLANES = 8
"""Most channels of a planar format: with more, PyAV (12 to 16) does not see where the planes end, and reads beyond
them."""
_SILENT = 1e-4
"""A recording whose peak is below this (-80 dB) has no speech."""
_SCALES = {"u1": 128.0, "i2": 32768.0, "i4": 2147483648.0, "i8": 9223372036854775808.0}
"""Full scale of each integer sample type."""
_PAIRS = {"L": (1.0, 0.0), "R": (0.0, 1.0), "C": (0.7071, 0.7071)}
"""Gains of a channel to left and right, by the last letter of its name (FL, BR, FC)."""


def read_speech(path: Path, mel: MelSettings, limits: LimitSettings) -> Speech:
    """Read a recording once, from beginning to end.

    Args:
        path: Any file with sound that FFmpeg can decode, whatever its suffix.
        mel: The model's mel settings.
        limits: Largest file, longest and shortest recording. The length is measured, not taken from the header.

    Returns:
        Its exact length and its log-mel frames, [n_mels, round(duration * rate) // hop + 1].

    Raises:
        RequestError: If it is too large, too long, too short, damaged or has no sound.
    """
    check_file(path, "a recording", limits.speech_bytes)
    decoder, heard = _listen(path, mel, limits, _middle)
    remarks = decoder.remarks()
    if decoder.peak < _SILENT:
        remarks.append(f"{path.name}: it is silent, without speech; the mouth stays shut")
    elif decoder.cancels:
        _, heard = _listen(path, mel, limits, _first)
        remarks.append(f"{path.name}: left and right cancel each other out; the lips follow the left channel")
    return Speech(
        path=path,
        duration_s=float(decoder.duration),
        sample_rate=decoder.sample_rate,
        n_channels=decoder.n_channels,
        mel=heard,
        warnings=tuple(remarks),
    )


def _listen(
    path: Path, mel: MelSettings, limits: LimitSettings, mono: Callable[[FloatArray], FloatArray]
) -> Tuple["_Decoder", NDArray[np.float16]]:
    """Decode a whole recording; the decoder with what it measured, and the mel frames."""
    decoder = _Decoder(path)
    stream = MelStream(mel)
    frames = bytearray()  # grows in place; concatenating pieces at the end would need twice the memory
    for piece in decoder.play(mel.sample_rate):
        if decoder.duration > limits.speech_s:
            raise RequestError(f"{path.name}: longer than {limits.speech_s:g} s, the most that a recording may last")
        frames += _packed(stream.push(mono(piece)))
    frames += _packed(stream.finish())
    if decoder.duration < limits.min_speech_s:
        raise RequestError(
            f"{path.name}: {float(decoder.duration):.2g} s of sound; at least {limits.min_speech_s:g} s is needed"
        )
    n_frames = round(decoder.duration * mel.sample_rate) // mel.hop + 1
    return decoder, np.frombuffer(frames, np.float16).reshape(-1, mel.n_mels)[:n_frames].T


def _packed(mel: FloatArray) -> bytes:
    """Mel [n_mels, n] as float16 bytes, frame by frame."""
    return mel.T.astype(np.float16).tobytes()


def _middle(piece: FloatArray) -> FloatArray:
    return np.asarray(piece.mean(axis=0), np.float32)


def _first(piece: FloatArray) -> FloatArray:
    return np.asarray(piece[0], np.float32)


def sound(path: Path, rate: int = 48000) -> Iterator[FloatArray]:
    """The sound of a recording, piece by piece.

    Args:
        path: A recording that `read_speech` has accepted.
        rate: Sample rate of the result, Hz.

    Yields:
        [n_channels, n], -1..1, mono or stereo; round(duration * rate) samples in total.

    Raises:
        RequestError: If it can no longer be read.
    """
    for piece in _Decoder(path).play(rate):
        yield np.clip(piece, -1, 1)


class _Decoder:
    """Decodes a file once; afterwards it knows the exact length and what was wrong with the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_played: Dict[int, int] = {}
        """Sample rate -> samples."""
        self._n_good = 0
        self._n_damaged = 0
        self._n_repaired = 0
        self._n_channels_refused = 0
        self._n_bytes_missing = 0
        self._declared_s = 0.0
        self._side_power = self._middle_power = 0.0
        self.sample_rate = 0
        """Sample rate of the file, Hz; of its first part if it changes."""
        self.n_channels = 0
        """Number of channels in the file; in its first part if it changes."""
        self.peak = 0.0
        """Largest sample, 0..1."""

    @property
    def duration(self) -> Fraction:
        """Length decoded so far, seconds, exact."""
        return sum((Fraction(n, rate) for rate, n in self._n_played.items()), Fraction(0))

    @property
    def cancels(self) -> bool:
        """Whether the two channels nearly cancel each other out in the mono mix."""
        return self._middle_power < 0.01 * self._side_power

    def play(self, rate: int) -> Iterator[FloatArray]:
        """Pieces [1 or 2, n] at `rate`; round(duration * rate) samples in total.

        Raises:
            RequestError: If nothing in the file can be decoded.
        """
        n_given = 0
        for piece in self._resampled(rate):
            n_given += piece.shape[1]
            excess = n_given - round(self.duration * rate)  # the resampler rounds up when it is flushed
            if excess > 0:
                piece = piece[:, : max(0, piece.shape[1] - excess)]
                n_given -= excess
            yield piece
        n_missing = round(self.duration * rate) - n_given
        if n_missing > 0:
            yield np.zeros((min(self.n_channels, 2), n_missing), np.float32)

    def remarks(self) -> List[str]:
        """What was wrong with the file, as sentences for the report."""
        name, played = self._path.name, float(self.duration)
        out: List[str] = []
        if self._n_damaged:
            out.append(f"{name}: {self._n_damaged} damaged pieces were skipped")
        if self._n_bytes_missing:
            out.append(f"{name}: cut off: {self._n_bytes_missing} bytes are missing; the {played:.1f} s there are used")
        elif self._declared_s > played + max(0.25, 0.02 * played):
            out.append(f"{name}: cut off: {self._declared_s:.1f} s in its header; the {played:.1f} s there are used")
        if self._n_repaired:
            out.append(f"{name}: {self._n_repaired} samples that are not finite were replaced by silence")
        return out

    def _resampled(self, rate: int) -> Iterator[FloatArray]:
        resampler, key = None, (0, 0)
        for samples, sample_rate in self._samples():
            if (sample_rate, len(samples)) != key:  # some files change their format midway
                yield from _push(resampler, None)
                key = (sample_rate, len(samples))
                layout = "mono" if len(samples) == 1 else "stereo"
                same = sample_rate == rate
                resampler = None if same else av.AudioResampler(format="fltp", layout=layout, rate=rate)
            if resampler is None:
                yield samples
                continue
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono" if len(samples) == 1 else "stereo")
            frame.sample_rate = sample_rate
            yield from _push(resampler, frame)
        yield from _push(resampler, None)

    def _samples(self) -> Iterator[Tuple[FloatArray, int]]:
        """Decoded samples [1 or 2, n], cleaned, and their sample rate."""
        width = 0
        for raw, names, sample_rate in self._blocks():
            samples = self._cleaned(raw)
            if not width:
                self.sample_rate, self.n_channels = sample_rate, len(names)
                width = min(2, len(names))
            samples = _mixed(samples, names, width)
            self._n_played[sample_rate] = self._n_played.get(sample_rate, 0) + samples.shape[1]
            self.peak = max(self.peak, float(samples.max(initial=0)), -float(samples.min(initial=0)))
            if width == 2:
                self._middle_power += float(np.square(samples.mean(axis=0)).sum())
                self._side_power += float(np.square(samples).sum()) / 2
            yield np.ascontiguousarray(samples), sample_rate
        if not self._n_good and self._n_channels_refused:
            raise RequestError(
                f"{self._path.name}: {self._n_channels_refused} channels; at most {_MOST_PLANES} can be read"
            )
        if not self._n_good:
            raise RequestError(f"{self._path.name}: no sound could be decoded; the file is damaged or empty")
        if self._n_damaged > self._n_good:
            n_all = self._n_good + self._n_damaged
            raise RequestError(f"{self._path.name}: damaged: {self._n_damaged} of {n_all} pieces cannot be decoded")

    def _blocks(self) -> Iterator[Tuple[NDArray[Any], Tuple[str, ...], int]]:
        """Frames of the same format joined to blocks of about half a second: [n_channels, n], channel names, rate."""
        waiting: List[NDArray[Any]] = []
        n_waiting = 0
        kind: Tuple[Any, Tuple[str, ...], int] = (None, (), 0)
        for frame in self._frames():
            names = tuple(channel.name for channel in frame.layout.channels)
            if frame.format.is_planar and len(names) > _MOST_PLANES:
                self._n_channels_refused = len(names)
                self._n_damaged += 1
                continue
            self._n_good += 1
            raw: NDArray[Any] = frame.to_ndarray()
            if not frame.format.is_planar:
                raw = raw.reshape(-1, len(names)).T
            if waiting and (kind != (raw.dtype, names, frame.sample_rate) or 2 * n_waiting > kind[2]):
                yield np.concatenate(waiting, axis=1), kind[1], kind[2]
                waiting, n_waiting = [], 0
            kind = (raw.dtype, names, frame.sample_rate)
            waiting.append(raw)
            n_waiting += raw.shape[1]
        if waiting:
            yield np.concatenate(waiting, axis=1), kind[1], kind[2]

    def _frames(self) -> Iterator[Any]:
        try:
            # not `options`: PyAV (12 to 16) crashes the process if streams appear after the file was opened
            container = av.open(
                str(self._path.absolute()),
                container_options={
                    "protocol_whitelist": "file",
                    "format_whitelist": _FORMATS,
                    "max_probe_packets": _PROBED_PACKETS,
                },
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError, ValueError) as e:
            raise RequestError(
                f"{self._path.name}: is not a recording that can be read ({_words(e)}); a sound file such as WAV, MP3, "
                "M4A, Opus, Ogg or FLAC is needed"
            ) from e
        with container:
            if not container.streams.audio:
                raise RequestError(f"{self._path.name}: there is no sound in it; a recording is needed")
            stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
            if stream is None:  # decoding it would crash PyAV and the process
                raise RequestError(f"{self._path.name}: its sound is of an unknown kind and cannot be decoded")
            if container.format.name == "wav":
                self._n_bytes_missing = _bytes_missing(self._path)
            if container.format.name in _RELIABLE_DURATION and stream.duration and stream.time_base:
                self._declared_s = float(stream.duration * stream.time_base)
            yield from self._decoded(container, stream)

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """Decoded frames. Damaged packets are counted and skipped; decoding ends where the file breaks off."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError, ValueError, IndexError):  # IndexError: a stream appeared late
                self._n_damaged += 1
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except (av.error.FFmpegError, OSError, ValueError):
                self._n_damaged += packet.size > 0
                continue
            for frame in frames:
                if frame.sample_rate not in _RATES:
                    raise RequestError(
                        f"{self._path.name}: {frame.sample_rate} samples a second; "
                        f"{_RATES.start} to {_RATES.stop - 1} are needed"
                    )
                yield frame

    def _cleaned(self, raw: NDArray[Any]) -> FloatArray:
        """Samples of any type as -1..1, without NaN and infinity."""
        if raw.dtype.kind != "f":
            scale = np.float32(1 / _SCALES[raw.dtype.str[1:]])
            return np.asarray((raw.astype(np.float32) - (128 if raw.dtype.kind == "u" else 0)) * scale, np.float32)
        if np.abs(raw).max(initial=0) <= 1:  # false for NaN
            return raw.astype(np.float32)
        bad = ~np.isfinite(raw)
        self._n_repaired += int(bad.sum())
        return np.where(bad, 0, np.clip(raw, -1, 1)).astype(np.float32)


def _bytes_missing(path: Path) -> int:
    """How many bytes a WAV is shorter than its header says; 0 if it is complete, or was streamed without a length."""
    with path.open("rb") as file:
        head = file.read(8)
    declared = 8 + int.from_bytes(head[4:8], "little")
    return max(0, declared - path.stat().st_size) if head[:4] == b"RIFF" and declared < 0xFFFFFF00 else 0


def _push(resampler: Any, frame: Any) -> Iterator[FloatArray]:
    """Pass a frame to the resampler, or None to flush it; yields its output."""
    if resampler is not None:
        for out in resampler.resample(frame):
            yield out.to_ndarray()


def _mixed(samples: FloatArray, names: Tuple[str, ...], width: int) -> FloatArray:
    """Mix [n_channels, n] to mono or stereo, [width, n]."""
    if len(names) > 2:
        known = [_PAIRS.get(name[-1:].upper()) if name != "LFE" else (0.0, 0.0) for name in names]
        gains = np.array([pair or ((1.0, 0.0), (0.0, 1.0))[i % 2] for i, pair in enumerate(known)], np.float32)
        gains /= max(float(gains.sum(axis=0).max()), 1.0)
        samples = gains.T @ samples
    if len(samples) == width:
        return samples
    mono = samples.mean(axis=0, keepdims=True)
    return mono if width == 1 else np.repeat(mono, 2, axis=0)


def _words(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
