"""Bundles for the doubles of the chip's runtimes, and the doubles themselves."""

import hashlib
import shutil
import sys
from pathlib import Path

import yaml

DOUBLES = Path(__file__).parent / "doubles"
sys.path.insert(0, str(DOUBLES))

import acl  # noqa: E402
import mindspore_lite  # noqa: E402
from acl import _state as chip  # noqa: E402
from chip_double import Misuse, faults, file  # noqa: E402

from sonic_edge.model.backends.onnx_model import read_model  # noqa: E402
from sonic_edge.model.backends.onnx_narrow import narrow  # noqa: E402
from sonic_edge.model.store import find_bundle  # noqa: E402

__all__ = ["DOUBLES", "Misuse", "acl", "chip", "chip_bundle", "compiled", "faults", "file", "mindspore_lite"]

_KINDS = {"mindspore_lite": (file.MINDIR, ".mindir"), "acl": (file.OM, ".om")}


def compiled(stage, backend, folder, **description):
    """The INT8 graph of a stage, as the CPU backend runs it, as a file of the double of that backend, as described."""
    mark, suffix = _KINDS[backend]
    made = file.Description(**description) if description else None
    model = read_model(stage.path.read_bytes())
    narrow(model)
    return file.write(folder / f"{stage.name}{suffix}", mark, model.SerializeToString(), made)


def chip_bundle(folder, *backends, of="sonic-net"):
    """The shipped bundle, or that of a folder, with the same weights for these backends too; its folder."""
    shipped = find_bundle(str(of))
    shutil.copytree(shipped.folder, folder)
    source = folder / "bundle.yaml"
    data = yaml.safe_load(source.read_text(encoding="utf-8"))
    for name, stage in data["stages"].items():
        stage["files"].pop("mindspore_lite", None)
        for backend in backends:
            path = compiled(shipped.stage(name, "cpu"), backend, folder)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            stage["files"][backend] = {"path": path.name, "sha256": digest, "soc": "Ascend310B4"}
    source.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return folder
