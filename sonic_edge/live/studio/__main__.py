"""``python -m sonic_edge.live.studio``: the studio process, started by the daemon."""

import sys

from .process import main

sys.exit(main())
