"""Makes a photo move: a portrait and a pose to a frame, by warping the photo itself.

Where and what: `geometry` has the face's own coordinates and the grid displacements live on, `lips` finds the lips in
the photo, `palette` reads its colours and its light, `photo` is looked up between its pixels.

Movement, each a few displacements weighted by the pose (`pose` holds it within what a photo can bear): `head`, `mouth`,
`eyes`. `shading` says how the light changes as skin folds.

Picture: `layers` keeps the person apart from the background, so that a head that moves takes nothing along and what it
uncovers is there; `interior` has what is behind the lips; `compose` puts it all together. What is done for each pixel
is compiled, `_pixels`: the photo looked up (_pixels.c) and what is drawn over it (_drawn.c).
"""

from .compose import Renderer

__all__ = ["Renderer"]
