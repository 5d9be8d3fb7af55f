"""A full disk, a disk that turns read-only, a disk that fails: jobs wait or fail with a message, then go on."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Iterator, List

from .box import Box
from .jobs import Given, Giver, audit
from .result import Result
from .watch import Watch

SIZE_MB, FLOOR_MB = 64, 10
N_JOBS, N_BEHIND = 12, 4
BAD_S = 8.0
"""How long each trouble lasts."""


def run(folder: Path, seed: int) -> Result:
    result = Result("disk")
    if os.geteuid() != 0:
        result.not_run.append("full, read-only and failing disks: mounting them needs root")
        return result
    for trouble in (_low, _full, _full_below, _read_only, _failing):
        name = trouble.__name__.strip("_")
        place = folder / name
        place.mkdir()
        trouble(place, seed, result)
    return result


def _low(folder: Path, seed: int, result: Result) -> None:
    """Less space than `disk.floor_mb`: the running job is finished, new ones wait, and the reason is reported."""
    with (
        _mounted(folder / "disk", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs") as disk,
        _Flow(folder, disk, seed, result, "low disk") as flow,
    ):
        flow.jobs(N_JOBS, "long")
        n_before = flow.ended()
        _fill(disk / "filling", leave_mb=7)
        flow.let_go()
        flow.box.until(lambda: flow.ended() > n_before, "the job at work ended")
        time.sleep(BAD_S)
        n_meanwhile = flow.ended() - n_before
        result.row(
            "low disk: jobs that ended while it was low, of those at work / behind it", f"{n_meanwhile} / {N_BEHIND}"
        )
        result.expect(n_meanwhile == 1, f"low disk: {n_meanwhile} jobs ended, not only the one at work")
        result.expect("MB needed (disk.floor_mb" in flow.box.text(), "low disk: nobody says why jobs wait")
        (disk / "filling").unlink()
        flow.end()


def _full(folder: Path, seed: int, result: Result) -> None:
    """A memory disk that is filled to the last byte, with jobs before, during and after."""
    with (
        _mounted(folder / "disk", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs") as disk,
        _Flow(folder, disk, seed, result, "full disk") as flow,
    ):
        flow.jobs(N_JOBS, "long")
        _fill(disk / "filling")
        _look_on(flow)
        (disk / "filling").unlink()
        flow.end()


def _full_below(folder: Path, seed: int, result: Result) -> None:
    """An ext4 whose own disk is full: at fsync, written data turns out to be missing."""
    if shutil.which("mke2fs") is None:
        result.not_run.append("a disk that fails at fsync: there is no mke2fs here")
        return
    with _mounted(folder / "below", "-t", "tmpfs", "-o", "size=24m", "tmpfs") as below:
        image = below / "image"
        with image.open("wb") as file:
            file.truncate(SIZE_MB << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", str(image)], check=True)
        with (
            _mounted(folder / "disk", "-o", "loop,errors=continue", str(image)) as disk,
            _Flow(folder, disk, seed, result, "fsync fails (no space below ext4)") as flow,
        ):
            flow.jobs(N_JOBS, "long")
            _fill(below / "filling")
            _look_on(flow)
            (below / "filling").unlink()
            flow.end()


def _read_only(folder: Path, seed: int, result: Result) -> None:
    """Every new write says EROFS: the spool is covered by itself, read-only."""
    with (
        _mounted(folder / "disk", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs") as disk,
        _Flow(folder, disk, seed, result, "read-only") as flow,
    ):
        flow.jobs(N_JOBS, "long")
        subprocess.run(["mount", "--bind", str(flow.box.spool), str(flow.box.spool)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(flow.box.spool)], check=True)
        try:
            _look_on(flow)
        finally:
            subprocess.run(["umount", "-l", str(flow.box.spool)], check=True)
        flow.end()


def _failing(folder: Path, seed: int, result: Result) -> None:
    """Every fsync, then every rename of the daemon says EIO."""
    if shutil.which("strace") is None:
        result.not_run.append("a disk that says EIO: there is no strace here to say it (apt-get install strace)")
        return
    with _Flow(folder, folder / "disk", seed, result, "EIO") as flow:
        for call in ("fsync", "rename", "mkdir"):
            flow.jobs(N_JOBS // 2, "long")
            assert flow.box.process is not None
            inject = ["-f", "-qq", "-e", f"trace={call}", "-e", f"inject={call}:error=EIO", "-o", str(folder / call)]
            tracer = subprocess.Popen(["strace", *inject, "-p", str(flow.box.process.pid)], stderr=subprocess.DEVNULL)
            try:
                flow.box.until(lambda: _is_traced(flow.box.process.pid), "strace to have hold of it")
                _look_on(flow, restarts=False)
            finally:
                tracer.terminate()
                tracer.wait()
            n_hit = (folder / call).read_text(errors="replace").count("(INJECTED)")
            result.row(f"EIO: calls of {call} that failed", n_hit)
            result.expect(n_hit > 0, f"EIO: no {call} was made to fail")
            flow.again()
        flow.end()


class _Flow:
    """Jobs through a trouble, as a context manager.

    Args:
        folder: For the log and other files of the test.
        disk: Holds the spool.
        seed: Of the jobs.
        result: Collects broken promises.
        name: Of the trouble.
    """

    def __init__(self, folder: Path, disk: Path, seed: int, result: Result, name: str) -> None:
        disk.mkdir(exist_ok=True)
        self.box = Box(folder, spool=disk / "spool", settings={"disk": {"floor_mb": FLOOR_MB}})
        self.result, self.name = result, name
        self.given: List[Given] = []
        self.n_restarts = 0
        """How often it ended by itself."""
        self._giver = Giver(self.box.spool, seed)
        self._giver.hold = folder / "hold"  # not on the disk that is in trouble
        self._watch = Watch(self.box.spool)

    def __enter__(self) -> "_Flow":
        self._watch.__enter__()
        self.box.start()
        self.box.until_ready()
        return self

    def __exit__(self, *error: object) -> None:
        self.box.kill()
        self._watch.__exit__(None, None, None)

    def jobs(self, n: int, last: str) -> None:
        """Give some in."""
        self.given += [self._giver.give("pair" if i % 2 else "folder") for i in range(n - 1)]
        if last == "long":
            self.box.until_idle()
            self._giver.hold.touch()
        n_before = self.box.text().count(": rendering")
        self.given.append(self._giver.give(last))
        if last == "long":  # the trouble is to find it at work
            self.box.until(lambda: self.box.text().count(": rendering") > n_before, "a job at work")
            self.given += [self._giver.give("pair") for _ in range(N_BEHIND)]

    def let_go(self) -> None:
        """The trouble is there: the job at work may go on."""
        self._giver.hold.unlink()

    def ended(self) -> int:
        """How many have."""
        return sum(name.endswith(".json") for name in self.box.names("outbox")) + len(self.box.names("failed"))

    def restart(self) -> None:
        """As systemd does when it ended by itself, which must be with 1."""
        status = self.box.wait()
        self.result.expect(status == 1, f"{self.name}: the daemon ended with {status}: {self.box.last_words()}")
        self.n_restarts += 1
        time.sleep(1.0)
        self.box.start()

    def again(self) -> None:
        """The fault is over: the remaining jobs must be done, with no help but systemd's."""
        since = time.monotonic()
        if not self.box.is_alive():
            self.restart()
        self.box.until_idle(180)
        self.result.row(f"{self.name}: all done by itself, s after it was over", f"{time.monotonic() - since:.1f}")

    def end(self) -> None:
        """Jobs after it, and what became of all."""
        self.jobs(N_JOBS, "pair")
        self.again()
        self.result.expect(self.box.stop() == 0, f"{self.name}: the daemon did not end well")
        self.result.row(f"{self.name}: restarts that systemd would have had to do", self.n_restarts)
        found = audit(self.box.spool, self.given, excuses=("disk full", "disk read-only", "cannot be written"))
        self.result.row(f"{self.name}: of {len(self.given)} jobs", found)
        self.result.row(
            f"{self.name}: looks at outbox and failed, broken", f"{self._watch.n_looks}, {len(self._watch.broken)}"
        )
        for words in found.broken + self._watch.broken:
            self.result.expect(False, f"{self.name}: {words}")
        words = [line for line in self.box.text().splitlines() if " ERROR " in line or " WARNING " in line]
        self.result.row(f"{self.name}: it says, for example", words[0].split(" ", 3)[-1][:90] if words else "nothing")
        self.result.expect(bool(words), f"{self.name}: the log does not say a word about it")
        self.result.expect("Traceback" not in self.box.text(), f"{self.name}: there is a traceback in the log")


