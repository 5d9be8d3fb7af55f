"""Measures the bundle through the product's own code, on the CPU backend.

    python -m models.evaluate [--bundle models/bundles/sonic-net] [--corpus models/build/corpus.npz]

Lips on voices and a synthesizer held out of training, for whole recordings and streamed; the cost per second of
speech. Head, eyes and brows: `models.evaluate_life`. Real speech: `models.aligned`. Real people on video: the product
and a measuring program outside this repository.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Tuple

import numpy as np
from numpy.typing import NDArray

from models import BUILD, BUNDLE
from models.aligned import grey, open_net
from models.corpus import is_held_out
from models.lip_figures import MARKS, Figure, figures, holds
from models.parity import correlation
from models.phonemes import VISEMES, Segment
from sonic_edge.config import Controls
from sonic_edge.engine.motion.network import SonicNet
from sonic_edge.engine.motion.shape import shape_motion
from sonic_edge.engine.motion.streaming import streamed_motion
from sonic_edge.media import Motion, Speech

FloatArray = NDArray[np.float32]
MEL_PER_S = 100
CLIP_S = 20.0
"""Utterances of one voice are joined to clips about this long."""


class Clip(NamedTuple):
    """Held-out speech."""

    group: str
    speech: Speech
    lips: FloatArray
    """[n, 5] the lip teacher's, 100 frames a second."""
    spoken: List[Segment]
    """Stretches of one viseme, each named by its first phoneme: enough to distinguish p, u and a pause."""


def stretches(viseme: NDArray[np.int8]) -> List[Segment]:
    """Runs of one viseme class [n], 100 a second, as segments."""
    borders = np.flatnonzero(np.diff(viseme)) + 1
    starts, ends = np.concatenate([[0], borders]), np.concatenate([borders, [len(viseme)]])
    return [Segment(a / MEL_PER_S, b / MEL_PER_S, VISEMES[viseme[a]][0]) for a, b in zip(starts, ends)]


def held_out_clips(path: Path, seconds: float) -> List[Clip]:
    """Up to so many seconds of each held-out language and synthesizer, as clips of single voices."""
    data = np.load(path)
    mel, lips, viseme = (data[key] for key in ("mel", "lips", "viseme"))
    ends = np.cumsum(data["lengths"])
    groups: Dict[Tuple[str, str], List[slice]] = {}
    for i, (voice, language) in enumerate(zip(data["voices"], data["languages"])):
        if is_held_out(str(voice)):
            synthesizer = str(voice).split()[0]
            name = f"{synthesizer} {language if synthesizer != 'espeak' or language in ('cmn', 'en') else 'others'}"
            groups.setdefault((name, str(voice)), []).append(slice(ends[i] - data["lengths"][i], ends[i]))
    clips: List[Clip] = []
    said: Dict[str, float] = {}
    for (group, _), parts in groups.items():
        while parts and said.get(group, 0) < seconds:
            joined: List[slice] = []
            while parts and sum(p.stop - p.start for p in joined) < CLIP_S * MEL_PER_S:
                joined.append(parts.pop())
            at = np.concatenate([np.arange(p.start, p.stop) for p in joined])
            said[group] = said.get(group, 0) + len(at) / MEL_PER_S
            speech = Speech(Path(group), len(at) / MEL_PER_S, 16000, 1, np.ascontiguousarray(mel[at].T))
            clips.append(Clip(group, speech, lips[at].astype(np.float32), stretches(viseme[at])))
    return clips


Hear = Callable[[Speech], Motion]


def report_lips(net: SonicNet, clips: List[Clip], hear: Hear) -> None:
    """Prints r with the teacher, and the figures of `models.aligned`, for each group of clips."""
    controls, closure = Controls(), net.bundle.motion.closure
    lead_s = controls.align_offset - net.bundle.motion.lips.lead_s
    names = net.bundle.motion.lips.channels
    columns: Dict[str, Dict[str, Figure]] = {}
    for group in sorted({clip.group for clip in clips}):
        takes, made, taught = [], [], []
        for clip in (c for c in clips if c.group == group):
            raw = hear(clip.speech)
            n_frames = round(clip.speech.duration_s * controls.fps)
            takes.append((shape_motion(raw, closure, controls, n_frames, clip.speech.duration_s), clip.spoken))
            moments = (raw.start_s + np.arange(len(raw)) / raw.fps) * MEL_PER_S
            inside = moments < len(clip.lips) - 1
            made.append(raw.values[inside][:, : len(names)])
            taught.append(np.stack([np.interp(moments[inside], np.arange(len(c)), c) for c in clip.lips.T], axis=1))
        x, y = np.concatenate(made), np.concatenate(taught)
        column = {
            f"r {name}": Figure(correlation(x[:, k], y[:, k]) if np.ptp(y[:, k]) else np.nan, len(x))
            for k, name in enumerate(names)
        }
        columns[group] = {**column, **figures(takes, lead_s)}
    print(f"{'':34}" + "".join(f"{group:>18}" for group in columns) + "   mark")
    for name in next(iter(columns.values())):
        mark = MARKS.get(name)
        values = [column[name].value for column in columns.values()]
        said = [f"{v:.3f}{'' if mark is None or holds(v, mark) else ' no'}" for v in values]
        wanted = "" if mark is None else f"{'<=' if mark < 0 else '>='} {abs(mark):.2f}"
        print(f"{name:34}" + "".join(f"{s:>18}" for s in said) + f"   {wanted}")


def report_cost(net: SonicNet, clip: Clip, folder: Path) -> None:
    """Prints CPU milliseconds a second of speech on one thread, and the sizes of the files."""
    face = grey(net)

    def cost(make: Callable[[], object]) -> float:
        started = time.process_time()
        make()
        return (time.process_time() - started) * 1000 / clip.speech.duration_s

    whole = cost(lambda: net.motion(clip.speech, face, 25, 0, lambda done, total: None))
    print(f"CPU ms a second of speech: {whole:.1f} at 25 steps", end="")
    for steps in (25, 10):
        streamed = cost(partial(streamed_motion, net, clip.speech, face, steps, 0))
        print(f", {streamed:.1f} streamed at {steps} steps", end="")
    sizes = [f"{path.name} {path.stat().st_size / 1e6:.2f} MB" for path in sorted(folder.glob("*.onnx"))]
    print("; " + ", ".join(sizes))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the bundle on voices held out of training.")
    parser.add_argument("--corpus", type=Path, default=BUILD / "corpus.npz")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    args = parser.parse_args()
    net, clips = open_net(args.bundle), held_out_clips(args.corpus, 180)
    print("lips of a whole recording, on voices held out of training")
    report_lips(net, clips, lambda speech: net.motion(speech, grey(net), 1, 0, lambda done, total: None))
    print("\nlips streamed, 80 ms behind")
    report_lips(net, clips, lambda speech: streamed_motion(net, speech, grey(net), 1, 0))
    print()
    report_cost(net, clips[0], args.bundle)


if __name__ == "__main__":
    main()
