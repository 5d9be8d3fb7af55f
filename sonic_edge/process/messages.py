"""Messages between processes: dataclasses at both ends, lines of JSON in between, validated by the receiver.

A message class is a frozen dataclass. If several are sent in the same direction, each has a field with a `Literal` that
names its kind, and `Reader` distinguishes them by it. Unknown fields are ignored: the other end may be newer.
"""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Callable, Generic, Literal, Mapping, Type, TypeVar

from pydantic import Field, PlainValidator, TypeAdapter, WrapValidator

from ..errors import ConfigError, DeviceError, RequestError, SonicEdgeError

MessageT = TypeVar("MessageT")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


Text = Annotated[str, PlainValidator(_text)]
"""Any `str`. pydantic's own check refuses file names that are not UTF-8."""
FilePath = Annotated[Path, PlainValidator(lambda value: Path(_text(value)))]


def _none_if_wrong(value: object, check: Callable[[Any], Any]) -> Any:
    try:
        return check(value) if value != {} else None
    except ValueError:
        return None


IfRight = WrapValidator(_none_if_wrong)
"""For data from another version: ``Annotated[Optional[Part], IfRight]`` is None where it is not a valid `Part`."""


class Reader(Generic[MessageT]):
    """Reads the messages of one direction.

    Args:
        kinds: A message class, or a `Union` of several.
        tag: The field that distinguishes several.
    """

    def __init__(self, kinds: Any, tag: str = "") -> None:
        self._adapter: TypeAdapter[MessageT] = TypeAdapter(Annotated[kinds, Field(discriminator=tag)] if tag else kinds)

    def read(self, line: bytes) -> MessageT:
        """Decode a line and validate it.

        Raises:
            ValueError: If it is not a valid message of these kinds.
        """
        try:
            return self.check(json.loads(line))
        except RecursionError as e:
            raise ValueError("nested too deeply") from e

    def check(self, data: object) -> MessageT:
        """Validate decoded JSON.

        Raises:
            ValueError: If it is not a valid message of these kinds.
        """
        return self._adapter.validate_python(data)


_IF_NONE, _NOTHING = "if none", object()
LEFT_OUT: Mapping[str, Any] = {_IF_NONE: _NOTHING}
"""Metadata of a field that is left out of the JSON when it is None."""
EMPTY: Mapping[str, Any] = {_IF_NONE: {}}
"""Metadata of a field that is ``{}`` in the JSON when it is None."""


def encode(message: object) -> bytes:
    """A message as a line of JSON, with its newline."""
    return json.dumps(plain(message), default=str).encode() + b"\n"


def plain(value: Any) -> Any:
    """A message as JSON-ready data: dataclasses become dictionaries, sequences become lists, recursively."""
    if is_dataclass(value):
        found = ((f.name, getattr(value, f.name), f.metadata.get(_IF_NONE)) for f in fields(value))
        shown = ((name, it if it is not None else if_none) for name, it, if_none in found)
        return {name: plain(it) for name, it in shown if it is not _NOTHING}
    if isinstance(value, Mapping):
        return {key: plain(it) for key, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(it) for it in value]
    return value


# ---- errors -------------------------------------------------------------------------------------------------------

ErrorKind = Literal["ConfigError", "RequestError", "DeviceError"]
_KINDS: Mapping[ErrorKind, Type[SonicEdgeError]] = {
    "ConfigError": ConfigError,
    "RequestError": RequestError,
    "DeviceError": DeviceError,
}


def kind_of(error: SonicEdgeError) -> ErrorKind:
    """The name of an error's kind in a message."""
    return next((kind for kind, of in _KINDS.items() if isinstance(error, of)), "DeviceError")


def as_error(kind: ErrorKind, message: str) -> SonicEdgeError:
    """The error with this kind and message."""
    return _KINDS[kind](message)
