"""A real studio process that follows orders without a model: ``python stub_studio.py [START]``.

As long as there is a file ``run/hold`` in the spool it does not get ready.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from sonic_edge.live.state import MicrophoneState, StudioState
from sonic_edge.live.studio.messages import Answer, Failed, Ready, Scene, State, Words, commands, starts
from sonic_edge.process import LineReader, die_with_parent, send, take_pipes
from sonic_edge.process.messages import encode


def main(start):
    orders, pipe = take_pipes()
    lines = LineReader(orders)
    (first, *_) = lines.wait_for_one()
    settings = starts.read(first)
    die_with_parent(settings.parent)
    root = Path(settings.config["spool"]["root"])

    def say(message):
        send(pipe, encode(message))

    state = StudioState(settings.config["live"]["mode"], False, settings.muted, MicrophoneState(), False)
    if start == "config":
        say(Failed("ConfigError", "camera.device = x: is wrong"))
        return 1
    if start == "device":
        say(Failed("DeviceError", "no NPU"))
        return 1
    while (root / "run" / "hold").exists():
        time.sleep(0.02)
    say(Ready())
    with (root / "run" / "studio-models").open("a") as file:
        file.write(Path(settings.config["model"]["bundle"]).name + "\n")
    if start == "babble":
        send(pipe, b'{"tell": "nothing anybody knows"}\n')
        time.sleep(3600)
    scene = root / "run" / "scene.mp4"
    scene.write_bytes(b"a scene")
    say(Scene(scene))
    while True:
        for line in lines.take(0.1):
            command = commands.read(line)
            error = ""
            if command.order == "snapshot":
                error = "no picture in which one person looks at the camera"
                say(Words("no_face"))
            elif command.order == "talk":
                state = replace(state, talking=command.on)
                say(Words("listening" if command.on else ""))
            elif command.order == "mute":
                state = replace(state, muted=command.on)
            if start == "die":
                os._exit(9)
            say(Answer(command.id, error))
        say(State(replace(state, microphone=MicrophoneState(state.talking, "a microphone", 3, 1))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
