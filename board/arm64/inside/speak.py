"""Compute the sample on this processor: ``python speak.py RECORDING SHORT_SIDE OUT.npz``, with the product's Python.

Portrait, motion and pictures before they are encoded: an encoder's own losses would hide small differences.
"""

import sys
from pathlib import Path

import numpy as np

from sonic_edge.config import Config, share_dir, with_controls
from sonic_edge.engine.motion.network import SonicNet, face_image
from sonic_edge.engine.motion.shape import shape_motion
from sonic_edge.engine.portrait import FaceFinder, make_portrait, read_image
from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.speech import read_speech
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.store import find_bundle


def main() -> None:
    """Make and keep it."""
    recording, short_side, out = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    config = with_controls(Config(), {"min_resolution": short_side}, "speak.py")
    controls = config.controls
    photo = share_dir() / "samples/portrait.jpg"
    portrait = make_portrait(read_image(photo, config.limits), FaceFinder(share_dir() / "face"), controls, photo.name)
    bundle, backend = find_bundle("sonic-net"), CpuBackend(1)
    sessions = [backend.open(bundle.stage(name, "cpu")) for name in ("encoder", "denoiser")]
    speech = read_speech(recording, bundle.mel, config.limits)
    face = face_image(portrait, bundle)
    raw = SonicNet(bundle, *sessions).motion(
        speech, face, controls.inference_steps, controls.seed, lambda done, total: None
    )
    n_frames = round(speech.duration_s * controls.fps)
    motion = shape_motion(raw, bundle.motion.closure, controls, n_frames, speech.duration_s)
    renderer = Renderer(portrait)
    pictures = np.stack([renderer.frame(motion.frame(i)) for i in range(n_frames)])
    np.savez(
        out,
        landmarks=portrait.landmarks,
        mel=speech.mel,
        channels=np.array(motion.channels),
        motion=motion.values,
        pictures=pictures,
    )


if __name__ == "__main__":
    main()
