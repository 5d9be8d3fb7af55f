"""Models of kind motion: the network predicts how the face moves, the renderer warps the photo."""
