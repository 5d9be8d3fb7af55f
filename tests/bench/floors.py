"""What nothing that makes such pictures can be cheaper than, or is: to hold our own costs beside."""

from pathlib import Path
from typing import Callable, Tuple

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

LAYERS = ((24, 2), (32, 1), (64, 2), (64, 1), (12, 1))
"""Of the proxy: channels and stride of its 3x3 convolutions, from a face of 96x96 on."""
MMAC = 52.0
"""Millions of multiply-adds a frame that its time is scaled to: the lightest neural mouth that we know of."""


def plain_remap(size: int, n: int) -> Callable[[], int]:
    """One remap of a whole picture through float maps: the cost of a warp that does nothing else."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 2), np.uint8)
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    x = (x + 3 * np.sin(y / 40)).astype(np.float32)
    y = (y + 3 * np.cos(x / 40)).astype(np.float32)

    def work() -> int:
        for _ in range(n):
            cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return n

    return work


def neural_proxy(folder: Path, n: int) -> Callable[[], int]:
    """A network as large as the lightest of our peers' runs once per frame; its time is scaled to `MMAC`."""
    path = folder / "proxy.onnx"
    mmac = _write_proxy(path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    face = {"face": np.random.default_rng(0).random((1, 3, 96, 96), dtype=np.float32)}

    def work() -> int:
        for _ in range(round(n * MMAC / mmac)):
            session.run(None, face)
        return n

    return work


def _write_proxy(path: Path) -> float:
    """Convolutions and ReLUs; how many millions of multiply-adds it has."""
    rng = np.random.default_rng(1)
    nodes, weights, channels, side, macs, last = [], [], 3, 96, 0, "face"
    for i, (out, stride) in enumerate(LAYERS):
        side //= stride
        weight = (rng.standard_normal((out, channels, 3, 3)) / np.sqrt(9 * channels)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(
            helper.make_node(
                "Conv", [last, f"w{i}"], [f"c{i}"], strides=[stride] * 2, pads=[1] * 4, kernel_shape=[3, 3]
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        macs += weight.size * side * side
        last, channels = f"r{i}", out
    shapes: Tuple[Tuple[str, Tuple[int, ...]], ...] = (("face", (1, 3, 96, 96)), (last, (1, channels, side, side)))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes]
    graph = helper.make_graph(nodes, "proxy", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return macs / 1e6
