"""Failures on order: at the n-th call of a function, by its full name.

From outside the process: CHIP_DOUBLE_FAULTS="acl.mdl.execute@3=507011;mindspore_lite.Model.predict@1=predict failed!"
A call with the fault `hang` never returns. With CHIP_DOUBLE_TOKEN=FILE a fault happens only to the process that can
take that file away: once in all.
"""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Counter as Counts
from typing import Dict, Optional, Tuple

calls: Counts[str] = Counter()
"""How often each function was called since `clear`."""
_ordered: Dict[Tuple[str, int], str] = {}


def order(name: str, nth: int, what: object) -> None:
    """Let the n-th call from now (1: the next) of a function fail."""
    _ordered[name, calls[name] + nth] = str(what)


def clear() -> None:
    """No faults any more, and counting begins again."""
    calls.clear()
    _ordered.clear()


def due(name: str) -> Optional[str]:
    """Count a call; returns the fault to inject, if any."""
    calls[name] += 1
    what = _ordered.pop((name, calls[name]), None)
    if what is not None and "CHIP_DOUBLE_TOKEN" in os.environ:
        try:
            Path(os.environ["CHIP_DOUBLE_TOKEN"]).unlink()
        except FileNotFoundError:
            return None
    if what == "hang":
        time.sleep(3600)
    return what


for _one in filter(None, os.environ.get("CHIP_DOUBLE_FAULTS", "").split(";")):
    _where, _, _what = _one.partition("=")
    _name, _, _nth = _where.partition("@")
    order(_name, int(_nth), _what)
