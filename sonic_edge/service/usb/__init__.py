"""Jobs from a USB stick go into the inbox; their videos are written back onto the stick.

This runs beside the daemon, as the daemon's user, in three steps, between which the unit ``sonic-edge-stick@`` changes
how the stick is mounted: `import_jobs` reads it while it is mounted read-only, and waits for the jobs to end;
`export_results` writes results, the only step for which the stick is writable; `announce_end` shows on the screen that
the stick may be removed, after it is unmounted. It may be pulled out at any time: the jobs go on, and their results are
written the next time it is plugged in.

A job is imported once, however often the stick is plugged in: `history` knows it by name and content. The history is
kept on the box because a stick may be read-only, and because people delete files from their sticks.

Of the modules, each imports only those before it: `find` (what on a stick is a job), `history` (what was imported
before), `results` (what is written onto the stick), `transfer` (the three steps).
"""

from .transfer import announce_end, export_results, import_jobs

__all__ = ["announce_end", "export_results", "import_jobs"]
