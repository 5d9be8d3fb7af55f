"""What `npu-smi info` says, and what becomes of one that does not."""

import logging
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from waiting import lives, until

from sonic_edge.hardware import npu
from sonic_edge.hardware.npu import Monitor, Npu, Report, fits, parse, troubles

SAID = Path(__file__).parents[1].joinpath("npu_smi")


def _parse(name):
    return parse((SAID / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name, driver, chips",
    [
        ("310_board.txt", "21.0.3.1", [Npu(0, 0, 0, "310", "OK", 11.9, 47, 3, 4711, 8192)]),
        ("310_board_22.txt", "22.0.4", [Npu(0, 0, 0, "310", "OK", 12.1, 49, 0, 5012, 7757, 0, 190)]),
        (
            "310_card.txt",
            "20.2.2",
            [
                Npu(2048, 0, 0, "310", "OK", 12.8, 41, 0, 2600, 8192),
                Npu(2048, 1, 1, "310", "Warning", 12.8, 42, 7, 2610, 8192),
            ],
        ),
        ("310B4_board.txt", "23.0.rc3", [Npu(0, 0, 0, "310B4", "OK", 8.1, 51, 12, 2040, 3513, 15, 15)]),
        ("310B1_board_25.txt", "25.2.0", [Npu(0, 0, 0, "310B1", "OK", 9.9, 62, 0, 1011, 10810, 15, 15)]),
        (
            "310B1_alarm.txt",
            "23.0.5",
            [
                Npu(0, 0, 0, "310B1", "Alarm", 0, 45, 0, 610, 7578, 15, 15),
                Npu(1, 0, 1, "310B1", "OK", 0, 44, 0, 590, 7578, 15, 15),
            ],
        ),
        (
            "310P3_card.txt",
            "25.2.0",
            [
                Npu(2, 0, 0, "310P3", "OK", None, 40, 0, 1500, 44280, 0, 0),
                Npu(2, 1, 1, "310P3", "OK", None, 39, 88, 1400, 43693, 0, 0),
            ],
        ),
        (
            "910B3_card.txt",
            "23.0.7",
            [
                Npu(3, 0, 0, "910B3", "OK", 99, 48, 0, 3300, 65536, 0, 0),
                Npu(4, 0, 1, "910B3", "OK", 95.5, 47, 0, 20650, 65536, 0, 0),
            ],
        ),
        (
            "910_two_dies.txt",
            "24.1.rc3.7",
            [
                Npu(0, 0, 0, "Ascend910", "OK", 170.2, 35, 0, 3400, 65536, 0, 0),
                Npu(0, 1, 1, "Ascend910", "OK", None, 34, 0, 3190, 65536, 0, 0),
            ],
        ),
    ],
)
def test_the_tables_of_all_generations(name, driver, chips):
    assert _parse(name) == Report(tuple(chips), driver)


@pytest.mark.parametrize(
    "name, seen, todo",
    [
        ("broken_not_initialised.txt", "ret is -8005", "restart the box"),
        ("broken_in_use.txt", "the device is used", "another program"),
        ("broken_libraries.txt", "libdcmi.so", "LD_LIBRARY_PATH"),
        ("broken_permission.txt", "Permission denied", "HwHiAiUser"),
        ("broken_no_chip.txt", "lists no chip", "dmesg"),
        ("broken_other_language.txt", "not understood", "report this"),
    ],
)
def test_what_is_no_table_is_told_with_what_to_do(name, seen, todo):
    report = _parse(name)
    assert report.chips == () and seen in report.error and todo in report.todo


@pytest.mark.parametrize("text", ["", "\n \n", "||||", "|||\n|||\n", "\0\xff|\x1b[31m", "| NPU Name | a | b |\n" * 3])
def test_junk_is_no_chip_and_raises_nothing(text):
    report = parse(text)
    assert report.chips == () and report.error and report.todo


@pytest.mark.parametrize("name", ["310_board.txt", "310B1_alarm.txt", "910B3_card.txt", "310P3_card.txt"])
def test_a_table_that_is_cut_off_anywhere_gives_whole_chips_only(name):
    text = (SAID / name).read_text(encoding="utf-8")
    whole = parse(text).chips
    seen = set()
    for end in range(len(text)):
        report = parse(text[:end])
        assert report.chips == whole[: len(report.chips)]
        assert bool(report.chips) != bool(report.error)
        seen.add(len(report.chips))
    assert seen == set(range(len(whole) + 1))


def test_a_name_of_two_words_and_windows_line_ends():
    text = (SAID / "310B4_board.txt").read_text().replace("310B4     ", "Big  310B4").replace("\n", "\r\n")
    assert [chip.name for chip in parse(text).chips] == ["Big  310B4"]


@pytest.mark.parametrize(
    "soc, name, fit",
    [
        ("Ascend310", "310", True),
        ("Ascend310B4", "310B4", True),
        ("ascend310b4", "310B4", True),
        ("Ascend310B1", "310B4", False),
        ("Ascend310", "310P3", False),
        ("Ascend310P3", "310", False),
        ("Ascend310B4", "310B", True),  # a driver that names the family alone
        ("Ascend310P3", "310B", False),
        ("Ascend910B3", "910B3", True),
        ("Ascend910", "Ascend910", True),
        ("", "310B4", True),
    ],
)
def test_what_was_compiled_for_a_chip_runs_on_that_chip(soc, name, fit):
    assert fits(soc, Npu(0, 0, 0, name, "OK")) is fit


# ---- what is wrong with a chip ----


def test_health_and_heat_are_troubles_and_a_missing_reading_is_none():
    well = _parse("310B4_board.txt").chips[0]
    assert troubles(Report((well, replace(well, temperature_c=None)))) == {}
    (words,) = troubles(_parse("310B1_alarm.txt")).values()
    assert "chip 0 (310B1): its health is Alarm" in words and "npu-smi info -t health -i 0 -c 0" in words
    (words,) = troubles(Report((replace(well, temperature_c=100.0),))).values()
    assert "100 °C" in words and "fan" in words


def test_a_chip_is_too_hot_until_it_is_well_below():
    well = _parse("310B4_board.txt").chips[0]

    def wrong(degrees, known=()):
        return set(troubles(Report((replace(well, temperature_c=degrees),)), known))

    assert wrong(99) == set() and wrong(100) == {"hot 0"}
    assert wrong(96, {"hot 0"}) == {"hot 0"} and wrong(94, {"hot 0"}) == set()


# ---- asking ----


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Puts an npu-smi on the path: a shell script."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(npu.watch, "_FOLDERS", ())

    def put(script):
        path = tmp_path / "npu-smi"
        draft = tmp_path / "draft"
        draft.write_text(f"#!/bin/sh\n{script}\n")
        draft.chmod(0o755)
        draft.replace(path)
        return path

    return put


def _until(watch, condition):
    until(lambda: condition(watch.report) or watch.tick(), lambda: f"what is waited for; {watch.report} was reported")


def test_it_is_asked_with_info_and_in_plain_english(smi):
    smi(f'[ "$*/$LC_ALL" = info/C ] && cat "{SAID}/310B4_board.txt"')
    assert npu.ask().chips[0].name == "310B4"


def test_where_there_is_no_npu_smi_it_says_so(smi):
    report = npu.ask()
    assert report.error == "there is no npu-smi" and "driver" in report.todo


def test_it_is_found_where_drivers_put_it(smi, tmp_path, monkeypatch):
    path = smi("echo")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(npu.watch, "_FOLDERS", (str(tmp_path),))
    assert npu.find_command() == str(path)


def test_one_that_cannot_be_started_is_told(smi):
    path = smi("")
    path.write_text("no program")
    assert "cannot be started" in npu.ask().error


def test_words_on_standard_error_count_and_so_do_many_of_them(smi):
    smi("echo 'dcmi module initialize failed. ret is -8005' >&2; exit 1")
    assert "-8005" in npu.ask().error
    smi("yes 'what is this' | head -c 5000000; sleep 600")
    report = npu.ask(timeout_s=300)
    assert "not understood" in report.error and len(report.error) < 300, "its end was not waited for"


def test_one_that_hangs_is_given_up_with_what_it_started_and_nobody_waits(smi, tmp_path):
    smi(f"sleep 300 & echo $! >{tmp_path}/draft; mv {tmp_path}/draft {tmp_path}/child; wait")
    watch = Monitor(every_s=0.2, timeout_s=600)
    _until(watch, lambda _: (tmp_path / "child").exists())
    child = int((tmp_path / "child").read_text())
    for _ in range(20):
        watch.tick()
    assert watch.report is None and lives(child), "nobody waits"
    watch._query._timeout_s = 0.0
    watch.tick()
    assert "no answer within 0 s" in watch.report.error and "restart the box" in watch.report.todo
    _until(watch, lambda _: not lives(child))
    smi(f"cat '{SAID}/310_board.txt'")
    _until(watch, lambda report: not report.error)  # and it is asked again
    watch.close()


def test_while_one_hangs_in_the_kernel_no_other_is_started(smi, tmp_path, monkeypatch):
    """Nothing here can hang so; one that no signal reaches looks the same from outside."""
    smi(f"echo x >>{tmp_path}/started; sleep 300")
    pids = []
    monkeypatch.setattr(npu.watch.os, "killpg", lambda pid, number: pids.append(pid))
    watch = Monitor(every_s=0.1, timeout_s=600)
    _until(watch, lambda _: (tmp_path / "started").exists())
    watch._query._timeout_s = 0.0
    for _ in range(100):
        watch.tick()
        time.sleep(0.01)
    assert watch.report is not None and lives(pids[0]), "its end was not waited for"
    assert (tmp_path / "started").read_text() == "x\n" and len(pids) == 1
    monkeypatch.undo()
    os.killpg(pids[0], signal.SIGKILL)
    watch.close()


def test_it_is_asked_again_after_a_while_and_not_before(smi, tmp_path):
    smi(f"echo x >>{tmp_path}/asked; cat '{SAID}/310_board.txt'")
    watch = Monitor(every_s=3600)
    _until(watch, lambda report: report is not None)
    for _ in range(20):
        watch.tick()
        time.sleep(0.01)
    assert (tmp_path / "asked").read_text() == "x\n"
    watch._ask_at -= 3600  # an hour goes by
    _until(watch, lambda _: (tmp_path / "asked").read_text() == "x\nx\n")
    watch.close()


def test_what_is_wrong_is_logged_once_and_so_is_its_end(smi, caplog):
    caplog.set_level(logging.INFO, "sonic_edge.hardware.npu.watch")
    watch = Monitor(every_s=0.0)
    smi(f"cat '{SAID}/310B1_alarm.txt'")
    for _ in range(3):
        watch.report = None
        _until(watch, lambda report: report is not None)
    assert [r.levelname for r in caplog.records] == ["ERROR"] and "Alarm" in caplog.text
    smi(f"cat '{SAID}/310B1_board_25.txt'")
    _until(watch, lambda report: report.driver == "25.2.0")
    assert [r.levelname for r in caplog.records] == ["ERROR", "INFO"] and "resolved" in caplog.records[1].message
    watch.close()


def test_its_status_is_fit_for_json(smi):
    watch = Monitor()
    assert watch.status() is None
    smi(f"cat '{SAID}/310B4_board.txt'")
    _until(watch, lambda report: report is not None)
    status = watch.status()
    assert status.error == "" and status.driver == "23.0.rc3"
    (chip,) = status.chips
    assert chip.soc == "Ascend310B4" and chip.temperature_c == 51 and chip.memory_total_mb == 3513
    watch.close()
