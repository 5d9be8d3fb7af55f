"""What board/arm64 reads of a processor, a network and pytest; `make arm64-test` has it run one."""

import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def arm64(monkeypatch):
    """Its modules."""
    for folder in (CHECKOUT, CHECKOUT / "board/virtual/inside"):
        monkeypatch.syspath_prepend(str(folder))
    from board.arm64 import debian, fast_tests, product

    yield debian, fast_tests, product
    sys.modules.pop("compare", None)  # a name that is its only there


AUXILIARY = """\
AT_PHDR:              0x5500000040
AT_FLAGS:             0x0
AT_HWCAP:             {hwcap}
AT_CLKTCK:            100
AT_HWCAP2:            0x0
AT_PLATFORM:          aarch64
"""


# as printed by glibc 2.31 in the root, with QEMU_CPU=cortex-a76, cortex-a53 and max
@pytest.mark.parametrize(
    "hwcap, has, lacks",
    [
        ("119ffb", {"fp", "asimd", "asimdhp", "asimddp"}, {"sve"}),
        ("8fb", {"fp", "asimd"}, {"asimdhp", "asimddp", "sve"}),
        ("ecfffffb", {"fp", "asimd", "asimdhp", "asimddp", "sve"}, set()),
    ],
)
def test_what_a_processor_has(hwcap, has, lacks, arm64):
    found = arm64[0].features(AUXILIARY.format(hwcap=hwcap))
    assert has <= found and not lacks & found


def test_a_processor_that_reports_nothing(arm64):
    with pytest.raises(arm64[0].Wrong, match="no AT_HWCAP in 'AT_PHDR"):
        arm64[0].features("AT_PHDR: 0x5500000040\nAT_HWCAP2: 0x0\n")


NO_NETWORK = """\
Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame |bytes    packets errs drop fifo
    lo:       0       0    0    0    0     0        0       0    0    0    0
"""


def test_networks(arm64):
    assert arm64[0].interfaces(NO_NETWORK) == {"lo"}
    assert arm64[0].interfaces(NO_NETWORK + "  eth0: 7 1\n") == {"lo", "eth0"}


@pytest.mark.parametrize(
    "stem, reported",
    [
        ("av-15.1.0-cp39-cp39-manylinux_2_28_aarch64", "av 15.1.0 (cp39-cp39-manylinux_2_28_aarch64)"),
        ("tqdm-4.70.1-py3-none-any", "tqdm 4.70.1 (py3-none-any)"),
        ("made-1.0-7-cp39-cp39-linux_aarch64", "made 1.0 (cp39-cp39-linux_aarch64)"),  # with a build number
    ],
)
def test_a_wheel_is_described(stem, reported, arm64):
    assert arm64[2].wheel(stem) == reported


@pytest.mark.parametrize("end", ["35 passed in 24.67s", "===== 35 passed in 106.13s (0:01:46) ====="])
def test_tests_that_passed(end, arm64):
    assert arm64[1].counted(f"...\n  3.2s call tests/model/test_mel.py::test_x\n{end}\n") == "35 passed"


@pytest.mark.parametrize(
    "end, reported",
    [
        ("1 failed, 34 passed in 2.00s", "1 failed, 34 passed; all must pass"),
        ("34 passed, 1 skipped in 2.00s", "34 passed, 1 skipped; all must pass"),
        ("34 passed, 2 warnings in 2.00s", "34 passed, 2 warnings; all must pass"),
        ("no tests ran in 0.01s", "pytest printed no result"),
        ("Killed", "pytest printed no result"),
    ],
)
def test_tests_that_did_not(end, reported, arm64):
    with pytest.raises(arm64[0].Wrong, match=reported):
        arm64[1].counted(f"...\n{end}\n")
