"""Where bundles are kept. These bundles hold no graphs; tests/cli/test_model_command.py has real ones, which run."""

import errno
import io
import json
import os
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
import yaml
from bundle_parts import SPEC, write_bundle
from torture.power import Simulator, quiet
from torture.steps import Steps

from sonic_edge.config import Config, ModelSettings
from sonic_edge.errors import ConfigError, DeviceError, RequestError
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.store import change, find_bundle, pinned, remedy_for, resolve, unpack
from sonic_edge.model.store.check import check_files
from sonic_edge.model.store.place import CHOICE, Choice, entries, read_choice

SHIPPED = "shipped/sonic-net"


def passes(checked):
    """A trial that nothing fails."""


def bundle(folder, name="my-net", version="1", **more):
    def change(spec):
        spec.update(name=name, version=version, **more)

    return write_bundle(folder, change)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def put(tmp_path, store):
    """Install a bundle of this name and version; its id."""

    def put(name="my-net", version="1", **more):
        entry, _, _ = change.install(store, bundle(tmp_path / f"{name}-{version}", name, version, **more), "", passes)
        return entry.id

    return put


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# ---- which one is meant --------------------------------------------------------------------------------------------


def test_until_somebody_chooses_the_shipped_one_runs(store):
    assert resolve("", store).id == SHIPPED and resolve("", None).id == SHIPPED
    assert find_bundle("", store).spec.name == "sonic-net"


def test_a_bundle_is_found_by_name_version_id_and_path(store, put, tmp_path):
    one, two = put(version="1"), put(version="2")
    other = put("other")
    assert one.startswith("my-net-1-") and (store / one / "bundle.yaml").is_file()
    for word, id in (("my-net@1", one), ("my-net@2", two), (one, one), ("other", other), ("other@1", other)):
        assert resolve(word, store).id == id
        assert resolve(word, store).folder == store / id
    assert resolve("sonic-net", store).id == resolve(SHIPPED, store).id == SHIPPED
    with pytest.raises(ConfigError, match=rf"model\.bundle = my-net: matches {one}, {two}; write the id of one"):
        resolve("my-net", store)
    with pytest.raises(ConfigError, match=r"model\.bundle = nobody: no such bundle in .*; there: my-net-1-"):
        resolve("nobody", store)
    with pytest.raises(ConfigError, match="no such bundle"):
        resolve("my-net@3", store)
    folder = bundle(tmp_path / "anywhere")
    assert resolve(str(folder), store).folder == folder
    with pytest.raises(ConfigError, match="there is no bundle.yaml in this folder"):
        resolve(str(tmp_path), store)


def test_one_in_the_store_comes_before_one_of_its_name_that_comes_along(store, put):
    own = put("sonic-net", "9")
    assert resolve("sonic-net", store).id == own
    assert resolve(SHIPPED, store).id == SHIPPED


