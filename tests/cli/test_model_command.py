"""``sonic-edge model`` as a person types it, with bundles that run, and with a daemon beside it."""

import codecs
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from bundle_parts import own_bundle
from daemon_parts import DEADLINE_S, QUICK, Daemon, drop
from frames_bundle import frames_bundle
from stub_studio import __file__ as STUDIO
from stub_worker import __file__ as STUB

from sonic_edge.cli import main
from sonic_edge.config import load_config, share_dir
from sonic_edge.engine.pipeline import scene_key
from sonic_edge.errors import RequestError
from sonic_edge.model.store.place import CHOICE
from sonic_edge.service.control import ask
from sonic_edge.service.messages import Request

SHIPPED = "shipped/sonic-net"

RUN = """
import sys
from pathlib import Path
from sonic_edge import config
from sonic_edge.service import daemon
path = Path(sys.argv[1])
worker, studio = (sys.executable, sys.argv[2], "picky"), (sys.executable, sys.argv[3])
sys.exit(daemon.run(config.load_config(path), path, command=worker, studio=studio))
"""


def damage(folder):
    """One bit of what the worker opens first."""
    victim = folder / "encoder.int8.onnx"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)


@pytest.fixture
def settings(tmp_path):
    """The settings file, with the given settings added."""

    def settings(**sections):
        path = tmp_path / "box.yaml"
        said = yaml.safe_load(path.read_text()) if path.exists() else {}
        for name, section in sections.items():
            said[name] = {**said.get(name, {}), **section}
        path.write_text(yaml.safe_dump(said))
        return path

    settings(spool={"root": str(tmp_path / "spool"), **QUICK}, model={"store": str(tmp_path / "models")})
    return settings


@pytest.fixture
def model(settings, capfd):
    """Run a command: exit status, standard output, standard error."""

    def model(what, *words):
        status = main(["model", what, "--config", str(settings()), *map(str, words)])
        said = capfd.readouterr()
        return status, said.out, said.err

    return model


@pytest.fixture
def installed(model, tmp_path):
    """Install a bundle that runs; its id."""

    def installed(name="my-net", version="1.0"):
        assert model("install", own_bundle(tmp_path / f"{name}-{version}", name, version))[0] == 0
        (folder,) = (tmp_path / "models").glob(f"{name}-{version}-*")
        return folder.name

    return installed


def chosen(tmp_path):
    said = json.loads((tmp_path / "models" / CHOICE).read_text())
    return said["current"], said["previous"]


# ---- without a daemon ----------------------------------------------------------------------------------------------


def test_a_fresh_box(model, tmp_path):
    status, said, _ = model("list")
    assert status == 0
    assert said.startswith("> sonic-net 0.2.0 (shipped/sonic-net): motion, cpu mindspore_lite, ")
    assert not (tmp_path / "models").exists(), "looking makes nothing"
    status, said, _ = model("check", "sonic-net")
    assert status == 0 and "all hashes match; for cpu mindspore_lite" in said
    assert "ran once on cpu: " in said and "for 1.6 s of sound, " in said and "are finite" in said


def test_a_bundle_is_installed_chosen_and_left(model, tmp_path, settings):
    source = own_bundle(tmp_path / "stick")
    (source / "holiday.jpg").write_text("a picture")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", source))
    for path in (source, packed):
        status, said, _ = model("check", path)
        assert status == 0
        assert said.splitlines()[0] == "my-net 1.0: motion, for us alone"
        assert "ignored: holiday.jpg: bundle.yaml does not name it" in said
    assert not (tmp_path / "models").exists()
    status, said, _ = model("install", packed)
    assert status == 0 and "installed; `sonic-edge model use my-net-1.0-" in said
    status, said, _ = model("install", source)
    assert status == 0 and "was installed already" in said

    status, said, _ = model("use", "my-net@1.0")
    assert status == 0 and "in use from now on" in said
    assert "no daemon answers" in said and "systemctl reload sonic-edge" in said
    (id,) = (p.name for p in (tmp_path / "models").glob("my-net*"))
    assert chosen(tmp_path) == (id, SHIPPED)
    _, said, _ = model("list")
    first, second = said.splitlines()
    assert first.startswith(f"> my-net 1.0 ({id})") and first.endswith("for us alone") and second.startswith("< sonic")
    _, said, _ = model("list", "--json")
    own, shipped = json.loads(said)["bundles"]
    assert (
        own["in_use"]
        and not own["before"]
        and shipped["before"]
        and own["backends"] == {"cpu": [], "mindspore_lite": []}
    )
    assert own["bytes"] == shipped["bytes"] > 8e6

    assert model("remove", "my-net")[0] == 2
    status, said, _ = model("rollback")
    assert status == 0 and f"({SHIPPED}): in use again" in said
    assert chosen(tmp_path) == (SHIPPED, id)
    assert model("rollback")[0] == 0 and chosen(tmp_path) == (id, SHIPPED)


