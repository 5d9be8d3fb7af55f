"""Where the log goes. The journal here is a socket that speaks journald's native protocol, in its place."""

import functools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sonic_edge import journal

# Where /run is empty, and journald's socket ours.
_WITH_JOURNAL = """
import json, os, socket, sys, threading
os.makedirs("/run/systemd/journal")
ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ear.bind("/run/systemd/journal/socket")
ear.settimeout(5)
found = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
exec(sys.stdin.read())
ear.setblocking(False)
entries = []
while True:
    try:
        data = ear.recv(1 << 20)
    except BlockingIOError:
        break
    entry = {}
    while data:  # see systemd's JOURNAL_NATIVE_PROTOCOL
        name, _, rest = data.partition(b"\\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
            data = rest
        else:
            n = int.from_bytes(rest[:8], "little")
            value, data = rest[8:8 + n], rest[9 + n:]
        entry[name.decode()] = value.decode()
    entries.append(entry)
print(json.dumps(entries))
"""

_SET_UP = """
import logging
from sonic_edge import journal
journal.set_up()
log = logging.getLogger("sonic_edge.test")
"""


_NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh")


@functools.cache
def _way_in():
    """What to put before a command so that it finds no journal but ours."""
    if subprocess.run([*_NAMESPACE, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return _NAMESPACE
    if os.geteuid() == 0 and not Path("/run/systemd").exists():  # in a container there is none anyway
        return ("sh", "-c", '"$@"; status=$?; rm -rf /run/systemd; exit $status', "sh")
    pytest.fail("this needs user namespaces (unshare --map-root-user)")


def _in_namespace(code):
    """Run it with our journal; returns the entries, and standard error."""
    command = _way_in()
    done = subprocess.run(
        [*command, sys.executable, "-c", _WITH_JOURNAL],
        input=_SET_UP + code,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def _outside(code, **environment):
    """Run it without a journal; returns standard error."""
    env = {k: v for k, v in os.environ.items() if k != "JOURNAL_STREAM"}
    done = subprocess.run(
        [sys.executable, "-c", _SET_UP + code], capture_output=True, text=True, timeout=60, env={**env, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_record_becomes_an_entry_with_its_fields():
    entries, stderr = _in_namespace(
        'log.error("%s: no face", "课 一", extra={"JOB": "课 一", "STAGE": "portrait", "ATTEMPT": 2, "lower": "no"})\n'
        'log.info("ready")\n'
        'log.debug("too much")\n'
    )
    assert stderr == ""
    error, info = entries
    assert error["MESSAGE"] == "课 一: no face" and error["PRIORITY"] == "3"
    assert (error["JOB"], error["STAGE"], error["ATTEMPT"]) == ("课 一", "portrait", "2")
    assert error["SYSLOG_IDENTIFIER"] == "sonic-edge" and error["LOGGER"] == "sonic_edge.test"
    assert error["CODE_LINE"].isdigit() and "lower" not in error and "LOWER" not in error
    assert info["PRIORITY"] == "6" and "JOB" not in info


def test_a_name_cannot_make_entries_or_fields_of_its_own():
    entries, _ = _in_namespace(
        'name = "a\\nPRIORITY=0\\n2026-11-25 10:00:00 ERROR fake\\x1b[2J\\u2028\\udcff"\n'
        'log.warning("%s: started", name, extra={"JOB": name, "PRIORITY": "0", "MESSAGE_ID": "x", "_PID": "1"})\n'
    )
    (entry,) = entries
    assert entry["PRIORITY"] == "4" and "_PID" not in entry and "MESSAGE_ID" not in entry
    assert entry["MESSAGE"] == (
        "a\n    | PRIORITY=0\n    | 2026-11-25 10:00:00 ERROR fake\\x1b[2J\\u2028\\udcff: started"
    )
    assert entry["JOB"].startswith("a\nPRIORITY=0\n") and entry["JOB"].endswith("\\udcff")


def test_an_exception_is_one_entry():
    entries, _ = _in_namespace('try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception("that failed")\n')
    (entry,) = entries
    lines = entry["MESSAGE"].split("\n")
    assert lines[0] == "that failed" and lines[-1] == "    | ZeroDivisionError: division by zero"


def test_a_record_that_the_journal_does_not_take_becomes_a_line():
    entries, stderr = _in_namespace(
        'ear.close()\nlog.error("x" * 10, extra={"JOB": "j"})\near = socket.socket()\n' + _DEAF
    )
    assert entries == []
    assert stderr == "<3>xxxxxxxxxx [j]\n"


# the socket exists, but nobody listens any more; the next line must not wait for it
_DEAF = 'print("[]", flush=True)\nos._exit(0)\n'


def test_without_systemd_python_the_journal_gets_lines_with_priorities():
    entries, stderr = _in_namespace(
        'import sys\nlogging.root.handlers.clear()\nsys.modules["systemd.journal"] = None\njournal.set_up()\n'
        'log.warning("one\\ntwo", extra={"JOB": "j"})\n'
    )
    assert entries == []
    assert stderr == "<4>one\n<4>    | two [j]\n"


def test_in_a_sandbox_without_the_socket_the_journal_gets_lines():
    entries, stderr = _in_namespace(
        'logging.root.handlers.clear()\nos.rename(str(journal.SOCKET), "/run/systemd/away")\njournal.set_up()\n'
        'log.error("one")\n'
    )
    assert entries == []
    assert stderr == "<3>one\n"


def test_elsewhere_records_are_lines_with_time_level_and_job():
    said = _outside('log.error("no face", extra={"JOB": "课"})\nlog.info("课: done", extra={"JOB": "课"})\n')
    first, second = said.splitlines()
    assert first.endswith(" ERROR no face [课]") and first[:4].isdigit()
    assert second.endswith(" INFO 课: done")


def test_the_stream_of_somebody_else_is_not_the_journal():
    said = _outside('log.error("here")\n', JOURNAL_STREAM="8:12345")
    assert " ERROR here\n" in said
    assert " ERROR here\n" in _outside('log.error("here")\n', JOURNAL_STREAM="nonsense")


def test_a_line_never_looks_like_two():
    said = _outside('log.info("%s", "a\\r\\n2026-11-25 10:00:00,000 ERROR fake\\x85\\x1b]0;x\\x07")\n')
    assert said.count("\n") == 2
    assert said.splitlines()[1].startswith("    | 2026-11-25")
    for sign in "\r\x85\x1b\x07":
        assert sign not in said


def test_chinese_and_spaces_stay_readable():
    assert journal.one_record("第一课　(2) – ü.wav") == "第一课　(2) – ü.wav"


def test_what_extra_may_say():
    record = logging.makeLogRecord({"msg": "m", "JOB": 3, "STAGE": "", "job": "x", "_A": "y", "LEFT_S": 1.5})
    assert journal.fields(record) == {"JOB": "3", "LEFT_S": "1.5"}


def test_a_process_that_has_a_log_keeps_it():
    before = list(logging.root.handlers)
    assert before  # pytest's own
    journal.set_up()
    assert logging.root.handlers == before


@pytest.mark.parametrize("level, priority", [(10, 7), (20, 6), (25, 6), (30, 4), (40, 3), (50, 2)])
def test_levels_are_those_of_syslog(level, priority):
    said = []
    handler = journal._Journal(lambda message, **entry: said.append((message, entry)), logging.NullHandler())
    handler.handle(logging.makeLogRecord({"msg": "m", "levelno": level}))
    assert said[0][0] == "m" and said[0][1]["PRIORITY"] == str(priority)


def test_a_library_that_does_not_load_is_as_good_as_none(monkeypatch, tmp_path):
    monkeypatch.setattr(journal, "SOCKET", tmp_path)
    assert journal._sender() is not None
    broken = tmp_path / "systemd"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise OSError('libsystemd.so.0: wrong ELF class')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "systemd"]:
        monkeypatch.delitem(sys.modules, name)
    assert journal._sender() is None
