"""All checks, in the order in which they are printed."""

from dataclasses import replace
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

from ..config import Config, load_config
from ..errors import ConfigError, DeviceError, RequestError
from ..process.isolated import account_of
from ..service.control import ask_status
from ..service.status import Status
from . import box, chip, devices, model, program, service
from .finding import FAILED, Check, Context, Finding, failed, not_checked, ok, run_check

SETTINGS = "settings"

_ASK_S = 10.0
_SLOW_S = 60.0  # for checks that are slow on a small board

WITHOUT_SETTINGS = (
    Check("python", program.python, _SLOW_S),
    Check("unit", service.unit, as_daemon=False),
    Check("log", service.log, as_daemon=False),
    Check("clock", box.clock),
    Check("temperature", box.temperature),
    Check("flash", box.wear),
)
"""Checks that need no settings."""

WITH_SETTINGS = (
    Check("settings file", service.settings_file),
    Check("user", service.user, as_daemon=False),
    Check("daemon", service.daemon, as_daemon=False),
    Check("disk", box.disk),
    Check("folders", box.folders),
    Check("failed jobs", service.failures),
    Check("memory", box.memory),
    Check("chip", chip.health, _SLOW_S),
    Check("chip devices", chip.devices),
    Check("CANN", chip.cann, _SLOW_S),
    Check("model files", model.bundle, _SLOW_S),
    Check("model", model.backend, 0.0),  # 0 stands for worker.start_s, as long as the daemon would wait
    Check("model result", model.result, 0.0),
    Check("face networks", model.faces, _SLOW_S),
    Check("encoder", model.encoder, _SLOW_S),
    Check("portrait", model.portrait, _SLOW_S),
    Check("label", model.label, _SLOW_S),
    Check("camera", devices.camera, _SLOW_S),
    Check("microphone", devices.microphone, 30.0),
    Check("loudspeaker", devices.loudspeaker, 30.0),
    Check("screen", devices.screen, 45.0),
    Check("metrics", service.metrics, as_daemon=False),
)


def examine(path: Optional[Path], report: Callable[[Finding], None]) -> Tuple[Context, List[Finding]]:
    """Run all checks.

    Args:
        path: The settings file; None: the defaults.
        report: Called with each finding as soon as it is made.

    Returns:
        What was known before the checks, and the findings.
    """
    findings: List[Finding] = []

    def note(found: Sequence[Finding]) -> None:
        for finding in found:
            findings.append(finding)
            report(finding)

    unit = service.unit_properties()
    context = Context(
        Config(), path, no_answer="not asked: the settings are wrong", unit=unit, account=account_of(unit)
    )
    try:
        context = replace(context, config=load_config(path))
    except ConfigError as e:
        todo = "correct it; `sonic-edge check-config` without --config prints every setting with its meaning"
        note([replace(failed(line, todo), check=SETTINGS) for line in str(e).splitlines()])
        for check in WITHOUT_SETTINGS:
            note(run_check(check, context))
        note([replace(not_checked("the settings are wrong"), check=check.name) for check in WITH_SETTINGS])
        return context, findings
    note([replace(ok(_summary(context)), check=SETTINGS)])
    status, no_answer = _ask(context.root / "run")
    context = replace(context, status=status, no_answer=no_answer)
    for check in (*WITHOUT_SETTINGS, *WITH_SETTINGS):
        note(run_check(replace(check, seconds=check.seconds or context.config.worker.start_s), context))
    return context, findings


def exit_status(findings: Sequence[Finding]) -> int:
    """The command's exit status: 0 if no check failed, 78 if a person must correct the settings, else 1."""
    failures = {finding.check for finding in findings if finding.state == FAILED}
    return ConfigError.exit_code if SETTINGS in failures else int(bool(failures))


def _summary(context: Context) -> str:
    values_here, defaults = context.config.model_dump(), Config().model_dump()
    n = sum(
        values_here[section][name] != value for section, values in defaults.items() for name, value in values.items()
    )
    return f"{context.path or 'no file; the defaults apply'}: {n} settings differ from the defaults"


def _ask(folder: Path) -> Tuple[Optional[Status], str]:
    """The daemon's status, or why there is none."""
    try:
        return ask_status(folder, timeout_s=_ASK_S), ""
    except (DeviceError, RequestError) as e:
        return None, str(e)
