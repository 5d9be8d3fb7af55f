"""A room without hardware: a private PulseAudio with a virtual microphone and loudspeaker, a private X server."""

import os
import shutil
import signal
import subprocess
import time
import wave
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from waiting import until

_ASOUND = """
</usr/share/alsa/alsa.conf>
pcm.mic {{ type pulse device mic.monitor hint {{ show on description "virtual mic" }} }}
pcm.speaker {{ type pulse device speaker hint {{ show on description "virtual speaker" }} }}
pcm.!default {{ type pulse }}
ctl.!default {{ type pulse }}
pcm.tape {{
    type file slave.pcm "null" file "/dev/null" infile "{folder}/tape.raw" format raw
    hint {{ show on description "tape" }}
}}
"""


class Pulse:
    """A running server.

    Sound played to its sink "mic" arrives at the microphone; sink "speaker" is what people hear.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "pulse.sock"
        config = folder / "asound.conf"
        config.write_text(_ASOUND.format(folder=folder))
        self.environment = {
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_RUNTIME_PATH": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "HOME": str(folder),
            "ALSA_CONFIG_PATH": str(config),
            "SDL_AUDIODRIVER": "pulse",
        }
        self._process = None

    def start(self, rate=16000, channels=1) -> None:
        """Start it, or start it again after `kill`."""
        self._socket.unlink(missing_ok=True)
        sinks = "sink_name={name} norewinds=1 rate={rate} channels={channels} format=s16le"
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes"]
        command += [
            "--use-pid-file=no",
            "--log-target=stderr",
            "--log-level=error",
            "--realtime=no",
            "--high-priority=no",
        ]
        command += ["-L", f"module-native-protocol-unix socket={self._socket} auth-anonymous=1"]
        for name in ("mic", "speaker"):
            command += ["-L", "module-null-sink " + sinks.format(name=name, rate=rate, channels=channels)]
        environment = {**os.environ, **self.environment}
        environment.pop("PULSE_SERVER")
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        until(lambda: self._process.poll() is not None or self.control("info").returncode == 0, "PulseAudio")
        assert self._process.poll() is None, "PulseAudio does not start"
        self.control("set-default-sink", "speaker")
        self.control("set-default-source", "mic.monitor")

    def kill(self) -> None:
        """As if somebody pulled the plug."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It is there, but does not answer, until `thaw`."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def control(self, *words):
        """pactl."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(["pactl", *words], env=environment, capture_output=True, text=True, timeout=120)

    def play(self, samples, rate=16000, sink="mic"):
        """Speak into the microphone, [n] or [n, channels] int16, in real time; returns when it is over.

        The server gets seconds in advance, so that a shorter delay leaves no gap in it.
        """
        samples = np.asarray(samples, np.int16)
        n_channels = 1 if samples.ndim == 1 else samples.shape[1]
        name = self._folder / f"said-{time.monotonic_ns()}.wav"
        with wave.open(str(name), "wb") as out:
            out.setnchannels(n_channels)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(samples.tobytes())
        environment = {**os.environ, **self.environment}
        subprocess.run(["paplay", "-d", sink, "--latency-msec=4000", str(name)], env=environment, check=True)
        name.unlink()


@contextmanager
def pulse_server(folder: Path, **settings):
    """A server of one's own, in `folder`."""
    assert shutil.which("pulseaudio"), "pulseaudio is needed: board/setup.sh test installs it"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    pulse = Pulse(folder)
    pulse.start(**settings)
    try:
        yield pulse
    finally:
        pulse.kill()


@contextmanager
def x_server(width: int, height: int):
    """A virtual screen; its name for DISPLAY."""
    assert shutil.which("Xvfb"), "Xvfb is needed: board/setup.sh test installs it"
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb does not start"
    try:
        yield f":{number}"
    finally:
        process.kill()
        process.wait()
