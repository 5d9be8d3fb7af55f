"""``python -m tests.bench.child SIZE PRESET RECORDING THREADS``: a video in a process of its own."""

import json
import sys
import tempfile
import time
from pathlib import Path

from sonic_edge.config import Config, Controls, EncodeSettings, ModelSettings
from sonic_edge.engine.pipeline import Pipeline
from sonic_edge.media import Request

from .cost import cpu_s
from .stages import PHOTO


def main() -> int:
    """Make it and print the cost, without loading the model."""
    size, preset, recording, threads = sys.argv[1:]
    config = Config(
        controls=Controls(min_resolution=int(size)),
        encode=EncodeSettings.model_validate({"preset": preset}),
        model=ModelSettings(threads=int(threads)),
    )
    with tempfile.TemporaryDirectory() as folder, Pipeline(config) as pipeline:
        before, since = cpu_s(), time.monotonic()
        report = pipeline.render(Request(PHOTO, Path(recording), Path(folder) / "x.mp4"))
        reported = {
            "cpu_s": cpu_s() - before,
            "wall_s": time.monotonic() - since,
            "n_frames": report["video"]["n_frames"],
            "stages_s": report["timings_s"],
        }
    print(json.dumps(reported))
    return 0


if __name__ == "__main__":
    sys.exit(main())
