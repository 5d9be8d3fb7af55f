"""The file for a box without a network: what makes it, what is in it, and what board/install.sh refuses.

board/virtual has it installed, upgraded, rolled back and taken off, on a board with a real systemd.
"""

import configparser
import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
BOARD = CHECKOUT / "board"
OTHER = "x86_64" if platform.machine() == "aarch64" else "aarch64"
"""Not what this machine is: nothing that is made here can be installed here."""
PARTS = ["--without", "live", "--without", "journal", "--without", "screen"]


def run(*words, as_nobody=False, **environment):
    command = [str(word) for word in words]
    if as_nobody and os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})


def make_wheel(folder, name, version, tag, needs=()):
    file = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    members = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n",
    }
    record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(file, "w") as archive:
        for member, text in {**members, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A package index with nothing but what the product needs, on Python 3.11 of the other processor."""
    folder = tmp_path_factory.mktemp("index")
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    for line in [*settings["options"]["install_requires"].split(), settings["options.extras_require"]["cpu"].strip()]:
        name, _, least = line.split(",")[0].partition(">=")
        tag = f"cp311-cp311-manylinux_2_28_{OTHER}" if name in ("numpy", "av") else "py3-none-any"
        make_wheel(
            folder, name.replace("-", "_"), least, tag, ["more>=1; python_version < '3.12'"] if name == "av" else []
        )
    make_wheel(folder, "more", "1.0", "py3-none-any")
    make_wheel(folder, "pip", "25.0", "py3-none-any")
    return folder


@pytest.fixture(scope="module")
def make(place, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def make(out, *words, index=place):
        environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}
        # not the Python of that suite: without Debian packages, for which there is no index here
        words = ["--arch", OTHER, "--suite", "bullseye", "--python", "3.11", *PARTS, "--out", out, *words]
        environment = {**environment, "VENV": sys.prefix, "XDG_CACHE_HOME": str(cache)}
        return run(BOARD / "make_bundle.sh", *words, **environment)

    return make


@pytest.fixture(scope="module")
def bundle(make, tmp_path_factory):
    """One that is made, and unpacked."""
    out = tmp_path_factory.mktemp("bundle")
    done = make(out)
    assert done.returncode == 0, done.stderr
    file = Path(done.stdout.strip())
    assert sorted(out.iterdir()) == [file, Path(f"{file}.sha256")]
    with tarfile.open(file) as archive:
        archive.extractall(out)
    return out / file.stem


def test_one_file_has_all_of_it(bundle):
    files = {str(f.relative_to(bundle)) for f in bundle.rglob("*") if f.is_file()}
    for systemd in (CHECKOUT / "systemd").iterdir():
        assert f"systemd/{systemd.name}" in files
    assert {"install.sh", "board/uninstall.sh", "board/rollback.sh", "board/ascend_env.sh", "docs/BOARD.md"} <= files
    assert {"share/samples/portrait.jpg", "share/face/face_landmark.tflite"} <= files
    assert f"wheels/av-12-cp311-cp311-manylinux_2_28_{OTHER}.whl" in files
    assert "wheels/more-1.0-py3-none-any.whl" in files, "what is needed by what is needed"
    (wheel,) = bundle.glob("wheels/sonic_edge-*.whl")
    assert run(sys.executable, BOARD / "check_wheel.py", wheel).returncode == 0
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    version = settings["metadata"]["version"]
    assert bundle.name == f"sonic-edge-{version}-{OTHER}-bullseye-py3.11"
    assert (
        f"version={version}\narch={OTHER}\nsuite=bullseye\npython=3.11\nextras=cpu\n"
        in (bundle / "bundle.txt").read_text()
    )


def test_every_file_is_in_the_manifest(bundle):
    told = {}
    for line in (bundle / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ./")
        told[name] = digest
    files = [f for f in bundle.rglob("*") if f.is_file() and f.name != "SHA256SUMS"]
    assert told == {str(f.relative_to(bundle)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_everybody_may_read_it_and_nobody_owns_it(bundle):
    with tarfile.open(f"{bundle}.tar") as archive:
        members = archive.getmembers()
    assert {(m.uid, m.gid, m.mtime) for m in members} == {(0, 0, 0)}
    assert {oct(m.mode) for m in members} <= {"0o755", "0o644"}
    assert [m.name for m in members] == sorted((m.name for m in members), key=lambda name: name.split("/"))


def test_the_same_inputs_give_the_same_bytes(bundle, make, tmp_path):
    done = make(tmp_path / "fresh", "--fresh")
    assert done.returncode == 0, done.stderr
    again = Path(done.stdout.strip())
    assert Path(f"{again}.sha256").read_text() == Path(f"{bundle}.tar.sha256").read_text()
    assert hashlib.sha256(again.read_bytes()).hexdigest() == Path(f"{again}.sha256").read_text().split()[0]


def test_models_and_the_vendors_wheel_go_along(make, tmp_path):
    model = tmp_path / "our own model"
    model.mkdir()
    (model / "bundle.yaml").write_text("name: ours\n")
    lite = make_wheel(tmp_path, "mindspore_lite", "2.6.0", f"cp311-cp311-linux_{OTHER}", ["numpy>=1.20"])
    done = make(tmp_path / "out", "--model", model, "--mindspore-lite", lite)
    assert done.returncode == 0, done.stderr
    with tarfile.open(done.stdout.strip()) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
        about = archive.extractfile(next(m for m in archive if m.name.endswith("bundle.txt"))).read().decode()
    assert {"models/our own model/bundle.yaml", f"wheels/{lite.name}"} <= names
    assert f"mindspore_lite=wheels/{lite.name}\n" in about


def test_a_wheel_for_another_python_is_refused(make, tmp_path):
    lite = make_wheel(tmp_path, "mindspore_lite", "2.6.0", f"cp39-cp39-linux_{OTHER}")
    done = make(tmp_path / "out", "--mindspore-lite", lite)
    assert done.returncode == 1
    assert f"{lite.name} is not a supported wheel" in done.stderr
    assert f"the wheels for Python 3.11 on {OTHER}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_fetched_is_named(make, place, tmp_path):
    poor = tmp_path / "index"
    poor.mkdir()
    for wheel in place.iterdir():
        if not wheel.name.startswith("onnxruntime"):
            (poor / wheel.name).symlink_to(wheel)
    done = make(tmp_path / "out", "--fresh", index=poor)
    assert done.returncode == 1
    assert "onnxruntime" in done.stderr
    assert not (tmp_path / "out").exists()


def check(folder, *wanted, python="3.9"):
    return run(sys.executable, BOARD / "wheelhouse.py", "check", folder, python, OTHER, *wanted)


def test_markers_are_read_for_the_box_and_not_for_this_machine(tmp_path):
    needs = [
        "old>=1; python_version < '3.10'",
        "new>=1; python_version >= '3.10'",
        f"chip>=2; platform_machine == '{OTHER}'",
        "ours; extra == 'live'",
    ]
    make_wheel(tmp_path, "product", "1.0", "py3-none-any", needs)
    make_wheel(tmp_path, "chip", "1.0", "py3-none-any")
    done = check(tmp_path, "product[live]")
    assert done.returncode == 1
    told = done.stderr.splitlines()
    assert len(told) == 3
    assert any("old>=1" in line and "there is no wheel of it" in line for line in told)
    assert any("chip>=2" in line and "there is chip-1.0-py3-none-any.whl" in line for line in told)
    assert any("ours" in line for line in told)
    for name, version in (("old", "1.1"), ("ours", "1.0")):
        make_wheel(tmp_path, name, version, "py3-none-any")
    (tmp_path / "chip-1.0-py3-none-any.whl").unlink()
    make_wheel(tmp_path, "chip", "2.0", "py3-none-any")
    assert check(tmp_path, "product[live]").returncode == 0
    assert "nothing needs it" in check(tmp_path, "product").stderr
    make_wheel(tmp_path, "chip", "3.0", "py3-none-any")
    assert "one of them must go" in check(tmp_path, "product[live]").stderr


@pytest.mark.parametrize(
    "words, told",
    [
        (["--arch"], "--arch: a value must follow it"),
        (["--arch", "armhf"], "--arch armhf: must be aarch64 or x86_64"),
        (["--suite", "focal"], "--suite focal: must be bullseye, bookworm or jammy"),
        (["--python", "3.8"], "--python 3.8: must be 3.9, 3.10, 3.11 or 3.12"),
        (["--without", "colour"], "--without colour: must be live, journal or screen"),
        (["--model", "/nowhere"], "--model /nowhere: no model bundle: it has no bundle.yaml"),
        (["--mindspore-lite", "/nowhere.whl"], "--mindspore-lite /nowhere.whl: there is no such file"),
        (["live"], "live: means nothing here"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(words, told):
    done = run(BOARD / "make_bundle.sh", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr


def test_it_is_not_installed_on_another_processor(bundle):
    done = run(bundle / "install.sh")
    assert done.returncode == 1
    assert f"this bundle is for {OTHER}" in done.stderr or "no Debian" in done.stderr


def test_a_checkout_is_not_installed():
    done = run(BOARD / "install.sh")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is no unpacked bundle: board/make_bundle.sh makes one" in done.stderr


@pytest.mark.parametrize("script", ["rollback.sh", "uninstall.sh"])
def test_only_root_changes_a_box(script):
    done = run(BOARD / script, as_nobody=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "must be run as root" in done.stderr


@pytest.mark.parametrize("script", ["rollback.sh", "uninstall.sh"])
def test_a_word_that_means_nothing_is_refused(script):
    done = run(BOARD / script, "--force")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--force: means nothing here" in done.stderr


@pytest.mark.parametrize("script", sorted(path.name for path in BOARD.glob("*.sh")))
def test_it_is_posix_shell(script):
    assert run("sh", "-n", BOARD / script).returncode == 0
    text = (BOARD / script).read_text()
    assert text.startswith("#!/bin/sh") == os.access(BOARD / script, os.X_OK), "what is sourced is not run"
