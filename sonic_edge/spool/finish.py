"""Ends a job: its video is moved to outbox, or its inputs to failed.

Either begins by recording it in job.json; from then on `finish_publishing` or `finish_failing` can be repeated after a
power cut at any moment.
"""

import json
import logging
from dataclasses import replace
from typing import Mapping

from .. import disk
from ..errors import SonicEdgeError
from .folders import Folders
from .job import PRIVATE, REASON, Record, now, output_in

log = logging.getLogger(__name__)


def publish(folders: Folders, record: Record, report: Mapping[str, object], keep_inputs: bool) -> str:
    """End a job whose video is complete.

    Args:
        folders: The spool.
        record: The job's record.
        report: The pipeline's report; ``job`` and ``result`` are set to the final names.
        keep_inputs: Whether its inputs are moved to outbox too.

    Returns:
        The name: ``outbox/<name>.mp4`` and ``outbox/<name>.json``.
    """
    folder = folders.work / record.id
    disk.sync(output_in(folder))
    record = _named(folders, replace(record, state="publishing"))
    disk.write_json(folder / "report.json", {**report, **_final_names(record)})
    record.store(folder)
    return finish_publishing(folders, record, keep_inputs)


def finish_publishing(folders: Folders, record: Record, keep_inputs: bool) -> str:
    """Complete a `publish`; the report is renamed into outbox last, which ends the job."""
    folder = folders.work / record.id
    video, report, inputs = output_in(folder), folder / "report.json", folder / "inputs"
    if disk.exists(video):
        if disk.exists(folders.outbox / f"{record.name}.mp4"):  # created since the name was chosen
            record = _named(folders, record)
            disk.write_json(report, {**json.loads(report.read_bytes()), **_final_names(record)})
            record.store(folder)
        disk.rename(video, folders.outbox / f"{record.name}.mp4")
    if keep_inputs and disk.exists(inputs) and not disk.exists(inputs / PRIVATE):
        disk.rename(inputs, folders.outbox / f"{record.name}.inputs")
    disk.sync(folders.outbox)
    if disk.exists(report):
        disk.rename(report, folders.outbox / f"{record.name}.json")
        disk.sync(folders.outbox)
        disk.sync(folder)
        log.info("%s: done", record.name, extra={"JOB": record.id})
    folders.trash(folder)
    return record.name


def fail(folders: Folders, record: Record, error: SonicEdgeError, controls: Mapping[str, object]) -> str:
    """End a job that has failed or was cancelled.

    Args:
        folders: The spool.
        record: The job's record.
        error: Why.
        controls: The job's own controls, as far as they could be read.

    Returns:
        The name: ``failed/<name>/``.
    """
    reason = {
        "what": str(error),
        "error": type(error).__name__,
        "time": now(),
        "attempts": record.deaths + int(record.state == "running"),
        "controls": dict(controls),
    }
    record = _named(folders, replace(record, state="failing", reason=reason))
    record.store(folders.work / record.id)
    return finish_failing(folders, record)


def finish_failing(folders: Folders, record: Record) -> str:
    """Complete a `fail`."""
    folder = folders.work / record.id
    inputs = folder / "inputs"
    if disk.exists(inputs):
        if disk.exists(folders.failed / record.name):  # created since the name was chosen
            record = _named(folders, record)
            record.store(folder)
        target = inputs / REASON
        if target.is_dir():
            others = (inputs / name for name in disk.numbered(target.name))
            disk.rename(target, next(other for other in others if not disk.exists(other)))
        disk.write_json(folder / REASON, record.reason)  # not in inputs, where any temporary name may be taken
        disk.rename(folder / REASON, target)
        disk.sync(inputs)
        disk.rename(inputs, folders.failed / record.name)
        disk.sync(folders.failed)
        disk.sync(folder)
        what = str(record.reason.get("what", ""))
        prefix = f"{record.id}: "  # most reasons begin with it
        what = what[len(prefix) :] if what.startswith(prefix) else what
        log.warning("%s: failed: %s", record.name, what, extra={"JOB": record.id})
    folders.trash(folder)
    return record.name


def _named(folders: Folders, record: Record) -> Record:
    return replace(record, name=folders.free_name(record.id, is_own=True))


def _final_names(record: Record) -> Mapping[str, str]:
    return {"job": record.name, "result": f"{record.name}.mp4"}
