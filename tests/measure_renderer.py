"""Measures the renderer alone: its drawing against the requested motion, frame by frame, before any encoder.

    python tests/measure_renderer.py PEOPLE [--size 512] [--json FILE] [--only NAME ...] [--bundle NAME]

PEOPLE is a folder with measure.py, its models/ and dev/manifest.yaml. Each case's photo is moved by the first seconds
of what the shipped model makes of the case's speech. The faces on the frames are followed by measure.py's tracker, not
by the product's own. Lengths are in interoculars. Columns (those ending in 0: with the head kept still):

    face            share of frames on which a face is found
    open            r of the gap asked for (jaw less closures) and the opening seen
    w_fit, w, w_c   how the visible width follows the motion: multiple r on (width, round), r with width alone, r with
                    where the renderer puts the corners of the mouth (CORNERS)
    shut            of the frames whose motion is shut, the share seen less than 0.015 more open than a shut mouth of
                    this photo: than the rest frame, or of photos with an open mouth (marked o) than the clip's 5th
                    percentile
    gap             of the same frames, the share with less than 0.015 between the edges of the lips as drawn
    jump, n         largest residual jump of a landmark from frame to frame, and steps with one over 0.04; residual:
                    what is left of the landmark's place after least squares on the motion's channels
    floor           the same jump on a still picture with slight noise: the tracker's own
    same            share of pixels that are the portrait's own, bit for bit, in every frame
    grad, dE        gradient energy and colour of the skin against the canvas on the most neutral frames
    gradX, dEX      the same after the product's encoder and PyAV's decoder
"""

import argparse
import importlib.util
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sonic_edge.config import Controls, EncodeSettings, LimitSettings, share_dir
from sonic_edge.engine.encode import write_video
from sonic_edge.engine.label import aigc_metadata
from sonic_edge.engine.motion.network import SonicNet, face_image
from sonic_edge.engine.motion.shape import HEAD, shape_motion
from sonic_edge.engine.portrait import FaceFinder, make_portrait, read_image
from sonic_edge.engine.renderer import Renderer
from sonic_edge.engine.speech import read_speech
from sonic_edge.media import CHANNELS, Image, Motion, Portrait
from sonic_edge.model.backends.cpu import CpuBackend
from sonic_edge.model.store import find_bundle

Landmarks = NDArray[np.float32]
"""[..., 468, 3], pixels; NaN where no face is found."""

CLIP_S = 8.0
LOOK_AFRESH = 50
"""Frames after which measure.py's tracker detects the face anew."""
CORNERS = {"width": 0.17, "round": -0.27}
"""How far the renderer moves the corners of the mouth for one unit of a channel, half widths of the mouth."""
SHUT_CLOSE, SHUT_JAW, SHUT_TUCK = 0.5, 0.01, 0.1
"""The motion is shut where close is at least, or the gap asked for and the tuck, which shows teeth, are under this."""
SHUT = 0.015
"""A mouth this little more open than when shut is shut, interoculars."""
JUMP = 0.04
NOISE = 1.5
"""Standard deviation of the noise on the still picture, of 255: a little sensor noise."""
NEUTRAL_FRAMES = 12
NOSE = (1, 2, 4, 5, 6, 168, 195, 197)
COLUMNS = (
    *("face", "open", "open0", "w_fit", "w_fit0", "w", "w0", "w_c", "w_c0", "n_shut", "shut", "shut0", "gap"),
    *("jump", "n", "jump0", "n0", "floor", "n_floor", "same", "grad", "dE", "gradX", "dEX"),
)
WHOLE = ("n_shut", "n", "n0", "n_floor")

Row = Dict[str, Optional[float]]


class People:
    """measure.py, its tracker and its cases.

    Args:
        folder: What PEOPLE is.
    """

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.spec_from_file_location("measure", folder / "measure.py")
        if spec is None or spec.loader is None:
            raise SystemExit(f"{folder}: has no measure.py")
        self.measure: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.measure)
        self._faces = self.measure.Faces(str(folder / "models"))
        self.cases: List[Dict[str, Any]] = self.measure.load_manifest(str(folder / "dev" / "manifest.yaml"))

    def track(self, frames: Iterator[Image]) -> Landmarks:
        """The face on each frame, [n, 468, 3], as `measure.track` follows it."""
        found, before = [], None
        for i, image in enumerate(frames):
            if i % LOOK_AFRESH == LOOK_AFRESH - 1:
                before = None
            before, _ = self._faces.landmarks(image, before)
            found.append(np.full((468, 3), np.nan, np.float32) if before is None else before)
        return np.stack(found)


