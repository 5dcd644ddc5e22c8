"""Strict JSON and TOML records: dataclasses in and out, anything unknown refused.

The annotations of a dataclass are its schema. Supported: str, int, float (finite; integers are
taken), bool, enums of strings, ``X | None``, ``tuple[X, ...]``, ``Mapping[str, X]``, and other
dataclasses. Data from files and networks is hostile, so nothing is converted silently.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from edgewise.errors import BadInput

T = TypeVar("T")
_MAX_DEPTH = 32
_MAX_TOML_BYTES = 1_000_000
_MAX_INTEGER = 2**53 - 1  # beyond it JavaScript rounds: RFC 7493 (I-JSON), section 2.2


def read_record(cls: type[T], data: object, *, where: str) -> T:
    """Build ``cls`` from parsed JSON or TOML.

    Args:
        cls: a dataclass.
        data: what the parser gave.
        where: the name of the source, for messages.

    Raises:
        BadInput: on an unknown, missing or ill-typed field; it names the path to the field.

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Point:
    ...     x: float
    ...     tags: tuple[str, ...] = ()
    >>> read_record(Point, {"x": 1, "tags": ["a"]}, where="demo")
    Point(x=1.0, tags=('a',))
    """
    value: T = _read(cls, data, where)
    return value


def write_record(value: object) -> Any:
    """The JSON form of a dataclass: the inverse of :func:`read_record`.

    A field whose default is infinite ("unlimited") is left out while it holds its default:
    JSON has no infinity.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return {f.name: write_record(v) for f, v in members if not _is_unlimited(f, v)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): write_record(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [write_record(item) for item in value]
    return value


def parse_json(
    raw: bytes | str,
    *,
    where: str,
    max_bytes: int = 16_000_000,
    max_integer: int = _MAX_INTEGER,
) -> object:
    """Parse JSON that nobody vouches for, by rules that every JSON reader can keep.

    UTF-8 only; bounded size and depth; no NaN, no infinity, no number that a double rounds to
    infinity, no integer beyond ±``max_integer`` (2^53 - 1 unless said), no lone surrogate, no
    repeated key (RFC 7493).

    Raises:
        BadInput: on anything else.
    """
    if len(raw) > max_bytes:
        raise BadInput(
            expected=f"at most {max_bytes} bytes of JSON in {where}",
            found=f"{len(raw)} bytes",
            remedy="use the file that edgewise wrote",
        )
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        value: object = _decoder(max_integer).decode(_without_mark(text))
        if isinstance(raw, str) or _may_break_rules(text):
            _check_tree(value, where)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            expected=f"valid JSON in {where}", found=_short(error), remedy="write it anew"
        ) from None
    return value


def read_start(path: Path, *, what: str, max_bytes: int) -> bytes:
    """The bytes of a file that nobody vouches for; one past the limit at most is read.

    Args:
        path: where it is.
        what: what it should be, for messages.
        max_bytes: a result longer than this comes from too large a file.

    Raises:
        BadInput: when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        raise BadInput(
            expected=f"a readable {what} at {path}",
            found=getattr(error, "strerror", None) or "no such path",
            remedy="check the path",
        ) from None


def read_toml(cls: type[T], path: Path) -> T:
    """Build ``cls`` from a TOML file.

    Raises:
        BadInput: when the file is missing, no TOML, or does not fit ``cls``.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_TOML_BYTES + 1)
        data = tomllib.loads(_bounded(raw).decode("utf-8"))
    except OSError as error:
        raise BadInput(
            expected=f"a readable TOML file at {path}",
            found=error.strerror or "an error",
            remedy="check the path",
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(
            expected=f"valid TOML in {path}", found=_short(error), remedy="correct the file"
        ) from None
    return read_record(cls, data, where=str(path))


def _bounded(raw: bytes) -> bytes:
    if len(raw) > _MAX_TOML_BYTES:
        raise ValueError(f"more than {_MAX_TOML_BYTES} bytes")
    return raw


def _is_unlimited(field: dataclasses.Field[Any], value: object) -> bool:
    return isinstance(value, float) and math.isinf(value) and value == field.default


def _refuse_constant(name: str) -> object:
    raise ValueError(f"the constant {name}")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]}, too large for a double")
    return value


def _exact_int(text: str, *, limit: int) -> int:
    if len(text) > 21 or abs(int(text)) > limit:
        words = "2^53 - 1" if limit == _MAX_INTEGER else str(limit)
        raise ValueError(f"the integer {text[:40]}, beyond {words}")
    return int(text)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a repeated key")
    return result


def _without_mark(text: str) -> str:
    if text.startswith("\ufeff"):
        raise ValueError("a byte order mark")
    return text


@functools.lru_cache(maxsize=8)
def _decoder(max_integer: int) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_constant=_refuse_constant,
        parse_float=_finite_float,
        parse_int=functools.partial(_exact_int, limit=max_integer),
        object_pairs_hook=_unique_keys,
    )


