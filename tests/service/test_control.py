import json
import os
import socket
import threading
import time
from contextlib import closing

import pytest

from sonic_edge.errors import DeviceError, RequestError
from sonic_edge.service.control import NAME, Control, ask
from sonic_edge.service.messages import Request


@pytest.fixture
def folder(tmp_path):
    # longer than a socket's address may be
    deep = tmp_path / ("很深的文件夹" * 5) / ("x" * 100)
    deep.mkdir(parents=True)
    return deep


def call(folder):
    fd = os.open(folder, os.O_RDONLY)
    try:
        caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        caller.settimeout(60)
        caller.connect(f"/proc/self/fd/{fd}/{NAME}")
        return caller
    finally:
        os.close(fd)


@pytest.fixture
def serve(folder):
    """A daemon that answers each order by `answer`."""
    ends = threading.Event()
    threads = []

    def start(answer):
        control = Control(folder)

        def run():
            with closing(control):
                while not ends.is_set():
                    for order in control.orders():
                        control.answer(order.caller, answer(order))
                    time.sleep(0.005)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return control

    yield start
    ends.set()
    for thread in threads:
        thread.join()


def test_an_order_and_its_answer(serve, folder):
    serve(lambda order: {"error": "", "what": order.order, "on": order.on, "words": "正在录音"})
    reported = {"error": "", "what": "talk", "on": False, "words": "正在录音"}
    assert ask(folder, Request("talk", on=False)) == reported
    assert ask(folder, Request("status"))["on"] is True


def test_an_answer_with_a_name_that_is_not_utf8(serve, folder):
    serve(lambda order: {"error": "", "last": os.fsdecode(b"\xff\xfe.wav: nobody speaks")})
    assert ask(folder, Request("status"))["last"] == "??.wav: nobody speaks"


def test_an_impossible_order_is_reported(serve, folder):
    serve(lambda order: {"error": "live.mode = none: set it to record or mirror first"})
    with pytest.raises(RequestError, match="set it to record"):
        ask(folder, Request("talk"))


def test_no_daemon(folder):
    with pytest.raises(DeviceError, match="sonic-edge run"):
        ask(folder, Request("status"))
    with pytest.raises(DeviceError, match="No such file"):
        ask(folder / "gone", Request("status"))


def test_from_the_moment_its_socket_is_there_it_answers(folder, monkeypatch):
    listen = socket.socket.listen

    def late(self, *words):
        assert not (folder / NAME).exists(), "nobody can call yet"
        listen(self, *words)

    monkeypatch.setattr(socket.socket, "listen", late)
    with closing(Control(folder)), call(folder):
        assert [p.name for p in folder.iterdir()] == [NAME]


def test_a_daemon_that_died_leaves_a_socket_that_says_so(folder):
    control = Control(folder)
    control._socket.close()
    assert (folder / NAME).exists()
    with pytest.raises(DeviceError, match="no daemon answers"):
        ask(folder, Request("status"))
    with closing(Control(folder)):  # and the next daemon takes its place
        pass
    assert not (folder / NAME).exists()


@pytest.mark.parametrize("said", [b"nonsense\n", b"[1]\n", b'{"on": true}\n', b"x" * 10000, b"[" * 4000 + b"\n", b""])
def test_nonsense_is_answered_or_dropped_and_nothing_else_happens(serve, folder, said):
    serve(lambda order: {"error": ""})
    with call(folder) as handle:
        try:
            handle.sendall(said)
            handle.shutdown(socket.SHUT_WR)
            answer = handle.recv(4096)
        except ConnectionError:
            answer = b""
        assert answer == b"" or "is not an order" in json.loads(answer)["error"]
    assert ask(folder, Request("status")) == {"error": ""}


def test_a_caller_that_hangs_up_before_the_answer_does_no_harm(folder):
    with closing(Control(folder)) as control:
        with call(folder) as caller:
            caller.sendall(b'{"order": "snapshot"}\n')
            (order,) = control.orders()
        control.answer(order.caller, {"error": "x" * 1000})
        control.answer(order.caller, {"error": "again"})
        assert control.orders() == []


def test_only_the_owner_and_the_group_may_give_orders(folder):
    with closing(Control(folder)):
        assert (folder / NAME).stat().st_mode & 0o777 == 0o660
