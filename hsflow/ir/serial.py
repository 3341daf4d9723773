# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON of the frozen values that flow between stages (`Network`, `Graph`, `AdderGraph`, `Design`, ...).

Equal values give equal bytes: keys are sorted, there is no white space, floats are written in their shortest exact
form, and arrays as little-endian bytes. The text is an object

    {"format": 3, "type": "Graph", "value": {...}}

in which a dataclass is an object of all its fields, a tuple an array, an enum member its value, a `Constant` the object
`{"data": base64, "dtype": "<i4", "shape": [...]}`, and a dataclass that stands for a union carries its class name under
`type`. What to expect comes from the type hints alone: reading creates no class that a hint does not name.

Reading takes the text for hostile: everything that is missing, unknown, ill-typed, of the wrong size or not finite is a
`ModelError` that names its JSON path.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any, NoReturn, TypeVar

import numpy as np

from hsflow.errors import ModelError
from hsflow.ir.tensor import Constant

FORMAT = 3
"""Rises whenever the written form of a value changes, a field more or less included; no other one is read.

1 had networks without preprocessing, and designs of one pixel a transfer; 2 had layers that did not count their resources."""

ARRAY_TYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8")
"""The element types of arrays, as NumPy writes them; each is one that every stage understands."""

_MAX_DIMENSIONS = 8
_MAX_INTEGER = (1 << 63) - 1
_TAG = "type"
_ENVELOPE = ("format", "type", "value")

T = TypeVar("T")


