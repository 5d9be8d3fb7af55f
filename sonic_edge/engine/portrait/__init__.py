"""A photo becomes a portrait: `photo` reads it within bounds, `faces` finds the face, `eyes` reads lids and
irises, `matte` the person, `crop` cuts the canvas, `remarks` says what will be hard."""

from .crop import make_portrait
from .faces import Face, FaceFinder, face_alone
from .photo import read_image

__all__ = ["Face", "FaceFinder", "face_alone", "make_portrait", "read_image"]
