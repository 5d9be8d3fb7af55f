"""How well the face branch estimates unseen portraits, against the product's landmarks.

    python -m models.read_faces FOLDER... [--bundle models/bundles/sonic-net] [--turned] [--pool]

A folder holds pictures and video files; of a video every tenth frame counts. Prints r, mean error and bias of each
answer, how well visible teeth are distinguished from hidden ones (area under the curve), and how far lips that the
encoder would command of this face are off, against the same lips without the face (`lips_in`).
`--turned` has the product's renderer turn and move the pictures too; `--pool` adds the heads held out of training.
"""

import argparse
import os
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Sequence, Tuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
import cv2
import numpy as np
from numpy.typing import NDArray

from models import BUNDLE, faces, life, portraits
from models.lip_figures import area
from sonic_edge.config import Controls
from sonic_edge.engine.portrait import FaceFinder, make_portrait
from sonic_edge.engine.renderer import Renderer
from sonic_edge.errors import RequestError
from sonic_edge.media import Image, Portrait
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.bundle import Bundle

Reader = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Aligned pictures [n, 3, 224, 224] RGB 0..1 -> answers [n, 7]."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
EVERY = 10
SOUNDS: Dict[str, Tuple[float, ...]] = {"a": (1, 0, 0, 0, 0), "e": (0.4, 0.5, 0, 0, 0), "u": (0.3, -0.7, 1, 0, 0)}
"""Lips of a typical face at their widest, in the order of the motion channels jaw, width, round, close, tuck."""
TURNS: Tuple[Dict[str, float], ...] = (
    {},
    {"yaw": 0.3},
    {"yaw": -0.3, "jaw": 0.5},
    {"pitch": 0.2, "width": 0.5},
    {"pitch": -0.2, "yaw": 0.15, "jaw": 0.25},
    {"yaw": -0.15, "blink": 0.5},
)
"""Poses that `--turned` renders."""
TEETH_SHOW = 0.15
"""A portrait shows its teeth if landmarks and colours measure more than this."""


def images(folder: Path, skip: Sequence[str] = ()) -> Iterator[Tuple[str, Image]]:
    """Names and pictures (BGR) of a folder, without files whose names contain one of `skip`."""
    for path in sorted(folder.rglob("*")):
        if any(word in path.name for word in skip):
            continue
        if path.suffix.lower() in PICTURES:
            yield path.name, np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
        elif path.suffix.lower() in VIDEOS:
            video = cv2.VideoCapture(str(path))
            for i in range(100000):
                there, frame = video.read()
                if not there:
                    break
                if i % EVERY == 0:
                    yield f"{path.name}:{i}", np.asarray(frame, np.uint8)


def seen(
    pictures: Iterator[Tuple[str, Image]], finder: FaceFinder, turns: Sequence[Dict[str, float]] = ({},)
) -> Tuple[List[str], NDArray[np.float32], NDArray[np.float32]]:
    """Names, aligned faces [n, 3, 224, 224] and what landmarks measure [n, 7], each in every one of `turns`.

    Pictures without a face, and turns in which landmarks lose it, are left out.
    """
    names, inputs, truth = [], [], []
    for name, image in pictures:
        try:
            portrait = make_portrait(image, finder, Controls(min_resolution=512), name)
        except RequestError:
            continue
        rest = portraits.measure(portrait.image, portrait.landmarks)
        renderer = Renderer(portrait) if any(turns) else None
        for turn in turns:
            shown, read = portrait, rest
            if turn and renderer:
                picture = renderer.frame(turn)
                shown = Portrait(picture, finder.refine(picture, portrait.landmarks))
                read = portraits.measure(picture, shown.landmarks)
                if not faces.agrees(rest, turn, read):
                    continue
            names.append(name + "".join(f" {k} {v:+.2f}" for k, v in turn.items()))
            inputs.append(portraits.aligned(shown)[0])
            truth.append(read)
    return names, np.stack(inputs), np.stack(truth)


