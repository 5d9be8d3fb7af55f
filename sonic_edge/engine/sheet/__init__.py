"""A contact sheet: one picture that shows how a clip turned out.

A `chooser` selects the frames: in `moments` by the motion they are meant to show, in `seen` by their pixels. `strip`
plots mouth and sound over time, `paper` has the drawing primitives, `page` lays everything out.
"""

from .chooser import Chooser
from .moments import MotionChooser
from .page import Sheet
from .seen import PictureChooser

__all__ = ["Chooser", "MotionChooser", "PictureChooser", "Sheet"]
