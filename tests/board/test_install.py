"""The offline bundle: how it is made, its contents, and what board/install.sh refuses.

board/virtual has it installed, upgraded, rolled back and taken off, on a board with a real systemd.
"""

import configparser
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
BOARD = CHECKOUT / "board"
OTHER = "x86_64" if platform.machine() == "aarch64" else "aarch64"
"""Unlike this machine, so that nothing made here can be installed here."""
DISTRIBUTION, SUITE, PYTHON = (
    ("debian", "bullseye", "3.11")
    if Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists()
    else ("ubuntu", "jammy", "3.12")
)
"""Not the Python of that suite, so that no Debian packages are needed; there are none here."""
TAG = f"cp{PYTHON.replace('.', '')}"
PIXELS = f"sonic_edge/engine/renderer/_pixels.cpython-{PYTHON.replace('.', '')}-{OTHER}-linux-gnu.so"
PARTS = ["--without", "live", "--without", "journal", "--without", "screen"]
ELF = {
    machine: b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + bytes([code, 0])
    for machine, code in (("x86_64", 62), ("aarch64", 183), ("riscv64", 243))
}
"""How a compiled module begins, by its processor (elf.h)."""

APT = """\
#!/bin/sh
# An apt-get that knows the packages in one folder.
for word; do
    case $word in Dir=*) root=${{word#Dir=}} ;; install) cp {debs}/*.deb "$root/var/cache/apt/archives" ;; esac
done
"""
COMPILER = """\
#!/bin/sh
# This machine's compiler. What it makes for the other one is this machine's, with the other's name on it.
for word; do
    shift
    case $word in
    --sysroot=*) [ -e "${{word#*=}}/usr/include/of-the-box.h" ] || exit 1 ;;
    *.so) out=$word && set -- "$@" "$word" ;;
    *) set -- "$@" "$word" ;;
    esac
done
gcc "$@" || exit
[ -z "${{out:-}}" ] || printf '\\{machine:03o}' | dd of="$out" bs=1 seek=18 conv=notrunc status=none
"""


def run(*words, as_nobody=False, **environment):
    command = [str(word) for word in words]
    if as_nobody and os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})


