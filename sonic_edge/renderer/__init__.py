"""Makes a photo move: a portrait and a pose to a frame, by warping the photo itself.

`geometry` says where things are on a face, `lips` finds them in the photo, `head`, `mouth` and `eyes` say how they
move, `interior` paints what is behind the lips, `photo` is looked up, `pose` holds what is asked, `compose` puts it
together.
"""

from .compose import Renderer

__all__ = ["Renderer"]
