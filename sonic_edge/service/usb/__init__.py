"""A USB stick is plugged in: its jobs go into the inbox, their videos come back onto the stick.

It runs beside the daemon, as the daemon's user, in three steps between which the unit ``sonic-edge-stick@`` changes
how the stick is mounted: `take` reads it, mounted read-only, and waits for the jobs to end; `bring` writes results, the
only step for which it is writable; `done` says that it may be pulled, when it is no longer mounted. It may be pulled at
any time: the jobs go on, and their results are brought the next time it is plugged in.

What was taken once is not taken again, however often the stick is plugged in: `memory` on the box knows it by name and
content. It is kept on the box because a stick may be read-only, and because people tidy their sticks.

Of the modules, each imports only those before it: `find` (what on a stick is a job), `memory` (what was taken before),
`results` (what is written onto it), `visit` (the three steps).
"""

from .visit import bring, done, take

__all__ = ["bring", "done", "take"]
