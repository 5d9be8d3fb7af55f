"""The doctor, on boxes with an Ascend chip: npu-smi, devices and CANN are simulated: there is no chip here."""

import grp
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sonic_edge.config import Config, check, share_dir
from sonic_edge.doctor import chip
from sonic_edge.doctor.finding import FAILED, NOT_CHECKED, OK, WARNING, Context
from sonic_edge.hardware import npu
from sonic_edge.process.isolated import account_of
from sonic_edge.process.messages import plain
from sonic_edge.service.status import statuses

SAID = Path(__file__).parents[1].joinpath("npu_smi")
BOARD = (SAID / "310B4_board.txt").read_text()


def _case(backend="acl", reported=None, **model):
    config = check(Config, {"model": {"backend": backend, **model}}, "test")
    return Context(config, status=None if reported is None else statuses.check(reported))


def _by_state(found):
    out = {OK: [], WARNING: [], FAILED: [], NOT_CHECKED: []}
    for finding in found:
        out[finding.state].append(finding)
        assert bool(finding.todo) == (finding.state in (WARNING, FAILED)), finding
    return out


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Has npu-smi say something; how often it was asked is in `asked`."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(npu.watch, "_FOLDERS", ())
    asked = tmp_path / "asked"

    def say(text):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "said").write_text(text)
        path = tmp_path / "bin" / "npu-smi"
        path.write_text(f"#!/bin/sh\necho x >>{asked}\ncat {tmp_path}/said\n")
        path.chmod(0o755)
        return asked

    return say


@pytest.fixture
def compiled(tmp_path):
    """A bundle whose files were compiled for a chip."""

    def make(soc):
        folder = tmp_path / f"bundle-{soc}"
        shutil.copytree(share_dir() / "bundles" / "sonic-net", folder)
        spec = yaml.safe_load((folder / "bundle.yaml").read_text())
        for name, stage in spec["stages"].items():
            data = f"{name} for {soc}".encode()
            (folder / f"{name}.om").write_bytes(data)
            stage["files"]["acl"] = {"path": f"{name}.om", "sha256": hashlib.sha256(data).hexdigest(), "soc": soc}
        (folder / "bundle.yaml").write_text(yaml.safe_dump(spec))
        return str(folder)

    return make


def test_where_the_cpu_is_used_nothing_is_needed(smi):
    asked = smi(BOARD)
    for look in (chip.health, chip.devices, chip.cann):
        (finding,) = look(_case("cpu"))
        assert finding.state == OK and finding.seen == "not needed: model.backend = cpu"
    assert not asked.exists() and chip.describe(_case("cpu")) == ("no chip is used",)


# ---- what the chip says ----


def test_a_healthy_chip(smi, compiled):
    smi(BOARD)
    found = list(chip.health(_case(bundle=compiled("Ascend310B4"))))
    assert [finding.state for finding in found] == [OK] * 5
    reported = " / ".join(finding.seen for finding in found)
    for words in ("driver 23.0.rc3", "chip 0 is a 310B4", "51 °C, 8.1 W", "1473 of 3513 MB", "compiled for this chip"):
        assert words in reported


@pytest.mark.parametrize(
    "old, new, state, seen, todo",
    [
        ("| OK         |", "| Alarm      |", FAILED, "its health is Alarm", "npu-smi info -t health -i 0 -c 0"),
        ("| OK         |", "| Warning    |", WARNING, "its health is Warning", "restart the box"),
        ("| OK         |", "| UNKNOWN    |", FAILED, "its health is UNKNOWN", "restart the box"),
        (" 51  ", " 91  ", WARNING, "hot: 91 °C", "air"),
        (" 51  ", " 100 ", FAILED, "too hot: 100 °C", "fan"),
        (" 51  ", " NA  ", NOT_CHECKED, "no temperature", ""),
        ("2040 / 3513", "3400 / 3513", WARNING, "113 of 3513 MB", "npu-smi info"),
        ("2040 / 3513", "NA          ", NOT_CHECKED, "reports no memory", ""),
    ],
)
def test_a_chip_that_is_not(smi, old, new, state, seen, todo):
    assert BOARD.count(old) == 1
    smi(BOARD.replace(old, new))
    (finding,) = [f for f in chip.health(_case()) if f.state == state and seen in f.seen]
    assert todo in finding.todo


