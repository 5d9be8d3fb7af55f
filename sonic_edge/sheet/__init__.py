"""A contact sheet: one picture that shows people and reviewers what became of a clip.

`moments` says which frames and which part of them, `strip` draws mouth and sound over time, `paper` is what all of it
is drawn on, `page` puts it together.
"""

from .page import Sheet

__all__ = ["Sheet"]
