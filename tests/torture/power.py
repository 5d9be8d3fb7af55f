"""Power cuts, which differ from kills: unsynced data may be lost or present, in any mixture.

The spool lives through a job in this process while every step is noted. Then, for every moment of that life, every
disk that a power cut at that moment could leave is built, the spool recovers on it, and what becomes of the job is
looked at; for some of them the power is cut again while it recovers.

What a disk keeps: a change in a folder (a new file or folder, a rename, a removal) is sure once that folder was synced;
what is in a file once the file was synced. Of changes that are not sure any may have happened, each whole or not at all
and none before the folder it needs; of a file that is not sure, all, half or nothing may be there. A journaling file
system keeps more than that: the order.
"""

import contextlib
import itertools
import json
import logging
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple
from unittest import mock

from sonic_edge.config import SpoolSettings
from sonic_edge.errors import RequestError
from sonic_edge.spool import Job, Spool
from sonic_edge.spool.submit import submit

from . import stub
from .result import Result
from .steps import Step, Steps

Tree = Dict[str, Optional[bytes]]
"""Paths and what is in the files; None for a folder."""

_DROPPED_NS = 1_700_000_000_000_000_000  # when everything in the inbox was last changed
_MOST_MIXTURES = 64
_MARKS = (b"job one\nok\n\n", b"photo of job one")


class Op(NamedTuple):
    """A step, and what a file then holds."""

    kind: str
    path: str
    target: str = ""
    data: bytes = b""


@dataclass(frozen=True)
class Life:
    """A way a job can go."""

    name: str
    inbox: Tuple[Tuple[str, bytes], ...]
    ends: str
    """outbox or failed; empty if both will do"""
    is_refused: bool = False
    n_deaths: int = 0
    keep_inputs: bool = True
    is_retried: bool = False
    """Somebody retries the failed job, and then it succeeds."""
    is_cancelled: bool = False
    """Somebody cancels it while it waits."""


_FOLDER = (("一/sound.wav", _MARKS[0]), ("一/face.jpg", _MARKS[1]))
_PAIR = (("a.wav", _MARKS[0]), ("a.jpg", _MARKS[1]))
LIVES = (
    Life("pair", _PAIR, "outbox"),
    Life("folder", _FOLDER, "outbox"),
    Life("refused pair", _PAIR, "failed", is_refused=True),
    Life("refused folder", (*_FOLDER, ("一/reason.json", b"of last time")), "failed", is_refused=True),
    Life("worker died once", _PAIR, "outbox", n_deaths=1),
    Life("two photos", (*_FOLDER, ("一/other.png", b"another")), "failed"),
    Life("inputs not kept", _PAIR, "outbox", keep_inputs=False),
    Life("failed and retried", _PAIR, "outbox", is_refused=True, is_retried=True),
    Life("cancelled", _PAIR, "", is_cancelled=True),  # if the power fails first, the order is lost
)


def run(folder: Path, seed: int) -> Result:
    result = Result("power")
    n_disks = 0
    for number, name in enumerate(["submit", *(life.name for life in LIVES)]):
        with mock.patch("os.fsync", os.fstat), quiet():  # only whether it is requested counts
            simulator = Simulator(folder / str(number), seed, again=30)
            found = simulator.explore(LIVES[number - 1]) if number else simulator.explore_giving()
        n_disks += found.n_disks
        result.row(f"{name}: steps, disks, second cuts, broken", found)
        for words in found.broken:
            result.expect(False, f"{name}: {words}")
        result.progress(f"{name}: {found}")
    result.row("disks a power cut could leave, all recovered", n_disks)
    return result


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the spool's own log: it is long with so many cuts."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@dataclass
class Found:
    """What exploring a life showed."""

    n_steps: int
    n_disks: int
    n_again: int
    broken: List[str]

    def __str__(self) -> str:
        return f"{self.n_steps}, {self.n_disks}, {self.n_again}, {len(self.broken)}"


