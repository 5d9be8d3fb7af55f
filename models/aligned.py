"""How well the lips follow the words of real people.

    python -m models.aligned FOLDER [--bundle models/bundles/sonic-net] [--noise-db 5] [--json]

FOLDER holds recordings (.wav, .flac) with their texts (.txt, English), which are force-aligned here; or with
phoneme times that are already known (.seg: `start end symbol` in seconds a line), as synthesizers give them. Each
recording goes through the product (mel, SonicNet on the CPU, silences and closures, default controls), and the motion
is compared with the phonemes. Nothing of FOLDER is kept.
"""

import argparse
import json
import sys
import tempfile
import wave
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

import numpy as np
from numpy.typing import NDArray

from models import BUNDLE
from models.alignment import RATE, Spoken, in_noise, read_folder
from models.lip_figures import MARKS, MARKS_IN_NOISE, Figure, Take, figures, holds
from models.phonemes import Segment
from sonic_edge.config import Controls, LimitSettings
from sonic_edge.engine.motion.network import SonicNet
from sonic_edge.engine.motion.shape import shape_motion
from sonic_edge.engine.speech import read_speech
from sonic_edge.media import Motion
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle
from sonic_edge.model.spec import ClosureSpec

Array = NDArray[np.float64]
Samples = NDArray[np.float32]


class Heard(NamedTuple):
    """The model's output for one recording."""

    raw: Motion
    duration_s: float
    spoken: List[Segment]


def open_net(folder: Path) -> SonicNet:
    """A bundle on one thread of the CPU backend.

    Raises:
        ConfigError: If the bundle is wrong.
    """
    bundle, backend = Bundle(folder), CpuBackend(1)
    return SonicNet(bundle, *(backend.open(bundle.stage(name, backend.name)) for name in ("encoder", "denoiser")))


def grey(net: SonicNet) -> Samples:
    """A picture without a face, as image_input: these measures do not depend on whose lips they are."""
    size = net.bundle.motion.face.size
    return np.full((1, 3, size, size), 0.5, np.float32)


class Mouth:
    """The product from recording to motion.

    Args:
        folder: The bundle.

    Raises:
        ConfigError: If the bundle is wrong.
    """

    def __init__(self, folder: Path) -> None:
        self._net = open_net(folder)
        self._face = grey(self._net)
        self.bundle = self._net.bundle
        self.controls = Controls()
        self.lead_s = self.controls.align_offset - self.bundle.motion.lips.lead_s
        """How far the video's lips are ahead of the model's, seconds."""

    def hear(self, recording: Spoken) -> Heard:
        """The model's motion for a recording. One denoising step: sampling does not affect the lips."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes((np.clip(recording.samples, -1, 1) * 32767).astype("<i2").tobytes())
            speech = read_speech(path, self.bundle.mel, LimitSettings())
        raw = self._net.motion(speech, self._face, 1, 0, lambda done, total: None)
        return Heard(raw, speech.duration_s, recording.spoken)

    def show(self, heard: Sequence[Heard], closure: ClosureSpec) -> List[Take]:
        """The video's motion for some recordings, with closures by `closure`."""
        fps = self.controls.fps
        return [
            (shape_motion(h.raw, closure, self.controls, max(1, int(h.duration_s * fps + 0.5)), h.duration_s), h.spoken)
            for h in heard
        ]


def sweep(mouth: Mouth, heard: Sequence[Heard]) -> List[Dict[str, float]]:
    """Closure figures for some choices of `closure.enter` and `leave`; the bundle's own comes first."""
    own = mouth.bundle.motion.closure
    pairs = [(enter / 20, round(enter / 20 * share, 3)) for enter in range(4, 20) for share in (0.5, 0.8)]
    rows = []
    for enter, leave in [(own.enter, own.leave), *pairs]:
        closure = own.model_copy(update={"enter": enter, "leave": leave})
        found = figures(mouth.show(heard, closure), mouth.lead_s)
        rows.append({
            "enter": enter, "leave": leave, "recall": found["closure recall"].value,
            "precision": found["closure precision, 40 ms"].value, "80 ms": found["closure precision, 80 ms"].value,
            "open shut": found["open vowels shut"].value,
        })  # fmt: skip
    return rows


def report(found: Dict[str, Figure], marks: Dict[str, float], rows: Sequence[Dict[str, float]]) -> str:
    """The tables to print."""
    lines = [f"{'':34}{'figure':>8}{'of':>8}  mark"]
    for name, figure in found.items():
        mark = marks.get(name)
        said = ""
        if mark is not None:
            said = f"{'<=' if mark < 0 else '>='} {abs(mark):.2f} {'held' if holds(figure.value, mark) else 'NOT held'}"
        lines.append(f"{name:34}{figure.value:8.3f}{figure.n:8d}  {said}".rstrip())
    lines += ["", "closures by thresholds, the bundle's own first", "".join(f"{name:>11}" for name in rows[0])]
    lines += ["".join(f"{value:11.3f}" for value in row.values()) for row in rows]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Hold the product's lips against aligned speech.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--noise-db", type=float, help="mix noise onto the aligned recordings at this ratio")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args()
    recordings = read_folder(args.folder, lambda remark: print(remark, file=sys.stderr))
    if not recordings:
        sys.exit(f"{args.folder}: no recording with times or a fitting text")
    if args.noise_db is not None:
        recordings = in_noise(recordings, args.noise_db)
    mouth = Mouth(args.bundle)
    heard = [mouth.hear(one) for one in recordings]
    found = figures(mouth.show(heard, mouth.bundle.motion.closure), mouth.lead_s)
    marks = MARKS if args.noise_db is None else MARKS_IN_NOISE
    rows = sweep(mouth, heard)
    seconds = sum(len(one.samples) for one in recordings) / RATE
    if args.json:
        reported: Dict[str, object] = {
            "recordings": len(recordings), "seconds": round(seconds, 1), "noise_db": args.noise_db,
            "figures": {
                name: {"value": f.value, "n": f.n, "mark": marks.get(name),
                       "held": holds(f.value, marks[name]) if name in marks else None}
                for name, f in found.items()
            },
            "thresholds": rows,
        }  # fmt: skip
        print(json.dumps(reported, indent=2))
        return
    noise = "" if args.noise_db is None else f", in noise at {args.noise_db:g} dB"
    print(f"{len(recordings)} recordings, {seconds:.0f} s{noise}")
    print(report(found, marks, rows))


if __name__ == "__main__":
    main()
