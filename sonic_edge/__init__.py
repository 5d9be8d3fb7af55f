"""Sonic Edge: an offline appliance that makes a photo speak."""

import os

# Before numpy is loaded: the matrices here are small, and OpenBLAS's threads, waiting for one another on busy cores,
# cost several times what they save (30 minutes of mel take 15 s of CPU instead of 2.4).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Before onnxruntime is loaded, in every process: from 1.32 on it otherwise sends telemetry, contacts an internet host,
# and leaves a device id and a database in the user's cache.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
