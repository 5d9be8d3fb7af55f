"""The process that hears, sees and speaks live, and makes the idle scene; and the daemon's end of it.

It holds a model of its own, so that a long job and a live portrait never wait for each other. The two talk in JSON
lines, as with the worker. To it go its settings, then orders; each order is answered once:

    {"order": "talk", "on": true, "id": 7}      talk | mute | snapshot
    {"tell": "answer", "id": 7, "error": ""}

and unasked come:

    {"tell": "ready"}
    {"tell": "state", "state": {...}}           now and then: a sign of life, and what `status` shows
    {"tell": "scene", "path": "..."}            the idle scene is there
    {"tell": "live", "path": "...", ...}        raw pictures come through a FIFO now; path "": no more
    {"tell": "words", "key": "listening"}       what the screen is to say; "" for nothing
    {"tell": "recorded", "name": "..."}         a passage went into the inbox
    {"tell": "failed", "error": "ConfigError", "message": "..."}    and it ends

`link` is the daemon's end, and all that is imported here. `process` is its own life, which ``python -m
sonic_edge.live.studio`` starts; `devices` are its ears and its voice, which come and go.
"""

from .link import COMMAND, Answer, Live, Lost, Message, Ready, Recorded, Scene, State, Studio, Words

__all__ = [
    "COMMAND",
    "Answer",
    "Live",
    "Lost",
    "Message",
    "Ready",
    "Recorded",
    "Scene",
    "State",
    "Studio",
    "Words",
]
