"""What systemd/ promises, as far as it can be seen without booting it; board/virtual boots it."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from sonic_edge.cli import make_parser
from sonic_edge.config import Config
from sonic_edge.spool.folders import Folders

SYSTEMD = Path(__file__).parents[2] / "systemd"
SERVICES = ["sonic-edge.service", "sonic-edge-stick@.service"]
EXPOSURE = 1.5


def lines(name):
    """(section, key, value) of a unit file, continued lines joined."""
    section, found = "", []
    for line in (SYSTEMD / name).read_text().replace("\\\n", " ").split("\n"):
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.append((section, key, value))
    return found


def values(name, key):
    return [value for _, k, value in lines(name) if k == key]


def analyze(request, *words):
    """The output of systemd-analyze; None, with a note, where there is none."""
    if shutil.which("systemd-analyze") is None:
        with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
            print(f"\nNOT RUN: systemd-analyze {words[0]}: there is none here")
        return None
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("unit", [*SERVICES, "sonic-edge.slice"])
def test_systemd_understands_every_line(request, unit):
    assert [section for section, _, _ in lines(unit)]
    said = analyze(request, "verify", "--man=no", str(SYSTEMD / unit))
    if said is not None:
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", SERVICES)
def test_its_exposure_is_low(request, unit):
    said = analyze(request, "security", "--offline=yes", f"--threshold={round(10 * EXPOSURE)}", str(SYSTEMD / unit))
    if said is not None and "unrecognized option '--offline" not in said.stderr:  # since systemd 250
        assert said.returncode == 0, said.stdout[-200:]


@pytest.mark.parametrize("unit", SERVICES)
@pytest.mark.parametrize(
    "key, value",
    [
        ("User", "sonic-edge"),
        ("PrivateNetwork", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX"),
        ("DevicePolicy", "closed"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("CapabilityBoundingSet", ""),
        ("NoNewPrivileges", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("Slice", "sonic-edge.slice"),
    ],
)
def test_nothing_opens_it_again(unit, key, value):
    assert values(unit, key) == [value]
    assert not values(unit, "AmbientCapabilities")


def test_only_the_spool_is_written():
    root = "/var/spool/sonic-edge"
    assert values("sonic-edge.service", "ReadWritePaths") == [root]
    assert values("sonic-edge-stick@.service", "ReadWritePaths") == [f"{root} -/run/sonic-edge-stick/%I"]


def test_no_key_is_newer_than_systemd_247():
    newer = {"ExitType", "PrivateIPC", "RestrictFileSystems", "SocketBindDeny", "MemoryZSwapMax", "NFTSet"}
    for unit in SERVICES:
        assert not newer & {key for _, key, _ in lines(unit)}
        assert values(unit, "Type")[0] in ("notify", "oneshot"), "notify-reload came with 253"


@pytest.mark.parametrize("unit", SERVICES)
def test_every_command_is_one_of_ours(unit):
    """Each command is found by PATH in the release linked as current, and the command line accepts its arguments."""
    (path,) = values(unit, "Environment")
    assert path.startswith("PATH=/opt/sonic-edge/current/bin:")
    commands = [v for key in ("ExecStart", "ExecStopPost") for v in values(unit, key) if "env sonic-edge" in v]
    assert commands
    for command in commands:
        words = shlex.split(command.lstrip("-"))
        assert words[:2] == ["/usr/bin/env", "sonic-edge"]
        args = make_parser().parse_args(words[2:])
        assert str(args.config) == "/etc/sonic-edge/sonic-edge.yaml"


def test_what_root_does_for_a_stick_is_mounting():
    keys = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStopPost")
    commands = [command for key in keys for command in values("sonic-edge-stick@.service", key)]
    of_root = [command for command in commands if "+" in command.partition("/")[0]]
    assert len(of_root) == 4 and not any("sonic-edge stick" in command for command in of_root)
    assert all("env sonic-edge stick" in command for command in commands if command not in of_root)
    assert "options=ro,nosuid,nodev,noexec" in next(command for command in of_root if "exec mount" in command)


def test_folders_are_made_for_the_people_they_are_for():
    made = {}
    for line in (SYSTEMD / "sonic-edge.tmpfiles.conf").read_text().split("\n"):
        if line.startswith("d "):
            _, path, mode, user, group, age = line.split()
            made[path] = mode
            owner = "root" if path == Config().model.store else "sonic-edge"  # the daemon only reads its models
            assert (user, group, age) == (owner, owner, "-"), "nothing is cleaned by age"
    folders = Folders(Path("/var/spool/sonic-edge"))
    people = {str(f): "2770" for f in (folders.inbox, folders.outbox, folders.failed)}
    own = {str(folders.root): "0750", str(folders.work): "0700", str(folders.run): "0750"}
    assert made == {**own, **people, Config().model.store: "0755"}


def test_the_rule_starts_the_unit():
    rule = (SYSTEMD / "99-sonic-edge-usb.rules").read_text()
    assert 'ENV{SYSTEMD_WANTS}+="sonic-edge-stick@%k.service"' in rule
    for kind in ("vfat", "exfat", "ntfs", "ext4"):
        assert kind in rule
    assert (SYSTEMD / "sonic-edge-stick@.service").exists()


def test_the_slice_leaves_a_board_usable():
    limits = {key: value for _, key, value in lines("sonic-edge.slice")}
    high, most = (int(limits[key].rstrip("%")) for key in ("MemoryHigh", "MemoryMax"))
    board_mb = 4096
    assert board_mb * high / 100 > 1500 + 700, "a worker at its limit, studio and player fit"
    assert board_mb * (100 - most) / 100 > 900, "and the system too"
    assert int(limits["CPUWeight"]) < 100


# ---- with an Ascend chip ----

CHIP_DEVICES = {
    *("davinci0", "davinci1", "davinci_manager", "dvpp_cmdlist", "devmm_svm", "hisi_hdc"),
    *("svm0", "ts_aisle", "upgrade", "sys", "vdec", "vpc", "pngd", "venc", "log_drv"),
}


@pytest.fixture
def with_chip(tmp_path):
    """The service with its drop-in, as systemd finds them."""
    unit = tmp_path / "sonic-edge.service"
    shutil.copy(SYSTEMD / unit.name, unit)
    (tmp_path / f"{unit.name}.d").mkdir()
    shutil.copy(SYSTEMD / "ascend.conf", tmp_path / f"{unit.name}.d")
    return unit


def test_systemd_understands_every_line_of_the_drop_in(request, with_chip):
    said = analyze(request, "verify", "--man=no", str(with_chip))
    if said is not None:
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
        drop_in = with_chip.parent / f"{with_chip.name}.d" / "ascend.conf"
        drop_in.write_text(drop_in.read_text() + "Nonsense=1\n")  # it was looked at
        assert "Nonsense" in analyze(request, "verify", "--man=no", str(with_chip)).stderr


def test_the_chip_opens_its_devices_and_nothing_else():
    assert set(values("ascend.conf", "DeviceAllow")) == {f"/dev/{name} rw" for name in CHIP_DEVICES}
    assert values("ascend.conf", "EnvironmentFile") == ["-/etc/sonic-edge/ascend.env"]
    changed = {key for _, key, _ in lines("ascend.conf")}
    assert changed == {
        *("SupplementaryGroups", "DeviceAllow", "EnvironmentFile", "Environment", "ExecStartPre"),
        *("ProtectHome", "BindReadOnlyPaths"),
    }
    assert values("ascend.conf", "ProtectHome") == ["tmpfs"]
    assert values("ascend.conf", "BindReadOnlyPaths") == ["-/home/HwHiAiUser/Ascend"]


def test_canns_files_go_where_the_daemon_may_write_and_are_cleaned_up():
    (root,) = values("sonic-edge.service", "ReadWritePaths")
    paths = [v.partition("=")[2] for v in values("ascend.conf", "Environment") if "_PATH=" in v]
    assert len(paths) == 3 and all(path.startswith(f"{root}/run/ascend") for path in paths)
    made, tidied = values("ascend.conf", "ExecStartPre")
    assert made.startswith("/bin/mkdir -p ") and set(paths[1:]) <= set(made.split())
    assert tidied.startswith(f"-/usr/bin/find {root}/run/ascend ") and "-mtime +14 -delete" in tidied
