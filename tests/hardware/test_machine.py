"""Facts about a machine, read from copies of its /sys and /proc."""

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from sonic_edge.hardware import machine


def _put(root: Path, files: dict) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_thermal_zones_are_identified_by_type(tmp_path):
    _put(
        tmp_path,
        {
            "class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "class/thermal/thermal_zone0/temp": "51234\n",
            "class/thermal/thermal_zone10/type": "soc\n",
            "class/thermal/thermal_zone10/temp": "40000\n",
            "class/thermal/thermal_zone2/type": "soc\n",
            "class/thermal/thermal_zone2/temp": "-3000\n",
            "class/thermal/cooling_device0/type": "fan\n",
            "class/hwmon/hwmon0/name": "soc\n",  # the same again, by another way
            "class/hwmon/hwmon0/temp1_input": "40000\n",
        },
    )
    assert machine.temperatures(tmp_path) == {"cpu-thermal": 51.2, "soc": -3.0, "soc-2": 40.0}


def test_hwmon_is_asked_where_there_are_no_zones(tmp_path):
    _put(
        tmp_path,
        {
            "class/hwmon/hwmon1/name": "k10temp",
            "class/hwmon/hwmon1/temp1_input": "61500",
            "class/hwmon/hwmon1/temp1_label": "Tctl",
            "class/hwmon/hwmon2/temp1_input": "30000",
        },
    )
    assert machine.temperatures(tmp_path) == {"k10temp Tctl": 61.5, "hwmon2": 30.0}


@pytest.mark.parametrize("text", ["", "hot", "-274000", "999999999", "\xff"])
def test_an_implausible_sensor_is_left_out(text, tmp_path):
    _put(tmp_path, {"class/thermal/thermal_zone0/type": "a", "class/thermal/thermal_zone0/temp": text})
    assert machine.temperatures(tmp_path) == {}


def test_a_machine_without_readings_raises_nothing(tmp_path):
    nowhere = tmp_path / "nowhere"
    assert machine.temperatures(nowhere) == {}
    assert machine.memory_mb(1, nowhere) == 0
    assert machine.free_memory_mb(nowhere) == (0, 0)
    assert machine.uptime_s(nowhere) == 0
    assert machine.hardware_clock(nowhere) is None
    assert machine.mount_of(tmp_path, nowhere) is None
    assert machine.flash_wear(nowhere) == {}
    assert machine.connectors(nowhere) == {}
    assert machine.plugged_in(nowhere, nowhere) == []
    assert machine.model(nowhere, nowhere) == ""


def test_the_memory_of_a_process_that_is_there_and_one_that_is_not():
    held = bytearray(os.urandom(1 << 20) * 64)
    with_it = machine.memory_mb(os.getpid())
    del held
    assert with_it - machine.memory_mb(os.getpid()) > 50
    assert machine.memory_mb(2**22 + 1) == 0  # over the largest there can be


def test_memory_and_uptime_of_this_machine():
    free, total = machine.free_memory_mb()
    assert 0 < free < total
    assert machine.uptime_s() > 0


def test_a_clock_that_shows_an_earlier_year_is_not_set():
    assert machine.clock_is_set()
    assert not machine.clock_is_set(datetime(1970, 1, 1, tzinfo=timezone.utc))
    assert not machine.clock_is_set(datetime(2019, 6, 1, tzinfo=timezone.utc))


def test_the_hardware_clock(tmp_path):
    _put(tmp_path, {"class/rtc/rtc0/since_epoch": "1800000000\n"})
    assert machine.hardware_clock(tmp_path) == datetime.fromtimestamp(1800000000, timezone.utc)
    _put(tmp_path, {"class/rtc/rtc0/since_epoch": ""})
    assert machine.hardware_clock(tmp_path) is None


def test_the_mount_a_folder_is_in(tmp_path):
    spool = tmp_path / "my disk" / "spool"
    spool.mkdir(parents=True)
    place = str(tmp_path / "my disk").replace(" ", "\\040")
    lines = [
        "1 0 8:1 / / rw,relatime - ext4 /dev/root rw",
        f"2 1 8:2 / {place} rw - ext4 /dev/sda1 rw",
        f"3 1 8:3 / {place} rw,nosuid shared:1 - vfat /dev/sdb1 ro",
        f"4 1 8:4 / {place}2 rw - xfs /dev/sdc1 rw",
        "cut off",
    ]
    _put(tmp_path, {"self/mountinfo": "\n".join(lines)})
    found = machine.mount_of(spool, tmp_path)
    assert found == machine.Mount(str(tmp_path / "my disk"), "/dev/sdb1", "vfat", True)
    assert machine.mount_of(Path("/"), tmp_path).kind == "ext4"
    assert machine.mount_of(tmp_path) is not None  # and the real one


def test_an_emmc_reports_its_wear(tmp_path):
    _put(tmp_path, {"block/mmcblk0/device/life_time": "0x02 0x0b\n", "block/mmcblk1/size": "1"})
    _put(tmp_path, {"block/mmcblk2/device/life_time": "0x00 0x00\n"})
    assert machine.flash_wear(tmp_path) == {"mmcblk0": 110}


def test_connected_devices_are_listed_without_serial_numbers(tmp_path):
    sys, proc = tmp_path / "sys", tmp_path / "proc"
    _put(
        sys,
        {
            "bus/usb/devices/1-1/idVendor": "046d",
            "bus/usb/devices/1-1/idProduct": "0825",
            "bus/usb/devices/1-1/product": "Webcam C270",
            "bus/usb/devices/1-1/serial": "SECRET-1234",
            "bus/usb/devices/1-1:1.0/bInterfaceNumber": "00",
            "class/video4linux/video0/name": "UVC Camera",
            "class/drm/card0-HDMI-A-1/status": "connected",
            "class/drm/card0/dev": "226:0",
        },
    )
    _put(proc, {"asound/cards": " 0 [C270 ]: USB-Audio - Webcam\n"})
    assert machine.plugged_in(sys, proc) == [
        "usb 046d:0825 Webcam C270",
        "camera video0 UVC Camera",
        "sound 0 [C270 ]: USB-Audio - Webcam",
        "screen card0-HDMI-A-1 connected",
    ]
    assert machine.connectors(sys) == {"card0-HDMI-A-1": "connected"}
