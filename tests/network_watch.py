"""Reports and refuses programs' use of a network: every socket but AF_UNIX, and every kind of name look-up.

The kernel asks before each `socket` and `connect` of a watched program and of all it starts (seccomp's user
notification, seccomp_unotify(2)); that needs no rights and no other program, and nothing gets past it. Run as a script
this is what a watched program is started by.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
import threading
from pathlib import Path

_SYSCALLS = {"x86_64": (0xC000003E, 317, 41, 42), "aarch64": (0xC00000B7, 277, 198, 203)}
"""Processor -> AUDIT_ARCH, and the numbers of seccomp, socket and connect."""
_IO_URING_SETUP = 425  # with it sockets could be made past the filter
_RECEIVE, _SEND, _GO_ON = 0xC0502100, 0xC0182101, 1  # SECCOMP_IOCTL_NOTIF_*, SECCOMP_USER_NOTIF_FLAG_CONTINUE
_NOTE, _ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_RESOLVERS = ("/resolve/", "/avahi")
"""In the paths of AF_UNIX sockets behind which another program looks names of hosts up."""
_CACHES = ("/nscd", "/nslcd", "/sss/")
"""Where users are looked up, and hosts too: made to seem absent, so that who wants a host must ask for it openly."""


def _filter():
    """The program that the kernel asks, classic BPF."""
    arch, _, number_of_socket, number_of_connect = _SYSCALLS[platform.machine()]
    load, equal, done = 0x20, 0x15, 0x06
    allow, ask = 0x7FFF0000, 0x7FC00000
    steps = [
        (load, 0, 0, 4), (equal, 0, 7, arch),  # another ABI is asked about, whatever it wants
        (load, 0, 0, 0), (equal, 5, 0, number_of_connect), (equal, 4, 0, _IO_URING_SETUP),
        (equal, 0, 2, number_of_socket), (load, 0, 0, 16), (equal, 0, 1, socket.AF_UNIX),
        (done, 0, 0, allow), (done, 0, 0, ask),
    ]  # fmt: skip
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _exec_watched(path, command):
    """Install the filter, hand the notifications to who listens at `path`, become the command."""
    steps = ctypes.create_string_buffer(_filter())

    class Program(ctypes.Structure):
        _fields_ = (("n", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    program = Program(len(steps) // 8, ctypes.addressof(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to:
        to.connect(path)
        if libc.prctl(38, 1, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS
            raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
        number = _SYSCALLS[platform.machine()][1]
        listener = libc.syscall(number, 1, 8, ctypes.byref(program))  # SET_MODE_FILTER, FLAG_NEW_LISTENER
        if listener < 0:
            raise OSError(ctypes.get_errno(), "the kernel lets nobody watch a program's sockets here")
        socket.send_fds(to, [b"."], [listener])
        os.close(listener)
    os.execvp(command[0], command)


class Watch:
    """What the programs started by `command` wanted.

    Args:
        folder: An empty one, for their home and their working directory.
    """

    def __init__(self, folder):
        self.home, self.cwd = folder / "home", folder / "cwd"
        self.home.mkdir()
        self.cwd.mkdir()
        self.refused = []
        """Of each refusal: the program, what it wanted."""
        self.local = set()
        """AF_UNIX sockets that were connected to."""
        self.n_watched = 0
        self._path = folder / "watch"
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self._path))
        self._server.listen()
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def command(self, *words):
        """What starts a program watched."""
        return [sys.executable, "-S", "-E", __file__, str(self._path), *map(str, words)]

    def environment(self, **more):
        """A user's: nothing of ours, such as a `CI` that libraries look for, keeps a library quiet in it."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        return {**kept, "HOME": str(self.home), **more}

    def left(self):
        """Files that lie in their home or working directory."""
        both = (self.home, self.cwd)
        return sorted(str(p.relative_to(folder.parent)) for folder in both for p in _files(folder))

    def wanted(self):
        """All that they wanted of a network, and all that they left; nothing, if all is well."""
        return [f"{who}: {what}" for who, what in self.refused] + [f"left {name}" for name in self.left()]

    def close(self):
        """End watching; programs that still run find the kernel refusing."""
        os.close(self._end)
        self._thread.join()
        self._server.close()
        os.close(self._over)

    def _serve(self):
        listeners = []
        while True:
            ready, _, _ = select.select([self._server, self._over, *listeners], [], [])
            if self._over in ready:
                for listener in listeners:
                    os.close(listener)
                return
            for one in ready:
                if one is self._server:
                    connection, _ = self._server.accept()
                    with connection:
                        listeners += socket.recv_fds(connection, 1, 1)[1]
                    self.n_watched += 1
                elif not self._answer(one):
                    listeners.remove(one)
                    os.close(one)

    def _answer(self, listener):
        """Answer one request; False if nobody is left to ask."""
        note = bytearray(_NOTE.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, note)
        except OSError as e:
            # ENOENT: who asked has died meanwhile
            return e.errno in (errno.ENOENT, errno.EINTR) and not _is_over(listener)
        mark, pid, _, number, arch, _, *arguments = _NOTE.unpack(note)
        mine, _, of_socket, of_connect = _SYSCALLS[platform.machine()]
        if arch == mine and number == of_connect:
            family, where = _address(pid, *arguments[1:3])
            what = f"connect {where}"
        else:
            family = -1 if arch != mine or number != of_socket else arguments[0]
            what = f"socket {_name(family)}" if family >= 0 else f"system call {number}"
        if family == socket.AF_UNIX and any(word in where for word in _CACHES):
            answer = (mark, 0, -errno.ENOENT, 0)
        elif family == socket.AF_UNIX and not any(word in where for word in _RESOLVERS):
            self.local.add(where)
            answer = (mark, 0, 0, _GO_ON)
        else:
            self.refused.append((_comm(pid), what))
            answer = (mark, 0, -errno.EACCES, 0)
        with contextlib.suppress(FileNotFoundError):  # it has died
            fcntl.ioctl(listener, _SEND, _ANSWER.pack(*answer))
        return True


def _files(folder):
    return [p for p in folder.rglob("*") if not p.is_dir()]


def _is_over(listener):
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def _address(pid, at, n):
    """Family and address that a process is about to connect to."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(at)
            data = memory.read(min(n, 128))
    except OSError as e:
        return -1, f"unknown: {e}"
    (family,) = struct.unpack_from("=H", data)
    if family == socket.AF_UNIX:
        path = data[2:]
        return family, ("@" + path[1:].decode() if path[:1] == b"\0" else path.split(b"\0")[0].decode())
    if family == socket.AF_INET:
        return family, f"{socket.inet_ntoa(data[4:8])} port {struct.unpack_from('!H', data, 2)[0]}"
    return family, _name(family)


def _name(family):
    try:
        return socket.AddressFamily(family).name
    except ValueError:
        return f"of family {family}"


def _comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return f"process {pid}"


@contextlib.contextmanager
def watching(folder):
    """A `Watch`, closed at the end."""
    folder.mkdir(exist_ok=True)
    watch = Watch(folder)
    try:
        yield watch
    finally:
        watch.close()


if __name__ == "__main__":
    _exec_watched(sys.argv[1], sys.argv[2:])
