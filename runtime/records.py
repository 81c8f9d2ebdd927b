"""JSON to frozen dataclasses and back, with the path of whatever is wrong.

The device has no pydantic, and a bundle is untrusted input: `decode` checks every field against the
dataclass's own type hints and names the first that does not fit. Keys that a dataclass does not know
are ignored, so that a bundle may carry more than this version reads.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union

Record = TypeVar("Record")


def encode(value: Any) -> Any:
    """Turn dataclasses, tuples and mappings into what `json.dumps` takes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(kind: type[Record], value: Any, where: str = "") -> Record:
    """Build the dataclass `kind` from parsed JSON.

    Raises:
        ValueError: names the path of the first value that is missing or of the wrong type.
    """
    return _decode(kind, value, where)


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if kind is type(None):
        return _require(value is None, value, "null", where)
    if origin in (Union, types.UnionType):
        return _decode_union(typing.get_args(kind), value, where)
    if origin is typing.Literal:
        options = typing.get_args(kind)
        fits = any(value == option and type(value) is type(option) for option in options)
        return _require(fits, value, " or ".join(map(repr, options)), where)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), value, where)
    if origin in (dict, Mapping):
        _require(isinstance(value, dict), value, "an object", where)
        _, item = typing.get_args(kind)
        return {key: _decode(item, entry, f"{where}.{key}") for key, entry in value.items()}
    if dataclasses.is_dataclass(kind):
        return _decode_record(typing.cast("type", kind), value, where)
    return _decode_scalar(kind, value, where)


def _decode_scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        _require(abs(value) < 2**1000, "a huge integer", "a float", where)
        return float(value)
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return _require(fits, value, kind.__name__, where)


def _decode_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    problems = []
    for option in options:
        try:
            return _decode(option, value, where)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(problems[0])


def _decode_tuple(items: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _require(isinstance(value, list), value, "a list", where)
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_decode(items[0], entry, f"{where}[{i}]") for i, entry in enumerate(value))
    _require(len(value) == len(items), value, f"a list of {len(items)}", where)
    return tuple(
        _decode(item, entry, f"{where}[{i}]")
        for i, (item, entry) in enumerate(zip(items, value, strict=True))
    )


def _decode_record(kind: type, value: Any, where: str) -> Any:
    _require(isinstance(value, dict), value, "an object", where)
    hints = typing.get_type_hints(kind)
    found = {}
    for field in dataclasses.fields(kind):
        path = f"{where}.{field.name}" if where else field.name
        if field.name in value:
            found[field.name] = _decode(hints[field.name], value[field.name], path)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{path} is missing")
    try:
        return kind(**found)
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from error


def _require(fits: bool, value: Any, wanted: str, where: str) -> Any:
    if not fits:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise ValueError(f"{where or 'the value'} must be {wanted}, not {shown}")
    return value