class Performer:
    """Photo and speech to portrait and shaped motion, as `pipeline.Pipeline` makes them."""

    def __init__(self, size: int, name: str = "sonic-net") -> None:
        self._controls = Controls(min_resolution=size)
        self._finder = FaceFinder(share_dir() / "face")
        bundle, backend = find_bundle(name), CpuBackend(2)
        self._net = SonicNet(bundle, *(backend.open(bundle.stage(n, backend.name)) for n in ("encoder", "denoiser")))

    def perform(self, photo: Path, recording: Path) -> Tuple[Portrait, Motion]:
        """The portrait, and the first seconds of its motion."""
        controls, bundle, limits = self._controls, self._net.bundle, LimitSettings()
        portrait = make_portrait(read_image(photo, limits), self._finder, controls, photo.name)
        speech = read_speech(recording, bundle.mel, limits)
        raw = self._net.motion(
            speech, face_image(portrait, bundle), controls.inference_steps, controls.seed, lambda done, total: None
        )
        n_frames = max(1, int(min(speech.duration_s, CLIP_S) * controls.fps + 0.5))
        return portrait, shape_motion(raw, bundle.spec.closure, controls, n_frames, speech.duration_s)


def r(a: NDArray[Any], b: NDArray[Any]) -> Optional[float]:
    """Pearson's, of the frames where both are numbers; None where one of them stands still."""
    there = np.isfinite(a) & np.isfinite(b)
    if there.sum() < 10 or min(a[there].std(), b[there].std()) < 1e-6:
        return None
    return float(np.corrcoef(a[there], b[there])[0, 1])


def fit(inputs: NDArray[Any], seen: NDArray[Any]) -> NDArray[Any]:
    """`seen` [n, ...] by least squares on `inputs` [n, k] and a constant; NaN stays NaN."""
    flat = seen.reshape(len(seen), -1).astype(np.float64)
    terms = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1).astype(np.float64)
    there = np.isfinite(flat).all(axis=1)
    made = terms @ np.linalg.lstsq(terms[there], flat[there], rcond=None)[0]
    made[~there] = np.nan
    out: NDArray[Any] = made.reshape(seen.shape)
    return out


def share(which: NDArray[np.bool_]) -> Optional[float]:
    return float(which.mean()) if which.size else None


def jumps(people: People, seen: Landmarks, inputs: NDArray[Any]) -> Tuple[float, int]:
    """Largest residual jump of a landmark from frame to frame, and how many steps have one over `JUMP`."""
    measure = people.measure
    points = sorted({*NOSE, *measure.OVAL, *measure.LIPS, *np.ravel(measure.EYES).tolist()})
    left = seen[:, points, :2] - fit(inputs, seen[:, points, :2])
    unit = float(np.nanmedian(measure.interocular(seen)))
    steps = np.linalg.norm(np.diff(left, axis=0), axis=-1) / unit
    steps = steps[np.isfinite(steps).all(axis=1)].max(axis=1)
    return float(steps.max()), int((steps > JUMP).sum())


def likeness(
    people: People, portrait: Portrait, at: Landmarks, frames: List[Tuple[Image, Landmarks]]
) -> Dict[str, Any]:
    """`measure.compare_portrait` of frames with the canvas, whose face is `at`."""
    pairs = [people.measure.portrait_on_frame(portrait.image, at, image, seen) for image, seen in frames]
    out: Dict[str, Any] = people.measure.compare_portrait([p for p in pairs if p])
    return out


