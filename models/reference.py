"""Writes the case that a bundle's graphs are held against on every machine (`sonic_edge.model.reference`).

    python -m models.reference [--bundle models/bundles/sonic-net] [--float FOLDER]

What the graphs see while the product animates the sample (or the recordings and photos of --speech and --portraits),
and what their floating-point form gives: FOLDER/<stage>.onnx, else the INT8 graph dequantised. Names the file in
bundle.yaml. For bundles of kind motion. In the product's environment, with its extra `convert`.
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
import onnx
from numpy.typing import NDArray

from models import BUNDLE
from models.chip.calibration import collect, material
from models.chip.graphs import literal_session, rewritten
from sonic_edge.errors import SonicEdgeError
from sonic_edge.model.bundle import Bundle

NAME = "reference.npz"
N_CALLS = 4
"""Of each graph: a second's worth of agreement, and small."""
_LINE = re.compile(r"^reference:.*\n", re.MULTILINE)


def arrays(
    bundle: Bundle, calls: Dict[str, List[Dict[str, NDArray[np.float32]]]], exact: Optional[Path]
) -> Dict[str, NDArray[np.generic]]:
    """What the file holds.

    Args:
        bundle: Whose graphs.
        calls: Stage -> calls, each input name -> array.
        exact: A folder of floating-point graphs.
    """
    held: Dict[str, NDArray[np.generic]] = {}
    for stage, kept in calls.items():
        inputs = {name: _packed(name, [call[name] for call in kept], bundle) for name in kept[0]}
        feeds = [
            {name: _unpacked(array)[i % len(array)][None] for name, array in inputs.items()} for i in range(len(kept))
        ]
        content = (exact / f"{stage}.onnx").read_bytes() if exact else bundle.stage(stage, "cpu").path.read_bytes()
        session = literal_session(rewritten(onnx.load_from_string(content), False).SerializeToString())
        names = list(bundle.spec.stages[stage].outputs)
        made = [session.run(names, feed) for feed in feeds]
        held.update({f"{stage}/in/{name}": array for name, array in inputs.items()})
        held.update({f"{stage}/out/{n}": np.concatenate([m[k] for m in made]) for k, n in enumerate(names)})
    return held


def _packed(name: str, given: List[NDArray[np.float32]], bundle: Bundle) -> NDArray[np.generic]:
    """An input of all calls, small: faces as eight bits and once if they are the same, the rest in half precision."""
    array = np.concatenate(given)
    if name != bundle.spec.tensors.face:
        return array.astype(np.float16)
    faces = np.rint(array * 255).clip(0, 255).astype(np.uint8)
    return faces[:1] if (faces == faces[:1]).all() else faces


def _unpacked(array: NDArray[np.generic]) -> NDArray[np.float32]:
    whole = array.astype(np.float32)
    return whole / np.float32(255) if array.dtype == np.uint8 else whole


def write(bundle_folder: Path, exact: Optional[Path], speech: Optional[Path], portraits: Optional[Path]) -> Path:
    """Write the file and name it in bundle.yaml.

    Raises:
        SonicEdgeError: If the bundle cannot be run, or no recording or photo can be used.
    """
    bundle = Bundle(bundle_folder)
    recordings, faces, _ = material(bundle, speech, portraits)
    path = bundle_folder / NAME
    held = arrays(bundle, collect(bundle, recordings, faces[:1], N_CALLS, seed=1), exact)
    np.savez_compressed(path, **held)  # type: ignore[arg-type]  # numpy: a ** might hold its own allow_pickle
    line = f"reference: {{path: {NAME}, sha256: {hashlib.sha256(path.read_bytes()).hexdigest()}}}\n"
    about = bundle_folder / "bundle.yaml"
    text = _LINE.sub("", about.read_text("utf8"))
    about.write_text(f"{text}{line}", "utf8")
    return path


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write what a bundle's graphs must compute.")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--float", type=Path, dest="exact", help="folder of the graphs in floating point")
    parser.add_argument("--speech", type=Path, help="folder of recordings (default: the sample)")
    parser.add_argument("--portraits", type=Path, help="folder of photos (default: the sample)")
    args = parser.parse_args()
    try:
        path = write(args.bundle, args.exact, args.speech, args.portraits)
    except SonicEdgeError as e:
        print(e, file=sys.stderr)
        return 1
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB, {N_CALLS} calls of each graph")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
