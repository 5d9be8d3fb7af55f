"""Quantises the exported graphs to INT8 and assembles the bundle.

    python -m models.quantize [--trained models/build/trained] [--bundle models/bundles/sonic-net]

Static QDQ: symmetric signed weights per channel, activations with a zero point, calibrated on windows of the corpus.
Then `widen` turns splices into ordinary convolutions. onnxruntime runs it as it is; `models.convert` rewrites it for
Ascend's AMCT. Only convolutions and dense layers are INT8; the sums and curves between them stay float.
"""

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import numpy as np
import onnx
import onnxruntime as ort
import yaml
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from models import BUILD, BUNDLE, life, teacher
from models.batches import PAST, Corpus, face_batch, life_batch, speech_batch
from models.export import INPUTS, OUTPUTS
from models.life import FACE
from models.network import FACE_SPREAD, FACE_TYPICAL, FRAMES, MEL_FRAMES, N_LIFE
from models.phonemes import VISEME_OF
from models.widen import widened
from sonic_edge.model.mel import MelSettings, speech_shape

Feeds = Dict[str, NDArray[np.float32]]
N_CALIBRATION = 120
VERSION = "0.2.0"
LOOK_AHEAD = 2
"""Frames of a window after the one that is taken of it while sound is still arriving: 80 ms."""
LEAD_S = 0.03
"""How far the lips lead the sound as they come out of the network. Speakers' lips lead their sound by some tens
of milliseconds (Schwartz & Savariaux 2014), and so are the teacher's, which move towards a sound before it is heard:
another 30 ms would make them agree less with people on video, by .05 of r."""
CLOSURE = {"enter": 0.4, "leave": 0.32, "max_frames": 3}
"""Above enter the lips shut, and stay shut while above leave: set on real speech (`models.aligned`) to detect as many
closures as possible without too many false ones."""
LIFE_NOISE = [1.1, 1.0, 1.0, 1.0, 0.9, 0.9, 0.9, 0.9, 0.9]
STREAM_NOISE = [1.03, 1.2, 1.3, 1.15, 1.1, 1.03, 1.05, 1.0, 1.0]
"""Spread of the noise for blink, brow, gaze and head: with these, blinks, glances and head movement are about as
frequent and large as the teacher's; with 1 they are less or more. The first set by `models.evaluate_life`, the second,
for ten frames of life at a time, by hand on a few recordings of real speech."""
TONGUE = sorted({VISEME_OF[phoneme] for phoneme in "lθ"})
"""Classes in which the tongue touches the teeth and is visible."""
TENSORS = {
    "speech": "audio_input",
    "face": "image_input",
    "lips": "lips",
    "closure": "closure",
    "visemes": "visemes",
    "condition": "condition",
    "noisy": "noisy_motion",
    "past": "past_motion",
    "step": "step",
    "velocity": "velocity",
}
"""The runtime's names of tensors -> the graphs' names."""
KEPT_FLOAT = ("heads.lips.", "heads.closure.", "conv_out.")
"""Layers that stay in floating point (fp16 on the chip), by the start of their weights' names: the last of each path.
Their few outputs are the motion itself, for which one scale of 256 steps is too coarse, and they are 1 % of the
work."""


