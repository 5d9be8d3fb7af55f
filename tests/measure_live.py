"""Live mode without hardware: a virtual microphone, loudspeaker and screen around the real daemon.

    measure_live.py demo OUT.mp4          speak a recorded sentence; leave a recording of screen and sound
    measure_live.py bench [--minutes M]   latency by part, skew of sound and picture, drops, CPU share

PulseAudio and Xvfb are started for the purpose, private, and ended. What is measured is the product itself: `sonic-edge
run` with live.mode mirror, its `status`, and what comes out of the loudspeaker and onto the screen. For the skew each
picture that belongs to a click in the sound is marked in a corner, by `marked_studio`; the rest is as shipped.
"""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import yaml
from live_parts import pulse_server, x_server
from marked_studio import CLICK_EVERY_S

from sonic_edge.config import share_dir
from sonic_edge.engine.speech import sound
from sonic_edge.errors import SonicEdgeError
from sonic_edge.service.control import ask
from sonic_edge.service.messages import Request

RATE = 16000
SCREEN = (640, 512)
MARK_AT = (64 + 24, 24)  # the picture is in the middle of the screen
RUN = """
import sys
from pathlib import Path
from sonic_edge import config
from sonic_edge.service import daemon
path = Path(sys.argv[1])
sys.exit(daemon.run(config.load_config(path), path, studio=(sys.executable, *sys.argv[2:])))
"""


