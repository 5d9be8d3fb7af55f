"""``python -m sonic_edge.studio``: what the daemon starts."""

import sys

from .process import main

sys.exit(main())
