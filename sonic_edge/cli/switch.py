"""Makes the running daemon switch to another model bundle, and reports whether it did."""

import time
from pathlib import Path

from ..config import Config
from ..errors import ConfigError, DeviceError, RequestError
from ..model.store import Entry

_POLL_S = 0.3
_ASK_S = 10.0


def switch_daemon(run: Path, entry: Entry, config: Config) -> str:
    """Make the daemon read the choice, and wait until it uses the bundle.

    Args:
        run: The folder of its socket.
        entry: The bundle that was chosen.
        config: How long its worker may take to start.

    Returns:
        The outcome, in words.

    Raises:
        ConfigError: If the daemon's own settings name another bundle.
        DeviceError: If the daemon refuses the bundle, or does not load it in time.
    """
    from ..service.control import ask_reload

    try:
        answer = ask_reload(run, timeout_s=_ASK_S)
    except DeviceError:
        return (
            f"no daemon answers in {run}; a daemon that is running switches with `systemctl reload sonic-edge`, one "
            "that is not at its next start"
        )
    except RequestError as e:
        raise DeviceError(f"{entry.id} is chosen, but the daemon stays with the old bundle: {e}") from e
    if answer.model.digest != entry.digest:
        raise ConfigError(
            f"{entry.id} is chosen, but the daemon that answers in {run} stays with {answer.model.folder}: its "
            f"settings ({answer.settings or 'none'}) name that bundle, or another model.store"
        )
    if answer.job:
        return f"the daemon switches to it after the job {answer.job}"
    return _wait(run, entry, config.worker.start_s)


def _wait(run: Path, entry: Entry, timeout_s: float) -> str:
    from ..service.control import ask_status

    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        status = ask_status(run, timeout_s=_ASK_S)
        if status.settings is not None and status.settings.error:
            raise DeviceError(f"the daemon refuses {entry.id} and stays with the old bundle: {status.settings.error}")
        has_worker = status.worker is not None and status.worker.state != "none"
        if status.model is not None and status.model.digest == entry.digest and has_worker:
            return "the daemon uses it now"
        time.sleep(_POLL_S)
    raise DeviceError(
        f"{entry.id} is chosen, but the daemon has not loaded it in {timeout_s:g} s; see `sonic-edge status`"
    )


def used_by_daemon(run: Path, entry: Entry) -> str:
    """Why a bundle must stay: the running daemon uses it; empty if it does not, or no daemon answers."""
    from ..service.control import ask_status

    try:
        model = ask_status(run, timeout_s=_ASK_S).model
    except (DeviceError, RequestError):
        return ""
    return "the running daemon uses it" if model is not None and model.digest == entry.digest else ""
