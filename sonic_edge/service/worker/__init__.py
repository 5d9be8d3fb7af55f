"""The worker process, which opens untrusted files, holds the model and runs the jobs; and the daemon's end of it.

The two exchange lines of JSON over pipes (`messages`), never pickles: a file that compromises the worker must not be
able to compromise the daemon too.

`link` is the daemon's end, and the only module imported here: the daemon must not load numpy and OpenCV. `process` runs
in the worker, which ``python -m sonic_edge.service.worker`` starts.
"""

from .link import COMMAND, Died, Message, Worker
from .messages import Failed, Finished, Progress, Ready

__all__ = ["COMMAND", "Died", "Failed", "Finished", "Message", "Progress", "Ready", "Worker"]
