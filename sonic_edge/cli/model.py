"""``sonic-edge model``: list, check, install and choose model bundles."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .options import Commands, add_command, run_folder

if TYPE_CHECKING:
    from ..config import Config
    from ..model.store import Entry
    from ..model.store.check import CheckedBundle


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.add_parser(
        "model",
        help="check, install and choose model bundles",
        description="Model bundles: those that come with Sonic Edge, and your own, which an upgrade leaves alone.",
    )
    parts = group.add_subparsers(required=True, metavar="WHAT")
    add_command(
        parts,
        "list",
        _list,
        "list the bundles on this box",
        "List the bundles on this box; > marks the one in use, < the one that was in use before it.",
    ).add_argument("--json", action="store_true", help="print all details as JSON")
    check = add_command(
        parts,
        "check",
        _check,
        "check that a bundle is intact and runs",
        "Check every file of a bundle, for every backend, and run the model once on the configured backend.",
    )
    check.add_argument("bundle", metavar="BUNDLE", help="its folder, an archive (.tar, .tar.gz, .zip), or a name")
    install = add_command(
        parts,
        "install",
        _install,
        "keep a bundle on this box",
        "Check a bundle as `check` does and copy it into model.store. It runs only after `use` has chosen it.",
    )
    install.add_argument("path", type=Path, metavar="PATH", help="its folder or an archive (.tar, .tar.gz, .zip)")
    for name, do, summary, description in (
        (
            "use",
            _use,
            "choose the bundle that runs",
            "Check a bundle, choose it, and make the running daemon switch to it.",
        ),
        ("remove", _remove, "delete a bundle", "Delete an installed bundle, unless it is in use or was in use before."),
    ):
        parser = add_command(parts, name, do, summary, description)
        parser.add_argument("name", metavar="NAME[@VERSION]", help="as `list` prints it, or the id in brackets there")
    add_command(
        parts,
        "rollback",
        _rollback,
        "go back to the previous bundle",
        "Check the bundle that was in use before, choose it, and make the running daemon switch to it. A second "
        "rollback switches forward again.",
    )


def _list(args: argparse.Namespace) -> int:
    from .bundles import list_bundles

    return list_bundles(args)


def _check(args: argparse.Namespace) -> int:
    from .bundles import check_bundle

    return check_bundle(args)


def _store(args: argparse.Namespace, config: "Config") -> Path:
    """The folder in which the choice of a bundle is kept.

    Raises:
        ConfigError: If the settings name a bundle: then choosing one would have no effect, and must not seem to.
    """
    if config.model.bundle:
        raise ConfigError(
            f"{args.config}: model.bundle = {config.model.bundle}: these settings decide which bundle runs, so "
            "choosing one has no effect; name the bundle there, or make it empty: bundle: ''"
        )
    return Path(config.model.store).absolute()


def _install(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..model.store.change import install
    from .bundles import report, report_ignored, try_and_report

    config = load_config(args.config)
    store, word, backend = Path(config.model.store).absolute(), config.model.bundle, config.model.backend

    def trial(checked: "CheckedBundle") -> None:
        if all(backend in stage.files for stage in checked.bundle.spec.stages.values()):
            try_and_report(checked, config)
            return
        report(checked)  # it may be installed before the settings name the backend it is for
        print(f"NOT RUN: it has no files for model.backend = {backend}; `use` refuses it until that setting is changed")

    entry, is_new, ignored = install(store, args.path, word, trial)
    report_ignored(ignored)
    how = "installed" if is_new else "was installed already"
    print(f"{entry}: {how}; `sonic-edge model use {entry.id}` chooses it")
    return 0


def _use(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..model.store.change import use
    from .bundles import try_and_report
    from .switch import switch_daemon

    config = load_config(args.config)
    entry, is_new = use(_store(args, config), args.name, lambda checked: try_and_report(checked, config))
    print(f"{entry}: {'in use from now on' if is_new else 'was in use already'}")
    print(switch_daemon(run_folder(args.config), entry, config))
    return 0


def _rollback(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..model.store.change import rollback
    from .bundles import try_and_report
    from .switch import switch_daemon

    config = load_config(args.config)
    entry = rollback(_store(args, config), lambda checked: try_and_report(checked, config))
    print(f"{entry}: in use again")
    print(switch_daemon(run_folder(args.config), entry, config))
    return 0


def _remove(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..model.store.change import remove
    from ..model.store.place import resolve
    from .switch import used_by_daemon

    config = load_config(args.config)
    store = Path(config.model.store).absolute()

    def why_in_use(entry: "Entry") -> str:
        if config.model.bundle and resolve(config.model.bundle, store).id == entry.id:
            return f"model.bundle = {config.model.bundle} in the settings names it"
        return used_by_daemon(run_folder(args.config), entry)

    print(f"{remove(store, args.name, why_in_use).id}: removed")
    return 0
