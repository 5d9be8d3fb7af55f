"""All checks, in the order in which they are told."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..config import Config, load_config
from ..errors import ConfigError, DeviceError, RequestError
from ..process.isolated import account_of
from ..service.control import ask
from . import box, chip, devices, model, program, service
from .finding import FAILED, Case, Check, Finding, carry_out, failed, not_checked, ok

SETTINGS = "settings"

_ASK_S = 10.0
_RARELY_S = 60.0  # what is slow on a small board

ALWAYS = (
    Check("python", program.python, _RARELY_S),
    Check("unit", service.unit, as_daemon=False),
    Check("log", service.log, as_daemon=False),
    Check("clock", box.clock),
    Check("temperature", box.warmth),
    Check("flash", box.wear),
)
"""What needs no settings."""

BY_SETTINGS = (
    Check("settings file", service.settings_file),
    Check("user", service.user, as_daemon=False),
    Check("daemon", service.daemon, as_daemon=False),
    Check("disk", box.disk),
    Check("folders", box.folders),
    Check("failed jobs", service.failures),
    Check("memory", box.memory),
    Check("chip", chip.health, _RARELY_S),
    Check("chip devices", chip.devices),
    Check("CANN", chip.cann, _RARELY_S),
    Check("model files", model.bundle, _RARELY_S),
    Check("model", model.backend, 0.0),  # worker.start_s: as long as the daemon would wait
    Check("model result", model.result, 0.0),
    Check("face networks", model.faces, _RARELY_S),
    Check("encoder", model.encoder, _RARELY_S),
    Check("portrait", model.portrait, _RARELY_S),
    Check("label", model.label, _RARELY_S),
    Check("camera", devices.camera, _RARELY_S),
    Check("microphone", devices.microphone, 30.0),
    Check("loudspeaker", devices.loudspeaker, 30.0),
    Check("screen", devices.screen, 45.0),
    Check("metrics", service.metrics, as_daemon=False),
)


def examine(path: Optional[Path], tell: Callable[[Finding], None]) -> Tuple[Case, List[Finding]]:
    """Look at everything.

    Args:
        path: The settings; None: the defaults.
        tell: Told of each finding as soon as it is there.

    Returns:
        What was known beforehand, and the findings.
    """
    findings: List[Finding] = []

    def note(found: Sequence[Finding]) -> None:
        for finding in found:
            findings.append(finding)
            tell(finding)

    unit = service.unit_properties()
    case = Case(Config(), path, silence="not asked: the settings are wrong", unit=unit, account=account_of(unit))
    try:
        case = replace(case, config=load_config(path))
    except ConfigError as e:
        todo = "correct it; `sonic-edge check-config` without --config prints every setting with its meaning"
        note([replace(failed(line, todo), check=SETTINGS) for line in str(e).splitlines()])
        for check in ALWAYS:
            note(carry_out(check, case))
        note([replace(not_checked("the settings are wrong"), check=check.name) for check in BY_SETTINGS])
        return case, findings
    note([replace(ok(_in_words(case)), check=SETTINGS)])
    status, silence = _ask(case.root / "run")
    case = replace(case, status=status, silence=silence)
    for check in (*ALWAYS, *BY_SETTINGS):
        note(carry_out(replace(check, seconds=check.seconds or case.config.worker.start_s), case))
    return case, findings


def exit_status(findings: Sequence[Finding]) -> int:
    """Of the command: 0 if nothing failed, 78 if a person must correct the settings, else 1."""
    bad = {finding.check for finding in findings if finding.state == FAILED}
    return ConfigError.exit_code if SETTINGS in bad else int(bool(bad))


def _in_words(case: Case) -> str:
    own, usual = case.config.model_dump(), Config().model_dump()
    n = sum(own[section][name] != value for section, values in usual.items() for name, value in values.items())
    return f"{case.path or 'no file; the defaults hold'}: {n} settings differ from the defaults"


def _ask(folder: Path) -> Tuple[Optional[Dict[str, Any]], str]:
    """What the daemon says, or why it does not."""
    try:
        return ask(folder, {"order": "status"}, timeout_s=_ASK_S), ""
    except (DeviceError, RequestError) as e:
        return None, str(e)
