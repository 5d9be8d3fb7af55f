"""Copies a bundle from an untrusted folder or archive, for instance on a USB stick.

Only bundle.yaml, the files it lists and licence texts are copied, each under its plain name into the target folder. An
archive with a path that leads out of it, a link or a device is rejected as a whole.
"""

import contextlib
import gzip
import lzma
import os
import re
import resource
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, List, Tuple

import yaml

from ...errors import ConfigError, DeviceError, RequestError
from ..bundle import Bundle
from .check import DOCUMENT, SPEC, listed_files

MOST_BYTES = 8 << 30
"""Largest bundle, unpacked."""
MOST_FILES = 1000
"""Most files in an archive."""
MOST_SPEC_BYTES = 256 << 10
"""Largest bundle.yaml, and largest licence text."""

_HEADERS_BYTES = 512 << 20  # memory that an archive's headers may use
_PIECE_BYTES = 1 << 20
_MOST_NESTED = 20
_JUNK = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini", re.IGNORECASE)  # left by file managers
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    gzip.BadGzipFile,
    lzma.LZMAError,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
)
"""What the libraries raise for archives that are damaged, encrypted or of an unknown type."""


@dataclass(frozen=True)
class _Member:
    size: int
    open: Callable[[], IO[bytes]]


_Members = Dict[str, _Member]
"""Path, with / as separator -> the file."""


@contextlib.contextmanager
def temporary_copy(source: Path) -> Iterator[Tuple[Path, List[str]]]:
    """A copy of a bundle in a temporary folder that every user may read. Errors name the source, not the copy.

    Yields:
        The folder, and the files of the source that were left out.

    Raises:
        ConfigError, RequestError, DeviceError: As `copy_bundle`.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sonic-edge-model-") as folder:
            target = Path(folder)
            target.chmod(0o755)
            with errors_about(target, source):
                yield target, copy_bundle(source, target)
    except OSError as e:
        raise DeviceError(f"{tempfile.gettempdir()}: {source} cannot be copied there: {e.strerror}") from e


@contextlib.contextmanager
def errors_about(copy: Path, source: Path) -> Iterator[None]:
    """Make errors about a copy name the folder or archive that the user gave."""
    try:
        yield
    except (ConfigError, DeviceError) as e:
        raise type(e)(str(e).replace(str(copy), str(source))) from e


def copy_bundle(source: Path, target: Path) -> List[str]:
    """Copy a bundle's files, durably.

    Args:
        source: The bundle's folder, or an archive of it: .tar, .tar.gz, .zip.
        target: An empty folder.

    Returns:
        Files of the source that were left out.

    Raises:
        ConfigError: If it is not a bundle, is malicious or too large.
        RequestError: If it cannot be read.
        DeviceError: If there is too little space on the target's disk.
        OSError: If the target cannot be written.
    """
    try:
        if source.is_dir():
            return _copy(source, _of_folder(source), target)
        with _limited_memory(), source.open("rb") as file:
            is_zip = file.read(2) == b"PK"
            file.seek(0)
            if is_zip:
                with zipfile.ZipFile(file) as zip:
                    return _copy(source, _of_zip(source, zip), target)
            with tarfile.open(fileobj=file, mode="r:*") as tar:
                return _copy(source, _of_tar(source, tar), target)
    except _BROKEN as e:
        raise _not_unpacked(source, e) from e
    except MemoryError as e:
        raise ConfigError(f"{source}: its list of files takes too much memory; pack only the bundle's files") from e
    except OSError as e:
        if e.errno is None:  # from bz2, for data that it does not understand
            raise _not_unpacked(source, e) from e
        if e.filename is None or str(e.filename).startswith(str(target)):
            raise
        raise RequestError(f"{source}: cannot be read: {e.strerror}") from e


def _not_unpacked(source: Path, error: Exception) -> ConfigError:
    kinds = "a bundle's folder, or a .tar, .tar.gz or .zip of it without a password, is needed"
    return ConfigError(f"{source}: cannot be unpacked: {' '.join(str(error).split())[:200]}; {kinds}")


def _copy(source: Path, members: _Members, target: Path) -> List[str]:
    specs = [path for path in members if path.rpartition("/")[2] == SPEC]
    if len(specs) != 1:
        raise ConfigError(f"{source}: has {len(specs) or 'no'} {SPEC}; a bundle has exactly one")
    folder = specs[0][: -len(SPEC)]
    _write(members[specs[0]], target / SPEC, MOST_SPEC_BYTES, f"{source}: {SPEC}")
    _check_yaml(target / SPEC, source)
    bundle = Bundle(target)
    beside = {p[len(folder) :]: m for p, m in members.items() if p.startswith(folder) and "/" not in p[len(folder) :]}
    texts = {name for name, member in beside.items() if DOCUMENT.fullmatch(name) and member.size <= MOST_SPEC_BYTES}
    wanted = [name for name in beside if name in texts.union(listed_files(bundle)) and name != SPEC]
    needed, free = sum(beside[name].size for name in wanted), shutil.disk_usage(target).free
    if needed > MOST_BYTES:
        raise ConfigError(f"{source}: {needed} bytes; a bundle may have at most {MOST_BYTES}")
    if needed > free:
        raise DeviceError(f"{target.parent}: the bundle needs {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free")
    for name in wanted:
        _write(beside[name], target / name, beside[name].size, f"{source}: {name}")
    return sorted(set(members) - {folder + name for name in [SPEC, *wanted]})


def _write(member: _Member, target: Path, most_bytes: int, what: str) -> None:
    n_bytes = 0
    with member.open() as data, target.open("xb") as file:
        while piece := _piece(data, what):
            n_bytes += len(piece)
            if n_bytes > most_bytes:
                raise ConfigError(f"{what}: is larger than {most_bytes} bytes")
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _piece(data: IO[bytes], what: str) -> bytes:
    try:
        return data.read(_PIECE_BYTES)
    except OSError as e:
        if e.errno is None:
            raise
        raise RequestError(f"{what}: cannot be read: {e.strerror}") from e


def _check_yaml(path: Path, source: Path) -> None:
    """Check YAML before objects are built from it: malicious YAML can take for ever, or all memory."""
    depth = 0
    try:
        for event in yaml.parse(path.read_text(encoding="utf-8")):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_NESTED or isinstance(event, yaml.AliasEvent):
                raise ConfigError(f"{source}: {SPEC}: must not hold YAML aliases or be nested {_MOST_NESTED} deep")
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise ConfigError(f"{source}: {SPEC}: is not YAML: {' '.join(str(e).split())[:300]}") from e


# ---- listing a source ----------------------------------------------------------------------------------------------


def _of_folder(folder: Path) -> _Members:
    members: _Members = {}
    with os.scandir(folder) as found:
        for entry in found:
            if _JUNK.fullmatch(entry.name):
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                members[entry.name] = _Member(status.st_size, lambda path=entry.path: _open_plain(path))  # type: ignore[misc]
            elif not stat.S_ISDIR(status.st_mode):
                raise ConfigError(f"{entry.path}: is a link or a device; a bundle holds plain files")
    return members


def _open_plain(path: str) -> IO[bytes]:
    """Open a file, but not through a link that has replaced it since the check."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _of_tar(source: Path, tar: tarfile.TarFile) -> _Members:
    return _gather(source, _tar_members(source, tar))