def test_a_bundle_that_paints_is_one_like_any_other(model, tmp_path):
    source = frames_bundle(tmp_path / "painter", "sonic")
    status, said, _ = model("install", source)
    assert status == 0 and "painted-sonic 0.1.0: frames, Apache-2.0" in said and "are finite" in said
    assert model("use", "painted-sonic")[0] == 0
    _, said, _ = model("list")
    assert said.startswith("> painted-sonic 0.1.0") and ": frames, cpu, " in said
    broken = frames_bundle(tmp_path / "broken", "wav2lip", "broken")
    status, _, complaint = model("check", broken)
    assert status == 78 and f"{broken}/" in complaint and "values are not finite numbers" in complaint


def test_a_render_is_made_with_the_bundle_in_use(model, installed, tmp_path, settings, short_speech):
    model("use", installed())
    photo = share_dir() / "samples" / "portrait.jpg"
    words = ["render", str(photo), str(short_speech), "-o", str(tmp_path / "a.mp4"), "--quiet"]
    controls = ["--set", "min_resolution=128", "--set", "inference_steps=1"]
    report = tmp_path / "a.json"
    assert main([*words, *controls, "--config", str(settings()), "--report", str(report)]) == 0
    assert json.loads(report.read_text())["model"] == {"bundle": "my-net", "version": "1.0", "backend": "cpu"}


def test_the_idle_scene_is_another_one_for_another_bundle(model, installed, settings):
    photo = share_dir() / "samples" / "portrait.jpg"
    shipped = scene_key(photo, load_config(settings()))
    assert scene_key(photo, load_config(settings())) == shipped
    one, two = installed(version="1.0"), installed(version="2.0")
    keys = {shipped}
    for id in (one, two):
        model("use", id)
        keys.add(scene_key(photo, load_config(settings())))
    assert len(keys) == 3


def test_settings_that_name_a_bundle_are_not_overruled(model, installed, settings, tmp_path):
    one = installed()
    for word in ("sonic-net", one, str(tmp_path / "my-net-1.0")):
        path = settings(model={"bundle": word})
        for command in (("use", "my-net"), ("rollback",)):
            status, _, complaint = model(*command)
            assert status == 78
            assert f"{path}: model.bundle = {word}: these settings decide" in complaint and "no effect" in complaint
    settings(model={"bundle": one})
    _, said, _ = model("list")
    assert said.startswith("> my-net") and f"model.bundle = {one} decides" in said
    status, _, complaint = model("remove", one)
    assert status == 2 and f"model.bundle = {one} in the settings names it" in complaint
    status, _, complaint = model("install", own_bundle(tmp_path / "other", version="2.0"))
    assert status == 0
    settings(model={"bundle": "nobody"})
    status, said, complaint = model("list")
    assert status == 78 and "my-net" in said and "model.bundle = nobody: no such bundle" in complaint


def test_mistakes_are_reported_and_change_nothing(model, installed, tmp_path):
    one = installed()
    model("use", one)
    bad = own_bundle(tmp_path / "bad", "bad-net")
    damage(bad)
    for command in ("check", "install"):
        status, _, complaint = model(command, bad)
        assert status == 78 and f"{bad}/encoder.int8.onnx: is damaged or changed" in complaint
    assert model("check", "nobody")[0] == 78 and model("use", "nobody")[0] == 78
    assert model("install", tmp_path / "nobody")[0] == 2 and model("remove", "nobody")[0] == 2
    assert chosen(tmp_path) == (one, SHIPPED)
    damage(tmp_path / "models" / one)
    status, _, complaint = model("check", one)
    assert status == 78 and "is damaged" in complaint
    (tmp_path / "models" / one / "bundle.yaml").unlink()
    status, said, complaint = model("list")
    assert status == 78 and f"({one}) DAMAGED: " in said and "`sonic-edge model rollback` goes back to" in complaint
    assert model("rollback")[0] == 0
    assert model("list")[0] == 0