def test_a_folder_of_the_working_directory_is_found_by_its_name(store, tmp_path, monkeypatch):
    bundle(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert resolve("here", store).folder == tmp_path / "here"


def test_settings_are_pinned_to_what_was_chosen_when_they_were_read(store, put):
    change.use(store, put(), passes)
    config = Config(model=ModelSettings(store=str(store)))
    then = pinned(config)
    change.use(store, put("other"), passes)
    assert resolve(then.model.bundle, store).name == "my-net"
    assert pinned(config).model != then.model
    assert pinned(then) == then


def test_names_that_are_no_names_of_folders_are_refused(tmp_path, store):
    for name in ("../../etc", "", ".hidden", "a b", "-x", "a/b", "x" * 41, "a@b"):
        with pytest.raises(ConfigError, match="name = "):
            change.install(store, bundle(tmp_path / "b", name), "", passes)
    assert names(store) == []
    entry, _, _ = change.install(store, bundle(tmp_path / "b", "口型", "1.0+新"), "", passes)
    assert resolve("口型@1.0+新", store).id == entry.id


# ---- choosing ------------------------------------------------------------------------------------------------------


def test_the_previous_one_stays_for_rollback(store, put):
    one, two = put(version="1"), put(version="2")
    assert change.use(store, one, passes)[1]
    assert read_choice(store) == Choice(one, SHIPPED)
    change.use(store, "my-net@2", passes)
    assert read_choice(store) == Choice(two, one)
    assert not change.use(store, two, passes)[1], "again: nothing changes"
    assert read_choice(store) == Choice(two, one)
    assert change.rollback(store, passes).id == one
    assert resolve("", store).id == one
    assert change.rollback(store, passes).id == two
    change.use(store, SHIPPED, passes)
    assert read_choice(store) == Choice(SHIPPED, two)


def test_there_is_nothing_to_go_back_to(store, put):
    with pytest.raises(RequestError, match="nothing has been installed or chosen yet"):
        change.rollback(store, passes)
    put()
    with pytest.raises(RequestError, match=f"no bundle was in use before {SHIPPED}"):
        change.rollback(store, passes)


def test_nothing_is_chosen_that_does_not_run(store, put):
    one, two = put(version="1"), put(version="2")
    change.use(store, one, passes)

    def fails(checked):
        raise DeviceError("no NPU")

    for choose in (lambda: change.use(store, two, fails), lambda: change.rollback(store, fails)):
        with pytest.raises(DeviceError, match="no NPU"):
            choose()
    (store / two / "encoder.onnx").write_bytes(b"rotten")
    with pytest.raises(ConfigError, match="damaged or changed"):
        change.use(store, two, passes)
    assert read_choice(store) == Choice(one, SHIPPED)


def test_a_damaged_or_missing_one_says_how_to_roll_back(store, put):
    one, two = put(version="1"), put(version="2")
    change.use(store, one, passes)
    change.use(store, two, passes)
    spec = store / two / "bundle.yaml"
    spec.write_text(spec.read_text().replace("life", "live"))
    with pytest.raises(ConfigError, match=rf"damaged or changed.*`sonic-edge model rollback` goes back to {one}"):
        resolve("", store)
    spec.unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file.*model rollback"):
        resolve("", store)
    assert change.rollback(store, passes).id == one
    assert resolve("", store).id == one
    with pytest.raises(ConfigError, match="cannot be read: No such file.*`sonic-edge model use NAME`"):
        change.rollback(store, passes)
    assert "model rollback" in remedy_for(store / one, store)
    assert "correct model.bundle" in remedy_for(store / two, store)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"[]", b"{}", b"[", b"[" * 100_000),
        *(b'{"current": 3, "previous": null}', b'{"current": "../../etc", "previous": null}'),
        b'{"current": "a", "previous": "..//"}',
    ],
)
def test_an_unreadable_choice_is_reported_and_can_be_made_again(store, put, content):
    one = put()
    (store / CHOICE).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{CHOICE}: is damaged; `sonic-edge model use NAME` writes a new one"):
        resolve("", store)
    change.use(store, one, passes)
    assert read_choice(store) == Choice(one, None)


def test_what_is_needed_is_not_removed(store, put):
    one, two, three = put(version="1"), put(version="2"), put(version="3")
    change.use(store, one, passes)
    change.use(store, two, passes)
    for word, words in ((two, "is in use"), ("my-net@1", "is kept for `sonic-edge model rollback`")):
        with pytest.raises(RequestError, match=words):
            change.remove(store, word, lambda entry: "")
    with pytest.raises(RequestError, match="the daemon has it"):
        change.remove(store, three, lambda entry: "the daemon has it")
    for word in ("my-net", SHIPPED, "sonic-net", "..", ""):
        with pytest.raises(RequestError, match="names"):
            change.remove(store, word, lambda entry: "")
    assert change.remove(store, "my-net@3", lambda entry: "").id == three
    assert names(store) == [CHOICE, *sorted((one, two))]


# ---- installing ----------------------------------------------------------------------------------------------------


