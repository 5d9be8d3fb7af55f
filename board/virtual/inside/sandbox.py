"""What the service may and may not do, tried from inside its own sandbox."""

import functools
import json
from pathlib import Path

import box
from box import CURRENT, Wrong, run
from probe import Found

PROBE = Path(__file__).with_name("probe.py")
DENIED = "/dev/loop-control"
ALLOWED = [p for p in ("/dev/video0", "/dev/snd/controlC0", "/dev/dri/card0") if Path(p).exists()]


@functools.cache
def _probe(*more: str) -> Found:
    """Run `probe.py` in the service's own sandbox: a copy of its unit with another program, and maybe more, in it."""
    if not Path(DENIED).exists():
        run("mknod", DENIED, "c", 10, 237)
    Path(DENIED).chmod(0o666)  # so that only the device policy restricts it
    Path(DENIED).open("rb").close()  # root, outside of the sandbox, may
    Path("/run/systemd/system/probe.service").write_text(Path(box.prop("FragmentPath")).read_text())
    # RuntimeDirectory= is shared with the running service, and must outlive the probe
    other = ["ExecStart=", "ExecStartPre=", "ExecStartPost=", "ExecStop=", "ExecStopPost=", "ExecReload="]
    other += [f"ExecStart={CURRENT}/bin/python {PROBE} {DENIED} {' '.join(ALLOWED)} /dev/null"]
    other += ["Type=oneshot", "Restart=no", "WatchdogSec=0", "RuntimeDirectoryPreserve=yes", *more]
    other += ["StandardOutput=truncate:/run/probe.json"]
    box.drop_in("probe", *other, unit="probe.service")
    run("systemctl", "start", "probe.service")
    return Found(**json.loads(Path("/run/probe.json").read_text()))


def has_no_network() -> str:
    """No network inside the service."""
    found = _probe()
    pids = [box.main_pid(), *map(int, run("pgrep", "-P", box.main_pid()).split())]
    outside = str(Path("/proc/1/ns/net").readlink())
    inside = {str(Path(f"/proc/{pid}/ns/net").readlink()) for pid in pids} | {found.net}
    links = run("nsenter", f"--net=/proc/{pids[0]}/ns/net", "cat", "/proc/net/dev").splitlines()[2:]
    names = [line.split(":")[0].strip() for line in links]
    sockets = found.sockets
    reported = f"daemon and {len(pids) - 1} children in a namespace with {names}; sockets {sockets}"
    refused = all(sockets[family] == "EAFNOSUPPORT" for family in ("inet", "inet6", "packet"))
    if outside in inside or names != ["lo"] or not refused or sockets["unix"] != "ok":
        raise Wrong(f"{reported}; outside {outside}, inside {sorted(inside)}")
    return reported


def denies_devices() -> str:
    """Devices: those that the unit does not list cannot be opened, those that it lists can."""
    shut, named = _probe().devices, _probe(f"DeviceAllow={DENIED} r").devices
    others = {path: outcome for path, outcome in shut.items() if path != DENIED}
    reported = f"{DENIED} (root outside may): {shut[DENIED]}; were it named: {named[DENIED]}; others: {others}"
    if (shut[DENIED], named[DENIED]) != ("EPERM", "ok") or set(others.values()) != {"ok"}:
        raise Wrong(reported)
    return reported


def writes_only_its_spool() -> str:
    """The system is read-only for the service, except for its spool."""
    writes = _probe().writes
    if [folder for folder, outcome in writes.items() if outcome == "ok"] != ["/var/spool/sonic-edge/inbox"]:
        raise Wrong(str(writes))
    return str(writes)


def limits_hold() -> str:
    """Memory and tasks are bounded by the kernel."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    if "memory" not in controllers:
        raise box.NotRun(
            f"this machine's kernel gives the board the cgroup controllers {controllers}, memory is not one"
        )
    group = Path("/sys/fs/cgroup" + box.prop("ControlGroup"))
    limits = {folder.name: (folder / "memory.max").read_text().strip() for folder in (group, group.parent)}
    if set(limits.values()) == {"max"}:
        raise Wrong(str(limits))
    return str(limits)
