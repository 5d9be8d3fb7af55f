"""Takes a bundle out of a folder or an archive as people carry them on a USB stick, and trusts neither.

Nothing is written but bundle.yaml, the files it names and what tells of licences; each under its own plain name in the
folder that is given. An archive that holds a path out of itself, a link or a device is refused whole.
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
from .check import DOCUMENT, SPEC, named

MOST_BYTES = 8 << 30
"""Of a whole bundle, unpacked."""
MOST_FILES = 1000
"""In an archive."""
MOST_SPEC_BYTES = 256 << 10
"""Of bundle.yaml, and of each text about licences."""

_HEADERS_BYTES = 512 << 20  # memory that the headers of an archive may take
_PIECE_BYTES = 1 << 20
_DEEPEST = 20
_LITTER = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini", re.IGNORECASE)  # of people's file managers
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
"""What the libraries say of archives that are damaged, encrypted or of a kind they do not know."""


@dataclass(frozen=True)
class _Member:
    size: int
    open: Callable[[], IO[bytes]]


_Members = Dict[str, _Member]
"""Path, its parts joined by /, -> what lies there."""


@contextlib.contextmanager
def taken(source: Path) -> Iterator[Tuple[Path, List[str]]]:
    """A copy of a bundle in a folder for a while, which everybody may read; errors name what it is a copy of.

    Yields:
        The folder, and what else the source holds.

    Raises:
        ConfigError, RequestError, DeviceError: As `take`.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="sonic-edge-model-") as folder:
            target = Path(folder)
            target.chmod(0o755)
            with told_as(target, source):
                yield target, take(source, target)
    except OSError as e:
        raise DeviceError(f"{tempfile.gettempdir()}: {source} cannot be copied there: {e.strerror}") from e


@contextlib.contextmanager
def told_as(copy: Path, source: Path) -> Iterator[None]:
    """Errors about a copy name the folder or archive that a person knows."""
    try:
        yield
    except (ConfigError, DeviceError) as e:
        raise type(e)(str(e).replace(str(copy), str(source))) from e


def take(source: Path, target: Path) -> List[str]:
    """Copy a bundle's files, durably.

    Args:
        source: Its folder; or an archive with it: .tar, .tar.gz, .zip.
        target: An empty folder.

    Returns:
        What else the source holds, and was left where it is.

    Raises:
        ConfigError: If it is no bundle, an attack, or too much.
        RequestError: If it cannot be read.
        DeviceError: If the target's disk is too small.
        OSError: If the target cannot be written.
    """
    try:
        if source.is_dir():
            return _copy(source, _of_folder(source), target)
        with _little_memory(), source.open("rb") as file:
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
        raise ConfigError(f"{source}: its list of files takes too much memory; pack the bundle's files alone") from e
    except OSError as e:
        if e.errno is None:  # bz2 says so of what it does not understand
            raise _not_unpacked(source, e) from e
        if e.filename is None or str(e.filename).startswith(str(target)):
            raise
        raise RequestError(f"{source}: cannot be read: {e.strerror}") from e


def _not_unpacked(source: Path, error: Exception) -> ConfigError:
    kinds = "a bundle's folder, or it packed as .tar, .tar.gz or .zip, without a password, is needed"
    return ConfigError(f"{source}: cannot be unpacked: {' '.join(str(error).split())[:200]}; {kinds}")


def _copy(source: Path, members: _Members, target: Path) -> List[str]:
    specs = [path for path in members if path.rpartition("/")[2] == SPEC]
    if len(specs) != 1:
        raise ConfigError(f"{source}: has {len(specs) or 'no'} {SPEC}; a bundle has one")
    folder = specs[0][: -len(SPEC)]
    _write(members[specs[0]], target / SPEC, MOST_SPEC_BYTES, f"{source}: {SPEC}")
    _check_yaml(target / SPEC, source)
    bundle = Bundle(target)
    beside = {p[len(folder) :]: m for p, m in members.items() if p.startswith(folder) and "/" not in p[len(folder) :]}
    texts = {name for name, member in beside.items() if DOCUMENT.fullmatch(name) and member.size <= MOST_SPEC_BYTES}
    wanted = [name for name in beside if name in texts.union(named(bundle)) and name != SPEC]
    needed, free = sum(beside[name].size for name in wanted), shutil.disk_usage(target).free
    if needed > MOST_BYTES:
        raise ConfigError(f"{source}: {needed} bytes; a bundle may have at most {MOST_BYTES}")
    if needed > free:
        raise DeviceError(f"{target.parent}: the bundle takes {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free")
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
    """Before anything is built of it: some YAML takes for ever, or all memory."""
    depth = 0
    try:
        for event in yaml.parse(path.read_text(encoding="utf-8")):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
                raise ConfigError(f"{source}: {SPEC}: must not hold YAML aliases or be nested {_DEEPEST} deep")
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise ConfigError(f"{source}: {SPEC}: is not YAML: {' '.join(str(e).split())[:300]}") from e


# ---- what there is -------------------------------------------------------------------------------------------------


def _of_folder(folder: Path) -> _Members:
    members: _Members = {}
    with os.scandir(folder) as found:
        for entry in found:
            if _LITTER.fullmatch(entry.name):
                continue
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                members[entry.name] = _Member(status.st_size, lambda path=entry.path: _open_plain(path))  # type: ignore[misc]
            elif not stat.S_ISDIR(status.st_mode):
                raise ConfigError(f"{entry.path}: is a link or a device; a bundle holds plain files")
    return members


def _open_plain(path: str) -> IO[bytes]:
    """Not through a link that was put there since."""
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
    assert data is not None  # only of what is no file
    return data


def _of_zip(source: Path, zip: zipfile.ZipFile) -> _Members:
    return _gather(source, _zip_members(source, zip))


def _zip_members(source: Path, zip: zipfile.ZipFile) -> Iterator[Tuple[str, bool, _Member]]:
    for info in zip.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ConfigError(f"{source}: {_shown(info.filename)}: is a link or a device; pack plain files")
        member = _Member(info.file_size, lambda info=info: zip.open(info))  # type: ignore[misc]
        yield info.filename.replace("\\", "/"), info.is_dir(), member  # some programs on Windows write it so


def _gather(source: Path, found: Iterator[Tuple[str, bool, _Member]]) -> _Members:
    """What an archive holds, if all of it is harmless."""
    members: _Members = {}
    n_bytes = 0
    for number, (name, is_folder, member) in enumerate(found, 1):
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name):
            raise ConfigError(f"{source}: {_shown(name)}: leads out of the archive; it is refused")
        n_bytes += member.size
        if number > MOST_FILES or n_bytes > MOST_BYTES or member.size < 0:
            most = f"{MOST_FILES} files and {MOST_BYTES >> 30} GB"
            raise ConfigError(f"{source}: holds more than {most}; pack the bundle's files alone")
        path = "/".join(parts)
        if path in members:
            raise ConfigError(f"{source}: holds {_shown(path)} twice")
        if not is_folder and parts and not any(map(_LITTER.fullmatch, parts)):
            members[path] = member
    return members


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:100])


@contextlib.contextmanager
def _little_memory() -> Iterator[None]:
    """Headers are read whole, and those of a made-up archive could take all there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    most = used + _HEADERS_BYTES
    if soft == resource.RLIM_INFINITY or most < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
