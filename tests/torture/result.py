"""What a part says at its end."""

import sys
import time
from dataclasses import dataclass, field
from typing import List, Tuple


@dataclass
class Result:
    """Figures to be quoted and promises that were broken.

    Args:
        name: Of the part.
    """

    name: str
    rows: List[Tuple[str, str]] = field(default_factory=list)
    broken: List[str] = field(default_factory=list)
    not_run: List[str] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def row(self, what: str, figure: object) -> None:
        """A line of the table."""
        self.rows.append((what, str(figure)))

    def expect(self, holds: bool, words: str) -> None:
        """Note a promise as broken unless it holds."""
        if not holds:
            self.broken.append(words)
            self.progress(f"BROKEN: {words}")

    def progress(self, words: str) -> None:
        """One line that is written over on a terminal, and a line each in a log."""
        end = "\n" if words.startswith("BROKEN") or not sys.stderr.isatty() else "\r"
        text = f"[{self.name} {time.monotonic() - self.since:5.0f} s] {words}"
        print(text[:400], end=end, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        lines = [f"{self.name:<8} {what:<58} {figure}" for what, figure in self.rows]
        lines += [f"{self.name:<8} NOT RUN: {why}" for why in self.not_run]
        lines += [f"{self.name:<8} BROKEN: {words}" for words in self.broken[:20]]
        if len(self.broken) > 20:
            lines.append(f"{self.name:<8} BROKEN: and {len(self.broken) - 20} more")
        return "\n".join(lines)
