"""Notifications to systemd."""

import contextlib
import os
import socket


def notify(*lines: str, patience_s: float = 0.0) -> None:
    """Notify systemd, if it started the daemon: sd_notify(3) in a dozen lines.

    Args:
        lines: Assignments, such as ``READY=1``.
        patience_s: How long to wait, seconds, if systemd's socket is full. A notification that still cannot be sent is
            dropped: the next watchdog notification or status replaces it.
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
