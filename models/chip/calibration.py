"""Calibration data: the inputs of the model's graphs while the product works, kept as files.

    python models/chip/calibration.py --bundle FOLDER --out FOLDER [--samples N] [--speech FOLDER] [--portraits FOLDER]

Writes OUT/<stage>/<input>/0000.bin, raw float32 in the graph's own layout: what MindSpore Lite's converter reads
(`input_type=BIN`; it sorts the names, so that file n of each input is one sample) and `models/chip/amct.py` feeds to
AMCT. OUT/calibration.json records the sources. Runs the bundle's own INT8 graphs on the CPU backend.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from sonic_edge.config import Controls, LimitSettings, share_dir
from sonic_edge.engine.motion.network import SonicNet, face_image
from sonic_edge.engine.portrait import FaceFinder, make_portrait, read_image
from sonic_edge.engine.speech import read_speech
from sonic_edge.errors import SonicEdgeError
from sonic_edge.media import FloatArray, Speech
from sonic_edge.model.backends.base import Session, Tensors
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle

SHIFT = 37
"""Each pass over a recording starts this many mel frames later, so that its windows differ from earlier ones."""
MOST_WALKS = 1000
"""Passes over the recordings before giving up on enough calls of the graphs."""


class KeepingSession:
    """A session that keeps some of its inputs, each call as likely as any other (reservoir sampling, Vitter 1985).

    Args:
        session: What computes.
        n_samples: How many calls are kept.
        seed: Which.
    """

    def __init__(self, session: Session, n_samples: int, seed: int) -> None:
        self._session = session
        self._n_samples = n_samples
        self._rng = np.random.default_rng(seed)
        self.n_calls = 0
        self.kept: List[Dict[str, NDArray[np.float32]]] = []

    def run(self, inputs: Tensors) -> Dict[str, NDArray[np.float32]]:
        """See `backends.base.Session.run`."""
        place = len(self.kept) if len(self.kept) < self._n_samples else int(self._rng.integers(self.n_calls + 1))
        self.n_calls += 1
        if place < self._n_samples:
            self.kept[place : place + 1] = [{name: array.copy() for name, array in inputs.items()}]
        return self._session.run(inputs)

    def close(self) -> None:
        """See `backends.base.Session.close`."""
        self._session.close()


def collect(
    bundle: Bundle, recordings: Sequence[Speech], faces: Sequence[FloatArray], n_samples: int, seed: int
) -> Dict[str, List[Dict[str, NDArray[np.float32]]]]:
    """Run the model until each graph was called at least `n_samples` times.

    Args:
        bundle: A motion model with files for the CPU backend.
        recordings: What is said; gone through in turn, from a later start and with another seed each time.
        faces: Who says it, [1, 3, size, size] each; gone through in turn.
        n_samples: Calls kept of each graph.
        seed: Which calls, and which takes.

    Returns:
        Stage -> kept calls, each input name -> array.

    Raises:
        ConfigError, DeviceError: If the bundle cannot be run.
    """
    backend = CpuBackend(1)
    sessions = {
        name: KeepingSession(backend.open(bundle.stage(name, backend.name)), n_samples, seed + i)
        for i, name in enumerate(("encoder", "denoiser"))
    }
    net = SonicNet(bundle, sessions["encoder"], sessions["denoiser"])
    steps = Controls().inference_steps
    for walk in range(MOST_WALKS):
        speech = recordings[walk % len(recordings)]
        late = (walk // len(recordings)) * SHIFT % max(1, speech.mel.shape[1] - 1)
        mel = speech.mel[:, late:]
        heard = replace(speech, mel=mel, duration_s=mel.shape[1] / bundle.mel.frames_per_s)
        net.motion(heard, faces[walk % len(faces)], steps, seed + walk, lambda done, total: None)
        if walk + 1 >= max(len(recordings), len(faces)) and min(s.n_calls for s in sessions.values()) >= n_samples:
            break
    for session in sessions.values():
        session.close()
    return {name: session.kept for name, session in sessions.items()}


def _files(folder: Path) -> List[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def material(
    bundle: Bundle, speech: Optional[Path] = None, portraits: Optional[Path] = None
) -> Tuple[List[Speech], List[FloatArray], Dict[str, str]]:
    """The recordings and faces for a model.

    Args:
        bundle: The model.
        speech: A folder of recordings; None: the sample.
        portraits: A folder of photos; None: the sample.

    Returns:
        The recordings and faces that can be used, and the sha256 of each file. Unusable ones are reported.

    Raises:
        SonicEdgeError: If the bundle is not one for motion, or no recording or no photo can be used.
    """
    limits, samples = LimitSettings(), share_dir() / "samples"
    voices = _files(speech) if speech else [samples / "speech.flac"]
    photos = _files(portraits) if portraits else [samples / "portrait.jpg"]
    finder = FaceFinder(share_dir() / "face")
    recordings, faces, used = [], [], {}
    for path in [*voices, *photos]:
        try:
            if path in photos:
                portrait = make_portrait(read_image(path, limits), finder, Controls(), path.name)
                faces.append(face_image(portrait, bundle))
            else:
                recordings.append(read_speech(path, bundle.mel, limits))
        except SonicEdgeError as e:
            print(f"left out: {e}")
        else:
            used[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for found, what, folder in ((recordings, "recording", speech), (faces, "photo with a face", portraits)):
        if not found:
            raise SonicEdgeError(f"{folder or samples}: no {what} in it can be used")
    return recordings, faces, used


def write(args: argparse.Namespace) -> int:
    """Make the data and write it.

    Returns:
        How many recordings and photos could be used.

    Raises:
        SonicEdgeError: As `material`.
    """
    bundle = Bundle(args.bundle)
    recordings, faces, used = material(bundle, args.speech, args.portraits)
    kept = collect(bundle, recordings, faces, args.samples, args.seed)
    for stage, calls in kept.items():
        for i, call in enumerate(calls):
            for name, array in call.items():
                path = args.out / stage / name / f"{i:04}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.ascontiguousarray(array, np.float32).tofile(path)
        if len(calls) < args.samples:
            raise SonicEdgeError(f"{stage}: was called {len(calls)} times only; {args.samples} samples were asked for")
    origin = {"bundle": bundle.spec.version, "samples": args.samples, "seed": args.seed, "sha256": used}
    (args.out / "calibration.json").write_text(json.dumps(origin, indent=1, ensure_ascii=False), "utf8")
    return len(used)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Keep what the graphs see, for calibration.")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speech", type=Path, help="folder of recordings (default: the sample)")
    parser.add_argument("--portraits", type=Path, help="folder of photos (default: the sample)")
    args = parser.parse_args()
    try:
        n_used = write(args)
    except (SonicEdgeError, OSError) as e:
        print(e, file=sys.stderr)
        return 1
    print(f"{args.samples} samples of each graph, from {n_used} recordings and photos")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