def sentence(seconds, clicks):
    """The sample recording, again and again, 16 kHz 16 bit, with a click now and then."""
    at_48k = np.concatenate(list(sound(share_dir() / "samples" / "speech.flac")), axis=1)[0]
    voice = at_48k[: len(at_48k) // 3 * 3].reshape(-1, 3).mean(axis=1)
    samples = np.resize(voice, int(seconds * RATE)) * 0.7
    if clicks:
        for start in range(RATE, len(samples) - 100, round(CLICK_EVERY_S * RATE)):
            samples[start : start + 32] = np.tile([0.99, 0.99, -0.99, -0.99], 8)
    return np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def start(command, environment, log):
    """A daemon as people start it."""
    return subprocess.Popen(command, env=environment, stderr=log)


@contextmanager
def room(folder, studio=("-m", "sonic_edge.live.studio"), start=start, **settings):
    """The daemon in a room with a microphone, a loudspeaker and a screen; gives (environment, status, process)."""
    with ExitStack() as stack:
        pulse = stack.enter_context(pulse_server(folder))
        display = stack.enter_context(x_server(*SCREEN))
        environment = {**os.environ, **pulse.environment, "DISPLAY": display}
        spool = folder / "spool"
        config = {
            "spool": {"root": str(spool), "portrait": str(share_dir() / "samples" / "portrait.jpg")},
            "live": {"mode": "mirror", "trigger": "voice"},
            "microphone": {"device": "mic"},
            "speaker": {"device": "speaker"},
            "display": {"output": "window"},
            **settings,
        }
        path = folder / "box.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        log = stack.enter_context((folder / "log").open("wb"))
        daemon = start([sys.executable, "-c", RUN, str(path), *studio], environment, log)
        stack.callback(stop, daemon)

        def status():
            return ask(spool / "run", Request("status"))

        end = time.monotonic() + 120
        while True:
            time.sleep(0.2)
            if daemon.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the daemon did not get going:\n{(folder / 'log').read_text()[-3000:]}")
            with suppress(SonicEdgeError, KeyError):
                live = status()["live"]
                if live["mirror"].get("shown", 0) > 25 or live["mode"] == "record":
                    break
        yield pulse, environment, status, daemon


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def demo(out):
    """Play the sample, and record screen and loudspeaker as somebody in the room would see and hear them."""
    with tempfile.TemporaryDirectory() as name, room(Path(name)) as (pulse, environment, status, _):
        samples = sentence(13.5, clicks=False)
        part = out.with_suffix(".part.mp4")
        command = "ffmpeg -y -loglevel error -thread_queue_size 512 -f x11grab -draw_mouse 0 -framerate 25 -video_size"
        command += " {}x{} -i {}".format(*SCREEN, environment["DISPLAY"])
        command += " -thread_queue_size 512 -f pulse -fragment_size 640 -i speaker.monitor -t 16"
        command += " -c:v libx264 -preset veryfast -crf 18 -pix_fmt yuv420p -c:a aac -movflags +faststart"
        recorder = subprocess.Popen(
            [*command.split(), str(part)],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        time.sleep(1.0)
        pulse.play(samples, RATE)
        if recorder.wait(60) != 0:
            raise SystemExit("the recording failed")
        reported = status()["live"]["mirror"]
        part.replace(out)
    print(f"{reported['shown']} pictures shown, {reported['late']} late, {reported['refused']} refused; "
          f"{reported['latency_ms']['total']:.0f} ms behind the microphone (median)")  # fmt: skip


class Eye(threading.Thread):
    """Watches one pixel of the screen; notes when it turns bright."""

    def __init__(self, display):
        super().__init__(daemon=True)
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = x11.XGetImage.restype = ctypes.c_void_p
        x11.XDefaultRootWindow.restype = x11.XGetPixel.restype = ctypes.c_ulong
        x11.XGetImage.argtypes = [ctypes.c_void_p, ctypes.c_ulong] + [ctypes.c_int] * 4 + [ctypes.c_ulong, ctypes.c_int]
        x11.XDefaultRootWindow.argtypes = [ctypes.c_void_p]
        x11.XGetPixel.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        x11.XDestroyImage.argtypes = [ctypes.c_void_p]
        self._x11, self._display = x11, x11.XOpenDisplay(display.encode())
        self._root = x11.XDefaultRootWindow(self._display)
        self.seen, self.ends = [], False

    def run(self):
        was_bright = True
        while not self.ends:
            image = self._x11.XGetImage(self._display, self._root, *MARK_AT, 1, 1, 0xFFFFFFFF, 2)
            is_bright = self._x11.XGetPixel(image, 0, 0) & 0xFF > 250
            self._x11.XDestroyImage(image)
            if is_bright and not was_bright:
                self.seen.append(time.monotonic())
            was_bright = is_bright
            time.sleep(0.002)


class Ear(threading.Thread):
    """Listens to the loudspeaker; notes when clicks come."""

    def __init__(self, environment):
        super().__init__(daemon=True)
        self._process = subprocess.Popen(
            ["parec", "-d", "speaker.monitor", "--format=s16le", f"--rate={RATE}", "--channels=1", "--latency-msec=5"],
            env=environment,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.heard, self.ends = [], False

    def run(self):
        n, origin, last = 0, None, -RATE
        while not self.ends:
            data = os.read(self._process.stdout.fileno(), 1 << 14)
            if not data:
                break
            samples = np.frombuffer(data[: len(data) // 2 * 2], np.int16)
            now = time.monotonic() - (n + len(samples)) / RATE
            origin = now if origin is None else min(origin + 1e-5, now)  # the quickest arrival tells the clock
            for i in np.flatnonzero(np.abs(samples.astype(np.int32)) > 30000):
                if n + i - last > RATE:
                    self.heard.append(origin + (n + int(i)) / RATE)
                    last = n + i
            n += len(samples)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def cpu_seconds(pid):
    """User and system time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid):
    """The daemon's processes: name -> pid."""
    found = {"daemon": pid}
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for number in child.read_text().split():
            line = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
            for name in ("mpv", "studio", "worker"):
                if name in line:
                    found[name] = int(number)
    return found


def measure(minutes):
    """Play speech with clicks for this long; returns what was seen, heard and counted."""
    marked = str(Path(__file__).parent / "marked_studio.py")
    with tempfile.TemporaryDirectory() as name:
        marks = Path(name) / "marks"
        os.environ["SONIC_MARKS"] = str(marks)
        with room(Path(name), studio=(marked,)) as (pulse, environment, status, daemon):
            eye, ear = Eye(environment["DISPLAY"]), Ear(environment)
            eye.start()
            ear.start()
            before = status()["live"]
            processes = family(daemon.pid)
            cpu, start = {name: cpu_seconds(pid) for name, pid in processes.items()}, time.monotonic()
            pulse.play(sentence(60 * minutes, clicks=True), RATE)
            wall = time.monotonic() - start
            cpu = {name: (cpu_seconds(pid) - cpu[name]) / wall for name, pid in processes.items()}
            after = status()["live"]
            time.sleep(1)
            eye.ends = ear.ends = True
            eye.join()
            ear.join()
            clicks = [tuple(map(float, line.split())) for line in marks.read_text().splitlines()]
    return summary(clicks, eye.seen, ear.heard, before, after, cpu, wall)


def nearest(times, moment, within):
    close = [t for t in times if abs(t - moment) < within]
    return min(close, key=lambda t: abs(t - moment)) if close else None


def summary(clicks, seen, heard, before, after, cpu, wall):
    delays, skews = [], []
    for clicked, shown in clicks:  # at the microphone: the click; the sound of the first picture marked for it
        light = nearest(seen, clicked + 0.2, 0.2)
        noise = nearest(heard, clicked + 0.2, 0.2)
        if light is not None and noise is not None:
            # the picture belongs to sound a little after the click: up to one frame
            delays.append(1000 * (light - shown))
            skews.append((1000 * (noise - clicked - (light - shown)), clicked))
    if len(skews) < 3:
        times = [[round(t - clicks[0][0], 3) for t in found[:5]] for found in ([c for c, _ in clicks], seen, heard)]
        raise SystemExit(f"clicks were marked at {times[0]}, seen at {times[1]}, heard at {times[2]}: too few match")
    values = np.array([s for s, _ in skews])
    third = max(1, len(values) // 3)
    mirror = {k: after["mirror"][k] - before["mirror"][k] for k in ("shown", "late", "refused", "unseen", "skipped_s")}
    return {
        "seconds": round(wall, 1),
        "clicks": len(values),
        "latency_ms": after["mirror"]["latency_ms"],
        "microphone_to_screen_ms": round(float(np.median(delays)), 1),
        "sound_after_picture_ms": {
            "median": round(float(np.median(values)), 1),
            "least": round(float(values.min()), 1),
            "most": round(float(values.max()), 1),
            "drift": round(float(np.median(values[-third:]) - np.median(values[:third])), 1),
        },
        "pictures": mirror,
        "fps": round(mirror["shown"] / wall, 2),
        "overruns": after["microphone"]["overruns"] - before["microphone"]["overruns"],
        "speaker": after["mirror"]["speaker"],
        "cpu_of_one_core": {name: round(share, 3) for name, share in cpu.items()},
        "cpu_of_the_machine": round(sum(cpu.values()) / (os.cpu_count() or 1), 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(required=True)
    show = what.add_parser("demo")
    show.add_argument("out", type=Path)
    show.set_defaults(run=lambda args: demo(args.out))
    speak = what.add_parser("bench")
    speak.add_argument("--minutes", type=float, default=1.0)
    speak.set_defaults(run=lambda args: print(json.dumps(measure(args.minutes), indent=2)))
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
