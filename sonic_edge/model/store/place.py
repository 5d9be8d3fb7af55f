"""Finds bundles: those shipped with the product, those in the store, and the one in use."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional

import yaml

from ...config import Config, share_dir
from ...errors import ConfigError

if TYPE_CHECKING:  # it imports numpy, which the daemon must not load
    from ..bundle import Bundle

DEFAULT = "sonic-net"
"""The shipped bundle that is in use until somebody chooses another."""
SHIPPED = "shipped/"
"""Prefix of the ids of bundles shipped with the product."""
CHOICE = "in-use.json"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where PyYAML has it
_NAME = re.compile(r"\w[\w.+-]{0,39}")
_ID = re.compile(rf"({SHIPPED})?\w[\w.+-]*")


@dataclass(frozen=True)
class Entry:
    """A bundle's folder, as described by its bundle.yaml; its files are not checked."""

    folder: Path
    id: str
    """Unique: the folder's name in the store, ``shipped/<folder>``, or a path."""
    name: str = ""
    version: str = ""
    digest: str = ""
    """sha256 of bundle.yaml."""
    error: str = ""
    """Why the bundle cannot be used; name and version may then be empty."""

    @property
    def is_installed(self) -> bool:
        """Whether it is in the store."""
        return "/" not in self.id

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.id})"


@dataclass(frozen=True)
class Choice:
    """What `sonic-edge model use` chose, by ids."""

    current: str = SHIPPED + DEFAULT
    previous: Optional[str] = None
    """The bundle in use before it; None if there was none."""


def id_of(name: str, version: str, digest: str) -> str:
    """The name of a bundle's folder in the store.

    Raises:
        ConfigError: If name or version is not usable in a folder name.
    """
    for key, value in (("name", name), ("version", version)):
        if not _NAME.fullmatch(value):
            needed = "1 to 40 letters, digits, or . _ + -, the first a letter or a digit"
            raise ConfigError(f"{key} = {value!r}: must be {needed}")
    return f"{name}-{version}-{digest[:8]}"


def look(folder: Path, id: str = "") -> Entry:
    """Describe a folder that should hold a bundle; problems are reported in `Entry.error`.

    Args:
        folder: The folder that should hold bundle.yaml.
        id: Its id; if empty, the folder's path.
    """
    source = folder / "bundle.yaml"
    id = id or str(folder)
    try:
        data = source.read_bytes()
        said = yaml.load(data.decode(), _LOADER)
        name, version = said["name"], said["version"]
    except OSError as e:
        return Entry(folder, id, error=f"{source}: cannot be read: {e.strerror}")
    except (yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError):
        return Entry(folder, id, error=f"{source}: is damaged: it has no name and version")
    digest = hashlib.sha256(data).hexdigest()
    error = ""
    if "/" not in id and not id.endswith(f"-{digest[:8]}"):
        error = f"{source}: is damaged or changed: its sha256 begins with {digest[:8]}, unlike its folder's name"
    return Entry(folder, id, str(name), str(version), digest, error)


def entries(store: Optional[Path]) -> List[Entry]:
    """All bundles, those in the store first.

    Args:
        store: ``model.store``, which need not exist; None: only shipped bundles.

    Raises:
        ConfigError: If the store cannot be read.
    """
    installed = [look(store / name, name) for name in _names(store)] if store is not None else []
    shipped = share_dir() / "bundles"
    there = sorted(path.parent for path in shipped.glob("*/bundle.yaml"))
    return [*installed, *(look(folder, SHIPPED + folder.name) for folder in there)]


