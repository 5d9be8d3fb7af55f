"""A bundle with the files of a chip: made beside, proven to be readable, put in place in one go."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Dict, Mapping

import yaml

from sonic_edge.errors import ConfigError
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.store.check import check_files, listed_files


def _version(bundle: Bundle, soc: str, route: str) -> str:
    return f"{bundle.spec.version.partition('+')[0]}+{soc}.{route}"


def check_out(bundle: Bundle, soc: str, route: str, out: Path) -> None:
    """See that a folder may be written before hours of compiling.

    Raises:
        ConfigError: If something is there that is neither `bundle` itself nor an earlier result for this chip.
    """
    if not out.exists() or out.resolve() == bundle.folder.resolve():
        return
    try:
        spec = Bundle(out).spec
    except ConfigError as e:
        raise ConfigError(f"{out}: exists and is not a bundle; remove it, or choose another --out") from e
    if (spec.name, spec.version) != (bundle.spec.name, _version(bundle, soc, route)):
        raise ConfigError(f"{out}: already holds {spec.name} {spec.version}; remove it, or choose another --out")


def write_bundle(bundle: Bundle, made: Mapping[str, Mapping[str, Path]], soc: str, route: str, out: Path) -> None:
    """Write a bundle that has everything `bundle` has, and `made`.

    Args:
        bundle: What was converted.
        made: Stage -> backend -> its new file.
        soc: The chip the files are for.
        route: How they were made; it and the chip go into the version.
        out: A folder that is not there, or has an earlier result (`check_out`); or `bundle`'s own, which is changed.

    Raises:
        ConfigError: If what was written cannot be read.
    """
    described: Dict[str, Any] = yaml.safe_load((bundle.folder / "bundle.yaml").read_text("utf8"))
    described["version"] = _version(bundle, soc, route)
    new: Dict[str, Path] = {}
    for stage, files in made.items():
        for backend, path in files.items():
            name = f"{stage}.{soc}{path.suffix}"
            entry = {"path": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "soc": soc}
            described["stages"][stage]["files"][backend] = entry
            new[name] = path
    kept = {file["path"] for stage in described["stages"].values() for file in stage["files"].values()} - set(new)
    if bundle.spec.reference is not None:
        kept.add(bundle.spec.reference.path)
    text = yaml.safe_dump(described, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    if out.resolve() == bundle.folder.resolve():
        _into(bundle.folder, new, text, kept)
        return
    if (out / "bundle.yaml").is_file() and (out / "bundle.yaml").read_text("utf8") == text:
        check_files(out)
        return
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in kept:
        shutil.copyfile(bundle.folder / name, part / name)
    _into(part, new, text, kept)
    if out.exists():
        shutil.rmtree(out)
    part.rename(out)


def _into(folder: Path, new: Mapping[str, Path], text: str, kept: "set[str]") -> None:
    """New files first, then bundle.yaml in one go, then what nothing names any more goes."""
    for name, path in new.items():
        part = folder / f"{name}.part"
        shutil.copyfile(path, part)
        _sync(part)
        part.rename(folder / name)
    described = folder / "bundle.yaml.part"
    described.write_text(text, "utf8")
    _sync(described)
    before = _named(folder)
    described.rename(folder / "bundle.yaml")
    check_files(folder)
    for name in before - kept - set(new):
        (folder / name).unlink(missing_ok=True)


def _named(folder: Path) -> "set[str]":
    return set(listed_files(Bundle(folder))) if (folder / "bundle.yaml").is_file() else set()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
