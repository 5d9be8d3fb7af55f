"""Every paper is in the index, what papers link to is there, and the version is the same everywhere."""

import configparser
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAPERS = sorted(p for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "models/README.md"])


def version():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return settings["metadata"]["version"]


def links(paper):
    """What it links to: of [words](place), pictures too, and of HTML."""
    text = re.sub(r"^```.*?^```|^ {4}.*?$|`[^`\n]*`", "", paper.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(r"\]\(<?([^)>\s]+)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)


def anchors(paper):
    """Of its headings, as GitHub makes them."""
    heads = re.findall(r"^#+ +(.+?) *$", paper.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("paper", PAPERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(paper):
    for link in links(paper):
        if re.match(r"\w+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (paper.parent / place).resolve() if place else paper
        assert target.exists(), f"{link}: there is no {target}"
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        assert not anchor or anchor in anchors(target), f"{link}: {target.name} has no such heading"


def test_every_paper_is_in_the_index():
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link).resolve() for link in links(index)}
    assert {p for p in (ROOT / "docs").glob("*.md") if p != index} <= linked


def test_the_change_log_is_in_the_form_that_people_know():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    releases = [re.fullmatch(r"\[([\d.]+)\] - \d{4}-\d\d-\d\d", head) for head in heads if head != "[Unreleased]"]
    assert all(releases), heads
    assert "[Unreleased]" not in heads[1:]
    assert releases[0][1] == version()
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for section in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]:
        found = re.findall(r"^### (.+)$", section, re.MULTILINE)
        assert found and set(found) <= kinds and len(found) == len(set(found))


def test_bundles_are_called_by_the_version():
    """In docs/; what installing says is copied from there."""
    for paper in (ROOT / "docs").glob("*.md"):
        reported = set(re.findall(r"sonic-edge-(\d+\.\d+\.\d+)-", paper.read_text(encoding="utf-8")))
        assert reported <= {version()}, f"{paper.name}: {reported}"


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_forms_are_forms(name):
    """What GitHub asks of one: docs.github.com, syntax for issue forms."""
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text(encoding="utf-8"))
    assert form["name"] and form["description"]
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert asked and len({part["id"] for part in asked}) == len(asked)
    for part in form["body"]:
        assert part["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert part["attributes"].get("value" if part["type"] == "markdown" else "label")


def test_hooks_name_tools_that_are_there():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "mypy", "shellcheck"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in hooks[:3]:
        command = " ".join(hook["entry"].split()[:4])
        assert command in makefile, f"{command}: make check has none such"
