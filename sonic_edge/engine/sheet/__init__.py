"""A contact sheet: one picture that shows people and reviewers what became of a clip.

`chooser` says who tells which frames it shows: `moments` by the motion they are meant to show, `seen` by how they look.
`strip` draws mouth and sound over time, `paper` is what all of it is drawn on, `page` puts it together.
"""

from .chooser import Chooser
from .moments import Meant
from .page import Sheet
from .seen import Seen

__all__ = ["Chooser", "Meant", "Seen", "Sheet"]
