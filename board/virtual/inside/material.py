"""Sound and pictures for the checks of tier 2, made from the product's samples: ``python material.py FOLDER``."""

import shutil
import sys
import wave
from pathlib import Path

import av
import cv2
import numpy as np

SAMPLES = Path("/opt/sonic-edge/current/share/sonic-edge/samples")
RATE, SECONDS = 48000, 3
CAMERA = 640, 480


def main() -> None:
    """A short recording, the portrait, and the camera's picture: the portrait mirrored."""
    out = Path(sys.argv[1])
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(SAMPLES / "speech.flac")) as film:
        pieces = [p.to_ndarray().ravel() for f in film.decode(audio=0) for p in resampler.resample(f)]
    with wave.open(str(out / "short.wav"), "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(np.concatenate(pieces)[: RATE * SECONDS].tobytes())
    shutil.copy(SAMPLES / "portrait.jpg", out)
    photo = np.asarray(cv2.imread(str(SAMPLES / "portrait.jpg")), np.uint8)[:, ::-1]
    width, height = CAMERA
    scale = min(width / photo.shape[1], height / photo.shape[0])
    photo = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    seen = np.full((height, width, 3), 128, np.uint8)
    top, left = (height - photo.shape[0]) // 2, (width - photo.shape[1]) // 2
    seen[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
    (out / "camera.bgr").write_bytes(seen.tobytes())


if __name__ == "__main__":
    main()
