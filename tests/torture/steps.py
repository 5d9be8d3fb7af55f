"""Every change a process makes below a folder, seen just before it happens.

Python tells an audit hook of each rename, removal, new folder and opened file, whoever asks for it; only fsync it keeps
to itself. So nothing in the product has to know that it is being watched, and no step can be forgotten here.
"""

import os
import sys
from pathlib import Path
from typing import Callable, NamedTuple, Optional

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PRIVATE = ("run", "lock")  # not the jobs': sockets, the daemon's lock


class Step(NamedTuple):
    """A change; paths are relative to the folder."""

    kind: str
    """mkdir, create, rename, unlink, rmdir or sync"""
    path: str
    target: str = ""
    """Of a rename."""


class Steps:
    """From now on calls `each` with every step, while `on`. For the life of the process: hooks cannot be taken away."""

    def __init__(self, root: Path, each: Callable[[Step], None]) -> None:
        self._root = str(root.resolve())
        self._each = each
        self.on = False
        self._sync = os.fsync
        os.fsync = self._fsync  # type: ignore[assignment]
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple) -> None:
        if not self.on:
            return
        if event == "os.rename":
            self._tell("rename", self._inside(args[0], args[2]), self._inside(args[1], args[3]))
        elif event == "os.remove":
            self._tell("unlink", self._inside(args[0], args[1]))
        elif event == "os.mkdir":
            self._tell("mkdir", self._inside(args[0], args[2]))
        elif event == "os.rmdir":
            self._tell("rmdir", self._inside(args[0], args[1]))
        elif event == "open" and isinstance(args[2], int) and args[2] & _WRITES and not isinstance(args[0], int):
            self._tell("create", self._inside(args[0], -1))

    def _fsync(self, handle: int) -> None:
        if self.on:
            self._tell("sync", self._inside(_folder(handle), -1))
        self._sync(handle)

    def _tell(self, kind: str, path: Optional[str], target: Optional[str] = "") -> None:
        if path is not None and target is not None and not path.startswith(_PRIVATE):
            self.on = False  # the actions of `each` itself do not count
            try:
                self._each(Step(kind, path, target))
            finally:
                self.on = True

    def _inside(self, path: object, folder: int) -> Optional[str]:
        """The path relative to the folder; None if it is not below it."""
        text = os.fsdecode(path)  # type: ignore[arg-type]
        if not text.startswith("/"):
            text = f"{_folder(folder) if folder >= 0 else Path.cwd()}/{text}"
        if text == self._root:
            return "."
        return text[len(self._root) + 1 :] if text.startswith(self._root + "/") else None


def _folder(handle: int) -> str:
    """What an open file or folder is called."""
    return str(Path(f"/proc/self/fd/{handle}").readlink())