def _tar_members(source: Path, tar: tarfile.TarFile) -> Iterator[Tuple[str, bool, _Member]]:
    for info in tar:
        if not (info.isdir() or info.isreg()) or info.issparse():
            raise ConfigError(f"{source}: {_shown(info.name)}: is a link, a device or sparse; pack plain files")
        yield info.name, info.isdir(), _Member(info.size, lambda info=info: _extracted(tar, info))  # type: ignore[misc]


def _extracted(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    data = tar.extractfile(info)
    assert data is not None  # None only for members that are not files
    return data


def _of_zip(source: Path, zip: zipfile.ZipFile) -> _Members:
    return _gather(source, _zip_members(source, zip))


def _zip_members(source: Path, zip: zipfile.ZipFile) -> Iterator[Tuple[str, bool, _Member]]:
    for info in zip.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ConfigError(f"{source}: {_shown(info.filename)}: is a link or a device; pack plain files")
        member = _Member(info.file_size, lambda info=info: zip.open(info))  # type: ignore[misc]
        yield info.filename.replace("\\", "/"), info.is_dir(), member  # some Windows programs write backslashes


def _gather(source: Path, found: Iterator[Tuple[str, bool, _Member]]) -> _Members:
    """The files in an archive, after checking that all of them are harmless."""
    members: _Members = {}
    n_bytes = 0
    for number, (name, is_folder, member) in enumerate(found, 1):
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name):
            raise ConfigError(f"{source}: {_shown(name)}: leads out of the archive, which is rejected")
        n_bytes += member.size
        if number > MOST_FILES or n_bytes > MOST_BYTES or member.size < 0:
            most = f"{MOST_FILES} files and {MOST_BYTES >> 30} GB"
            raise ConfigError(f"{source}: holds more than {most}; pack only the bundle's files")
        path = "/".join(parts)
        if path in members:
            raise ConfigError(f"{source}: holds {_shown(path)} twice")
        if not is_folder and parts and not any(map(_JUNK.fullmatch, parts)):
            members[path] = member
    return members


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:100])


@contextlib.contextmanager
def _limited_memory() -> Iterator[None]:
    """Limit memory while an archive's headers are read: those of a malicious archive could take all there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    most = used + _HEADERS_BYTES
    if soft == resource.RLIM_INFINITY or most < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
