"""Models of kind motion: the network says how the face moves, the renderer moves the photo."""
