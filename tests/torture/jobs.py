"""Jobs of every kind and name, and where each of them ended."""

import hashlib
import json
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from sonic_edge.spool import PRIVATE

from . import stub

NAMES = (
    "{n}",
    "你好世界 {n}",
    " spaces before and after {n} ",
    "-rf {n}",
    "line\nbreak\t{n}",
    "长" * 80 + "{n:06d}",  # with its suffix 250 bytes
    "x" * 245 + "{n:06d}",  # with its suffix 255 bytes, all a name may have
    "a.b.mp4 {n}.inputs",
    "$(reboot) `id` '{n}\" %s {{}}",
    "\udcff\udcfe not UTF-8 {n}",
    "e\u0301 decomposed {n}",
    "\u202eright to left {n}",
    "👩‍🏫 {n}",
)
SHARED_NAMES = ("照片", "audio", "新建文件夹")
"""Names people give again and again."""
OUTSIDE = "/etc/hostname"

DONE = ("pair", "pair", "pair", "controls", "folder", "folder", "lone", "slow", "hard", "once", "deep")
FAILING = (
    "refuse",
    "control",
    "two photos",
    "no photo",
    "link",
    "linked photo",
    "link folder",
    "pipe",
    "folder inside",
)
FAILING += ("in the way",)
CRASHING = ("bug", "crash")


@dataclass(frozen=True)
class Given:
    """A job that was given in."""

    mark: str
    kind: str
    contents: Tuple[bytes, ...]
    """Of its recording and its photo, as far as they are plain files: to be found exactly once for ever after."""

    @property
    def ends(self) -> str:
        """The folder in which it must end up, if nobody kills its workers."""
        return "outbox" if self.kind in (*DONE, "long") else "failed"


class Giver:
    """Puts jobs into the inbox of a stub daemon, as careful programs and people do.

    Args:
        spool: The spool.
        seed: Of names and kinds.
    """

    def __init__(self, spool: Path, seed: int, tag: str = "") -> None:
        self._inbox = spool / "inbox"
        self._rng = random.Random(f"{seed} {tag}")
        self._tag = tag
        self._staging = spool.parent / f"staging{tag}"
        self._staging.mkdir(exist_ok=True)
        self._n = 0
        self.at_s: Optional[float] = None
        """When the files say they were written, if not now."""
        self.hold = self._staging / "hold"
        """As long as this file is there, jobs of kind ``long`` last."""

    def give(self, kind: Optional[str] = None, name: Optional[str] = None) -> Given:
        """Add a job, of a random kind and name unless given."""
        rng, self._n = self._rng, self._n + 1
        if kind is None:
            kind = rng.choice(DONE + DONE + DONE + FAILING + CRASHING[: rng.random() < 0.2])
        mark = f"job {self._tag}{self._n}"
        is_folder = kind in ("folder", "two photos", "folder inside", "linked photo", "deep", "in the way")
        if name is None:
            name = rng.choice(NAMES).format(n=self._n) + (f" {self._tag}" if self._tag else "")
            name = name if len(os.fsencode(name)) <= 251 else name[2 * len(self._tag) :]
            if kind in ("pair", "folder", "refuse") and rng.random() < 0.3:
                name = rng.choice(SHARED_NAMES)
        action = {
            "long": f"held\n{self.hold.absolute()}",
            "slow": f"slow\n{rng.uniform(0.02, 0.3):.3f}",
            "once": f"crash\n{self._staging.absolute()}/crashed-{self._n}",
        }.get(kind, f"{kind if kind in ('refuse', 'control', 'bug', 'crash') else 'ok'}\n")
        recording = f"{mark}\n{action}\n".encode()
        photo = f"{'' if kind == 'no photo' else 'photo of '}{mark}".encode()
        made = self._staging / f"{self._n}"
        made.mkdir()
        stem = "sound" if is_folder else name
        self._fill(made, kind, stem, recording, photo)
        if self.at_s is not None:
            for path in made.iterdir():
                os.utime(path, (self.at_s, self.at_s), follow_symlinks=False)
        contents = tuple(p.read_bytes() for p in sorted(made.iterdir()) if p.is_file() and not p.is_symlink())
        if is_folder:
            self._move_folder(made, name)
        else:
            self._move_files(made, keep=kind == "hard")
        return Given(mark, kind, tuple(c for c in contents if mark.encode() in c))

    def _fill(self, made: Path, kind: str, stem: str, recording: bytes, photo: bytes) -> None:
        sound, face = made / f"{stem}.wav", made / f"{stem}.jpg"
        if kind == "link":
            sound.symlink_to(OUTSIDE)
        elif kind == "pipe":
            os.mkfifo(sound)
        elif kind == "link folder":
            sound.symlink_to("/etc")
        else:
            sound.write_bytes(recording)
        if kind == "linked photo":
            face.symlink_to(OUTSIDE)
        elif kind != "lone":
            face.write_bytes(photo)
        if kind == "two photos":
            (made / "other.png").write_bytes(b"another " + photo)
        if kind == "folder inside":
            (made / "more" / "and more").mkdir(parents=True)
        if kind == "deep":
            (made / PRIVATE).touch()
            _dig(made / ".deep")
        if kind == "in the way":
            (made / ".reason.json.tmp").mkdir()
            (made / "reason.json").mkdir()
        if kind == "controls":
            (made / f"{stem}.yml").write_text("seed: 3\n")

    def _move_files(self, made: Path, keep: bool) -> None:
        """The recording last: a photo alone is never taken. Nothing in the way is overwritten."""
        for path in sorted(made.iterdir()):
            target = self._inbox / path.name
            until_free(lambda p=path, t=target: os.link(p, t, follow_symlinks=False))
            if not keep:
                path.unlink()

    def _move_folder(self, made: Path, name: str) -> None:
        until_free(lambda: made.rename(self._inbox / name))


