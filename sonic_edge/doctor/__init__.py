"""`sonic-edge doctor`: looks at every part of the box and says what to do about what is wrong.

`examine` carries out the checks of `box`, `program`, `model`, `devices` and `service`, each in a process of its own
(`sonic_edge.process.isolated`); `support` packs what somebody far away needs to know, with names taken out (`redact`).
"""

from .examine import examine, exit_status
from .finding import Finding
from .support import check_place, write_bundle

__all__ = ["Finding", "check_place", "examine", "exit_status", "write_bundle"]
