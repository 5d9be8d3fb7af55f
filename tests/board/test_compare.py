"""What board/virtual/inside/compare.py says of pictures that it cannot read; `make board-test` has it see real ones."""

import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).parents[2] / "board/virtual/inside"


@pytest.fixture
def compare(monkeypatch):
    """The module."""
    monkeypatch.syspath_prepend(str(INSIDE))
    import compare

    yield compare
    sys.modules.pop("compare", None)  # a name that is its only there


def test_a_screen_that_was_not_taken(compare, tmp_path):
    """A check that fails by a ValueError is one line; by anything else, the end of all of them."""
    with pytest.raises(ValueError, match=r"idle-0\.png: is not there"):
        compare.of_screen(tmp_path / "idle-0.png", (192, 192, 3))


def test_a_screen_that_is_cut_off(compare, tmp_path):
    (tmp_path / "idle-0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"idle-0\.png: is no picture"):
        compare.of_screen(tmp_path / "idle-0.png", (192, 192, 3))
