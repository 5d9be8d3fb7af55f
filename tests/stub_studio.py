"""A real studio process that does what it is told without a model: ``python stub_studio.py [START]``.

As long as there is a file ``run/hold`` in the spool it does not get ready.
"""

import json
import os
import sys
import time
from pathlib import Path

from sonic_edge.process import LineReader, die_with_parent, take_pipes, tell


def main(start):
    orders, messages = take_pipes()
    lines = LineReader(orders)
    (first, *rest) = lines.wait_for_one()
    settings = json.loads(first)
    die_with_parent(settings["parent"])
    root = Path(settings["config"]["spool"]["root"])

    def say(what, **more):
        tell(messages, {"tell": what, **more})

    state = {"mode": settings["config"]["live"]["mode"], "talking": False, "muted": settings["muted"]}
    if start == "config":
        say("failed", error="ConfigError", message="camera.device = x: is wrong")
        return 1
    if start == "device":
        say("failed", error="DeviceError", message="no NPU")
        return 1
    while (root / "run" / "hold").exists():
        time.sleep(0.02)
    say("ready")
    with (root / "run" / "studio-models").open("a") as file:
        file.write(Path(settings["config"]["model"]["bundle"]).name + "\n")
    if start == "babble":
        say("nothing anybody knows")
        time.sleep(3600)
    scene = root / "run" / "scene.mp4"
    scene.write_bytes(b"a scene")
    say("scene", path=str(scene))
    while True:
        for line in lines.take(0.1):
            order = json.loads(line)
            error = ""
            if order["order"] == "snapshot":
                error = "no picture in which one person looks at the camera"
                say("words", key="no_face")
            elif order["order"] == "talk":
                state["talking"] = order["on"]
                say("words", key="listening" if order["on"] else "")
            elif order["order"] == "mute":
                state["muted"] = order["on"]
            if start == "die":
                os._exit(9)
            say("answer", id=order["id"], error=error)
        microphone = {"open": state["talking"], "device": "a microphone", "overruns": 3, "lost": 1}
        say("state", state={**state, "recording": False, "microphone": microphone, "mirror": {}, "errors": {}})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
