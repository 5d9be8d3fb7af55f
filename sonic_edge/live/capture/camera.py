"""A snapshot: open the camera, let it find light and focus, take the sharpest picture of one face, close it."""

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
    """The cameras there are: ``/dev/video0 (name)``. Many show two devices, of which the first gives pictures."""
    out = []
    for path in sorted(Path("/dev").glob("video*")):
        name = ""
        with contextlib.suppress(OSError):
            name = Path(f"/sys/class/video4linux/{path.name}/name").read_text().strip()
        out.append(f"{path} ({name})" if name else str(path))
    return out


def snapshot(settings: CameraSettings, is_good: Callable[[Image], bool]) -> Image:
    """Take a picture of who stands before the camera.

    Args:
        settings: Which camera, and how patient to be.
        is_good: Whether a picture shows one face that looks at the camera; asked of the sharpest first.

    Returns:
        BGR, [height, width, 3].

    Raises:
        DeviceError: If there is no such camera, it may not be used, or delivers nothing in time.
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

    # a driver that is stuck never returns: the thread is left behind then, and the camera with it
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
    for picture in sorted(pictures, key=_sharpness, reverse=True):  # of a copy: the thread may still add one
        if is_good(picture):
            return picture
    raise RequestError(
        f"camera: none of {len(pictures)} pictures shows one person who looks at the camera from close by"
    )


def _take(settings: CameraSettings, pictures: List[Image], enough: threading.Event) -> None:
    camera, fps = _open(settings)
    try:
        if fps is None:  # a camera: time passes by itself
            until = time.monotonic() + settings.warm_up_s
            while time.monotonic() < until and not enough.is_set():
                camera.grab()
        else:
            for _ in range(round(settings.warm_up_s * fps)):
                camera.grab()
        n_empty = 0
        while len(pictures) < settings.n_pictures and not enough.is_set():
            came, picture = camera.read()
            if came and picture is not None and picture.ndim == 3:
                pictures.append(np.asarray(picture, np.uint8))
                continue
            n_empty += 1
            if fps is not None or n_empty > 50:  # a file is over; a camera is gone
                break
            time.sleep(0.02)
    finally:
        camera.release()


def _open(settings: CameraSettings) -> Tuple[Any, Optional[float]]:
    """An open camera; and the rate of the pictures, if it is a file."""
    device = settings.device
    assert device is not None
    path = _path(device)
    is_camera = isinstance(device, int) or path.startswith("/dev/")
    if not Path(path).exists():
        there = ", ".join(cameras()) or "none"
        raise DeviceError(f"camera.device = {device!r}: there is no {path}; cameras here: {there}")
    if not os.access(path, os.R_OK | (os.W_OK if is_camera else 0)):
        raise DeviceError(f"camera.device = {device!r}: {path} may not be used; the user must be in the group video")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)  # what it prints is said in our words
    try:
        camera = cv2.VideoCapture(path, cv2.CAP_V4L2 if is_camera else cv2.CAP_FFMPEG)
        if not camera.isOpened():
            camera.release()
            raise DeviceError(f"camera.device = {device!r}: {path} cannot be opened; it may be in use, or no camera")
        if not is_camera:
            return camera, float(camera.get(cv2.CAP_PROP_FPS)) or _DEFAULT_FPS
        # at this size most cameras are quick only in MJPEG
        camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        camera.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        camera.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        return camera, None
    finally:
        cv2.utils.logging.setLogLevel(level)


def _path(device: Union[int, str]) -> str:
    return f"/dev/video{device}" if isinstance(device, int) else device


def _sharpness(picture: Image) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of the middle, where the person is."""
    height, width = picture.shape[:2]
    middle = picture[height // 8 : height - height // 8, width // 4 : width - width // 4]
    return float(cv2.Laplacian(cv2.cvtColor(middle, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var())
