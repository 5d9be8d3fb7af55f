"""The offline bundle on a board: installing, upgrading, rolling back, uninstalling."""

import functools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, List

import box
from box import CURRENT, SETTINGS, SPOOL, UNIT, Wrong, run

STICK, HOME = Path("/stick"), Path("/opt/sonic-edge")
PREVIOUS = HOME / "previous"
MODELS = Path("/var/lib/sonic-edge")
UNPACKED = Path("/root/unpacked")
UNIT_FILE = Path("/etc/systemd/system") / UNIT
MORE = Path("/etc/systemd/system/sonic-edge-more.service")
OWN = "# an integrator's own\n"
TOLD_OF = ("man/man1/sonic-edge.1", "bash-completion/completions/sonic-edge", "zsh/site-functions/_sonic-edge")
"""What a shell and `man` know of the command, below /usr/local/share."""


@functools.cache
def bundle(which: str) -> Path:
    """One of the bundles on the stick, unpacked."""
    (file,) = (STICK / which).glob("*.tar")
    run("sh", "-c", f"cd {file.parent} && sha256sum --check {file}.sha256")
    (UNPACKED / which).mkdir(parents=True)
    run("tar", "--extract", "--file", file, "--directory", UNPACKED / which)
    return UNPACKED / which / file.stem


def install(which: str, status: int = 0, **environment: str) -> str:
    """Run install.sh of a bundle; returns its output."""
    words = [f"{name}={value}" for name, value in environment.items()]
    return run("env", *words, bundle(which) / "install.sh", status=status, timeout_s=300)


def runs(release: Path) -> str:
    """See that the service is up, and of a release.

    Raises:
        Wrong: If not.
    """
    box.wait_until_up()
    program = Path(f"/proc/{box.main_pid()}/cmdline").read_bytes().split(b"\0")[0].decode()
    if CURRENT.resolve() != release or not program.startswith(f"{release}/"):
        raise Wrong(f"current is {CURRENT.resolve()}, {program} runs; {release} was to run")
    return release.name


def refuses() -> str:
    """A bundle that is damaged, incomplete, for another processor, Debian or Python: refused, nothing changed."""
    real = bundle("now")
    wheel = next((real / "wheels").glob("numpy-*.whl"))
    reported = {}
    for name, change in {
        "damaged": f"printf x | dd of={wheel.relative_to(real)} bs=1 seek=5000 conv=notrunc status=none",
        "missing": f"rm {wheel.relative_to(real)}",
        "added": "touch wheels/more.whl",
        "arch": "sed -i s/^arch=.*/arch=aarch64/ bundle.txt",
        "suite": "sed -i s/^suite=.*/suite=bullseye/ bundle.txt",
    }.items():
        copy = UNPACKED / name
        run("cp", "-r", real, copy)
        run("sh", "-c", f"cd {copy} && {change}")
        said = run(copy / "install.sh", status=1).splitlines()
        reported[name] = said[-1]
        shutil.rmtree(copy)
        if HOME.exists() or UNIT_FILE.exists() or SETTINGS.exists() or "nothing was changed" not in said[-1]:
            raise Wrong(f"{name}: {said}; {HOME} {HOME.exists()}, {UNIT_FILE} {UNIT_FILE.exists()}")
    return str(reported)


def fails_at_first() -> str:
    """A first installation that does not start: the service is stopped and disabled, with a message."""
    said = install("broken", status=1)
    time.sleep(7)  # RestartSec
    enabled = run("systemctl", "is-enabled", UNIT, status=None)
    if box.state() not in ("inactive", "failed") or enabled != "disabled" or box.prop("Job"):
        raise Wrong(f"{UNIT} is {box.state()} and {enabled}")
    wanted = ("does not start", "made to fail", "no previous release")
    if not all(words in said for words in wanted):
        raise Wrong(f"it says {said!r}; {wanted} must be in it")
    return f"{UNIT} is {box.state()} and {enabled}; it says {said.splitlines()[-2]!r}"


