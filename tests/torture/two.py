"""Two daemons on one spool."""

from pathlib import Path

from .box import Box
from .jobs import Giver, audit
from .result import Result


def run(folder: Path, seed: int) -> Result:
    result = Result("two")
    first, second = Box(folder / "first"), Box(folder / "second", spool=folder / "first" / "spool")
    first.start()
    first.until_ready()
    second.start()
    status, words = second.wait(), second.last_words(1)
    assert first.process is not None
    result.row("the second ends with", status)
    result.row("and says", words.partition("ERROR ")[2])
    result.expect(status == 1, f"the second ended with {status}")
    result.expect(f"process {first.process.pid}" in words, f"the second does not say who holds the lock: {words}")
    result.expect("Traceback" not in second.text(), "the second ended in a traceback")
    giver = Giver(first.spool, seed)
    given = [giver.give("pair") for _ in range(5)]
    first.until_idle()
    first.kill()  # the lock must go with it
    second.start()
    second.until_ready()
    given += [giver.give("pair") for _ in range(5)]
    second.until_idle()
    result.expect(second.stop() == 0, "the second, once alone, did not end well")
    reported = audit(first.spool, given)
    result.row("jobs before and after the first was killed", reported)
    result.broken += reported.broken
    return result