def test_installing_copies_what_the_bundle_names_and_leaves_the_source_alone(tmp_path, store):
    source = bundle(tmp_path / "stick")
    (source / "LICENSE.txt").write_text("for anybody")
    (source / "holiday.jpg").write_text("a picture")
    (source / ".DS_Store").write_text("litter")
    (source / "more").mkdir()
    before = {p: p.stat().st_mtime_ns for p in source.iterdir()}
    old = os.umask(0o077)
    try:
        entry, is_new, left_out = change.install(store, source, "", passes)
    finally:
        assert os.umask(old) == 0o077
    assert is_new and left_out == ["holiday.jpg"]
    assert names(entry.folder) == ["LICENSE.txt", "bundle.yaml", "denoiser.onnx", "encoder.onnx"]
    assert {p: p.stat().st_mtime_ns for p in source.iterdir()} == before
    assert names(store) == [entry.id]
    for path in (store, entry.folder, *entry.folder.iterdir()):  # the daemon's user reads it
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_installing_again_changes_nothing_and_repairs_damage(tmp_path, store):
    source = bundle(tmp_path / "stick")
    entry, _, _ = change.install(store, source, "", passes)
    files = {p: p.stat().st_ino for p in entry.folder.iterdir()}
    assert change.install(store, source, "", passes)[1] is False
    assert {p: p.stat().st_ino for p in entry.folder.iterdir()} == files
    for name in ("encoder.onnx", "bundle.yaml"):
        (entry.folder / name).write_bytes(b"rotten")
        (entry.folder / "denoiser.onnx").unlink()
        assert change.install(store, source, "", passes) == (entry, False, [])
        assert resolve("my-net", store) == entry
        check_files(entry.folder)


def test_nothing_that_is_wrong_is_installed(tmp_path, store):
    def rotten(folder):
        (folder / "encoder.onnx").write_bytes(b"rotten")

    def missing(folder):
        (folder / "denoiser.onnx").unlink()

    def empty(folder):
        (folder / "bundle.yaml").write_text("")

    def link(folder):
        (folder / "encoder.onnx").rename(tmp_path / "elsewhere")
        (folder / "encoder.onnx").symlink_to(tmp_path / "elsewhere")

    def pipe(folder):
        (folder / "encoder.onnx").unlink()
        os.mkfifo(folder / "encoder.onnx")

    for number, (spoil, words) in enumerate(
        [
            (rotten, r"encoder\.onnx: is damaged or changed"),
            (missing, r"denoiser\.onnx: cannot be read"),
            (empty, "format: is missing"),
            (link, "is a link or a device"),
            (pipe, "is a link or a device"),
        ]
    ):
        source = bundle(tmp_path / f"bad-{number}")
        spoil(source)
        with pytest.raises(ConfigError, match=words) as e:
            change.install(store, source, "", passes)
        assert str(source) in str(e.value) and ".part-" not in str(e.value)
    with pytest.raises(RequestError, match="nobody: cannot be read: No such file"):
        change.install(store, tmp_path / "nobody", "", passes)
    with pytest.raises(DeviceError, match=r"stick: onnxruntime cannot load it"):

        def fails(checked):
            raise DeviceError(f"{checked.bundle.folder}: onnxruntime cannot load it")

        change.install(store, bundle(tmp_path / "stick"), "", fails)
    assert names(store) == []


def test_all_mistakes_are_reported_at_once(tmp_path):
    source = bundle(tmp_path / "b", "no name")
    (source / "encoder.onnx").write_bytes(b"rotten")
    (source / "denoiser.onnx").unlink()
    with pytest.raises(ConfigError) as e:
        check_files(source)
    lines = str(e.value).splitlines()
    assert len(lines) == 3 and "name = 'no name'" in lines[0]
    assert "denoiser.onnx: cannot be read" in lines[1] and "encoder.onnx: is damaged" in lines[2]


