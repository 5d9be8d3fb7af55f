"""``python -m sonic_edge.live.studio``: what the daemon starts."""

import sys

from .process import main

sys.exit(main())
