"""Tier 1: the real package and the real unit under a real systemd. Run as root on a fresh board, which it uses up."""

import sys
import time
from pathlib import Path
from typing import List

import box
import installing
import sandbox
from box import SETTINGS, UNIT, Wrong, run

SLOW = {"min_resolution": 512, "fps": 25}


def notifies() -> str:
    """READY=1 only after the model has run once."""
    if box.prop("Type") != "notify":
        raise Wrong(f"Type={box.prop('Type')}")
    run("systemctl", "stop", UNIT)  # first, so that the worker found belongs to the next daemon
    run("systemctl", "start", "--no-block", UNIT)
    # the worker is paused while loading: a READY now would come before the model has run
    worker = box.wait_for(
        "a worker", lambda: run("pgrep", "-f", "python.* -m sonic_edge.service.worker", status=None), 20, 0.01
    )
    (pid,) = worker.split()
    run("kill", "-STOP", pid)
    time.sleep(5)
    held = f"{box.state()}, {box.prop('StatusText')!r}"
    run("kill", "-CONT", pid)
    box.wait_until_ready()
    if not held.startswith("activating"):
        raise Wrong(f"with the worker paused while loading: {held}")
    return f"with the worker paused while loading: {held}; resumed: {box.state()}, {box.prop('StatusText')!r}"


def does_a_job() -> str:
    """A job from the inbox to the outbox."""
    box.put("first")
    return f"first.mp4: {box.wait_until_done('first')}"


def names_in_chinese() -> str:
    """A job with a Chinese name, as two files with the same stem."""
    inbox = box.SPOOL / "inbox"
    for sample in ("speech.flac", "portrait.jpg"):
        name = inbox / f"第一课 你好{Path(sample).suffix}"
        name.write_bytes((box.SAMPLES / sample).read_bytes())
    (inbox / "第一课 你好.yaml").write_text("".join(f"{k}: {v}\n" for k, v in box.QUICK.items()))
    return f"第一课 你好.mp4: {box.wait_until_done('第一课 你好')}"


def journal_has_fields() -> str:
    """journalctl JOB=first finds that job's lines and no others."""
    entries = box.journal("JOB=first")
    lines = [str(e["MESSAGE"]) for e in entries]
    if not any("first: done" in line for line in lines):
        raise Wrong(f"{len(lines)} lines, none says that it is done: {lines}")
    fields = sorted({f for e in entries for f in e if f in ("JOB", "STAGE", "ATTEMPT", "ERROR", "PRIORITY")})
    return f"{len(lines)} lines; fields {', '.join(fields)}; the last: {lines[-1]!r}"


def _restarts(do: str, result: str, within_s: float) -> str:
    """Disturb the daemon during a job; it must come back, and the job be done once."""
    name = f"under-{do}"
    before, n_before = box.main_pid(), int(box.prop("NRestarts"))
    box.put(name, SLOW)
    doing = box.wait_until_rendering(name)
    run("kill", f"-{do}", before)
    began = time.monotonic()
    box.wait_for("a new daemon", lambda: box.main_pid() not in (0, before), within_s)
    took_s = time.monotonic() - began
    box.wait_until_up()
    causes = [e for e in box.journal(f"--unit={UNIT}") if f"Failed with result '{result}'" in str(e.get("MESSAGE", ""))]
    n = int(box.prop("NRestarts")) - n_before
    if n != 1 or not causes:
        raise Wrong(f"restarted {n} times, {len(causes)} times for {result!r}")
    return f"{do} at {doing!r}; new daemon after {took_s:.0f} s ({result}); then {box.wait_until_done(name)}"


def survives_kill() -> str:
    """kill -9 of the daemon: restarted, the job done once."""
    return _restarts("KILL", "signal", 30)


def survives_a_hang() -> str:
    """A hung daemon is restarted by the watchdog, the job done once."""
    usual = box.prop("WatchdogUSec")
    box.drop_in("watchdog", "WatchdogSec=10s", "TimeoutAbortSec=5s")
    run("systemctl", "restart", UNIT)
    try:
        return f"{_restarts('STOP', 'watchdog', 60)} (10 s for this check; {usual} in the unit)"
    finally:
        box.drop_in("watchdog")
        run("systemctl", "restart", UNIT)


def reloads() -> str:
    """systemctl reload: a good change takes effect, a bad one is refused and status says so."""
    good, pid = SETTINGS.read_text(), box.main_pid()
    try:
        SETTINGS.write_text(good.replace("min_resolution: 512", "min_resolution: 160"))
        run("systemctl", "reload", UNIT)
        box.put("reloaded", {"fps": 10, "inference_steps": 2})
        small = box.wait_until_done("reloaded")
        SETTINGS.write_text(good.replace("settle_s: 1.0", "settle_s: soon"))
        run("systemctl", "reload", UNIT, status=1)
        reported = box.wait_for("status says so", _refused, 10)
    finally:
        SETTINGS.write_text(good)
        run("systemctl", "reload", UNIT)
    box.wait_for("status says that they hold", lambda: not _refused(), 10)
    if box.main_pid() != pid or not small.startswith("160x160"):
        raise Wrong(f"daemon {pid}, then {box.main_pid()}; with min_resolution: 160 a job came out as {small}")
    return f"same daemon; a job with the new settings: {small}; of the bad ones status said {reported[0]!r}"


def _refused() -> List[str]:
    """What status says about refused settings; its list of recent errors keeps them longer."""
    lines = run("sonic-edge", "status", "--config", SETTINGS).splitlines()
    return [line for line in lines if line.startswith("settings") and "settle_s" in line]


def doctor_is_content() -> str:
    """sonic-edge doctor finds nothing wrong with a fresh box."""
    lines = run("sonic-edge", "doctor", "--config", SETTINGS).splitlines()
    return f"{len(lines)} lines, the last {lines[-1]!r}"


def ends_with_78() -> str:
    """A bad configuration at start: exit 78, and no restart."""
    good = SETTINGS.read_text()
    SETTINGS.write_text(good.replace("settle_s: 1.0", "settle_s: soon"))
    try:
        run("systemctl", "restart", UNIT, status=None)
        box.wait_for("it has failed", lambda: box.state() == "failed", 30)
        n, status = box.prop("NRestarts"), box.prop("ExecMainStatus")
        time.sleep(10)
        if status != "78" or box.state() != "failed" or box.prop("NRestarts") != n:
            raise Wrong(f"status {status}, then {box.state()}, {box.prop('NRestarts')} restarts before {n}")
        words = [str(e["MESSAGE"]) for e in box.said("settle_s")][-1]
    finally:
        SETTINGS.write_text(good)
        run("systemctl", "restart", UNIT)
    return f"failed with 78 and still so 10 s later: {words!r}"


CHECKS = [
    installing.refuses,
    installing.fails_at_first,
    installing.installs,
    notifies,
    doctor_is_content,
    does_a_job,
    names_in_chinese,
    journal_has_fields,
    sandbox.has_no_network,
    sandbox.denies_devices,
    sandbox.writes_only_its_spool,
    sandbox.limits_hold,
    survives_kill,
    survives_a_hang,
    reloads,
    ends_with_78,
    installing.installs_again,
    installing.goes_back_by_itself,
    installing.survives_a_kill,
    installing.goes_back_by_hand,
    installing.waits_no_longer,
    installing.is_left_or_stopped,
    installing.upgrades,
    installing.uninstalls,
    installing.comes_back,
    installing.purges,
]

if __name__ == "__main__":
    box.main(CHECKS, Path(sys.argv[1]))
