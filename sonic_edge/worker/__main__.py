"""``python -m sonic_edge.worker``: what the daemon starts."""

import sys

from .process import main

sys.exit(main())
