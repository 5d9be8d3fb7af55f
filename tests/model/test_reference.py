"""A model comes with a reference result; a box that computes something else is reported."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sonic_edge.cli import main
from sonic_edge.config import Config, ModelSettings
from sonic_edge.disk import sha256_of
from sonic_edge.doctor import model
from sonic_edge.doctor.finding import FAILED, NOT_CHECKED, OK, Context
from sonic_edge.engine import load
from sonic_edge.errors import ConfigError
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.reference import Agreement, agreement, compare, read_case
from sonic_edge.model.store import find_bundle
from sonic_edge.model.store.check import check_files, listed_files


@pytest.fixture
def own(tmp_path):
    """A copy of the shipped bundle."""
    return Path(shutil.copytree(find_bundle("sonic-net").folder, tmp_path / "own"))


def put(folder, content, **more):
    """Another reference, named with its hash."""
    (folder / "reference.npz").write_bytes(content)
    about = folder / "bundle.yaml"
    kept = [line for line in about.read_text("utf8").splitlines() if not line.startswith("reference:")]
    said = {"path": "reference.npz", "sha256": sha256_of(folder / "reference.npz"), **more}
    kept.append("reference: {" + ", ".join(f"{key}: {value}" for key, value in said.items()) + "}")
    about.write_text("\n".join(kept) + "\n", "utf8")


def changed(folder, **arrays):
    """The reference with other arrays; None: without."""
    held = {**np.load(folder / "reference.npz"), **{name.replace("__", "/"): a for name, a in arrays.items()}}
    out = io.BytesIO()
    np.savez_compressed(out, **{name: array for name, array in held.items() if array is not None})
    return out.getvalue()


class Off:
    """A backend that computes something else, as a processor whose sums stop too early does."""

    def __init__(self, threads):
        self._backend = CpuBackend(threads)
        self.name = self._backend.name

    def open(self, stage):
        session = self._backend.open(stage)
        run = session.run

        def wrong(inputs):
            made = run(inputs)
            rng = np.random.default_rng(0)
            return {
                name: (a + 0.2 * a.std() * rng.standard_normal(a.shape)).astype(np.float32) for name, a in made.items()
            }

        session.run = wrong
        return session


def test_this_processor_computes_what_it_must():
    bundle, backend = find_bundle("sonic-net"), CpuBackend(1)
    found = compare(bundle, lambda name: backend.open(bundle.stage(name, "cpu")))
    assert [(one.stage, one.output) for one in found] == [
        ("encoder", "lips"), ("encoder", "closure"), ("encoder", "visemes"), ("encoder", "condition"),
        ("encoder", "face"), ("denoiser", "velocity"),
    ]  # fmt: skip
    assert min(one.r for one in found) > 0.995 and all(0.97 < one.gain < 1.03 for one in found)


def test_the_case_is_as_it_was_written():
    case = read_case(find_bundle("sonic-net"))
    calls, outputs = case["encoder"]
    assert len(calls) == len(outputs["lips"]) == 4
    assert calls[0]["image_input"].shape == (1, 3, 224, 224) and 0 <= calls[0]["image_input"].min() < 0.3
    assert 0.7 < calls[0]["image_input"].max() <= 1 and calls[0]["image_input"].dtype == np.float32
    np.testing.assert_array_equal(calls[0]["image_input"], calls[3]["image_input"])
    assert np.abs(calls[0]["audio_input"] - calls[1]["audio_input"]).max() > 0.5
    assert (find_bundle("sonic-net").folder / "reference.npz").stat().st_size < 400_000


def test_agreement():
    a = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    assert agreement(2 * a + 1, a) == pytest.approx((1, 2)) and agreement(-a, a) == pytest.approx((-1, -1))
    assert agreement(a * 0, a * 0 + 5) == (1, 1) and agreement(a * 0, a) == (0, 0)
    assert agreement(np.where(a == 3, np.nan, a), a) == (0, 0)
    rough = Agreement("encoder", "lips", 0.995, 1.0)
    assert rough.holds(0.99) and not rough.holds(0.999) and not rough._replace(gain=0.3).holds(0.99)
    assert not rough._replace(gain=float("nan")).holds(0.99)


def test_the_doctor_reports_it():
    (found,) = model.result(Context(Config()))
    assert found.state == OK and "as the bundle's reference: r 0.99" in found.seen


def test_the_doctor_finds_a_processor_that_computes_something_else(monkeypatch):
    monkeypatch.setattr("sonic_edge.model.backends.cpu.CpuBackend", Off)
    (found,) = model.result(Context(Config()))
    assert found.state == FAILED and "cpu computes something else" in found.seen
    assert (
        "lips of encoder r 0.9" in found.seen
        and "r of at least 0.99 and a gain of 0.9 to 1.1 are needed" in found.seen
        and found.todo
    )


def test_a_model_that_computes_something_else_here_is_not_taken(monkeypatch, own):
    monkeypatch.setattr("sonic_edge.model.backends.cpu.CpuBackend", Off)
    with pytest.raises(ConfigError, match="computes something else than the bundle's reference says"):
        load.try_bundle(Bundle(own), ModelSettings())
    put(own, (own / "reference.npz").read_bytes(), least_r=0.5)
    assert min(one.r for one in load.try_bundle(Bundle(own), ModelSettings()).agreements) > 0.5


def test_model_check_reports_the_agreement(own, tmp_path, capfd):
    (tmp_path / "box.yaml").write_text(
        f"spool: {{root: {tmp_path / 'spool'}}}\nmodel: {{store: {tmp_path / 'models'}}}\n"
    )
    assert main(["model", "check", str(own), "--config", str(tmp_path / "box.yaml")]) == 0
    said = capfd.readouterr().out
    assert "as the bundle's reference: r 0.99" in said and "left out" not in said
    assert main(["model", "install", str(own), "--config", str(tmp_path / "box.yaml")]) == 0
    (kept,) = (tmp_path / "models").glob("*/reference.npz")
    assert kept.read_bytes() == (own / "reference.npz").read_bytes()


def test_a_bundle_without_a_reference_still_passes(own, tmp_path, capfd):
    about = own / "bundle.yaml"
    kept = [line for line in about.read_text("utf8").splitlines(keepends=True) if not line.startswith("reference:")]
    about.write_text("".join(kept), "utf8")
    (own / "reference.npz").unlink()
    assert load.try_bundle(Bundle(own), ModelSettings()).agreements == []
    (found,) = model.result(Context(Config(model=ModelSettings(bundle=str(own)))))
    assert found.state == NOT_CHECKED and "names no reference" in found.seen
    assert main(["model", "check", str(own)]) == 0
    assert "bundle.yaml names no reference" in capfd.readouterr().out


def test_it_is_one_of_the_bundle_s_files(own):
    assert "reference.npz" in listed_files(Bundle(own)) and "reference.npz" in check_files(own).sizes
    with (own / "reference.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match=r"reference\.npz: is damaged or changed"):
        check_files(own)
    (own / "reference.npz").unlink()
    with pytest.raises(ConfigError, match=r"reference\.npz: cannot be read"):
        check_files(own)
    put(own, b"")
    with pytest.raises(ConfigError, match=r"reference\.npz: is empty"):
        check_files(own)


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("arrays, said", [
    ({"encoder__in__audio_input": None}, "has no encoder/in/audio_input"),
    ({"encoder__in__audio_input": zeros(4, 1, 80, 159)}, r"audio_input is float32 \[4, 1, 80, 159\]; must be float32"),
    ({"encoder__in__audio_input": zeros(4, 1, 80, 160).astype(int)}, r"is int64 \[4, 1, 80, 160\]"),
    ({"encoder__in__audio_input": zeros(17, 1, 80, 160)}, "1 to 16 times"),
    ({"encoder__in__audio_input": zeros(3, 1, 80, 160)}, "encoder/out/lips.*: must have 3 calls"),
    ({"encoder__out__lips": zeros(3, 5, 40)}, "encoder/out/lips: must have 4 calls"),
    ({"denoiser__out__velocity": None}, "denoiser/out: must have 4 calls"),
    ({"encoder__out__lips": np.asfortranarray(zeros(4, 5, 40))}, "encoder/out/lips is"),
    ({"encoder__out__lips": np.array([[{"a": 1}]], dtype=object)}, "encoder/out/lips is object"),
])  # fmt: skip
def test_a_reference_that_does_not_fit(own, arrays, said):
    put(own, changed(own, **arrays))
    with pytest.raises(ConfigError, match=said):
        read_case(Bundle(own))


def packed(name, content, n=1):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content * n)
    return out.getvalue()


def header(shape):
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return out.getvalue()


@pytest.mark.parametrize("content, said", [
    (b"no archive", "cannot be read as a reference"),
    (packed("encoder/in/audio_input.npy", b"no array"), "cannot be read as a reference"),
    (packed("encoder/in/audio_input.npy", header((4, 1, 80, 160)) + bytes(9)), "ends early"),
    (packed("encoder/in/audio_input.npy", header((10**12, 1, 80, 160)) + bytes(9)), "1 to 16 times"),
    (packed("encoder/in/audio_input.npy", b"\x93NUMPY\x01\x00\xff\xff{" + b" " * 70000), "as a reference"),
    (packed("encoder/in/audio_input.npy", header((4, 1, 80, 160)), 3)[:60] + bytes(40), "as a reference"),
])  # fmt: skip
def test_a_file_that_is_not_a_reference(own, content, said):
    """From a stranger's archive: nothing is read that was not looked at."""
    put(own, content)
    with pytest.raises(ConfigError, match=said):
        read_case(Bundle(own))


def test_it_must_lie_in_the_bundle(own, tmp_path):
    shutil.copy(own / "reference.npz", tmp_path)
    put(own, (own / "reference.npz").read_bytes(), path="../reference.npz")
    with pytest.raises(ConfigError, match=r"reference\.path = \.\./reference\.npz: must be in the bundle's folder"):
        Bundle(own).reference()
