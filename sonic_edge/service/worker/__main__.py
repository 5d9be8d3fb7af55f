"""``python -m sonic_edge.service.worker``: the worker process, started by the daemon."""

import sys

from .process import main

sys.exit(main())
