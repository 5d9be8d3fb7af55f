"""Injected faults, and the messages of python/api/_checkparam.py."""

import builtins
import functools
from typing import Any, Callable, List

from chip_double import faults


def function(body: Callable[..., Any]) -> Callable[..., Any]:
    """Counted, and failing on request: `words` raise RuntimeError, `TypeError: words` a TypeError."""
    name = f"mindspore_lite.{body.__qualname__}"

    @functools.wraps(body)
    def call(*args: Any, **named: Any) -> Any:
        what = faults.due(name)
        if what is not None:
            kind, _, words = what.partition(": ")
            error = getattr(builtins, kind, None)
            is_error = isinstance(error, type) and issubclass(error, Exception)
            raise error(words) if is_error else RuntimeError(what)
        return body(*args, **named)

    return call


def check_isinstance(arg_name: str, value: object, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise TypeError(f"{arg_name} must be {wanted.__name__}, but got {type(value)}.")


def check_list(arg_name: str, value: object, wanted: type) -> None:
    if not isinstance(value, list):
        raise TypeError(f"{arg_name} must be list, but got {type(value)}.")
    elements: List[object] = value
    for i, element in enumerate(elements):
        if not isinstance(element, wanted):
            raise TypeError(f"{arg_name} element must be {wanted.__name__}, but got {type(element)} at index {i}.")
