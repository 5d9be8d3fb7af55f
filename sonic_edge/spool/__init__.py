"""The spool: each job arrives in inbox, is processed in work, and ends in outbox or failed, exactly once.

A job is a folder in the inbox that holds one recording, one photo and an optional ``job.yaml``; or files with the same
stem in the inbox itself (``a.wav`` + ``a.jpg`` [+ ``a.yaml``]); or a recording alone, for the configured portrait.

Each claimed job is a folder ``work/<id>/``:

    job.json      its record, replaced atomically and synced at each step: it alone determines the job's state
    inputs/       the user's files
    result/       what the worker writes; invalid until the record says publishing
    report.json   the finished report; its rename into outbox ends the job

The record goes through these states:

    claiming ---> claimed <---> running ---> publishing ---> (gone: outbox/<name>.json exists)
        |            |             |
        |            +-------------+-------> failing ------> (gone: failed/<name>/ exists)
        +--> (gone: nothing was moved yet)

The record is written before the first file is moved, and every later step can be repeated, so that after a power cut at
any moment `Spool.recover` continues the job from its last state. The folder of an ended job is renamed to
``work/.trash-<id>`` before it is deleted, so that a half-deleted folder never looks like a job.

The spool looks at names and sizes only; the worker alone opens the files.

Each module imports only those before it: `folders` (the four folders, their lock), `job` (what a job is, its record),
`scan` (which jobs are in the inbox, and whether they are complete), `finish` (moves jobs to outbox or failed), `claim`
(takes them from the inbox), `spool` (puts it all together).
"""

from .job import PRIVATE, Job
from .quota import DiskStatus
from .spool import Spool

__all__ = ["PRIVATE", "DiskStatus", "Job", "Spool"]
