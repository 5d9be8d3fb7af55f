"""Animates a photo: renders a frame from a portrait and a pose, by warping the photo itself.

Analysis of the photo: `geometry` defines the face's own coordinates and the displacement grid, `lips` locates the lips,
`palette` measures colours and light, `photo` prepares the photo for sub-pixel sampling.

Motion, each a few displacement fields weighted by the pose (which `pose` limits to what a photo can take): `head`,
`mouth`, `eyes`. `shading` changes the light as skin folds.

Picture: `layers` separates the person from the background, so that a moving head does not drag the background along and
uncovers a plausible one; `interior` has the inside of the mouth; `compose` puts it all together. The per-pixel work is
compiled, in `_pixels`: sampling the photo (_pixels.c) and drawing over it (_drawn.c).
"""

from .compose import Renderer

__all__ = ["Renderer"]
