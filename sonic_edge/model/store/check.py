"""Checks every file of a bundle, for every backend, against bundle.yaml."""

import re
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Set

from ...errors import ConfigError
from ..bundle import Bundle
from .place import id_of

SPEC = "bundle.yaml"
DOCUMENT = re.compile(r"(licen[cs]e|notice|copying|readme)[\w.-]*", re.IGNORECASE)
"""Files that are kept with a bundle although bundle.yaml does not list them."""


@dataclass(frozen=True)
class CheckedBundle:
    """A bundle whose files all match their hashes."""

    bundle: Bundle
    sizes: Dict[str, int]
    """File name -> size in bytes, including bundle.yaml."""
    unknown: List[str]
    """Other files in the folder, which are not part of the bundle."""


def backends(bundle: Bundle) -> Dict[str, List[str]]:
    """Backend -> the chips its files were compiled for; an empty list: any chip."""
    found: Dict[str, Set[str]] = {}
    for stage in bundle.spec.stages.values():
        for backend, file in stage.files.items():
            found.setdefault(backend, set()).update([file.soc] if file.soc else [])
    return {backend: sorted(found[backend]) for backend in sorted(found)}


def listed_files(bundle: Bundle) -> List[str]:
    """The files that bundle.yaml lists, each once."""
    files = {file.path for stage in bundle.spec.stages.values() for file in stage.files.values()}
    if bundle.spec.reference is not None:
        files.add(bundle.spec.reference.path)
    return sorted(files)


def _path(bundle: Bundle, stage: str, backend: str) -> Path:
    return bundle.stage(stage, backend).path


def _files(bundle: Bundle) -> Iterator[Callable[[], Path]]:
    """For each file of a bundle, a function that returns its path after checking its hash."""
    for name, stage in bundle.spec.stages.items():
        for backend in stage.files:
            yield partial(_path, bundle, name, backend)
    if bundle.spec.reference is not None:
        yield bundle.reference


def check_files(folder: Path) -> CheckedBundle:
    """Check every file of a bundle.

    Raises:
        ConfigError: Lists every problem, one per line.
    """
    bundle = Bundle(folder)
    wrong: List[str] = []
    try:
        id_of(bundle.spec.name, bundle.spec.version, "")
    except ConfigError as e:
        wrong.append(f"{folder / SPEC}: {e}")
    sizes = {SPEC: (folder / SPEC).stat().st_size}
    for name, stage in bundle.spec.stages.items():
        if not stage.files:
            wrong.append(f"{folder / SPEC}: stages.{name}.files: lists no file")
    for find in _files(bundle):
        try:
            path = find()
        except ConfigError as e:
            wrong += [line for line in str(e).splitlines() if line not in wrong]
            continue
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            wrong.append(f"{path}: is a link; a plain file is needed")
        elif status.st_size == 0:
            wrong.append(f"{path}: is empty")
        sizes[path.name] = status.st_size
    if wrong:
        raise ConfigError("\n".join(wrong))
    known = {*listed_files(bundle), SPEC}
    unknown = sorted(p.name for p in folder.iterdir() if p.name not in known and not DOCUMENT.fullmatch(p.name))
    return CheckedBundle(bundle, sizes, unknown)
