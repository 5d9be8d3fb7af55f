"""Models of kind frames: the network paints the face, which is then pasted into the photo."""