def test_a_model_for_another_chip_is_reported_with_a_remedy(smi, compiled):
    smi(BOARD)
    (finding,) = _by_state(chip.health(_case(bundle=compiled("Ascend310"))))[FAILED]
    assert "the chip is an Ascend310B4" in finding.seen and "encoder for Ascend310" in finding.seen
    assert "models.convert --soc Ascend310B4" in finding.todo


def test_for_a_model_for_any_chip_the_slow_start_is_mentioned(smi, compiled):
    smi(BOARD)
    *_, last = chip.health(_case(bundle=compiled("")))
    assert last.state == OK and "for any chip" in last.seen


def test_a_chip_that_is_not_there(smi):
    smi((SAID / "310B1_alarm.txt").read_text())
    (finding,) = _by_state(chip.health(_case(device_id=5)))[FAILED]
    assert "model.device_id = 5" in finding.seen and "0 (310B1), 1 (310B1)" in finding.seen
    assert not _by_state(chip.health(_case(device_id=1)))[FAILED]  # the one in Alarm is the other


def test_no_npu_smi_and_one_that_fails(smi):
    (finding,) = chip.health(_case())
    assert finding.state == FAILED and finding.seen == "there is no npu-smi" and "driver" in finding.todo
    smi((SAID / "broken_not_initialised.txt").read_text())
    (finding,) = chip.health(_case())
    assert finding.state == FAILED and "-8005" in finding.seen and "restart the box" in finding.todo


def test_the_daemons_answers_are_not_asked_for_again(smi):
    asked = smi(BOARD)
    watch = npu.Monitor()
    watch.report = npu.parse((SAID / "310_board.txt").read_text())
    found = list(chip.health(_case(reported={"npu": plain(watch.status())})))
    assert "driver 21.0.3.1" in found[0].seen and "chip 0 is a 310;" in found[1].seen and not asked.exists()
    watch.report = npu.parse("")
    assert "driver 23.0.rc3" in next(iter(chip.health(_case(reported={"npu": plain(watch.status())})))).seen


# ---- devices ----


@pytest.fixture
def dev(tmp_path, monkeypatch):
    """A /dev with a chip whose group we are in."""
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=os.getegid()))
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("davinci0", "davinci_manager", "svm0", "null"):
        (folder / name).touch(0o660)
    return folder


def test_present_devices(dev):
    (finding,) = chip.devices(_case(), dev)
    assert finding.state == OK and "davinci_manager, davinci0, svm0" in finding.seen and "null" not in finding.seen


def test_missing_devices(dev):
    (dev / "davinci_manager").unlink()
    (finding,) = chip.devices(_case(device_id=3), dev)
    assert finding.state == FAILED and f"{dev}/davinci_manager, {dev}/davinci3: missing" in finding.seen
    assert "present: davinci0" in finding.seen and "dmesg" in finding.todo


def test_devices_that_may_not_be_used(dev, monkeypatch):
    monkeypatch.setattr(chip.os, "access", lambda path, _: path.name != "svm0")
    (finding,) = chip.devices(_case(), dev)
    assert finding.state == FAILED and finding.seen.endswith(f"may not use {dev}/svm0")


def test_no_group_no_driver(dev, monkeypatch):
    def none(name):
        raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", none)
    (finding,) = chip.devices(_case(), dev)
    assert finding.state == FAILED and "no group HwHiAiUser" in finding.seen


def test_a_user_outside_the_group_and_a_unit_without_its_drop_in(dev, monkeypatch):
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=99999))
    monkeypatch.setattr(chip.os, "geteuid", lambda: 1000)
    unit = {"LoadState": "loaded", "DropInPaths": "/etc/systemd/system/sonic-edge.service.d/override.conf"}
    case = Context(_case().config, unit=unit)
    group, drop_in = _by_state(chip.devices(case, dev))[FAILED]
    assert "is not in the group HwHiAiUser" in group.seen and "usermod -aG HwHiAiUser" in group.todo
    assert "no ascend.conf" in drop_in.seen and "run install.sh again" in drop_in.todo
    unit["DropInPaths"] += " /etc/systemd/system/sonic-edge.service.d/ascend.conf"
    assert len(_by_state(chip.devices(case, dev))[FAILED]) == 1


# ---- CANN ----


