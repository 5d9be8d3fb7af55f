"""``python -m sonic_edge.service.worker``: what the daemon starts."""

import sys

from .process import main

sys.exit(main())