def test_a_graph_unlike_its_declaration_does_not_run(model, tmp_path):
    """Hashes are right, and yet the backend cannot open it, or opens something else."""
    import hashlib

    def swap(folder, data):
        spec = yaml.safe_load((folder / "bundle.yaml").read_text(encoding="utf-8"))
        (folder / "encoder.int8.onnx").write_bytes(data)
        spec["stages"]["encoder"]["files"]["cpu"]["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / "bundle.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        return folder

    nonsense = swap(own_bundle(tmp_path / "nonsense"), b"this is no graph")
    status, said, complaint = model("install", nonsense)
    assert status == 1 and f"{nonsense}/encoder.int8.onnx: onnxruntime cannot load it" in complaint
    other = own_bundle(tmp_path / "other")
    swap(other, (other / "denoiser.int8.onnx").read_bytes())
    status, _, complaint = model("check", other)
    assert status == 1 and "bundle.yaml says" in complaint
    assert not any((tmp_path / "models").iterdir())


def test_what_root_installs_is_run_as_the_daemons_user(monkeypatch, tmp_path, capfd):
    """A user other than root stays that user, and can read their own files."""
    from sonic_edge.process import isolated

    nobody = pwd.getpwnam("nobody")
    account = isolated.Account("nobody", nobody.pw_uid, nobody.pw_gid, (nobody.pw_gid,), {"PATH": "/usr/bin:/bin"})
    monkeypatch.setattr(isolated, "account_of", lambda unit: account)
    codecs.lookup("cp437")  # zipfile loads it when it needs it; nobody may not read a Python in somebody's home
    with tempfile.TemporaryDirectory() as name:  # not in tmp_path, which others may not enter
        folder = Path(name)
        folder.chmod(0o755)
        settings = folder / "box.yaml"
        settings.write_text(yaml.safe_dump({"model": {"store": str(folder / "models")}}))
        source = own_bundle(tmp_path / "mine")
        assert main(["model", "install", str(source), "--config", str(settings)]) == 0, capfd.readouterr().err
        (victim,) = (folder / "models").glob("my-net*/encoder.int8.onnx")
        victim.chmod(0o600)
        status = main(["model", "use", "my-net", "--config", str(settings)])
        complaint = capfd.readouterr().err
        assert status == (78 if os.geteuid() == 0 else 0)
        assert ("Permission denied" in complaint) == (os.geteuid() == 0)


def test_a_run_that_hangs_or_crashes_is_reported(monkeypatch, model, tmp_path, settings):
    """Whatever the runtime does, the store is as it was, and is free again."""
    from sonic_edge.engine import load

    source = own_bundle(tmp_path / "b")
    for start_s, do, words in (
        (2.0, lambda *_: time.sleep(1000), "did not finish within worker.start_s = 2 s"),
        (300.0, lambda *_: os.kill(os.getpid(), signal.SIGKILL), "running the model crashed the process: SIGKILL"),
        (300.0, lambda *_: {}["a mistake"], "running the model failed: KeyError"),
    ):
        settings(worker={"start_s": start_s})
        monkeypatch.setattr(load, "try_bundle", do)
        status, _, complaint = model("install", source)
        assert status == 1 and f"{source}: " in complaint and words in complaint
        assert not any((tmp_path / "models").iterdir())


def test_a_bundle_for_another_backend_is_kept_but_not_chosen(model, tmp_path):
    source = own_bundle(tmp_path / "b", "chip-net")
    spec = yaml.safe_load((source / "bundle.yaml").read_text(encoding="utf-8"))
    for stage in spec["stages"].values():
        stage["files"] = {"acl": {**stage["files"]["cpu"], "soc": "Ascend310B4"}}
    (source / "bundle.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    status, said, _ = model("install", source)
    assert status == 0 and "NOT RUN: it has no files for model.backend = cpu" in said
    _, said, _ = model("list")
    assert "acl[Ascend310B4], " in said.splitlines()[0]
    for command, word in (("use", "chip-net"), ("check", "chip-net"), ("check", source)):
        status, _, complaint = model(command, word)
        assert status == 78 and "has no file for backend cpu; it has: acl" in complaint
    assert not (tmp_path / "models" / CHOICE).exists()


def test_the_commands_are_quick_to_explain_themselves():
    code = "import sys; from sonic_edge.cli import make_parser as m; m(); print({'numpy', 'cv2'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


# ---- with a daemon whose worker is a stub --------------------------------------------------------------------------


@pytest.fixture
def daemon(settings, tmp_path, daemons):
    def daemon():
        made = Daemon(tmp_path, [sys.executable, "-c", RUN, str(settings()), STUB, STUDIO])
        daemons.append(made)
        made.until_logged("ready; watching")
        return made

    return daemon


@contextmanager
def held_up(worker):
    """The worker's process does nothing meanwhile: a job it is given does not end."""
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


@pytest.fixture
def reported(tmp_path):
    return lambda: ask(tmp_path / "spool/run", Request("status"))


def studio_models(tmp_path):
    path = tmp_path / "spool/run/studio-models"
    return path.read_text().split() if path.exists() else []


def test_a_running_job_ends_with_the_bundle_it_began_with(
    daemon, model, installed, reported, tmp_path, settings, capfd
):
    one = installed()
    settings(live={"mode": "record"}, worker={"stall_s": 600.0})
    running = daemon()
    running.until(lambda: studio_models(tmp_path) == ["sonic-net"], "the studio has it")
    running.until(lambda: reported().get("model", {}).get("name") == "sonic-net", "it is reported")
    worker = reported()["worker"]["pid"]
    with held_up(worker):
        drop(running, "a", "ok")
        running.until_logged("a: started")
        status, said, _ = model("use", "my-net")
        assert status == 0 and "the daemon switches to it after the job a" in said
        assert reported()["worker"]["pid"] == worker and reported()["model"]["name"] == "sonic-net"
        assert studio_models(tmp_path) == ["sonic-net"], "nor is the studio disturbed"
    running.until_there("outbox/a.json")
    running.until(lambda: reported().get("model", {}).get("name") == "my-net", "taken over")
    running.until(lambda: studio_models(tmp_path) == ["sonic-net", one], "by the studio too")
    main(["status", "--config", str(settings())])
    assert f"model       my-net 1.0 ({one[-8:]}) on cpu" in capfd.readouterr().out
    status, _, complaint = model("remove", one)
    assert status == 2 and "is in use" in complaint
    assert running.text().count("a: started") == 1


@pytest.mark.parametrize(
    ("name", "words"), [("bad-net", "is damaged or changed"), ("odd-net", "the NPU cannot load it")]
)
def test_a_bundle_that_the_worker_refuses_leaves_the_old_one_in_service(
    daemon, model, installed, reported, tmp_path, settings, name, words
):
    one, bad = installed(), installed(name)
    settings(live={"mode": "record"})
    model("use", one)
    running = daemon()
    running.until(lambda: studio_models(tmp_path) == [one], "the studio has it")
    status, said, complaint = model("use", name)
    assert status == 1 and "in use from now on" in said
    assert f"the daemon refuses {bad} and stays with the old bundle: " in complaint
    assert words in complaint and f"`sonic-edge model rollback` goes back to {one}" in complaint
    assert reported()["model"]["name"] == "my-net" and words in reported()["settings"]["error"]
    drop(running, "a", "ok")
    running.until_there("outbox/a.json")
    assert studio_models(tmp_path) == [one], "the studio was never given it"
    status, said, _ = model("rollback")
    assert status == 0 and "the daemon uses it now" in said
    assert reported()["settings"]["error"] == "" and reported()["model"]["name"] == "my-net"
    assert chosen(tmp_path) == (one, bad)


def test_a_daemon_with_other_settings_is_reported(daemon, model, installed, settings, tmp_path):
    installed()
    settings(model={"bundle": "sonic-net"})
    running = daemon()
    settings(model={"bundle": ""})
    mine = tmp_path / "mine.yaml"
    mine.write_text(settings().read_text())
    settings(model={"bundle": "sonic-net"})
    done = subprocess.run(
        [sys.executable, "-m", "sonic_edge", "model", "use", "my-net", "--config", str(mine)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 78
    assert "is chosen, but the daemon that answers in" in done.stderr and "stays with" in done.stderr
    assert f"{tmp_path / 'box.yaml'}" in done.stderr
    assert running.process.poll() is None


def test_a_choice_that_is_damaged_while_the_daemon_runs_changes_nothing(daemon, model, installed, reported, tmp_path):
    one = installed()
    model("use", one)
    running = daemon()
    (tmp_path / "models" / CHOICE).write_text("{")
    with pytest.raises(RequestError, match="is damaged; `sonic-edge model use NAME` writes a new one"):
        ask(tmp_path / "spool/run", Request("reload"))
    drop(running, "a", "ok")
    running.until_there("outbox/a.json")
    assert reported()["model"]["name"] == "my-net"


# ---- a whole daemon ------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(settings, tmp_path, daemons):
    """The daemon as systemd starts it."""

    def whole():
        settings(controls={"min_resolution": 128, "inference_steps": 1}, worker={"stall_s": 600.0})
        made = Daemon(tmp_path, [sys.executable, "-m", "sonic_edge", "run", "--config", str(settings())])
        daemons.append(made)
        return made

    return whole


@pytest.fixture
def put_in(tmp_path):
    """Put a job into the inbox of a daemon."""

    def put_in(daemon, name, speech):
        shutil.copy(speech, tmp_path / f"{name}.wav")
        shutil.copy(share_dir() / "samples" / "portrait.jpg", tmp_path / f"{name}.jpg")
        for suffix in (".jpg", ".wav"):  # a photo alone waits for ever
            (tmp_path / f"{name}{suffix}").rename(daemon.spool / "inbox" / f"{name}{suffix}")

    return put_in


def test_a_running_daemon_switches_to_another_bundle_and_back(
    whole, model, installed, reported, tmp_path, short_speech, put_in
):
    one, bad = installed(), installed("bad-net")
    running = whole()
    running.until_logged("ready; watching")

    def made_with(name):
        running.until_there(f"outbox/{name}.json")
        return running.json(f"outbox/{name}.json")["model"]["bundle"]

    put_in(running, "a", short_speech)
    assert made_with("a") == "sonic-net"
    status, said, _ = model("use", "my-net")
    assert status == 0 and "the daemon uses it now" in said

    # intact when it is chosen, and damaged when the worker loads it
    with held_up(reported()["worker"]["pid"]):
        put_in(running, "b", short_speech)
        running.until_logged("b: started")
        status, said, _ = model("use", "bad-net")
        assert status == 0 and "after the job b" in said
        damage(tmp_path / "models" / bad)
    assert made_with("b") == "my-net"
    running.until(lambda: f"{bad}/encoder.int8.onnx: is damaged" in reported()["settings"]["error"], "refused")
    assert f"`sonic-edge model rollback` goes back to {one}" in reported()["settings"]["error"]
    put_in(running, "c", short_speech)
    assert made_with("c") == "my-net" and reported()["model"]["name"] == "my-net"

    status, said, _ = model("rollback")
    assert status == 0 and "the daemon uses it now" in said and reported()["settings"]["error"] == ""
    status, said, _ = model("use", SHIPPED)
    assert status == 0 and "the daemon uses it now" in said
    put_in(running, "d", short_speech)
    assert made_with("d") == "sonic-net"
    assert running.end()[0] == 0


def test_a_box_that_starts_with_a_damaged_bundle_says_how_to_go_back(whole, model, installed, tmp_path):
    one = installed()
    model("use", one)
    damage(tmp_path / "models" / one)
    running = whole()
    assert running.process.wait(DEADLINE_S) == 78
    assert f"{one}/encoder.int8.onnx: is damaged or changed" in running.text()
    assert f"; `sonic-edge model rollback` goes back to {SHIPPED}, which was in use before" in running.text()
    shutil.rmtree(tmp_path / "models" / one)
    gone = whole()
    assert gone.process.wait(DEADLINE_S) == 78
    assert f"{one}/bundle.yaml: cannot be read: No such file or directory; `sonic-edge model rollback`" in gone.text()
    assert model("rollback")[0] == 0
    again = whole()
    again.until_logged("ready; watching")
