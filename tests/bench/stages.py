"""Each stage on its own, on the sample photo and recording."""

import tempfile
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List

import cv2
import numpy as np

from sonic_edge.config import Controls, EncodeSettings, LabelSettings, LimitSettings, share_dir
from sonic_edge.engine.encode.mp4 import Mp4
from sonic_edge.engine.label import Label
from sonic_edge.engine.mirror import Mirror
from sonic_edge.engine.motion.network import face_image
from sonic_edge.engine.motion.performer import MotionPerformer
from sonic_edge.engine.motion.shape import shape_motion
from sonic_edge.engine.portrait import FaceFinder, make_portrait, read_image
from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.speech import read_speech, sound
from sonic_edge.media import Image, Motion, Portrait, SoundBlock, Speech
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.store import find_bundle

PHOTO = share_dir() / "samples" / "portrait.jpg"
FPS = 25


def recording(folder: Path, seconds: float) -> Path:
    """The sample recording, again and again, as long as is asked for: 48 kHz, 16 bit, mono."""
    path = folder / f"{seconds:g}s.wav"
    if not path.exists():
        heard = np.concatenate(list(sound(share_dir() / "samples" / "speech.flac")), axis=1)[0]
        samples = np.rint(np.clip(np.resize(heard, round(seconds * 48000)), -1, 1) * 32767).astype("<i2")
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(48000)
            file.writeframes(samples.tobytes())
    return path


@dataclass
class Material:
    """What the stages work on: one portrait, ten seconds of it speaking."""

    size: int
    performer: MotionPerformer
    portrait: Portrait
    path: Path
    speech: Speech
    motion: Motion
    label: Label
    renderer: Renderer
    pictures: List[Image]

    @classmethod
    def make(cls, size: int, folder: Path, seconds: float = 10.0) -> "Material":
        """Work everything out once; one thread for each runtime."""
        controls = Controls(min_resolution=size)
        bundle, backend = find_bundle("sonic-net"), CpuBackend(1)
        performer = MotionPerformer(bundle, *(backend.open(bundle.stage(n, "cpu")) for n in ("encoder", "denoiser")))
        net = performer.net
        photo = read_image(PHOTO, LimitSettings())
        portrait = make_portrait(photo, FaceFinder(share_dir() / "face"), controls, PHOTO.name)
        path = recording(folder, seconds)
        speech = read_speech(path, bundle.mel, LimitSettings())
        raw = net.motion(speech, face_image(portrait, bundle), controls.inference_steps, 0, lambda done, total: None)
        motion = shape_motion(raw, bundle.spec.closure, controls, round(seconds * FPS), speech.duration_s)
        height, width = portrait.image.shape[:2]
        label, renderer = Label(width, height, LabelSettings()), Renderer(portrait)
        pictures = []
        for i in range(len(motion)):
            pictures.append(renderer.frame(motion.frame(i)))
            label.draw(pictures[-1])
        return cls(size, performer, portrait, path, speech, motion, label, renderer, pictures)

    def before_pictures(self) -> Dict[str, Callable[[], int]]:
        """From sound to motion; a piece is a second of speech."""
        net, controls, seconds = self.performer.net, Controls(), round(self.speech.duration_s)
        bundle = net.bundle
        face = face_image(self.portrait, bundle)
        raw = net.motion(self.speech, face, 1, 0, lambda done, total: None)

        def hear() -> int:
            read_speech(self.path, bundle.mel, LimitSettings())
            return seconds

        def think() -> int:
            net.motion(self.speech, face, controls.inference_steps, 0, lambda done, total: None)
            return seconds

        def shape() -> int:
            shape_motion(raw, bundle.spec.closure, controls, len(self.motion), self.speech.duration_s)
            return seconds

        return {"speech": hear, "model": think, "motion": shape}

    def pictures_to_file(self, n: int) -> Dict[str, Callable[[], int]]:
        """From motion to file; a piece is a picture."""
        height, width = self.portrait.image.shape[:2]
        planes = [np.asarray(cv2.cvtColor(p, cv2.COLOR_BGR2YUV_I420), np.uint8) for p in self.pictures]

        def render() -> int:
            for i in range(n):
                self.label.draw(self.renderer.frame(self.motion.frame(i * len(self.motion) // n)))
            return n

        def convert() -> int:
            for picture in self.pictures[:n]:
                cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
            return n

        def encoding(preset: str) -> Callable[[], int]:
            def work() -> int:
                with tempfile.TemporaryDirectory() as folder:
                    settings = EncodeSettings.model_validate({"preset": preset})
                    file = Mp4(Path(folder) / "x.mp4", len(planes), FPS, (width, height), 0, "", settings)
                    for picture in planes:
                        file.add_planes(picture)
                    file.finish()
                return len(planes)

            return work

        cases = {"render": render, "convert": convert}
        return {**cases, **{f"encode {p}": encoding(p) for p in ("ultrafast", "veryfast", "faster")}}

    def mirror(self, seconds: float) -> Callable[[], int]:
        """The portrait speaks while sound comes in, everything but the screen; a piece is a second of sound."""
        rate = self.performer.bundle.mel.sample_rate
        samples = np.resize(np.concatenate(list(sound(self.path)), axis=1)[0][::3], round(seconds * rate))
        samples = np.ascontiguousarray(samples, np.float32)

        # made once, as in a box that runs all day
        mirror = Mirror(self.performer, self.portrait, self.label, Controls())

        def work() -> int:
            step = rate // 100
            for at in range(0, len(samples), step):
                for cue in mirror.hear(SoundBlock(samples[at : at + step], at, time.monotonic())):
                    mirror.draw(cue.pose)
            return round(seconds)

        return work
