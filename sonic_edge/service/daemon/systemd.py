"""What systemd is told."""

import contextlib
import os
import socket


def notify(*lines: str, patience_s: float = 0.0) -> None:
    """Tell systemd, if it listens: sd_notify(3) in a dozen lines.

    Args:
        lines: Assignments, such as ``READY=1``.
        patience_s: How long to wait when systemd is behind with listening. What then still cannot be said is dropped:
            the next sign of life or status will say it as well.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    message = "\n".join(" ".join(line.split()) for line in lines)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.settimeout(patience_s)
        out.connect(address)
        out.send(message.encode(errors="replace"))
