"""Sonic Edge: an offline appliance that makes a photo speak."""

import os

# Before numpy is loaded: the matrices here are small, and OpenBLAS's threads, waiting for each other on busy cores,
# cost several times what they save (30 minutes of mel: 15 s of CPU instead of 2.4).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
