"""The daemon: takes jobs from the spool, has the worker do them, and handles every error.

It stays light and never opens a job's files. One thread handles the jobs (`service`), in two loops: waiting for a job
(`Spool.watch`) and waiting for the worker. Each pass of either loop notifies the systemd watchdog, provided that the
thread for the screen, the studio and orders (`kiosk`) is running too. A worker that hangs does not trip the watchdog:
the daemon kills it itself, see ``worker.stall_s``.

================================  ================================================================================
job: RequestError, ConfigError    move to failed with reason.json; continue
job: DeviceError, worker died     retry with a fresh worker, ``worker.attempts`` attempts in all; then move to failed
job: cancelled                    kill the worker, move to failed
worker cannot start: ConfigError  exit with 78; the unit does not restart
worker cannot start: other        retry with back-off, for five minutes; then exit with 1; systemd restarts
new settings, another bundle      the next worker gets them; if it cannot start, log it and keep the old ones
spool: disk error                 wait with back-off; every step of the spool can be repeated
spool: disk full                  start no job; stop the running one, which counts as an attempt
SIGHUP                            reload the settings; if they are invalid, log it and keep the old ones
SIGTERM, SIGINT                   kill the worker, park the job to be run again at the next start, exit with 0
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
    """Run the daemon until a signal stops it. Call it from the main thread.

    Args:
        config: The settings.
        config_path: The file they came from and are reloaded from.
        command: The command that starts a worker.
        studio: The command that starts a studio.

    Returns:
        The exit status: 0 after SIGTERM or SIGINT, 78 if a person must change something, 1 if the machine failed.
    """
    recent = Recent()
    journal.set_up()
    logging.getLogger().addHandler(recent)
    log.info("starting; settings: %s; spool: %s", config_path or "the defaults", config.spool.root)
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
