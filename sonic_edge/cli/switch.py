"""Has the running daemon go on with another bundle, and tells whether it does."""

import time
from pathlib import Path
from typing import Any, Dict

from ..config import Config
from ..errors import ConfigError, DeviceError, RequestError
from ..model.store import Entry

_LOOK_S = 0.3
_ASK_S = 10.0


def take_over(run: Path, entry: Entry, config: Config) -> str:
    """Tell the daemon, and wait until it works with the bundle.

    Args:
        run: Where its socket is.
        entry: What was chosen.
        config: How long its worker may take to start.

    Returns:
        What comes of it, in words.

    Raises:
        ConfigError: If its own settings name another bundle.
        DeviceError: If it refuses it, or does not get to it in time.
    """
    from ..service.control import ask

    try:
        answer = ask(run, {"order": "reload"}, timeout_s=_ASK_S)
    except DeviceError:
        return (
            f"no daemon answers in {run}; one that runs takes it over with `systemctl reload sonic-edge`, any other at "
            "its next start"
        )
    except RequestError as e:
        raise DeviceError(f"{entry.id} is chosen, but the daemon goes on as before: {e}") from e
    if answer["model"]["digest"] != entry.digest:
        raise ConfigError(
            f"{entry.id} is chosen, but the daemon that answers in {run} goes on with {answer['model']['folder']}: its "
            f"settings ({answer['settings'] or 'none'}) name it, or another model.store"
        )
    if answer["job"]:
        return f"the daemon takes it over after the job {answer['job']}"
    return _wait(run, entry, config.worker.start_s)


def _wait(run: Path, entry: Entry, most_s: float) -> str:
    from ..service.control import ask

    end = time.monotonic() + most_s
    while time.monotonic() < end:
        status: Dict[str, Any] = ask(run, {"order": "status"}, timeout_s=_ASK_S)
        if status["settings"]["error"]:
            raise DeviceError(f"the daemon refuses {entry.id} and goes on as before: {status['settings']['error']}")
        if status.get("model", {}).get("digest") == entry.digest and status["worker"]["state"] != "none":
            return "the daemon works with it now"
        time.sleep(_LOOK_S)
    raise DeviceError(
        f"{entry.id} is chosen, but the daemon has not loaded it in {most_s:g} s; see `sonic-edge status`"
    )


def held_by_daemon(run: Path, entry: Entry) -> str:
    """Why the running daemon needs a bundle; empty if it does not, or none runs."""
    from ..service.control import ask

    try:
        model = ask(run, {"order": "status"}, timeout_s=_ASK_S).get("model", {})
    except (DeviceError, RequestError):
        return ""
    return "the running daemon works with it" if model.get("digest") == entry.digest else ""
