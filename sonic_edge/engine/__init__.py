"""A photo speaks: from a portrait, and a recording or sound that is still arriving, to labelled pictures and a video."""