def test_every_backend_is_looked_at(tmp_path):
    def also(spec):
        spec["stages"]["encoder"]["files"]["acl"] = {"path": "encoder.om", "sha256": "0" * 64, "soc": "Ascend310"}

    source = write_bundle(tmp_path / "b", also)
    with pytest.raises(ConfigError, match=r"encoder\.om: cannot be read"):
        check_files(source)
    (source / "encoder.om").write_bytes(b"om")
    with pytest.raises(ConfigError, match=r"encoder\.om: is damaged or changed"):
        check_files(source)


def test_installing_must_not_change_what_the_settings_mean(tmp_path, store, put):
    one = put()
    two = bundle(tmp_path / "two", version="2")
    same = bundle(tmp_path / "same", description="built again")
    for word, source in (("my-net", two), ("my-net", same), ("my-net@1", same)):
        with pytest.raises(ConfigError, match=rf"model\.bundle = {word} in the settings means {one} now"):
            change.install(store, source, word, passes)
    with pytest.raises(ConfigError, match=f"means {SHIPPED} now"):
        change.install(store, bundle(tmp_path / "own", "sonic-net", "9"), "sonic-net", passes)
    for word in ("my-net@1", one, "", str(tmp_path / "two"), "other"):
        change.install(store, two, word, passes)
        change.remove(store, "my-net@2", lambda entry: "")


# ---- archives ------------------------------------------------------------------------------------------------------


def tar_of(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip:
        for name, content in members:
            zip.writestr(name, content)
    return path


@pytest.fixture
def files(tmp_path):
    """The files of a bundle, name and content."""
    source = bundle(tmp_path / "packed")
    return [(p.name, p.read_bytes()) for p in sorted(source.iterdir())]


def inside(files, folder):
    return [(f"{folder}{name}", content) for name, content in files]


@pytest.mark.parametrize(
    "pack",
    [
        lambda path, files: tar_of(path / "b.tar", files, "w"),
        lambda path, files: tar_of(path / "b.tar.gz", inside(files, "./")),
        lambda path, files: tar_of(path / "b.tgz", inside(files, "我的模型/v1/")),
        lambda path, files: tar_of(path / "b.tar.xz", inside(files, "b/"), "w:xz"),
        lambda path, files: zip_of(path / "b.zip", files),
        lambda path, files: zip_of(path / "b.zip", inside(files, "我的模型/")),
        lambda path, files: zip_of(path / "b.zip", inside(files, "b\\")),
        lambda path, files: zip_of(
            path / "b.zip", [("b/", b""), *inside(files, "b/"), *inside(files, "__MACOSX/b/._"), ("b/.DS_Store", b"")]
        ),
        lambda path, files: zip_of(path / "without a suffix", files),
    ],
)
def test_archives_as_people_make_them(tmp_path, store, files, pack):
    entry, is_new, left_out = change.install(store, pack(tmp_path, files), "", passes)
    assert is_new and left_out == []
    assert [(p.name, p.read_bytes()) for p in sorted(entry.folder.iterdir())] == files


def test_what_else_is_in_an_archive_is_named_and_left_there(tmp_path, store, files):
    path = tar_of(tmp_path / "b.tar.gz", [*inside(files, "b/"), ("b/run.sh", b"rm -rf"), ("b/sub/x", b""), ("y", b"")])
    entry, _, left_out = change.install(store, path, "", passes)
    assert left_out == ["b/run.sh", "b/sub/x", "y"]
    assert names(entry.folder) == [name for name, _ in files]


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return [(info, b"")]


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return [(info, b"/etc/passwd")]


ATTACKS = [
    ("tar", [("../evil", b"x")], "leads out"),
    ("tar", [("/tmp/evil", b"x")], "leads out"),
    ("tar", [("a/../../evil", b"x")], "leads out"),
    ("tar", special("encoder.onnx.link", tarfile.SYMTYPE, "/etc/passwd"), "is a link, a device or sparse"),
    ("tar", special("hard", tarfile.LNKTYPE, "bundle.yaml"), "is a link"),
    ("tar", special("null", tarfile.CHRTYPE), "is a link"),
    ("tar", special("disk", tarfile.BLKTYPE), "is a link"),
    ("tar", special("pipe", tarfile.FIFOTYPE), "is a link"),
    ("tar", special("sparse", tarfile.GNUTYPE_SPARSE), "is a link|cannot be unpacked"),
    ("tar", [("encoder.onnx", b"another")], "holds encoder.onnx twice"),
    ("tar", [("./a/.//encoder.onnx", b"x"), ("a/encoder.onnx", b"x")], "holds a/encoder.onnx twice"),
    ("tar", [("b/bundle.yaml", b"x")], "has 2 bundle.yaml"),
    ("tar", [(f"file{i}", b"") for i in range(1001)], "more than 1000 files"),
    ("zip", [("../evil", b"x")], "leads out"),
    ("zip", [("..\\evil", b"x")], "leads out"),
    ("zip", [("/tmp/evil", b"x")], "leads out"),
    ("zip", [("C:\\evil", b"x")], "leads out"),
    ("zip", zip_link("link"), "is a link or a device"),
    ("zip", [("x/bundle.yaml", b"x")], "has 2 bundle.yaml"),
    ("zip", [(f"file{i}", b"") for i in range(1001)], "more than 1000 files"),
]


@pytest.mark.parametrize(("kind", "more", "words"), ATTACKS)
def test_an_archive_that_attacks_is_refused_whole(tmp_path, store, files, kind, more, words):
    for number, members in enumerate(([*files, *more], [*more, *files])):
        folder = tmp_path / f"stick-{number}"
        folder.mkdir()
        path = (tar_of if kind == "tar" else zip_of)(folder / f"b.{kind}", members)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ConfigError, match=words):
            change.install(store, path, "", passes)
        assert sorted(set(tmp_path.rglob("*")) - {store}) == sorted(set(before) - {store})
    assert names(store) == [] and not Path("/tmp/evil").exists()


