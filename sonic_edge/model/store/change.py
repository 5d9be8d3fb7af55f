"""Changes the store, one process at a time, in steps that a power cut cannot halve: written aside, synced, renamed."""

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
from .check import Checked, check_files
from .place import CHOICE, Choice, Entry, by_id, entries, id_of, look, matching, pick, read_choice
from .unpack import take, told_as

Trial = Callable[[Checked], None]
"""Runs a bundle once; raises what is wrong with it."""

_DRAFT = ".part-"


def install(store: Path, source: Path, word: str, trial: Trial) -> Tuple[Entry, bool, List[str]]:
    """Take a bundle into the store, whole or not at all.

    Args:
        store: ``model.store``; made when missing.
        source: Its folder or an archive with it.
        word: ``model.bundle``, which must not come to mean something else by it.
        trial: Runs it, before it is in the store.

    Returns:
        What it is now; whether it was not there before; what else the source holds and was left out.

    Raises:
        ConfigError: If it is wrong in itself, or the settings would mean another bundle afterwards.
        RequestError: If this user may not change the store, or the source cannot be read.
        DeviceError: If the disk fails, is too small, or the store is being changed.
    """
    with _changing(store, make=True):
        draft = store / f"{_DRAFT}{secrets.token_hex(4)}"
        draft.mkdir()
        try:
            with told_as(draft, source):
                left_out = take(source, draft)
                checked = check_files(draft)
                entry = look(draft)
                new = look(store / id_of(entry.name, entry.version, entry.digest))
                there = disk.exists(new.folder)
                if not there:
                    _refuse_if_named(word, entry, store)
                trial(checked)
            disk.sync(draft)
            if there:
                _mend(draft, new.folder, checked)
            else:
                disk.rename(draft, new.folder)
                disk.sync(store)
        finally:
            disk.remove(draft)
        return look(new.folder, new.folder.name), not there, left_out


def _refuse_if_named(word: str, new: Entry, store: Path) -> None:
    """Installing must not change what runs: the settings may name a bundle without saying which of that name."""
    before = matching(word, entries(store)) if word else []
    name, _, version = word.partition("@")
    if before and new.name == name and version in ("", new.version):
        raise ConfigError(
            f"model.bundle = {word} in the settings means {before[0].id} now, and could then mean this one; write "
            f"model.bundle: {before[0].id} first, or leave it empty and choose with `sonic-edge model use`"
        )


def _mend(draft: Path, folder: Path, checked: Checked) -> None:
    """It is there already, and perhaps damaged: each file is replaced by the same one, whole."""
    try:
        if not look(folder, folder.name).error and check_files(folder).sizes == checked.sizes:
            return
    except ConfigError:
        pass
    for name in checked.sizes:
        disk.rename(draft / name, folder / name)
    disk.sync(folder)


def use(store: Path, word: str, trial: Trial) -> Tuple[Entry, bool]:
    """Choose the bundle that runs; the one in use until now stays for `rollback`.

    Args:
        store: ``model.store``; made when missing.
        word: A name, name@version or id.
        trial: Runs it first.

    Returns:
        The bundle; whether another one was in use.

    Raises:
        ConfigError, RequestError, DeviceError: As `install`; and if there is no such bundle.
    """
    with _changing(store, make=True):
        entry = pick(word, store)
        trial(check_files(entry.folder))
        try:
            choice = read_choice(store)
        except ConfigError:  # damaged; what it said is not known any more
            choice = Choice(current="", previous=None)
        is_new = choice.current != entry.id
        if is_new:
            _choose(store, Choice(entry.id, choice.current or None))
        return entry, is_new


def rollback(store: Path, trial: Trial) -> Entry:
    """Choose the bundle that was in use before; done again, it goes forth again.

    Raises:
        ConfigError, RequestError, DeviceError: As `use`; and if there was none.
    """
    with _changing(store):
        choice = read_choice(store)
        if choice.previous is None:
            raise RequestError(
                f"{store}: no bundle was in use before {choice.current}; `sonic-edge model list` lists all"
            )
        entry = by_id(choice.previous, store)
        if entry.error:
            raise ConfigError(f"{entry.error}; `sonic-edge model use NAME` takes another one")
        trial(check_files(entry.folder))
        _choose(store, Choice(choice.previous, choice.current))
        return entry


def remove(store: Path, word: str, held: Callable[[Entry], str]) -> Entry:
    """Take a bundle out of the store.

    Args:
        store: ``model.store``.
        word: A name, name@version or id.
        held: Why a bundle is needed, beyond being chosen; empty if it is not.

    Raises:
        RequestError: If there is no such bundle, or it is needed.
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
        needed = why.get(found[0].id, "") or held(found[0])
        if needed:
            raise RequestError(f"{found[0].id}: {needed}; choose another one first (`sonic-edge model use`)")
        grave = store / f"{_DRAFT}{secrets.token_hex(4)}"
        disk.rename(found[0].folder, grave)
        disk.sync(store)
        disk.remove(grave)
        return found[0]


def _choose(store: Path, choice: Choice) -> None:
    disk.write(store / CHOICE, json.dumps({"current": choice.current, "previous": choice.previous}).encode() + b"\n")


@contextlib.contextmanager
def _changing(store: Path, make: bool = False) -> Iterator[None]:
    """Hold the store, everything in it readable by all; what a crash left is taken away.

    Raises:
        RequestError: If this user may not.
        DeviceError: If somebody else does, or the disk fails.
    """
    umask = os.umask(0o022)  # the daemon's user reads it
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
            raise RequestError(f"{what}: {e.filename} is not there; nothing was ever installed or chosen") from e
        full = "; make room and try again" if e.errno in (errno.ENOSPC, errno.EDQUOT) else ""
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
            raise DeviceError(f"{store}: another `sonic-edge model` is at work here; try again when it is done") from e
        yield
    finally:
        os.close(handle)
