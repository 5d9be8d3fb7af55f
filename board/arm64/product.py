"""The product on the board: bundle, installation, doctor and the sample video."""

import json
import re
import shutil
import subprocess
import sys
import wave
from collections import Counter
from pathlib import Path
from typing import List

import av
import compare
import numpy as np

from board.arm64.debian import BUILD, RESULT, ROOT, SUITE, Wrong, inside
from board.virtual import pieces
from sonic_edge.config import Config
from sonic_edge.engine.label import Label

_BUNDLES = BUILD / "bundle"
CURRENT = "/opt/sonic-edge/current"
_SAMPLES = Path(sys.prefix) / "share/sonic-edge/samples"
_RECORDING = _SAMPLES / "speech.flac"
_FROM_S, _LONG_S = 0.6, 1.6
"""The piece of the sample that is used: its first words."""
_SIDE = 192
_FPS = Config().controls.fps

_MOST = {"mel": 0.05, "landmarks": 0.5, "motion": 0.05}
"""Largest difference allowed between the two processors: mel in its own units, landmarks in pixels, motion in the
units of `sonic_edge.media.Motion`."""
_PICTURES, _VIDEOS = 1.0, 4.0
"""Largest mean difference between pictures, of 255: as rendered, and as decoded. The encoder alone causes 3.7."""


def bundle() -> str:
    """The bundle for such a board."""
    pieces.bundle(_BUNDLES, arch="aarch64", suite=SUITE)
    made = _bundle()
    listed = subprocess.run(["tar", "--list", "--file", str(made)], stdout=subprocess.PIPE, text=True, check=True)
    wheels = [wheel(Path(name).stem) for name in sorted(listed.stdout.split()) if name.endswith(".whl")]
    return f"{made.name}, {made.stat().st_size >> 20} MB; its wheels: {', '.join(wheels)}"


def wheel(stem: str) -> str:
    """``av-15.1.0-cp39-cp39-manylinux_2_28_aarch64`` as ``av 15.1.0 (cp39-cp39-manylinux_2_28_aarch64)``."""
    name, version, *_, python, abi, platforms = stem.split("-")
    return f"{name} {version} ({python}-{abi}-{platforms})"


def _bundle() -> Path:
    (made,) = _BUNDLES.glob("*.tar")
    return made


def install() -> str:
    """It is installed as an integrator would, without a network."""
    made = _bundle()
    media = ROOT / "media"
    for file in (made, made.with_name(made.name + ".sha256")):
        shutil.copy(file, media)
    script = f"cd /media && sha256sum -c {made.name}.sha256 && tar -xf {made.name} && {made.stem}/install.sh"
    said = inside("sh", "-c", script, limit_s=3600)
    (reported,) = [line for line in said.splitlines() if line.startswith("install: installed")]
    n_packages = len(
        re.findall("^Status: install ok installed$", (ROOT / "var/lib/dpkg/status").read_text(), re.MULTILINE)
    )
    return f"{reported}; Debian has {n_packages} packages"


def doctor() -> str:
    """The doctor finds nothing FAILED, and has run the model."""
    settings = "/etc/sonic-edge/sonic-edge.yaml"
    inside("sh", "-c", f"sonic-edge doctor --config {settings} --json >/result/doctor.json", limit_s=300)
    findings = json.loads((RESULT / "doctor.json").read_text())["findings"]
    counted = ", ".join(f"{n} {state}" for state, n in Counter(f["state"] for f in findings).items())
    ran = [f["seen"] for f in findings if f["check"] == "model" and f["state"] == "ok"]
    if not ran:
        raise Wrong(f"the model did not run; {counted}")
    return f"{counted}; {ran[0]}"