def test_an_archive_that_would_fill_the_disk_is_refused_before_it_does(tmp_path, store, files, monkeypatch):
    monkeypatch.setattr(unpack, "MOST_BYTES", 10 << 20)
    zeros = bytes(11 << 20)
    for path in (
        tar_of(tmp_path / "b.tgz", [("zeros", zeros), *files]),
        zip_of(tmp_path / "b.zip", [("z", zeros), *files]),
    ):
        assert path.stat().st_size < 100_000
        with pytest.raises(ConfigError, match="holds more than"):
            change.install(store, path, "", passes)
    many = tmp_path / "many.tgz"
    tar_of(many, [*files, *((f"z{i}", zeros[: 2 << 20]) for i in range(6))])
    with pytest.raises(ConfigError, match="holds more than"):
        change.install(store, many, "", passes)
    assert names(store) == []


def test_a_header_with_a_false_size(tmp_path, store, files):
    path = tar_of(tmp_path / "b.tar", files, "w")
    data = bytearray(path.read_bytes())
    for size in (1 << 40, -1):
        data[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
        data[148:156] = b"%06o\0 " % sum(data[:148] + b" " * 8 + data[156:512])
        path.write_bytes(data)
        with pytest.raises(ConfigError, match="holds more than|cannot be unpacked|has no bundle.yaml"):
            change.install(store, path, "", passes)
    assert names(store) == []


def test_headers_that_would_fill_the_memory(tmp_path, store):
    path = tmp_path / "b.tar.gz"
    import gzip

    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2 << 30
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.PAX_FORMAT))
        for _ in range(700):
            file.write(bytes(1 << 20))
    with pytest.raises(ConfigError, match="takes too much memory|cannot be unpacked"):
        change.install(store, path, "", passes)
    assert names(store) == []


