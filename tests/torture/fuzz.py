"""A thousand broken recordings and photos through the real daemon and the real worker."""

import collections
import json
import random
import re
import time
from pathlib import Path
from typing import Dict

from .box import SAMPLES, Box, rss_mb
from .mutate import mutated, photos, recordings
from .result import Result
from .watch import Watch

AT_A_TIME = 20
STALL_S = 20.0
SECONDS = 0.6
CONTROLS = b"seed: 3\nsmooth: true\nmotion_scale: 1.2\ndynamic_scale: 1\nduration: auto\ninference_steps: 2\n"


def run(folder: Path, seed: int, minutes: float = 20.0, n_files: int = 1000) -> Result:
    result, rng = Result("fuzz"), random.Random(seed)
    box = Box(folder, "real", settings={"worker": {"stall_s": STALL_S}})
    sounds, faces = recordings(SECONDS), photos()
    others = [*sounds.values(), *faces.values()]
    good_photo = SAMPLES / "portrait.jpg"
    result.row("kinds of recordings / photos", f"{' '.join(sounds)} / {' '.join(faces)}")
    end, given, how = time.monotonic() + 60 * minutes, 0, {}
    box.start()
    box.until_ready()
    with Watch(box.spool, whole=bytes.__len__) as watch:
        while given < n_files and time.monotonic() < end:
            for _ in range(min(AT_A_TIME, n_files - given)):
                given += 1
                name = f"broken {given}"
                is_sound = rng.random() < 0.6
                suffix = rng.choice(sorted(sounds if is_sound else faces))
                data, how[name] = mutated((sounds if is_sound else faces)[suffix], others, rng)
                how[name] = f"{suffix} {how[name]}"
                job = folder / "staging" / name
                job.mkdir(parents=True)
                (job / f"broken.{suffix}").write_bytes(data)
                if is_sound:
                    (job / "good.jpg").write_bytes(good_photo.read_bytes())
                else:
                    (job / "good.wav").write_bytes(sounds["wav"])
                if rng.random() < 0.1:
                    (job / "job.yaml").write_bytes(mutated(CONTROLS, others, rng)[0])
                job.rename(box.spool / "inbox" / name)
            box.until_idle(600)
            done = sum(name.endswith(".json") for name in box.names("outbox"))
            died = len(re.findall(r"\(attempt \d+ of \d+\)", box.text()))
            result.progress(
                f"{given} of {n_files} files: {done} done, {len(box.names('failed'))} failed, {died} deaths of workers"
            )
    result.row("broken files given in", given)
    result.expect(given == n_files, f"only {given} of {n_files} files in {minutes:g} minutes")
    _account(box, how, result)
    for words in watch.broken:
        result.expect(False, words)
    assert box.process is not None
    result.row("daemon's memory at the end, MB", f"{rss_mb(box.process.pid):.1f}")
    result.row("deaths of the daemon", box.text().count("starting; settings") - 1)
    result.expect(box.is_alive() and box.stop() == 0, "the daemon did not end well")
    return result


def _account(box: Box, how: Dict[str, str], result: Result) -> None:
    """Each file ends up in one place; each failure has a message."""
    done = {name[: -len(".json")] for name in box.names("outbox") if name.endswith(".json")}
    failed = set(box.names("failed"))
    result.row("done / failed", f"{len(done)} / {len(failed)}")
    for name in how:
        n_ends = (name in done) + (name in failed)
        result.expect(n_ends == 1, f"{name} ({how[name]}) has {n_ends} ends")
    kinds: Dict[str, int] = collections.Counter()
    bad = []
    for name in sorted(failed):
        reason = json.loads((box.spool / "failed" / name / "reason.json").read_bytes())
        kinds[f"{reason['error']}, {reason['attempts']} attempts"] += 1
        words = reason["what"]
        result.expect(len(words) > 10, f"{name} ({how[name]}) failed without words: {words!r}")
        if reason["error"] != "RequestError" or reason["attempts"] != 1:
            bad.append(f"{name} ({how[name]}): {words}")
    for kind, n in sorted(kinds.items()):
        result.row(f"failed as {kind}", n)
    text = box.text()
    result.row("deaths of workers / of them stalls", f"{text.count('(attempt ')} / {text.count('no progress for')}")
    result.row("tracebacks in the log", text.count("Traceback"))
    for words in bad[:10]:
        result.row("cost a worker", words[:200])
