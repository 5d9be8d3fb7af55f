"""Makes a photo speak: from a portrait and a recording (or live sound) to labelled pictures and a video."""
