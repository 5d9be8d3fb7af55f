"""The process that hears, sees and speaks live, and makes the idle scene; and the daemon's end of it.

It holds a model of its own, so that a long job and a live portrait never wait for each other. The two exchange lines of
JSON, as with the worker (`messages`).

`link` is the daemon's end, and all that is imported here. `process` is its own life, which ``python -m
sonic_edge.live.studio`` starts; `devices` are its microphone and loudspeaker, which come and go.
"""

from .link import COMMAND, Lost, Message, Studio
from .messages import Answer, Command, Ready, Recorded, Scene, State, Stream, Words

__all__ = [
    "COMMAND",
    "Answer",
    "Command",
    "Lost",
    "Message",
    "Ready",
    "Recorded",
    "Scene",
    "State",
    "Stream",
    "Studio",
    "Words",
]
