"""How the network is made: corpus, training, export, quantisation. Never imported by the running product."""

from pathlib import Path

import sonic_edge  # noqa: F401  before onnxruntime is loaded: it switches its telemetry off

BUILD = Path(__file__).parent / "build"
"""Where everything between the corpus and the bundle is kept; not in the repository."""
BUNDLE = Path(__file__).parent / "bundles" / "sonic-net"
"""The bundle that ships with the product."""
