"""The life teacher: seeded, bounded, and as its sources say; and the windows that the denoiser is taught on."""

import numpy as np
import pytest

from models import life
from sonic_edge import media

FPS = int(life.FPS)


def portrait(**unusual: float) -> np.ndarray:
    """A frontal face with open eyes, except as given."""
    face = {"mouth_width": 0.85, "lips": 0.22, "eye_opening": 0.16, **unusual}
    return np.array([face.get(name, 0.0) for name in life.FACE], np.float32)


def talk(seconds: int, seed: int = 5) -> np.ndarray:
    """Loudness of somebody who talks three seconds in four, with a stress every third of a second, [25 seconds]."""
    frame = np.arange(seconds * FPS)
    loud = (
        0.6 + 0.3 * np.sin(2 * np.pi * 3 * frame / FPS) + 0.05 * np.random.default_rng(seed).standard_normal(len(frame))
    )
    return np.clip(loud, 0, 1) * (frame % 100 < 75)


def named(take: np.ndarray) -> "dict[str, np.ndarray]":
    return dict(zip(life.CHANNELS, take.T))


@pytest.fixture(scope="module")
def take() -> "dict[str, np.ndarray]":
    """Ten minutes: ten people, a minute each."""
    return named(np.concatenate([life.sample(talk(60), portrait(), np.random.default_rng(seed)) for seed in range(10)]))


def onsets(blink: np.ndarray) -> np.ndarray:
    return np.flatnonzero((blink[1:] > 0.5) & (blink[:-1] <= 0.5)) + 1


def test_a_take_is_its_seeds_and_within_what_the_renderer_can_do() -> None:
    one, same, other = (life.sample(talk(20), portrait(yaw=0.6), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    for name, values in named(one).items():
        low, high = media.CHANNELS[name]
        assert low <= values.min() and values.max() <= high, name


def test_life_starts_at_the_portrait_and_stays_about_it(take: "dict[str, np.ndarray]") -> None:
    assert max(abs(values[0]) for values in take.values()) < 1e-3
    for name in ("yaw", "pitch", "roll", "tx", "ty"):
        assert abs(take[name].mean()) < 0.3 * take[name].std(), name


def test_blinks_are_whole_and_as_many_as_speakers_do(take: "dict[str, np.ndarray]") -> None:
    begun = onsets(take["blink"])
    assert 16 < len(begun) / 10 < 30
    assert min(take["blink"][frame : frame + 5].max() for frame in begun) > 0.9
    rng = np.random.default_rng(0)
    for shape in (life.blink_shape(rng) for _ in range(50)):
        assert 4 <= (shape > 0.1).sum() <= 8  # 160-320 ms
        assert shape.argmax() <= (shape > 0.1).nonzero()[0].mean()  # down is quicker than up


def test_blinks_are_more_frequent_at_phrase_ends(take: "dict[str, np.ndarray]") -> None:
    place = onsets(take["blink"]) % 100
    assert ((place > 68) & (place <= 82)).mean() > 1.8 * 0.14


def test_glances_leave_the_viewer_and_come_back(take: "dict[str, np.ndarray]") -> None:
    look = take["gaze_x"] + take["yaw"] / life.GAZE_RADIANS
    assert 0.6 < (np.abs(look) < 0.25).mean() < 0.95
    assert 0.3 < (np.abs(np.diff(look)) > 0.2).sum() / 600 < 1.5


def test_eyes_hold_still_in_the_room_while_the_head_moves(take: "dict[str, np.ndarray]") -> None:
    look = take["gaze_x"] + take["yaw"] / life.GAZE_RADIANS
    still = np.abs(np.diff(look)) < 0.02
    assert still.mean() > 0.8
    assert np.corrcoef(np.diff(take["gaze_x"])[still], np.diff(take["yaw"])[still])[0, 1] < -0.95


def test_the_head_nods_on_stress_and_is_stiller_in_pauses() -> None:
    level = talk(600)
    pitch, accent = np.zeros(len(level)), life.stress(level)
    for seed in range(8):
        pitch += named(life.sample(level, portrait(), np.random.default_rng(seed)))["pitch"]
    assert max(np.corrcoef(accent[:-lag], pitch[lag:])[0, 1] for lag in range(1, 4)) > 0.3
    level = np.where(np.arange(15000) % 500 < 250, level, 0)  # ten seconds of talk, ten of silence
    for name in ("yaw", "pitch", "roll", "tx"):
        speed = np.abs(np.diff(named(life.sample(level, portrait(), np.random.default_rng(3)))[name]))
        place = np.arange(len(speed)) % 500
        quiet, loud = speed[place > 300].mean(), speed[(place > 50) & (place < 240)].mean()
        assert 0.1 * loud < quiet < 0.6 * loud, name


def test_sizes_are_those_of_speakers_on_video(take: "dict[str, np.ndarray]") -> None:
    roll = np.degrees([np.ptp(part) for part in take["roll"].reshape(-1, 200)])  # 8 s each
    assert 5 < roll.mean() < 8
    nose = np.stack([take["tx"] + 0.52 * np.sin(take["yaw"]), take["ty"] + 0.52 * np.sin(take["pitch"])])
    assert 0.25 < np.hypot(*np.diff(nose, axis=1)).sum() / 600 < 0.45


def test_shut_eyes_neither_blink_nor_glance_and_narrow_ones_less() -> None:
    shut, narrow, wide = (
        named(life.sample(talk(300), portrait(eye_opening=opening), np.random.default_rng(2)))
        for opening in (0.01, 0.055, 0.14)
    )
    assert shut["blink"].max() == 0 and np.abs(shut["gaze_x"]).max() == 0
    assert 0.25 < len(onsets(narrow["blink"])) / len(onsets(wide["blink"])) < 0.8
    assert narrow["blink"].max() > 0.9  # fewer, not halfway
    assert narrow["gaze_x"].std() < 0.8 * wide["gaze_x"].std()


@pytest.mark.parametrize("name", ["yaw", "pitch"])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_turned_head_comes_back_towards_the_viewer_and_turns_less(name: str, side: int) -> None:
    ahead = named(life.sample(talk(300), portrait(), np.random.default_rng(2)))[name]
    turned = named(life.sample(talk(300), portrait(**{name: 0.35 * side}), np.random.default_rng(2)))[name]
    assert -0.14 < side * turned[2 * FPS :].mean() < -0.08
    assert turned[2 * FPS :].std() < 0.75 * ahead[2 * FPS :].std()
