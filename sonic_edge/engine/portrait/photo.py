"""Reads photos: size limits are checked before decoding; the result is 8-bit BGR whatever the file's format."""

import struct
import warnings
from pathlib import Path
from typing import BinaryIO, Dict, List, Optional, Tuple

import cv2
import numpy as np
from PIL import Image as Pil
from PIL import UnidentifiedImageError

from ...config import LimitSettings
from ...disk import check_file
from ...errors import RequestError
from ...media import FloatArray, Image

Pil.MAX_IMAGE_PIXELS = None  # our own limit is checked before anything is decoded, with a better message

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "TIFF", "GIF", "JPEG2000", "PPM", "SUN", "AVIF")
_STRIP = 512
"""Rows converted to BGR at a time, so that a large photo is not in memory three times."""


def read_image(path: Path, limits: LimitSettings) -> Image:
    """Read a photo as 8-bit BGR: rotated as its EXIF says, transparency on white, the first picture if several.

    Args:
        path: PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or PPM, whatever its suffix.
        limits: Largest file and largest picture; checked before decoding.

    Returns:
        [height, width, 3], uint8.

    Raises:
        RequestError: If it is too large, damaged or not a picture.
    """
    check_file(path, "a photo", limits.portrait_bytes)
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # Pillow's warnings about odd metadata
            _check_pixels(path, _webp_size(file.read(30)), limits)  # Pillow would allocate memory for it while opening
            file.seek(0)
            return _decode(path, file, limits)
    except RequestError:
        raise
    except OSError as e:
        if e.errno is not None:
            raise RequestError(f"{path.name}: cannot be read: {e.strerror}") from e
        raise RequestError(f"{path.name}: damaged or cut off; a complete picture is needed ({_words(e)})") from e
    except Exception as e:  # for a damaged file Pillow's readers can raise anything
        raise RequestError(f"{path.name}: damaged; a complete picture is needed ({_words(e)})") from e


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _webp_size(head: bytes) -> Optional[Tuple[int, int]]:
    """Width and height from the first 30 bytes of a WebP file (RFC 9649); None if it is not one."""
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _check_pixels(path: Path, size: Optional[Tuple[int, int]], limits: LimitSettings) -> None:
    if size is not None and size[0] * size[1] > limits.portrait_pixels:
        raise RequestError(
            f"{path.name}: {size[0]}x{size[1]} is {size[0] * size[1]} pixels; "
            f"a photo may have at most {limits.portrait_pixels}"
        )


def _decode(path: Path, file: BinaryIO, limits: LimitSettings) -> Image:
    try:
        picture = Pil.open(file, formats=_known_formats())
    except UnidentifiedImageError as e:
        floats = _float_tiff(path, limits)
        if floats is not None:
            return floats
        raise RequestError(
            f"{path.name}: is not a picture that can be read; PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or PPM "
            "is needed"
        ) from e
    with picture:
        _check_pixels(path, picture.size, limits)
        exif = picture.getexif()
        picture.load()
        # read before load() and used after: Pillow rotates some formats itself while loading, and then removes the tag
        turn = exif.get(0x0112, 1) if picture.format != "TIFF" else 1
        bgr = np.empty((picture.height, picture.width, 3), np.uint8)
        levels = _levels(picture)
        for top in range(0, picture.height, _STRIP):
            strip = picture.crop((0, top, picture.width, min(top + _STRIP, picture.height)))
            bgr[top : top + _STRIP] = _strip_to_bgr(strip, levels)
    return _turned(bgr, turn)


def _known_formats() -> List[str]:
    Pil.init()
    return [name for name in _FORMATS if name in Pil.OPEN]


def _levels(picture: Pil.Image) -> float:
    """The value of white in a picture, which may have more than 8 bits per channel."""
    if picture.mode.startswith("I;16"):
        return 65535.0
    if picture.mode not in ("I", "F"):
        return 255.0
    top = 0.0
    for y in range(0, picture.height, _STRIP):
        strip = np.asarray(picture.crop((0, y, picture.width, min(y + _STRIP, picture.height))), np.float32)
        top = max(top, float(np.max(strip, initial=0.0, where=np.isfinite(strip))))
    return _white(top, picture.mode == "F")


def _white(top: float, is_float: bool) -> float:
    if is_float and top <= 1.0:
        return 1.0
    return next((white for white in (255.0, 65535.0) if top <= white), top)


def _strip_to_bgr(strip: Pil.Image, white: float) -> Image:
    if strip.mode in ("I", "F") or strip.mode.startswith("I;16"):
        grey = _to_8_bit(np.asarray(strip, np.float32), white)
        return np.repeat(grey[..., None], 3, axis=2)
    if strip.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in strip.info:
        strip = strip.convert("RGBA")
        paper = Pil.new("RGBA", strip.size, "white")
        strip = Pil.alpha_composite(paper, strip)
    return np.asarray(strip.convert("RGB"))[..., ::-1]


def _to_8_bit(values: FloatArray, white: float) -> Image:
    """Values of any range, including NaN and infinity, as 0..255."""
    clean = np.nan_to_num(values, nan=0.0, posinf=white, neginf=0.0)
    out: Image = np.clip(clean * np.float32(255.0 / white) + 0.5, 0, 255).astype(np.uint8)
    return out


def _float_tiff(path: Path, limits: LimitSettings) -> Optional[Image]:
    """Read a TIFF with pixels that Pillow does not support (such as float colours) by OpenCV; None if it is not one."""
    data = path.read_bytes()
    size = _tiff_size(data)
    if size is None:
        return None
    _check_pixels(path, size, limits)
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        values = None
    if values is None or values.ndim not in (2, 3):
        return None
    floats: FloatArray = np.asarray(values, np.float32)
    bgr = _to_8_bit(floats, _white(float(np.max(floats, initial=0.0, where=np.isfinite(floats))), True))
    return bgr if bgr.ndim == 3 else np.repeat(bgr[..., None], 3, axis=2)


def _tiff_size(data: bytes) -> Optional[Tuple[int, int]]:
    """Width and height from the first directory of a (classic) TIFF file; None if there is none."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order = "<" if data[:2] == b"II" else ">"
    found: Dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(order + "I", data, 4)
        (n_entries,) = struct.unpack_from(order + "H", data, at)
        for i in range(n_entries):
            tag, kind = struct.unpack_from(order + "HH", data, at + 2 + 12 * i)
            (found[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 10 + 12 * i)
    except struct.error:
        return None
    return (found[256], found[257]) if 256 in found and 257 in found else None


def _turned(image: Image, orientation: object) -> Image:
    """The picture upright; `orientation` is EXIF tag 0x0112, 1..8; anything else counts as upright."""
    if orientation in (5, 6, 7, 8):
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation if isinstance(orientation, int) else 1)
    if flip is not None:
        image = np.asarray(cv2.flip(image, flip), np.uint8)
    return np.ascontiguousarray(image)
