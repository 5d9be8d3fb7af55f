"""What ``sonic-edge model list`` and ``check`` print about bundles."""

import argparse
from pathlib import Path
from typing import Any, Dict, List

from ..config import Config, load_config
from ..errors import ConfigError
from ..model.bundle import Bundle
from ..model.store import Entry
from ..model.store.check import CheckedBundle, backends, check_files, listed_files
from ..model.store.place import entries, pick, read_choice, resolve
from ..model.store.unpack import temporary_copy
from .trial import try_isolated


def list_bundles(args: argparse.Namespace) -> int:
    """``model list``."""
    config = load_config(args.config)
    store = Path(config.model.store).absolute()
    try:
        in_use, wrong = resolve(config.model.bundle, store).id, ""
    except ConfigError as e:
        in_use, wrong = "", str(e)
    before = _before(config, store)
    rows = [_row(entry, in_use, before) for entry in entries(store)]
    if args.json:
        import json

        print(json.dumps({"store": str(store), "bundles": rows, "error": wrong}, ensure_ascii=False, indent=2))
    else:
        for row in rows:
            print(_as_line(row))
        if config.model.bundle:
            print(f"{args.config}: model.bundle = {config.model.bundle} decides")
    if wrong:
        raise ConfigError(wrong)
    return 0


def _before(config: Config, store: Path) -> str:
    try:
        return "" if config.model.bundle else read_choice(store).previous or ""
    except ConfigError:
        return ""


def _row(entry: Entry, in_use: str, before: str) -> Dict[str, Any]:
    row: Dict[str, Any] = {
        "id": entry.id,
        "name": entry.name,
        "version": entry.version,
        "sha256": entry.digest,
        "folder": str(entry.folder),
        "in_use": entry.id == in_use,
        "before": entry.id == before,
        "error": entry.error,
    }
    try:
        spec = (bundle := Bundle(entry.folder)).spec
        n_bytes = sum((entry.folder / name).stat().st_size for name in listed_files(bundle))
    except (ConfigError, OSError) as e:
        return {**row, "error": entry.error or str(e)}
    return {**row, "kind": spec.kind, "backends": backends(bundle), "bytes": n_bytes, "licence": spec.licence}


def _as_line(row: Dict[str, Any]) -> str:
    mark = ">" if row["in_use"] else "<" if row["before"] else " "
    if row["error"]:
        return f"{mark} ({row['id']}) DAMAGED: {row['error']}"
    parts = [row["kind"], _list_backends(row["backends"]), f"{row['bytes'] / 1e6:.1f} MB", row["licence"]]
    return f"{mark} {row['name']} {row['version']} ({row['id']}): {', '.join(parts)}"


def _list_backends(backends: Dict[str, List[str]]) -> str:
    return " ".join(f"{name}[{' '.join(socs)}]" if socs else name for name, socs in backends.items())


def check_bundle(args: argparse.Namespace) -> int:
    """``model check``."""
    config = load_config(args.config)
    source = Path(args.bundle)
    if not source.exists():
        try_and_report(check_files(pick(args.bundle, Path(config.model.store).absolute()).folder), config)
        return 0
    with temporary_copy(source) as (folder, ignored):
        try_and_report(check_files(folder), config)
    report_ignored(ignored)
    return 0


def try_and_report(checked: CheckedBundle, config: Config) -> None:
    """Print what an intact bundle is, run it once, and print the result.

    Raises:
        ConfigError, DeviceError: As `try_isolated`.
    """
    report(checked)
    print(try_isolated(checked.bundle.folder, config))


def report(checked: CheckedBundle) -> None:
    """Print what an intact bundle is: name, kind, licence, files, backends."""
    spec = checked.bundle.spec
    print(f"{spec.name} {spec.version}: {spec.kind}, {spec.licence}")
    n_mb = sum(checked.sizes.values()) / 1e6
    print(
        f"{len(checked.sizes)} files, {n_mb:.1f} MB, all hashes match; for {_list_backends(backends(checked.bundle))}"
    )
    report_ignored(checked.unknown)


def report_ignored(names: List[str]) -> None:
    """Print the names of files that no stage uses."""
    for name in names:
        print(f"ignored: {name}: bundle.yaml does not name it")
