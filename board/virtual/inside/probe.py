"""What may a process do in the service's place? Run in its sandbox; prints JSON.

Arguments: device nodes to open.
"""

import errno
import json
import os
import socket
import sys
from pathlib import Path
from typing import Callable, Dict, NamedTuple


class Found(NamedTuple):
    """What it tells; an outcome is ``ok`` or the name of an error."""

    user: int
    net: str
    """The network namespace."""
    sockets: Dict[str, str]
    """Family -> outcome."""
    devices: Dict[str, str]
    """Node -> outcome."""
    writes: Dict[str, str]
    """Folder -> outcome."""


def outcome(do: Callable[..., None], *arguments: object) -> str:
    """``ok``, or the name of the error."""
    try:
        do(*arguments)
    except OSError as e:
        return errno.errorcode.get(e.errno or 0, str(e))
    return "ok"


def make(path: Path) -> None:
    """Create a file and delete it."""
    path.open("x").close()
    path.unlink()


def ask_for(family: int, kind: int) -> None:
    """Make a socket."""
    socket.socket(family, kind).close()


def open_node(path: str) -> None:
    """Open a device without blocking."""
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


def main() -> None:
    """Try all of it."""
    sockets = {
        "unix": outcome(ask_for, socket.AF_UNIX, socket.SOCK_STREAM),
        "inet": outcome(ask_for, socket.AF_INET, socket.SOCK_STREAM),
        "inet6": outcome(ask_for, socket.AF_INET6, socket.SOCK_DGRAM),
        "packet": outcome(ask_for, socket.AF_PACKET, socket.SOCK_RAW),
    }
    devices = {path: outcome(open_node, path) for path in sys.argv[1:]}
    folders = ("/usr", "/etc", "/opt/sonic-edge", "/root", "/var/lib", "/var/spool/sonic-edge/inbox")
    writes = {folder: outcome(make, Path(folder, ".probe")) for folder in folders}
    found = Found(os.getuid(), str(Path("/proc/self/ns/net").readlink()), sockets, devices, writes)
    print(json.dumps(found._asdict()))


if __name__ == "__main__":
    main()
