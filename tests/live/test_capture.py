"""Ears, voice and eyes with the real parts: PortAudio on a private PulseAudio, OpenCV on a video file."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_face import drawn
from live_parts import pulse_server
from waiting import until

from sonic_edge.config import CameraSettings, MicrophoneSettings, SpeakerSettings
from sonic_edge.errors import DeviceError, RequestError
from sonic_edge.live.capture import (
    DelayLine,
    Microphone,
    Speaker,
    cameras,
    input_devices,
    output_devices,
    portaudio,
    snapshot,
)
from sonic_edge.live.capture.clock import Clock
from sonic_edge.live.capture.microphone import _Mixer
from sonic_edge.live.capture.resample import Resampler
from sonic_edge.media import SoundBlock

RATE = 16000
MIC = MicrophoneSettings(device="mic")


@pytest.fixture(scope="module")
def pulse(tmp_path_factory):
    with pulse_server(tmp_path_factory.mktemp("pulse")) as server:
        old = {name: os.environ.get(name) for name in server.environment}
        os.environ.update(server.environment)  # PortAudio looks each time it starts
        yield server
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def noise(seconds, seed=0):
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * 3000).astype(np.int16)


def listen(microphone, seconds):
    """All that is heard."""
    pieces = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        heard = microphone.read(0.05)
        if heard is not None:
            pieces.append(heard)
    return pieces


def wait_for_sound(microphone):
    """What is heard first."""
    heard = None

    def comes():
        nonlocal heard
        heard = microphone.read(0.1)
        return heard is not None

    until(comes, "sound")
    return heard


def in_background(do, *words):
    thread = threading.Thread(target=do, args=words, daemon=True)  # one that fails must not keep the others from ending
    thread.start()
    return thread


def hear(microphone, do, *words):
    """All sound while somebody speaks, and for half a second more."""
    speaker = in_background(do, *words)
    pieces, ended = [], float("inf")
    while not pieces or pieces[-1].at_s < ended + 0.5:
        if ended == float("inf") and not speaker.is_alive():
            ended = time.monotonic()
        heard = microphone.read(0.05)
        if heard is not None:
            pieces.append(heard)
    speaker.join()
    return pieces


# ---- microphone --------------------------------------------------------------------------------------------------


def test_what_is_said_is_heard_bit_for_bit_and_in_time(pulse):
    said = noise(2)
    with Microphone(MicrophoneSettings(device="mic", buffer_s=30)) as microphone:
        wait_for_sound(microphone)
        pieces = hear(microphone, pulse.play, said)
        assert microphone.n_overruns == 0
    assert [p.start for p in pieces[1:]] == [p.start + len(p.samples) for p in pieces[:-1]]
    heard = np.concatenate([p.samples for p in pieces])
    at = int(np.correlate(heard, said[8000:12000].astype(np.float32), "valid").argmax()) - 8000
    got = np.rint(heard[at : at + len(said)] * 32768)
    middle = slice(RATE // 2, -RATE // 10)  # the server may fade a stream in
    assert np.array_equal(got[middle], said[middle])
    # the moments are those of an even clock, and not in the future
    moments = np.array([p.at_s - (p.start + len(p.samples)) / RATE for p in pieces])
    assert np.ptp(moments) < 0.005
    assert max(p.at_s for p in pieces) <= time.monotonic()


def test_the_snd_file_plugin_is_a_microphone(pulse):
    """ALSA's file plug-in gives a recording for sound: bit for bit, at any speed.

    Hundreds of seconds pass in one, so the ring may overflow: lost sound is counted then.
    """
    said = np.tile(noise(1, 1), 600)
    (Path(pulse.environment["HOME"]) / "tape.raw").write_bytes(said.tobytes())
    with Microphone(MicrophoneSettings(device="tape", buffer_s=10)) as microphone:
        pieces = listen(microphone, 0.3)
    played = [piece for piece in pieces if piece.start + len(piece.samples) <= len(said)]
    assert sum(len(piece.samples) for piece in played) >= RATE
    for piece in played:
        heard = np.rint(piece.samples * 32768).astype(np.int16)
        assert np.array_equal(heard, said[piece.start : piece.start + len(heard)])


def test_devices_are_found_by_number_and_by_part_of_the_name(pulse):
    listed = input_devices()
    number = next(int(line.split(":")[0]) for line in listed if " mic " in line)
    for device in (number, "MIC", "mi", ""):
        with Microphone(MicrophoneSettings(device=device)) as microphone:
            assert microphone.name == "mic" or device == ""
    assert any(" speaker " in line for line in output_devices())


@pytest.mark.parametrize("device", ["no such thing", 99])
def test_a_device_that_is_not_there_names_those_that_are(pulse, device):
    with pytest.raises(DeviceError, match=r"microphone.device = .*present: .*mic"):
        Microphone(MicrophoneSettings(device=device))
    with pytest.raises(DeviceError, match=r"speaker.device = .*present: .*speaker"):
        Speaker(SpeakerSettings(device=device), 0.1)


def test_what_nobody_reads_is_dropped_and_counted(pulse):
    with Microphone(MicrophoneSettings(device="mic", buffer_s=0.5)) as microphone:
        before = wait_for_sound(microphone)
        n_dropped = microphone.n_dropped
        until(lambda: microphone.n_overruns > 100, "a full ring")
        after = wait_for_sound(microphone)
        assert len(after.samples) <= 0.6 * RATE
        lost = after.start - (before.start + len(before.samples))
        assert lost == microphone.n_dropped - n_dropped >= 0.5 * RATE, "the count goes on over what was lost"
        assert after.at_s - before.at_s == pytest.approx((lost + len(after.samples)) / RATE, abs=0.1), (
            "and so does time"
        )


def test_it_is_not_silent_while_we_are_held_up(pulse, monkeypatch):
    with Microphone(MicrophoneSettings(device="mic", silent_s=0.5)) as microphone:
        wait_for_sound(microphone)

        def held_up(condition, timeout_s):
            pulse.freeze()  # nothing comes meanwhile
            microphone._blocks.clear()
            time.sleep(1.0)
            pulse.thaw()

        with monkeypatch.context() as patch:
            patch.setattr(microphone._changed, "wait_for", held_up)
            assert microphone.read(0.1) is None
        wait_for_sound(microphone)


def test_closed_it_hears_nothing(pulse):
    microphone = Microphone(MIC)
    wait_for_sound(microphone)
    assert "Source #" in pulse.control("list", "source-outputs").stdout.replace("Source: ", "Source #")
    microphone.close()
    until(lambda: pulse.control("list", "source-outputs").stdout.strip() == "", "nobody who listens")
    microphone.close()  # again is nothing
    with pytest.raises(DeviceError, match="is gone"):
        for _ in range(500):
            microphone.read(0)


def test_the_server_goes_and_comes_back(pulse):
    patient = MicrophoneSettings(device="mic", silent_s=60)
    with Microphone(patient) as microphone, Speaker(SpeakerSettings(device="speaker"), 0.1, silent_s=60) as speaker:
        wait_for_sound(microphone)
        speaker.check()
        pulse.kill()
        with pytest.raises(DeviceError, match="mic is gone"):
            while True:
                microphone.read(0.1)
        with pytest.raises(DeviceError, match="speaker is gone"):
            until(speaker.check, "an error")
    with pytest.raises(DeviceError, match="no such device"):
        Microphone(MIC)
    pulse.start()
    with Microphone(MIC) as microphone:
        wait_for_sound(microphone)


def sine(hz, seconds, rate, level=8000):
    return np.rint(level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def impurity(samples, hz, rate=RATE):
    """What is not the sine, as a part of it."""
    spectrum = np.abs(np.fft.rfft(samples * np.blackman(len(samples))))
    peak = round(hz * len(samples) / rate)
    rest = spectrum.copy()
    rest[max(0, peak - 30) : peak + 31] = 0
    rest[:5] = 0
    return float(np.sqrt((rest**2).sum() / (spectrum**2).sum()))


def test_a_device_of_another_rate_with_a_dead_channel(pulse, monkeypatch):
    """48 kHz, stereo, only the right one carries sound."""
    monkeypatch.setattr(portaudio, "formats", lambda *_: [(48000, 2)])
    said = sine(440, 3, 48000)
    with pulse_server(Path(pulse.environment["HOME"]) / "48k", rate=48000, channels=2) as own:
        monkeypatch.setenv("ALSA_CONFIG_PATH", own.environment["ALSA_CONFIG_PATH"])
        monkeypatch.setenv("PULSE_SERVER", own.environment["PULSE_SERVER"])
        with Microphone(MicrophoneSettings(device="mic", buffer_s=30)) as microphone:
            wait_for_sound(microphone)
            pieces = hear(microphone, own.play, np.stack([np.zeros_like(said), said], axis=1), 48000)
    heard = np.concatenate([p.samples for p in pieces])
    began = int(np.flatnonzero(np.abs(heard) > 0.01)[0])
    steady = heard[began + RATE : began + 2 * RATE]
    assert impurity(steady, 440) < 1e-3, "its frequency, and no seams"
    assert np.sqrt(2) * steady.std() == pytest.approx(8000 / 32768, rel=0.01), "a dead channel takes nothing away"


def test_resampling_keeps_time():
    """A click stays where it was, whatever is still on its way."""
    own = np.zeros(48000, np.float32)
    own[24000] = 1
    resampler = Resampler(48000, RATE)
    made = []
    for i in range(0, len(own), 480):
        made.append(resampler.push(own[i : i + 480]))
        assert 0 <= resampler.behind_s < 0.003
        assert sum(map(len, made)) / RATE + resampler.behind_s == pytest.approx((i + 480) / 48000)
    assert abs(int(np.concatenate(made).argmax()) - RATE // 2) <= 1


def test_two_channels_that_both_live_give_their_mean():
    mixer = _Mixer(2, RATE)
    own = np.stack([sine(440, 1, RATE)] * 2, axis=1)
    assert np.allclose(mixer.mix(own), own[:, 0] / 32768, atol=1e-6)


def test_the_clock_is_even_where_calls_are_not():
    rng, clock, errors = np.random.default_rng(0), Clock(), []
    for i in range(6000):  # a minute of blocks up to 20 ms late, the device 200 ppm slow
        at = i * 0.01 * (1 + 200e-6)
        clock.tick(at + 0.02 * rng.random() ** 2, i * 0.01)
        errors.append(clock.at(i * 0.01) - at)
    assert np.abs(errors[600:]).max() < 0.002
    assert np.abs(np.diff(errors[600:])).max() < 1e-4
    for i in range(6000, 6100):  # half a second is lost: believed when it lasts
        clock.tick(i * 0.01 * (1 + 200e-6) + 0.5, i * 0.01)
    assert clock.at(61.0) == pytest.approx(61.0 * (1 + 200e-6) + 0.5, abs=0.002)


def test_a_server_that_is_stuck_holds_nobody_up(pulse, caplog):
    with Microphone(MIC) as microphone:
        wait_for_sound(microphone)
        pulse.freeze()
        try:
            with pytest.raises(DeviceError, match="delivered nothing for .* the limit is 2 s"):
                while True:
                    microphone.read(0.1)
            microphone.close()
            assert "did not answer" in caplog.text
        finally:
            pulse.thaw()


def test_a_device_that_opens_too_late_is_closed_again():
    goes_on, shut = threading.Event(), threading.Event()
    with pytest.raises(DeviceError, match=r"a snail did not answer within 0\.1 s"):
        portaudio.with_timeout(0.1, goes_on.wait, "a snail", lambda _: shut.set())
    assert not shut.is_set()
    goes_on.set()
    assert shut.wait(60)


def test_devices_of_the_command_line(pulse):
    done = subprocess.run([sys.executable, "-m", "sonic_edge", "devices"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "ALSA lib" not in done.stderr
    assert "microphone  0: mic (" in done.stdout and "speaker " in done.stdout and "camera " in done.stdout


# ---- loudspeaker -------------------------------------------------------------------------------------------------


def simulate(line, seconds, in_ppm=0.0, out_ppm=0.0, block=160, pause=(), tone=440.0, jitter=0.0, begin_s=0.0):
    """Sound into the line and out of it by two clocks that differ; (what came out, skew at each block)."""
    rng = np.random.default_rng(0)
    out, skews = [], []
    step_in, step_out = block / RATE / (1 + in_ppm * 1e-6), block / RATE / (1 + out_ppm * 1e-6)
    n_fed = round(begin_s / step_in)
    phases = 2 * np.pi * tone * np.arange(block) / RATE
    for i in range(round(begin_s / step_out), round((begin_s + seconds) / step_out)):
        now = i * step_out
        while n_fed * step_in <= now:
            at = (n_fed + 1) * step_in
            if not any(a <= at < b for a, b in pause):
                samples = np.sin(phases + 2 * np.pi * tone * n_fed * block / RATE).astype(np.float32)
                line.push(samples, at + jitter * rng.random())
            n_fed += 1
        out.append(line.pull(block, now + 0.02))
        skews.append(line.skew_s)
    return np.concatenate(out), np.array(skews)


@pytest.mark.parametrize("ppm, seconds", [(200, 3600), (-200, 600)])
def test_an_hour_of_two_clocks_that_drift_apart(ppm, seconds):
    line = DelayLine(0.19)
    _, skews = simulate(line, seconds, in_ppm=ppm, jitter=0.004, block=1600)
    assert np.abs(skews[50:]).max() < 0.005
    assert line.n_jumps == 0 and line.n_starved == 0


@pytest.mark.parametrize("tone", [440.0, 4000.0])
def test_the_sound_stays_clean(tone):
    out, _ = simulate(DelayLine(0.19), 20, in_ppm=150, tone=tone, jitter=0.004)
    steady = out[5 * RATE : 15 * RATE]
    assert impurity(steady, tone * (1 + 150e-6)) < 0.004
    loud = np.sqrt(2) * steady.reshape(-1, 1600).std(axis=1)
    assert np.abs(loud - 1).max() < 0.01, "no swelling while the place moves between samples"


def test_a_new_delay_is_approached_gradually_or_by_a_soft_jump():
    line = DelayLine(0.19)
    simulate(line, 3)
    line.delay_s = 0.21
    _, skews = simulate(line, 20, begin_s=3)
    assert line.n_jumps == 0 and abs(skews[-1]) < 0.001
    line.delay_s = 0.4
    out, skews = simulate(line, 2, begin_s=23)
    assert line.n_jumps == 1 and abs(skews[-1]) < 0.001
    assert np.abs(np.diff(out)).max() < 1.3 * 2 * np.pi * 440 / RATE, "no click"


def test_lost_sound_is_silence_in_its_place():
    """200 ms missing: the sound before and after keeps its time."""
    line = DelayLine(0.3)
    ones = np.ones(RATE, np.float32)
    line.push(ones, 1.0)
    line.push(ones, 2.2)
    out = np.concatenate([line.pull(160, 0.9 + i * 0.01) for i in range(100)])  # heard from 0.6 on
    quiet = np.flatnonzero(out[1600:] == 0) / RATE + 0.7
    assert quiet[0] == pytest.approx(1.0, abs=0.002) and quiet[-1] == pytest.approx(1.2, abs=0.002)
    assert np.abs(np.diff(out)).max() < 0.02


def test_after_a_pause_it_is_in_time_again_and_nothing_clicks():
    line = DelayLine(0.19)
    out, skews = simulate(line, 8, pause=[(3.0, 4.0)])
    assert line.n_starved >= 1
    assert np.abs(skews[-200:]).max() < 0.005
    assert np.abs(np.diff(out)).max() < 1.3 * 2 * np.pi * 440 / RATE + 0.02
    silent = out[int(3.4 * RATE) : int(3.9 * RATE)]
    assert np.abs(silent).max() == 0


def test_nothing_heard_nothing_said():
    line = DelayLine(0.1)
    assert not line.pull(100, 5.0).any()
    line.push(np.zeros(0, np.float32), 1.0)
    assert not line.pull(100, 5.0).any()


@pytest.mark.parametrize("own", [None, (44100, 2)])
def test_a_click_leaves_the_loudspeaker_when_it_should(pulse, monkeypatch, own):
    """Pushed as if heard now, with a delay of 200 ms; measured at the sink's monitor.

    A null sink says that it plays a block after the one it is given, but its monitor has it at once. If we or the
    server are delayed there is a gap in the sound, which the device reports, and it is late for a while, which the
    speaker reports: neither may happen while five clicks are played.
    """
    if own:
        monkeypatch.setattr(portaudio, "formats", lambda *_: [own])
    environment = {**os.environ, **pulse.environment}
    command = ["parec", "-d", "speaker.monitor", "--format=s16le", f"--rate={RATE}", "--channels=1", "--latency-msec=5"]
    recorder = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, bufsize=0)
    came, recorded_s = [], [0.0]

    def record():
        n, origin = 0, None
        while True:
            data = os.read(recorder.stdout.fileno(), 1 << 14)
            if not data:
                return
            now = time.monotonic()
            samples = np.frombuffer(data[: len(data) // 2 * 2], np.int16)
            n += len(samples)
            start = now - n / RATE
            origin = start if origin is None else min(origin, start)
            loud = np.flatnonzero(np.abs(samples.astype(int)) > 15000)
            if len(loud) and (not came or n - came[-1][1] > RATE / 4):
                came.append((origin + (n - len(samples) + int(loud[0])) / RATE, n))
            recorded_s[0] = origin + n / RATE

    thread = in_background(record)
    with Speaker(SpeakerSettings(device="speaker"), delay_s=0.2, silent_s=60) as speaker:
        start = time.monotonic()
        pushed, n_underruns, n_gaps, n_jumps, even_from, n_after, i = [], 0, 0, 0, 0, 0, 0
        while n_after < 50:  # blocks after the last sound: a gap in it is reported by then
            assert i < 12_000, "in two minutes there were no four seconds without a gap"
            late_s = time.monotonic() - start - i * 0.01
            counts = speaker.state
            if late_s > 0.05 or counts.underruns != n_underruns or abs(counts.skew_ms) > 10:
                pushed, n_underruns, even_from = [], counts.underruns, i
                n_gaps += 1
            time.sleep(max(0, -late_s))
            samples = np.zeros(160, np.float32)
            if len(pushed) < 5 and i - even_from >= 150 and i % 50 == 0:
                samples[:16] = 0.9
                if not pushed:
                    n_jumps = speaker.state.jumps
                pushed.append(start + i * 0.01)
            speaker.hear(SoundBlock(samples, i * 160, start + (i + 1) * 0.01))
            n_after = n_after + 1 if len(pushed) == 5 and recorded_s[0] > pushed[-1] + 0.5 else 0
            i += 1
        counts = speaker.state
    recorder.kill()
    thread.join()
    recorder.wait()
    recorder.stdout.close()
    late = [min(c - p - 0.2 for c, _ in came if abs(c - p - 0.2) < 0.2) for p in pushed]
    assert abs(np.median(late)) < 0.03 and np.ptp(late) < 0.02, late
    assert counts.jumps == n_jumps <= n_gaps, "it jumps over gaps only"


# ---- camera ------------------------------------------------------------------------------------------------------


def film(path, pictures, fps=10):
    height, width = pictures[0].shape[:2]
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    for picture in pictures:
        out.write(picture)
    out.release()
    return str(path)


@pytest.fixture(scope="module")
def face():
    return cv2.resize(drawn().image, (320, 320))


def test_the_sharpest_good_picture_after_the_warm_up(tmp_path, face):
    dim = (face * 0.3).astype(np.uint8)
    blurred = cv2.GaussianBlur(face, (0, 0), 3)
    sharper = np.random.default_rng(0).integers(0, 255, face.shape, np.uint8)  # no face: is_good says so
    path = film(tmp_path / "camera.avi", [dim] * 8 + [blurred, blurred, sharper, face, blurred])
    asked = []

    def is_good(picture):
        asked.append(picture)
        return float(np.abs(picture.astype(int) - face).mean()) < 12

    taken = snapshot(CameraSettings(device=path, warm_up_s=0.8, n_pictures=5), is_good)
    assert np.abs(taken.astype(int) - face).mean() < 4
    assert len(asked) == 2, "the slow question is asked of the sharpest first"


def test_no_picture_is_good(tmp_path, face):
    path = film(tmp_path / "camera.avi", [face] * 20)
    with pytest.raises(RequestError, match="none of 8 pictures shows exactly one face"):
        snapshot(CameraSettings(device=path), lambda picture: False)


def test_no_camera(tmp_path):
    with pytest.raises(DeviceError, match="there is no /dev/video77; cameras: "):
        snapshot(CameraSettings(device=77), lambda picture: True)
    (tmp_path / "x.avi").write_text("no film")
    with pytest.raises(DeviceError, match="cannot be opened"):
        snapshot(CameraSettings(device=str(tmp_path / "x.avi")), lambda picture: True)
    with pytest.raises(DeviceError, match="not set"):
        snapshot(CameraSettings(), lambda picture: True)
    assert isinstance(cameras(), list)


def test_a_video_file_that_ends_gives_what_was_read(tmp_path, face):
    path = film(tmp_path / "camera.avi", [face] * 3)
    assert snapshot(CameraSettings(device=path, warm_up_s=0), lambda picture: True).shape == face.shape
    with pytest.raises(DeviceError, match="delivered no picture"):
        snapshot(CameraSettings(device=path, warm_up_s=5), lambda picture: True)


_VideoCapture = cv2.VideoCapture


class Camera:
    """A real one, to be watched or spoilt."""

    def __init__(self, *words):
        self._camera = _VideoCapture(*words)
        for name in ("isOpened", "get", "set", "grab"):
            setattr(self, name, getattr(self._camera, name))

    def read(self):
        return self._camera.read()

    def release(self):
        self._camera.release()


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_the_camera_is_always_released(tmp_path, face, monkeypatch, ends):
    released = []

    class Watched(Camera):
        def release(self):
            released.append(True)
            super().release()

        def read(self):
            if ends == "badly":
                raise cv2.error("the driver failed")
            return super().read()

    monkeypatch.setattr(cv2, "VideoCapture", Watched)
    path = film(tmp_path / "camera.avi", [face] * 20)
    if ends == "well":
        snapshot(CameraSettings(device=path), lambda picture: True)
    else:
        with pytest.raises(DeviceError, match="the driver failed"):
            snapshot(CameraSettings(device=path), lambda picture: True)
    assert released


def test_a_camera_that_never_answers(tmp_path, face, monkeypatch):
    answers = threading.Event()

    class Stuck(Camera):
        def read(self):
            answers.wait()
            return False, None

    monkeypatch.setattr(cv2, "VideoCapture", Stuck)
    path = film(tmp_path / "camera.avi", [face] * 20)
    try:
        with pytest.raises(DeviceError, match="delivered no picture in 1 s"):
            snapshot(CameraSettings(device=path, timeout_s=1, warm_up_s=0), lambda picture: True)
    finally:
        answers.set()
