"""A daemon process with its own spool."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional

import yaml

BOXED = Path(__file__).with_name("boxed.py")
QUICK = {"settle_s": 0.1, "pair_s": 0.4, "poll_s": 0.05}
TINY = {"min_resolution": 128, "inference_steps": 1, "fps": 10}
"""Controls that make the real pipeline as quick as it gets."""
PATIENCE_S = 120.0
READY = "ready; watching"
_started: "List[subprocess.Popen[bytes]]" = []
SAMPLES = Path(sys.prefix) / "share" / "sonic-edge" / "samples"


class Box:
    """The daemon, its spool and its log.

    Args:
        folder: Where all of it lies.
        worker: ``stub`` or ``real``.
        spool: The spool, if elsewhere.
        environment: What the daemon's environment has in addition.
        settings: Sections of the configuration, in addition.
    """

    def __init__(
        self,
        folder: Path,
        worker: str = "stub",
        spool: Optional[Path] = None,
        environment: Optional[Dict[str, str]] = None,
        settings: Optional[Dict[str, Dict[str, object]]] = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.worker = folder, worker
        self.spool = spool or folder / "spool"
        self.log = folder / "log"
        self.environment = {**os.environ, **(environment or {})}
        self.portrait = folder / "portrait.jpg"
        config: Dict[str, Dict[str, object]] = {}
        config["spool"] = {"root": str(self.spool), "portrait": str(self.portrait), **QUICK}
        if worker == "stub":
            self.portrait.write_bytes(b"photo of nobody")
        else:
            self.portrait.write_bytes((SAMPLES / "portrait.jpg").read_bytes())
            config["controls"] = TINY
        for section, values in (settings or {}).items():
            config[section] = {**config.get(section, {}), **values}
        self.config = folder / "sonic-edge.yaml"
        self.config.write_text(yaml.safe_dump(config))
        self.process: Optional[subprocess.Popen] = None
        self._n_ready = 0
        for name in ("inbox", "outbox", "failed", "work"):
            (self.spool / name).mkdir(parents=True, exist_ok=True)

    def start(self, *words: str) -> None:
        """Start it; `words` are for `boxed`."""
        self._n_ready = self.text().count(READY)
        command = [sys.executable, str(BOXED), str(self.config), self.worker, *words]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=self.environment)
        _started.append(self.process)

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """As a power cut would, for the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """As systemd would; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def wait(self) -> int:
        """For it to end by itself."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def until(self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait for something to come about while the daemon lives.

        Raises:
            Broken: If it does not, or the daemon ends.
        """
        end = time.monotonic() + patience_s
        while True:
            is_alive = self.is_alive()  # asked first: what it did last counts
            if condition():
                return
            if not is_alive:
                raise Broken(f"the daemon ended while waiting for {what}: {self.last_words()}")
            if time.monotonic() > end:
                raise Broken(f"{what}: not within {patience_s:.0f} s: {self.last_words()}")
            time.sleep(0.02)

    def until_ready(self) -> None:
        self.until(lambda: self.text().count(READY) > self._n_ready, "ready")

    def until_idle(self, patience_s: float = PATIENCE_S) -> None:
        """Until nothing is left in inbox and work that it could take: both empty."""
        self.until(lambda: not self.names("inbox") and not self.names("work"), "inbox and work empty", patience_s)

    def names(self, folder: str) -> List[str]:
        return [path.name for path in (self.spool / folder).iterdir()]

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def last_words(self, n_lines: int = 6) -> str:
        return " | ".join(self.text().splitlines()[-n_lines:])

    def workers(self) -> List[int]:
        """The daemon's children."""
        if not self.is_alive():
            return []
        assert self.process is not None
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in children.split()]


def end_all() -> None:
    """Leave no daemon behind, whatever went wrong."""
    for process in _started:
        process.kill()
        process.wait()
    _started.clear()


def rss_mb(pid: int) -> float:
    """Resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """Processor time used so far by a process without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Broken(Exception):
    """A promise was."""
