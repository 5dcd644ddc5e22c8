"""Tensors written as JSON: read into the one binary frame, and written back where asked for.

Every declared size is held against the bundle's bounds before an array is built, so the network
behind sees the same frame whichever way the tensors came.

Source: Open Inference Protocol v2, "Tensor Data": nested or flattened, in row-major order.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgewise.bounds import Bound
from edgewise.bundle import Route
from edgewise.errors import BadInput
from edgewise.records import parse_json
from edgewise.tensors import NUMPY_DTYPES, OIP_DATATYPES, Array
from edgewise.wire import MAX_HEADER_BYTES, MAX_RANK, MAX_TENSORS, raw_bytes

_ELEMENT_BYTES = 32  # "-1.7976931348623157e+308, " and a bracket or two
_MAX_JSON_BYTES = 16_000_000
_MAX_INTEGER = 2**64 - 1
_METADATA = "see what GET /v2/models/MODEL/config says of its routes"


def max_json_bytes(routes: Iterable[Route]) -> int:
    """The longest body in which one of these routes' tensors are written as JSON."""
    elements = (
        sum(bound.max_bytes // np.dtype(bound.dtype).itemsize for bound in route.boundary)
        for route in routes
    )
    return min(_MAX_JSON_BYTES, MAX_HEADER_BYTES + _ELEMENT_BYTES * max(elements))


def binary_frame(
    body: memoryview, *, header_bytes: int, bounds: Sequence[Bound]
) -> tuple[memoryview, int]:
    """The same request with every tensor as raw bytes, and the length of its header.

    A frame whose tensors are raw already comes back as it is.

    Args:
        body: JSON, then the raw bytes of those tensors that declare a ``binary_data_size``.
        header_bytes: length of the JSON.
        bounds: what any route of the bundle takes.

    Raises:
        BadInput: when a tensor is not what its type, its shape or the bundle allows.
    """
    request = _read_request(bytes(body[:header_bytes]))
    if not any(_is_json(tensor) for tensor in request["inputs"]):
        return body, header_bytes
    pieces: list[bytes | memoryview] = []
    described = []
    offset = header_bytes
    for tensor in request["inputs"]:
        if _is_json(tensor):
            piece: bytes | memoryview = raw_bytes(_read_tensor(tensor, bounds))
            described.append(_as_binary(tensor, len(piece)))
        else:
            piece = body[offset : offset + _binary_bytes(tensor)]
            described.append(tensor)
            offset += len(piece)
        pieces.append(piece)
    head = json.dumps(request | {"inputs": described}, separators=(",", ":")).encode()
    # Whatever is left over goes along: the frame's own check refuses it in its own words.
    return memoryview(b"".join([head, *pieces, body[offset:]])), len(head)


def _read_request(raw: bytes) -> dict[str, Any]:
    request = parse_json(
        raw, where="the request", max_bytes=_MAX_JSON_BYTES, max_integer=_MAX_INTEGER
    )
    inputs = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(inputs, list):
        raise _refusal("a JSON object with a list of inputs", "something else")
    if len(inputs) > MAX_TENSORS:
        raise _refusal(f"1 to {MAX_TENSORS} inputs", f"{len(inputs)}")
    return request


def json_data(name: str, array: Array) -> list[Any]:
    """The elements of an output as a flat list.

    Raises:
        BadInput: when JSON has no words for them.

    >>> json_data("y", np.array([[True], [False]]))
    [True, False]
    """
    if array.dtype == np.float16:
        raise _binary_only(name)
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        raise BadInput(
            expected=f"finite numbers in the output {name!r} to write as JSON",
            found="NaN or infinity",
            remedy="ask for the output as binary data",
        )
    flat: list[Any] = array.ravel().tolist()
    return flat


def _is_json(tensor: object) -> bool:
    return isinstance(tensor, dict) and "data" in tensor


def _as_binary(tensor: Mapping[str, Any], size_bytes: int) -> dict[str, object]:
    kept = {key: value for key, value in tensor.items() if key != "data"}
    return kept | {"parameters": {"binary_data_size": size_bytes}}


def _binary_bytes(tensor: object) -> int:
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if type(size) is not int or size < 0:
        raise _refusal("'data' or parameters.binary_data_size for each input", "neither")
    return size


def _read_tensor(tensor: Mapping[str, Any], bounds: Sequence[Bound]) -> Array:
    name, datatype = tensor.get("name"), tensor.get("datatype")
    if not isinstance(name, str) or not isinstance(datatype, str):
        raise _refusal("a name and a datatype for each input", "none")
    parameters = tensor.get("parameters", {})
    if not isinstance(parameters, dict) or "binary_data_size" in parameters:
        raise _refusal(f"one form of data for {name[:80]!r}", "'data' and binary_data_size")
    dtype = NUMPY_DTYPES.get(datatype)
    limits = [bound for bound in bounds if (bound.name, bound.dtype) == (name, dtype)]
    if dtype is None or not limits:
        known = dict.fromkeys(f"{bound.name} {OIP_DATATYPES[bound.dtype]}" for bound in bounds)
        raise _refusal(f"one of the inputs {', '.join(known)}", f"{name} {datatype}"[:80])
    if dtype == "float16":
        raise _binary_only(name)
    shape = _read_shape(tensor.get("shape"), name)
    count = math.prod(shape)
    size_bytes = count * np.dtype(dtype).itemsize
    most = max(bound.max_bytes for bound in limits)
    if size_bytes > most:
        raise _refusal(f"at most {most} bytes for {name!r}", f"{size_bytes} bytes")
    values = _flat(tensor["data"], shape, name)
    _check_values(values, np.dtype(dtype), name)
    return np.array(values, dtype).reshape(shape)


def _read_shape(data: object, name: str) -> tuple[int, ...]:
    if not isinstance(data, list) or len(data) > MAX_RANK:
        raise _refusal(f"a shape of at most {MAX_RANK} axes for {name!r}", type(data).__name__)
    if not all(type(size) is int and 0 < size < 2**31 for size in data):
        raise _refusal(f"a shape of sizes from 1 to 2^31 - 1 for {name!r}", repr(data)[:60])
    return tuple(data)


def _flat(data: object, shape: tuple[int, ...], name: str) -> list[Any]:
    count = math.prod(shape)
    if isinstance(data, list) and len(data) == count and list not in set(map(type, data)):
        return data
    level: list[Any] = [data]
    for size in shape:
        if not all(isinstance(row, list) and len(row) == size for row in level):
            raise _refusal(
                f"{count} numbers for {name!r}, flat or nested as {list(shape)}", "other data"
            )
        level = list(itertools.chain.from_iterable(level))
    return level


def _check_values(values: list[Any], dtype: np.dtype[Any], name: str) -> None:
    wanted, low, high = _range(dtype)
    if not set(map(type, values)) <= wanted:
        words = " or ".join(sorted(kind.__name__ for kind in wanted))
        raise _refusal(f"elements of the kind {words} for {name!r}", "another kind")
    if min(values) < low or max(values) > high:
        raise _refusal(f"{dtype.name} from {low} to {high} in {name!r}", "a number beyond it")


def _range(dtype: np.dtype[Any]) -> tuple[set[type], float, float]:
    if dtype.kind == "b":
        return {bool}, 0, 1
    if dtype.kind in "iu":
        integers = np.iinfo(dtype)
        return {int}, int(integers.min), int(integers.max)
    floats = np.finfo(dtype)
    return {int, float}, float(floats.min), float(floats.max)


def _binary_only(name: str) -> BadInput:
    return BadInput(
        expected=f"FP16 as binary data for {name!r}",
        found="JSON",
        remedy="send and ask for half precision as raw bytes; the protocol has no other form",
    )


def _refusal(expected: str, found: str) -> BadInput:
    return BadInput(expected=expected, found=found, remedy=_METADATA)
