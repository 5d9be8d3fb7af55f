"""Turns a photo into a portrait: `photo` reads it safely, `faces` finds the face, `eyes` measures lids and irises,
`matte` separates the person, `crop` cuts the canvas, `remarks` warns about what will be hard to animate."""

from .crop import make_portrait
from .faces import Face, FaceFinder, is_single_frontal_face
from .photo import read_image

__all__ = ["Face", "FaceFinder", "is_single_frontal_face", "make_portrait", "read_image"]
