"""Changes to the store: one process at a time, each change atomic even at a power cut (draft, sync, rename)."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Callable, Iterator, List, Tuple

from ... import disk
from ...errors import ConfigError, DeviceError, RequestError
from .check import CheckedBundle, check_files
from .place import CHOICE, Choice, Entry, by_id, entries, id_of, look, matching, pick, read_choice
from .unpack import copy_bundle, errors_about

Trial = Callable[[CheckedBundle], None]
"""Runs a bundle once; raises if something is wrong with it."""

_DRAFT = ".part-"


def install(store: Path, source: Path, word: str, trial: Trial) -> Tuple[Entry, bool, List[str]]:
    """Install a bundle in the store, completely or not at all.

    Args:
        store: ``model.store``; created if missing.
        source: The bundle's folder, or an archive of it.
        word: ``model.bundle``; installing must not change which bundle it selects.
        trial: Runs the bundle before it enters the store.

    Returns:
        The installed bundle; whether it is new to the store; files of the source that were left out.

    Raises:
        ConfigError: If the bundle is invalid, or the settings would select another bundle afterwards.
        RequestError: If this user may not change the store, or the source cannot be read.
        DeviceError: If the disk fails or is full, or another process is changing the store.
    """
    with _changing(store, make=True):
        draft = store / f"{_DRAFT}{secrets.token_hex(4)}"
        draft.mkdir()
        try:
            with errors_about(draft, source):
                left_out = copy_bundle(source, draft)
                checked = check_files(draft)
                entry = look(draft)
                new = look(store / id_of(entry.name, entry.version, entry.digest))
                there = disk.exists(new.folder)
                if not there:
                    _refuse_if_named(word, entry, store)
                trial(checked)
            disk.sync(draft)
            if there:
                _repair(draft, new.folder, checked)
            else:
                disk.rename(draft, new.folder)
                disk.sync(store)
        finally:
            disk.remove(draft)
        return look(new.folder, new.folder.name), not there, left_out


def _refuse_if_named(word: str, new: Entry, store: Path) -> None:
    """Installing must not change what runs: the settings may name a bundle without its version."""
    before = matching(word, entries(store)) if word else []
    name, _, version = word.partition("@")
    if before and new.name == name and version in ("", new.version):
        raise ConfigError(
            f"model.bundle = {word} in the settings means {before[0].id} now, but would then also match this one; set "
            f"model.bundle: {before[0].id} first, or leave it empty and choose with `sonic-edge model use`"
        )


def _repair(draft: Path, folder: Path, checked: CheckedBundle) -> None:
    """If a bundle that is already installed is damaged, replace each of its files by the intact one."""
    try:
        if not look(folder, folder.name).error and check_files(folder).sizes == checked.sizes:
            return
    except ConfigError:
        pass
    for name in checked.sizes:
        disk.rename(draft / name, folder / name)
    disk.sync(folder)


def use(store: Path, word: str, trial: Trial) -> Tuple[Entry, bool]:
    """Choose the bundle to use; the one in use until now is kept for `rollback`.

    Args:
        store: ``model.store``; created if missing.
        word: A name, name@version or id.
        trial: Runs the bundle first.

    Returns:
        The bundle; whether another one was in use before.

    Raises:
        ConfigError, RequestError, DeviceError: As `install`; ConfigError also if there is no such bundle.
    """
    with _changing(store, make=True):
        entry = pick(word, store)
        trial(check_files(entry.folder))
        try:
            choice = read_choice(store)
        except ConfigError:  # damaged: the earlier choice is lost
            choice = Choice(current="", previous=None)
        is_new = choice.current != entry.id
        if is_new:
            _choose(store, Choice(entry.id, choice.current or None))
        return entry, is_new


def rollback(store: Path, trial: Trial) -> Entry:
    """Choose the bundle that was in use before; a second call switches forward again.

    Raises:
        ConfigError, RequestError, DeviceError: As `use`; RequestError also if no bundle was in use before.
    """
    with _changing(store):
        choice = read_choice(store)
        if choice.previous is None:
            raise RequestError(
                f"{store}: no bundle was in use before {choice.current}; `sonic-edge model list` lists all"
            )
        entry = by_id(choice.previous, store)
        if entry.error:
            raise ConfigError(f"{entry.error}; `sonic-edge model use NAME` chooses another one")
        trial(check_files(entry.folder))
        _choose(store, Choice(choice.previous, choice.current))
        return entry


def remove(store: Path, word: str, why_needed: Callable[[Entry], str]) -> Entry:
    """Remove a bundle from the store.

    Args:
        store: ``model.store``.
        word: A name, name@version or id.
        why_needed: Returns why a bundle is needed even if it is not the chosen one; empty if it is not needed.

    Raises:
        RequestError: If there is no such bundle, or it is still needed.
        ConfigError, DeviceError: As `install`.
    """
    with _changing(store):
        installed = [entry for entry in entries(store) if entry.is_installed]
        found = matching(word, installed)
        if len(found) != 1:
            there = ", ".join(entry.id for entry in found or installed) or "none"
            raise RequestError(f"{word}: names {len(found) or 'no'} bundles of {store}; there: {there}")
        choice = read_choice(store)
        why = {choice.current: "is in use", choice.previous: "is kept for `sonic-edge model rollback`"}
        needed = why.get(found[0].id, "") or why_needed(found[0])
        if needed:
            raise RequestError(f"{found[0].id}: {needed}; choose another one first (`sonic-edge model use`)")
        trash = store / f"{_DRAFT}{secrets.token_hex(4)}"
        disk.rename(found[0].folder, trash)
        disk.sync(store)
        disk.remove(trash)
        return found[0]


def _choose(store: Path, choice: Choice) -> None:
    disk.write(store / CHOICE, json.dumps({"current": choice.current, "previous": choice.previous}).encode() + b"\n")


@contextlib.contextmanager
def _changing(store: Path, make: bool = False) -> Iterator[None]:
    """Lock the store for a change, remove leftovers of a crash, and make new files readable by all users.

    Raises:
        RequestError: If this user may not change the store.
        DeviceError: If another process is changing it, or the disk fails.
    """
    umask = os.umask(0o022)  # the daemon runs as another user
    try:
        if make and not store.is_dir():
            store.mkdir(parents=True)
            disk.sync(store.parent)
        with _locked(store):
            for name in disk.entries(store):
                if name.startswith(_DRAFT):
                    disk.remove(store / name)
            yield
    except OSError as e:
        what = f"model.store = {store}: cannot be changed"
        if e.errno in (errno.EACCES, errno.EPERM):
            raise RequestError(f"{what}: this user may not write there; do it as root (sudo)") from e
        if e.errno == errno.ENOENT:
            raise RequestError(f"{what}: {e.filename} does not exist; nothing has been installed or chosen yet") from e
        full = "; free some space and try again" if e.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise DeviceError(f"{what}: {e.strerror}{full}") from e
    finally:
        os.umask(umask)


@contextlib.contextmanager
def _locked(store: Path) -> Iterator[None]:
    handle = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise DeviceError(f"{store}: another `sonic-edge model` is changing it; try again when that is done") from e
        yield
    finally:
        os.close(handle)
