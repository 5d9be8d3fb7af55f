"""The process that reads strangers' files, holds the model and does the jobs; and the daemon's end of it.

The two talk in JSON lines over pipes, never in pickles: a file that takes the worker over must not get the daemon too.
To the worker go its settings, then jobs, one at a time; back come:

    {"tell": "ready"}
    {"tell": "progress", "stage": "rendering", "done": 3, "total": 75}
    {"tell": "finished", "report": {...}}
    {"tell": "failed", "error": "RequestError", "message": "...", "controls": {...}, "last": false}
    {"tell": "crashed", "message": "ValueError: ..."}

``last`` says that the worker ends itself after it, because it can no longer be trusted to have memory.

`link` is the daemon's end, and all that is imported here: the daemon must not carry numpy and OpenCV. `process` is the
worker's own life, which ``python -m sonic_edge.service.worker`` starts.
"""

from .link import COMMAND, Died, Failed, Finished, Message, Ready, Worker, Working

__all__ = ["COMMAND", "Died", "Failed", "Finished", "Message", "Ready", "Worker", "Working"]
