"""The service: takes jobs from the spool, has the worker do them, and does what each error asks for.

It stays light and never opens a file of a job. Jobs are done in one thread (`service`), in two loops: waiting for a job
(`Spool.watch`) and waiting for the worker. Each pass of either is the watchdog's sign of life, if the thread of the
screen, the studio and people's orders (`kiosk`) turns as well; a worker that hangs is the daemon's own business, see
``worker.stall_s``.

================================  ================================================================================
job: RequestError, ConfigError    to failed with reason.json; go on
job: DeviceError, worker died     done again by a fresh worker, ``worker.attempts`` times in all; then to failed
job: cancelled                    kill the worker, to failed
worker cannot start: ConfigError  end with 78; the unit does not restart
worker cannot start: other        try again with back-off, for five minutes; then end with 1; systemd restarts
other settings, another bundle    the next worker gets them; if it cannot start with them, the old ones stay: told
spool: disk trouble               wait with back-off; every step of the spool can be done again
spool: no room                    no job is begun; the running one is stopped and counted as an attempt
SIGHUP                            read the settings again; wrong ones are refused and told, the old ones stay
SIGTERM, SIGINT                   kill the worker, park the job to be done again at the next start, end with 0
================================  ================================================================================
"""

import contextlib
import logging
from pathlib import Path
from typing import Optional, Sequence

from ... import journal
from ...config import Config
from ...errors import SonicEdgeError
from ...live.studio import COMMAND as STUDIO
from ...model.store import pinned
from ...spool import Spool
from ..worker import COMMAND
from .kiosk import Kiosk
from .recent import Recent
from .service import Service
from .signals import Signals
from .systemd import notify

__all__ = ["notify", "run"]

log = logging.getLogger(__name__)


def run(
    config: Config,
    config_path: Optional[Path] = None,
    command: Sequence[str] = COMMAND,
    studio: Sequence[str] = STUDIO,
) -> int:
    """Serve until told to stop. To be called from the main thread.

    Args:
        config: The settings.
        config_path: Where they came from, and are read again from.
        command: What to start as worker.
        studio: What to start as studio.

    Returns:
        The exit status: 0 after SIGTERM or SIGINT, 78 if a person must change something, 1 if the machine failed.
    """
    recent = Recent()
    journal.set_up()
    logging.getLogger().addHandler(recent)
    log.info("starting; settings from %s; spool %s", config_path or "nowhere, the defaults hold", config.spool.root)
    with Signals() as signals:
        try:
            config = pinned(config)
            with contextlib.ExitStack() as stack:
                spool = stack.enter_context(Spool(config.spool, config.disk))
                kiosk = stack.enter_context(Kiosk(config, spool.run, studio, signals.wake))
                service = Service(config, config_path, spool, kiosk, signals, recent, command)
                stack.enter_context(service).serve()
        except SonicEdgeError as e:
            log.error("%s", e)
            notify("STOPPING=1", f"STATUS={e}")
            return e.exit_code
        notify("STOPPING=1", "STATUS=stopped")
    log.info("stopped")
    return 0
