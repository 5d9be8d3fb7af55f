"""Models of kind frames: the network paints the face, which is pasted back into the photo."""