def encoded(folder: str, frames: Iterator[Image], motion: Motion, portrait: Portrait) -> Path:
    """The frames, without a label and with silence, as the product writes them."""
    path, n, fps = Path(folder) / "clip.mp4", len(motion), round(motion.fps)
    height, width = portrait.image.shape[:2]
    sound = iter([np.zeros((1, n * 48000 // fps), np.float32)])
    write_video(
        path, frames, n, fps, (width, height), sound, 1, aigc_metadata("", "measured"), lambda image: True,
        EncodeSettings(), lambda done: None,
    )  # fmt: skip
    return path


def measure_case(people: People, portrait: Portrait, motion: Motion) -> Tuple[Row, bool]:
    """The figures of one portrait and motion, and whether its mouth is open in the photo."""
    measure, renderer = people.measure, Renderer(portrait)
    still = replace(
        motion, values=motion.values * np.array([name not in HEAD for name in motion.channels], np.float32)
    )  # the head's channels at rest
    own = np.ones(portrait.image.shape[:2], bool)

    def rendered(asked: Motion) -> Iterator[Image]:
        for i in range(len(asked)):
            yield renderer.frame(asked.frame(i))

    def watched() -> Iterator[Image]:
        for image in rendered(motion):
            np.logical_and(own, (image == portrait.image).all(axis=2), out=own)
            yield image

    rng = np.random.default_rng(0)
    noisy = (
        np.clip(np.rint(portrait.image + rng.normal(0, NOISE, portrait.image.shape)), 0, 255).astype(np.uint8)
        for _ in range(len(motion))
    )
    rest = np.median(people.track(iter([renderer.frame({})] * 6))[1:], axis=0)
    at = np.median(people.track(iter([portrait.image] * 6))[1:], axis=0)
    seen = {"": people.track(watched()), "0": people.track(rendered(still))}
    rest_gap = float(measure.mouth_opening(rest))
    is_open = rest_gap >= measure.SHUT

    asked = {name: motion.channel(name).astype(np.float64) for name in CHANNELS}
    gap = asked["jaw"] * (1 - asked["close"])
    corners = sum(share * asked[name] for name, share in CORNERS.items())
    shut = (asked["close"] >= SHUT_CLOSE) | ((gap < SHUT_JAW) & (asked["tuck"] < SHUT_TUCK))
    row: Row = {"face": share(np.isfinite(seen[""][:, 0, 0])), "n_shut": float(shut.sum())}
    for end, moves in (("", motion), ("0", still)):
        opening, width = measure.mouth_opening(seen[end]), measure.mouth_width(seen[end])
        row["open" + end] = r(gap, opening)
        row["w_fit" + end] = r(fit(np.stack([asked["width"], asked["round"]], axis=1), width), width)
        row["w" + end] = r(asked["width"], width)
        row["w_c" + end] = r(np.asarray(corners), width)
        shut_gap = float(np.nanpercentile(opening, 5)) if is_open else rest_gap
        row["shut" + end] = share(opening[shut & np.isfinite(opening)] - shut_gap < SHUT)
        row["jump" + end], row["n" + end] = jumps(people, seen[end], moves.values)
    row["gap"] = share(np.array([renderer.gap(motion.frame(int(i))) < SHUT for i in np.flatnonzero(shut)]))
    floor = people.track(noisy)
    row["floor"], row["n_floor"] = jumps(people, floor, motion.values)
    row["same"] = share(own)

    neutral = sorted(measure.neutral_order({"L": seen[""]}, at)[:NEUTRAL_FRAMES])
    before = likeness(people, portrait, at, [(renderer.frame(motion.frame(i)), seen[""][i]) for i in neutral])
    with tempfile.TemporaryDirectory() as folder:
        path = encoded(folder, rendered(motion), motion, portrait)
        decoded = [(image, seen[""][i]) for i, (_, image) in enumerate(measure.frames(str(path))) if i in neutral]
    after = likeness(people, portrait, at, decoded)
    row.update(grad=before["grad_ratio"], dE=before["dE"], gradX=after["grad_ratio"], dEX=after["dE"])
    return row, is_open


def line(name: str, row: Row) -> str:
    cells = []
    for column in COLUMNS:
        value = row.get(column)
        text = "-" if value is None else f"{value:.0f}" if column in WHOLE else f"{value:.3f}"
        cells.append(text.rjust(max(6, len(column) + 1)))
    return name.ljust(19) + "".join(cells)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the renderer against the motion it is asked for.")
    parser.add_argument("people", type=Path)
    parser.add_argument("--size", type=int, default=512, help="short side of the frames, pixels")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--bundle", default="sonic-net", help="name or folder of the model that makes the motion")
    parser.add_argument("--only", nargs="*", help="cases whose id contains one of these")
    args = parser.parse_args()
    cv2.setNumThreads(2)
    people, performer = People(args.people), Performer(args.size, args.bundle)
    print("case".ljust(19) + "".join(column.rjust(max(6, len(column) + 1)) for column in COLUMNS), flush=True)
    rows: Dict[str, Row] = {}
    for case in people.cases:
        if case.get("expect", "accept") == "error" or (args.only and not any(o in case["id"] for o in args.only)):
            continue
        portrait, motion = performer.perform(Path(case["portrait"]), Path(case["speech"]))
        row, is_open = measure_case(people, portrait, motion)
        rows[case["id"]] = row
        print(line(case["id"] + " o" * is_open, row), flush=True)
    if not rows:
        sys.exit("no case has such a name")
    mean: Row = {}
    for column in COLUMNS:
        values = [row[column] for row in rows.values() if row[column] is not None]
        mean[column] = float(np.mean(values)) if values else None
    print(line("mean", mean), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "cases": rows, "mean": mean}, indent=1), encoding="utf8")


if __name__ == "__main__":
    main()
