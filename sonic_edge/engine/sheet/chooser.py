"""The interface of the choosers, which select the frames for a contact sheet."""

from dataclasses import dataclass
from typing import List, Protocol, Sequence, Tuple

from ...media import Image
from .strip import Track


@dataclass(frozen=True)
class Moment:
    """A selected frame and its caption."""

    index: int
    """Index of the frame."""
    what: str
    """What the frame shows."""
    value: str
    """The value behind it, such as ``jaw 0.81``."""


class Chooser(Protocol):
    """Selects frames of a clip that are worth a look, and locates the mouth in them."""

    n_frames: int
    fps: float
    n_stills: int
    """Number of moments."""
    opening_words: str
    """What `opening` measures, for the legend of the strip."""

    def look(self, index: int, image: Image) -> Sequence[int]:
        """Examine the next frame; returns the numbers of the stills for which it is the best so far."""

    def part(self, index: int) -> Tuple[slice, slice]:
        """Rows and columns of the mouth in a frame; always the same size, never empty."""

    def moments(self) -> List[Moment]:
        """The selected frames; only after the last frame."""

    def opening(self) -> Track:
        """How far the mouth opens over time, 0..1.2; only after the last frame."""
