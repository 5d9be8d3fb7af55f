"""The studio as shipped, except that a picture whose sound holds a click is marked in a corner; for `measure_live`."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from sonic_edge.engine.mirror import Mirror
from sonic_edge.live.studio.process import main

CLICK_EVERY_S = 2.5
MARKED_S = 0.2
LOUD = 0.95


class Pose(dict):
    """One that is to be marked."""


def mark(mirror_class):
    hear, draw = mirror_class.hear, mirror_class.draw
    clicks = []

    def marking_hear(self, heard):
        loud = np.flatnonzero(np.abs(heard.samples) > LOUD)
        if len(loud):
            at_s = heard.at_s - (len(heard.samples) - int(loud[0])) / 16000
            if not clicks or at_s > clicks[-1] + 1:
                clicks.append(at_s)
                self.reported = False
        cues = hear(self, heard)
        for i, cue in enumerate(cues):
            if clicks and 0 <= cue.at_s - clicks[-1] < MARKED_S:
                cues[i] = replace(cue, pose=Pose(cue.pose))
                if not self.reported:
                    self.reported = True
                    with Path(os.environ["SONIC_MARKS"]).open("a") as file:
                        file.write(f"{clicks[-1]} {cue.at_s}\n")
        return cues

    def marking_draw(self, pose):
        image = draw(self, pose)
        image[:48, :48] = 255 if isinstance(pose, Pose) else 0
        return image

    mirror_class.hear, mirror_class.draw = marking_hear, marking_draw


if __name__ == "__main__":
    mark(Mirror)
    sys.exit(main())
