"""What stands for a compiled model: a head that says for which chip, and the ONNX that it computes."""

import json
import struct
from pathlib import Path
from typing import Tuple

import onnx

OM, MINDIR = b"IMOD", b"MIND"


def _write(path: Path, magic: bytes, model: onnx.ModelProto, soc: str) -> None:
    head = json.dumps({"soc": soc}).encode()
    path.write_bytes(magic + struct.pack("<I", len(head)) + head + model.SerializeToString())


def _read(path: Path, magic: bytes) -> Tuple[onnx.ModelProto, str]:
    whole = path.read_bytes()
    if whole[:4] != magic:
        raise SystemExit(f"{path} is not a {magic.decode()} file")
    (size,) = struct.unpack("<I", whole[4:8])
    return onnx.load_from_string(whole[8 + size :]), json.loads(whole[8 : 8 + size])["soc"]


def write_om(path: Path, model: onnx.ModelProto, soc: str) -> None:
    _write(path, OM, model, soc)


def read_om(path: Path) -> Tuple[onnx.ModelProto, str]:
    return _read(path, OM)


def write_mindir(path: Path, model: onnx.ModelProto, soc: str) -> None:
    _write(path, MINDIR, model, soc)


def read_mindir(path: Path) -> Tuple[onnx.ModelProto, str]:
    return _read(path, MINDIR)