class Reader(CalibrationDataReader):
    """Feeds for onnxruntime's calibration, one by one."""

    def __init__(self, feeds: Iterator[Feeds]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Optional[Feeds]:
        """The next feed, or None at the end."""
        return next(self._feeds, None)


def encoder_feeds(corpus: Corpus, n: int, seed: int) -> Iterator[Feeds]:
    """Speech windows (a third of them as synthesized, the others augmented) with faces."""
    rng = np.random.default_rng(seed)
    parts = [speech_batch(corpus, rng, 4, raw=i % 3 == 0)[0] for i in range(-(-n // 12))]
    audio, images = np.concatenate(parts)[:n], face_batch(rng, n)[0]
    for window, grey in zip(audio, images):
        yield {"audio_input": window[None], "image_input": np.repeat(grey[None], 3, axis=1)}


def denoiser_feeds(
    corpus: Corpus, encoder: Path, statistics: Dict[str, List[float]], n: int, seed: int
) -> Iterator[Feeds]:
    """Takes of the teacher between noise and motion, with the encoder's condition."""
    rng = np.random.default_rng(seed)
    session = ort.InferenceSession(str(encoder), providers=["CPUExecutionProvider"])
    mean, std = (np.array(statistics[key], np.float32)[:, None] for key in ("mean", "std"))
    made = 0
    while made < n:
        audio, face, motion, known = life_batch(corpus, rng)
        for i in range(min(len(audio), n - made)):
            feeds = {"audio_input": audio[i : i + 1], "image_input": np.full((1, 3, 224, 224), 0.5, np.float32)}
            condition = session.run(["condition"], feeds)[0]
            condition[0, -len(FACE) :] = ((face[i] - FACE_TYPICAL) / FACE_SPREAD)[:, None]
            clean = ((motion[i] - mean) / std)[None]  # [1, 9, 40]
            step = rng.uniform(0, 1, (1, 1)).astype(np.float32)
            noisy = rng.standard_normal((1, N_LIFE, FRAMES)) * (1 - step) + clean * step
            past = np.concatenate([clean * known[i], known[i][None, None]], axis=1)
            yield {
                "condition": condition, "noisy_motion": noisy.astype(np.float32),
                "past_motion": past.astype(np.float32), "step": step,
            }  # fmt: skip
            made += 1


def quantise(stage: str, source: Path, target: Path, feeds: Iterator[Feeds]) -> None:
    """One graph to INT8."""
    prepared = source.with_suffix(".prepared.onnx")
    quant_pre_process(
        str(source), str(prepared), skip_symbolic_shape=True
    )  # folds batch norm into convolutions, constants away
    kept = [n.name for n in onnx.load(str(prepared)).graph.node if any(i.startswith(KEPT_FLOAT) for i in n.input)]
    quantize_static(
        str(prepared), str(target), Reader(feeds), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv", "Gemm"],
        per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax, nodes_to_exclude=kept,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )  # fmt: skip
    onnx.save(widened(onnx.load(str(target))), str(target))


def _entry(path: Path) -> Dict[str, str]:
    return {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def speech_prior(corpus: Corpus) -> List[float]:
    """The starting point of normalisation for sound still arriving: the mean shape of speech, [n_mels]."""
    settings = MelSettings()
    shapes = [speech_shape(corpus.mel(i).T, settings) for i in corpus.kept]
    return [round(float(value), 3) for value in np.mean(shapes, axis=0)]


def description(bundle: Path, statistics: Dict[str, List[float]], prior: List[float]) -> Dict[str, Any]:
    """What bundle.yaml says."""
    stages: Dict[str, Any] = {}
    for stage in INPUTS:
        described = {
            kind: {name: {"shape": list(shape), "dtype": "float32"} for name, shape in shapes[stage].items()}
            for kind, shapes in (("inputs", INPUTS), ("outputs", OUTPUTS))
        }
        files = {"cpu": _entry(bundle / f"{stage}.int8.onnx"), "mindspore_lite": _entry(bundle / f"{stage}.mindir")}
        stages[stage] = {**described, "files": files}
    return {
        "format": 1,
        "name": "sonic-net",
        "version": VERSION,
        "licence": "Apache-2.0",
        "description": "Speech and a face in, lips, head, eyes and brows out. Trained on synthetic speech only.",
        "kind": "motion",
        "mel": dict(asdict(MelSettings()), clip=list(MelSettings().clip)),
        "face": {"size": 224, "eye_left": [0.34, 0.40], "eye_right": [0.66, 0.40]},
        # frame j is centred on mel frame 4 j + 1.5
        "window": {"mel_frames": MEL_FRAMES, "frames": FRAMES, "stride": FRAMES - PAST, "fps": life.FPS,
                   "offset_s": 0.015},
        "stream": {"look_ahead_frames": LOOK_AHEAD, "prior": prior, "noise": STREAM_NOISE},
        "lips": {"channels": list(teacher.CHANNELS), "tongue": TONGUE, "lead_s": LEAD_S},
        "closure": CLOSURE,
        "life": {
            "channels": list(life.CHANNELS),
            "mean": [round(value, 6) for value in statistics["mean"]],
            "std": [round(value, 6) for value in statistics["std"]],
            "noise": LIFE_NOISE,
        },
        "tensors": TENSORS,
        "stages": stages,
    }  # fmt: skip


def write_bundle(trained: Path, bundle: Path, corpus_path: Path) -> None:
    """Quantise both graphs and write the bundle folder."""
    bundle.mkdir(parents=True, exist_ok=True)
    statistics = json.loads((trained / "life.json").read_text())
    corpus = Corpus(corpus_path, held_out=False)
    feeds = {
        "encoder": encoder_feeds(corpus, N_CALIBRATION, seed=11),
        "denoiser": denoiser_feeds(corpus, trained / "encoder.onnx", statistics, N_CALIBRATION, seed=12),
    }
    for stage in INPUTS:
        quantise(stage, trained / f"{stage}.onnx", bundle / f"{stage}.int8.onnx", feeds[stage])
        shutil.copyfile(trained / f"{stage}.mindir", bundle / f"{stage}.mindir")
    described = description(bundle, statistics, speech_prior(corpus))
    text = yaml.safe_dump(described, sort_keys=False, default_flow_style=None, width=120)
    (bundle / "bundle.yaml").write_text(text, "utf8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Quantise to INT8 and assemble the bundle.")
    parser.add_argument("--trained", type=Path, default=BUILD / "trained")
    parser.add_argument("--corpus", type=Path, default=BUILD / "corpus.npz")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    args = parser.parse_args()
    write_bundle(args.trained, args.bundle, args.corpus)
    for path in sorted(args.bundle.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
