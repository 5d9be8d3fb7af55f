"""Runs a bundle once, in a process of its own, before anything depends on it."""

from pathlib import Path
from typing import Dict

from ..config import Config
from ..errors import ConfigError, DeviceError, SonicEdgeError

_KINDS = {e.__name__: e for e in (ConfigError, DeviceError)}


def try_isolated(folder: Path, config: Config) -> str:
    """Run a bundle as the daemon would: within the worker's limits, and as the daemon's user if root asks.

    Args:
        folder: The bundle's folder.
        config: Backend, memory and time limits.

    Returns:
        The result, in words.

    Raises:
        ConfigError: If the bundle is wrong.
        DeviceError: If the backend cannot run it, it hangs, or it crashes the process.
    """
    from ..doctor.service import unit_properties
    from ..process.isolated import Crashed, TimedOut, account_of, run_isolated

    account, seconds = account_of(unit_properties()), config.worker.start_s
    try:
        result: Dict[str, str] = run_isolated(lambda: _run(folder, config), seconds, account)
    except TimedOut as e:
        raise DeviceError(f"{folder}: the model did not finish within worker.start_s = {seconds:g} s") from e
    except Crashed as e:
        raise DeviceError(f"{folder}: running the model crashed the process: {e}") from e
    if "error" in result:
        raise _KINDS[result["error"]](result["words"])
    return result["words"]


def _run(folder: Path, config: Config) -> Dict[str, str]:
    """In the isolated process: ``words``, and ``error`` if it failed."""
    from ..process import limit_resources

    limit_resources(config.worker.memory_mb)
    backend = config.model.backend
    try:
        from ..engine.load import describe_worst, try_bundle
        from ..model.bundle import Bundle

        took_s, heard_s, agreements = try_bundle(Bundle(folder), config.model)
    except MemoryError:
        words = f"{folder}: worker.memory_mb = {config.worker.memory_mb}: not enough to run the model on {backend}"
        return {"error": "ConfigError", "words": words}
    except ImportError as e:
        return {"error": "DeviceError", "words": f"model.backend = {backend}: {e}; install what it needs"}
    except SonicEdgeError as e:
        return {"error": "ConfigError" if isinstance(e, ConfigError) else "DeviceError", "words": str(e)}
    except Exception as e:  # a bug of ours, or an unforeseen kind of model
        return {"error": "DeviceError", "words": f"{folder}: running the model failed: {type(e).__name__}: {e}"}
    speed = f"{1000 * took_s:.0f} ms for {heard_s:g} s of sound, {1000 * took_s / heard_s:.0f} ms a second"
    if agreements:
        right = describe_worst(agreements)
    else:
        right = "bundle.yaml names no reference, so their values could not be checked (models/README.md)"
    return {"words": f"ran once on {backend}: {speed}; outputs have the specified shapes and are finite; {right}"}
