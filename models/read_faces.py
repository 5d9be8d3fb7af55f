"""How well the face branch reads portraits it has not seen, against the product's landmarks.

    python -m models.read_faces FOLDER... [--encoder models/build/trained/encoder.ckpt] [--onnx encoder.onnx]

A folder holds pictures and video files; of a video every tenth frame counts. Prints r, mean error and bias of each
answer, and how well teeth that show are told from teeth that do not (area under the curve).
"""

import argparse
import os
from pathlib import Path
from typing import Callable, Iterator, List, Sequence, Tuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
import cv2
import numpy as np
from numpy.typing import NDArray

from models import BUILD, portraits
from sonic_edge.config import Controls
from sonic_edge.errors import RequestError
from sonic_edge.media import Image
from sonic_edge.portrait import FaceFinder, make_portrait

Reader = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Aligned pictures [n, 3, 224, 224] RGB 0..1 -> answers [n, 7]."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
EVERY = 10
TEETH_SHOW = 0.15
"""A portrait of which landmarks and colours say more teeth than this shows its teeth."""


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
    pictures: Iterator[Tuple[str, Image]], faces: FaceFinder
) -> Tuple[List[str], NDArray[np.float32], NDArray[np.float32]]:
    """Names, aligned faces [n, 3, 224, 224] and what landmarks measure [n, 7]; pictures without a face are left out."""
    names, inputs, truth = [], [], []
    for name, image in pictures:
        try:
            portrait = make_portrait(image, faces, Controls(min_resolution=512), name)
        except RequestError:
            continue
        names.append(name)
        inputs.append(portraits.aligned(portrait)[0])
        truth.append(portraits.measure(portrait.image, portrait.landmarks))
    return names, np.stack(inputs), np.stack(truth)


def area(score: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """Area under the curve: how often a positive one scores above a negative one; NaN if there are not both."""
    yes, no = score[positive], score[~positive]
    if not len(yes) or not len(no):
        return float("nan")
    return float(np.mean((yes[:, None] > no) + 0.5 * (yes[:, None] == no)))


def report(read: NDArray[np.float32], truth: NDArray[np.float32]) -> List[str]:
    """Lines of figures; `read` and `truth` are [n, 7]."""
    from models.network import FACE  # here, for it takes MindSpore

    lines = [f"{len(read)} faces       r   mean error    bias  spread"]
    for k, name in enumerate(FACE):
        error = read[:, k] - truth[:, k]
        r = np.corrcoef(read[:, k], truth[:, k])[0, 1]
        lines.append(f"{name:14s} {r:5.2f} {np.abs(error).mean():10.3f} {error.mean():9.3f} {truth[:, k].std():7.3f}")
    lines.append(f"teeth visible or not: area {area(read[:, 2], truth[:, 2] > TEETH_SHOW):.2f}")
    return lines


def checkpoint_reader(path: Path) -> Reader:
    """The face branch of a trained encoder, in MindSpore."""
    import mindspore as ms

    from models.network import FaceBranch

    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    branch = FaceBranch()
    values = {k.split("face_branch.", 1)[1]: v for k, v in ms.load_checkpoint(str(path)).items() if "face_branch." in k}
    missing, _ = ms.load_param_into_net(branch, values, strict_load=True)
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    branch.set_train(False)

    def read(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        answers: NDArray[np.float32] = branch(ms.Tensor(inputs)).asnumpy()
        return answers

    return read


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare the face branch with landmarks on portraits.")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--encoder", type=Path, default=BUILD / "trained" / "encoder.ckpt")
    parser.add_argument("--skip", nargs="*", default=["astronaut", "grace_hopper"], help="leave out: trained on")
    parser.add_argument("--each", action="store_true", help="print every picture's answers")
    args = parser.parse_args()
    faces = portraits.finder()
    reader = checkpoint_reader(args.encoder)
    for folder in args.folders:
        names, inputs, truth = seen(images(folder, args.skip), faces)
        read = reader(inputs)
        print(f"{folder}: " + "\n".join(report(read, truth)), flush=True)
        if args.each:
            for name, a, b in zip(names, read, truth):
                print(f"{name:28s} read {np.round(a, 2).tolist()} landmarks {np.round(b, 2).tolist()}")


if __name__ == "__main__":
    main()
