"""Looks at outbox and failed all the time, as the people and programs that wait for results do."""

import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Callable, Dict, List, Optional, Set, Type

from . import stub

Whole = Callable[[bytes], object]
"""Raises ValueError if a video is not whole."""


class Watch:
    """A thread, while used as a context manager.

    Args:
        spool: What to look at.
        whole: Checks a video.
    """

    def __init__(self, spool: Path, whole: Whole = stub.mark_in) -> None:
        self._outbox, self._failed = spool / "outbox", spool / "failed"
        self._whole = whole
        self._known: Dict[Path, Set[str]] = {self._outbox: set(), self._failed: set()}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.n_looks = 0
        self.n_seen = 0
        self.broken: List[str] = []
        """What was seen that should never be visible."""

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.is_set():
            for folder, check in ((self._outbox, self._look_at_result), (self._failed, self._look_at_failure)):
                names = {path.name for path in folder.iterdir()}
                gone = self._known[folder] - names
                self.broken += [f"{folder.name}/{name!r} went away" for name in gone]
                for name in names - self._known[folder]:
                    self.n_seen += 1
                    try:
                        check(folder / name)
                    except (OSError, ValueError, KeyError) as e:
                        self.broken.append(f"{folder.name}/{name!r} was visible and not whole: {e!r}")
                self._known[folder] = names
            self.n_looks += 1
            time.sleep(0.002)

    def _look_at_result(self, path: Path) -> None:
        if path.suffix == ".json":
            report = json.loads(path.read_bytes())
            self._whole((self._outbox / str(report["result"])).read_bytes())
        elif path.suffix == ".mp4":
            self._whole(path.read_bytes())
        elif path.suffix != ".inputs" or path.name.startswith("."):
            raise ValueError("is no result")

    def _look_at_failure(self, path: Path) -> None:
        if not json.loads((path / "reason.json").read_bytes())["what"]:
            raise ValueError("says nothing")