def report(read: NDArray[np.float32], truth: NDArray[np.float32]) -> List[str]:
    """Lines of figures; `read` and `truth` are [n, 7]."""
    lines = [f"{len(read)} faces       r   mean error    bias  spread"]
    for k, name in enumerate(life.FACE):
        error = read[:, k] - truth[:, k]
        r = np.corrcoef(read[:, k], truth[:, k])[0, 1]
        lines.append(f"{name:14s} {r:5.2f} {np.abs(error).mean():10.3f} {error.mean():9.3f} {truth[:, k].std():7.3f}")
    show = truth[:, 2] > TEETH_SHOW
    lines.append(f"teeth visible or not: area {area(read[show, 2], read[~show, 2]):.2f}")
    return lines


def lips_in(face: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lips [n, len(SOUNDS), 3] (jaw, width, round) that `network.InThisFace` makes of `SOUNDS` in faces [n, 7]."""
    import mindspore as ms

    from models.network import FRAMES, InThisFace

    adapt = InThisFace()
    made = []
    for lips in SOUNDS.values():
        everywhere = np.tile(np.array(lips, np.float32)[None, :, None], (len(face), 1, FRAMES))
        made.append(adapt(ms.Tensor(everywhere), ms.Tensor(face[:, :, None])).asnumpy()[:, :3, 0])
    return np.stack(made, axis=1)


def what_the_face_adds(read: NDArray[np.float32], truth: NDArray[np.float32]) -> List[str]:
    """Mean distance of the commanded lips from those that measured answers would give, with the face and without it."""
    from models.network import FACE_TYPICAL  # here, for it takes MindSpore

    wanted = lips_in(truth)
    without = lips_in(np.tile(np.array(FACE_TYPICAL, np.float32), (len(truth), 1)))
    found = lips_in(read)
    lines = ["lips off by     jaw a, width e, width u, round u"]
    order = list(SOUNDS)
    cells = [(order.index("a"), 0), (order.index("e"), 1), (order.index("u"), 1), (order.index("u"), 2)]
    for name, made in (("face read", found), ("typical face", without)):
        off = [np.abs(made[:, sound, channel] - wanted[:, sound, channel]).mean() for sound, channel in cells]
        lines.append(f"{name:14s} " + " ".join(f"{value:8.4f}" for value in off))
    return lines


def bundle_reader(folder: Path) -> Reader:
    """The `face` that a bundle's encoder gives on the CPU, INT8 as it ships; what is heard does not come into it."""
    bundle, backend = Bundle(folder), CpuBackend(1)
    stage = bundle.stage("encoder", backend.name)
    session, names = backend.open(stage), bundle.spec.tensors
    silence = np.zeros(stage.inputs[names.speech], np.float32)

    def read(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([session.run({names.speech: silence, names.face: one[None]})["face"] for one in inputs])

    return read


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare the face branch with landmarks on portraits.")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--skip", nargs="*", default=["astronaut", "grace_hopper"], help="leave out: trained on")
    parser.add_argument("--each", action="store_true", help="print every picture's answers")
    parser.add_argument("--turned", action="store_true", help="turned and moved by the renderer too")
    parser.add_argument("--pool", action="store_true", help="also heads of the pool that training leaves out")
    args = parser.parse_args()
    finder = portraits.finder()
    reader = bundle_reader(args.bundle)
    sets = [(str(f), *seen(images(f, args.skip), finder, TURNS if args.turned else ({},))) for f in args.folders]
    if args.pool:
        unseen = faces.load().held_out()
        inputs = np.repeat(unseen.pictures[:, None].astype(np.float32) / np.float32(255), 3, 1)
        sets.append(("heads held out", [f"head {i}" for i in range(len(inputs))], inputs, unseen.answers))
    answers = [reader(inputs) for _, _, inputs, _ in sets]
    for (title, names, _, truth), read in zip(sets, answers):
        print(f"{title}: " + "\n".join(report(read, truth) + what_the_face_adds(read, truth)), flush=True)
        if args.each:
            for name, a, b in zip(names, read, truth):
                print(f"{name:28s} read {np.round(a, 2).tolist()} landmarks {np.round(b, 2).tolist()}")
    folders = range(len(args.folders))
    if len(folders) > 1:
        read, truth = (np.concatenate(x) for x in ([answers[k] for k in folders], [sets[k][3] for k in folders]))
        print("all folders: " + "\n".join(report(read, truth) + what_the_face_adds(read, truth)))


if __name__ == "__main__":
    main()
