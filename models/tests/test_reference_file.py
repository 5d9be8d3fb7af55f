"""What every machine must compute is written beside a bundle, and named in it."""

import shutil

from models import BUNDLE, reference
from sonic_edge.config import ModelSettings
from sonic_edge.engine.load import compare_with_reference
from sonic_edge.model.bundle import Bundle


def test_it_is_written_and_this_machine_agrees(tmp_path, capsys, monkeypatch):
    bundle = shutil.copytree(BUNDLE, tmp_path / "own")
    about = bundle / "bundle.yaml"
    text = about.read_text("utf8")
    (bundle / "reference.npz").unlink()
    about.write_text("# a word of ours\n" + text, "utf8")
    monkeypatch.setattr("sys.argv", ["reference.py", "--bundle", str(bundle)])
    assert reference.main() == 0
    assert "4 calls of each graph" in capsys.readouterr().out
    now = about.read_text("utf8")
    assert now.startswith("# a word of ours\n") and now.count("\nreference:") == 1
    assert min(one.r for one in compare_with_reference(Bundle(bundle), ModelSettings())) > 0.995


def test_nothing_changes_without_a_listener(tmp_path, capsys, monkeypatch):
    bundle = shutil.copytree(BUNDLE, tmp_path / "own")
    (tmp_path / "empty").mkdir()
    before = {p.name: p.read_bytes() for p in bundle.iterdir()}
    monkeypatch.setattr("sys.argv", ["reference.py", "--bundle", str(bundle), "--speech", str(tmp_path / "empty")])
    assert reference.main() == 1
    assert "no recording in it can be used" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in bundle.iterdir()} == before
