"""``sonic-edge model``: which bundle runs, and others beside it."""

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
        description="Model bundles: those that come with the product, and an operator's own, which stay when the "
        "product is upgraded.",
    )
    parts = group.add_subparsers(required=True, metavar="WHAT")
    add_command(
        parts,
        "list",
        _list,
        "the bundles that are there",
        "List bundles; > marks the one in use, < the one before it.",
    ).add_argument("--json", action="store_true", help="everything, for programs")
    check = add_command(
        parts,
        "check",
        _check,
        "see whether a bundle is whole and runs",
        "Look at every file of a bundle, for every backend, and run it once on the configured one.",
    )
    check.add_argument("bundle", metavar="BUNDLE", help="its folder, an archive (.tar, .tar.gz, .zip), or a name")
    install = add_command(
        parts,
        "install",
        _install,
        "keep a bundle on this box",
        "Check a bundle as `check` does and copy it into model.store. It runs once it is chosen with `use`.",
    )
    install.add_argument("path", type=Path, metavar="PATH", help="its folder or an archive (.tar, .tar.gz, .zip)")
    for name, do, summary, description in (
        ("use", _use, "choose the bundle that runs", "Check a bundle, choose it, and have the running daemon take it."),
        ("remove", _remove, "take a bundle away", "Take an installed bundle away: not the one in use or before it."),
    ):
        parser = add_command(parts, name, do, summary, description)
        parser.add_argument("name", metavar="NAME[@VERSION]", help="as `list` has it, or what stands there in brackets")
    add_command(
        parts,
        "rollback",
        _rollback,
        "go back to the bundle before",
        "Check the bundle that was in use before, choose it, and have the running daemon take it. Done again, it goes "
        "forth again.",
    )


def _list(args: argparse.Namespace) -> int:
    from .bundles import list_bundles

    return list_bundles(args)


def _check(args: argparse.Namespace) -> int:
    from .bundles import check_bundle

    return check_bundle(args)


def _store(args: argparse.Namespace, config: "Config") -> Path:
    """Where bundles are chosen.

    Raises:
        ConfigError: If the settings name a bundle: choosing must not seem to work when it has no effect.
    """
    if config.model.bundle:
        raise ConfigError(
            f"{args.config}: model.bundle = {config.model.bundle}: these settings decide which bundle runs, so that "
            "choosing one has no effect; name the other one there, or make it empty: bundle: ''"
        )
    return Path(config.model.store).absolute()


def _install(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..model.store.change import install
    from .bundles import tell, tell_left_out, try_and_tell

    config = load_config(args.config)
    store, word, backend = Path(config.model.store).absolute(), config.model.bundle, config.model.backend

    def trial(checked: "CheckedBundle") -> None:
        if all(backend in stage.files for stage in checked.bundle.spec.stages.values()):
            try_and_tell(checked, config)
            return
        tell(checked)  # it may be kept until the settings name what it is for
        print(f"NOT RUN: it has no files for model.backend = {backend}; `use` refuses it until that is another one")

    entry, is_new, left_out = install(store, args.path, word, trial)
    tell_left_out(left_out)
    how = "installed" if is_new else "was installed already"
    print(f"{entry}: {how}; `sonic-edge model use {entry.id}` has it run")
    return 0


def _use(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..model.store.change import use
    from .bundles import try_and_tell
    from .switch import take_over

    config = load_config(args.config)
    entry, is_new = use(_store(args, config), args.name, lambda checked: try_and_tell(checked, config))
    print(f"{entry}: {'in use from now on' if is_new else 'was in use already'}")
    print(take_over(run_folder(args.config), entry, config))
    return 0


def _rollback(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..model.store.change import rollback
    from .bundles import try_and_tell
    from .switch import take_over

    config = load_config(args.config)
    entry = rollback(_store(args, config), lambda checked: try_and_tell(checked, config))
    print(f"{entry}: in use again")
    print(take_over(run_folder(args.config), entry, config))
    return 0


def _remove(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..model.store.change import remove
    from ..model.store.place import resolve
    from .switch import held_by_daemon

    config = load_config(args.config)
    store = Path(config.model.store).absolute()

    def held(entry: "Entry") -> str:
        if config.model.bundle and resolve(config.model.bundle, store).id == entry.id:
            return f"model.bundle = {config.model.bundle} in the settings names it"
        return held_by_daemon(run_folder(args.config), entry)

    print(f"{remove(store, args.name, held).id}: removed")
    return 0