def _look_on(flow: _Flow, restarts: bool = True) -> None:
    """During the fault the daemon must live; if killed, it must restart, or exit with a message and be restarted."""
    n_before, bad_since = flow.ended(), time.monotonic()
    flow.let_go()
    while time.monotonic() - bad_since < BAD_S / 2:
        time.sleep(0.1)
        if not flow.box.is_alive():
            flow.result.expect(False, f"{flow.name}: the daemon ended: {flow.box.last_words()}")
            return
    if restarts:
        flow.box.kill()
        flow.box.start()
    while time.monotonic() - bad_since < BAD_S:
        time.sleep(0.1)
        if not flow.box.is_alive():
            flow.restart()
    flow.result.row(f"{flow.name}: jobs that ended while it was bad", flow.ended() - n_before)


def _is_traced(pid: int) -> bool:
    """Whether a tracer has hold of all threads of a process."""
    return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


def _fill(path: Path, leave_mb: int = 0) -> None:
    """Take all the space there is."""
    with path.open("wb", buffering=0) as file:
        if leave_mb:
            file.write(bytes(shutil.disk_usage(path.parent).free - (leave_mb << 20)))
            return
        for size in (1 << 20, 4096, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


@contextlib.contextmanager
def _mounted(place: Path, *how: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", *how, str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
