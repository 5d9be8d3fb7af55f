"""A snapshot: open the camera, let exposure and focus settle, keep the sharpest picture of one face, close it."""

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple, Union

import cv2
import numpy as np

from ...config import CameraSettings
from ...errors import DeviceError, RequestError
from ...media import Image

_DEFAULT_FPS = 25.0


def cameras() -> List[str]:
    """The cameras on this machine: ``/dev/video0 (name)``. Many have two devices; the first delivers pictures."""
    out = []
    for path in sorted(Path("/dev").glob("video*")):
        name = ""
        with contextlib.suppress(OSError):
            name = Path(f"/sys/class/video4linux/{path.name}/name").read_text().strip()
        out.append(f"{path} ({name})" if name else str(path))
    return out


def snapshot(settings: CameraSettings, is_good: Callable[[Image], bool]) -> Image:
    """Take a picture of the person in front of the camera.

    Args:
        settings: Which camera, how many pictures, and its time limit.
        is_good: Whether a picture shows one face that looks at the camera; called for the sharpest picture first.

    Returns:
        BGR, [height, width, 3].

    Raises:
        DeviceError: If there is no such camera, it may not be used, or it delivers nothing in time.
        RequestError: If no picture is good.
    """
    if settings.device is None:
        raise DeviceError("camera.device is not set: there is no camera")
    pictures: List[Image] = []
    error: List[BaseException] = []
    enough = threading.Event()

    def take() -> None:
        try:
            _take(settings, pictures, enough)
        except cv2.error as e:
            error.append(DeviceError(f"camera.device = {settings.device!r}: {e}"))
        except BaseException as e:
            error.append(e)

    # a stuck driver never returns: then the thread is abandoned, and the camera with it
    thread = threading.Thread(target=take, name="camera", daemon=True)
    thread.start()
    thread.join(settings.timeout_s)
    enough.set()
    if thread.is_alive():
        thread.join(1.0)
    if error:
        raise error[0]
    if not pictures:
        raise DeviceError(f"camera.device = {settings.device!r}: delivered no picture in {settings.timeout_s:g} s")
    for picture in sorted(pictures, key=_sharpness, reverse=True):  # sorted() copies: the thread may still add one
        if is_good(picture):
            return picture
    raise RequestError(
        f"camera: none of {len(pictures)} pictures shows exactly one face, close to the camera and looking at it"
    )


def _take(settings: CameraSettings, pictures: List[Image], enough: threading.Event) -> None:
    camera, fps = _open(settings)
    try:
        if fps is None:  # a camera; a file is skipped through below
            until = time.monotonic() + settings.warm_up_s
            while time.monotonic() < until and not enough.is_set():
                camera.grab()
        else:
            for _ in range(round(settings.warm_up_s * fps)):
                camera.grab()
        n_empty = 0
        while len(pictures) < settings.n_pictures and not enough.is_set():
            is_read, picture = camera.read()
            if is_read and picture is not None and picture.ndim == 3:
                pictures.append(np.asarray(picture, np.uint8))
                continue
            n_empty += 1
            if fps is not None or n_empty > 50:  # the end of a file; a camera that is gone
                break
            time.sleep(0.02)
    finally:
        camera.release()


def _open(settings: CameraSettings) -> Tuple[Any, Optional[float]]:
    """An open camera, and its frame rate if it is a file."""
    device = settings.device
    assert device is not None
    path = _path(device)
    is_camera = isinstance(device, int) or path.startswith("/dev/")
    if not Path(path).exists():
        present = ", ".join(cameras()) or "none"
        raise DeviceError(f"camera.device = {device!r}: there is no {path}; cameras: {present}")
    if not os.access(path, os.R_OK | (os.W_OK if is_camera else 0)):
        raise DeviceError(f"camera.device = {device!r}: {path} may not be used; the user must be in the group video")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)  # our own message replaces what OpenCV prints
    try:
        camera = cv2.VideoCapture(path, cv2.CAP_V4L2 if is_camera else cv2.CAP_FFMPEG)
        if not camera.isOpened():
            camera.release()
            raise DeviceError(f"camera.device = {device!r}: {path} cannot be opened; it may be in use, or not a camera")
        if not is_camera:
            return camera, float(camera.get(cv2.CAP_PROP_FPS)) or _DEFAULT_FPS
        # at this size most cameras reach their full frame rate only with MJPEG
        camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        camera.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        camera.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        return camera, None
    finally:
        cv2.utils.logging.setLogLevel(level)


def _path(device: Union[int, str]) -> str:
    return f"/dev/video{device}" if isinstance(device, int) else device


def _sharpness(picture: Image) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) in the middle of the picture, where the person is."""
    height, width = picture.shape[:2]
    middle = picture[height // 8 : height - height // 8, width // 4 : width - width // 4]
    return float(cv2.Laplacian(cv2.cvtColor(middle, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var())
