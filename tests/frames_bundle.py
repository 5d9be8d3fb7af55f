"""Bundles that paint faces, made on the spot: real networks whose weights are random, or which do one plain thing.

Two shapes: like Wav2Lip's generator (16 mel frames of its own kind, 96 pixels, the face with its lower half black and
the whole one), and like a distilled Sonic (1.6 s of mel, 224 pixels, the face).
"""

import copy
import hashlib
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

SHAPES: Dict[str, Dict[str, Any]] = {
    "wav2lip": {
        "mel": {
            **{"sample_rate": 16000, "n_fft": 800, "hop": 200, "n_mels": 80, "fmin": 55.0, "fmax": 7600.0},
            **{"floor": 1e-10, "speech_db": 30.0, "clip": [-8.0, 2.0], "scale": 1.25},
            **{"bands": "slaney", "summed": "magnitude", "preemphasis": 0.97, "normalise": "range"},
        },
        "window": {"mel_frames": 16, "start_s": -0.04, "fps": 25.0},
        "stream": {"look_ahead_s": 0.16},
        "crop": {"size": 96, "margins": [0.0, -0.1, 0.0, 0.08]},
        "picture": {"given": ["blanked", "face"], "channels": "bgr", "range": [0.0, 1.0]},
        "paste": {"box": [0.05, 0.5, 0.95, 1.0], "feather": 0.12},
    },
    "sonic": {
        "mel": {
            **{"sample_rate": 16000, "n_fft": 400, "hop": 160, "n_mels": 80, "fmin": 0.0, "fmax": 8000.0},
            **{"floor": 1e-10, "speech_db": 30.0, "clip": [-3.5, 2.5], "scale": 0.8},
        },
        "window": {"mel_frames": 160, "start_s": -0.8, "fps": 25.0},
        "stream": {"look_ahead_s": 0.1, "prior": [-5.0] * 80},
        "crop": {"size": 224, "eye_left": [0.34, 0.4], "eye_right": [0.66, 0.4]},
        "picture": {"given": ["face"], "channels": "rgb", "range": [-1.0, 1.0]},
        "paste": {"box": [0.15, 0.52, 0.85, 0.98], "feather": 0.1},
    },
}
BLOB = (0.5, 0.76)
"""Where `blob` and `meter` paint a soft light spot: x and y as shares of the crop."""
BLOB_WIDTH = 0.05
"""Its standard deviation."""


class _Graph:
    """Nodes and weights, added one after the other."""

    def __init__(self) -> None:
        self.nodes: List[Any] = []
        self.weights: List[Any] = []
        self._rng = np.random.default_rng(7)

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, output: Optional[str] = None, **attributes: object) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def random(self, *shape: int) -> str:
        spread = np.sqrt(2 / (shape[0] if len(shape) == 2 else np.prod(shape[1:])))
        return self.constant(self._rng.standard_normal(shape) * spread)

    def conv(self, x: str, n_in: int, n_out: int, **attributes: object) -> str:
        return self.add("Conv", x, self.random(n_out, n_in, 3, 3), pads=[1, 1, 1, 1], **attributes)


def _random(g: _Graph, n_given: int, spec: Dict[str, Any]) -> str:
    """A small encoder and decoder, the sound added in the middle; nothing is learnt, so the mouth is noise."""
    n_heard = 2 * spec["mel"]["n_mels"] // 4 * spec["window"]["mel_frames"] // 2
    sound = g.add("Relu", g.conv("speech", 1, 2, strides=[4, 2]))
    sound = g.add("Reshape", sound, g.constant([1, n_heard], np.int64))
    sound = g.add("Tanh", g.add("MatMul", sound, g.random(n_heard, 12 * 16)))
    sound = g.add("Reshape", sound, g.constant([1, 12, 4, 4], np.int64))
    wider = g.constant([1.0, 1.0, spec["crop"]["size"] / 16, spec["crop"]["size"] / 16])
    sound = g.add("Resize", sound, "", wider, mode="linear", coordinate_transformation_mode="half_pixel")
    face = g.add("Relu", g.conv("face", n_given, 8, strides=[2, 2]))
    face = g.add("Relu", g.conv(face, 8, 12, strides=[2, 2]))
    both = g.add("Relu", g.add("Add", face, sound))
    up = g.constant([1.0, 1.0, 2.0, 2.0])
    for _ in range(2):
        both = g.add("Resize", both, "", up, mode="linear", coordinate_transformation_mode="half_pixel")
        both = g.add("Relu", g.conv(both, 12, 12))
    squashed = g.add("Sigmoid", g.conv(both, 12, 3))
    low, high = spec["picture"]["range"]
    scaled = g.add("Mul", squashed, g.constant(high - low))
    return g.add("Add", scaled, g.constant(low))


