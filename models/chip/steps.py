"""Steps, each a command: what it needs is there, what it leaves is whole, what is done is not done again.

A step writes into a folder of its own, under another name until it is done; one that was cut off leaves nothing that
could be taken for a result.
"""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Callable, Dict, Iterator, List, Tuple

LOG = "log.txt"
RECORD = "step.json"
TAIL = 25
"""Lines of a failed command's log that are shown."""


class StepError(Exception):
    """A step could not be done: which, why, and what to do."""


@dataclass(frozen=True)
class Step:
    """A command and what it makes."""

    name: str
    """For the reader: encoder: atc."""
    tool: str
    """What it runs, as `explain` knows it: ours, amct, atc or converter_lite."""
    folder: Path
    """Where its outputs lie when it is done."""
    command: Callable[[Path], List[str]]
    """The command that writes its outputs into the given folder."""
    inputs: Tuple[Path, ...]
    """Files or folders that it reads."""
    outputs: Tuple[str, ...]
    """What it leaves in its folder."""
    texts: Dict[str, str] = field(default_factory=dict)
    """Files that it reads and that are written for it, beside its outputs: name -> text."""

    @property
    def part(self) -> Path:
        """Where it works until it is done."""
        return self.folder.with_name(self.folder.name + ".part")

    @property
    def shown(self) -> str:
        """The exact command."""
        return shlex.join(self.command(self.part))

    def output(self, name: str) -> Path:
        """A file it leaves."""
        return self.folder / name


def digest(path: Path) -> str:
    """The sha256 of a file, or of all files in a folder with their names.

    Raises:
        StepError: If it cannot be read.
    """
    try:
        if path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        sums = [f"{p.relative_to(path)} {digest(p)}" for p in sorted(path.rglob("*")) if p.is_file()]
    except OSError as e:
        raise StepError(f"{path}: cannot be read: {e}") from e
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def is_done(step: Step) -> bool:
    """Whether a step was done before with the same command, program and inputs, and what it left is as it left it."""
    try:
        record = json.loads((step.folder / RECORD).read_text("utf8"))
    except (OSError, ValueError):
        return False
    try:
        return bool(record == _record(step, step.folder))
    except StepError:  # something it read or left is gone
        return False


@contextmanager
def alone(work: Path) -> Iterator[int]:
    """Nobody else works in a folder, nor does a tool that is left of somebody who was killed.

    Returns:
        What a tool is to keep open while it runs.

    Raises:
        StepError: If somebody does.
    """
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise StepError(
                f"{work}: a conversion is at work here, or a tool that is left of one: wait for it, or end it"
            ) from e
        yield file.fileno()


def run(step: Step, explain: Callable[[str, int, str], str], lock: int) -> None:
    """Do a step.

    Args:
        step: What to do.
        explain: (tool, exit status, log) -> what to do about it.
        lock: From `alone`.

    Raises:
        StepError: If an input is missing, the command fails, or an output is missing or empty.
    """
    for path in step.inputs:
        if not path.exists() or (path.is_file() and not path.stat().st_size):
            raise StepError(f"{step.name}: needs {path}, which is {'empty' if path.exists() else 'not there'}")
    shutil.rmtree(step.part, ignore_errors=True)
    step.part.mkdir(parents=True)
    for name, text in step.texts.items():
        (step.part / name).write_text(text, "utf8")
    log = step.part / LOG
    try:
        with log.open("wb") as out:
            status = subprocess.run(
                step.command(step.part),
                cwd=step.part,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
                pass_fds=(lock,),
            ).returncode
    except OSError as e:
        what = f"{step.name}: {step.command(step.part)[0]} cannot be run: {e}"
        raise StepError(f"{what}\n{explain(step.tool, 127, '')}") from e
    said = log.read_text("utf8", "replace")
    if status:
        how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        raise StepError(_failure(step, how, said, explain(step.tool, status, said)))
    for name in step.outputs:
        path = step.part / name
        if not path.exists() or (path.is_file() and not path.stat().st_size):
            what = f"exit status 0, but {name} is {'empty' if path.exists() else 'not there'}"
            raise StepError(_failure(step, what, said, explain(step.tool, 0, said)))
    with (step.part / RECORD).open("w", encoding="utf8") as file:
        json.dump(_record(step, step.part), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    shutil.rmtree(step.folder, ignore_errors=True)
    step.part.rename(step.folder)


def _record(step: Step, where: Path) -> Dict[str, object]:
    command = step.command(step.part)
    return {
        "command": command,
        "program": _identity(command[0]),
        "texts": step.texts,
        "inputs": {str(path): digest(path) for path in step.inputs},
        "outputs": {name: digest(where / name) for name in step.outputs},
    }


def _identity(program: str) -> List[str]:
    """Which build of a program it is: CANN keeps its releases in folders of their own."""
    found = which(program)
    if not found:
        return []
    real = Path(found).resolve()
    return [str(real), str(real.stat().st_size), str(real.stat().st_mtime_ns)]


def _failure(step: Step, how: str, said: str, advice: str) -> str:
    lines = said.strip().splitlines()
    tail = "".join(f"    | {line}\n" for line in lines[-TAIL:]) or "    | (it said nothing)\n"
    kept = step.part / LOG
    return f"{step.name}: {how}\n    $ {step.shown}\n{tail}    whole log: {kept}\n{advice}"