def demo() -> str:
    """The sample photo says the sample's first words: length, size, label, metadata of the video."""
    _cut(RESULT / "words.wav")
    video, words = RESULT / "arm64.mp4", _words(f"{CURRENT}/share/sonic-edge/samples", "/result", "arm64")
    inside("sonic-edge", *words, limit_s=900)
    pictures = compare.frames(video)
    wanted = round(_LONG_S * _FPS)
    if len(pictures) != wanted or pictures[0].shape[:2] != (_SIDE, _SIDE):
        raise Wrong(f"{video}: {len(pictures)} pictures of {pictures[0].shape}; {wanted} of {_SIDE}x{_SIDE} were asked")
    sound_s = len(compare.sound_of(video)) / compare.RATE
    if abs(sound_s - _LONG_S) > 1 / _FPS:
        raise Wrong(f"{video}: {sound_s:.3f} s of sound; the recording has {_LONG_S} s")
    label = Label(_SIDE, _SIDE, Config().label)
    n_bare = sum(not label.is_on(picture) for picture in pictures)
    if n_bare:
        raise Wrong(f"{video}: {n_bare} of {len(pictures)} pictures do not carry the label")
    with av.open(str(video)) as film:
        mark = film.metadata.get("AIGC", "")
    if '"Label":"1"' not in mark:
        raise Wrong(f"{video}: its AIGC metadata is {mark!r}")
    took = json.loads((RESULT / "arm64.json").read_text())["timings_s"]
    stages = ", ".join(f"{stage} {s:.1f}" for stage, s in took.items())
    return f"{len(pictures)} pictures, {sound_s:.2f} s of sound, the label on each, AIGC; seconds: {stages}"


def same_here() -> str:
    """Portrait, motion, pictures and video are those of this machine's processor."""
    here = [str(Path(sys.prefix) / "bin/sonic-edge"), *_words(str(_SAMPLES), str(RESULT), "here")]
    subprocess.run(here, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    speak = Path(__file__).parent / "inside/speak.py"
    shutil.copy(speak, RESULT)
    inside(
        f"{CURRENT}/bin/python", "/result/speak.py", "/result/words.wav", str(_SIDE), "/result/arm64.npz", limit_s=900
    )
    subprocess.run(
        [sys.executable, str(speak), str(RESULT / "words.wav"), str(_SIDE), str(RESULT / "here.npz")], check=True
    )
    there, mine = np.load(RESULT / "arm64.npz"), np.load(RESULT / "here.npz")
    reported, wrong = [], []
    for name, most in _MOST.items():
        off = float(np.abs(there[name] - mine[name]).max())
        reported.append(f"{name} {off:.2g} at most")
        if not off <= most:
            wrong.append(f"{name}: {off:.3g} apart; at most {most:g} is expected")
    off = float(np.abs(there["pictures"].astype(np.float32) - mine["pictures"]).mean())
    videos = [compare.frames(RESULT / f"{name}.mp4") for name in ("arm64", "here")]
    coded = float(np.mean([compare.difference(a, b) for a, b in zip(*videos)]))
    reported += [f"pictures {off:.2f} of 255 on average", f"decoded videos {coded:.2f}"]
    if not off <= _PICTURES:
        wrong.append(f"pictures: {off:.2f} apart; at most {_PICTURES} is expected")
    if not coded <= _VIDEOS:
        wrong.append(f"decoded videos: {coded:.2f} apart; at most {_VIDEOS} is expected")
    if wrong:
        raise Wrong("; ".join(wrong))
    return ", ".join(reported)


def _cut(out: Path) -> None:
    """A piece of the sample."""
    sound = compare.sound_of(_RECORDING)[round(_FROM_S * compare.RATE) :][: round(_LONG_S * compare.RATE)]
    with wave.open(str(out), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(compare.RATE)
        file.writeframes(sound.astype("<i2").tobytes())


def _words(samples: str, folder: str, name: str) -> List[str]:
    """The command of `make demo`, for a smaller video."""
    words = ["render", f"{samples}/portrait.jpg", f"{folder}/words.wav", "-o", f"{folder}/{name}.mp4"]
    words += ["--sheet", f"{folder}/{name}.png", "--report", f"{folder}/{name}.json"]
    return [*words, "--set", f"min_resolution={_SIDE}"]