def installs() -> str:
    """The bundle on a bare Debian, no network."""
    install("now")
    box.wait_until_ready()
    models = run("sonic-edge", "model", "list", "--config", SETTINGS)
    if "own-net" not in models:
        raise Wrong(f"the model that came along is not there: {models}")
    if PREVIOUS.exists() or MORE.exists():
        raise Wrong(f"what never ran was kept: {PREVIOUS} {PREVIOUS.exists()}, {MORE} {MORE.exists()}")
    lacking = [name for name in TOLD_OF if not (Path("/usr/local/share") / name).is_file()]
    if lacking:
        raise Wrong(f"/usr/local/share lacks {lacking}")
    return f"{runs(CURRENT.resolve())}, {UNIT} is {box.state()}"


def installs_again() -> str:
    """install.sh once more: the same release, settings untouched."""
    SETTINGS.write_text(SETTINGS.read_text() + OWN)
    before, began = _state(), time.monotonic()
    install("now")
    box.wait_until_ready()
    if _state() != before:
        raise Wrong(f"changed: {before}, then {_state()}")
    return f"{CURRENT.resolve().name}, {time.monotonic() - began:.0f} s"


def _state() -> Dict[str, str]:
    """A snapshot of everything that installing may change."""
    releases = sorted(folder.name for folder in (HOME / "releases").iterdir() if (folder / ".ran").exists())
    reported = {"releases": str(releases), "current": str(CURRENT.resolve()), "previous": str(PREVIOUS.resolve())}
    for folder in ("/etc/systemd/system", "/etc/udev/rules.d", "/etc/sysusers.d", "/etc/tmpfiles.d", "/etc/sonic-edge"):
        for file in sorted(Path(folder).rglob("*sonic-edge*")):
            reported[str(file)] = file.read_text() if file.is_file() else ""
    return reported


def goes_back_by_itself() -> str:
    """An upgrade that does not start: the previous release and units run again, and do a job."""
    before, began = _state(), time.monotonic()
    said = install("broken", status=1)
    took_s = time.monotonic() - began
    if _state() != before:
        raise Wrong(f"it says {said!r}; changed: {before}, then {_state()}")
    if "made to fail" not in said or "runs again" not in said or box.prop("Description").startswith("Broken"):
        raise Wrong(f"it says {said!r}; the unit's description is {box.prop('Description')!r}")
    name = runs(Path(before["current"]))
    box.put("back")
    return f"{name} runs again after {took_s:.0f} s; it says {said.splitlines()[-1]!r}; {box.wait_until_done('back')}"


def waits_no_longer() -> str:
    """An upgrade that does not get ready in time: the previous release runs again."""
    before = _state()
    hang = "case $(readlink /opt/sonic-edge/current) in *next*) exec sleep 300 ;; esac"
    box.drop_in("hang", f"ExecStartPre=/bin/sh -c '{hang}'")
    began = time.monotonic()
    said = install("next", status=1, READY_S="8")
    took_s = time.monotonic() - began
    box.drop_in("hang")
    if _state() != before or "runs again" not in said:
        raise Wrong(f"it says {said!r}; changed: {before}, then {_state()}")
    return f"{runs(Path(before['current']))} runs again after {took_s:.0f} s, 8 s of which it waited"


