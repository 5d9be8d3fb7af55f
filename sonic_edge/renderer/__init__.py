"""Makes a photo move: a portrait and a pose to a frame, by warping the photo itself.

`geometry` says where things are on a face, `head`, `mouth` and `eyes` how they move, `pose` what may be asked, and
`compose` puts it together.
"""

from .compose import Renderer

__all__ = ["Renderer"]
