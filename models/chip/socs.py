"""Names of Ascend chips as ATC wants them."""

import difflib
import os
from pathlib import Path
from typing import Set

KNOWN = [
    *("Ascend310", "Ascend310B1", "Ascend310B2", "Ascend310B3", "Ascend310B4"),
    *("Ascend310P1", "Ascend310P3", "Ascend310P5", "Ascend310P7"),
    *("Ascend910A", "Ascend910B", "Ascend910PremiumA", "Ascend910ProA", "Ascend910ProB"),
    *("Ascend910B1", "Ascend910B2", "Ascend910B2C", "Ascend910B3", "Ascend910B4"),
    *("Ascend910_9362", "Ascend910_9372", "Ascend910_9381", "Ascend910_9382", "Ascend910_9391", "Ascend910_9392"),
]
"""Names met in github hicann/ge ffdcbc9 and hicann/ops-nn e5c3fa9; of the 310B, `npu-smi` documents B1 and B4
(hiascend.com, Atlas 200I A2, npusmi_009)."""


def installed() -> Set[str]:
    """Chips that the CANN toolkit of this shell describes, in `data/platform_config/<chip>.ini` of its folder."""
    homes = [os.environ[name] for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH") if os.environ.get(name)]
    return {ini.stem for home in homes for ini in Path(home).glob("**/data/platform_config/Ascend*.ini")}


def check_soc(name: str) -> str:
    """What is wrong with a chip's name; empty if nothing.

    With CANN in this shell its own chips count; without, those that are known here.
    """
    there = installed()
    if name in (there or KNOWN):
        return ""
    reported = "`npu-smi info` tells the chip's name; write Ascend before it: 310B4 is Ascend310B4"
    if there and name in KNOWN:
        return f"--soc {name}: the CANN of this shell has no such chip; it has: {', '.join(sorted(there))}"
    wanted = name if name.lower().startswith("ascend") else f"Ascend{name}"
    folded = {known.lower(): known for known in (there or KNOWN)}
    near = difflib.get_close_matches(wanted.lower(), folded, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(folded[n] for n in near)}? " if near else ""
    return f"--soc {name}: no such chip; {hint}{reported}"
