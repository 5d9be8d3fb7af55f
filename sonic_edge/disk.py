"""Files: checks before anything opens them, and the durable steps (write, rename, sync) behind every change on disk."""

import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Iterator, List, Mapping

from .errors import RequestError

# ---- looking -----------------------------------------------------------------------------------------------------


def exists(path: Path) -> bool:
    """Whether anything has that name, even a dangling link."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def is_plain(path: Path) -> bool:
    """Whether it is a regular file, not a link to one, a folder, a pipe..."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def what_is(path: Path) -> str:
    """What kind of thing a path is, if not a regular file, in words."""
    mode = path.lstat().st_mode
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def entries(folder: Path) -> List[str]:
    """The names in a folder; empty if there is no such folder."""
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in found]
    except FileNotFoundError:
        return []


def numbered(name: str) -> Iterator[str]:
    """`name`, `name`-2, `name`-3...: the caller takes the first that is free."""
    yield name
    for n in count(2):
        yield f"{name}-{n}"


# ---- reading -----------------------------------------------------------------------------------------------------


def check_file(path: Path, what: str, most_bytes: int) -> None:
    """Check that a file exists, is not empty and not too large.

    Args:
        path: The file.
        what: What the file should be, for the message: ``a photo``.
        most_bytes: Largest size.

    Raises:
        RequestError: With the file's name, what is wrong with it and what is needed.
    """
    try:
        if not path.is_file():
            raise RequestError(f"{path.name}: {'is a folder' if path.is_dir() else 'is not there'}; {what} is needed")
        n_bytes = path.stat().st_size
    except (OSError, ValueError) as e:
        raise RequestError(f"{path.name}: cannot be read: {e}") from e
    if n_bytes == 0:
        raise RequestError(f"{path.name}: is empty (0 bytes); {what} is needed")
    if n_bytes > most_bytes:
        raise RequestError(f"{path.name}: {n_bytes} bytes; {what} may have at most {most_bytes}")


def sha256_of(path: Path) -> str:
    """A file's sha256, hexadecimal. Memory does not grow with the file.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as f:
        for piece in iter(lambda: f.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


# ---- changing ----------------------------------------------------------------------------------------------------


def rename(source: Path, target: Path) -> None:
    """Rename. Every rename that must be durable goes through here, so that tests can cut the power at each one."""
    source.rename(target)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's list of names, survive a power cut from now on."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(handle)


def write(path: Path, data: bytes) -> None:
    """Replace a file durably: afterwards it holds either all of `data` or what it held before."""
    draft = path.with_name(f".{path.name}.tmp")
    with suppress(FileNotFoundError):
        draft.unlink()
    with draft.open("xb") as file:
        file.write(data)
    sync(draft)
    rename(draft, path)
    sync(path.parent)


def write_json(path: Path, data: Mapping[str, object]) -> None:
    """Write JSON that people can read: Chinese stays readable, bytes that are not UTF-8 become question marks."""
    text = json.dumps(data, ensure_ascii=False, indent=2, default=str) + "\n"
    write(path, text.encode(errors="replace"))


def remove(path: Path) -> None:
    """Remove a folder that is no longer needed; what cannot be removed now is removed at the next start."""
    if exists(path):
        try:
            shutil.rmtree(path, ignore_errors=True)
        except RecursionError:  # folders in folders, a thousand deep
            subprocess.run(["rm", "-rf", "--", str(path)], check=False)