class Simulator:
    """Cuts the power.

    Args:
        folder: Where disks are built; empty.
        seed: Of the samples, where there are too many mixtures to try all.
        again: How many of a hundred disks have the power cut again while they recover.
    """

    def __init__(self, folder: Path, seed: int, again: int = 10) -> None:
        self._root = folder / "disk"
        self._root.mkdir(parents=True)
        self._rng = random.Random(seed)
        self._again = again
        self._ops: List[Op] = []
        self._open: Dict[str, bytes] = {}
        self._steps = Steps(self._root, self._note)

    def explore(self, life: Life) -> Found:
        """Every power cut in the life of a job."""
        broken: List[str] = []
        before = self._fresh(life)
        ops = self._record(before, lambda: self._live(life))
        disks = dict(_cuts(before, ops, self._rng))
        n_again = 0
        for disk, moment in disks.items():
            tree = dict(disk)
            words = self._recovered(tree, life)
            if words is None and self._rng.randrange(100) < self._again:
                later = dict(_cuts(tree, self._record(tree, lambda: self._live(life)), self._rng))
                for second, second_moment in self._rng.sample(sorted(later.items(), key=repr), min(20, len(later))):
                    n_again += 1
                    words = words or self._recovered(dict(second), life)
                    moment = f"{moment}, then {second_moment}" if words else moment
            if words:
                broken.append(f"power cut before {moment}: {words}")
        return Found(len(ops), len(disks), n_again, broken)

    def explore_giving(self) -> Found:
        """Every power cut while `sonic-edge submit` puts a job into the inbox: all of it is there or nothing."""
        files, broken = {"sound.wav": _MARKS[0], "face.jpg": _MARKS[1]}, []
        empty = self._fresh(Life("", (), ""))
        ops = self._record(empty, lambda: submit(self._root, "a", files))
        disks = dict(_cuts(empty, ops, self._rng))
        for disk, moment in disks.items():
            there = {name: data for name, data in disk if name.startswith("inbox/a")}
            whole = {"inbox/a": None, **{f"inbox/a/{name}": data for name, data in files.items()}}
            if there not in ({}, whole) or (moment == "the end" and not there):
                broken.append(f"power cut before {moment}: {sorted(there)} in the inbox")
        return Found(len(ops), len(disks), 0, broken)

    def explore_change(
        self, before: Tree, act: Callable[[Path], object], wrong: Callable[[Path, bool], Optional[str]]
    ) -> Found:
        """Every power cut while something changes a folder that is no spool.

        Args:
            before: What the folder holds.
            act: Changes it.
            wrong: Says what is wrong with what a power cut left in the folder, reported whether all was done.
        """
        broken: List[str] = []
        ops = self._record(before, lambda: act(self._root))
        disks = dict(_cuts(before, ops, self._rng))
        for disk, moment in disks.items():
            self._build(dict(disk))
            words = wrong(self._root, moment == "the end")
            if words:
                broken.append(f"power cut before {moment}: {words}")
        return Found(len(ops), len(disks), 0, broken)

    def _fresh(self, life: Life) -> Tree:
        """A disk with an empty spool and a job in its inbox."""
        tree: Tree = dict.fromkeys(("inbox", "work", "outbox", "failed"))
        for name, content in life.inbox:
            if "/" in name:
                tree[f"inbox/{name.partition('/')[0]}"] = None
            tree[f"inbox/{name}"] = content
        return tree

    def _recovered(self, tree: Tree, life: Life) -> Optional[str]:
        """Let the spool continue from a disk; returns what was wrong, if anything."""
        self._build(tree)
        wrong = _visible(self._root)
        if wrong:
            return f"before the restart {wrong}"
        self._live(life)
        return _visible(self._root) or _lost(self._root, life)

    def _record(self, tree: Tree, act: Callable[[], object]) -> List[Op]:
        """The steps taken from a disk onwards."""
        self._build(tree)
        self._ops, self._open = [], {}
        self._steps.on = True
        try:
            act()
        finally:
            self._steps.on = False
        self._note(Step("end", ""))
        return self._ops[:-1]

    def _note(self, step: Step) -> None:
        """Before a step: record writes to files since the last one, then the step."""
        for path, known in self._open.items():
            with contextlib.suppress(FileNotFoundError):
                data = (self._root / path).read_bytes()
                if data != known:
                    self._open[path] = data
                    self._ops.append(Op("write", path, data=data))
        if step.kind == "create":
            self._open = {step.path: b""}  # they are written one after another
        self._ops.append(Op(*step))

    def _build(self, tree: Tree) -> None:
        for path in list(self._root.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        for name in sorted(tree):
            data, path = tree[name], self._root / name
            if data is None:
                path.mkdir()
            else:
                path.write_bytes(data)
                os.utime(path, ns=(_DROPPED_NS, _DROPPED_NS))

    def _live(self, life: Life) -> None:
        """The daemon's loop and the worker's writing, until nothing is left to do."""
        settings = SpoolSettings(root=str(self._root), keep_inputs=life.keep_inputs, settle_s=1.0, pair_s=2.0)
        clock, deaths = _Clock(), 0
        with contextlib.ExitStack() as stack:
            for module in ("scan", "spool"):
                stack.enter_context(mock.patch(f"sonic_edge.spool.{module}.time", clock))
            spool = stack.enter_context(Spool(settings))
            if life.is_cancelled:
                spool.recover()
                spool.cancel("a", RequestError("cancelled"))
            for job in self._jobs(spool, clock, life):
                clock.end = clock.now + 6
                spool.start(job)
                if deaths < life.n_deaths:
                    deaths += 1
                    job.output.write_bytes(b"half a video")
                    spool.put_back(job, died=True)
                elif life.is_refused and not (life.is_retried and (job.folder / "inputs" / "reason.json").exists()):
                    spool.fail(job, RequestError("nobody speaks"))
                else:
                    _encode(job.output, stub.video("job one"))
                    spool.publish(job, {"mark": "job one"})

    def _jobs(self, spool: Spool, clock: "_Clock", life: Life) -> Iterator[Job]:
        """The jobs that come; when no more do, what failed is put into the inbox again, if it is to be."""
        yield from spool.watch(clock)
        failed = sorted(spool.failed.iterdir()) if life.is_retried else []
        for path in failed:
            spool.retry(path.name)
            clock.end = clock.now + 6
            yield from spool.watch(clock)


class _Clock:
    """Goes on only when somebody waits, and stops the watching when nothing comes any more."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.end = 1006.0

    def monotonic(self) -> float:
        return self.now

    def is_set(self) -> bool:
        return self.now >= self.end

    def wait(self, timeout: float) -> bool:
        self.now += max(timeout, 0.001)
        return self.is_set()


def _encode(output: Path, data: bytes) -> None:
    """As `sonic_edge.engine.encode` ends: a temp name, the file synced, renamed, the folder synced."""
    part = output.with_name(".part")
    for path, then in ((part, lambda: part.write_bytes(data)), (part, None), (output.parent, None)):
        if then is not None:
            then()
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
        if path == part and then is None:
            part.rename(output)


# ---- possible disk states -----------------------------------------------------------------------------------------


def _cuts(
    before: Tree, ops: List[Op], rng: random.Random
) -> Iterator[Tuple[Tuple[Tuple[str, Optional[bytes]], ...], str]]:
    """Every disk that a power cut could leave, and one moment at which it could."""
    for n in range(len(ops) + 1):
        moment = f"step {n + 1} ({' '.join(ops[n][:3])})" if n < len(ops) else "the end"
        open_ones = [i for i in range(n) if ops[i].kind != "sync" and not _is_sure(ops, i, n)]
        for lost in _mixtures(open_ones, rng):
            tree = dict(before)
            for i in range(n):
                if i not in lost:
                    _apply(tree, ops[i])
                elif ops[i].kind == "write" and i == max(open_ones):
                    _apply(tree, ops[i]._replace(data=ops[i].data[: len(ops[i].data) // 2]))
            yield tuple(sorted(tree.items())), moment


def _is_sure(ops: List[Op], i: int, n: int) -> bool:
    """Whether step i survives a power cut before step n."""
    op = ops[i]
    place = op.path if op.kind == "write" else str(Path(op.target or op.path).parent)
    return any(later.kind == "sync" and later.path == place for later in ops[i + 1 : n])


def _mixtures(open_ones: List[int], rng: random.Random) -> Iterator[Set[int]]:
    """Which of the steps that are not sure are lost: every mixture, or many."""
    if 2 ** len(open_ones) <= _MOST_MIXTURES:
        for flags in itertools.product((False, True), repeat=len(open_ones)):
            yield {i for i, flag in zip(open_ones, flags) if flag}
        return
    for k in range(len(open_ones) + 1):  # in order, as a journal loses them
        yield set(open_ones[k:])
    for _ in range(_MOST_MIXTURES):
        yield {i for i in open_ones if rng.random() < 0.5}


def _apply(tree: Tree, op: Op) -> None:
    """A step on a disk, if what it needs is there."""
    parent = str(Path(op.target or op.path).parent)
    if op.path == "." or (parent != "." and tree.get(parent, b"") is not None):
        return
    if op.kind in ("mkdir", "create"):
        tree.setdefault(op.path, None if op.kind == "mkdir" else b"")
    elif op.kind == "write" and op.path in tree:
        tree[op.path] = op.data
    elif op.kind in ("unlink", "rmdir"):
        tree.pop(op.path, None)
        for name in [name for name in tree if name.startswith(f"{op.path}/")]:
            del tree[name]
    elif op.kind == "rename" and op.path in tree:
        moved = {n: d for n, d in tree.items() if n == op.path or n.startswith(f"{op.path}/")}
        for name in moved:
            del tree[name]
        tree.update({op.target + name[len(op.path) :]: data for name, data in moved.items()})


# ---- invariants ----------------------------------------------------------------------------------------------------


def _visible(root: Path) -> Optional[str]:
    """A description of something partial that people can see."""
    for path in sorted((root / "outbox").iterdir()):
        try:
            if path.suffix == ".json":
                report = json.loads(path.read_bytes())
                stub.mark_in((path.parent / report["result"]).read_bytes())
            elif path.suffix == ".mp4":
                stub.mark_in(path.read_bytes())
        except (OSError, ValueError, KeyError) as e:
            return f"outbox/{path.name} is not whole: {e!r}"
    for path in sorted((root / "failed").iterdir()):
        try:
            json.loads((path / "reason.json").read_bytes())["what"]
        except (OSError, ValueError, KeyError) as e:
            return f"failed/{path.name} has no whole reason: {e!r}"
    return None


def _lost(root: Path, life: Life) -> Optional[str]:
    """What is not as it must be once nothing is left to do."""
    left = [f"{f}/{name}" for f in ("inbox", "work") for name in sorted(p.name for p in (root / f).iterdir())]
    if left:
        return f"left: {left}"
    ends = [p.name for p in (root / "outbox").glob("*.json")] + [p.name for p in (root / "failed").iterdir()]
    if len(ends) != 1:
        return f"ended as {ends}"
    where = "outbox" if list((root / "outbox").iterdir()) else "failed"
    if life.ends and where != life.ends:
        return f"ended in {where}, not in {life.ends}"
    if life.keep_inputs or where == "failed":
        found = [p.read_bytes() for p in root.rglob("*") if p.is_file()]
        for content in _MARKS:
            if found.count(content) != 1:
                return f"{content!r} is there {found.count(content)} times"
    return None