def _face(g: _Graph, n_given: int) -> str:
    """The whole face: the last three channels."""
    ends = (g.constant([v], np.int64) for v in (n_given - 3, n_given, 1))
    return g.add("Slice", "face", *ends)


def _identity(g: _Graph, n_given: int, spec: Dict[str, Any]) -> str:
    return _face(g, n_given)


def _spot(spec: Dict[str, Any]) -> np.ndarray:
    size, (low, high) = spec["crop"]["size"], spec["picture"]["range"]
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    far = (x - BLOB[0]) ** 2 + (y - BLOB[1]) ** 2
    return (high - low) * 0.3 * np.exp(-far / (2 * BLOB_WIDTH**2))[None, None]


def _blob(g: _Graph, n_given: int, spec: Dict[str, Any]) -> str:
    """The face with a light spot."""
    return g.add("Add", _face(g, n_given), g.constant(_spot(spec)))


def _meter(g: _Graph, n_given: int, spec: Dict[str, Any]) -> str:
    """The face with a spot as light as the window is loud."""
    loud = g.add("ReduceMean", "speech", axes=[0, 1, 2, 3], keepdims=1)
    spot = g.add("Mul", loud, g.constant(_spot(spec) / 4))
    return g.add("Add", _face(g, n_given), spot)


def _broken(g: _Graph, n_given: int, spec: Dict[str, Any]) -> str:
    """Not a number anywhere."""
    return g.add("Log", g.add("Sub", _face(g, n_given), g.constant(1e6)))


_NETWORKS: Dict[str, Callable[..., str]] = {
    "random": _random,
    "identity": _identity,
    "blob": _blob,
    "meter": _meter,
    "broken": _broken,
}


def describe(shape: str) -> Dict[str, Any]:
    """Its bundle.yaml but for the files."""
    spec = copy.deepcopy(SHAPES[shape])
    size, n_given = spec["crop"]["size"], 3 * len(spec["picture"]["given"])
    inputs = {"speech": [1, 1, spec["mel"]["n_mels"], spec["window"]["mel_frames"]], "face": [1, n_given, size, size]}
    return {
        "format": 1,
        "name": f"painted-{shape}",
        "version": "0.1.0",
        "licence": "Apache-2.0",
        "kind": "frames",
        **spec,
        "tensors": {"speech": "speech", "face": "face", "picture": "picture"},
        "stages": {
            "painter": {
                "inputs": {name: {"shape": dims} for name, dims in inputs.items()},
                "outputs": {"picture": {"shape": [1, 3, size, size]}},
                "files": {},
            }
        },
    }


def frames_bundle(
    folder: Path, shape: str, network: str = "random", change: Optional[Callable[[Dict[str, Any]], None]] = None
) -> Path:
    """Make a bundle.

    Args:
        folder: Where; made when missing.
        shape: wav2lip or sonic.
        network: random, identity, blob, meter or broken.
        change: Edits what bundle.yaml will say; the network goes by what it said before.

    Returns:
        The folder.
    """
    spec = describe(shape)
    painter = spec["stages"]["painter"]
    graph = _Graph()
    made = _NETWORKS[network](graph, painter["inputs"]["face"]["shape"][1], spec)
    graph.add("Identity", made, output="picture")
    sides = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, t["shape"]) for name, t in side.items()]
        for side in (painter["inputs"], painter["outputs"])
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, network, *sides, graph.weights),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "painter.onnx").write_bytes(data)
    painter["files"]["cpu"] = {"path": "painter.onnx", "sha256": hashlib.sha256(data).hexdigest()}
    if change is not None:
        change(spec)
    (folder / "bundle.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return folder
