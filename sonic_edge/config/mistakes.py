"""How mistakes in settings are reported, and what a setting may be, in words."""

import difflib
from typing import Any, Dict, List, Literal, Optional, Sequence, Tuple, Type, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def explain(model: Type[BaseModel], error: Any, source: str) -> str:
    """One mistake in words: source, key path, value, what is allowed, the nearest name.

    Args:
        model: What was read.
        error: One of `pydantic.ValidationError.errors`.
        source: Where it was read: a file, or ``--set``.
    """
    keys: List[str] = []
    section: Type[BaseModel] = model
    known: Optional[FieldInfo] = None
    for part in error["loc"]:
        if known is not None and not _is_section(known.annotation):
            break  # deeper parts name pydantic's own branches of a Union
        if known is not None:
            section = known.annotation  # type: ignore[assignment]
        keys.append(str(part))
        known = section.model_fields.get(str(part))
        if known is None:
            break
    where = f"{source}: {'.'.join(keys)}"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(keys[-1], list(section.model_fields), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(section.model_fields)}"
        return f"{where}: there is no such setting; {hint}"
    if error["type"] == "missing":
        return f"{where}: is missing; it must be {allowed(known) if known else 'given'}"
    if known is not None and _is_section(known.annotation):
        return f"{where} = {short(error['input'])}: must hold `key: value` lines"
    return f"{where} = {short(error['input'])}: must be {allowed(known) if known else error['msg']}"


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def short(value: object) -> str:
    """A value as an error shows it: its start, if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def _type_words(annotation: Any) -> str:
    if annotation in _TYPE_WORDS:
        return _TYPE_WORDS[annotation]
    args: Tuple[Any, ...] = getattr(annotation, "__args__", ())
    if getattr(annotation, "__origin__", None) is Literal:
        return either([str(a) or "empty" for a in args])
    if hasattr(annotation, "__metadata__"):  # Annotated: PositiveFloat
        return f"{_type_words(annotation.__origin__)} over 0"
    if getattr(annotation, "__origin__", None) is Union:
        return either([_type_words(a) for a in args])
    if getattr(annotation, "__origin__", None) is list:
        return f"a list of {_type_words(args[0])}"
    return getattr(annotation, "__name__", str(annotation))


def either(words: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def allowed(field: FieldInfo) -> str:
    """What a field takes: ``a whole number from 128 to 1024 pixels, a multiple of 2``."""
    limits: Dict[str, Any] = {}
    for rule in field.metadata:
        for name in ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern"):
            if getattr(rule, name, None) is not None:
                limits[name] = getattr(rule, name)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    unit = str(extra.get("unit", ""))
    words, null, rest = _type_words(field.annotation).partition(" or null")
    parts = [" ".join(filter(None, (words, _range(limits), unit))) + null + rest]
    if "multiple_of" in limits:
        parts.append(f"a multiple of {limits['multiple_of']}")
    if "min_length" in limits or "max_length" in limits:
        is_list = getattr(field.annotation, "__origin__", None) is list
        parts.append(_length(limits, "entries" if is_list else "characters"))
    if "pattern" in limits:
        quotes = "quotation marks, backslashes or " if '"' in limits["pattern"] else ""
        parts.append(f"without {quotes}control characters")
    return ", ".join(parts)


def _range(limits: Dict[str, Any]) -> str:
    """``from 1 to 50``, ``from 0 to less than 8``, ``of at least 1``, ``over 0``."""
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if low is not None and high is not None:
        above, below = "over " if "gt" in limits else "", "less than " if "lt" in limits else ""
        return f"from {above}{low} to {below}{high}"
    if low is not None:
        return f"over {low}" if "gt" in limits else f"of at least {low}"
    return ""


def _length(limits: Dict[str, Any], what: str) -> str:
    low, high = limits.get("min_length", 0), limits.get("max_length")
    if high is None:
        return "not empty" if low == 1 else f"at least {low} {what}"
    if low == high:
        return f"{low} {what}"
    return f"{low} to {high} {what}" if low else f"at most {high} {what}"
