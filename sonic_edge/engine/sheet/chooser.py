"""What a contact sheet is told by: who chooses the frames it shows."""

from dataclasses import dataclass
from typing import List, Protocol, Sequence, Tuple

from ...media import Image
from .strip import Track


@dataclass(frozen=True)
class Moment:
    """A frame that shows something."""

    index: int
    """Of the frame."""
    what: str
    """What it shows."""
    value: str
    """How much of it."""


class Chooser(Protocol):
    """Says which frames of a clip are worth a look, and where the mouth is in them."""

    n_frames: int
    fps: float
    n_stills: int
    """Moments there will be."""
    opening_words: str
    """What `opening` is, for the key of the strip."""

    def look(self, index: int, image: Image) -> Sequence[int]:
        """See the next frame; numbers of the stills for which it is the best, so far."""

    def part(self, index: int) -> Tuple[slice, slice]:
        """Rows and columns of a frame that hold the mouth; always the same size, never empty."""

    def moments(self) -> List[Moment]:
        """What the stills show, once all frames have gone by."""

    def opening(self) -> Track:
        """How far the mouth opens, 0..1.2, once all frames have gone by."""