def _names(store: Path) -> List[str]:
    try:
        with os.scandir(store) as found:
            return sorted(e.name for e in found if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as e:
        raise ConfigError(f"model.store = {store}: cannot be read: {e.strerror}") from e


def matching(word: str, among: List[Entry]) -> List[Entry]:
    """The bundles that ``NAME``, ``NAME@VERSION`` or an id can refer to; installed ones before shipped ones."""
    exact = [entry for entry in among if entry.id == word]
    if exact:
        return exact
    name, _, version = word.partition("@")
    named = [e for e in among if e.name == name and version in ("", e.version) and not e.error]
    return [entry for entry in named if entry.is_installed] or named


def pick(word: str, store: Optional[Path]) -> Entry:
    """The one bundle that a name, name@version or id refers to.

    Raises:
        ConfigError: If there is none or more than one, or it is damaged.
    """
    among = entries(store)
    found = matching(word, among)
    if not found:
        there = ", ".join(entry.id for entry in among) or "none"
        raise ConfigError(f"{word}: no such bundle in {store or share_dir() / 'bundles'}; there: {there}")
    if len(found) > 1:
        raise ConfigError(f"{word}: matches {', '.join(entry.id for entry in found)}; write the id of one")
    return _undamaged(found[0])


def _undamaged(entry: Entry) -> Entry:
    if entry.error:
        raise ConfigError(entry.error)
    return entry


def read_choice(store: Path) -> Choice:
    """Which bundle is in use, and which was before.

    Raises:
        ConfigError: If the file cannot be read.
    """
    source = store / CHOICE
    try:
        said = json.loads(source.read_bytes())
        choice = Choice(said["current"], said["previous"])
        if not all(_ID.fullmatch(id) for id in (choice.current, choice.previous or choice.current)):
            raise ValueError(choice)
    except FileNotFoundError:
        return Choice()
    except OSError as e:
        raise ConfigError(f"{source}: cannot be read: {e.strerror}") from e
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise ConfigError(f"{source}: is damaged; `sonic-edge model use NAME` writes a new one") from e
    return choice


def by_id(id: str, store: Path) -> Entry:
    """The bundle with an id, damaged or not."""
    folder = share_dir() / "bundles" / id[len(SHIPPED) :] if id.startswith(SHIPPED) else store / id
    return look(folder, id)


def resolve(word: str, store: Optional[Path]) -> Entry:
    """The bundle that the settings select.

    Args:
        word: ``model.bundle``: empty, a name, name@version, an id or a path.
        store: ``model.store``; None: only shipped bundles, and paths.

    Raises:
        ConfigError: If there is none, or it is damaged; the message says what to do.
    """
    if not word:
        entry = by_id(Choice().current if store is None else read_choice(store).current, store or Path())
        if entry.error and store is not None:
            raise ConfigError(f"{entry.error}; {remedy_for(entry.folder, store)}")
        return _undamaged(entry)
    if "/" not in word or word.startswith(SHIPPED):
        try:
            return pick(word, store)
        except ConfigError as e:
            if not (Path(word) / "bundle.yaml").is_file():
                raise ConfigError(f"model.bundle = {e}") from e
    folder = Path(word).absolute()
    if not (folder / "bundle.yaml").is_file():
        raise ConfigError(f"model.bundle = {word}: there is no bundle.yaml in this folder")
    return _undamaged(look(folder))


def remedy_for(folder: Path, store: Path) -> str:
    """What to do about a damaged bundle, as text for a message.

    Args:
        folder: The bundle's folder.
        store: ``model.store``.
    """
    try:
        choice = read_choice(store)
    except ConfigError:
        choice = Choice(current="")
    if by_id(choice.current, store).folder != folder:
        return "restore the bundle's file (install it again), or correct model.bundle"
    if choice.previous is None:
        return "install it again, or choose another one: `sonic-edge model list`, `sonic-edge model use NAME`"
    return f"`sonic-edge model rollback` goes back to {choice.previous}, which was in use before"


def pinned(config: Config) -> Config:
    """The settings with ``model.bundle`` replaced by the folder's path, so that a later choice does not affect them.

    Raises:
        ConfigError: As `resolve`.
    """
    settings = config.model
    folder = resolve(settings.bundle, Path(settings.store).absolute()).folder
    return config.model_copy(update={"model": settings.model_copy(update={"bundle": str(folder)})})


def find_bundle(word: str = "", store: Optional[Path] = None) -> "Bundle":
    """Open the bundle that the settings select: see `resolve`.

    Raises:
        ConfigError: If there is none, or it is invalid.
    """
    from ..bundle import Bundle

    return Bundle(resolve(word, store).folder)
