"""Tier 2: camera, microphone, screen, loudspeaker and USB stick on a kernel of its own.

Run as root, with the Python of the installed product.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict

import box
import compare
import numpy as np
import sandbox
from box import SETTINGS, SPOOL, UNIT, Wrong, run

RESULT = Path("/result")
MATERIAL = Path(__file__).parent
SOUND = RESULT / "sound.wav"
FAR, NEAR = 12.0, 6.0
"""Mean difference of pictures, 0..255: at least FAR for different pictures, at most NEAR for the same one."""


def ask(do: str, **details: object) -> Dict[str, str]:
    """Ask for an action from outside the board; see `_Hands` in qemu.py."""
    part = RESULT / "ask.part"
    part.write_text(json.dumps({"do": do, **details}))
    part.rename(RESULT / "ask.json")
    answer = RESULT / "answer.json"
    box.wait_for(f"an answer to {do}", answer.exists, 120, 0.05)
    said: Dict[str, str] = json.loads(answer.read_text())
    answer.unlink()
    if "error" in said:
        raise Wrong(f"{do}: {said['error']}")
    return said


def sonic_edge(*words: str, status: int = 0) -> str:
    """A command of the product."""
    return run("sonic-edge", *words, "--config", SETTINGS, status=status, timeout_s=180)


def starts() -> str:
    """The service is up on its own kernel."""
    box.wait_until_ready(400)
    active_s = int(box.prop("ActiveEnterTimestampMonotonic")) / 1e6
    return f"Linux {os.uname().release}, {UNIT} active {active_s:.0f} s after the kernel"


def stands_idle() -> str:
    """Screen: the portrait while idle, with its label."""

    def look() -> str:
        scenes = list((SPOOL / "run").glob("scene-*.png"))
        if not scenes:
            return ""
        made = compare.frames(scenes[0])[0]
        ask("look", name="idle", n=1, every_s=0)
        seen = compare.of_screen(RESULT / "idle-0.png", made.shape)
        off = compare.difference(seen, made)
        return f"{_label(seen, made)}; picture off by {off:.1f} of 255" if off < NEAR else ""

    return box.wait_for("the portrait on the screen", look, 120, 2)


def _label(seen: np.ndarray, made: np.ndarray) -> str:
    """The label is in its place, and looks as it was made."""
    there, wanted = compare.label_of(seen), compare.label_of(compare.as_large_as(seen, made))
    off = compare.difference(there, wanted)
    white, dark = float((there.min(axis=2) > 200).mean()), float((there.max(axis=2) < 90).mean())
    reported = f"label off by {off:.1f}, {100 * white:.0f} % white letters on {100 * dark:.0f} % dark plate"
    if off > NEAR or white < 0.05 or dark < 0.3:
        raise Wrong(reported)
    return reported


def plays_a_clip() -> str:
    """Screen: a finished clip is played, frame by frame, with its label."""
    since = SOUND.stat().st_size if SOUND.exists() else 0
    (MATERIAL / "since").write_text(str(since))
    box.put("clip", {}, MATERIAL / "short.wav")
    done = SPOOL / "outbox/clip.json"
    box.wait_for("clip is done", done.exists, 400, 0.1)
    ask("look", name="clip", n=30, every_s=0.3)
    made = compare.frames(SPOOL / "outbox/clip.mp4")
    found = []
    for number in range(30):
        seen = compare.of_screen(RESULT / f"clip-{number}.png", made[0].shape)
        which, off, most = compare.nearest(seen, made)
        if off < NEAR / 2 and most > 2 * off:
            found.append((which, off, number))
    order = [which for which, _, _ in found]
    if len(set(order)) < 3 or order != sorted(order) or order[-1] < len(made) - 5:
        raise Wrong(f"of {len(made)} pictures these were seen: {order}")
    which, off, number = found[len(found) // 2]
    label = _label(compare.of_screen(RESULT / f"clip-{number}.png", made[0].shape), made[which])
    video = box.video(SPOOL / "outbox/clip.mp4")
    return (
        f"{video}; seen in order: pictures {sorted(set(order))}, off by {min(f[1] for f in found):.1f} of 255; {label}"
    )


def plays_its_sound() -> str:
    """Loudspeaker: the clip's own sound.

    A board this slow drops pieces in between; what is there agrees to the last bit or two.
    """
    heard = compare.played(SOUND, int((MATERIAL / "since").read_text()))
    share, n = compare.share_heard(compare.sound_of(SPOOL / "outbox/clip.mp4"), heard, 0.98)
    reported = f"{100 * share:.0f} % of {n} loud tenths of a second found in order, each alike to 0.98 or more"
    if share < 0.75:
        raise Wrong(f"{reported}; {len(heard) / compare.RATE:.1f} s were played")
    return reported


def takes_a_snapshot() -> str:
    """Camera: an empty picture gives a message; a person is taken as the portrait."""
    camera, seen = "/dev/video0", "/dev/video1"
    for device in (camera, seen):
        run("v4l2-ctl", f"--device={device}", "--set-dv-bt-timings=index=0")  # 640x480
    run("v4l2-ctl", f"--device={camera}", "--set-ctrl=osd_text_mode=2")
    reported = sonic_edge("snapshot", status=2)
    if "shows one person" not in reported:
        raise Wrong(reported)
    # what is written to one device is read from the other, if it has the format that OpenCV asks for
    run("v4l2-ctl", f"--device={seen}", "--set-fmt-video-out=pixelformat=BGR3")
    run("v4l2-ctl", f"--device={camera}", "--set-ctrl=loop_video=1")
    words = ["v4l2-ctl", f"--device={seen}", "--stream-out-mmap", "--stream-loop"]
    showing = subprocess.Popen(
        [*words, f"--stream-from={MATERIAL}/camera.bgr"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(2.0)
        sonic_edge("snapshot")
    finally:
        showing.kill()
        showing.wait()
    return f"colour bars: {reported.split(': ', 1)[-1]!r}; a face: taken"


def hears() -> str:
    """Microphone: speech becomes a clip with the camera's face."""
    sonic_edge("talk", "start")
    box.wait_for("the microphone is open", lambda: "hw:5,1" in sonic_edge("status"), 60)
    run("aplay", "--quiet", "--device=plughw:Loopback,0", MATERIAL / "short.wav")
    time.sleep(1.0)
    sonic_edge("talk", "stop")

    def look() -> str:
        failed = list((SPOOL / "failed").glob("talk-*/reason.json"))
        if failed:
            raise Wrong(failed[0].read_text())
        done = list((SPOOL / "outbox").glob("talk-*.json"))
        return done[0].stem if done else ""

    name = box.wait_for("what was said is a clip", look, 400)
    clip = SPOOL / "outbox" / f"{name}.mp4"
    share, n = compare.share_heard(compare.sound_of(MATERIAL / "short.wav"), compare.sound_of(clip), 0.9)
    face, own = compare.frames(clip)[0], compare.frames(SPOOL / "outbox/clip.mp4")[0]
    face, own = face[: len(face) * 3 // 4], own[: len(own) * 3 // 4]  # without the label
    mirrored, same = compare.difference(face, own[:, ::-1]), compare.difference(face, own)
    reported = f"{name}: {100 * share:.0f} % of {n} loud tenths of a second heard; "
    reported += f"off by {mirrored:.0f} from the camera's face (the portrait mirrored), by {same:.0f} from the portrait"
    if share < 0.5 or mirrored > same / 2:
        raise Wrong(reported)
    return f"{reported}; {box.video(clip)}"


def takes_a_stick() -> str:
    """USB stick: udev starts the import, the video is written to it, the screen says when it may be removed."""
    before = set((SPOOL / "outbox").glob("*.mp4"))
    ask("look", name="no-stick", n=1, every_s=0)
    ask("plug")
    units = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "sonic-edge-stick@*.service"]
    unit = box.wait_for("udev starts the import", lambda: run(*units), 60).split()[0]
    box.wait_for("a new video", lambda: set((SPOOL / "outbox").glob("*.mp4")) - before, 400)
    ask("look", name="stick", n=1, every_s=0)
    box.wait_for("the import is over", lambda: box.prop("ActiveState", unit) in ("inactive", "failed"), 120)
    ask("look", name="done-stick", n=1, every_s=0)
    mounts, result = run("findmnt", "--list", "--noheadings", "--output=SOURCE"), box.prop("Result", unit)
    there = ask("pull")
    (new,) = set((SPOOL / "outbox").glob("*.mp4")) - before
    made = hashlib.sha256(new.read_bytes()).hexdigest()
    brought = [name for name, digest in there.items() if digest == made]
    if result != "success" or "/dev/sd" in mounts or not brought:
        raise Wrong(f"{unit}: {result}; mounted: {mounts}; made {new}; on the stick: {sorted(there)}")
    screens = [compare.frames(RESULT / f"{name}-0.png")[0] for name in ("no-stick", "stick", "done-stick")]
    words = [float((np.abs(a.astype(int) - b).max(axis=2) > 60).mean()) for a, b in zip(screens, screens[1:])]
    if min(words) < 0.001:
        raise Wrong(f"the screen's words did not change: {words}")
    return f"{unit}: {result}; on it now {brought[0]!r}, the same bytes; screen: words, then others (done-stick-0.png)"


CHECKS = [
    starts,
    sandbox.limits_hold,
    sandbox.has_no_network,
    sandbox.denies_devices,
    stands_idle,
    plays_a_clip,
    plays_its_sound,
    takes_a_snapshot,
    hears,
    takes_a_stick,
]

if __name__ == "__main__":
    box.main(CHECKS, Path(sys.argv[1]))