def test_damaged_archives_are_reported_as_such(tmp_path, store, files):
    whole = {
        "b.tgz": tar_of(tmp_path / "b.tgz", files).read_bytes(),
        "b.tar": tar_of(tmp_path / "b.tar", files, "w").read_bytes(),
        "b.tar.bz2": tar_of(tmp_path / "b.tar.bz2", files, "w:bz2").read_bytes(),
        "b.zip": zip_of(tmp_path / "b.zip", files).read_bytes(),
    }
    n_refused = 0
    for name, data in whole.items():
        path = tmp_path / name
        for cut in range(0, len(data), max(1, len(data) // 25)):
            for spoiled in (data[:cut], data[:cut] + bytes(b ^ 0x5A for b in data[cut : cut + 9]) + data[cut + 9 :]):
                path.write_bytes(spoiled)
                try:
                    change.install(store, path, "", passes)
                except ConfigError as e:
                    n_refused += 1
                    assert str(path) in str(e) or "bundle.yaml" in str(e)
                else:  # the damaged bytes have no meaning: padding, a date
                    check_files(resolve("my-net", store).folder)
                    change.remove(store, "my-net", lambda entry: "")
    assert n_refused > 100 and names(store) == []


def test_a_password_protected_archive_is_reported(tmp_path, store, files):
    path = zip_of(tmp_path / "b.zip", files)
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := data.find(mark, start)) >= 0:
            data[start + at] |= 1
            start += 4
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="without a password, is needed"):
        change.install(store, path, "", passes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [x]\nb: [*a, *a]", "must not hold YAML aliases"),
        ("[" * 30, "nested"),
        ("a: [", "is not YAML"),
        ("x" * (unpack.MOST_SPEC_BYTES + 1), "larger than"),
        ("\x00", "is not YAML"),
        ("- 1", "must hold `key: value` lines"),
    ],
)
def test_a_bundle_yaml_that_attacks(tmp_path, store, files, text, words):
    path = zip_of(tmp_path / "b.zip", [("bundle.yaml", text), *(f for f in files if f[0] != "bundle.yaml")])
    with pytest.raises(ConfigError, match=words):
        change.install(store, path, "", passes)
    assert names(store) == []


def test_files_outside_the_bundle_are_not_copied(tmp_path, store, files):
    spec = yaml.safe_load(yaml.safe_dump(SPEC))
    spec["stages"]["encoder"]["files"]["cpu"]["path"] = "../../../../etc/hostname"
    path = zip_of(tmp_path / "b.zip", [("b/bundle.yaml", yaml.safe_dump(spec)), *inside(files[1:], "b/")])
    with pytest.raises(ConfigError, match="must be in the bundle's folder"):
        change.install(store, path, "", passes)


# ---- whatever happens meanwhile ------------------------------------------------------------------------------------


def test_only_one_changes_the_store_at_a_time(tmp_path, store, put):
    one = put()
    inside_trial, go_on = threading.Event(), threading.Event()

    def waits(checked):
        inside_trial.set()
        assert go_on.wait(20)

    two = bundle(tmp_path / "two", version="2")
    thread = threading.Thread(target=lambda: change.install(store, two, "", waits))
    thread.start()
    try:
        assert inside_trial.wait(20)
        for do in (
            lambda: change.use(store, one, passes),
            lambda: change.install(store, two, "", passes),
            lambda: change.rollback(store, passes),
            lambda: change.remove(store, one, lambda entry: ""),
        ):
            with pytest.raises(DeviceError, match="another `sonic-edge model` is changing it"):
                do()
        assert [e.id for e in entries(store) if e.is_installed] == [one], "half of one is not listed"
    finally:
        go_on.set()
        thread.join()
    change.use(store, "my-net@2", passes)


def tree(folder):
    return {str(p.relative_to(folder)): None if p.is_dir() else p.read_bytes() for p in folder.rglob("*")}