def to_json(value: object) -> str:
    """Return the canonical JSON of a dataclass: ASCII, without a final newline.

    Raises:
        ModelError: if a field does not hold what its type hint promises, or a number is not finite.
        TypeError: if `value`'s class has fields that this format has no place for.
    """
    kind = type(value)
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"value must be a dataclass, not {kind.__name__}")
    envelope = {"format": FORMAT, "type": kind.__name__, "value": _encode(value, kind, "$.value")}
    return json.dumps(envelope, sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_json(text: str | bytes, expected_type: type[T]) -> T:
    """Return the `expected_type` that `text` holds.

    Raises:
        ModelError: if `text` is not exactly such a value; the message names the JSON path.
    """
    envelope = _object(_parse(text), _ENVELOPE, "$")
    if type(envelope["format"]) is not int or envelope["format"] != FORMAT:
        hint = "another version of hsflow wrote the text: make it again with this one"
        raise ModelError(
            "an unknown format", where="$.format", got=_short(envelope["format"]), expected=FORMAT, hint=hint
        )
    if envelope["type"] != expected_type.__name__:
        _refuse("another type of value", "$.type", envelope["type"], expected_type.__name__)
    decoded: T = _decode(envelope["value"], expected_type, "$.value")
    return decoded


def _parse(text: str | bytes) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError("the text is not JSON", where="$", got=error, expected="canonical JSON") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError(f"a key occurs twice among {_short(sorted(key for key, _ in pairs))}")
    return mapping


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


# Both directions dispatch on the type hint.


def _encode(value: Any, hint: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _encode_union(value, hint, path)
    if origin is tuple:
        return _encode_tuple(value, hint, path)
    if hint is Constant:
        return _encode_array(_typed(value, Constant, path), path)
    if dataclasses.is_dataclass(hint):
        return _encode_fields(value, typing.cast("type[Any]", hint), path)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_values(hint)[_typed(value, hint, path)]
    return _SCALARS[_scalar(hint, path)][0](value, path)


def _decode(data: Any, hint: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(data, hint, path)
    if origin is tuple:
        return _decode_tuple(data, hint, path)
    if hint is Constant:
        return _decode_array(data, path)
    if dataclasses.is_dataclass(hint):
        return _decode_fields(data, typing.cast("type[Any]", hint), path)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _decode_enum(data, hint, path)
    return _SCALARS[_scalar(hint, path)][1](data, path)


# Dataclasses.


def _fields(kind: Any) -> dict[str, Any]:
    """Return the hint of each field that the constructor takes."""
    return _cached_fields(kind)


@cache
def _cached_fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def _encode_fields(value: Any, kind: type[Any], path: str) -> dict[str, Any]:
    hints = _fields(type(_typed(value, kind, path)))
    return {name: _encode(getattr(value, name), hint, f"{path}.{name}") for name, hint in hints.items()}


def _decode_fields(data: Any, kind: type[Any], path: str) -> Any:
    hints = _fields(kind)
    entries = _object(data, tuple(hints), path)
    arguments = {name: _decode(entries[name], hint, f"{path}.{name}") for name, hint in hints.items()}
    try:
        return kind(**arguments)
    except (ValueError, TypeError) as error:
        raise ModelError(f"the fields do not make a {kind.__name__}", where=path, got=error) from error


# Unions: `X | None` is X or null; a union of dataclasses is tagged with the class name.


@cache
def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return a union's members without None.

    Raises:
        TypeError: if the union could be read in two ways.
    """
    members = tuple(member for member in typing.get_args(hint) if member is not types.NoneType)
    if len(members) > 1 and not (all(map(_taggable, members)) and len(set(_names(members))) == len(members)):
        raise TypeError(f"a union must be of dataclasses with names of their own, not {hint}")
    return members


def _taggable(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) and kind is not Constant and _TAG not in _fields(kind)


def _optional(hint: Any) -> bool:
    return types.NoneType in typing.get_args(hint)


def _encode_union(value: Any, hint: Any, path: str) -> Any:
    members = _alternatives(hint)
    if value is None and _optional(hint):
        return None
    if len(members) == 1:
        return _encode(value, members[0], path)
    kind = type(value)
    if kind not in members:
        _refuse("a value of another type", path, kind.__name__, _one_of(_names(members)))
    return {_TAG: kind.__name__, **_encode_fields(value, kind, path)}


def _decode_union(data: Any, hint: Any, path: str) -> Any:
    members = _alternatives(hint)
    if data is None and _optional(hint):
        return None
    if len(members) == 1:
        return _decode(data, members[0], path)
    if not isinstance(data, dict) or _TAG not in data:
        _refuse(f"an object with a '{_TAG}' is needed", path, data, _one_of(_names(members)))
    for member in members:
        if member.__name__ == data[_TAG]:
            fields = {name: entry for name, entry in data.items() if name != _TAG}
            return _decode_fields(fields, member, path)
    return _refuse("an unknown type", f"{path}.{_TAG}", data[_TAG], _one_of(_names(members)))


def _names(members: tuple[Any, ...]) -> list[str]:
    return [member.__name__ for member in members]


# Tuples.


def _encode_tuple(value: Any, hint: Any, path: str) -> list[Any]:
    hints = _item_hints(hint, len(_typed(value, tuple, path)), path)
    items = enumerate(zip(value, hints, strict=True))
    return [_encode(item, item_hint, f"{path}[{index}]") for index, (item, item_hint) in items]


def _decode_tuple(data: Any, hint: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        _refuse("an array is needed", path, data, "an array")
    hints = _item_hints(hint, len(data), path)
    items = enumerate(zip(data, hints, strict=True))
    return tuple(_decode(item, item_hint, f"{path}[{index}]") for index, (item, item_hint) in items)


def _item_hints(hint: Any, length: int, path: str) -> tuple[Any, ...]:
    arguments = typing.get_args(hint)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return (arguments[0],) * length
    if length != len(arguments):
        _refuse("a wrong number of items", path, length, len(arguments))
    return arguments


# Enums.


@cache
def _enum_values(kind: type[Enum]) -> Mapping[Enum, str]:
    values = {member: member.value for member in kind}
    if not all(isinstance(value, str) for value in values.values()):
        raise TypeError(f"an enum's values must be strings: {kind.__name__}")
    return values


def _decode_enum(data: Any, kind: type[Enum], path: str) -> Enum:
    for member, value in _enum_values(kind).items():
        if value == data:
            return member
    return _refuse(f"an unknown {kind.__name__}", path, data, _one_of(_enum_values(kind).values()))


# Arrays.


def _encode_array(constant: Constant, path: str) -> dict[str, Any]:
    array = constant.array.astype(constant.array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.str not in ARRAY_TYPES:
        _refuse("an array of an unsupported type", path, array.dtype.str, _one_of(ARRAY_TYPES))
    _check_finite(array, path)
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"data": data, "dtype": array.dtype.str, "shape": list(array.shape)}


def _decode_array(data: Any, path: str) -> Constant:
    entries = _object(data, ("data", "dtype", "shape"), path)
    if entries["dtype"] not in ARRAY_TYPES:
        _refuse("an unknown element type", f"{path}.dtype", entries["dtype"], _one_of(ARRAY_TYPES))
    dtype = np.dtype(entries["dtype"])
    shape = tuple(_decode_shape(entries["shape"], f"{path}.shape"))
    raw = _decode_bytes(entries["data"], f"{path}.data")
    size = math.prod(shape) * dtype.itemsize
    if len(raw) != size:
        _refuse("the array's data do not fit its shape", f"{path}.data", f"{len(raw)} bytes", f"{size} bytes")
    try:
        array = np.frombuffer(raw, dtype=dtype).reshape(shape)
    except ValueError as error:
        _refuse("an impossible shape", f"{path}.shape", error, "sizes that memory can hold")
    if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        _refuse("a boolean is neither 0 nor 1", f"{path}.data", int(array.view(np.uint8).max()), "0 or 1")
    _check_finite(array, path)
    return Constant(array)


def _decode_shape(data: Any, path: str) -> Iterator[int]:
    if not isinstance(data, list) or len(data) > _MAX_DIMENSIONS:
        _refuse("not a shape", path, data, f"an array of at most {_MAX_DIMENSIONS} sizes")
    for index, size in enumerate(data):
        yield _decode_integer(size, f"{path}[{index}]")
        if size < 0:
            _refuse("a negative size", f"{path}[{index}]", size, ">= 0")


def _decode_bytes(data: Any, path: str) -> bytes:
    try:
        return base64.b64decode(_decode_string(data, path), validate=True)
    except (ValueError, binascii.Error) as error:
        return _refuse("the array's data are not base64", path, error, "base64")


def _check_finite(array: np.ndarray[Any, Any], path: str) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        _refuse("a number is not finite", path, "NaN or infinity", "finite numbers")


# Scalars.


def _scalar(hint: Any, path: str) -> type:
    if hint not in _SCALARS:
        raise TypeError(f"{path}: a field of type {hint} has no place in this format")
    return typing.cast("type", hint)


def _encode_integer(value: Any, path: str) -> int:
    return _decode_integer(int(value) if isinstance(value, np.integer) else value, path)


def _decode_integer(data: Any, path: str) -> int:
    if type(data) is not int or abs(data) > _MAX_INTEGER:
        _refuse("an integer is needed", path, data, "an integer of at most 64 bits")
    return data


def _encode_boolean(value: Any, path: str) -> bool:
    return _decode_boolean(bool(value) if isinstance(value, np.bool_) else value, path)


def _decode_boolean(data: Any, path: str) -> bool:
    if type(data) is not bool:
        _refuse("a boolean is needed", path, data, "true or false")
    return data


def _encode_float(value: Any, path: str) -> float:
    plain = value.item() if isinstance(value, np.generic) else value
    return _decode_float(plain, path) + 0.0  # -0.0 equals 0.0 and must look like it


def _decode_float(data: Any, path: str) -> float:
    if type(data) not in (int, float) or abs(data) > 1.7976931348623157e308 or not math.isfinite(data):
        _refuse("a number is needed", path, data, "a finite number")
    return float(data)


def _decode_string(data: Any, path: str) -> str:
    if not isinstance(data, str):
        _refuse("a string is needed", path, data, "a string")
    try:
        data.encode()
    except UnicodeEncodeError as error:
        _refuse("a string holds half a character", path, error, "Unicode text")
    return str(data)


_SCALARS: dict[Any, tuple[Any, Any]] = {
    int: (_encode_integer, _decode_integer),
    bool: (_encode_boolean, _decode_boolean),
    float: (_encode_float, _decode_float),
    str: (_decode_string, _decode_string),
}


# Checks.


def _object(data: Any, names: tuple[str, ...], path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        _refuse("an object is needed", path, data, f"an object with {', '.join(names)}")
    if unknown := sorted(set(data) - set(names)):
        _refuse("an unknown key", f"{path}.{unknown[0]}", unknown[0], ", ".join(names))
    if missing := [name for name in names if name not in data]:
        _refuse("a key is missing", path, ", ".join(sorted(data)) or "no key", missing[0])
    return data


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


def _typed(value: Any, kind: type[T], path: str) -> T:
    if type(value) is not kind:
        _refuse("a value of another type", path, type(value).__name__, kind.__name__)
    return value


def _refuse(what: str, path: str, got: object, expected: object) -> NoReturn:
    raise ModelError(what, where=path, got=_short(got), expected=expected)


def _short(value: object) -> str:
    return value if isinstance(value, str) and len(value) < 80 else reprlib.repr(value)
