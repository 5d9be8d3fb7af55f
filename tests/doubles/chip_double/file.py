"""Model files of the doubles: a mark, the hash of the rest, a description, and an ONNX graph.

A real `.om` or MindIR is refused like a damaged file, and one of these by the real libraries.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import List, Optional, Tuple

OM, MINDIR = b"SEDOUBLE.om\n", b"SEDOUBLE.mi\n"


@dataclass
class Description:
    """How the file presents its graph."""

    soc: str = "Ascend310B4"
    """The chip it is for; empty: any."""
    inputs: List[str] = field(default_factory=list)
    """The graph's own names, in the order in which the runtime takes them; empty: the graph's order."""
    outputs: List[str] = field(default_factory=list)
    input_names: List[str] = field(default_factory=list)
    """What the runtime calls them, in the same order; empty: as the graph does."""
    output_names: List[str] = field(default_factory=list)
    dtype: str = "float32"
    """What the runtime says of the type of its inputs and outputs."""


def write(path: Path, mark: bytes, onnx: bytes, description: Optional[Description] = None) -> Path:
    """A model file."""
    head = json.dumps(asdict(description or Description())).encode()
    rest = len(head).to_bytes(4, "little") + head + onnx
    path.write_bytes(mark + hashlib.sha256(rest).digest() + rest)
    return path


def read(path: str, mark: bytes) -> Tuple[Description, bytes]:
    """What is in a model file.

    Raises:
        ValueError: If it is not one of this kind, or damaged.
    """
    data = Path(path).read_bytes()
    digest, rest = data[len(mark) : len(mark) + 32], data[len(mark) + 32 :]
    if not data.startswith(mark) or hashlib.sha256(rest).digest() != digest:
        raise ValueError(f"{path} is no model of this kind, or damaged")
    n = 4 + int.from_bytes(rest[:4], "little")
    return Description(**json.loads(rest[4:n])), rest[n:]
