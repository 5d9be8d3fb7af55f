"""A photo speaks: from a portrait, and a recording or sound still arriving, to labelled pictures and a video."""