@pytest.fixture
def cut(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", os.fstat)

    def cut(before, act, allowed):
        """At every power cut, the model in use is complete and one of `allowed`; at the end, the last of them."""

        def wrong(root, is_done):
            try:
                chosen = resolve("", root)
                for entry in entries(root):
                    if entry.is_installed:
                        check_files(entry.folder)
                if chosen.id not in (allowed[-1:] if is_done else allowed):
                    return f"{chosen.id} is in use"
                act(root)  # by the next one, on what was left
                if resolve("", root).id != allowed[-1]:
                    return f"then {resolve('', root).id} is in use"
            except (ConfigError, RequestError) as e:
                return str(e)
            left = [name for name in names(root) if name.startswith(".")]
            return f"left: {left}" if left else None

        with quiet():
            return Simulator(tmp_path / "cut", seed=1).explore_change(before, act, wrong)

    return cut


def test_no_power_cut_halves_an_installation(cut, tmp_path):
    source = bundle(tmp_path / "b")
    found = cut({}, lambda root: change.install(root, source, "", passes), [SHIPPED])
    assert found.n_steps > 8 and found.n_disks > 15
    assert found.broken == []


def test_no_power_cut_leaves_a_box_without_a_model(cut, store, put):
    one, two = put(version="1"), put(version="2")
    change.use(store, one, passes)
    before = tree(store)

    def act(root):
        change.use(root, two, passes)

    found = cut(before, act, [one, two])
    assert found.n_disks >= 4 and found.broken == []


def test_no_power_cut_halves_one_that_is_removed(cut, store, put):
    one, two = put(version="1"), put(version="2")
    change.use(store, one, passes)
    before = tree(store)

    def act(root):
        if two in names(root):
            change.remove(root, two, lambda entry: "")
        else:
            change.use(root, one, passes)

    found = cut(before, act, [one])
    assert found.n_disks >= 3 and found.broken == []


def test_a_forgotten_sync_is_detected(cut, store, put, monkeypatch):
    one = put()
    before = tree(store)
    monkeypatch.setattr(change.disk, "sync", lambda path: None)
    assert cut(before, lambda root: change.use(root, one, passes), [SHIPPED, one]).broken


def test_a_disk_that_is_full_at_any_step_changes_nothing(tmp_path, store, put):
    """From one step on nothing can be written any more; then there is room again."""
    one = put()
    change.use(store, one, passes)
    source = bundle(tmp_path / "two", version="2")
    seen, full_from = [], None

    def each(step):
        seen.append(step)
        if full_from is not None and len(seen) > full_from and step.kind not in ("unlink", "rmdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(store / step.path))

    steps = Steps(store, each)

    def do():
        steps.on = True
        try:
            change.install(store, source, "", passes)
            change.use(store, "my-net@2", passes)
        finally:
            steps.on = False

    n_full = 0
    while True:
        seen.clear()
        full_from = n_full
        try:
            do()
        except DeviceError as e:
            assert "No space left on device; free some space and try again" in str(e)
            assert resolve("", store).version in "12", "one or the other"
            for entry in entries(store):
                if entry.is_installed:
                    check_files(entry.folder)
            n_full += 1
            continue
        break
    assert n_full > 12, "each step was tried"
    assert resolve("", store).version == "2"
    assert [n for n in names(store) if n.startswith(".")] == []


def test_a_full_disk_is_detected_before_anything_is_copied(tmp_path, store, files, monkeypatch):
    from types import SimpleNamespace

    path = tar_of(tmp_path / "b.tgz", files)
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(DeviceError, match=r"the bundle needs .* MB, and 0\.0 MB are free"):
        change.install(store, path, "", passes)
    assert names(store) == []


def test_a_store_that_this_user_may_not_change(tmp_path, store, put, monkeypatch):
    put()

    def refuse(path, *more, **how):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(change.Path, "mkdir", refuse)
    with pytest.raises(RequestError, match=r"model\.store = .*: this user may not write there; .* root"):
        change.install(store, tmp_path / "my-net-1", "", passes)


def test_the_choice_is_one_line_a_person_can_read(store, put):
    one = put()
    change.use(store, one, passes)
    assert json.loads((store / CHOICE).read_text()) == {"current": one, "previous": SHIPPED}
    assert stat.S_IMODE((store / CHOICE).stat().st_mode) == 0o644
    assert Bundle(store / one).spec.name == "my-net"
