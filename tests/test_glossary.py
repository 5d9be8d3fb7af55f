"""docs/GLOSSARY.md agrees with the code: its places exist, and its terms are used there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| term")
]


def test_every_row_is_complete():
    assert len(ROWS) >= 60 and all(len(row) == 4 and all(row) for row in ROWS)
    assert all(re.search("[\u4e00-\u9fff]", chinese) for _, chinese, _, _ in ROWS)


def test_terms_are_in_alphabetical_order_and_once_each():
    terms = [re.sub("[^a-z]", " ", row[0].lower()) for row in ROWS]
    assert terms == sorted(set(terms))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_term_is_used_where_the_glossary_says(row):
    term, _, _, places = row
    paths = re.findall("`([^`]+)`", places)
    assert paths and ", ".join(f"`{path}`" for path in paths) == places
    stem = re.sub("(ing|is|e|s)$", "", term)  # parked, irises; below also first-light, FIRST_LIGHT, DiskQuota
    word = re.compile(rf"(?:(?<![a-zA-Z])|(?<=[a-z])(?=[A-Z]))(?i:{re.sub('[- _]', '[-_ ]', stem)})")
    for path in paths:
        assert word.search((ROOT / path).read_text(encoding="utf-8")), f"{path} does not use '{term}'"
