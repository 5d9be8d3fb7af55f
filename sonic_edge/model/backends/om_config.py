"""Wrapping a bare `.om` in a `.mindir` that MindSpore Lite can load: the converter's configuration and command.

MindSpore Lite does not load an `.om` (its only `ModelType` is MINDIR), but its converter wraps one in a `.mindir`. The
options for this are documented only in its source (github mindspore-ai/mindspore-lite 2b28870, in tools/:
converter/parser/om/om_model_parser.cc, common/parse_config_utils.cc, converter/converter_lite/converter_flags.cc).
Untested on a real chip.
"""

import re
import shlex
import tempfile
from pathlib import Path
from typing import List, Mapping, Tuple

from ...errors import ConfigError
from ..bundle import Stage

# the converter splits lines at "=" and lists at ":", drops blanks and quotes, and cannot escape any of them
_NAME = re.compile(r"[^=:\s\"'#\[\]]+")


def om_config(stage: Stage) -> str:
    """The content of the file for `converter_lite --fmk=OM --configFile`.

    The names can be chosen freely: an `.om` takes its tensors by position, in the order of the graph it was compiled
    from. A bundle's stage lists its tensors in that order.

    Raises:
        ConfigError: If a tensor's name or shape cannot be written in that file.
    """
    lines = ["[om_converter]"]
    for kind, tensors in (("input", stage.inputs), ("output", stage.outputs)):
        _check(stage, kind, tensors)
        lines += [
            f"{kind}_name_vector={':'.join(tensors)}",
            f"{kind}_shape_vector={':'.join(','.join(map(str, shape)) for shape in tensors.values())}",
            f"{kind}_data_type_vector={':'.join('FLOAT32' for _ in tensors)}",
        ]
    return "\n".join(lines) + "\n"


def wrap_command(om: Path, mindir: Path, config: Path) -> List[str]:
    """The command that wraps an `.om`.

    Args:
        om: The output of ATC.
        mindir: The output; the converter adds the suffix `.mindir` itself.
        config: A file with the content of `om_config`.
    """
    return [
        "converter_lite",
        "--fmk=OM",
        f"--modelFile={om}",
        f"--outputFile={mindir.with_suffix('') if mindir.suffix == '.mindir' else mindir}",
        "--device=Ascend",
        "--optimize=ascend_oriented",
        "--saveType=MINDIR",
        f"--configFile={config}",
    ]


def how_to_wrap(stage: Stage) -> str:
    """What to do about a stage whose file is an `.om`: a message with the exact command.

    The converter's configuration is written beside the `.om`, or to a temporary folder if that one is not writable.

    Raises:
        ConfigError: If the stage cannot be wrapped.
    """
    text = om_config(stage)
    config = stage.path.with_name(f"{stage.path.name}.cfg")
    try:
        config.write_text(text, encoding="utf-8")
    except OSError:
        config = Path(tempfile.mkdtemp(prefix="sonic-edge-")) / config.name
        config.write_text(text, encoding="utf-8")
    command = shlex.join(wrap_command(stage.path, stage.path.with_suffix(".mindir"), config))
    return (
        f"{stage.path}: MindSpore Lite does not load a bare .om: set model.backend to acl, or wrap it:\n{command}\n"
        "(converter_lite is in MindSpore Lite's package for Linux, tools/converter/converter; the file for "
        f"--configFile has been written), then add {stage.path.with_suffix('.mindir').name} and its sha256 to "
        f"bundle.yaml under stages.{stage.name}.files.mindspore_lite"
    )


def _check(stage: Stage, kind: str, tensors: Mapping[str, Tuple[int, ...]]) -> None:
    if not tensors:
        raise ConfigError(f"stages.{stage.name}.{kind}s: there are none; converter_lite needs at least one")
    for name, shape in tensors.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"stages.{stage.name}.{kind}s.{name}: converter_lite does not accept this name; it must not contain "
                "blanks or any of = : # [ ] ' \""
            )
        if not shape or min(shape) < 1:
            raise ConfigError(
                f"stages.{stage.name}.{kind}s.{name}: its shape is {list(shape)}; an .om is wrapped with fixed shapes "
                "of one dimension or more"
            )
