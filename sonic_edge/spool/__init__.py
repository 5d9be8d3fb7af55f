"""The spool: jobs come in by the inbox, are worked on in work, and end in outbox or in failed, exactly once.

A job is a folder in the inbox holding one recording, one photo and an optional ``job.yaml``; or files of one stem lying
in the inbox itself (``a.wav`` + ``a.jpg`` [+ ``a.yaml``]); or a recording alone, which the configured portrait speaks.

Each claimed job is a folder ``work/<id>/``:

    job.json      its record, replaced durably at each step: the only truth about where the job stands
    inputs/       the person's files
    result/       what the worker writes; worth nothing until the record says publishing
    report.json   the finished report, until its rename into outbox, which is what ends the job

and its record goes through these states:

    claiming ---> claimed <---> running ---> publishing ---> (gone: outbox/<name>.json exists)
        |            |             |
        |            +-------------+-------> failing ------> (gone: failed/<name>/ exists)
        +--> (gone: nothing was moved yet)

The intent is written before the first move, and every step after it can be done again, so that whatever moment the
power goes, `Spool.recover` carries the job on from where it stood. A folder that has reached its end is renamed to
``work/.trash-<id>`` before it is taken apart: half a deletion never looks like a job.

Everything here trusts names and sizes only. What is in the files is for the worker to find out.

Of the modules, each imports only those before it: `folders` (the four of them, their lock), `job` (what a job is, its
record), `scan` (what lies in the inbox, and whether it is still), `finish` (into outbox or failed), `spool` (all of
it).
"""

from .job import PRIVATE, Job
from .spool import Spool

__all__ = ["PRIVATE", "Job", "Spool"]
