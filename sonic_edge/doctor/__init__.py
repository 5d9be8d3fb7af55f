"""`sonic-edge doctor`: checks every part of the box and says how to fix what is wrong.

`examine` runs the checks of `box`, `program`, `model`, `chip`, `devices` and `service`, each in a process of its own
(`sonic_edge.process.isolated`); `support` writes a support bundle, from which `redact` removes names.
"""

from .examine import examine, exit_status
from .finding import Finding
from .support import check_path, write_bundle

__all__ = ["Finding", "check_path", "examine", "exit_status", "write_bundle"]