def survives_a_kill() -> str:
    """install.sh killed midway: the old release or the new one starts, and installing again succeeds."""
    reported = []
    for moment in ("making", "starting"):
        process = subprocess.Popen(
            [bundle("next") / "install.sh"], stdout=subprocess.PIPE, start_new_session=True, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if moment in line:
                break
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        run("systemctl", "restart", UNIT)  # as the box would start after a power cut
        box.wait_until_ready()
        reported.append(f"{moment}: {runs(CURRENT.resolve())}")
    install("next")
    return f"killed after saying {', '.join(reported)}; then {runs(CURRENT.resolve())}"


def is_left_or_stopped() -> str:
    """install.sh continues without its terminal; at Ctrl-C it rolls back."""
    old, reported = CURRENT.resolve(), []
    for name, wanted in (("SIGINT", "old"), ("SIGHUP", "new")):
        process = subprocess.Popen(
            [bundle("next") / "install.sh"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "starting" in line:
                break
        os.killpg(process.pid, signal.Signals[name])
        said, _ = process.communicate(timeout=120)
        if (process.returncode != 0) != (wanted == "old") or (CURRENT.resolve() == old) != (wanted == "old"):
            raise Wrong(f"{name}: ended with {process.returncode}; {CURRENT.resolve()} is current; it says {said!r}")
        reported.append(f"{name}: {runs(CURRENT.resolve())}")
    run(HOME / "rollback", timeout_s=120)
    return f"{', '.join(reported)}; then {runs(old)}"


def upgrades() -> str:
    """Upgrade with a job running: parked within 10 s, done once by the new release."""
    old = CURRENT.resolve()
    box.put("upgraded", {"min_resolution": 1024, "fps": 40})
    doing = box.wait_until_rendering("upgraded")
    install("next")
    new = CURRENT.resolve()
    if len(box.said("upgraded: parked")) != 1:
        raise Wrong("the job was not parked, or was done before the upgrade")
    times = {
        w: [int(e["__MONOTONIC_TIMESTAMP"]) for e in box.said(w)][-1] for w in (f"Stopping {UNIT}", f"Stopped {UNIT}")
    }
    took_s = (times[f"Stopped {UNIT}"] - times[f"Stopping {UNIT}"]) / 1e6
    reported = f"{old.name} -> {runs(new)}, stopped in {took_s:.1f} s"
    if new == old or PREVIOUS.resolve() != old or took_s > 10:
        raise Wrong(f"{reported}, previous {PREVIOUS.resolve()}")
    return f"{doing!r}; {reported}; {box.wait_until_done('upgraded', 240)}"


def goes_back_by_hand() -> str:
    """/opt/sonic-edge/rollback: the previous release; a second time: the newer one again."""
    new, old = CURRENT.resolve(), PREVIOUS.resolve()
    reported = []
    for target, other in ((old, new), (new, old), (old, new)):
        run(HOME / "rollback", timeout_s=120)
        reported.append(runs(target))
        if PREVIOUS.resolve() != other:
            raise Wrong(f"previous is {PREVIOUS.resolve()}")
    return ", then ".join(reported)


def _peoples() -> List[str]:
    """Files that people made, in the spool and among the models."""
    files = [*SPOOL.rglob("*"), *MODELS.rglob("*")]
    return sorted(str(file) for file in files if SPOOL / "run" not in file.parents)


def uninstalls() -> str:
    """Uninstall, twice: only the settings, the spool with its videos and the models stay."""
    before = _peoples()
    said = run(HOME / "uninstall").splitlines()
    run(bundle("now") / "board/uninstall.sh")
    left = run("find", "/etc", "/home", "/opt", "/run", "/usr", "/var", "-name", "*sonic*edge*").splitlines()
    there = sorted(
        line
        for line in left
        if not line.startswith((f"{SPOOL}", "/var/log/", "/var/tmp/", "/run/systemd/", f"{MODELS}"))
    )
    if there != ["/etc/sonic-edge", "/etc/sonic-edge/sonic-edge.yaml"]:
        raise Wrong(f"left: {there}")
    if _peoples() != before:
        raise Wrong(f"the spool and the models are not as they were: {before}, then {_peoples()}")
    if box.state() != "inactive" or box.prop("LoadState") != "not-found" or not SETTINGS.read_text().endswith(OWN):
        raise Wrong(
            f"{UNIT} is {box.prop('LoadState')}, {box.state()}; the settings end in {SETTINGS.read_text()[-30:]!r}"
        )
    return f"left: {there} and {len(before)} files and folders of people; it says {said}"


def comes_back() -> str:
    """Install after uninstalling: the earlier settings and videos are there, and a job is done."""
    install("now")
    box.wait_until_ready()
    if not SETTINGS.read_text().endswith(OWN) or not (SPOOL / "outbox/first.mp4").exists():
        raise Wrong(f"the settings end in {SETTINGS.read_text()[-30:]!r}")
    box.put("after")
    return f"{runs(CURRENT.resolve())}; {box.wait_until_done('after')}"


def purges() -> str:
    """Uninstall with --purge: nothing stays."""
    run(HOME / "uninstall", "--purge")
    places = [p for p in (HOME, SETTINGS.parent, SPOOL, MODELS, UNIT_FILE) if p.exists()]
    user = run("getent", "passwd", "sonic-edge", status=None)
    if places or user:
        raise Wrong(f"left: {places} {user}")
    return "no file, no user"
