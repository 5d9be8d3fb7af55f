"""What 0.1.0 wrote is still read: its settings, a bundle's description, the record of a job that was under way.

The files in data/ are as that version left them.
"""

import shutil
from pathlib import Path

import yaml

from sonic_edge.config import Config, load_config
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.store import find_bundle
from sonic_edge.spool.job import Record

DATA = Path(__file__).parent / "data"


def test_settings():
    path = DATA / "settings-0.1.0.yaml"
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    now = load_config(path).model_dump(mode="json")
    assert len(said) > 5
    for section, values in said.items():
        assert values == {name: now[section][name] for name in values}, section
    assert find_bundle(now["model"]["bundle"]).spec.name == "sonic-net"
    added = set(now) - set(said)
    assert {name: now[name] for name in added} == Config().model_dump(mode="json", include=added)


def test_a_bundle(tmp_path):
    shutil.copy(DATA / "bundle-0.1.0.yaml", tmp_path / "bundle.yaml")
    spec = Bundle(tmp_path).spec
    assert (spec.name, spec.version, spec.kind, sorted(spec.stages)) == (
        "sonic-net",
        "0.1.0",
        "motion",
        ["denoiser", "encoder"],
    )


def test_a_job_that_was_under_way(tmp_path):
    folder = tmp_path / "lesson-4f2a"
    folder.mkdir()
    shutil.copy(DATA / "job-0.1.0.json", folder / "job.json")
    record = Record.load(folder)
    assert (record.state, record.given, record.deaths) == ("running", "lesson", 1)
    assert [seen.name for seen in record.sources] == ["lesson.wav", "lesson.jpg"]
    record.store(folder)
    assert (folder / "job.json").read_bytes() == (DATA / "job-0.1.0.json").read_bytes()
