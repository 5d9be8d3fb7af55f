"""What cannot be tried without MindSpore: the network's own cells and the batches it learns from.

models/.venv/bin/python -m pytest models/tests/needs_mindspore.py
"""

import numpy as np
import pytest
from mindspore import Tensor

from models import batches, faces, life, read_faces
from models.batches import face_batch
from models.export import multiplications
from models.network import FACE, FACE_TYPICAL, FRAMES, N_VISEMES, Denoiser, Encoder, Rest, Shut


def visemes(silent: slice) -> np.ndarray:
    """Probabilities [1, 16, 40] of a window that is silent in a stretch and an "a" elsewhere."""
    out = np.zeros((1, N_VISEMES, FRAMES), np.float32)
    out[:, 12] = 1
    out[:, :, silent] = np.eye(N_VISEMES, dtype=np.float32)[0][:, None]
    return out


def test_lips_rest_in_a_pause_and_not_in_the_closure_of_a_stop() -> None:
    lips = np.full((1, 5, FRAMES), 0.5, np.float32)
    paused = Rest()(Tensor(lips), Tensor(visemes(slice(10, 24)))).asnumpy()[0, 0]
    assert paused[12:22].max() < 0.01 and paused[:6].min() == paused[28:].min() == 0.5
    stopped = Rest()(Tensor(lips), Tensor(visemes(slice(18, 20)))).asnumpy()[0, 0]
    assert stopped.min() == 0.5


def test_lips_shut_where_both_are_sure_and_not_where_one_is_alone() -> None:
    said = np.full((1, N_VISEMES, 3), 0.02, np.float32)
    said[0, 1] = 0.9, 0.9, 0.001
    shut = Shut()(Tensor(np.float32([[[2.0, -4.0, 1.0]]])), Tensor(said)).asnumpy()[0, 0]
    assert shut[0] > 0.8 and shut[1] < 0.3 and shut[2] < 0.3


def test_the_graphs_are_within_what_the_board_can_do() -> None:
    assert multiplications(Encoder(np.zeros((N_VISEMES, 5), np.float32))) < 60e6
    assert multiplications(Denoiser()) < 10e6


def test_heads_held_out_are_not_trained_on() -> None:
    n = 40
    source = np.array([0, 1, 2, faces.HELD_OUT] * (n // 4))
    pictures = np.zeros((n, 224, 224), np.uint8)
    answers = np.tile(source[:, None].astype(np.float32), (1, 7))
    answers[:, FACE.index("yaw")] = 0
    material = faces.Material(pictures, answers, source)
    _, drawn = face_batch(np.random.default_rng(0), 30, material)
    assert len(drawn) == 30 and drawn[:, 0].max() < faces.HELD_OUT
    assert (material.held_out().answers[:, 0] == faces.HELD_OUT).all()


def test_a_typical_face_moves_its_lips_as_they_come_and_a_smile_does_not() -> None:
    typical = np.array(FACE_TYPICAL, np.float32)
    smile = typical + np.float32([0.1, 0.3, 0.4, 0, 0, 0, 0])
    as_they_come, smiling = read_faces.lips_in(np.stack([typical, smile]))
    assert as_they_come == pytest.approx(np.array(list(read_faces.SOUNDS.values()))[:, :3], abs=1e-5)
    assert smiling[1, 1] < as_they_come[1, 1] - 0.1  # "e" has less far to go
    lines = read_faces.what_the_face_adds(np.stack([typical, smile]), np.stack([typical, smile]))
    exact, without = ([float(x) for x in line.split()[2:]] for line in lines[1:])
    assert max(exact) < 1e-5 and max(without) > 0.05


def test_windows_know_any_number_of_frames_and_what_is_before_a_clip() -> None:
    assert FACE == life.FACE
    rng = np.random.default_rng(0)
    starts = batches.life_starts(rng, 400).reshape(100, 4)
    level = np.full((100, batches.LIFE_STREAM), 0.8)
    face, motion, known = batches.life_takes(level, starts, rng)
    assert face.shape == (400, len(FACE)) and motion.shape == (400, 9, 40) and known.shape == (400, 40)
    n_known = known.sum(1).astype(int)
    assert {0, 16, 38} <= set(n_known.tolist()) and len(set(n_known.tolist())) > 25
    for first, count, window in zip(starts.ravel(), n_known, motion):
        before = max(0, batches.LEAD - first)
        assert count >= min(before, 39) and not window[:, :before].any()
