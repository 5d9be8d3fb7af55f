"""The table of orders is what the command line, the socket and the daemon go by."""

import argparse
from types import SimpleNamespace

import pytest
from waiting import until

from sonic_edge.cli import make_parser
from sonic_edge.config import Config
from sonic_edge.errors import RequestError
from sonic_edge.live.studio.process import _Studio
from sonic_edge.service.control import ask
from sonic_edge.service.daemon.kiosk import Kiosk
from sonic_edge.service.daemon.service import Service
from sonic_edge.service.messages import Request
from sonic_edge.service.orders import ORDERS, find


def by(who):
    return {kind.name for kind in ORDERS if kind.by == who}


def test_names_are_given_once():
    names = [kind.name for kind in ORDERS]
    assert len(set(names)) == len(names) and all(find(name) is not None for name in names)
    commands = [command.name for kind in ORDERS for command in kind.commands]
    assert len(set(commands)) == len(commands)


def test_each_order_is_carried_out_by_whom_the_table_names(tmp_path):
    studio = _Studio(Config.model_validate({"spool": {"root": str(tmp_path)}}), None, None, is_muted=True)
    assert set(studio.orders) == by("studio")
    kiosk = SimpleNamespace(configure=None)
    service = Service(Config(), None, None, kiosk, SimpleNamespace(wait=None, fd=0), None, ())
    assert set(service.orders) == by("jobs")
    with Kiosk(Config(), tmp_path / "run") as kiosk:
        assert set(kiosk.orders) == by("kiosk")
        for order in by("kiosk"):
            try:
                ask(tmp_path / "run", Request(order))
            except RequestError as e:
                assert "unknown order" not in str(e)
        until(kiosk.check, "alive")


def test_an_unknown_order_is_refused_with_those_there_are(tmp_path):
    with Kiosk(Config(), tmp_path / "run"), pytest.raises(RequestError, match="dance: unknown order") as refused:
        ask(tmp_path / "run", Request("dance"))
    assert all(kind.name in str(refused.value) for kind in ORDERS)


def test_each_command_of_the_table_is_one_of_the_command_line():
    (commands,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    helps = {action.dest: action.help for action in commands._choices_actions}
    for kind in ORDERS:
        for command in kind.commands:
            assert helps[command.name] == command.help
            assert command.description in " ".join(commands.choices[command.name].description.split())
