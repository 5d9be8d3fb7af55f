"""Faster must look the same: the renderer beside the one in `slow_renderer`."""

from typing import Dict, List

import numpy as np
import pytest
from drawn_face import drawn
from slow_renderer import SlowRenderer

from sonic_edge.config import Controls, LimitSettings, share_dir
from sonic_edge.engine.portrait import FaceFinder, make_portrait, read_image
from sonic_edge.engine.renderer import Renderer
from sonic_edge.media import CHANNELS, Portrait

LEAST_DB = 45.0
SPEAKING = {"jaw": 0.35, "width": 0.2, "round": 0.3, "tongue": 0.3}
ALIVE = {"gaze_x": 0.4, "gaze_y": -0.3, "brow": 0.4, "yaw": 0.12, "pitch": -0.06, "roll": 0.03, "tx": 0.04, "ty": -0.03}


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Of two pictures, dB."""
    error = float(((one.astype(np.float64) - other) ** 2).mean())
    return 10 * np.log10(255**2 / max(error, 1e-9))


def poses() -> List[Dict[str, float]]:
    """What a person who speaks does, and some of it alone."""
    alone = [{name: end} for name, ends in CHANNELS.items() for end in ends]
    rng = np.random.default_rng(3)
    mixed = [{n: 0.5 * float(rng.uniform(*ends)) for n, ends in CHANNELS.items()} for _ in range(6)]
    return [{}, SPEAKING, {**SPEAKING, **ALIVE}, {**ALIVE, "blink": 0.5}, {"blink": 0.05}, *alone, *mixed]


@pytest.fixture(scope="module", params=["photo", "person", "large", "sample", "sample at 1024"])
def portrait(request: pytest.FixtureRequest) -> Portrait:
    if request.param == "photo":
        return drawn(size=(360, 440), unit=60, at=(180, 280))
    if request.param == "person":
        return drawn(size=(361, 443), unit=61, at=(180, 280), irises=True, matte=True)
    if request.param == "large":
        return drawn(size=(900, 1000), unit=230, at=(450, 600), irises=True, matte=True)
    photo = read_image(share_dir() / "samples" / "portrait.jpg", LimitSettings())
    controls = Controls(min_resolution=1024 if "1024" in request.param else 512)
    return make_portrait(photo, FaceFinder(share_dir() / "face"), controls, "portrait.jpg")


def test_every_frame_is_that_of_the_slow_renderer(portrait: Portrait) -> None:
    fast, slow = Renderer(portrait), SlowRenderer(portrait)
    for pose in poses()[:: 3 if portrait.image.shape[0] > 900 else 1]:
        found = psnr(fast.frame(pose), slow.frame(pose))
        assert found >= LEAST_DB, f"{found:.1f} dB at {pose}"


def test_they_are_two(portrait: Portrait) -> None:
    """The comparison detects frames that differ slightly."""
    fast, slow = Renderer(portrait), SlowRenderer(portrait)
    assert psnr(fast.frame({**SPEAKING, **ALIVE, "yaw": 0.14}), slow.frame({**SPEAKING, **ALIVE})) < LEAST_DB