def _may_break_rules(decoded: str) -> bool:
    """Whether the tree has to be walked: UTF-8 has surrogates as escapes alone."""
    return "\\u" in decoded or decoded.count("[") + decoded.count("{") > _MAX_DEPTH


def _check_tree(value: object, where: str) -> None:
    containers: list[object] = [[value]]
    for _ in range(_MAX_DEPTH + 1):
        members = [member for container in containers for member in _members(container)]
        for member in members:
            if isinstance(member, str):
                member.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError
        containers = [member for member in members if isinstance(member, dict | list)]
        if not containers:
            return
    raise BadInput(
        expected=f"JSON nested at most {_MAX_DEPTH} deep in {where}",
        found="deeper nesting",
        remedy="use the file that edgewise wrote",
    )


def _members(container: object) -> list[object]:
    if isinstance(container, dict):
        return [*container, *container.values()]
    return typing.cast(list[object], container)


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _refuse(expected: str, data: object, where: str) -> BadInput:
    kind = type(data).__name__
    found = f"{kind} of {len(data)}" if isinstance(data, dict | list) else f"{kind} {_shown(data)}"
    return BadInput(expected=f"{expected} at {where}", found=found, remedy="correct this field")


def _shown(scalar: object) -> str:
    if isinstance(scalar, int) and abs(scalar) > _MAX_INTEGER:
        return "beyond 2^53 - 1"  # Python refuses to print very long integers
    return repr(scalar[:60] if isinstance(scalar, str) else scalar)


def _read(kind: Any, data: object, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_optional(kind, data, where)
    if origin is tuple:
        return _read_tuple(kind, data, where)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(kind, data, where)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, data, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _read_enum(kind, data, where)
    return _SCALARS[kind](data, where)


def _read_optional(kind: Any, data: object, where: str) -> Any:
    members = [member for member in typing.get_args(kind) if member is not types.NoneType]
    if data is None and len(members) < len(typing.get_args(kind)):
        return None
    if len(members) == 1:
        return _read(members[0], data, where)
    for member in members:
        if type(data) is member:
            return _read(member, data, where)
    names = " or ".join(member.__name__ for member in members)
    raise _refuse(names, data, where)


def _read_tuple(kind: Any, data: object, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        raise _refuse("a list", data, where)
    (member, _) = typing.get_args(kind)
    return tuple(_read(member, item, f"{where}[{i}]") for i, item in enumerate(data))


def _read_mapping(kind: Any, data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _refuse("a table", data, where)
    (_, member) = typing.get_args(kind)
    return {
        str(key): _read(member, item, f"{where}[{str(key)[:60]!r}]") for key, item in data.items()
    }


def _read_dataclass(kind: type, data: object, where: str) -> Any:
    if not isinstance(data, dict):
        raise _refuse("a table", data, where)
    members = {f.name: f for f in dataclasses.fields(kind)}
    hints = _hints(kind)
    unknown = sorted(set(map(str, data)) - set(members))
    if unknown:
        raise BadInput(
            expected=f"only the fields {', '.join(members)} at {where}",
            found=f"{unknown[0][:60]!r}",
            remedy="remove the field, or install the edgewise that knows it",
        )
    missing = [name for name, f in members.items() if name not in data and _is_required(f)]
    if missing:
        raise BadInput(
            expected=f"the field {missing[0]!r} at {where}", found="nothing", remedy="add it"
        )
    values = {k: _read(hints[k], item, f"{where}.{k}") for k, item in data.items()}
    try:
        return kind(**values)
    except BadInput as error:
        raise BadInput(
            expected=f"{error.expected} at {where}", found=error.found, remedy=error.remedy
        ) from None


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _read_enum(kind: type[enum.Enum], data: object, where: str) -> enum.Enum:
    values = [member.value for member in kind]
    if data not in values:
        raise _refuse(f"one of {', '.join(map(str, values))}", data, where)
    return kind(data)


def _read_exact(kind: type) -> Callable[[object, str], Any]:
    def read(data: object, where: str) -> Any:
        if type(data) is not kind:
            raise _refuse(f"a value of type {kind.__name__}", data, where)
        return data

    return read


def _read_float(data: object, where: str) -> float:
    if type(data) not in (int, float) or not _is_finite(data):
        raise _refuse("a finite number", data, where)
    return float(typing.cast(float, data))


def _is_finite(data: object) -> bool:
    try:
        return math.isfinite(typing.cast(float, data))
    except OverflowError:
        return False


_SCALARS: Mapping[Any, Callable[[object, str], Any]] = {
    str: _read_exact(str),
    int: _read_exact(int),
    bool: _read_exact(bool),
    float: _read_float,
    Any: lambda data, _: data,
    object: lambda data, _: data,
}
