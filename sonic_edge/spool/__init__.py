"""The spool: each job arrives in inbox, is done in work, and ends in outbox or failed, exactly once.

A job is a folder in the inbox that holds one recording, one photo and an optional ``job.yaml``; or files of one stem in
the inbox itself (``a.wav`` + ``a.jpg`` [+ ``a.yaml``]); or a lone recording, which the configured portrait speaks.

Each claimed job is a folder ``work/<id>/``:

    job.json      its record, replaced durably at each step: it alone says which state the job is in
    inputs/       the user's files
    result/       what the worker writes; invalid until the record says publishing
    report.json   the finished report, until it is renamed into outbox, which ends the job

and its record goes through these states:

    claiming ---> claimed <---> running ---> publishing ---> (gone: outbox/<name>.json exists)
        |            |             |
        |            +-------------+-------> failing ------> (gone: failed/<name>/ exists)
        +--> (gone: nothing was moved yet)

The intent is written before the first move, and every later step can be repeated, so that after a power cut at any
moment `Spool.recover` continues the job from its last state. The folder of an ended job is renamed to
``work/.trash-<id>`` before it is deleted, so that a half-deleted folder never looks like a job.

Everything here goes by names and sizes only. The worker alone opens the files.

Of the modules, each imports only those before it: `folders` (the four folders, their lock), `job` (what a job is, its
record), `scan` (which jobs are in the inbox, and whether they are complete), `finish` (into outbox or failed), `claim`
(out of the inbox), `spool` (all of it).
"""

from .job import PRIVATE, Job
from .quota import DiskStatus
from .spool import Spool

__all__ = ["PRIVATE", "DiskStatus", "Job", "Spool"]