@pytest.fixture
def toolkit(tmp_path, monkeypatch):
    """A CANN with modules of ours and a library; empty, but real."""
    home = tmp_path / "latest"
    (home / "lib64").mkdir(parents=True)
    (home / "aarch64-linux").mkdir()
    info = "package_name=Ascend-cann-toolkit\nversion=7.0.RC1\ninnerversion=V100R001C13\narch=aarch64\n"
    (home / "aarch64-linux" / "ascend_toolkit_install.info").write_text(info)
    command = ["gcc", "-shared", "-x", "c", "/dev/null", "-o", str(home / "lib64" / "libascendcl.so")]
    subprocess.run(command, check=True)
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(home))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(home / "lib64"))
    monkeypatch.setenv("PYTHONPATH", str(home))

    def module(name, text):
        (home / f"{name}.py").write_text(text)
        return home

    return module


@pytest.mark.parametrize("backend", ["acl", "mindspore_lite"])
def test_cann_that_loads_reports_its_versions(toolkit, backend):
    toolkit(backend, "__version__ = '2.4.1'\nprint('vendors print')\n")
    (finding,) = chip.cann(_case(backend))
    assert finding.state == OK and f"{backend} 2.4.1 loads; CANN 7.0.RC1, driver not found" in finding.seen


@pytest.mark.parametrize(
    "backend, text, seen, todo",
    [
        ("acl", None, "No module named 'acl'", "/etc/sonic-edge/ascend.env"),
        ("mindspore_lite", None, "No module named 'mindspore_lite'", f"{sys.executable} -m pip install"),
        ("acl", "import ctypes; ctypes.CDLL('libnone.so')", "libnone.so: cannot open shared object", "install.sh"),
        ("acl", "raise RuntimeError('wrong version')", "wrong version", "table of versions"),
        ("acl", "import os; os.abort()", "status -6", "crashes its process"),
    ],
)
def test_cann_that_does_not_load(toolkit, backend, text, seen, todo):
    if text is not None:
        toolkit(backend, text)
    (finding,) = chip.cann(_case(backend))
    assert finding.state == FAILED and seen in finding.seen and todo in finding.todo


def test_a_wheel_without_cann_is_not_enough(toolkit):
    (toolkit("mindspore_lite", "") / "lib64" / "libascendcl.so").unlink()
    (finding,) = chip.cann(_case("mindspore_lite"))
    assert finding.state == FAILED and "libascendcl.so" in finding.seen and "install.sh" in finding.todo


def test_an_import_that_hangs_is_given_up(toolkit, monkeypatch):
    monkeypatch.setattr(chip, "_LOAD_S", 1.0)
    toolkit("acl", "import time; time.sleep(60)")
    (finding,) = chip.cann(_case())
    assert finding.state == FAILED and "does not return" in finding.seen and "restart the box" in finding.todo


def test_versions_are_read_where_they_are(tmp_path, monkeypatch):
    monkeypatch.delenv("ASCEND_TOOLKIT_HOME", raising=False)
    monkeypatch.delenv("ASCEND_HOME_PATH", raising=False)
    assert chip.installed(tmp_path) == ["CANN not found", "driver not found"]
    driver = tmp_path / "usr/local/Ascend/driver"
    driver.mkdir(parents=True)
    (driver / "version.info").write_text("Version=25.5.2\nascendhal_version=7.35.23\n")
    (tmp_path / "8.0.RC1").mkdir()
    (tmp_path / "latest").symlink_to("8.0.RC1")
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path / "latest"))
    assert chip.installed(tmp_path) == [f"CANN in {tmp_path}/8.0.RC1", "driver 25.5.2"]


def test_the_checks_are_made_in_the_environment_that_the_unit_gives(tmp_path):
    file = tmp_path / "ascend.env"
    file.write_text('LD_LIBRARY_PATH="/usr/local/Ascend/latest/lib64"\nASCEND_ODD="a \\"b\\" \\$c"\n')
    me = pwd.getpwuid(os.getuid()).pw_name
    unit = {"User": me, "FragmentPath": "/x", "Environment": "PATH=/usr/bin ASCEND_ODD=old"}
    unit["EnvironmentFiles"] = f"{file} (ignore_errors=yes)"
    environment = account_of(unit).environment
    assert environment["LD_LIBRARY_PATH"] == "/usr/local/Ascend/latest/lib64"
    assert environment["ASCEND_ODD"] == 'a "b" $c' and environment["PATH"] == "/usr/bin"
    unit["EnvironmentFiles"] = f"{tmp_path}/none (ignore_errors=yes)"
    assert account_of(unit).environment["ASCEND_ODD"] == "old"


def test_the_support_bundle_describes_the_chip(smi):
    smi(BOARD)
    reported = chip.describe(_case())
    assert reported[-2] == "npu-smi: 23.0.rc3" and "310B4" in reported[-1]
