"""The studio process, which runs microphone, camera and live portrait and makes the idle scene; and the daemon's end.

It holds a model of its own, so that a long job and a live portrait never wait for each other. The two exchange lines of
JSON, as the daemon and the worker do (`messages`).

`link` is the daemon's end, and the only module imported here. `process` runs in the studio, which ``python -m
sonic_edge.live.studio`` starts; `devices` holds its microphone and loudspeaker, which reconnect.
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
