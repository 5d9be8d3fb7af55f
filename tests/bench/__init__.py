"""What things cost: processor time of each stage, of whole videos and of the box at rest, beside the floors under it.

Processor time (user and system, all threads) is measured, not time on the clock, and everything that is compared is
measured turn by turn in one run: another program on the machine then disturbs both sides alike. What counts is the
ratios; the milliseconds are this machine's.
"""

import sonic_edge  # noqa: F401  before onnxruntime is loaded: it switches its telemetry off
