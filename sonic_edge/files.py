"""What is asked of a file before anything opens it."""

import hashlib
from pathlib import Path

from .errors import RequestError


def check_file(path: Path, what: str, most_bytes: int) -> None:
    """See that a file is there, holds something, and not too much.

    Args:
        path: The file.
        what: What it should be, for the message: ``a photo``.
        most_bytes: Largest size.

    Raises:
        RequestError: Naming the file, what is wrong with it and what is needed.
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
    """A file's sha256, hexadecimal; of a file of any size, in little memory.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as f:
        for piece in iter(lambda: f.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()
