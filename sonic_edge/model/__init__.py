"""A model on disk: its bundle, the store of bundles, the mel spectrogram it is given, and the backends that run it."""
