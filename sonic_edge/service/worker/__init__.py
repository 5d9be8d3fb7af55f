"""The process that reads strangers' files, holds the model and does the jobs; and the daemon's end of it.

The two exchange lines of JSON over pipes (`messages`), never pickles: a file that takes over the worker must
not get the daemon too.

`link` is the daemon's end, and all that is imported here: the daemon must not carry numpy and OpenCV. `process` is the
worker's own life, which ``python -m sonic_edge.service.worker`` starts.
"""

from .link import COMMAND, Died, Message, Worker
from .messages import Failed, Finished, Progress, Ready

__all__ = ["COMMAND", "Died", "Failed", "Finished", "Message", "Progress", "Ready", "Worker"]