def make_wheel(folder, name, version, tag, needs=(), files=()):
    file = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    members = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {need}\n" for need in needs),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n",
        **dict(files),
    }
    record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(file, "w") as archive:
        for member, text in {**members, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A package index with only the product's requirements, for the other processor."""
    folder = tmp_path_factory.mktemp("index")
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    extra = settings["options.extras_require"]["cpu"]
    for line in f"{settings['options']['install_requires']}\n{extra}".split():
        name, _, least = line.split(",")[0].partition(">=")
        tag = f"{TAG}-{TAG}-manylinux_2_28_{OTHER}" if name in ("numpy", "av") else "py3-none-any"
        make_wheel(
            folder, name.replace("-", "_"), least, tag, ["more>=1; python_version < '3.13'"] if name == "av" else []
        )
    make_wheel(folder, "more", "1.0", "py3-none-any")
    make_wheel(folder, "pip", "25.0", "py3-none-any")
    return folder


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A folder with an apt-get that provides headers, and a compiler for the other processor.

    `make arm64-test` has the real ones.
    """
    folder = tmp_path_factory.mktemp("tools")
    (folder / "debs").mkdir()
    about = {**sysconfig.get_config_vars(), "EXT_SUFFIX": "." + PIXELS.partition(".")[2]}
    python = folder / f"libpython{PYTHON}-dev"
    shutil.copytree(sysconfig.get_path("include"), python / f"usr/include/python{PYTHON}")
    (python / f"usr/lib/python{PYTHON}").mkdir(parents=True)
    (python / f"usr/lib/python{PYTHON}/_sysconfigdata__{OTHER}-linux-gnu.py").write_text(f"build_time_vars = {about}\n")
    library = folder / "libc6-dev"
    (library / "usr/include").mkdir(parents=True)
    (library / "usr/include/of-the-box.h").touch()
    for package in (python, library):
        (package / "DEBIAN").mkdir()
        (package / "DEBIAN/control").write_text(
            f"Package: {package.name}\nVersion: 1\nArchitecture: all\nMaintainer: test\nDescription: test\n"
        )
        done = run("dpkg-deb", "--build", package, folder / f"debs/{package.name}_1_all.deb")
        assert done.returncode == 0, done.stderr
    doubles = {
        "apt-get": APT.format(debs=folder / "debs"),
        f"{OTHER}-linux-gnu-gcc": COMPILER.format(machine=ELF[OTHER][18]),
    }
    for name, text in doubles.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def make(place, tools, tmp_path_factory):
    cache = tmp_path_factory.mktemp("with a blank")

    def make(out, *words, index=place, checkout=CHECKOUT):
        environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}
        environment = {**environment, "PATH": f"{tools}:{os.environ['PATH']}"}
        environment = {**environment, "VENV": sys.prefix, "XDG_CACHE_HOME": str(cache)}
        words = ["--arch", OTHER, "--suite", SUITE, "--python", PYTHON, *PARTS, "--out", out, *words]
        words += ["--mirror", f"http://nowhere.invalid/{DISTRIBUTION}"]
        return run(checkout / "board/make_bundle.sh", *words, **environment)

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
    assert f"wheels/av-12-{TAG}-{TAG}-manylinux_2_28_{OTHER}.whl" in files
    assert "wheels/more-1.0-py3-none-any.whl" in files, "what is needed by what is needed"
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    version = settings["metadata"]["version"]
    assert bundle.name == f"sonic-edge-{version}-{OTHER}-{SUITE}-py{PYTHON}"
    assert (
        f"version={version}\narch={OTHER}\nsuite={SUITE}\npython={PYTHON}\nextras=cpu\n"
        in (bundle / "bundle.txt").read_text()
    )


def own_wheel(bundle):
    (wheel,) = bundle.glob("wheels/sonic_edge-*.whl")
    return wheel


def check_wheel(wheel):
    return run(sys.executable, BOARD / "check_wheel.py", wheel)


def test_the_products_wheel_is_for_the_box(bundle):
    wheel = own_wheel(bundle)
    assert wheel.name.endswith(f"-{TAG}-{TAG}-linux_{OTHER}.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if name.endswith(".so")] == [PIXELS]
        module = archive.read(PIXELS)
        (about,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        assert f"Tag: {TAG}-{TAG}-linux_{OTHER}\n" in archive.read(about).decode()
    assert (module[:4], module[18:20]) == (ELF[OTHER][:4], ELF[OTHER][18:])
    assert b"PyInit__pixels" in module
    assert check_wheel(wheel).returncode == 0


def altered(wheel, folder, name=None, **files):
    """A wheel with another name, or other files: none for those that are None."""
    copy = folder / (name or wheel.name)
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(copy, "w") as new:
        for member in old.namelist():
            data = files.pop(member, old.read(member))
            if data is not None:
                new.writestr(member, data)
        for member, data in files.items():
            new.writestr(member, data)
    return copy


@pytest.mark.parametrize(
    "tag, files, reported",
    [
        (None, {PIXELS: None}, f"{PIXELS} is missing"),
        (None, {PIXELS: ELF["riscv64"]}, f"{PIXELS} is for another processor; {OTHER} is needed"),
        (None, {PIXELS: ELF[platform.machine()]}, f"{PIXELS} is for {platform.machine()}; {OTHER} is needed"),
        (None, {PIXELS: b"#!/bin/sh\n"}, f"{PIXELS} is for no processor, being no ELF file; {OTHER} is needed"),
        (
            None,
            {"sonic_edge/engine/renderer/_pixels.so": ELF[OTHER]},
            "sonic_edge/engine/renderer/_pixels.so should not be there",
        ),
        (None, {"sonic_edge/py.typed": None}, "sonic_edge/py.typed is missing"),
        (f"cp38-cp38-linux_{OTHER}", {}, f"_pixels.cpython-38-{OTHER}-linux-gnu.so is missing"),
        ("py3-none-any", {}, "py3-none-any is for any Python and processor; its compiled part is for one"),
    ],
)
def test_a_wrong_wheel_of_the_product_is_refused(tag, files, reported, bundle, tmp_path):
    wheel = own_wheel(bundle)
    done = check_wheel(altered(wheel, tmp_path, tag and f"{'-'.join(wheel.name.split('-')[:2])}-{tag}.whl", **files))
    assert done.returncode == 1
    assert reported in done.stderr


def test_two_wheels_with_the_same_files(bundle, tmp_path):
    wheel, other = own_wheel(bundle), tmp_path / "other"
    other.mkdir()
    copy = altered(wheel, tmp_path)
    assert run(sys.executable, BOARD / "check_wheel.py", wheel, "--same", copy).returncode == 0
    copy = altered(
        wheel, other, **{"sonic_edge/py.typed": None, "sonic_edge/errors.py": b"", "sonic_edge/more.py": b""}
    )
    done = run(sys.executable, BOARD / "check_wheel.py", wheel, "--same", copy)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"{wheel}: sonic_edge/py.typed is not in {copy}",
        f"{wheel}: sonic_edge/more.py is missing, which is in {copy}",
        f"{wheel}: sonic_edge/errors.py is not as in {copy}",
    ]


def test_a_changed_source_is_compiled_anew(bundle, make, tmp_path):
    checkout = tmp_path / "checkout"
    for name in ("board", "docs", "models/bundles", "sonic_edge", "systemd"):
        shutil.copytree(CHECKOUT / name, checkout / name)
    for file in CHECKOUT.iterdir():
        if file.is_file():
            shutil.copy(file, checkout)
    with (checkout / "sonic_edge/engine/renderer/_pixels.c").open("a") as source:
        source.write('\nconst char sonic_edge_word[] = "sonic-edge-changed";\n')
    (checkout / PIXELS).write_bytes(b"what was compiled in the checkout is not taken")
    done = make(tmp_path / "out", checkout=checkout)
    assert done.returncode == 0, done.stderr
    assert "wheels: as fetched on" in done.stderr
    with tarfile.open(done.stdout.strip()) as archive:
        archive.extractall(tmp_path)
    (wheel,) = tmp_path.glob("*/wheels/sonic_edge-*.whl")
    assert b"sonic-edge-changed" in zipfile.ZipFile(wheel).read(PIXELS)
    assert b"sonic-edge-changed" not in zipfile.ZipFile(own_wheel(bundle)).read(PIXELS)


def test_a_failed_compilation_is_reported(make, tools, tmp_path):
    compiler = tools / f"{OTHER}-linux-gnu-gcc"
    text = compiler.read_text()
    compiler.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    done = make(tmp_path / "out")
    compiler.write_text(text)
    assert done.returncode == 1
    assert "it is broken" in done.stderr
    assert f"cannot be built for Python {PYTHON} on {OTHER}, {SUITE}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_file_is_in_the_manifest(bundle):
    reported = {}
    for line in (bundle / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ./")
        reported[name] = digest
    files = [f for f in bundle.rglob("*") if f.is_file() and f.name != "SHA256SUMS"]
    assert reported == {str(f.relative_to(bundle)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


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


def test_models_and_the_vendors_wheel_are_packed(make, tmp_path):
    model = tmp_path / "our own model"
    model.mkdir()
    (model / "bundle.yaml").write_text("name: ours\n")
    lite = make_wheel(tmp_path, "mindspore_lite", "2.6.0", f"{TAG}-{TAG}-linux_{OTHER}", ["numpy>=1.20"])
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
    assert f"the wheels for Python {PYTHON} on {OTHER}" in done.stderr
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
    reported = done.stderr.splitlines()
    assert len(reported) == 3
    assert any("old>=1" in line and "there is no wheel of it" in line for line in reported)
    assert any("chip>=2" in line and "there is chip-1.0-py3-none-any.whl" in line for line in reported)
    assert any("ours" in line for line in reported)
    for name, version in (("old", "1.1"), ("ours", "1.0")):
        make_wheel(tmp_path, name, version, "py3-none-any")
    (tmp_path / "chip-1.0-py3-none-any.whl").unlink()
    make_wheel(tmp_path, "chip", "2.0", "py3-none-any")
    assert check(tmp_path, "product[live]").returncode == 0
    assert "nothing needs it" in check(tmp_path, "product").stderr
    make_wheel(tmp_path, "chip", "3.0", "py3-none-any")
    assert "one of them must go" in check(tmp_path, "product[live]").stderr


@pytest.mark.parametrize(
    "tag, files, reported",
    [
        (f"cp39-cp39-linux_{OTHER}", {"p/a.cpython-39-x.so": ELF[OTHER]}, None),
        (f"cp36-abi3-manylinux_2_17_{OTHER}.manylinux2014_{OTHER}", {"p/a.abi3.so": ELF[OTHER]}, None),
        (f"py3-none-manylinux_2_17_{OTHER}", {"p/libchip.so": ELF["riscv64"]}, None),
        (f"cp310-cp310-linux_{OTHER}", {}, f"not for Python 3.9 on {OTHER}, by its name"),
        (f"cp310-abi3-linux_{OTHER}", {}, f"not for Python 3.9 on {OTHER}, by its name"),
        (f"cp39-cp39-linux_{platform.machine()}", {}, f"not for Python 3.9 on {OTHER}, by its name"),
        (
            f"cp39-cp39-linux_{OTHER}",
            {"p/a.cpython-39-x.so": ELF[platform.machine()]},
            f"p/a.cpython-39-x.so is for {platform.machine()}; {OTHER} is needed",
        ),
    ],
)
def test_a_wheel_for_another_box_is_named(tag, files, reported, tmp_path):
    wheel = make_wheel(tmp_path, "product", "1.0", tag, files=files.items())
    done = check(tmp_path, "product")
    assert (done.returncode, done.stderr) == ((1, f"bundle: {wheel.name}: {reported}\n") if reported else (0, ""))


@pytest.mark.parametrize(
    "words, reported",
    [
        (["--arch"], "--arch: a value must follow it"),
        (["--arch", "armhf"], "--arch armhf: must be aarch64 or x86_64"),
        (["--suite", "focal"], "--suite focal: must be bullseye, bookworm or jammy"),
        (["--python", "3.8"], "--python 3.8: must be 3.9, 3.10, 3.11 or 3.12"),
        (["--without", "colour"], "--without colour: must be live, journal or screen"),
        (["--model", "/nowhere"], "--model /nowhere: not a model bundle: it has no bundle.yaml"),
        (["--mindspore-lite", "/nowhere.whl"], "--mindspore-lite /nowhere.whl: there is no such file"),
        (["live"], "live: unexpected argument"),
    ],
)
def test_an_invalid_command_line_is_refused(words, reported):
    done = run(BOARD / "make_bundle.sh", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert reported in done.stderr


def test_set_up_names_what_it_compiles_with(tmp_path):
    for name in ("dirname", "id"):  # and no compiler, nor apt-get
        (tmp_path / name).symlink_to(shutil.which(name))
    done = run("/bin/sh", BOARD / "setup.sh", PATH=str(tmp_path), PYTHON=sys.executable, VENV=str(tmp_path / "venv"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == "setup: missing system packages: gcc"
    assert not (tmp_path / "venv").exists()


def test_it_is_not_installed_on_another_processor(bundle):
    done = run(bundle / "install.sh")
    assert done.returncode == 1
    assert f"this bundle is for {OTHER}" in done.stderr or "does not run Debian" in done.stderr


def test_a_checkout_is_not_installed():
    done = run(BOARD / "install.sh")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not an unpacked bundle: make one with board/make_bundle.sh" in done.stderr


@pytest.mark.parametrize("script", ["rollback.sh", "uninstall.sh"])
def test_only_root_changes_a_box(script):
    done = run(BOARD / script, as_nobody=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "must be run as root" in done.stderr


@pytest.mark.parametrize("script", ["rollback.sh", "uninstall.sh"])
def test_an_unexpected_argument_is_refused(script):
    done = run(BOARD / script, "--force")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--force: unexpected argument" in done.stderr


@pytest.mark.parametrize("script", sorted(path.name for path in BOARD.glob("*.sh")))
def test_it_is_posix_shell(script):
    assert run("sh", "-n", BOARD / script).returncode == 0
    text = (BOARD / script).read_text()
    assert text.startswith("#!/bin/sh") == os.access(BOARD / script, os.X_OK), "what is sourced is not run"