def _dig(folder: Path) -> None:
    """Folders in folders, deeper than Python can follow."""
    folder.mkdir()
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=inner)
        deeper = os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(inner)
        inner = deeper
    os.close(inner)


def until_free(put: Callable[[], object], patience_s: float = 300.0) -> None:
    """Put something where another of its name may still lie."""
    end = time.monotonic() + patience_s
    while True:
        try:
            put()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


@dataclass
class Audit:
    """What became of the jobs that were given in."""

    done: int = 0
    failed: int = 0
    broken: List[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.done} done, {self.failed} failed, {len(self.broken)} broken"


MarkOf = Callable[[Mapping[str, object], bytes], str]
"""From the report in outbox and its video to the mark of the job; ValueError if the video is not whole."""


def stub_mark(report: Mapping[str, object], video: bytes) -> str:
    mark = stub.mark_in(video)
    if report["mark"] != mark:
        raise ValueError(f"the report is of {report['mark']}, the video of {mark}")
    return mark


def audit(spool: Path, given: List[Given], mark_of: MarkOf = stub_mark, excuses: Sequence[str] = ()) -> Audit:
    """See that each job ended exactly once, whole, with all that was given in.

    Args:
        spool: A spool at rest.
        given: What was given in.
        mark_of: Reads what is in outbox.
        excuses: Reasons accepted for a job that failed only because its worker was disturbed.
    """
    reported = Audit()
    ends: Dict[str, List[str]] = {}
    reasons: Dict[str, str] = {}
    marks = {_key(content): job.mark for job in given for content in job.contents}
    found = _contents(spool)
    for folder in ("inbox", "work"):
        reported.broken += [f"{folder}/{name!r} is left" for name in _names(spool / folder)]
    for path in sorted((spool / "outbox").iterdir()):
        if path.suffix == ".json":
            try:
                report = json.loads(path.read_bytes())
                mark = mark_of(report, (spool / "outbox" / str(report["result"])).read_bytes())
            except (OSError, ValueError, KeyError) as e:
                reported.broken.append(f"{path.name!r} in outbox: {e!r}")
            else:
                ends.setdefault(mark, []).append("outbox")
        elif not path.with_suffix(".json").exists() or path.suffix not in (".mp4", ".inputs"):
            reported.broken.append(f"{path.name!r} in outbox belongs to nothing")
    for path in sorted((spool / "failed").iterdir()):
        what = ""
        try:
            what = json.loads((path / "reason.json").read_bytes())["what"]
            assert what, "says nothing"
        except (OSError, ValueError, KeyError, AssertionError) as e:
            reported.broken.append(f"failed/{path.name!r}/reason.json: {e!r}")
        inside = {marks[key] for key, where in found.items() if key in marks and any(path in p.parents for p in where)}
        if len(inside) != 1:
            reported.broken.append(f"failed/{path.name!r} holds files of {sorted(inside) or 'no job'}")
        for mark in inside:
            reasons[mark] = what
            ends.setdefault(mark, []).append("failed")
    for job in given:
        here = ends.pop(job.mark, [])
        reported.done += here == ["outbox"]
        reported.failed += here == ["failed"]
        if len(here) != 1:
            reported.broken.append(f"{job.mark} ({job.kind}) {'is LOST' if not here else f'ended {here}'}")
        elif here != [job.ends] and not any(excuse in reasons.get(job.mark, "") for excuse in excuses):
            reported.broken.append(f"{job.mark} ({job.kind}) ended in {here[0]}: {reasons.get(job.mark, '')}")
        n_kept = 0 if job.kind == "deep" and here == ["outbox"] else 1  # what the box recorded itself goes
        for content in job.contents:
            where = found.get(_key(content), [])
            if len(where) != n_kept:
                reported.broken.append(f"{job.mark} ({job.kind}): {content[:40]!r} is there {len(where)} times")
    reported.broken += [f"{mark} ended in {where} but was never given in" for mark, where in ends.items()]
    return reported


def _names(folder: Path) -> List[str]:
    return [path.name for path in folder.iterdir()]


def _contents(spool: Path) -> Dict[bytes, List[Path]]:
    """Every plain file below the four folders by a hash of what is in it."""
    found: Dict[bytes, List[Path]] = {}
    folders = [spool / folder for folder in ("inbox", "work", "outbox", "failed")]
    while folders:
        for path in folders.pop().iterdir():
            if path.is_symlink():
                continue
            if path.is_dir() and path.name != ".deep":  # which has no files, and no end that Python reaches
                folders.append(path)
            elif path.is_file():
                found.setdefault(_key(path.read_bytes()), []).append(path)
    return found


def _key(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
