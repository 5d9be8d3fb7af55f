"""What is written onto a USB stick: videos, and notes that say why there is none."""

import errno
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterator

from ... import disk
from ...errors import DeviceError
from .find import RESULTS

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_MAX_NAME_BYTES = 200  # FAT allows 255 characters, Linux 255 bytes; drafts have slightly longer names
_REFUSED_BY_FAT = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_DRAFT = re.compile(r"\..+\.part")

_ZH = {
    "RequestError": "录音或照片无法使用。请更换录音，或换一张清晰的正面照片，然后重新插入 U 盘。",
    "ConfigError": "任务的设置文件（.yaml）有误。请改正后重新插入 U 盘。",
    "DeviceError": "设备出现故障，请联系管理员。",
}


class Results:
    """The folder for results on a stick, created by the first write.

    Args:
        mount: Where the stick is mounted.
        tick: Called after each chunk that is written.
    """

    def __init__(self, mount: Path, tick: Callable[[], None]) -> None:
        self._mount = mount
        self._tick = tick

    def video(self, name: str, video: Path) -> None:
        """Write a video, unless the stick has one of this name and size already.

        Args:
            name: What the job is called on the stick.
            video: The file in outbox.

        Raises:
            ReadOnlyUsb: If the stick is read-only.
            DeviceError: If the stick is full, broken or pulled out, or the video cannot be read.
        """
        try:
            source = os.open(video, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as e:
            raise DeviceError(f"{video}: cannot be read: {e.strerror}") from e
        with os.fdopen(source, "rb") as file:
            n_bytes = os.fstat(source).st_size
            for tried in disk.numbered(fat_name(name)):
                place = self._mount / RESULTS / f"{tried}.mp4"
                if not disk.exists(place):
                    self._write(place, iter(lambda: file.read(_CHUNK_BYTES), b""))
                    return
                if disk.is_plain(place) and place.lstat().st_size == n_bytes:
                    return

    def failure(self, name: str, error: str, what: str) -> None:
        """Write why there is no video, in Chinese and English.

        Args:
            name: What the job is called on the stick.
            error: The error's class name: ``RequestError`` ...
            what: Why, in words.

        Raises:
            ReadOnlyUsb, DeviceError: As `video`.
        """
        lines = [name, "", "视频未能生成。" + _ZH.get(error, _ZH["DeviceError"]), f"详细信息：{what}", ""]
        lines += ["No video was made.", f"Why: {what}", ""]
        # a byte order mark and CR LF, for Notepad on Windows
        text = "\r\n".join(lines).encode("utf-8-sig", errors="replace")
        place = self._mount / RESULTS / f"{fat_name(name)} 失败 failed.txt"
        with suppress(OSError):
            if disk.is_plain(place) and place.read_bytes() == text:
                return
        self._write(place, iter((text,)))

    def _write(self, place: Path, chunks: Iterator[bytes]) -> None:
        draft = place.with_name(f".{place.name}.part")
        try:
            self._make_folder(place.parent)
            try:
                handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
                with os.fdopen(handle, "wb") as out:
                    for chunk in chunks:
                        out.write(chunk)
                        self._tick()
                    out.flush()
                    os.fsync(handle)
                disk.rename(draft, place)
            except BaseException:
                with suppress(OSError):
                    draft.unlink()
                raise
            disk.sync(place.parent)
        except OSError as e:
            if e.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise ReadOnlyUsb(f"the stick cannot be written to: {e.strerror}") from e
            if e.errno == errno.ENOSPC:
                raise DeviceError(f"{place.name}: the stick is full") from e
            raise DeviceError(f"{place.name}: cannot be written onto the stick: {e.strerror}") from e

    def _make_folder(self, folder: Path) -> None:
        if folder.is_symlink() or (disk.exists(folder) and not folder.is_dir()):
            raise OSError(errno.EACCES, f"{RESULTS} is not a folder")
        if not disk.exists(folder):
            folder.mkdir()
            disk.sync(folder.parent)
        for name in disk.entries(folder):  # left over from when the stick was pulled out
            if _DRAFT.fullmatch(name):
                (folder / name).unlink()


class ReadOnlyUsb(DeviceError):
    """The stick is read-only: results stay in outbox."""


def fat_name(name: str) -> str:
    """A name that FAT, exFAT, NTFS and Windows accept, and that people still recognise."""
    text = _REFUSED_BY_FAT.sub("_", name)
    while len(text.encode(errors="replace")) > _MAX_NAME_BYTES:
        text = text[:-1]
    text = text.rstrip(". ").lstrip(" ")
    if not text or _DEVICES.fullmatch(text):
        text = "_" + text
    return text
